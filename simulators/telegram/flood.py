"""Flood budgets: how many calls a chat and a bot may take, and for how long they are refused."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from simulators.telegram.refusals import too_many


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `calls` in `seconds`; one more freezes for `penalty` seconds.

    A call while frozen multiplies what is left of the freeze by `escalate`.
    """

    calls: int
    seconds: float
    penalty: float = 1.0
    escalate: float = 1.0


@dataclass(slots=True)
class _Meter:
    spent: deque[float] = field(default_factory=deque)
    frozen_until: float = 0.0


class Flood:
    """Budgets for private chats, groups and whole bots; all off by default."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.private: Budget | None = None
        self.group: Budget | None = None
        self.bot: Budget | None = None
        self._meters: dict[tuple[int, int], _Meter] = {}

    def clear(self) -> None:
        """Switches all budgets off and thaws everything."""
        self.private = self.group = self.bot = None
        self._meters.clear()

    def freeze(self, bot: int, chat: int, seconds: float) -> None:
        """Refuses every call of a bot to a chat (0: to all chats) for a while."""
        self._meters.setdefault((bot, chat), _Meter()).frozen_until = self._now() + seconds

    def spend(self, bot: int, chat: int) -> None:
        """Charges one call to a chat; raises 429 when a budget is used up or frozen."""
        if not (self._meters or self.private or self.group or self.bot):
            return
        self._charge((bot, chat), self.private if chat > 0 else self.group)
        self._charge((bot, 0), self.bot)

    def _charge(self, key: tuple[int, int], budget: Budget | None) -> None:
        meter = self._meters.get(key)
        if meter is None:
            if budget is None:
                return
            meter = self._meters[key] = _Meter()
        now = self._now()
        if now < meter.frozen_until:
            left = (meter.frozen_until - now) * (budget.escalate if budget else 1.0)
            meter.frozen_until = now + left
            raise too_many(max(1, math.ceil(left)))
        if budget is not None:
            self._count(meter, budget, now)

    def _count(self, meter: _Meter, budget: Budget, now: float) -> None:
        while meter.spent and meter.spent[0] <= now - budget.seconds:
            meter.spent.popleft()
        if len(meter.spent) >= budget.calls:
            meter.frozen_until = now + budget.penalty
            raise too_many(max(1, math.ceil(budget.penalty)))
        meter.spent.append(now)


class NewTokenLimit:
    """How many tokens may call for the first time within a minute; off by default."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._most: int | None = None
        self._known: set[str] = set()
        self._came: deque[float] = deque()

    def limit(self, most: int | None) -> None:
        """At most so many new tokens a minute from now on, every token being new; None: any."""
        self._most = most
        self._known.clear()
        self._came.clear()

    def check(self, token: str) -> None:
        """Accepts a known token, and a new one within the limit; else raises 429."""
        if self._most is None or token in self._known:
            return
        now = self._now()
        while self._came and self._came[0] <= now - 60:
            self._came.popleft()
        if len(self._came) >= self._most:
            raise too_many(int(self._came[0] + 60 - now) + 1)
        self._came.append(now)
        self._known.add(token)
