"""One line on this host: it is acquired, recovered, served, drained, and given back."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial

import structlog

from bot.conversations.queue import ConversationQueues, InboxReader
from bot.conversations.router import MessageOutcome, Router
from bot.conversations.turns import LineStores, Turns, apply_migrations
from bot.errors import ChannelRevoked, FencedOut, StoreError, StoreUnavailable
from bot.hosting.leases import Leases
from bot.hosting.transport import Ownership, Transport
from bot.messages import Clock, Decoded, Fence, LineContext
from bot.ops.logging import Counters
from bot.ops.tasks import cancel_and_wait, wait_first
from bot.store.inbox import Update
from registry.binding import BotIdentity

log = structlog.get_logger("line")

RETRY_SECONDS = 1.0
LAST_SENDS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class HostingOptions:
    """How long running turns may take to finish when a line is given back, and how many may run."""

    drain_seconds: float = 20.0
    turns_at_once: int = 200


@dataclass(slots=True, repr=False)
class LineServices:
    """What the lines of a host share."""

    leases: Leases
    stores: LineStores
    router: Router
    turns: Turns
    clock: Clock
    counters: Counters
    options: HostingOptions


@dataclass(slots=True, repr=False)
class LineRuntime:
    """A line's parts while it is ours; `lost` is set once another host owns it."""

    context: LineContext
    queues: ConversationQueues
    reader: InboxReader
    lost: asyncio.Event


async def open_runtime(
    services: LineServices, transport: Transport, fence: Fence, lost: asyncio.Event
) -> LineRuntime:
    """The parts of a line that was just acquired; nothing runs yet."""
    line, stores = transport.line, services.stores
    original = await stores.migrations(line) if transport.has_groups else {}

    def decode(raw: bytes) -> Decoded:
        return apply_migrations(original, transport.decode(raw))

    async def report(tracks: str, outcome: MessageOutcome) -> None:
        await services.router.tracked_message(context, tracks, outcome)

    seconds_left = partial(services.leases.seconds_left, line)
    on_late = partial(services.turns.transcripts.forget, line)
    owned = Ownership(fence, seconds_left, lost.set, report, on_late)
    channel = transport.open_channel(owned)
    context = LineContext(fence, transport.identity, channel)
    queues = ConversationQueues(
        context,
        services.router,
        stores.inbox,
        decode,
        lost,
        services.clock,
        services.options.turns_at_once,
    )
    return LineRuntime(context, queues, InboxReader(queues, services.counters), lost)


class HostedLine:
    """One line on this host, from acquiring it to giving it back, again and again.

    `is_stored`: it is of a bot of the store, which every host with the key may serve.
    """

    def __init__(
        self, transport: Transport, services: LineServices, *, is_stored: bool = False
    ) -> None:
        self.transport = transport
        self.is_stored = is_stored
        self.line = transport.line
        self._services = services
        self._state = "starting"
        self._why = ""
        self._runtime: LineRuntime | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._may_acquire = asyncio.Event()
        self._give_back = asyncio.Event()
        self._shutdown = asyncio.Event()
        self._changed = asyncio.Event()
        self.is_held = False

    # --- how it is doing ---

    @property
    def identity(self) -> BotIdentity:
        """The bot under every name that a binding may use."""
        return self.transport.identity

    @property
    def state(self) -> str:
        """The state of the line, in a word: starting, waiting, polling, draining, quarantined …."""
        if self._runtime is None or self._state == "draining":
            return self._state
        return self.transport.state

    @property
    def why(self) -> str | None:
        """For a line that is failing or quarantined: what went wrong last, without a secret."""
        return self._why if self.state in ("failing", "quarantined") else None

    @property
    def last_success_age(self) -> float | None:
        """Seconds since the other side last answered; None while the line is not served here."""
        at = self.transport.last_success if self._runtime else None
        return None if at is None else self._services.clock.monotonic() - at

    @property
    def backlog(self) -> int:
        """Entries that wait or run."""
        return self._runtime.queues.backlog if self._runtime else 0

    @property
    def frozen(self) -> list[float]:
        """For each chat that has to wait: how many more seconds."""
        return self._runtime.context.channel.frozen() if self._runtime else []

    @property
    def is_served(self) -> bool:
        """Whether the line is served here now."""
        return self._runtime is not None

    @property
    def is_wanted(self) -> bool:
        """Whether this host would serve the line if it were free."""
        return not (self.is_held or self._shutdown.is_set() or self._state == "quarantined")

    @property
    def is_ending(self) -> bool:
        """Whether the line was told to end."""
        return self._shutdown.is_set()

    async def idle(self) -> None:
        """Return once nothing waits, runs or is being sent."""
        while self._runtime and self._runtime.queues.backlog:
            await self._runtime.queues.wait_for_running()

    # --- what others ask of it ---

    def try_now(self) -> None:
        """Try to acquire: the line seems to be free, and ours to take."""
        self._may_acquire.set()

    def held_elsewhere(self) -> None:
        """Note that another host holds the line."""
        if self._state == "starting":
            self._state = "waiting"

    def give_back(self) -> None:
        """Finish what runs and give the line back: another host should have it."""
        self._give_back.set()

    def shutdown(self) -> None:
        """Finish what runs, give the line back, and end."""
        self._shutdown.set()

    def notify(self) -> None:
        """Look for what others have put into the line."""
        self._changed.set()

    async def accept(self, update: Update) -> None:
        """Store an update that was pushed to this host; raises StoreUnavailable.

        Any host may store it: the line's owner hears of it.
        """
        if self._runtime is None:
            await self._services.stores.inbox.accept(self.line, [update])
            return
        try:
            await self._runtime.reader.accept([update])
        except FencedOut:
            self._runtime.lost.set()

    async def send_pending(self) -> None:
        """Send what others put into the outbox, if the line is served here."""
        if self._runtime is not None:
            await self._runtime.context.channel.deliver([])

    def show_menu(self, person: int | None = None) -> None:
        """Show everybody's menus, or one admin's, in the background: receiving waits for none."""
        task = asyncio.create_task(self.transport.show_menu(person), name=f"menu:{self.line}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- its life ---

    async def run(self) -> None:
        """Own and serve the line until told to end; never raises for a fault of the line."""
        while True:
            await wait_first(self._may_acquire, self._shutdown)
            self._may_acquire.clear()
            if self._shutdown.is_set():
                break
            try:
                await self._own()
            except ChannelRevoked as error:
                self._why, self._state = error.why, "quarantined"
                log.error("line.quarantined", line=self.line, why=error.why, cure=error.cure)
                return
            except Exception as error:
                log.exception("line.failed", line=self.line)
                # A store's own words are safe to show; those of any other error may hold a secret.
                self._why = str(error) if isinstance(error, StoreError) else type(error).__name__
                self._state = "failing"
                await self._services.clock.sleep(RETRY_SECONDS)
        self._state = "stopped"

    async def _own(self) -> None:
        lost = asyncio.Event()
        self._give_back.clear()
        with contextlib.suppress(StoreUnavailable):
            fence = await self._services.leases.acquire(self.line, lost.set)
            if fence is None:
                self._state = "waiting"
                return
            self.is_held = True
            try:
                await self._serve(fence, lost)
            finally:
                self._runtime = None
                self._services.turns.transcripts.forget_line(self.line)
                if not lost.is_set():
                    await self._services.leases.release(fence)
                self._may_acquire.clear()  # what allowed this try does not allow another
                self.is_held = False
                self._state = "waiting"

    async def _serve(self, fence: Fence, lost: asyncio.Event) -> None:
        identified = asyncio.ensure_future(self.transport.identify())
        try:
            await wait_first(self._shutdown, self._give_back, lost, identified)
        finally:
            await cancel_and_wait([identified])
        if identified.cancelled():  # the line has to be given up first
            return
        identified.result()
        self.show_menu()
        runtime = await open_runtime(self._services, self.transport, fence, lost)
        context, turns = runtime.context, self._services.turns
        try:
            parts = await context.channel.recover()
            suspended = await turns.recover(context, runtime.queues.enqueue)
            entries = await runtime.reader.read_pending()
            found = {"parts": parts, "suspended": suspended, "entries": entries}
            log.info("line.serving", line=self.line, username=self.identity.username, **found)
            self._runtime = runtime
            await self._receive_until_over(runtime)
        finally:
            await cancel_and_wait([*self._tasks])
            await runtime.queues.close()
            await context.channel.close()

    async def _receive_until_over(self, now: LineRuntime) -> None:
        channel, turns = now.context.channel, self._services.turns
        works = {
            "receive": self.transport.receive(now.reader.accept),
            "changes": self._follow_changes(now),
            "resume": turns.resume_when_due(now.context, now.queues.enqueue),
        }
        tasks = [asyncio.create_task(w, name=f"{name}:{self.line}") for name, w in works.items()]
        try:
            ends = (self._shutdown, self._give_back, now.lost, channel.revoked)
            await wait_first(*ends, *tasks)
            for task in tasks:
                if task.done():
                    task.result()
            if channel.revoked.done():
                raise channel.revoked.result()
        except FencedOut:
            now.lost.set()
        finally:
            await cancel_and_wait(tasks)
        if not now.lost.is_set():
            self._state = "draining"
            await now.queues.drain(self._services.options.drain_seconds)
            await channel.drain(LAST_SENDS_SECONDS)

    async def _follow_changes(self, now: LineRuntime) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await now.reader.read_pending()
            await now.context.channel.deliver([])
