"""Clocks that tests bring."""

from __future__ import annotations


class StoppedClock:
    """A clock that stands still until it is moved, by hand or by a sleep."""

    def __init__(self) -> None:
        self.now = 1000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
