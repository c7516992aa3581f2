"""One bot on this replica: its line is acquired, recovered, served, and given back."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import aiohttp
import orjson
import structlog

from bot.conversations.chat_migrations import ChatMigrations, ChatMigrationStore
from bot.conversations.inbox_reader import InboxReader
from bot.conversations.queue import ConversationQueues
from bot.conversations.router import Router
from bot.conversations.suspended_turns import SuspendedTurns
from bot.errors import FencedOut, StoreError, StoreUnavailable, Unauthorized
from bot.hosting.leases import Leases
from bot.line_context import LineContext
from bot.messages import Clock, Decoded, Fence
from bot.ops.counters import Counters
from bot.ops.lenient_json import JsonTooDeep
from bot.ops.redaction import Secrets
from bot.ops.tasks import cancel_and_wait, wait_first
from bot.store.inbox import UpdateInbox
from bot.store.outbox import Outbox
from bot.telegram.channel import TelegramChannel
from bot.telegram.client import BotToken, TelegramClient
from bot.telegram.decode import BotUser, decode
from bot.telegram.menus import Menus
from bot.telegram.poller import Poller, PollingTransport, identify, update_of
from bot.telegram.webhook import Transport, WebhookConfig, WebhookTransport, webhook_config
from bot.turn.turn import Transcripts

T = TypeVar("T")
log = structlog.get_logger("bot")

RETRY_SECONDS = 1.0
LAST_SENDS_SECONDS = 1.0


class HostedLine:
    """One bot on this replica, from acquiring its line to giving it back."""

    def __init__(self, id: int, token: BotToken, station: AppContext) -> None:
        self.id = id
        self.line = f"bot:{id}"
        self.username = ""
        self.token_hash = hashlib.sha256(token.get_secret_value().encode()).hexdigest()
        self._station = station
        self._wire = TelegramClient(station.session, station.api_url, token)
        base = station.webhook_url
        self.hook: WebhookConfig | None = webhook_config(base, token) if base else None
        self._state = "starting"
        self._why = ""
        self._serving: LineRuntime | None = None
        self._errands: set[asyncio.Task[None]] = set()
        self._may_try = asyncio.Event()
        self._giving = asyncio.Event()
        self._leaving = asyncio.Event()
        self._woken = asyncio.Event()
        self.is_held = False

    # --- how it is doing ---

    @property
    def state(self) -> str:
        """How the bot is doing, in a word: starting, waiting, polling, conflict, quarantined …."""
        return self._serving.intake.state if self._serving else self._state

    @property
    def why(self) -> str | None:
        """Of a bot that is failing: what went wrong last, without a secret."""
        return self._why if self.state == "failing" else None

    @property
    def poll_age(self) -> float | None:
        """Seconds since Telegram last answered a getUpdates (or, with a webhook, a check of it)."""
        at = self._serving.intake.finished_at if self._serving else None
        return None if at is None else self._station.clock.monotonic() - at

    @property
    def backlog(self) -> int:
        """Entries that wait or run."""
        return self._serving.lanes.backlog if self._serving else 0

    @property
    def is_served(self) -> bool:
        """Whether the line is served here now."""
        return self._serving is not None

    @property
    def is_wanting(self) -> bool:
        """Whether the bot would be served here, if its line could be had."""
        return not (self.is_held or self._leaving.is_set() or self._state == "quarantined")

    async def idle(self) -> None:
        """Return once nothing waits, runs or is being sent."""
        while self._serving and self._serving.lanes.backlog:
            await self._serving.lanes.settled()

    # --- what others ask of it ---

    def try_now(self) -> None:
        """The line seems to be free, and ours to take."""
        self._may_try.set()

    def seen_elsewhere(self) -> None:
        """Another replica holds the line."""
        if self._state == "starting":
            self._state = "waiting"

    def give_back(self) -> None:
        """Finish what runs and give the line back: another replica should have it."""
        self._giving.set()

    def leave(self) -> None:
        """Finish what runs, give the line back, and end."""
        self._leaving.set()

    def wake(self) -> None:
        """Others have put something into the line."""
        self._woken.set()

    async def push(self, raw: bytes) -> None:
        """Take an update that Telegram pushed; raises ValueError and StoreUnavailable.

        One that will never be read is counted: refused, it would come again and again.
        """
        try:
            update = update_of(raw)
        except JsonTooDeep:
            self._station.counters.add("ignored:nested")
            return
        if self._serving is not None:
            try:
                await self._serving.feed.accept([update])
            except FencedOut:
                self._serving.lost.set()
        else:
            await self._station.inbox.accept(self.line, [update])

    async def nudge(self) -> None:
        """Send what others put into the outbox."""
        if self._serving is not None:
            await self._serving.channel.deliver([])

    def show_menu(self, person: int | None = None) -> None:
        """Set the menus, or one admin's, in the background: polling waits for no menu."""
        if (menus := self._station.menus) is None:
            return
        wire, line = self._wire, self.line
        work = menus.show(wire, line) if person is None else menus.show_to(wire, line, person)
        errand = asyncio.create_task(work, name=f"menu:{self.id}")
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    # --- its life ---

    async def run(self) -> None:
        """Own and serve the line until told to leave; never raises for a fault of the bot."""
        while await self._allowed():
            try:
                await self._own()
            except Unauthorized:
                self._state = "quarantined"
                log.error(
                    "bot.quarantined",
                    bot=self.id,
                    why="Telegram does not know this token (401)",
                    cure="get a new token from @BotFather and set it; the other bots go on",
                )
                return
            except Exception as error:
                log.exception("bot.failed", bot=self.id)
                self._state, self._why = "failing", _words(error)
                await self._station.clock.sleep(RETRY_SECONDS)
        self._state = "stopped"

    async def _allowed(self) -> bool:
        """Wait until the line may be tried for; False when told to leave."""
        await wait_first(self._may_try, self._leaving)
        self._may_try.clear()
        return not self._leaving.is_set()

    async def _own(self) -> None:
        lost = asyncio.Event()
        self._giving.clear()
        with contextlib.suppress(StoreUnavailable):
            fence = await self._station.leases.acquire(self.line, lost.set)
            if fence is None:
                self._state = "waiting"
                return
            self.is_held = True
            try:
                await self._serve(fence, lost)
            finally:
                self._serving = None
                self._station.transcripts.forget_line(self.line)
                if not lost.is_set():
                    await self._station.leases.release(fence)
                self._may_try.clear()  # leave to take it was given for the last time
                self.is_held = False
                self._state = "waiting"

    async def _serve(self, fence: Fence, lost: asyncio.Event) -> None:
        identity = await self._or_leave(identify(self._wire, self._station.clock), lost)
        if identity is None:
            return
        self.username = identity.username
        self._station.identified()
        self.show_menu()
        moves = ChatMigrations(await self._station.moves.of(self.line))
        way = BotConnection(self._wire, identity, self.token_hash, self.hook)
        serving = open_line(self._station, way, fence, moves, lost)
        try:
            parts = await serving.channel.recover()
            waiting = await self._station.suspended.recover(serving.line, serving.lanes)
            entries = await serving.feed.look()
            found = {"parts": parts, "waiting": waiting, "entries": entries}
            log.info("bot.serving", bot=self.id, at=self.username, **found)
            self._serving = serving
            await self._until_over(serving)
        finally:
            for errand in self._errands:
                errand.cancel()
            await serving.lanes.close()
            await serving.channel.close()

    async def _until_over(self, now: LineRuntime) -> None:
        """Take in until told to go, or the line is lost, or the token is revoked."""
        works = [
            asyncio.create_task(now.intake.run(), name=f"intake:{self.id}"),
            asyncio.create_task(self._look_forever(now), name=f"look:{self.id}"),
            asyncio.create_task(
                self._station.suspended.wake_forever(now.line, now.lanes), name=f"wake:{self.id}"
            ),
        ]
        ends = [self._leaving, self._giving, now.lost, now.lanes.lost, now.channel.lost]
        try:
            await wait_first(*ends, now.channel.revoked, *works)
            for work in works:
                if work.done():
                    work.result()
            if now.channel.revoked.is_set():
                raise Unauthorized("sendMessage", "Unauthorized")
        except FencedOut:
            now.lost.set()
        finally:
            await cancel_and_wait(works)
        if now.lanes.lost.is_set() or now.channel.lost.is_set():
            now.lost.set()
        if not now.lost.is_set():
            now.intake.state = "draining"
            await now.lanes.drain(self._station.drain_seconds)
            await now.channel.drain(LAST_SENDS_SECONDS)

    async def _look_forever(self, now: LineRuntime) -> None:
        """Take up what others put into the line, whenever they have."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await now.feed.look()
            await now.channel.deliver([])

    async def _or_leave(self, work: Awaitable[T], lost: asyncio.Event) -> T | None:
        """The work's result, or None if the bot has to go first."""
        task = asyncio.ensure_future(work)
        try:
            await wait_first(self._leaving, self._giving, lost, task)
            return await task if task.done() else None
        finally:
            await cancel_and_wait([task])


def _words(error: Exception) -> str:
    """The store's own words; of all else the kind alone, as nobody knows what its words hold."""
    return str(error) if isinstance(error, StoreError) else type(error).__name__


@dataclass(frozen=True, slots=True)
class BotConnection:
    """The way to one bot: its wire, who it is there, and its webhook where it has one."""

    wire: TelegramClient
    identity: BotUser
    token_hash: str
    hook: WebhookConfig | None


@dataclass(frozen=True, slots=True)
class LineRuntime:
    """What there is while the line is ours; `lost` is set once it is another's."""

    line: LineContext
    lanes: ConversationQueues
    feed: InboxReader
    channel: TelegramChannel
    intake: Transport
    lost: asyncio.Event


def open_line(
    s: AppContext, way: BotConnection, fence: Fence, moves: ChatMigrations, lost: asyncio.Event
) -> LineRuntime:
    """The parts of a line that was just acquired; nothing runs yet."""

    def lease() -> float:
        return s.leases.left(fence.line)

    def decoded(raw: bytes) -> Decoded:
        return moves.placed(decode(orjson.loads(raw), way.identity))

    channel = TelegramChannel(way.wire, s.outbox, fence, lease, s.clock, s.counters, s.secrets)
    line = LineContext(fence, way.identity.id, way.identity.username, way.token_hash, channel)
    channel.sender.overtaken = partial(s.router.overtaken, line)
    channel.sender.unasked = partial(s.router.undelivered, line)
    lanes = ConversationQueues(
        line, s.router, s.inbox, decoded, s.clock, s.counters, s.turns_at_once
    )
    feed = InboxReader(fence, s.inbox, lanes, decoded, s.counters)
    return LineRuntime(line, lanes, feed, channel, _intake(s, way, fence.line, feed), lost)


def _intake(s: AppContext, way: BotConnection, line: str, feed: InboxReader) -> Transport:
    if way.hook is not None:
        return WebhookTransport(line, way.wire, way.hook, s.clock)

    def poller() -> Poller:
        return Poller(line, way.wire, feed, s.clock, s.counters, s.poll_seconds)

    return PollingTransport(poller, s.clock, s.counters, s.deaf_seconds)


@dataclass(frozen=True, slots=True)
class AppContext:
    """What all bots of a replica share. `webhook_url` is the public base, or None for polling."""

    session: aiohttp.ClientSession
    api_url: str
    leases: Leases
    inbox: UpdateInbox
    outbox: Outbox
    moves: ChatMigrationStore
    router: Router
    suspended: SuspendedTurns
    transcripts: Transcripts
    clock: Clock
    counters: Counters
    poll_seconds: int
    secrets: Secrets
    menus: Menus | None = None
    identified: Callable[[], None] = lambda: None
    webhook_url: str | None = None
    deaf_seconds: float = 90.0
    drain_seconds: float = 20.0
    turns_at_once: int = 200
