"""What a line has to send: rendered parts, each with its own receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.events import Outgoing, TurnRef
from bot.ports.fence import Fence


@dataclass(frozen=True, slots=True)
class Posted:
    """A part in the outbox. `doubtful` is set where an earlier owner may have sent it already."""

    id: str
    outgoing: Outgoing
    doubtful: bool = False


class Outbox(Protocol):
    """A line's parts to send, each with its own receipt."""

    async def post(self, line: str, key: str, parts: Sequence[Outgoing]) -> list[Posted]:
        """Append notices, once for each key; anybody may."""
        ...

    async def unsent(self, line: str, after: str = "", count: int = 1000) -> list[Posted]:
        """Parts without a receipt, in order; the head of each chat may be doubtful."""
        ...

    async def receipt(self, fence: Fence, part: str, turn: TurnRef | None) -> None:
        """A part is sent (or never can be); with its turn's last one the turn is done."""
        ...

    async def shown(self, fence: Fence, nonce: str, chat: int, message: int) -> bool:
        """A message of a chat shows a sheet; whether that has changed since it was asked."""
        ...
