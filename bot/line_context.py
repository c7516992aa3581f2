"""A line while this replica owns it: the right to write, the way to its people, its timers."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from bot.messages import Channel, Clock, Fence
from registry.binding import BotIdentity


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


@dataclass(frozen=True, slots=True)
class LineContext:
    """One bot's line while it is ours. `token_hash` is the SHA-256 of its token in hex."""

    fence: Fence
    bot: int
    username: str
    token_hash: str
    channel: Channel
    timers: Timers = field(default_factory=Timers)

    @property
    def identity(self) -> BotIdentity:
        """The bot under every name that a binding may use."""
        return BotIdentity(self.token_hash, self.bot, self.username)
