"""Lines, leases and fences on a real server."""

from __future__ import annotations

from functools import partial

import pytest

from bot.errors import FencedOut
from bot.ops.clock import SystemClock
from bot.ports import Update
from bot.store import keys
from bot.store.boxes import RedisInbox
from bot.store.client import StoreClient
from bot.store.leases import Host, Leases

LINE = "bot:1"


def leases(client: StoreClient, name: str, proof: str = "", lifetime: float = 10.0) -> Leases:
    return Leases(client, Host.new(name, proof), SystemClock(), lifetime, "offers")


async def test_a_line_has_one_owner_until_its_lease_ends(client: StoreClient) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    fence = await one.acquire(LINE, lambda: None)
    assert fence is not None
    assert await two.acquire(LINE, lambda: None) is None
    await one.release(fence)
    taken = await two.acquire(LINE, lambda: None)
    assert taken is not None
    assert taken.token > fence.token


async def test_two_incarnations_under_one_name_never_share_a_fence(client: StoreClient) -> None:
    tokens = []
    for _ in range(5):
        fence = await leases(client, "same", "the same directory").acquire(LINE, lambda: None)
        assert fence is not None
        tokens.append(fence.token)
    assert len(set(tokens)) == 5


async def test_the_same_name_without_proof_waits_for_the_lease(client: StoreClient) -> None:
    assert await leases(client, "same", "directory a").acquire(LINE, lambda: None)
    assert await leases(client, "same", "directory b").acquire(LINE, lambda: None) is None
    assert await leases(client, "same").acquire(LINE, lambda: None) is None


async def test_an_owner_who_lost_its_line_is_told_and_refused(client: StoreClient) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    told: list[str] = []
    fence = await one.acquire(LINE, lambda: told.append("lost"))
    assert fence is not None
    await client.command("DEL", keys.lease(LINE))  # it ran out while its owner was frozen
    assert await two.acquire(LINE, lambda: None)
    inbox = RedisInbox(client)
    with pytest.raises(FencedOut):
        await inbox.settle(fence, ["1-1"])
    await one.beat()
    assert told == ["lost"]
    assert one.left(LINE) <= 0


async def test_an_expired_lease_that_nobody_took_is_kept_by_the_next_beat(
    client: StoreClient,
) -> None:
    one = leases(client, "one")
    assert await one.acquire(LINE, lambda: None)
    await client.command("DEL", keys.lease(LINE))
    await one.beat()
    assert one.left(LINE) > 9
    assert await leases(client, "two").acquire(LINE, lambda: None) is None


async def test_one_beat_keeps_a_thousand_lines_and_tells_of_those_that_are_lost(
    client: StoreClient,
) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    told: list[str] = []
    lines = [f"bot:{number}" for number in range(1001)]
    for line in lines:
        assert await one.acquire(line, partial(told.append, line))
    gone = [lines[0], lines[499], lines[500], lines[1000]]
    for line in gone:
        await client.command("DEL", keys.lease(line))
        assert await two.acquire(line, lambda: None)
    for line in lines:
        await client.command("PEXPIRE", keys.lease(line), 60_000)
    before = one.left("bot:1")
    trips = client.trips
    await one.beat()
    assert client.trips == trips + 1
    assert told == gone
    assert one.left("bot:1") > before
    for line in set(lines) - set(gone):
        assert one.left(line) > 9
        assert 9000 < await client.command("PTTL", keys.lease(line)) <= 10_000
    assert await client.command("PTTL", keys.lease(gone[0])) > 50_000  # not ours to renew


async def test_two_hosts_of_one_name_count_as_two(client: StoreClient) -> None:
    one, two = leases(client, "same", "a"), leases(client, "same", "b")
    await one.beat()
    await two.beat()
    assert len((await one.look([LINE])).hosts) == 2
    await two.depart()
    assert (await one.look([LINE])).hosts == {one.announced}
    await two.beat()
    assert (await one.look([LINE])).hosts == {one.announced}


async def test_a_look_shows_who_holds_what_and_frees_what_our_dead_held(
    client: StoreClient,
) -> None:
    dead = leases(client, "one", "our directory")
    assert await dead.acquire(LINE, lambda: None)
    other = leases(client, "two", "another directory")
    assert list((await other.look([LINE, "bot:2"])).holders) == [LINE]
    risen = leases(client, "one", "our directory")
    assert not (await risen.look([LINE])).holders


async def test_a_lease_from_before_the_clock_fell_back_is_cut_to_one_lifetime(
    client: StoreClient,
) -> None:
    dead, two = leases(client, "one"), leases(client, "two")
    assert await dead.acquire(LINE, lambda: None)
    await client.command("PEXPIRE", keys.lease(LINE), 3_600_000)  # as it looks after the jump
    await two.look([LINE])
    assert await client.command("PTTL", keys.lease(LINE)) <= 10_000


async def test_a_host_whose_beat_lies_in_the_future_is_not_alive(client: StoreClient) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    await one.beat()
    await two.beat()
    await client.command("ZINCRBY", keys.HOSTS_ALIVE, 3_600_000, two.announced)
    assert (await one.look([])).hosts == {one.announced}


async def test_a_jump_of_the_clock_forgets_no_update(client: StoreClient) -> None:
    inbox = RedisInbox(client)
    assert len((await inbox.accept(LINE, [Update(7, b"{}")])).entries) == 1
    for hours in (1, -2):
        score = 3_600_000 * hours
        await client.command("ZINCRBY", keys.seen(LINE), -score, 7)
        assert (await inbox.accept(LINE, [Update(7, b"{}")])).entries == []
