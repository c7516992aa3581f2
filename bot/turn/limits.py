"""How much of its limits a turn has used, and how many requests a person made in a minute."""

from __future__ import annotations

from collections import deque

from bot.messages import Clock
from registry.limits import TurnLimits

MAX_LOOPS = 2
WINDOW_SECONDS = 60.0
MAX_KNOWN = 10_000


class TurnUsage:
    """What one turn has used: `requests` counts every try, `loops` calls that went in circles."""

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

    @property
    def has_calls_left(self) -> bool:
        """Whether the turn may make another tool call."""
        return self.calls < self.limits.calls

    @property
    def is_last_request(self) -> bool:
        """Whether the next request has to be the last one, without tools."""
        used_up = self.requests >= self.limits.requests - 1 or self.loops >= MAX_LOOPS
        return used_up or not self.has_calls_left


Requester = tuple[str, str, int]
"""Line, conversation (or what else is counted), person."""


class RequestRate:
    """Model requests of the last minute by line, conversation and person.

    A conversation lives on one replica at a time, so the count is kept in memory.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: dict[Requester, deque[float]] = {}

    def take(self, who: Requester, limit: int) -> bool:
        """Count a request; False, and not counted, if there were `limit` in the last minute."""
        now = self._clock.monotonic()
        if len(self._made) > MAX_KNOWN:
            self._made = {w: at for w, at in self._made.items() if now - at[-1] < WINDOW_SECONDS}
        made = self._made.setdefault(who, deque())
        while made and now - made[0] >= WINDOW_SECONDS:
            made.popleft()
        if len(made) >= limit:
            return False
        made.append(now)
        return True
