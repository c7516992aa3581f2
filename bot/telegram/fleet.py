"""All bots of this replica: each one is owned, recovered, polled, and let go on its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import aiohttp
import structlog

from bot.dispatch.lanes import Lanes
from bot.dispatch.line import Line
from bot.dispatch.router import Router
from bot.errors import StoreUnavailable, Unauthorized
from bot.ops.counters import Counters
from bot.ports import Clock, Fence, Inbox, Outbox
from bot.telegram.channel import TelegramChannel
from bot.telegram.poller import Poller, identify
from bot.telegram.wire import Secret, Wire
from bot.turn.transcripts import Transcripts

T = TypeVar("T")
log = structlog.get_logger("fleet")

DRAIN_SECONDS = 20.0
RETRY_SECONDS = 1.0


class Leases(Protocol):
    """What the fleet needs of the leases."""

    async def acquire(self, line: str, lost: Callable[[], None]) -> Fence | None:
        """The line's fence, or None while another replica holds it."""
        ...

    def left(self, line: str) -> float:
        """Seconds for which the line is surely ours."""
        ...

    async def release(self, fence: Fence) -> None:
        """Give the line back."""
        ...


@dataclass(frozen=True, slots=True)
class Station:
    """What all bots of a replica share."""

    session: aiohttp.ClientSession
    api_url: str
    leases: Leases
    inbox: Inbox
    outbox: Outbox
    router: Router
    transcripts: Transcripts
    clock: Clock
    counters: Counters
    poll_seconds: int


class HostedBot:
    """One bot on this replica, from acquiring its line to giving it back."""

    def __init__(self, id: int, token: Secret, station: Station) -> None:
        self.id = id
        self.line = f"bot:{id}"
        self.username = ""
        self._hash = hashlib.sha256(token.get_secret_value().encode()).hexdigest()
        self._station = station
        self._wire = Wire(station.session, station.api_url, token)
        self._state = "starting"
        self._poller: Poller | None = None
        self._lanes: Lanes | None = None
        self._leaving = asyncio.Event()

    @property
    def state(self) -> str:
        """How the bot is doing, in a word: starting, waiting, polling, conflict, quarantined …."""
        return self._poller.state if self._poller else self._state

    @property
    def poll_age(self) -> float | None:
        """Seconds since the last finished getUpdates."""
        at = self._poller.finished_at if self._poller else None
        return None if at is None else self._station.clock.monotonic() - at

    @property
    def backlog(self) -> int:
        """Entries that wait or run."""
        return self._lanes.backlog if self._lanes else 0

    async def idle(self) -> None:
        """Return once nothing waits, runs or is being sent."""
        while self._lanes and self._lanes.backlog:
            await self._lanes.settled()

    async def run(self) -> None:
        """Own and serve the line until told to leave; never raises for a fault of the bot."""
        while not self._leaving.is_set():
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
                break
            except Exception:
                log.exception("bot.failed", bot=self.id)
                await self._station.clock.sleep(RETRY_SECONDS)
        if self._state != "quarantined":
            self._state = "stopped"

    def leave(self) -> None:
        """Finish what runs, give the line back, and end."""
        self._leaving.set()

    async def _own(self) -> None:
        lost = asyncio.Event()
        fence = await self._acquire(lost.set)
        if fence is None:
            return
        try:
            await self._serve(fence, lost)
        finally:
            self._poller = self._lanes = None
            self._station.transcripts.forget_line(self.line)
            if not lost.is_set():
                await self._station.leases.release(fence)

    async def _acquire(self, lost: Callable[[], None]) -> Fence | None:
        """The line's fence, waited for while another replica holds it."""
        while not self._leaving.is_set():
            with contextlib.suppress(StoreUnavailable):
                if fence := await self._station.leases.acquire(self.line, lost):
                    return fence
                self._state = "waiting"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), RETRY_SECONDS)
        return None

    async def _serve(self, fence: Fence, lost: asyncio.Event) -> None:
        s = self._station
        identity = await self._or_leave(identify(self._wire, s.clock), lost)
        if identity is None:
            return
        self.username = identity.username

        def lease() -> float:
            return s.leases.left(self.line)

        channel = TelegramChannel(self._wire, s.outbox, fence, lease, s.clock, s.counters)
        line = Line(fence, self.id, self.username, self._hash, channel)
        lanes = self._lanes = Lanes(line, s.router, s.clock, s.counters)
        poller = Poller(
            self.line, identity, self._wire, s.inbox, lanes, s.clock, s.counters, s.poll_seconds
        )
        try:
            parts, entries = await channel.recover(), await poller.recover()
            log.info("bot.serving", bot=self.id, at=self.username, parts=parts, entries=entries)
            self._poller = poller
            await self._until_over(poller, lanes, channel, lost)
        finally:
            await lanes.close()
            await channel.close()

    async def _until_over(
        self, poller: Poller, lanes: Lanes, channel: TelegramChannel, lost: asyncio.Event
    ) -> None:
        """Poll until told to leave, or the line is lost, or the token is revoked."""
        polling = asyncio.create_task(poller.run(), name=f"poll:{self.id}")
        ends = [self._leaving, lost, lanes.lost, channel.lost, channel.revoked]
        waits = [asyncio.create_task(event.wait()) for event in ends]
        try:
            await asyncio.wait({polling, *waits}, return_when=asyncio.FIRST_COMPLETED)
            if polling.done():
                polling.result()
            if channel.revoked.is_set():
                raise Unauthorized("sendMessage", "Unauthorized")
        finally:
            for task in (polling, *waits):
                task.cancel()
            await asyncio.gather(polling, *waits, return_exceptions=True)
        if lanes.lost.is_set() or channel.lost.is_set():
            lost.set()
        if self._leaving.is_set() and not lost.is_set():
            poller.state = "draining"
            await lanes.drain(DRAIN_SECONDS)
            await channel.drain(1.0)

    async def _or_leave(self, work: Awaitable[T], lost: asyncio.Event) -> T | None:
        """The work's result, or None if the bot has to go first."""
        task = asyncio.ensure_future(work)
        waits = [asyncio.create_task(event.wait()) for event in (self._leaving, lost)]
        try:
            await asyncio.wait({task, *waits}, return_when=asyncio.FIRST_COMPLETED)
            return await task if task.done() else None
        finally:
            for one in (task, *waits):
                one.cancel()
            await asyncio.gather(task, *waits, return_exceptions=True)


class Fleet:
    """The hosted bots."""

    def __init__(self, bots: Iterable[HostedBot]) -> None:
        self.bots = list(bots)

    async def run(self) -> None:
        """Serve all bots until they left."""
        await asyncio.gather(*(bot.run() for bot in self.bots))

    def leave(self) -> None:
        """Let every bot finish and go."""
        for bot in self.bots:
            bot.leave()
