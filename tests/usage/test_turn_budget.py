"""A turn's budget on a real store: midnight, changed budgets, unknown prices."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from bot.errors import OutOfBudget, PoisonMessage
from bot.messages import Attribution, ModelRequest
from bot.store import journal
from bot.store.client import StoreClient
from bot.store.journal import MAX_ATTEMPTS, Opened, Record
from bot.usage.budgets import Budgets, Spender, SpendLimit
from bot.usage.ledger import BudgetService, Ledger
from bot.usage.pricing import Prices
from bot.usage.reservation import TurnBudget
from tests.store.test_journal import JournalLine, journal_line

MIDNIGHT = datetime(2026, 2, 1, tzinfo=UTC).timestamp()
ECHO = Attribution("default", "echo", "r1")
OWN = {"m": {"input": 1.0, "output": 10.0}}


class SetClock:
    """A clock that a test sets."""

    now = MIDNIGHT - 1

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, _seconds: float) -> None:
        await asyncio.sleep(0)


class Spending:
    """A turn's budget, and its parts."""

    def __init__(
        self, d: JournalLine, budgets: dict[str, SpendLimit], own: dict[str, dict[str, float]]
    ) -> None:
        self.journal_line = d
        self.budgets = budgets
        self.clock = SetClock()
        self.told: list[tuple[str, str]] = []
        self.ledger = Ledger(d.client)
        self.service = BudgetService(self.ledger, Prices(own, listed=False).price, self.tell)
        self.spender = Spender("bot:1", "5", 5, d.ref.entry, ECHO)
        self.budget = self.next_attempt()

    def next_attempt(self) -> TurnBudget:
        return TurnBudget(
            self.service, self.journal_line.fence, self.spender, self.now, self.clock, "m"
        )

    async def tell(self, key: str, text: str) -> None:
        self.told.append((key, text))

    def now(self) -> Budgets:
        return self.budgets

    async def answer(self, counts: list[int], model: str = "m") -> None:
        record = Record("model", {"usage": counts, "model": model, "content": [], "at": 0})
        turn = (await self.journal_line.begin()).turn
        lines = self.budget.usage_records([record])
        await self.journal_line.journal.append(self.journal_line.fence, turn, [record, *lines])


def request(model: str = "m", tokens: int = 100) -> ModelRequest:
    return ModelRequest(model, tokens, [], [], [{"role": "user", "content": "hello"}])


async def counter(
    client: StoreClient,
    budgets: dict[str, SpendLimit],
    own: dict[str, dict[str, float]] | None = None,
) -> Spending:
    return Spending(await journal_line(client), budgets, OWN if own is None else own)


async def test_a_request_counts_on_the_day_on_which_it_began(client: StoreClient) -> None:
    c = await counter(client, {"person": SpendLimit(1000)})
    await c.budget.reserve(request())
    c.clock.now = MIDNIGHT + 1
    await c.answer([7, 3, 0, 0])
    assert (await c.ledger.spent("person:5:2026-01-31"))["tokens"] == 10
    assert (await c.ledger.spent("person:5:2026-02-01"))["tokens"] == 0
    assert len(await c.ledger.lines("2026-01-31")) == 1
    assert not [key async for key in client.redis.scan_iter("budget:*:held")]


async def test_a_new_try_after_midnight_leaves_nothing_aside_on_the_old_day(
    client: StoreClient,
) -> None:
    c = await counter(client, {"person": SpendLimit(1000)})
    await c.budget.reserve(request())
    c.clock.now = MIDNIGHT + 1
    await c.budget.reserve(request())
    held = [key async for key in client.redis.scan_iter("budget:*:held")]
    assert held == [b"budget:person:5:2026-02-01:held"]


async def test_a_clock_that_is_put_back_spends_no_budget_twice(client: StoreClient) -> None:
    c = await counter(client, {"person": SpendLimit(250)})
    await c.budget.reserve(request())
    c.clock.now = MIDNIGHT - 86_400 * 3
    await c.answer([100, 40, 0, 0])
    c.clock.now = MIDNIGHT - 1
    with pytest.raises(OutOfBudget):
        await c.budget.reserve(request())


async def test_budgets_are_read_anew_before_each_request(client: StoreClient) -> None:
    c = await counter(client, {"agent": SpendLimit(1000)})
    await c.budget.reserve(request())
    c.budgets = {"agent": SpendLimit(50)}
    with pytest.raises(OutOfBudget, match="this agent has used up"):
        await c.budget.reserve(request())
    c.budgets = {}
    await c.budget.reserve(request())
    await c.budget.release()
    assert not [key async for key in client.redis.scan_iter("budget:*:held")]
    assert [key for key, _ in c.told] == ["budget:agent:echo:2026-01-31"]


async def test_a_price_by_the_name_that_was_asked_for_counts_where_the_answer_has_another(
    client: StoreClient,
) -> None:
    c = await counter(client, {"host": SpendLimit(None, 10**6)})
    await c.budget.reserve(request())
    await c.answer([7, 3, 0, 0], model="m-20260101")
    (line,) = await c.ledger.lines("2026-01-31")
    assert (line["model"], line["sure"], line["micros"]) == ("m-20260101", "own", 37)


async def test_tokens_alone_need_no_price_and_dollars_do(client: StoreClient) -> None:
    c = await counter(client, {"host": SpendLimit(10**6)}, own={})
    await c.budget.reserve(request())
    c.budgets = {"host": SpendLimit(10**6, 10**6)}
    with pytest.raises(OutOfBudget, match="the price of this model is not known"):
        await c.budget.reserve(request())
    assert "PRICES" in c.told[0][1]


async def test_a_next_attempt_sets_aside_for_what_the_last_may_have_asked_too(
    client: StoreClient,
) -> None:
    c = await counter(client, {"host": SpendLimit(500)})
    await c.budget.reserve(request())
    attempt = c.next_attempt()
    attempt.unrecorded_attempts = 1
    await attempt.reserve(request())
    attempt.unrecorded_attempts = 2
    with pytest.raises(OutOfBudget):
        await attempt.reserve(request())


async def test_a_turn_that_comes_to_nothing_still_tells_what_its_attempts_may_have_asked(
    client: StoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ENDS_APART_SECONDS", 0.0)
    d = await journal_line(client)
    for _ in range(MAX_ATTEMPTS):
        await d.begin(isolated=True)
    with pytest.raises(PoisonMessage) as caught:
        await d.begin(isolated=True)
    opened = caught.value.opened
    assert isinstance(opened, Opened)
    assert opened.turn.unrecorded_attempts == MAX_ATTEMPTS
