"""The servers as one process: prints its address, ends when its input does."""

from __future__ import annotations

import asyncio
import sys

import orjson
import uvloop

from bench.server.http import Request, listening
from bench.server.loads import Loads


async def serve() -> None:
    """Both APIs and the control routes, until standard input ends."""
    loads, tasks = Loads(), set[asyncio.Task[None]]()

    def handle(request: Request) -> None:
        if request.path.startswith("/bot"):
            loads.telegram.handle(request)
        elif request.path.startswith("/v1/messages"):
            loads.messages.handle(request)
        else:
            task = asyncio.ensure_future(control(loads, request))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server, url = await listening(handle)
    print(url, flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    server.close()


async def control(loads: Loads, request: Request) -> None:
    """`/control/<load>` with its words as JSON."""
    name = request.path.rpartition("/")[2]
    try:
        load = getattr(loads.http if name.startswith("http_") else loads, name)
        found = await load(orjson.loads(request.body or b"{}"))
    except Exception as error:  # noqa: BLE001 the asker gets to know
        found = {"error": f"{name}: {type(error).__name__}: {error}"}
    request.json(orjson.dumps(found))


if __name__ == "__main__":
    uvloop.run(serve())
