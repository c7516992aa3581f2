"""What came in for a line: accepted, fetched, and settled or buried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.events import Outgoing
from bot.ports.fence import Fence
from bot.ports.outbox import Posted


@dataclass(frozen=True, slots=True)
class Entry:
    """An accepted update in a line's inbox; `id` is its durable order and, later, its turn's id."""

    id: str
    update: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Update:
    """What came in: its number and its JSON. `name` tells it from others where that is not `id`."""

    id: int
    raw: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The new entries, and the id of the newest that the inbox had had before them."""

    entries: list[Entry]
    before: str


class Inbox(Protocol):
    """A line's accepted updates."""

    async def accept(
        self, line: str, updates: Sequence[Update], fence: Fence | None = None
    ) -> Accepted:
        """Store what was not seen before; what is new comes back in order, with its id.

        Anybody may; without the owner's `fence` the owner is told to look.
        """
        ...

    async def fetch(self, line: str, id: str) -> Entry | None:
        """One entry, or None where it is done."""
        ...

    async def pending(self, line: str, after: str = "", count: int = 1000) -> list[Entry]:
        """Entries that are not done yet, in order, beginning after an id."""
        ...

    async def settle(
        self,
        fence: Fence,
        entries: Sequence[str],
        parts: Sequence[Outgoing] = (),
        conv: str | None = None,
    ) -> list[Posted]:
        """Entries are done; what they have to say goes into the outbox in the same step.

        A turn of the first that is open in the conversation `conv` is over.
        """
        ...

    async def bury(
        self, fence: Fence, entry: str, why: str, parts: Sequence[Outgoing] = (), conv: str = ""
    ) -> list[Posted]:
        """Move a poisonous entry to the dead letters, with word to the person."""
        ...
