"""What was cut off results, on a real server: bounded, fenced, and gone after a day."""

from __future__ import annotations

import pytest

from bot.errors import FencedOut
from bot.events import TurnRef
from bot.ops.clock import SystemClock
from bot.ports.fence import Fence
from bot.ports.rests import Rest
from bot.store import keys
from bot.store.client import StoreClient
from bot.store.leases import Host, Leases
from bot.store.rests import KEPT, SECONDS, RedisRests

LINE = "bot:1"
REF = TurnRef("1-0", "5", "echo")


async def fenced(client: StoreClient) -> Fence:
    fence = await Leases(client, Host.new("a", ""), SystemClock()).acquire(LINE, lambda: None)
    assert fence is not None
    return fence


async def test_the_newest_few_are_kept_and_one_kept_again_replaces_itself(
    client: StoreClient,
) -> None:
    rests, fence = RedisRests(client), await fenced(client)
    for number in range(KEPT + 2):
        await rests.keep(fence, REF, f"h{number}", Rest("mcp:a:b", f"text {number}"))
    await rests.keep(fence, REF, "h5", Rest("mcp:a:b", "ünï", whole=False))
    found = [await rests.rest(LINE, REF, f"h{number}") for number in range(KEPT + 2)]
    assert found[:2] == [None, None]
    assert all(found[2:])
    assert found[5] == Rest("mcp:a:b", "ünï", whole=False)
    await rests.keep(fence, REF, "new", Rest("mcp:a:b", "x"))
    assert await rests.rest(LINE, REF, "h2") is None
    assert await rests.rest(LINE, REF, "h5") is not None


async def test_a_rest_belongs_to_one_conversation_with_one_agent_for_a_day(
    client: StoreClient,
) -> None:
    rests, fence = RedisRests(client), await fenced(client)
    await rests.keep(fence, REF, "h", Rest("skill:a", "x" * 500_000))
    assert await rests.rest(LINE, TurnRef("1-0", "6", "echo"), "h") is None
    assert await rests.rest(LINE, TurnRef("1-0", "5", "other"), "h") is None
    assert await rests.rest(LINE, TurnRef("2-0", "5", "echo"), "h") is not None
    name = keys.rests(LINE, "5", "echo")
    assert 0 < await client.command("TTL", name) <= SECONDS
    assert await client.command("MEMORY", "USAGE", name) < 10_000  # compressed


async def test_a_host_that_lost_the_line_keeps_nothing(client: StoreClient) -> None:
    rests, fence = RedisRests(client), await fenced(client)
    with pytest.raises(FencedOut):
        await rests.keep(Fence(LINE, fence.token - 1), REF, "h", Rest("mcp:a:b", "x"))
    assert await rests.rest(LINE, REF, "h") is None
