"""Lanes: strict order inside a conversation, all conversations side by side.

Signals reach a running turn at once; what touches no conversation runs beside; turns and
conversation commands queue in their conversation's lane. Each passes the gate first. A long queue
is a list of ids: only what comes next is held in memory whole, the rest is read from the inbox when
its turn comes.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path

import structlog

from bot.dispatch.lane import Item, Lane, Waiting
from bot.dispatch.line import Line
from bot.dispatch.router import Router
from bot.errors import FencedOut, Poisoned, StoreError, WrongType
from bot.events import Decoded, Event, Ignored, Resume, Signal
from bot.ops.counters import Counters
from bot.ops.waiting import ended
from bot.ports import Clock, Entry, Inbox
from bot.turn.progress import draft_of

log = structlog.get_logger("lanes")

TRIES = 3
AT_ONCE = 200
AHEAD = 4
WHOLE = 1000
BURY_PAUSES = (1.0, 30.0)
POISON_WORD = (
    "Handling your message failed several times, so I set it aside. "
    "The operator can find it among the dead letters."
)

Decode = Callable[[bytes], Decoded]
Work = Callable[[], Awaitable[None]]


class Lanes:
    """The lanes of one line; at most `at_once` of them run, the others take turns.

    `lost` is set when the store says that another owner holds the line.
    """

    def __init__(
        self,
        line: Line,
        router: Router,
        inbox: Inbox,
        decode: Decode,
        clock: Clock,
        counters: Counters,
        at_once: int = AT_ONCE,
    ) -> None:
        self._line = line
        self._router = router
        self._inbox = inbox
        self._decode = decode
        self._clock = clock
        self._counters = counters
        self._at_once = at_once
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[str] = deque()
        self._running = 0
        self._whole = 0
        self._beside: set[asyncio.Task[None]] = set()
        self._closing = self._closed = False
        self.lost = asyncio.Event()

    @property
    def backlog(self) -> int:
        """How many entries wait or run."""
        return sum(len(lane.queue) for lane in self._lanes.values()) + len(self._beside)

    @property
    def whole(self) -> int:
        """How many entries that wait are held in memory whole."""
        return self._whole

    def offer(self, items: Iterable[Item]) -> None:
        """Take entries in their durable order; once closed, they are the next owner's."""
        for entry, event in items:
            if self._closed:
                return
            if isinstance(event, Signal):
                self._aside(entry, event, partial(self._signal, entry, event))
            elif self._router.runs_beside(event):
                item = (entry, event)
                self._aside(entry, event, partial(self._handle, item, asyncio.Event()))
            else:
                self._queue(entry, event)

    def resume(self, entry: str, event: Resume) -> None:
        """Take up a turn that has waited; its entry is in the inbox no more."""
        self._queue(Entry(entry, 0, b""), event)

    async def settled(self) -> None:
        """Return once what runs now has ended."""
        if tasks := self._tasks():
            await asyncio.wait(tasks)

    async def drain(self, seconds: float) -> None:
        """Let what runs come to its end within a time; what waits stays in the inbox."""
        self._closing = True
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=seconds)

    async def close(self) -> None:
        """End everything at once; whoever owns the line next resumes it."""
        self._closing = self._closed = True
        await ended(self._tasks())

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [lane.task for lane in self._lanes.values() if lane.task] + [*self._beside]

    # --- queueing ---

    def _queue(self, entry: Entry, event: Event) -> None:
        name = event.address.conversation
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane()
        if not lane.queue and lane.task is None:
            self._ready.append(name)
        whole = isinstance(event, Resume) or (len(lane.queue) < AHEAD and self._whole < WHOLE)
        self._whole += whole
        lane.queue.append(Waiting(entry.id, (entry, event) if whole else None))
        self._start_ready()

    def _start_ready(self) -> None:
        while self._ready and self._running < self._at_once and not self._closing:
            name = self._ready.popleft()
            lane = self._lanes[name]
            self._running += 1
            lane.task = asyncio.create_task(self._work(name, lane), name=f"lane:{name}")

    async def _work(self, name: str, lane: Lane) -> None:
        """Entry after entry; where other lanes wait for a place, one entry and then they."""
        while lane.queue and not self._closing:
            if item := await self._item(lane.queue[0]):
                await self._do(*item, partial(self._handle_in, lane, item))
            self._next(lane)
            if self._ready:
                break
        self._running -= 1
        lane.task = None
        if lane.queue:
            self._ready.append(name)
        elif not lane.parked:
            del self._lanes[name]
        self._start_ready()

    def _next(self, lane: Lane) -> None:
        """What was done goes; what must wait for a suspended turn is parked until one has moved."""
        done = lane.queue.popleft()
        self._whole -= done.item is not None
        if lane.held:
            lane.parked.append(Waiting(done.id, None))
        if not lane.held or lane.freed:
            lane.unpark()
        lane.held = lane.freed = False
        lane.stop.clear()

    def _unpark(self, name: str) -> None:
        """Try again what waits for a suspended turn, since that may be over by now."""
        if (lane := self._lanes.get(name)) is None:
            return
        if lane.task is not None:
            lane.freed = True
            return
        if not lane.queue:
            self._ready.append(name)
        lane.unpark()
        self._start_ready()

    async def _item(self, waiting: Waiting) -> Item | None:
        """The entry with its event: from memory, or from the inbox; None where it is done."""
        if waiting.item is not None:
            return waiting.item
        entry = await self._fetched(waiting.id)
        event = self._decode(entry.raw) if entry else None
        return (entry, event) if entry and event and not isinstance(event, Ignored) else None

    async def _fetched(self, id: str) -> Entry | None:
        """An entry of the inbox, however long that takes: its lane would stand still for ever."""
        while True:
            try:
                return await self._inbox.fetch(self._line.fence.line, id)
            except StoreError:
                log.exception("fetch.failed", line=self._line.fence.line)
                await self._clock.sleep(BURY_PAUSES[0])

    def _aside(self, entry: Entry, event: Event, work: Work) -> None:
        task = asyncio.create_task(self._do(entry, event, work))
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    # --- doing ---

    async def _handle_in(self, lane: Lane, item: Item) -> None:
        lane.held = not await self._router.handle(self._line, *item, lane.stop)

    async def _handle(self, item: Item, stop: asyncio.Event) -> None:
        await self._router.handle(self._line, *item, stop)

    async def _signal(self, entry: Entry, signal: Signal) -> None:
        """Stop the turn that waits or runs in this conversation, and say so where none does.

        What was begun beside a turn that waits is not meant by it.
        """
        head = self._head(signal.address.conversation)
        if not await self._router.stop_waiting(self._line, entry, signal):
            running = head is not None and self._head(signal.address.conversation) == head
            if running and signal.draft in (None, draft_of(str(head))):
                self._lanes[signal.address.conversation].stop.set()
            await self._router.signalled(self._line, entry, signal, running=running)
        self._unpark(signal.address.conversation)

    def _head(self, name: str) -> str | None:
        """The entry that runs in a conversation, if one does."""
        lane = self._lanes.get(name)
        return lane.queue[0].id if lane and lane.task and lane.queue else None

    async def _do(self, entry: Entry, event: Event, work: Work) -> None:
        """One entry to its recorded outcome: after some tries, the dead letters are one."""

        async def admitted() -> None:
            if await self._router.admits(self._line, entry, event):
                await work()

        try:
            if why := await self._tried(admitted):
                await self._bury(entry, event, why)
        except FencedOut:
            self.lost.set()
            raise asyncio.CancelledError from None

    async def _tried(self, work: Work) -> str:
        """Nothing when one of the tries went well, else what the last one failed of.

        Where a key of the store holds the wrong type, the entry waits until that is mended.
        """
        why, attempt = "", 1
        while attempt <= TRIES:
            try:
                await work()
            except FencedOut:
                raise
            except Poisoned as error:
                return str(error)
            except WrongType as error:
                log.error("entry.waits", line=self._line.fence.line, why=str(error))
                await error.mended.wait()
                await self._clock.sleep(0.2)
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and _is_told_to_end():
                    raise
                why = _where(error)
                log.exception("entry.failed", line=self._line.fence.line, attempt=attempt)
                await self._clock.sleep(0.2 * attempt)
                attempt += 1
            else:
                return ""
        return why

    async def _bury(self, entry: Entry, event: Event, why: str) -> None:
        """Set the entry aside, however long that takes: nothing leaves the inbox otherwise."""
        self._counters.add("dead_letters")
        pause, longest = BURY_PAUSES
        while True:
            try:
                await self._router.bury(self._line, entry, event, POISON_WORD, why)
            except FencedOut:
                raise
            except Exception:
                log.exception("bury.failed", line=self._line.fence.line, again_in=pause)
                await self._clock.sleep(pause)
                pause = min(pause * 2, longest)
            else:
                return


def _is_told_to_end() -> bool:
    """Whether this task was cancelled: a library's own cancellation that leaks out is a failure."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _where(error: BaseException) -> str:
    """The error's kind and place, without its words: those may hold what nobody should read."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
