"""One conversation's lane: what waits in it, and what is put aside until a suspended turn moves."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from bot.events import Event
from bot.ports.inbox import Entry

Item = tuple[Entry, Event]


@dataclass(slots=True)
class Waiting:
    """An entry by its id; `item` is the whole of it, where that is held in memory."""

    id: str
    item: Item | None


@dataclass(slots=True)
class Lane:
    """The first of the queue is what `task` works on; `stop` ends that early.

    `held`: what was just tried must wait for a suspended turn. `freed`: that turn may be over.
    """

    queue: deque[Waiting] = field(default_factory=deque)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    parked: list[Waiting] = field(default_factory=list)
    held: bool = False
    freed: bool = False
    task: asyncio.Task[None] | None = None

    def unpark(self) -> None:
        """What was parked comes next, in its order."""
        self.queue.extendleft(reversed(self.parked))
        self.parked.clear()
