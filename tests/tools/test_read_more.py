"""What was cut off results, in a real store: bounded, fenced, and gone after a day."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.errors import FencedOut
from bot.hosting.leases import HostIdentity, Leases
from bot.messages import Fence, TurnRef
from bot.ops.tasks import SystemClock
from bot.store import keys
from bot.store.client import StoreClient, connect
from bot.tools.calls import Remainder
from bot.tools.read_more import KEPT_FOR_EACH, SECONDS, TruncatedResults
from simulators.testing.valkey import Valkey

LINE = "bot:1"


@pytest.fixture
async def client(valkey: Valkey) -> AsyncIterator[StoreClient]:
    client = StoreClient(connect(valkey.url), SystemClock())
    yield client
    await client.close()


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
    results, fence = TruncatedResults(client), await fenced(client)
    for number in range(KEPT_FOR_EACH + 2):
        await results.save(fence, REF, f"h{number}", Remainder("mcp:a:b", f"text {number}"))
    await results.save(fence, REF, "h5", Remainder("mcp:a:b", "ünï", whole=False))
    found = [await results.load(LINE, REF, f"h{number}") for number in range(KEPT_FOR_EACH + 2)]
    assert found[:2] == [None, None]
    assert all(found[2:])
    assert found[5] == Remainder("mcp:a:b", "ünï", whole=False)
    await results.save(fence, REF, "new", Remainder("mcp:a:b", "x"))
    assert await results.load(LINE, REF, "h2") is None
    assert await results.load(LINE, REF, "h5") is not None


async def test_a_rest_belongs_to_one_conversation_with_one_agent_for_a_day(
    client: StoreClient,
) -> None:
    results, fence = TruncatedResults(client), await fenced(client)
    await results.save(fence, REF, "h", Remainder("skill:a", "x" * 500_000))
    assert await results.load(LINE, TurnRef("1-0", "6", "echo"), "h") is None
    assert await results.load(LINE, TurnRef("1-0", "5", "other"), "h") is None
    assert await results.load(LINE, TurnRef("2-0", "5", "echo"), "h") is not None
    name = keys.truncated_results(LINE, "5", "echo")
    assert 0 < await client.command("TTL", name) <= SECONDS
    assert await client.command("MEMORY", "USAGE", name) < 10_000  # compressed


async def test_a_host_that_lost_the_line_keeps_nothing(client: StoreClient) -> None:
    results, fence = TruncatedResults(client), await fenced(client)
    with pytest.raises(FencedOut):
        await results.save(Fence(LINE, fence.token - 1), REF, "h", Remainder("mcp:a:b", "x"))
    assert await results.load(LINE, REF, "h") is None
