"""Lines, leases and fences on a real server."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from bot.errors import FencedOut, StoreUnavailable
from bot.hosting.leases import CHECKED_PER_BEAT, HostIdentity, Leases
from bot.ops.tasks import SystemClock
from bot.store import keys
from bot.store.client import StoreClient
from bot.store.inbox import Update, UpdateInbox
from tests.store.engines import Engine

LINE = "bot:1"


def leases(client: StoreClient, name: str, proof: str = "", lifetime: float = 10.0) -> Leases:
    return Leases(client, HostIdentity.new(name, proof), SystemClock(), lifetime, "offers")


async def gone(client: StoreClient, host: Leases) -> None:
    """A host's key runs out, as when nothing was heard of it for a lifetime."""
    await client.command("DEL", keys.host(host.host.incarnation))


async def after_the_fact(host: Leases) -> None:
    """A beat that the store has done, and whose reply is lost."""
    client = host._client
    run = client.run

    async def lost(name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        if await run(name, keys, args):
            raise StoreUnavailable("the reply is lost")
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "run", lost)
        await host.beat()


def _written(info: dict[str, Any]) -> int:
    return int(info["rdb_changes_since_last_save"])


async def test_a_line_has_one_owner_until_its_lease_ends(client: StoreClient) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    fence = await one.acquire(LINE, lambda: None)
    assert fence is not None
    assert await two.acquire(LINE, lambda: None) is None
    await one.release(fence)
    taken = await two.acquire(LINE, lambda: None)
    assert taken is not None
    assert taken.token > fence.token


@pytest.mark.parametrize("how", ["release", "release_idle"])
async def test_a_beat_that_is_on_its_way_takes_no_line_back_that_was_given_back(
    client: StoreClient, how: str
) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    told: list[str] = []
    fence = await one.acquire(LINE, lambda: told.append("lost"))
    assert fence is not None
    run = client.run

    async def overtaken(name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        if name == "beat":
            await getattr(one, how)(fence)
        return await run(name, keys, args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "run", overtaken)
        await one.beat()
    assert await two.acquire(LINE, lambda: None) is not None
    assert told == []


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
    await gone(client, one)  # it was frozen
    assert await two.acquire(LINE, lambda: None)
    inbox = UpdateInbox(client)
    with pytest.raises(FencedOut):
        await inbox.settle(fence, ["1-1"])
    await one.beat()
    assert told == ["lost"]
    assert one.seconds_left(LINE) <= 0


async def test_an_expired_lease_that_nobody_took_is_kept_by_the_next_beat(
    client: StoreClient,
) -> None:
    one = leases(client, "one")
    assert await one.acquire(LINE, lambda: None)
    await gone(client, one)
    await one.beat()
    assert one.seconds_left(LINE) > 9
    assert await leases(client, "two").acquire(LINE, lambda: None) is None


async def test_a_host_that_was_frozen_hears_of_every_line_that_was_taken_meanwhile(
    client: StoreClient,
) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    told: list[str] = []
    lines = [f"bot:{number}" for number in range(1001)]
    for line in lines:
        assert await one.acquire(line, partial(told.append, line))
    await one.beat()
    taken = [lines[0], lines[499], lines[500], lines[1000]]
    await gone(client, one)
    for line in taken:
        assert await two.acquire(line, lambda: None)
    await one.beat()
    assert told == taken
    assert all(one.seconds_left(line) > 9 for line in set(lines) - set(taken))
    assert all(one.seconds_left(line) <= 0 for line in taken)


async def test_a_line_lost_in_a_gap_is_told_although_the_reply_of_that_beat_was_lost(
    client: StoreClient,
) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    told: list[str] = []
    lines = [f"bot:{number}" for number in range(200)]
    for line in lines:
        assert await one.acquire(line, partial(told.append, line))
    await one.beat()
    taken = lines[20]  # not among those at which the last beat looks in turn
    await gone(client, one)
    assert await two.acquire(taken, lambda: None)
    with pytest.raises(StoreUnavailable):
        await after_the_fact(one)
    assert one.seconds_left(taken) < 10
    await one.beat()
    assert told == [taken]


async def test_a_beat_of_a_thousand_lines_is_one_round_trip_and_writes_one_key(
    engine: Engine, client: StoreClient
) -> None:
    engine.needs("statistics of its persistence")
    one = leases(client, "one")
    for number in range(1000):
        assert await one.acquire(f"bot:{number}", lambda: None)
    await one.beat()
    before = await client.command("INFO", "persistence", "stats")
    trips, began = client.round_trips, SystemClock().monotonic()
    await one.beat()
    assert client.round_trips == trips + 1
    assert one.seconds_left("bot:999") >= began + one.lifetime - SystemClock().monotonic()
    after = await client.command("INFO", "persistence", "stats")
    assert _written(after) - _written(before) <= 2  # the host's key and its place among the hosts


async def test_a_lease_that_somebody_deleted_by_hand_is_written_again(client: StoreClient) -> None:
    one = leases(client, "one")
    lines = [f"bot:{number}" for number in range(3 * CHECKED_PER_BEAT)]
    for line in lines:
        assert await one.acquire(line, lambda: None)
    await client.command("DEL", keys.lease(lines[-1]))
    for _ in range(3):
        await one.beat()
    assert await leases(client, "two").acquire(lines[-1], lambda: None) is None


async def test_a_line_taken_behind_our_back_is_noticed_within_a_round_of_beats(
    client: StoreClient,
) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    told: list[str] = []
    assert await one.acquire(LINE, lambda: told.append("lost"))
    await one.beat()
    await client.command("DEL", keys.lease(LINE))
    assert await two.acquire(LINE, lambda: None)
    await one.beat()
    assert told == ["lost"]


async def test_a_store_that_was_emptied_gives_no_fence_to_a_host_that_it_does_not_know(
    client: StoreClient,
) -> None:
    one = leases(client, "one")
    assert await one.acquire(LINE, lambda: None)
    await client.command("FLUSHALL")
    assert await one.acquire("bot:2", lambda: None)
    assert await leases(client, "two").acquire("bot:2", lambda: None) is None
    assert one.seconds_left("bot:2") > 9


async def test_two_hosts_of_one_name_count_as_two(client: StoreClient) -> None:
    one, two = leases(client, "same", "a"), leases(client, "same", "b")
    await one.beat()
    await two.beat()
    assert len((await one.view([LINE])).hosts) == 2
    await two.withdraw()
    assert (await one.view([LINE])).hosts == {one.host_id}
    await two.beat()
    assert (await one.view([LINE])).hosts == {one.host_id}


async def test_a_host_that_rises_again_does_not_count_its_dead_self_among_the_living(
    client: StoreClient,
) -> None:
    dead, risen = (leases(client, "one", "our directory") for _ in range(2))
    other = leases(client, "two", "another directory")
    for host in (dead, other, risen):
        await host.beat()
    for lines in ([], [LINE]):
        assert (await risen.view(lines)).hosts == {risen.host_id, other.host_id}
    assert len((await other.view([LINE])).hosts) == 3  # who cannot know takes it for alive


async def test_a_look_shows_who_holds_what_and_frees_what_our_dead_held(
    client: StoreClient,
) -> None:
    dead = leases(client, "one", "our directory")
    assert await dead.acquire(LINE, lambda: None)
    other = leases(client, "two", "another directory")
    assert list((await other.view([LINE, "bot:2"])).holders) == [LINE]
    risen = leases(client, "one", "our directory")
    assert not (await risen.view([LINE])).holders


async def test_a_lease_from_before_the_clock_fell_back_is_cut_to_one_lifetime(
    client: StoreClient,
) -> None:
    dead, two = leases(client, "one"), leases(client, "two")
    assert await dead.acquire(LINE, lambda: None)
    key = keys.host(dead.host.incarnation)
    await client.command("PEXPIRE", key, 3_600_000)  # as it looks after the jump
    await two.view([LINE])
    assert await client.command("PTTL", key) <= 10_000


async def test_a_host_whose_beat_lies_in_the_future_is_not_alive(client: StoreClient) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    await one.beat()
    await two.beat()
    await client.command("ZINCRBY", keys.HOSTS_ALIVE, 3_600_000, two.host_id)
    assert (await one.view([])).hosts == {one.host_id}


async def test_a_jump_of_the_clock_forgets_no_update(client: StoreClient) -> None:
    inbox = UpdateInbox(client)
    assert len((await inbox.accept(LINE, [Update(7, b"{}")])).entries) == 1
    for hours in (1, -2):
        score = 3_600_000 * hours
        await client.command("ZINCRBY", keys.seen(LINE), -score, 7)
        assert (await inbox.accept(LINE, [Update(7, b"{}")])).entries == []
