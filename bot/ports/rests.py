"""What was cut off the results of tools, to be read on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bot.events import TurnRef
from bot.ports.fence import Fence


@dataclass(frozen=True, slots=True)
class Rest:
    """What was cut off a tool's result: whose it was (its key), and the text.

    `whole` is False where not even the rest was kept to its end.
    """

    key: str
    text: str
    whole: bool = True


class Rests(Protocol):
    """What was cut off results; bounded, and kept for a day."""

    async def keep(self, fence: Fence, ref: TurnRef, handle: str, rest: Rest) -> None:
        """Keep a rest under its handle; done again, it replaces itself."""
        ...

    async def rest(self, line: str, ref: TurnRef, handle: str) -> Rest | None:
        """A rest by its handle, or None where it is not kept (any more)."""
        ...
