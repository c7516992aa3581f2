"""The gate before one model of one key: a refusal for all is obeyed by all, not learnt by each."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import structlog

from bot.errors import ModelBusy
from bot.messages import Clock

log = structlog.get_logger("model")

LONGEST_WAIT = 60.0
"""Whoever would have to wait longer hears so at once; one in so many seconds tries all the same."""
UNSAID_SECONDS = 1.0
"""How long a limit is obeyed of which the server does not say how long."""
FIRST_FEW = 4
ENOUGH = 64
SLOW_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 1.0


class Permit:
    """One request on its way through; what becomes of it is told to the gate."""

    def __init__(self, gate: RateLimiter) -> None:
        self._gate = gate
        self._closed = gate.closed
        self.at = time.monotonic()

    def passed(self) -> None:
        """The server took it; one that was on its way when the gate was shut says nothing."""
        if self._closed == self._gate.closed:
            self._gate.widen()

    def refused(self, status: int, seconds: float | None) -> None:
        """The server has no room for this key (429), or for anybody (529).

        `seconds` is how long, where it says that; an overload may be over at any moment.
        """
        if status == 429:
            self._gate.close(UNSAID_SECONDS if seconds is None else seconds)
        elif status == 529:
            self._gate.close(0.0)


class RateLimiter:
    """Open to all; after a refusal shut for its time, then open to a few at once and ever more.

    So those who wait do not all come back in the same moment, to be refused again.
    """

    def __init__(self, clock: Clock, model: str) -> None:
        self._clock = clock
        self._model = model
        self._until = self._tried = 0.0
        self.closed = 0
        self._room: int | None = None
        self._inside: set[Permit] = set()
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def passage(self) -> AsyncIterator[Permit]:
        """Wait for room; raises ModelBusy where that would take too long."""
        await self._room_for_one()
        passage = Permit(self)
        self._inside.add(passage)
        try:
            yield passage
        finally:
            self._inside.discard(passage)
            self._look()

    @property
    def is_open(self) -> bool:
        """Whether nobody has to wait."""
        return self._room is None

    def close(self, seconds: float) -> None:
        """Nobody passes for so long, then a few at once; fewer than they were where few failed."""
        self.closed += 1
        self._tried = self._clock.monotonic()
        self._until = max(self._until, self._tried + seconds)
        if self._room is None:
            log.warning("model.held_back", model=self._model, seconds=round(seconds, 1))
        self._room = FIRST_FEW if self._room is None else max(1, self._room // 2)

    def widen(self) -> None:
        """One has passed: one more at once may, and at once."""
        self._until = 0.0
        if self._room is not None:
            self._room = self._room + 1 if self._room < ENOUGH else None

    async def _room_for_one(self) -> None:
        while (seconds := self._wait()) is not None:
            if seconds > LONGEST_WAIT:
                self._try(seconds)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds or LOOK_AGAIN_SECONDS):
                    await self._changed.wait()

    def _try(self, seconds: float) -> None:
        """Whether one may pass before its time, as limits are lifted too; raises ModelBusy."""
        now = self._clock.monotonic()
        if now - self._tried < LONGEST_WAIT:
            raise ModelBusy(f"{self._model} takes no request for {seconds:.0f} s", seconds)
        self._tried = now

    def _wait(self) -> float | None:
        """The seconds until the gate opens, 0 where one has to leave first, None for no wait."""
        if self._room is None:
            return None
        if (left := self._until - self._clock.monotonic()) > 0:
            return left
        now = time.monotonic()
        quick = sum(now - passage.at < SLOW_SECONDS for passage in self._inside)
        return None if quick < self._room else 0.0

    def _look(self) -> None:
        """Whoever waits looks again, in the order in which they came."""
        self._changed.set()
        self._changed = asyncio.Event()
