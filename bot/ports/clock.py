"""What time it is, and how to wait for it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall time for people, monotonic time for deadlines, and sleeping; tests bring their own."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward, also while the machine sleeps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a negative time is none."""
        ...
