"""How often somebody may ask the model: a sliding minute for each person in a conversation."""

from __future__ import annotations

from collections import deque

from bot.ports.clock import Clock

WINDOW_SECONDS = 60.0
FORGET_ABOVE = 10_000

Who = tuple[str, str, int]


class Rate:
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
