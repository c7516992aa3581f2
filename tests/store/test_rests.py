"""What was cut off results, on a real server: bounded, fenced, and gone after a day."""

from __future__ import annotations

import pytest

from bot.errors import FencedOut
from bot.hosting.leases import HostIdentity, Leases
from bot.messages import Fence, TurnRef
from bot.ops.clock import SystemClock
from bot.store import keys
from bot.store.client import StoreClient
from bot.tools.read_more import KEPT_FOR_EACH, SECONDS, Remainder, TruncatedResults

LINE = "bot:1"
REF = TurnRef("1-0", "5", "echo")


async def fenced(client: StoreClient) -> Fence:
    fence = await Leases(client, HostIdentity.new("a", ""), SystemClock()).acquire(
        LINE, lambda: None
    )
    assert fence is not None
    return fence


async def test_the_newest_few_are_kept_and_one_kept_again_replaces_itself(
    client: StoreClient,
) -> None:
    rests, fence = TruncatedResults(client), await fenced(client)
    for number in range(KEPT_FOR_EACH + 2):
        await rests.keep(fence, REF, f"h{number}", Remainder("mcp:a:b", f"text {number}"))
    await rests.keep(fence, REF, "h5", Remainder("mcp:a:b", "ünï", whole=False))
    found = [await rests.rest(LINE, REF, f"h{number}") for number in range(KEPT_FOR_EACH + 2)]
    assert found[:2] == [None, None]
    assert all(found[2:])
    assert found[5] == Remainder("mcp:a:b", "ünï", whole=False)
    await rests.keep(fence, REF, "new", Remainder("mcp:a:b", "x"))
    assert await rests.rest(LINE, REF, "h2") is None
    assert await rests.rest(LINE, REF, "h5") is not None


async def test_a_rest_belongs_to_one_conversation_with_one_agent_for_a_day(
    client: StoreClient,
) -> None:
    rests, fence = TruncatedResults(client), await fenced(client)
    await rests.keep(fence, REF, "h", Remainder("skill:a", "x" * 500_000))
    assert await rests.rest(LINE, TurnRef("1-0", "6", "echo"), "h") is None
    assert await rests.rest(LINE, TurnRef("1-0", "5", "other"), "h") is None
    assert await rests.rest(LINE, TurnRef("2-0", "5", "echo"), "h") is not None
    name = keys.truncated_results(LINE, "5", "echo")
    assert 0 < await client.command("TTL", name) <= SECONDS
    assert await client.command("HSTRLEN", name, "h") < 10_000  # compressed


async def test_a_host_that_lost_the_line_keeps_nothing(client: StoreClient) -> None:
    rests, fence = TruncatedResults(client), await fenced(client)
    with pytest.raises(FencedOut):
        await rests.keep(Fence(LINE, fence.token - 1), REF, "h", Remainder("mcp:a:b", "x"))
    assert await rests.rest(LINE, REF, "h") is None
