"""The limits of one turn, and how much of them is used."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.ports.clock import Clock

MOST_LOOPS = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """What one turn may use (spec 5, 9.24); history is trimmed in blocks of a quarter.

    `tokens` is the output of one model request, `per_minute` the requests of one person in a
    conversation, `result_chars` the text of one tool result that the model reads at once.
    """

    requests: int = 25
    calls: int = 10
    seconds: float = 600.0
    attempts: int = 4
    history_turns: int = 48
    history_chars: int = 240_000
    tokens: int = 8000
    per_minute: int = 60
    result_chars: int = 100_000

    def under(
        self,
        *,
        requests: int | None = None,
        calls: int | None = None,
        seconds: float | None = None,
        tokens: int | None = None,
        per_minute: int | None = None,
    ) -> Limits:
        """These limits, lower where something lower is given; never higher."""
        return replace(
            self,
            requests=min(self.requests, requests or self.requests),
            calls=min(self.calls, calls or self.calls),
            seconds=min(self.seconds, seconds or self.seconds),
            tokens=min(self.tokens, tokens or self.tokens),
            per_minute=min(self.per_minute, per_minute or self.per_minute),
        )


class Budget:
    """The use of one turn."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
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
        if self.loops >= MOST_LOOPS:
            return "calls that go round in circles"
        return None
