"""The limits of one turn, and how much of them is used."""

from __future__ import annotations

from collections import deque

from bot.messages import Clock
from registry.limits import TurnLimits

MAX_LOOPS = 2


class TurnUsage:
    """The use of one turn."""

    def __init__(self, limits: TurnLimits, clock: Clock) -> None:
        self.limits = limits
        self._clock = clock
        self._until = clock.monotonic() + limits.seconds
        self.requests = 0
        self.calls = 0
        self.loops = 0

    @property
    def seconds_left(self) -> float:
        """Wall-clock seconds that this turn may still run."""
        return self._until - self._clock.monotonic()

    def spent(self) -> str | None:
        """Why the next request has to be the last one, in words, or None."""
        if self.requests >= self.limits.requests - 1:
            return f"{self.limits.requests} model requests"
        if self.calls >= self.limits.calls:
            return f"{self.limits.calls} tool calls"
        if self.loops >= MAX_LOOPS:
            return "calls that go round in circles"
        return None


WINDOW_SECONDS = 60.0
FORGET_ABOVE = 10_000

Who = tuple[str, str, int]


class RequestRate:
    """Model requests of the last minute by line, conversation and person.

    A conversation lives on one replica at a time, so the count is kept in memory.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: dict[Who, deque[float]] = {}

    def take(self, who: Who, most: int) -> bool:
        """Count a request, or say that there were `most` already in the last minute."""
        now = self._clock.monotonic()
        if len(self._made) > FORGET_ABOVE:
            self._made = {w: at for w, at in self._made.items() if now - at[-1] < WINDOW_SECONDS}
        made = self._made.setdefault(who, deque())
        while made and now - made[0] >= WINDOW_SECONDS:
            made.popleft()
        if len(made) >= most:
            return False
        made.append(now)
        return True
