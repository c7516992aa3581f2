"""The system's clock, and how long to wait before the next attempt."""

from __future__ import annotations

import asyncio
import random
import time


class SystemClock:
    """The clocks of a real machine."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since boot, counting the machine's sleep where the system can tell."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(max(0.0, seconds))


def backoff(failures: int, first: float, longest: float, jitter: float = 0.2) -> float:
    """Seconds to wait after so many failures in a row: `first`, doubled each time, up to `longest`.

    `jitter` is the share by which the wait varies around that, so that many do not retry at once.
    0 without a failure.
    """
    if failures <= 0:
        return 0.0
    seconds = min(longest, first * 2.0 ** min(failures - 1, 32))
    return seconds * random.uniform(1 - jitter, 1 + jitter)  # noqa: S311
