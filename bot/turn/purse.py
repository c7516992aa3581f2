"""What a turn spends: a line in the ledger for each model request, budgets reserved before it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import orjson

from bot.ports import Clock, Fence, ModelRequest, Record, Usage

LEDGER = "$"
"""The kind of a record that the journal writes into the ledger, in the same step."""
BYTES_OF_A_TOKEN = 2
HELD_SECONDS = 900.0
SCOPES = ("turn", "person", "chat", "agent")
WORDS: Mapping[str, str] = {
    "turn": "this answer has used up what one answer may cost",
    "person": "you have used up what one person may use in a day",
    "chat": "this chat has used up what it may use in a day",
    "agent": "this agent has used up what it may use in a day",
}


@dataclass(frozen=True, slots=True)
class Priced:
    """A cost in millionths of a dollar, None where nobody knows it; `sure` says how it is known."""

    micros: int | None
    sure: str


Pricing = Callable[[str, Usage], Priced]
Alarm = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Most:
    """The most of one budget: tokens of all kinds, and millionths of a dollar; None is no limit."""

    tokens: int | None = None
    micros: int | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens of all kinds, and millionths of a dollar."""

    tokens: int
    micros: int

    def over(self, most: Most) -> bool:
        """Whether this is more than a budget has."""
        too_many = most.tokens is not None and self.tokens > most.tokens
        return too_many or (most.micros is not None and self.micros > most.micros)


class Ledger(Protocol):
    """Budgets of today, as the store counts them."""

    async def reserve(
        self,
        fence: Fence,
        hold: str,
        cost: Cost,
        day: str,
        scopes: Mapping[str, Most],
        until: float,
    ) -> str | None:
        """Set a cost aside in every scope, or in none: the scope that has not enough, or None."""
        ...

    async def release(self, fence: Fence, hold: str, day: str, scopes: Sequence[str]) -> None:
        """What was set aside is not needed."""
        ...

    async def spent(self, scope: str, day: str) -> dict[str, int]:
        """Requests, tokens and micros of a scope on a day."""
        ...


@dataclass(frozen=True, slots=True)
class Bank:
    """What all purses share: the ledger, the prices, and the way to the admins."""

    ledger: Ledger
    pricing: Pricing
    alarm: Alarm

    async def spent(self, spender: Spender, now: float) -> dict[str, dict[str, int]]:
        """What person, chat and agent have spent on the day of this time."""
        kinds = [kind for kind in SCOPES if kind != "turn"]
        return {kind: await self.ledger.spent(spender.scopes[kind], day_of(now)) for kind in kinds}


def day_of(now: float) -> str:
    """The day of a time in seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")


@dataclass(frozen=True, slots=True)
class Spender:
    """For whom a turn spends."""

    line: str
    conversation: str
    agent: str
    person: int
    entry: str

    @property
    def scopes(self) -> dict[str, str]:
        """The names of the budgets that a turn uses, by kind."""
        return {
            "turn": f"turn:{self.line}:{self.entry}",
            "person": f"person:{self.person}",
            "chat": f"chat:{self.line}:{self.conversation}",
            "agent": f"agent:{self.agent}",
        }


class Purse:
    """One turn's spending; `budgets` are the most by kind of scope."""

    def __init__(
        self,
        ledger: Ledger,
        fence: Fence,
        spender: Spender,
        budgets: Mapping[str, Most],
        pricing: Pricing,
        alarm: Alarm,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._fence = fence
        self._spender = spender
        self._budgets = budgets
        self._pricing = pricing
        self._alarm = alarm
        self._clock = clock
        self._hold = ""
        self._day = ""

    async def reserve(self, request: ModelRequest) -> str | None:
        """Set aside what a request can cost at most; words where a budget has not enough."""
        await self.release()
        if not self._budgets:
            return None
        self._hold, self._day = secrets.token_hex(8), self._today()
        limits = {self._spender.scopes[kind]: most for kind, most in self._budgets.items()}
        until = self._clock.wall() + HELD_SECONDS
        cost = self._at_most(request)
        short = await self._ledger.reserve(self._fence, self._hold, cost, self._day, limits, until)
        if short is None:
            return None
        self._hold = ""
        kind = short.partition(":")[0]
        await self._tell_admins(kind, short)
        return WORDS[kind]

    async def release(self) -> None:
        """A request came to nothing: what was set aside for it is free again."""
        if self._hold:
            scopes = [self._spender.scopes[kind] for kind in self._budgets]
            await self._ledger.release(self._fence, self._hold, self._day, scopes)
            self._hold = ""

    def line(self, answer: Record) -> Record:
        """The ledger's line for a recorded answer; it settles what was set aside."""
        counts = answer.body["usage"]
        priced = self._pricing(answer.body["model"], Usage(*counts))
        kinds = dict(zip(("in", "out", "cacheRead", "cacheWrite"), counts, strict=True))
        body = {
            "day": self._day or self._today(),
            "at": answer.body["at"],
            "line": self._spender.line,
            "turn": self._spender.entry,
            "conversation": self._spender.conversation,
            "agent": self._spender.agent,
            "person": str(self._spender.person),
            "model": answer.body["model"],
            **kinds,
            "tokens": sum(counts),
            "micros": priced.micros or 0,
            "sure": priced.sure,
            "scopes": self._counted(),
            "hold": self._hold,
        }
        self._hold = self._day = ""
        return Record(LEDGER, body)

    def _counted(self) -> list[str]:
        """The scopes in which a line counts; a turn only where it has a budget."""
        scopes = self._spender.scopes
        return [name for kind, name in scopes.items() if kind != "turn" or kind in self._budgets]

    def _at_most(self, request: ModelRequest) -> Cost:
        sent = [request.system, request.tools, request.messages]
        tokens = len(orjson.dumps(sent)) // BYTES_OF_A_TOKEN
        usage = Usage(cache_write=tokens, output=request.max_tokens)
        return Cost(tokens + request.max_tokens, self._pricing(request.model, usage).micros or 0)

    async def _tell_admins(self, kind: str, scope: str) -> None:
        agent = self._spender.agent
        text = f"Agent {agent}: the budget of {scope} is used up for {self._today()}."
        if kind != "turn":
            await self._alarm(f"budget:{agent}:{scope}:{self._today()}", text)

    def _today(self) -> str:
        return day_of(self._clock.wall())
