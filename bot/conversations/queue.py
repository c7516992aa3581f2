"""The conversations of a line: one queue each, in strict order within it, all in parallel.

Each update is decoded and queued once. Most waiting entries are only ids in memory: they are read
from the inbox when their turn comes.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from bot.conversations.router import Router
from bot.conversations.turns import Outcome
from bot.errors import FencedOut, PoisonMessage, StoreError, WrongType
from bot.messages import Clock, Decoded, Event, Ignored, LineContext, LineEntry, ResumeTurn, Signal
from bot.ops.logging import Counters
from bot.ops.tasks import cancel_and_wait
from bot.store.inbox import InboxEntry, Update, UpdateInbox
from bot.turn.progress import draft_of

log = structlog.get_logger("conversations")

MAX_ATTEMPTS = 3
AT_ONCE = 200
"""Conversations of a line that run side by side."""
LOOK_SECONDS = 0.25
"""How often to check which chats accept nothing, while the line is drained."""
SEEN_SECONDS = 1.0
"""How long a message waits for its turn before a reaction shows that it was seen."""
LOADED_PER_CONVERSATION = 4
LOADED_PER_LINE = 1000
RETRY_PAUSES = (1.0, 30.0)
"""Seconds before the store is asked again for what must be done: first, and at most."""

QueuedEntry = tuple[str, Event | None]
"""An entry by its id, and what it means where that is held in memory."""


@dataclass(slots=True)
class ConversationQueue:
    """One conversation: `task` works on the first entry, and `stop` ends that one early.

    `boundaries` are waiting entries that end everything before them. `seen_behind` is the running
    entry behind which a message was shown as seen. `deferred` entries wait for a suspended turn.
    `unblocked`: that turn may have ended while an entry was being handled, so that what this entry
    says of it may be out of date. `running` is what the first entry means, `stopped` the event
    streams of waiting messages that were stopped before their turns began.
    """

    entries: deque[QueuedEntry] = field(default_factory=deque)
    deferred: list[QueuedEntry] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    boundaries: set[str] = field(default_factory=set)
    seen_behind: str = ""
    unblocked: bool = False
    running: Event | None = None
    stopped: set[str] = field(default_factory=set)
    task: asyncio.Task[None] | None = None

    def requeue_deferred(self) -> None:
        """Put what was deferred in front, in its order."""
        self.entries.extendleft(reversed(self.deferred))
        self.deferred.clear()


@dataclass(slots=True, repr=False)
class ConversationQueues:
    """The conversations of one line; at most `at_once` of them run, the others take turns.

    `lost` is set when the store says that another host owns the line. `loaded` counts the waiting
    entries that are held in memory whole.
    """

    line: LineContext
    router: Router
    inbox: UpdateInbox
    decode: Callable[[bytes], Decoded]
    lost: asyncio.Event
    clock: Clock
    at_once: int = AT_ONCE
    loaded: int = field(default=0, init=False)
    _queues: dict[str, ConversationQueue] = field(default_factory=dict, init=False)
    _ready: deque[str] = field(default_factory=deque, init=False)
    _running: int = field(default=0, init=False)
    _concurrent: set[asyncio.Task[Outcome | None]] = field(default_factory=set, init=False)
    _signs: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _closing: bool = field(default=False, init=False)
    _closed: bool = field(default=False, init=False)

    @property
    def backlog(self) -> int:
        """How many entries wait or run."""
        return sum(len(queue.entries) for queue in self._queues.values()) + len(self._concurrent)

    def offer(self, items: Iterable[tuple[str, Event]]) -> None:
        """Take entries by id in their durable order; once closed, they are the next owner's."""
        for id, event in items:
            if self._closed:
                return
            if isinstance(event, Signal) or self.router.is_concurrent(event):
                task = asyncio.create_task(self._process(LineEntry(self.line, id), event))
                self._concurrent.add(task)
                task.add_done_callback(self._concurrent.discard)
            else:
                self.enqueue(id, event)

    async def wait_for_running(self) -> None:
        """Return once what runs now has ended."""
        if tasks := self._tasks():
            await asyncio.wait(tasks)

    async def drain(self, seconds: float) -> None:
        """Let running entries end within a time; waiting ones stay in the inbox.

        So do answered ones whose chat accepts nothing in that time.
        """
        self._closing = True
        until = self.clock.monotonic() + seconds
        while (left := until - self.clock.monotonic()) > 0:
            held_up = {
                queue.task
                for queue in self._queues.values()
                if queue.entries and self.line.channel.is_held_up(queue.entries[0][0], left)
            }
            if not (tasks := [task for task in self._tasks() if task not in held_up]):
                return
            await asyncio.wait(tasks, timeout=min(left, LOOK_SECONDS))

    async def close(self) -> None:
        """End everything at once; the line's next owner resumes it."""
        self._closing = self._closed = True
        await cancel_and_wait([*self._tasks(), *self._signs])

    def _tasks(self) -> list[asyncio.Task[Any]]:
        running = [queue.task for queue in self._queues.values() if queue.task]
        return [*running, *self._concurrent]

    # --- queueing ---

    def enqueue(self, id: str, event: Event) -> None:
        """Put an entry into its conversation's queue; that of a suspended turn is in no inbox."""
        name = event.address.conversation
        queue = self._queues.setdefault(name, ConversationQueue())
        if not queue.entries and queue.task is None:
            self._ready.append(name)
        room = len(queue.entries) < LOADED_PER_CONVERSATION and self.loaded < LOADED_PER_LINE
        load = room or isinstance(event, ResumeTurn)
        self.loaded += load
        queue.entries.append((id, event if load else None))
        if self.router.ends_what_runs(event):
            queue.boundaries.add(id)
            queue.stop.set()
            self.line.channel.abandon(event.address)
        elif queue.task and queue.seen_behind != queue.entries[0][0]:
            queue.seen_behind = queue.entries[0][0]
            seen = asyncio.create_task(self._show_seen(queue, id, event))
            self._signs.add(seen)
            seen.add_done_callback(self._signs.discard)
        self._start_ready()

    async def _show_seen(self, queue: ConversationQueue, id: str, event: Event) -> None:
        """Show that a message was seen, if it still waits after a moment."""
        await self.clock.sleep(SEEN_SECONDS)
        if any(id == waiting for waiting, _ in list(queue.entries)[1:]):
            await self.router.show_seen(self.line, event)

    def _start_ready(self) -> None:
        while self._ready and self._running < self.at_once and not self._closing:
            name = self._ready.popleft()
            queue = self._queues[name]
            self._running += 1
            work = self.run_next(name, queue)
            queue.task = asyncio.create_task(work, name=f"conversation:{name}")

    async def run_next(self, name: str, queue: ConversationQueue) -> None:
        """Handle entry after entry; if other conversations wait to run, one entry, then they."""
        while queue.entries and not self._closing:
            if queue.entries[0][0] in queue.boundaries:  # it also ends what was deferred before it
                queue.requeue_deferred()
            (id, event), outcome = queue.entries[0], None
            if event := event or await self._load(id):
                superseded = bool(queue.boundaries) and id not in queue.boundaries
                entry = LineEntry(self.line, id, queue.stop, superseded)
                queue.running = event
                if event.address.stream in queue.stopped:
                    queue.stop.set()
                outcome = await self._process(entry, event)
            queue.unblocked |= outcome is Outcome.UNBLOCKED
            waits = outcome in (Outcome.BLOCKED, Outcome.UNBLOCKED)
            self._finish_first(queue, blocked=waits)
            if self._ready:
                break
        self._running -= 1
        queue.task = None
        if queue.entries:
            self._ready.append(name)
        elif not queue.deferred:
            del self._queues[name]
        self._start_ready()

    def _finish_first(self, queue: ConversationQueue, *, blocked: bool) -> None:
        id, event = queue.entries.popleft()
        self.loaded -= event is not None
        if blocked:
            queue.deferred.append((id, None))
        if not blocked or queue.unblocked:
            queue.requeue_deferred()
        if not blocked and queue.running is not None:
            queue.stopped.discard(queue.running.address.stream or "")
        queue.unblocked, queue.running = False, None
        queue.boundaries.discard(id)
        if not queue.boundaries:
            queue.stop.clear()

    def _unblock(self, name: str) -> None:
        """Try again what waits for a suspended turn, which may have ended."""
        if (queue := self._queues.get(name)) is None:
            return
        if queue.task is not None:
            queue.unblocked = True
            return
        if not queue.entries:
            self._ready.append(name)
        queue.requeue_deferred()
        self._start_ready()

    async def _load(self, id: str) -> Event | None:
        """What an entry of the inbox means; None where it is done.

        Retries until the store answers: giving up would block the conversation.
        """
        while True:
            try:
                entry = await self.inbox.fetch(self.line.name, id)
            except StoreError:
                log.exception("fetch.failed", line=self.line.name)
                await self.clock.sleep(RETRY_PAUSES[0])
                continue
            event = self.decode(entry.raw) if entry else None
            return None if isinstance(event, Ignored) else event

    # --- handling ---

    async def _stop(self, entry: LineEntry, signal: Signal) -> Outcome:
        """Stop the turn that is suspended or runs in this conversation.

        A turn that began while the suspended one was being ended is not meant by the signal.
        """
        name, stream = signal.address.conversation, signal.address.stream
        head = self._running_entry(name)

        def stop_turn() -> bool:
            if stream and not self._is_running(name, stream):
                return self._stop_waiting(name, stream)
            if head is None or self._running_entry(name) != head:
                return False
            if self.line.channel.is_sending(head):  # its answer is whole
                return False
            if signal.draft in (None, draft_of(head)):
                self._queues[name].stop.set()
            return True

        await self.router.stop(entry, signal, stop_turn)
        self._unblock(name)
        return Outcome.DONE

    def _is_running(self, name: str, stream: str) -> bool:
        """Whether the turn of an event stream is the one that runs."""
        queue = self._queues.get(name)
        running = queue.running if queue else None
        return running is not None and running.address.stream == stream

    def _stop_waiting(self, name: str, stream: str) -> bool:
        """Stop a turn that has not begun, as soon as it does; over HTTP a stop names its turn."""
        if queue := self._queues.get(name):
            queue.stopped.add(stream)
        return True

    def _running_entry(self, name: str) -> str | None:
        queue = self._queues.get(name)
        return queue.entries[0][0] if queue and queue.task and queue.entries else None

    async def _process(self, entry: LineEntry, event: Event) -> Outcome | None:
        """Bring one entry to its recorded outcome, which after some attempts is a dead letter.

        Where a key of the store holds the wrong type, the entry waits until that is repaired.
        """
        why, attempt = "", 1
        try:
            while attempt <= MAX_ATTEMPTS:
                try:
                    if isinstance(event, Signal):
                        return await self._stop(entry, event)
                    return await self.router.handle(entry, event)
                except FencedOut:
                    raise
                except PoisonMessage as error:
                    why = str(error)
                    break
                except WrongType as error:
                    log.error("entry.waits", line=self.line.name, why=str(error))
                    await error.repaired.wait()
                    await self.clock.sleep(0.2)
                except (Exception, asyncio.CancelledError) as error:
                    if isinstance(error, asyncio.CancelledError) and _was_cancelled():
                        raise
                    why = _kind_and_place(error)
                    log.exception("entry.failed", line=self.line.name, attempt=attempt)
                    await self.clock.sleep(0.2 * attempt)
                    attempt += 1
            await self._dead_letter(entry, event, why)
        except FencedOut:
            self.lost.set()
            raise asyncio.CancelledError from None
        return None

    async def _dead_letter(self, entry: LineEntry, event: Event, why: str) -> None:
        """Set the entry aside, however long that takes: nothing leaves the inbox otherwise."""
        pause, longest = RETRY_PAUSES
        while True:
            try:
                await self.router.dead_letter(entry, event, why)
            except FencedOut:
                raise
            except Exception:
                log.exception("dead_letter.failed", line=self.line.name, again_in=pause)
                await self.clock.sleep(pause)
                pause = min(pause * 2, longest)
            else:
                return


def _was_cancelled() -> bool:
    """Whether this task was cancelled: a library's own cancellation that leaks out is a failure."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _kind_and_place(error: BaseException) -> str:
    """The error's kind and place, without its message: that may hold what people wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


PAGE = 200
UNREADABLE = "unreadable"
NOT_ADDRESSED = "not addressed"


@dataclass(slots=True, repr=False)
class InboxReader:
    """Gives each entry to the conversations once, in the inbox's order."""

    queues: ConversationQueues
    counters: Counters
    _newest: str = field(default="", init=False)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def accept(self, updates: Sequence[Update]) -> None:
        """Store updates and let them run; raises StoreUnavailable.

        Where others have written in between, or an earlier attempt has, the inbox is read instead.
        """
        wanted = [update for update in updates if not self._is_ignored(update)]
        if not wanted:
            return
        fence = self.queues.line.fence
        found = await self.queues.inbox.accept(fence.line, wanted, fence)
        if found.before == self._newest and not self._reading.locked():
            await self._hand_on(found.entries)
        else:
            await self.read_pending()

    async def take(self, entries: Sequence[InboxEntry]) -> None:
        """Hand on the first entries of the inbox, which were read already."""
        async with self._reading:
            await self._hand_on(entries)

    async def read_pending(self) -> int:
        """Hand on what is in the inbox and was not handed on yet; how many entries that were."""
        count, line, inbox = 0, self.queues.line.name, self.queues.inbox
        async with self._reading:
            while page := await inbox.pending(line, self._newest, PAGE):
                await self._hand_on(page)
                count += len(page)
                if len(page) < PAGE:
                    break
        return count

    async def _hand_on(self, entries: Sequence[InboxEntry]) -> None:
        if not entries:
            return
        self._newest = entries[-1].id
        inbox, fence = self.queues.inbox, self.queues.line.fence
        decoded = [(entry.id, self._decode_safely(entry.raw)) for entry in entries]
        self.queues.offer([(id, event) for id, event in decoded if not isinstance(event, Ignored)])
        ignored = [(id, event.rule) for id, event in decoded if isinstance(event, Ignored)]
        try:
            if by_rule := [id for id, rule in ignored if rule != UNREADABLE]:
                await inbox.settle(fence, by_rule)
            for id, rule in ignored:
                if rule == UNREADABLE:
                    self.counters.add("dead_letters")
                    await inbox.dead_letter(fence, id, "it cannot be read")
        except FencedOut:
            self.queues.lost.set()

    def _is_ignored(self, update: Update) -> bool:
        """Whether a rule ignores the update; such updates are counted, not stored."""
        event = self._decode_safely(update.raw)
        if not isinstance(event, Ignored) or event.rule == UNREADABLE:
            return False
        self.counters.add(f"ignored:{event.rule}")
        return True

    def _decode_safely(self, raw: bytes) -> Decoded:
        """What the update means; one that breaks the decoder goes to the dead letters."""
        try:
            event = self.queues.decode(raw)
        except Exception:
            log.exception("update.unreadable", line=self.queues.line.name)
            return Ignored(UNREADABLE)
        return event if getattr(event, "addressed", True) else Ignored(NOT_ADDRESSED)
