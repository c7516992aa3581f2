"""What one turn spends: a reservation before each model request, a ledger line after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bot.errors import OutOfBudget
from bot.messages import Clock, Fence, ModelRequest, Usage
from bot.store.journal import Record
from bot.usage import pricing
from bot.usage.budgets import EXHAUSTED, Budgets, Cost, Spender, day_of
from bot.usage.ledger import BudgetService
from registry.agent_limits import TurnLimits

USAGE = "usage"
"""The kind of a record that the journal writes into the ledger, in the same step."""
RELEASE = "release"
"""The kind of a record that only releases what was reserved."""
MIN_HOLD_SECONDS, MAX_HOLD_SECONDS = 900.0, 86_400.0
UNPRICED = (
    "the price of this model is not known, and there is a budget in dollars to keep. "
    "The operator of this bot can set the price."
)


@dataclass(slots=True)
class TurnBudget:
    """One turn's spending.

    `budgets` gives the limits by kind of scope as they are now. `model` is the agent's, `seconds`
    the longest that one request may last. `unrecorded_attempts` is how many requests of the turn
    may have been made, also before a restart of the host, that have no ledger line yet.
    """

    service: BudgetService
    fence: Fence
    spender: Spender
    budgets: Callable[[], Budgets]
    clock: Clock
    model: str
    seconds: float = 0.0
    unrecorded_attempts: int = field(init=False, default=0)
    _request: ModelRequest | None = field(init=False, default=None)
    _day: str = field(init=False, default="")
    _reserved_in: list[str] = field(init=False, default_factory=list)
    _last_guess: pricing.Charge | None = field(init=False, default=None)

    async def reserve(
        self, request: ModelRequest, known: Callable[[], pricing.KnownPrompt] = pricing.KnownPrompt
    ) -> None:
        """Reserve the most that a request can cost; raises OutOfBudget with a text for people.

        `known` says what the newest answer of the conversation tells about it.
        """
        day, budgets = day_of(self.clock.wall()), self.budgets()
        scopes = self.spender.scopes(day)
        limits = {scopes[kind]: limit for kind, limit in budgets.items()}
        if self._reserved_in and self._reserved_in != [*limits]:
            await self.release()
        if limits:
            cost, priced = pricing.worst_case_cost(request, self.service.pricing, known())
            if priced.micros is None and any(limit.micros is not None for limit in limits.values()):
                await self._refuse_unpriced(request.model)
            times = 1 + self.unrecorded_attempts
            cost = Cost(cost.tokens * times, cost.micros * times)
            seconds = min(max(MIN_HOLD_SECONDS, self.seconds), MAX_HOLD_SECONDS)
            self._reserved_in, ledger = [*limits], self.service.ledger
            exhausted = await ledger.reserve(self.fence, self._hold, cost, limits, seconds)
            if exhausted is not None:
                self._reserved_in = []
                await self._refuse_exhausted(exhausted)
        self._request, self._day = request, day

    async def take_request(self, limits: TurnLimits) -> bool:
        """Count a request of the agent and of its account; False where a minute has no more."""
        if limits.account_per_minute is None and limits.agent_per_minute is None:
            return True
        who = self.spender.attribution
        most = {
            f"account:{who.account}": limits.account_per_minute,
            f"agent:{self.spender.agent}": limits.agent_per_minute,
        }
        given = {scope: limit for scope, limit in most.items() if limit is not None}
        full = await self.service.ledger.take(given)
        if full is not None:
            name = full.replace(":", " ", 1)
            text = (
                f"A request was refused: {name} has used up its {given[full]} requests of a minute."
            )
            await self.service.alert(f"rate:{full}:{day_of(self.clock.wall())}", text)
        return full is None

    async def release(self) -> None:
        """Release what is still reserved."""
        if self._reserved_in:
            await self.service.ledger.release(self.fence, self._hold, self._reserved_in)
            self._reserved_in = []

    def interrupted(self) -> list[Record]:
        """Ledger records of the request that ran and was cut off, and of attempts before it.

        A request without any answer has none until the same is asked again.
        """
        charge = pricing.estimate_interrupted(self._request) if self._request else None
        self._request = None
        if charge is None:
            return []
        if charge.count == "guessed":
            self.unrecorded_attempts, self._last_guess = self.unrecorded_attempts + 1, charge
            return []
        return [*self._earlier(charge.of_earlier_attempt()), self._usage_record(charge)]

    def usage_records(self, records: Sequence[Record], size: int | None = None) -> list[Record]:
        """Ledger records for the answers among these records.

        At the end of a turn, `size` is the size of its history in bytes; then the records of an
        interrupted request and of earlier attempts come too.
        """
        found: list[Record] = []
        for record in records:
            if record.kind == "model" and not record.body.get("partial"):
                charge = self._answered(record)
                found += [*self._earlier(charge.of_earlier_attempt()), self._usage_record(charge)]
        if size is not None:
            found += self.interrupted()
            unanswered = pricing.Charge(Usage(pricing.tokens_in(size)), "guessed", self.model)
            found += self._earlier(self._last_guess or unanswered)
            found = found or self._release_records()
        return found

    def _answered(self, record: Record) -> pricing.Charge:
        request, self._request = self._request, None
        charge = pricing.Charge(Usage(*record.body["usage"]), "told", record.body["model"])
        if request is None:
            return charge
        asked, message = request.model, request.meter.message
        return replace(charge, model=charge.model or asked, asked=asked, message=message)

    def _earlier(self, guess: pricing.Charge) -> list[Record]:
        count, self.unrecorded_attempts = self.unrecorded_attempts, 0
        return [self._usage_record(guess) for _ in range(count)]

    def _release_records(self) -> list[Record]:
        if not self._reserved_in and not self.budgets():
            return []
        day = self._day or day_of(self.clock.wall())
        scopes = [*dict.fromkeys([*self._reserved_in, *self.spender.scopes(day).values()])]
        self._reserved_in = []
        return [Record(RELEASE, {"scopes": scopes, "hold": self._hold})]

    @property
    def _hold(self) -> str:
        """The name of the turn's reservation: its next owner finds it, and settles it."""
        return f"{self.spender.line}:{self.spender.entry}"

    def _usage_record(self, charge: pricing.Charge) -> Record:
        spender, usage, priced = self.spender, charge.usage, charge.priced(self.service.pricing)
        day = self._day or day_of(self.clock.wall())
        scopes = spender.scopes(day)
        if "turn" not in self.budgets() and scopes["turn"] not in self._reserved_in:
            del scopes["turn"]  # a turn is counted only where it has a budget
        body = {
            "day": day,
            "at": int(self.clock.wall()),
            "line": spender.line,
            "turn": spender.entry,
            "conversation": spender.conversation,
            **spender.attribution.as_json(),
            "person": str(spender.person),
            "model": charge.model,
            "message": charge.message,
            "in": usage.input,
            "out": usage.output,
            "cacheRead": usage.cache_read,
            "cacheWrite": usage.cache_write,
            "tokens": {
                "prompt": charge.tokens - usage.output,
                "completion": usage.output,
                "total": charge.tokens,
            },
            "cost": None if priced.micros is None else priced.micros / 1_000_000,
            "count": charge.count,
            "micros": priced.micros or 0,
            "sure": priced.source,
            "scopes": [*scopes.values()],
            "hold": self._hold,
        }
        self._reserved_in = []
        return Record(USAGE, body)

    async def _refuse_exhausted(self, scope: str) -> None:
        kind = scope.partition(":")[0]
        if kind != "turn":
            name, _, day = scope.rpartition(":")
            agent = self.spender.attribution.agent
            text = f"Agent {agent}: the budget of {name} is used up for {day}."
            await self.service.alert(f"budget:{scope}", text)
        raise OutOfBudget(EXHAUSTED[kind])

    async def _refuse_unpriced(self, model: str) -> None:
        text = (
            f"Agent {self.spender.attribution.agent} does not answer: it has a budget in dollars, "
            f"and the price of {model} is not known. Set it in PRICES, or give the budget in "
            "tokens."
        )
        await self.service.alert(f"price:{model}:{day_of(self.clock.wall())}", text)
        raise OutOfBudget(UNPRICED)
