"""The limits of one turn, and how much of them is used."""

from __future__ import annotations

from dataclasses import dataclass

from bot.ports import Clock


@dataclass(frozen=True, slots=True)
class Limits:
    """What one turn may use (spec 5, 9.24); history is trimmed in blocks of a quarter."""

    requests: int = 25
    calls: int = 10
    seconds: float = 600.0
    attempts: int = 4
    history_turns: int = 48
    history_chars: int = 240_000


class Budget:
    """The use of one turn."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self._clock = clock
        self._until = clock.monotonic() + limits.seconds
        self.requests = 0
        self.calls = 0

    @property
    def seconds_left(self) -> float:
        """Wall-clock seconds that this turn may still run."""
        return self._until - self._clock.monotonic()

    def spent(self) -> str | None:
        """Which limit is reached, in words, or None."""
        if self.requests >= self.limits.requests:
            return f"{self.limits.requests} model requests"
        if self.calls >= self.limits.calls:
            return f"{self.limits.calls} tool calls"
        return None
