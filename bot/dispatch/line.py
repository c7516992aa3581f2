"""A line as the host holds it: which bot, under which fence, with which way to its people."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.ports.channel import Channel
from bot.ports.fence import Fence
from bot.turn.timers import Timers
from registry.binding import BotIdentity


@dataclass(frozen=True, slots=True)
class Line:
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
