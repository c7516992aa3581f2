"""Whom a model request is counted for, and the most that each of them may spend; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.messages import DEFAULT_ACCOUNT
from registry.limits import Budget

KINDS = ("turn", "person", "chat", "agent", "account", "host")

TOMORROW = "It is free again tomorrow (UTC), or ask whoever runs me for more."
WORDS: Mapping[str, str] = {
    "turn": "this answer has used up what one answer may cost. Ask for less at once, please.",
    "person": f"you have used up what one person may use in a day. {TOMORROW}",
    "chat": f"this chat has used up what it may use in a day. {TOMORROW}",
    "agent": f"this agent has used up what it may use in a day. {TOMORROW}",
    "account": f"all agents here together have used up what they may use in a day. {TOMORROW}",
    "host": f"everybody together has used up what may be used in a day. {TOMORROW}",
}
"""What a person is told where a budget has not enough, by its kind."""


@dataclass(frozen=True, slots=True)
class SpendLimit:
    """The most of one budget: tokens of all kinds, and millionths of a dollar; None is no limit."""

    tokens: int | None = None
    micros: int | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens of all kinds, and millionths of a dollar."""

    tokens: int
    micros: int


def spend_limit(tokens: int | None, dollars: float | None) -> SpendLimit:
    """The most of one budget as people write it."""
    return SpendLimit(tokens, None if dollars is None else max(1, round(dollars * 1_000_000)))


def spend_limits(budgets: Iterable[tuple[str, Budget | None]]) -> dict[str, SpendLimit]:
    """The budgets of a host or an agent that are set, by kind of scope."""
    return {
        kind: spend_limit(budget.tokens, budget.usd)
        for kind, budget in budgets
        if budget and (budget.tokens is not None or budget.usd is not None)
    }


Budgets = Mapping[str, SpendLimit]
"""The most by kind of scope; a kind that is not there has no limit."""


def lowest_limits(one: Budgets, other: Budgets) -> dict[str, SpendLimit]:
    """Both at once: the lower of two limits wherever both have one."""
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
    """For whom a turn spends."""

    line: str
    conversation: str
    agent: str
    person: int
    entry: str
    account: str = DEFAULT_ACCOUNT

    def scopes(self, day: str) -> dict[str, str]:
        """The names of what a request of this day is counted in, by kind.

        A turn has one budget, also where it goes on after midnight: its day is that of its entry.
        """
        return {
            "turn": f"turn:{self.line}:{self.entry}:{_day_of_entry(self.entry)}",
            "person": f"person:{self.person}:{day}",
            "chat": f"chat:{self.line}:{self.conversation}:{day}",
            "agent": f"agent:{self.agent}:{day}",
            "account": f"account:{self.account}:{day}",
            "host": f"host:{day}",
        }


def day_of(now: float) -> str:
    """The day of a time in seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")


def _day_of_entry(entry: str) -> str:
    """An inbox entry's id begins with its time in milliseconds."""
    millis = entry.partition("-")[0]
    return day_of(int(millis) / 1000) if millis.isdigit() else ""
