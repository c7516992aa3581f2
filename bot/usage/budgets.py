"""Budgets of turns, people, chats and agents, and how often people may ask."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bot.messages import DEFAULT_ACCOUNT, Attribution, Clock, PersonId
from registry.agent_limits import Budget, TurnLimits

KINDS = ("turn", "person", "chat", "key", "agent", "account", "host")

TOMORROW = "The limit resets tomorrow (UTC); the operator of this bot can raise it."
EXHAUSTED: Mapping[str, str] = {
    "turn": "this answer has used up what one answer may cost. Ask for less at once, please.",
    "person": f"you have used up what one person may use in a day. {TOMORROW}",
    "chat": f"this chat has used up what it may use in a day. {TOMORROW}",
    "key": f"this API key has used up what it may use in a day. {TOMORROW}",
    "agent": f"this agent has used up what it may use in a day. {TOMORROW}",
    "account": f"all agents here together have used up what they may use in a day. {TOMORROW}",
    "host": f"everybody together has used up what may be used in a day. {TOMORROW}",
}
"""What a person is told when a budget is used up, by its kind."""


@dataclass(frozen=True, slots=True)
class SpendLimit:
    """A spending limit in tokens of all kinds and micro-dollars; None means unlimited."""

    tokens: int | None = None
    micros: int | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens of all kinds, and micro-dollars (millionths of a dollar)."""

    tokens: int
    micros: int


Budgets = Mapping[str, SpendLimit]
"""Spending limits by kind of scope; a kind without an entry has no limit."""


def spend_limit(tokens: int | None, dollars: float | None) -> SpendLimit:
    """The limit for a budget as people write it."""
    return SpendLimit(tokens, None if dollars is None else max(1, round(dollars * 1_000_000)))


def spend_limits(budgets: Iterable[tuple[str, Budget | None]]) -> dict[str, SpendLimit]:
    """The budgets of a host or an agent that are set, by kind of scope."""
    return {
        kind: spend_limit(budget.tokens, budget.usd)
        for kind, budget in budgets
        if budget and (budget.tokens is not None or budget.usd is not None)
    }


def lowest_limits(one: Budgets, other: Budgets) -> dict[str, SpendLimit]:
    """Two sets of limits as one: the lower limit wherever both have one."""
    none = SpendLimit()
    pairs = {k: (one.get(k, none), other.get(k, none)) for k in KINDS if k in one or k in other}
    return {
        kind: SpendLimit(_lower(a.tokens, b.tokens), _lower(a.micros, b.micros))
        for kind, (a, b) in pairs.items()
    }


def _lower(one: int | None, other: int | None) -> int | None:
    return min((n for n in (one, other) if n is not None), default=None)


@dataclass(frozen=True, slots=True)
class Spender:
    """For whom a turn spends: where it runs, who asked, and which agent answers.

    `entry` is the turn's inbox entry, `key` the id of the API key that was used over HTTP.
    """

    line: str
    conversation: str
    person: PersonId
    entry: str
    attribution: Attribution
    key: str | None = None

    @property
    def agent(self) -> str:
        """The agent as budgets and limits count it: each account counts on its own."""
        who = self.attribution
        return who.agent if who.account == DEFAULT_ACCOUNT else f"{who.account}/{who.agent}"

    def scopes(self, day: str) -> dict[str, str]:
        """The names of the scopes in which a request of this day counts, by kind.

        A turn has one budget, even across midnight: its day is that of its entry, whose id begins
        with its time in milliseconds.
        """
        millis = self.entry.partition("-")[0]
        began = day_of(int(millis) / 1000) if millis.isdigit() else ""
        of_key = {} if self.key is None else {"key": f"key:{self.key}:{day}"}
        return {
            **of_key,
            "turn": f"turn:{self.line}:{self.entry}:{began}",
            "person": f"person:{self.person}:{day}",
            "chat": f"chat:{self.line}:{self.conversation}:{day}",
            "agent": f"agent:{self.agent}:{day}",
            "account": f"account:{self.attribution.account}:{day}",
            "host": f"host:{day}",
        }


def day_of(now: float) -> str:
    """The day (UTC) of a time in seconds since the epoch, as `2026-01-31`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")


MAX_LOOPS = 2
MAX_MALFORMED = 2
WINDOW_SECONDS = 60.0
LEAST_KNOWN = 500


class TurnUsage:
    """What one turn has used.

    `requests` counts every try, `loops` calls that went in circles, `malformed` answers with calls
    whose input could not be passed on.
    """

    def __init__(self, limits: TurnLimits, clock: Clock) -> None:
        self.limits, self._clock = limits, clock
        self._until = clock.monotonic() + limits.seconds
        self.requests = self.calls = self.loops = self.malformed = 0

    @property
    def seconds_left(self) -> float:
        """Wall-clock seconds that this turn may still run."""
        return self._until - self._clock.monotonic()

    @property
    def has_calls_left(self) -> bool:
        """Whether the turn may make another tool call."""
        return self.calls < self.limits.calls

    @property
    def is_last_request(self) -> bool:
        """Whether the next request has to be the last one, without tools."""
        used_up = self.requests >= self.limits.requests - 1 or self.loops >= MAX_LOOPS
        return used_up or self.malformed >= MAX_MALFORMED or not self.has_calls_left


Requester = tuple[str, str, PersonId]
"""Line, conversation (or what else is counted), person."""


@dataclass(slots=True, repr=False)
class RequestRate:
    """Model requests of the last minute by line, conversation and person.

    A conversation lives on one replica at a time, so the count is kept in memory.
    """

    clock: Clock
    _made: dict[Requester, deque[float]] = field(init=False, default_factory=dict)
    _look_at: int = field(init=False, default=LEAST_KNOWN)
    """How many there may be until those are dropped that have made none lately."""

    def take(self, who: Requester, limit: int) -> bool:
        """Count a request; False, and not counted, if there were `limit` in the last minute."""
        now = self.clock.monotonic()
        if len(self._made) >= self._look_at:
            self._made = {w: at for w, at in self._made.items() if now - at[-1] < WINDOW_SECONDS}
            self._look_at = max(LEAST_KNOWN, 2 * len(self._made))
        made = self._made.setdefault(who, deque())
        while made and now - made[0] >= WINDOW_SECONDS:
            made.popleft()
        if len(made) >= limit:
            return False
        made.append(now)
        return True
