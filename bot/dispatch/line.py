"""A line as the host holds it: which bot, under which fence, with which way to its people."""

from __future__ import annotations

from dataclasses import dataclass

from bot.ports import Channel, Fence


@dataclass(frozen=True, slots=True)
class Line:
    """One bot's line while it is ours. `token_hash` is the SHA-256 of its token in hex."""

    fence: Fence
    bot: int
    username: str
    token_hash: str
    channel: Channel
