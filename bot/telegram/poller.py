"""Intake of one bot: ask, store, and only then let the offset move."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import orjson
import structlog

from bot.errors import Conflict, StoreUnavailable, TelegramError, TooManyRequests, Unauthorized
from bot.messages import Clock
from bot.ops.counters import Counters
from bot.ops.lenient_json import dumps, loads_object
from bot.store.inbox import Update
from bot.telegram.client import TelegramClient
from bot.telegram.decode import ALLOWED_UPDATES, BotUser


class PollingTransport:
    """Polls, and begins anew with another poller where one has become deaf.

    Deaf is a poller whose getUpdates has neither answered nor failed within `deaf_seconds`.
    """

    def __init__(
        self, make: Callable[[], Poller], clock: Clock, counters: Counters, deaf_seconds: float
    ) -> None:
        self._make = make
        self._poller = make()
        self._clock = clock
        self._counters = counters
        self._deaf_seconds = deaf_seconds
        self._heard_at: float | None = None
        self._over = ""
        self._was_deaf = False

    @property
    def state(self) -> str:
        """The poller's state; deaf until the poller, or the one built in its place, hears again."""
        deaf = self._is_deaf() or (self._was_deaf and self._poller.state == "starting")
        return self._over or ("deaf" if deaf else self._poller.state)

    @state.setter
    def state(self, word: str) -> None:
        self._over = word

    @property
    def finished_at(self) -> float | None:
        """When a getUpdates last came to a good end."""
        return self._poller.finished_at or self._heard_at

    async def run(self) -> None:
        """Poll until cancelled; raises Unauthorized."""
        while True:
            polling = asyncio.create_task(self._poller.run(), name="poll")
            try:
                await self._watch(polling)
            finally:
                polling.cancel()
                await asyncio.wait({polling}, timeout=1.0)
            self._counters.add("poll:rebuilt")
            log.error("poll.deaf", seconds=self._deaf_seconds, again="with a new poller")
            self._heard_at, self._was_deaf = self.finished_at, True
            self._poller = self._make()

    async def _watch(self, polling: asyncio.Task[None]) -> None:
        """Return once the poller is deaf; raises what it raised."""
        while not self._is_deaf():
            left = self._deaf_seconds - self._poller.silent_for
            await asyncio.wait({polling}, timeout=max(left, 0.0) + self._deaf_seconds / 10)
            if polling.done():
                polling.result()

    def _is_deaf(self) -> bool:
        return self._poller.silent_for > self._deaf_seconds


log = structlog.get_logger("poller")

BATCH = 100
FIRST_POLL = 1
STORE_PAUSE = 1.0
CONFLICT_PAUSES = (5.0, 60.0)
NETWORK_PAUSES = (1.0, 30.0)


class Takes(Protocol):
    """Where updates go: the line's feed."""

    async def accept(self, updates: Sequence[Update]) -> None:
        """Store updates and let them run; raises StoreUnavailable."""
        ...


class Poller:
    """Polls one bot until cancelled; `state` and `finished_at` tell how it is doing."""

    def __init__(
        self,
        line: str,
        wire: TelegramClient,
        feed: Takes,
        clock: Clock,
        counters: Counters,
        poll_seconds: int,
    ) -> None:
        self._line = line
        self._wire = wire
        self._feed = feed
        self._clock = clock
        self._counters = counters
        self._poll_seconds = poll_seconds
        self._offset: int | None = None
        self._failures = 0
        self._asked_at: float | None = None
        self.state = "starting"
        self.finished_at: float | None = None

    @property
    def silent_for(self) -> float:
        """Seconds for which the getUpdates that is under way has brought nothing."""
        return 0.0 if self._asked_at is None else self._clock.monotonic() - self._asked_at

    async def run(self) -> None:
        """Poll until cancelled; raises Unauthorized when the token is revoked."""
        while True:
            try:
                updates = await self._poll()
            except TelegramError as error:
                await self._clock.sleep(await self._after(error))
                continue
            self._failures = 0
            self.state = "polling"
            self.finished_at = self._clock.monotonic()
            # What an answered poll has confirmed is gone. An offset of yesterday would also confirm
            # what comes after a silent week, when Telegram begins at a lower number.
            self._offset = await self._stored(updates) if updates else None

    async def _poll(self) -> list[tuple[int, bytes]]:
        """One getUpdates; the first is short, so that a good state is known soon."""
        seconds = self._poll_seconds if self.finished_at else min(FIRST_POLL, self._poll_seconds)
        self._asked_at = self._clock.monotonic()
        try:
            return await self._wire.updates(self._offset, BATCH, seconds, ALLOWED_UPDATES)
        finally:
            self._asked_at = None

    async def _stored(self, updates: list[tuple[int, bytes]]) -> int:
        """Accept a batch, however long the store needs; then the next offset."""
        batch = [Update(number, raw, _name(raw)) for number, raw in updates]
        while True:
            try:
                await self._feed.accept(batch)
            except StoreUnavailable as error:
                self.state = "store away"
                log.warning("intake.waits", line=self._line, error=str(error))
                await self._clock.sleep(STORE_PAUSE)
            else:
                self.state = "polling"
                return max(number for number, _ in updates) + 1

    async def _after(self, error: TelegramError) -> float:
        """Seconds to wait after a failed poll; a bot's faults are its own."""
        if isinstance(error, Unauthorized):
            raise error
        self._failures += 1
        if isinstance(error, TooManyRequests):
            self.state = "throttled"
            return error.retry_after
        if isinstance(error, Conflict):
            return await self._conflict(error)
        self.state = "unreachable"
        pause = _pause(self._failures, *NETWORK_PAUSES)
        log.warning("poll.failed", line=self._line, error=str(error), again_in=round(pause, 1))
        return pause

    async def _conflict(self, error: Conflict) -> float:
        """Another poller, or a webhook that was left behind; a webhook is taken away."""
        self.state = "conflict"
        self._counters.add("poll:conflict")
        pause = _pause(self._failures, *CONFLICT_PAUSES)
        if "webhook" in error.description.lower():
            return 0.0 if await self._without_webhook() else pause
        log.error(
            "poll.conflict",
            line=self._line,
            why="somebody else polls this bot with the same token",
            cure="stop the other program, or revoke the token at @BotFather",
            again_in=round(pause, 1),
        )
        return pause

    async def _without_webhook(self) -> bool:
        log.warning("poll.webhook_removed", line=self._line)
        try:
            await self._wire.call("deleteWebhook", {"drop_pending_updates": False}, timeout=20)
        except Unauthorized:
            raise
        except TelegramError as error:
            log.warning("poll.webhook_stays", line=self._line, error=str(error))
            return False
        return True


def update_of(raw: bytes) -> Update:
    """An update that was pushed to us, from its JSON; raises ValueError where it is none.

    JsonTooDeep is the kind of it for what may be one, and will never be read.
    """
    body = loads_object(raw)
    number = body.get("update_id") if body is not None else None
    if type(number) is not int:
        raise ValueError("not an update: it has no update_id")
    clean = dumps(body)  # half a surrogate pair, which is no text, is gone from it
    return Update(number, clean, _name(clean))


def _name(raw: bytes) -> str:
    """What an update is known by: a press by its query, since it can come under two numbers."""
    if b'"callback_query"' not in raw:
        return ""
    query: Any = orjson.loads(raw).get("callback_query")
    id = query.get("id") if isinstance(query, dict) else None
    return f"press:{id}" if isinstance(id, str) else ""


def _pause(failures: int, first: float, most: float) -> float:
    pause: float = min(first * 2.0 ** min(failures - 1, 10), most)
    return pause * random.uniform(0.8, 1.2)  # noqa: S311


async def identify(wire: TelegramClient, clock: Clock) -> BotUser:
    """Who the bot is, asked until the server answers; raises Unauthorized."""
    failures = 0
    while True:
        try:
            me = await wire.call("getMe", {}, timeout=20)
            return BotUser(me["id"], me["username"])
        except Unauthorized:
            raise
        except TooManyRequests as error:
            await clock.sleep(error.retry_after)
        except TelegramError as error:
            failures += 1
            log.warning("getme.failed", error=str(error))
            await clock.sleep(_pause(failures, *NETWORK_PAUSES))
