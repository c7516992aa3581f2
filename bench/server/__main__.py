"""The servers as one process: prints its address, ends when its input does."""

from __future__ import annotations

import asyncio
import sys

import orjson
import uvloop

from bench.server.http import Exchange, listening
from bench.server.loads import Loads


async def serve() -> None:
    """Both APIs and the control routes, until standard input ends."""
    loads, tasks = Loads(), set[asyncio.Task[None]]()

    def handle(exchange: Exchange) -> None:
        if exchange.path.startswith("/bot"):
            loads.telegram.handle(exchange)
        elif exchange.path.startswith("/v1/messages"):
            loads.messages.handle(exchange)
        else:
            task = asyncio.ensure_future(control(loads, exchange))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server, url = await listening(handle)
    print(url, flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    server.close()


async def control(loads: Loads, exchange: Exchange) -> None:
    """`/control/<load>` with its words as JSON."""
    name = exchange.path.rpartition("/")[2]
    try:
        found = await getattr(loads, name)(orjson.loads(exchange.body or b"{}"))
    except Exception as error:  # noqa: BLE001 the asker gets to know
        found = {"error": f"{name}: {type(error).__name__}: {error}"}
    exchange.json(orjson.dumps(found))


if __name__ == "__main__":
    uvloop.run(serve())
