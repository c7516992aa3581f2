"""The lines of HTTP conversations: acquired when something waits in them, given back when idle.

Any host may accept a message; the one that did tries first. What a host leaves behind when it ends
is found by the others: they look once in a sweep which conversations are due and have no owner.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from bot.errors import FencedOut, StoreError, StoreUnavailable
from bot.hosting.leases import OpenedLine
from bot.hosting.line import LineRuntime, LineServices, open_runtime
from bot.hosting.transport import Transport
from bot.messages import Fence, ResumeTurn
from bot.ops.tasks import TaskSet, cancel_and_wait
from bot.store.sessions import SessionStore

log = structlog.get_logger("http_lines")

MOST_SERVED = 2_000
"""Conversations that a host serves at once; the others wait, or another host takes them."""
LOOKED_AT = 1_000
GRACE_MS = 1_000.0
"""How long others leave a conversation to the host that accepted its message."""
RETRY_SECONDS = 1.0
END_SECONDS = 1.0
"""How long a conversation that is ended early may take to be given back."""


@dataclass(slots=True, repr=False)
class HttpLine:
    """A conversation that this host serves, or tries to.

    `woken` is set with `changed` and `is_wanted_back`: one wait is enough for both. `seen` is the
    newest time from which it was due, as far as this host has looked.
    """

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    changed: bool = False
    is_wanted_back: bool = False
    seen: float = 0.0

    def change(self) -> None:
        """Something may wait in it."""
        self.changed = True
        self.woken.set()

    def give_back(self) -> None:
        """Let what runs end, and give it back."""
        self.is_wanted_back = True
        self.woken.set()

    def wake(self, _: object = None) -> None:
        """Look again."""
        self.woken.set()


class _TakenAway(asyncio.Event):
    """Set once another host owns the line, which is woken by that."""

    def __init__(self, line: HttpLine) -> None:
        super().__init__()
        self._line = line

    def set(self) -> None:
        super().set()
        self._line.wake()


@dataclass(slots=True, repr=False)
class HttpLines:
    """The HTTP conversations that are served here; `transport` makes one for a line.

    For those that were given back, `_next_tokens` is what the fence is where nobody else had them.
    """

    services: LineServices
    sessions: SessionStore
    transport: Callable[[str], Transport]
    sweep_seconds: float = 1.0
    _lines: dict[str, HttpLine] = field(default_factory=dict, init=False)
    _tasks: TaskSet = field(default_factory=TaskSet, init=False)
    _next_tokens: dict[str, int] = field(default_factory=dict, init=False)
    _closing: bool = field(default=False, init=False)

    def serves(self, line: str) -> bool:
        """Whether this host serves a conversation now, or tries to."""
        return line in self._lines

    @property
    def served(self) -> int:
        """How many conversations are served here."""
        return len(self._lines)

    def look(self, line: str) -> None:
        """Something may wait in a conversation: serve it, unless another host does."""
        if (found := self._lines.get(line)) is not None:
            found.change()
        elif not self._closing and len(self._lines) < MOST_SERVED:
            self._lines[line] = HttpLine()
            self._tasks.spawn(self._serve(line, self._lines[line]))

    def notify(self, line: str) -> None:
        """Another host has put something into a conversation that is served here."""
        if (found := self._lines.get(line)) is not None:
            found.change()

    async def run(self) -> None:
        """Look again and again for conversations without an owner, until cancelled."""
        while True:
            try:
                await self._sweep()
            except StoreError as error:
                log.warning("sweep.failed", error=str(error))
            except Exception:
                log.exception("sweep.failed")
            await asyncio.sleep(self.sweep_seconds)

    async def shut_down(self, seconds: float) -> None:
        """Let running turns end within a time, and give every conversation back."""
        self._closing = True
        for line in self._lines.values():
            line.give_back()
        try:
            await self._tasks.wait(seconds)
        finally:
            await self._tasks.end(END_SECONDS)

    async def _sweep(self) -> None:
        now = self.services.clock.wall() * 1000
        due = await self.sessions.due(now, LOOKED_AT)
        for line, at in due.items():
            if (found := self._lines.get(line)) is not None and at > found.seen:
                if found.seen:
                    found.change()  # in case its notification was lost
                found.seen = at
        free = [line for line, at in due.items() if line not in self._lines and at < now - GRACE_MS]
        if free:
            holders = (await self.services.leases.view(free)).holders
            for line in free:
                if line not in holders:
                    self.look(line)

    async def _serve(self, name: str, line: HttpLine) -> None:
        is_left = False
        try:
            await self._own(name, line)
        except FencedOut as error:
            log.warning("line.lost", line=name, error=str(error))
        except StoreUnavailable as error:
            log.warning("line.left", line=name, error=str(error), again_in=RETRY_SECONDS)
            is_left = True
            await self.services.clock.sleep(RETRY_SECONDS)
        except Exception:
            log.exception("line.failed", line=name)
            await self.services.clock.sleep(RETRY_SECONDS)
        finally:
            del self._lines[name]
        if is_left or line.changed:  # the store may take it for ours still; or more came meanwhile
            self.look(name)

    async def _own(self, name: str, line: HttpLine) -> None:
        lost = _TakenAway(line)
        opened = await self.services.leases.open_http(name, lost.set)
        if opened is None:
            return
        fence, given_back = opened.fence, False
        transcripts = self.services.turns.transcripts
        if self._next_tokens.pop(name, None) != fence.token:  # others may have written there since
            transcripts.forget_line(name)
        try:
            runtime = await open_runtime(self.services, self.transport(name), fence, lost)
            try:
                given_back = await self._work(runtime, line, opened)
            finally:
                await runtime.queues.close()
                await runtime.context.channel.close()
        finally:
            if given_back:
                self._keep_transcripts(fence)
            else:
                transcripts.forget_line(name)
                if not lost.is_set():
                    await self.services.leases.release(fence)

    def _keep_transcripts(self, fence: Fence) -> None:
        """What was said there stays in memory, as long as no other host acquires the line."""
        self._next_tokens[fence.line] = fence.token + 2  # giving it back moved the fence as well
        if len(self._next_tokens) > MOST_SERVED:
            self.services.turns.transcripts.forget_line(next(iter(self._next_tokens)))
            del self._next_tokens[next(iter(self._next_tokens))]

    async def _work(self, runtime: LineRuntime, line: HttpLine, opened: OpenedLine) -> bool:
        """Serve a conversation until it is idle, lost or wanted back; whether it was given back."""
        context, turns = runtime.context, self.services.turns
        context.channel.take_over(opened.parts)
        await turns.recover_all(context, runtime.queues.enqueue, opened.timers)
        await runtime.reader.take(opened.entries)

        def resume(entry: str, event: ResumeTurn) -> None:
            runtime.queues.enqueue(entry, event)
            line.change()

        resuming = turns.resume_when_due(context, resume)
        timers = asyncio.create_task(resuming, name=f"resume:{context.name}")
        timers.add_done_callback(line.wake)
        try:
            while not (runtime.lost.is_set() or line.is_wanted_back):
                if timers.done():
                    timers.result()
                is_idle = await self._idle(runtime, line)
                if line.changed:
                    line.changed = False
                    await runtime.reader.read_pending()
                elif is_idle and await self.services.leases.release_idle(context.fence):
                    return True
                elif is_idle:
                    await self._wait_for_more(runtime, line)
        finally:
            await cancel_and_wait([timers])
        if not runtime.lost.is_set():
            await runtime.queues.drain(self.services.options.drain_seconds)
        return False

    async def _idle(self, runtime: LineRuntime, line: HttpLine) -> bool:
        """Wait until nothing waits, runs or is being sent; False where it was woken before."""
        idle = asyncio.create_task(_until_idle(runtime))
        idle.add_done_callback(line.wake)
        try:
            await line.woken.wait()
        finally:
            idle.remove_done_callback(line.wake)
            line.woken.clear()
            if not (is_idle := idle.done()):
                await cancel_and_wait([idle])
        if is_idle:
            idle.result()
        return is_idle

    async def _wait_for_more(self, runtime: LineRuntime, line: HttpLine) -> None:
        """Something is in the inbox or due, though nothing runs: look, then wait a moment."""
        if not await runtime.reader.read_pending():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await line.woken.wait()


async def _until_idle(runtime: LineRuntime) -> None:
    """Return once nothing waits, runs or is being sent."""
    while runtime.queues.backlog:
        await runtime.queues.wait_for_running()
