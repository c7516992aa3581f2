"""A line while this host owns it: the right to write, the way to its people, its timers.

A line is the unit of ownership, such as a bot with all its conversations: one host at a time serves
it.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from bot.messages import Channel, Clock, Fence
from registry.binding import BotIdentity


class Timers:
    """The line's suspended turns: the nonce of each approval, and the wall time when it is due."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._changed = asyncio.Event()

    def set(self, nonce: str, due: float) -> None:
        """Make an approval due at this time, with 0 at once."""
        self._due[nonce] = due
        self._changed.set()

    def drop(self, nonce: str) -> None:
        """Forget an approval whose turn is over."""
        self._due.pop(nonce, None)

    async def next(self, clock: Clock) -> str:
        """Wait until an approval is due, and take it out."""
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
    """One line while it is ours; `identity` names its bot as bindings may."""

    fence: Fence
    identity: BotIdentity
    channel: Channel
    timers: Timers = field(default_factory=Timers)

    @property
    def bot(self) -> int:
        """The bot's numeric id."""
        return self.identity.id

    @property
    def username(self) -> str:
        """The bot's username, without the @; empty where it has none."""
        return self.identity.username or ""
