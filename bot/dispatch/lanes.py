"""Lanes: strict order inside a conversation, all conversations side by side.

Signals reach a running turn at once; what touches no conversation runs beside; turns and
conversation commands queue in their conversation's lane.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from bot.dispatch.line import Line
from bot.dispatch.router import Router
from bot.errors import FencedOut
from bot.events import Event, Signal
from bot.ops.counters import Counters
from bot.ports import Clock, Entry
from bot.turn.progress import draft_of

log = structlog.get_logger("lanes")

TRIES = 3
POISON_WORD = (
    "Something went wrong with your message, again and again; I had to set it aside. "
    "The operator can find it among the dead letters."
)

Item = tuple[Entry, Event]


@dataclass(slots=True)
class _Lane:
    queue: deque[Item] = field(default_factory=deque)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Lanes:
    """The lanes of one line. `newest` is the id of the newest entry that was offered."""

    def __init__(self, line: Line, router: Router, clock: Clock, counters: Counters) -> None:
        self._line = line
        self._router = router
        self._clock = clock
        self._counters = counters
        self._lanes: dict[str, _Lane] = {}
        self._beside: set[asyncio.Task[None]] = set()
        self._closing = False
        self.newest = ""
        self.lost = asyncio.Event()

    @property
    def backlog(self) -> int:
        """How many entries wait or run."""
        return sum(len(lane.queue) for lane in self._lanes.values()) + len(self._beside)

    def offer(self, items: Iterable[Item]) -> None:
        """Take entries in their durable order."""
        for entry, event in items:
            self.newest = entry.id
            if isinstance(event, Signal):
                self._aside(self._signal(entry, event))
            elif self._router.runs_beside(event):
                self._aside(self._do(entry, event, asyncio.Event()))
            else:
                self._queue(entry, event)

    async def settled(self) -> None:
        """Return once what runs now has ended."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task] + [*self._beside]
        if tasks:
            await asyncio.wait(tasks)

    async def drain(self, seconds: float) -> None:
        """Let what runs come to its end within a time; what waits stays in the inbox."""
        self._closing = True
        running = [lane.task for lane in self._lanes.values() if lane.task] + [*self._beside]
        if running:
            await asyncio.wait(running, timeout=seconds)

    async def close(self) -> None:
        """End everything at once; whoever owns the line next resumes it."""
        self._closing = True
        tasks = [lane.task for lane in self._lanes.values() if lane.task] + [*self._beside]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _queue(self, entry: Entry, event: Event) -> None:
        name = event.address.conversation
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane()
        lane.queue.append((entry, event))
        if lane.task is None:
            lane.task = asyncio.create_task(self._work(name, lane), name=f"lane:{name}")

    async def _work(self, name: str, lane: _Lane) -> None:
        while lane.queue and not self._closing:
            entry, event = lane.queue[0]
            lane.stop.clear()
            await self._do(entry, event, lane.stop)
            lane.queue.popleft()
        del self._lanes[name]

    def _aside(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _signal(self, entry: Entry, signal: Signal) -> None:
        """Stop the turn that runs in this conversation, and say so where none does."""
        lane = self._lanes.get(signal.address.conversation)
        if lane is not None and signal.draft in (None, draft_of(lane.queue[0][0].id)):
            lane.stop.set()
        with contextlib.suppress(FencedOut):
            await self._router.signalled(self._line, entry, signal, running=lane is not None)

    async def _do(self, entry: Entry, event: Event, stop: asyncio.Event) -> None:
        """One entry to its recorded outcome: after some tries, the dead letters are one."""
        for attempt in range(1, TRIES + 1):
            try:
                await self._router.handle(self._line, entry, event, stop)
            except FencedOut:
                self.lost.set()
                raise asyncio.CancelledError from None
            except Exception:
                log.exception("entry.failed", line=self._line.fence.line, attempt=attempt)
                await self._clock.sleep(0.2 * attempt)
            else:
                return
        self._counters.add("dead_letters")
        await self._router.bury(self._line, entry, event, POISON_WORD)
