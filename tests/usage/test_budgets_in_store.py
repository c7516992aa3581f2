"""Budgets in the store: whatever happens at once, in whatever order, none is overrun."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import orjson
import pytest

from bot.hosting.leases import HostIdentity, Leases
from bot.messages import Attribution, Fence
from bot.ops.tasks import SystemClock
from bot.store import keys
from bot.store.client import StoreClient
from bot.store.journal import Record
from bot.usage.budgets import Cost, Spender, SpendLimit
from bot.usage.ledger import Ledger
from tests.store.engines import Engine
from tests.store.forgetful import Forgetful
from tests.store.test_journal import ECHO, LINE, journal_line

DAY = "2026-01-31"
HOST = f"host:{DAY}"


class Till:
    """A line that spends: reserve, then settle with a line or release."""

    def __init__(self, client: StoreClient, fence: Fence) -> None:
        self.client = client
        self.fence = fence
        self.ledger = Ledger(client)

    async def reserve(
        self, hold: str, cost: Cost, limits: dict[str, SpendLimit], s: float = 60
    ) -> Any:
        return await self.ledger.reserve(self.fence, hold, cost, limits, s)

    async def of(self, scope: str) -> dict[str, int]:
        names = ("tokens", "micros", "requests", "heldTokens", "heldMicros")
        found = await self.client.command("HMGET", keys.budget(scope), *names)
        return {name: int(value or 0) for name, value in zip(names, found, strict=True)}


def line(tokens: int, micros: int, hold: str, *scopes: str, day: str = DAY) -> Record:
    told = {"prompt": tokens, "completion": 0, "total": tokens}
    body = {"day": day, "tokens": told, "micros": micros, "hold": hold, "scopes": scopes}
    return Record("usage", body)


async def till(client: StoreClient) -> Till:
    fence = await Leases(client, HostIdentity.new("a", ""), SystemClock()).acquire(
        "bot:9", lambda: None
    )
    assert fence is not None
    return Till(client, fence)


async def test_all_scopes_are_taken_or_none(client: StoreClient) -> None:
    t = await till(client)
    limits = {"person:1": SpendLimit(100), "chat:1": SpendLimit(100), HOST: SpendLimit(50)}
    assert await t.reserve("a", Cost(40, 0), limits) is None
    assert await t.reserve("b", Cost(40, 0), limits) == HOST
    assert [(await t.of(scope))["heldTokens"] for scope in limits] == [40, 40, 40]


async def test_a_budget_in_money_counts_money_alone(client: StoreClient) -> None:
    t = await till(client)
    limits = {HOST: SpendLimit(None, 1_000)}
    assert await t.reserve("a", Cost(10**9, 900), limits) is None
    assert await t.reserve("b", Cost(1, 200), limits) == HOST
    assert await t.reserve("c", Cost(1, 100), limits) is None


async def test_the_same_name_again_takes_the_place_of_what_it_had(client: StoreClient) -> None:
    """A turn that goes on after a restart settles its own reservation, and no other."""
    t = await till(client)
    for cost in (90, 100, 10):
        assert await t.reserve("a", Cost(cost, 0), {HOST: SpendLimit(100)}) is None
    assert (await t.of(HOST))["heldTokens"] == 10
    await t.ledger.release(t.fence, "a", [HOST])
    await t.ledger.release(t.fence, "a", [HOST])
    assert (await t.of(HOST))["heldTokens"] == 0


async def test_what_nobody_takes_up_lapses_by_the_servers_clock(client: StoreClient) -> None:
    t = await till(client)
    assert await t.reserve("dead", Cost(100, 7), {HOST: SpendLimit(100)}, 0.0) is None
    async with asyncio.timeout(30):
        while await t.reserve("b", Cost(100, 0), {HOST: SpendLimit(100)}):
            pass
    assert await t.of(HOST) == {
        "tokens": 0, "micros": 0, "requests": 0, "heldTokens": 100, "heldMicros": 0
    }  # fmt: skip


async def test_a_budget_that_is_lowered_below_what_is_set_aside_lets_nothing_more_in(
    client: StoreClient,
) -> None:
    t = await till(client)
    assert await t.reserve("a", Cost(80, 0), {HOST: SpendLimit(100)}) is None
    assert await t.reserve("b", Cost(1, 0), {HOST: SpendLimit(50)}) == HOST
    d = await journal_line(client)
    turn = (await d.begin()).turn
    await d.journal.append(d.fence, turn, [line(80, 0, "a", HOST)])
    assert await t.reserve("b", Cost(1, 0), {HOST: SpendLimit(50)}) == HOST
    assert (await t.of(HOST))["heldTokens"] == 0
    assert await t.reserve("b", Cost(20, 0), {HOST: SpendLimit(100)}) is None


async def test_a_line_settles_on_the_day_on_which_it_was_set_aside(client: StoreClient) -> None:
    """Midnight in the middle of a request moves nothing from one day to the next."""
    t = await till(client)
    assert await t.reserve("a", Cost(80, 0), {HOST: SpendLimit(100)}) is None
    d = await journal_line(client)
    turn = (await d.begin()).turn
    await d.journal.append(d.fence, turn, [line(30, 5, "a", HOST)])
    assert await t.of(HOST) == {
        "tokens": 30, "micros": 5, "requests": 1, "heldTokens": 0, "heldMicros": 0
    }  # fmt: skip
    assert (await t.of("host:2026-02-01"))["tokens"] == 0


def test_a_turn_has_one_budget_on_both_sides_of_midnight() -> None:
    spender = Spender("bot:1", "5", 5, "1769903999000-0", Attribution("default", "echo", "r"))
    before, after = spender.scopes("2026-01-31"), spender.scopes("2026-02-01")
    assert before["turn"] == after["turn"] == "turn:bot:1:1769903999000-0:2026-01-31"
    assert all(before[kind] != after[kind] for kind in before if kind != "turn")


@pytest.mark.parametrize("seed", range(3))
async def test_no_scope_is_ever_overrun_by_a_storm_of_reservations(
    client: StoreClient, seed: int
) -> None:
    """Many at once, each with its own scopes, costs and ends; the sums are checked meanwhile."""
    chance = random.Random(seed)
    t, d = await till(client), await journal_line(client)
    turn = (await d.begin()).turn
    scopes = [f"person:{n}" for n in range(3)] + ["chat:1", "agent:a", "account:default", HOST]
    most = {
        scope: SpendLimit(chance.randint(500, 3000), chance.randint(500, 3000)) for scope in scopes
    }
    refused = 0

    async def within() -> None:
        for scope in scopes:
            now = await t.of(scope)
            limit = most[scope]
            assert now["tokens"] + now["heldTokens"] <= (limit.tokens or 0), (scope, now)
            assert now["micros"] + now["heldMicros"] <= (limit.micros or 0), (scope, now)

    async def one(name: str) -> None:
        nonlocal refused
        used = chance.sample(scopes, chance.randint(1, len(scopes)))
        for _ in range(chance.randint(1, 3)):
            cost = Cost(chance.randint(1, 200), chance.randint(0, 200))
            if await t.reserve(name, cost, {scope: most[scope] for scope in used}):
                refused += 1
                return
            await within()
            if chance.random() < 0.2:
                await t.ledger.release(t.fence, name, used)
            else:
                spent = chance.randint(0, cost.tokens), chance.randint(0, cost.micros)
                await d.journal.append(d.fence, turn, [line(*spent, name, *used)])

    await asyncio.gather(*(one(f"h{n}") for n in range(80)))
    await within()
    assert refused
    assert {(await t.of(scope))["heldTokens"] for scope in scopes} == {0}
    assert not [key async for key in client.redis.scan_iter("budget:*:held")]
    lines = await t.ledger.lines(DAY, count=10_000)
    for scope in scopes:
        mine = [one for one in lines if scope in one["scopes"]]
        assert (await t.of(scope))["tokens"] == sum(one["tokens"]["total"] for one in mine)


async def test_each_attempt_that_asked_and_wrote_nothing_is_counted_until_something_is_written(
    client: StoreClient,
) -> None:
    d = await journal_line(client)
    assert [(await d.begin(isolated=True)).turn.unrecorded_attempts for _ in range(2)] == [0, 1]
    turn = (await d.begin(isolated=True)).turn
    await d.journal.append(d.fence, turn, [line(1, 1, "")])
    opened = await d.begin(isolated=True)
    assert (opened.turn.unrecorded_attempts, opened.turn.attempts) == (0, 4)
    await d.journal.append(d.fence, opened.turn, [line(1, 1, "")])
    for _ in range(2):  # asked once more, and once more after one of which nobody heard
        await d.journal.append(d.fence, opened.turn, [])
    assert (await d.begin(isolated=True)).turn.unrecorded_attempts == 2
    assert await d.kinds() == ["person"]


async def test_a_look_by_another_agent_is_no_attempt(client: StoreClient) -> None:
    d = await journal_line(client)
    await d.begin(isolated=True)
    message = Record("person", {"turn": d.ref.entry})
    other = type(d.ref)(d.ref.entry, "5", "other")
    await d.journal.begin(d.fence, other, "hash", message, {}, attribution=ECHO)
    assert (await d.begin()).turn.unrecorded_attempts == 1


async def test_lines_that_are_written_twice_stand_once(client: StoreClient) -> None:
    d = await journal_line(client)
    await d.begin()
    for _ in range(2):
        args = [d.fence.token, d.ref.entry, 1, "usage", orjson.dumps(line(5, 5, "", HOST).body)]
        names = [keys.fence(LINE), keys.open_turn(LINE, "5"), keys.transcript(LINE, "5", "echo")]
        await client.run_idempotent("append", names, args)
    assert len(await Ledger(client).lines(DAY)) == 1


async def test_a_charge_whose_answer_is_lost_counts_once_and_the_next_one_again(
    engine: Engine,
) -> None:
    client = Forgetful(engine)
    t = await till(client)
    client.lost = 1
    for _ in range(2):
        await t.ledger.charge(t.fence, [line(10, 70, "", HOST)])
    assert [(await t.of(HOST))[name] for name in ("tokens", "requests")] == [20, 2]
    assert await client.command("XLEN", keys.ledger(DAY)) == 2
    await client.close()
