"""A breaker: after several failures in a row a server is left alone for a while."""

from __future__ import annotations

FAILURES = 5
REST_SECONDS = 20.0


class Breaker:
    """Counts failures in a row; times are seconds on the caller's monotonic clock."""

    def __init__(self, failures: int = FAILURES, rest: float = REST_SECONDS) -> None:
        self._limit = failures
        self._rest = rest
        self._failures = 0
        self._until = 0.0
        self._is_tried = False

    def admits(self, now: float) -> bool:
        """Whether a try may be made; after the rest one try passes, and then another rest."""
        if self._failures < self._limit:
            return True
        if now < self._until:
            return False
        self._until = now + self._rest
        self._is_tried = True
        return True

    def is_open(self, now: float) -> bool:
        """Whether tries are being refused."""
        return self._failures >= self._limit and now < self._until

    def remaining(self, now: float) -> float:
        """Seconds until a try is admitted again."""
        return max(0.0, self._until - now) if self.is_open(now) else 0.0

    def succeeded(self) -> None:
        """A try went well: all is forgotten."""
        self._failures = 0
        self._is_tried = False

    def undecided(self, now: float) -> None:
        """A try ended without a verdict: if it was the one after a rest, the next one passes."""
        if self._is_tried:
            self._is_tried = False
            self._until = now

    def failed(self, now: float) -> bool:
        """A try failed; True if that opened the breaker."""
        self._failures += 1
        self._is_tried = False
        if self._failures < self._limit:
            return False
        self._until = now + self._rest
        return self._failures == self._limit
