"""When the suspended turns of a line go on by themselves: what the store keeps, in memory."""

from __future__ import annotations

import asyncio
import contextlib

from bot.ports.clock import Clock


class Timers:
    """Names of sheets with the wall time when each is due."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._changed = asyncio.Event()

    def set(self, nonce: str, due: float) -> None:
        """A sheet is due at this time, 0 at once."""
        self._due[nonce] = due
        self._changed.set()

    def drop(self, nonce: str) -> None:
        """A sheet has done its work."""
        self._due.pop(nonce, None)

    async def next(self, clock: Clock) -> str:
        """Wait until a sheet is due, and take it out."""
        while True:
            self._changed.clear()
            nonce = min(self._due, key=self._due.__getitem__, default=None)
            if nonce is None:
                await self._changed.wait()
                continue
            left = self._due[nonce] - clock.wall()
            if left <= 0:
                del self._due[nonce]
                return nonce
            with contextlib.suppress(TimeoutError):  # wait_for may swallow a cancellation
                async with asyncio.timeout(min(left, 60.0)):
                    await self._changed.wait()
