"""Per-model rate limiter: a 429 or 529 pauses all requests, then ramps up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from bot.errors import ModelBusy
from bot.messages import Clock
from bot.ops.tasks import wait_first

log = structlog.get_logger("model")

LONGEST_WAIT = 60.0
"""A request that would wait longer fails at once; one per this many seconds is sent anyway."""
DEFAULT_PAUSE = 1.0
"""The pause after a 429 that does not say how long it lasts."""
FIRST_CONCURRENCY = 4
UNLIMITED_FROM = 64
SLOW_SECONDS = 5.0
RECHECK_SECONDS = 1.0


class Permit:
    """One request on its way to the server; report its outcome here."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter
        self._pauses = limiter.pauses
        self.began = time.monotonic()

    def succeeded(self) -> None:
        """The server accepted it; counts only if no pause has begun since it was sent."""
        if self._pauses == self._limiter.pauses:
            self._limiter.ramp_up()

    def refused(self, status: int, seconds: float | None) -> None:
        """The server has no room for this key (429), or for anybody (529).

        `seconds` is how long, where the server says so; an overload may be over at any moment.
        """
        if status == 429:
            self._limiter.pause(DEFAULT_PAUSE if seconds is None else seconds)
        elif status == 529:
            self._limiter.pause(0.0)


class RateLimiter:
    """Lets all requests through; after a refusal none for a while, then a few at once, then more.

    So those that wait do not all come back at the same moment, to be refused again.
    """

    def __init__(self, clock: Clock, model: str) -> None:
        self._clock = clock
        self._model = model
        self._paused_until = self._last_attempt = 0.0
        self.pauses = 0
        self._concurrency: int | None = None
        self._running: set[Permit] = set()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[Permit]:
        """Wait until one more request may run; raises ModelBusy where that takes too long."""
        await self._wait_for_permit()
        permit = Permit(self)
        self._running.add(permit)
        try:
            yield permit
        finally:
            self._running.discard(permit)
            self._changed.set()
            self._changed = asyncio.Event()

    @property
    def is_unlimited(self) -> bool:
        """Whether no request has to wait."""
        return self._concurrency is None

    def pause(self, seconds: float) -> None:
        """Send nothing for so long, then a few requests at once; half as many at each refusal."""
        self.pauses += 1
        self._last_attempt = self._clock.monotonic()
        self._paused_until = max(self._paused_until, self._last_attempt + seconds)
        if self._concurrency is None:
            log.warning("model.rate_limited", model=self._model, seconds=round(seconds, 1))
            self._concurrency = FIRST_CONCURRENCY
        else:
            self._concurrency = max(1, self._concurrency // 2)

    def ramp_up(self) -> None:
        """A request was accepted: end the pause, and let one more run at once."""
        self._paused_until = 0.0
        if self._concurrency is not None:
            more = self._concurrency + 1
            self._concurrency = more if more <= UNLIMITED_FROM else None

    async def _wait_for_permit(self) -> None:
        while (seconds := self._seconds_to_wait()) is not None:
            if seconds > LONGEST_WAIT:
                now = self._clock.monotonic()  # one a minute may try, as limits are lifted too
                if now - self._last_attempt < LONGEST_WAIT:
                    raise ModelBusy(f"{self._model} takes no request for {seconds:.0f} s", seconds)
                self._last_attempt = now
                return
            await wait_first(self._changed, timeout=seconds or RECHECK_SECONDS)

    def _seconds_to_wait(self) -> float | None:
        """Seconds until the pause ends, 0 where another request must end first, None if neither."""
        if self._concurrency is None:
            return None
        if (left := self._paused_until - self._clock.monotonic()) > 0:
            return left
        now = time.monotonic()
        quick = sum(now - permit.began < SLOW_SECONDS for permit in self._running)
        return None if quick < self._concurrency else 0.0
