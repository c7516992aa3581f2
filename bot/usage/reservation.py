"""What a turn spends: a line in the ledger for each model request, budgets reserved before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bot.errors import OutOfBudget
from bot.messages import Clock, Fence, ModelRequest
from bot.store.journal import Record
from bot.usage.ledger import Ledger
from bot.usage.limits import WORDS, Budgets, Cost, Spender, SpendLimit, day_of
from bot.usage.pricing import (
    Charge,
    KnownPrompt,
    Pricing,
    estimate_interrupted,
    estimate_unanswered,
    usage_by_kind,
    usage_from,
    worst_case_cost,
)

LEDGER_LINE = "$"
"""The kind of a record that the journal writes into the ledger, in the same step."""
RELEASE = "$free"
"""The kind of a record that only frees what was set aside."""
SHORTEST_HOLD, LONGEST_HOLD = 900.0, 86_400.0
UNPRICED = (
    "nobody knows what this model costs, and there is a budget in dollars to keep. "
    "Whoever runs me can set the price."
)

Alarm = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class BudgetService:
    """What all purses share: the ledger, the prices, and the way to the admins."""

    ledger: Ledger
    pricing: Pricing
    alarm: Alarm

    async def spent(
        self, spender: Spender, budgets: Budgets, now: float
    ) -> dict[str, dict[str, int]]:
        """What was spent on the day of this time, by kind, with the limits that there are."""
        scopes = spender.scopes(day_of(now))
        found = {k: await self.ledger.spent(name) for k, name in scopes.items() if k != "turn"}
        for kind, most in budgets.items():
            limits = {"most_tokens": most.tokens, "most_micros": most.micros}
            found.get(kind, {}).update({k: v for k, v in limits.items() if v is not None})
        return found


class TurnBudget:
    """One turn's spending; `budgets` tells the most by kind of scope, as it is now.

    `model` is the agent's, `seconds` the longest that one request may last; `lost` is how many
    requests of the turn may have been made, also by its earlier lives, that have no line yet.
    """

    def __init__(
        self,
        bank: BudgetService,
        fence: Fence,
        spender: Spender,
        budgets: Callable[[], Budgets],
        clock: Clock,
        model: str,
        seconds: float = 0.0,
    ) -> None:
        self._bank = bank
        self._fence = fence
        self._spender = spender
        self._budgets = budgets
        self._clock = clock
        self._model = model
        self._seconds = min(max(SHORTEST_HOLD, seconds), LONGEST_HOLD)
        self._asking: ModelRequest | None = None
        self._day = ""
        self._held: list[str] = []
        self._unheard: Charge | None = None
        self.unrecorded_attempts = 0

    async def reserve(
        self, request: ModelRequest, known: Callable[[], KnownPrompt] = KnownPrompt
    ) -> None:
        """Set aside what a request can cost at most; raises `OutOfBudget` with words for people.

        `known` tells what the newest answer of the conversation says of it.
        """
        day, budgets = day_of(self._clock.wall()), self._budgets()
        scopes = self._spender.scopes(day)
        limits = {scopes[kind]: most for kind, most in budgets.items()}
        if self._held and self._held != [*limits]:
            await self.release()
        if limits:
            await self._set_aside(request, limits, known())
        self._asking, self._day = request, day

    async def release(self) -> None:
        """What is still set aside is free again."""
        if self._held:
            await self._bank.ledger.release(self._fence, self._hold, self._held)
            self._held = []

    def interrupted(self) -> list[Record]:
        """The request that ran was cut off: its line, and those of requests before it.

        Of one that nobody has heard of nothing is known until the same is asked again.
        """
        charge = estimate_interrupted(self._asking) if self._asking else None
        self._asking = None
        if charge is None:
            return []
        if charge.count == "guessed":
            self.unrecorded_attempts, self._unheard = self.unrecorded_attempts + 1, charge
            return []
        return [*self._earlier(charge.again()), self._line(charge)]

    def usage_records(self, records: Sequence[Record], size: int | None = None) -> list[Record]:
        """The lines for answers among these records.

        At the end of a turn `size` tells how many bytes its history has; then the line of a request
        that was cut off comes too, and those of earlier lives.
        """
        whole = [r for r in records if r.kind == "model" and not r.body.get("partial")]
        found: list[Record] = []
        for record in whole:
            charge = self._told(record)
            found += [*self._earlier(charge.again()), self._line(charge)]
        if size is not None:
            found += self.interrupted()
            found += self._earlier(self._unheard or estimate_unanswered(self._model, size))
            found = found or self._unused()
        return found

    def _unused(self) -> list[Record]:
        """That nothing stays aside: an earlier life may have left something as well."""
        if not self._held and not self._budgets():
            return []
        day = self._day or day_of(self._clock.wall())
        scopes = [*dict.fromkeys([*self._held, *self._spender.scopes(day).values()])]
        self._held = []
        return [Record(RELEASE, {"scopes": scopes, "hold": self._hold})]

    def _told(self, record: Record) -> Charge:
        asking, self._asking = self._asking, None
        usage, model = usage_from(record.body["usage"]), record.body["model"]
        if asking is None:
            return Charge(usage, "told", model)
        return Charge(usage, "told", model or asking.model, asking.model, asking.meter.message)

    def _earlier(self, charge: Charge) -> list[Record]:
        lost, self.unrecorded_attempts = self.unrecorded_attempts, 0
        return [self._line(charge) for _ in range(lost)]

    @property
    def _hold(self) -> str:
        """The turn's own name: its next owner finds what is set aside, and settles it."""
        return f"{self._spender.line}:{self._spender.entry}"

    def _line(self, charge: Charge) -> Record:
        spender, priced = self._spender, charge.priced(self._bank.pricing)
        day = self._day or day_of(self._clock.wall())
        body = {
            "day": day,
            "at": int(self._clock.wall()),
            "line": spender.line,
            "turn": spender.entry,
            "conversation": spender.conversation,
            "account": spender.account,
            "agent": spender.agent,
            "person": str(spender.person),
            "model": charge.model,
            "message": charge.message,
            **usage_by_kind(charge.usage),
            "tokens": charge.tokens,
            "count": charge.count,
            "micros": priced.micros or 0,
            "sure": priced.sure,
            "scopes": self._counted(day),
            "hold": self._hold,
        }
        self._held = []
        return Record(LEDGER_LINE, body)

    def _counted(self, day: str) -> list[str]:
        """The scopes in which a line counts; a turn only where it has a budget."""
        scopes, counts_turn = self._spender.scopes(day), "turn" in self._budgets()
        turn = scopes["turn"]
        return [
            name for name in scopes.values() if name != turn or counts_turn or turn in self._held
        ]

    async def _set_aside(
        self, request: ModelRequest, limits: Mapping[str, SpendLimit], known: KnownPrompt
    ) -> None:
        cost, priced = worst_case_cost(request, self._bank.pricing, known)
        if priced.micros is None and any(most.micros is not None for most in limits.values()):
            await self._refuse_unpriced(request.model)
        times = 1 + self.unrecorded_attempts
        cost = Cost(cost.tokens * times, cost.micros * times)
        self._held = [*limits]
        ledger = self._bank.ledger
        short = await ledger.reserve(self._fence, self._hold, cost, limits, self._seconds)
        if short is None:
            return
        self._held = []
        await self._refuse(short)

    async def _refuse(self, scope: str) -> None:
        kind = scope.partition(":")[0]
        if kind != "turn":
            name, _, day = scope.rpartition(":")
            text = f"Agent {self._spender.agent}: the budget of {name} is used up for {day}."
            await self._bank.alarm(f"budget:{scope}", text)
        raise OutOfBudget(WORDS[kind])

    async def _refuse_unpriced(self, model: str) -> None:
        text = (
            f"Agent {self._spender.agent} does not answer: it has a budget in dollars, and nobody "
            f"knows what {model} costs. Set its price in PRICES, or give the budget in tokens."
        )
        await self._bank.alarm(f"price:{model}:{day_of(self._clock.wall())}", text)
        raise OutOfBudget(UNPRICED)
