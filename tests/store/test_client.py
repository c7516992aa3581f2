"""The store's client: errors are ours, and nothing that must end goes on."""

from __future__ import annotations

import asyncio

from bot.ops.tasks import SystemClock
from bot.store.client import StoreClient
from tests.store.engines import Engine


async def test_a_cancellation_is_never_lost_in_a_store_call(engine: Engine) -> None:
    for turns in range(60):
        client = StoreClient(engine.connect(), SystemClock())
        call = asyncio.create_task(client.command("PING"))
        for _ in range(turns):
            await asyncio.sleep(0)
        unfinished = call.cancel()
        ends: list[object] = list(await asyncio.gather(call, return_exceptions=True))
        end = ends[0]
        assert isinstance(end, asyncio.CancelledError) or not unfinished
        await client.close()
