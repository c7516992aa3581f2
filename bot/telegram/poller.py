"""Polls the updates of one bot: ask, store, and only then let the offset move."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog

from bot.errors import StoreUnavailable
from bot.hosting.transport import Accept
from bot.messages import Clock
from bot.ops.lenient_json import dumps, loads_object
from bot.ops.logging import Counters
from bot.ops.tasks import backoff
from bot.store.inbox import Update
from bot.telegram.client import TelegramClient
from bot.telegram.decode import ALLOWED_UPDATES
from bot.telegram.errors import Conflict, TelegramError, TooManyRequests, Unauthorized

log = structlog.get_logger("poller")

BATCH = 100
FIRST_POLL = 1
STORE_PAUSE = 1.0
CONFLICT_PAUSES = (5.0, 60.0)
CONTESTED_S = 180.0
"""How long a bot is called contested after a conflict: the other may pause as long as we."""
NETWORK_PAUSES = (1.0, 30.0)
CALL_SECONDS = 20.0


@dataclass(slots=True, repr=False)
class TelegramPoller:
    """Polls one bot; `state` and `last_success` show how it is doing.

    It is stalled while a getUpdates has neither answered nor failed within `stalled_seconds`. That
    call is then given up: a net under the client's own time-out, which should end it much sooner.
    """

    line: str
    client: TelegramClient
    clock: Clock
    counters: Counters
    poll_seconds: int
    stalled_seconds: float
    last_success: float | None = field(default=None, init=False)
    _offset: int | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)
    _asked_at: float | None = field(default=None, init=False)
    _state: str = field(default="starting", init=False)
    _conflict_at: float = field(default=-math.inf, init=False)

    @property
    def state(self) -> str:
        """The state of polling, in a word for `/health`; stalled while a getUpdates is stalled.

        While two programs poll one token, each of them hears something now and then: contested.
        """
        asked, now = self._asked_at, self.clock.monotonic()
        if asked is not None and now - asked > self.stalled_seconds:
            return "stalled"
        is_contested = self._state == "polling" and now - self._conflict_at < CONTESTED_S
        return "contested" if is_contested else self._state

    async def receive(self, accept: Accept) -> None:
        """Poll until cancelled; raises Unauthorized when the token is revoked."""
        while True:
            try:
                updates = await self.poll()
            except Unauthorized:
                raise
            except TelegramError as error:
                await self.clock.sleep(await self._pause_after(error))
                continue
            if updates is None:
                continue
            self._failures = 0
            self._state = "polling"
            self.last_success = self.clock.monotonic()
            # What an answered poll has confirmed is gone. An offset of yesterday would also confirm
            # what comes after a silent week, when Telegram begins at a lower number.
            self._offset = await self._store(updates, accept) if updates else None

    async def poll(self) -> list[tuple[int, bytes]] | None:
        """One getUpdates, or None where it was given up.

        The first is short, so that a good state is known soon.
        """
        hears = self.last_success is not None and self._state != "stalled"
        seconds = self.poll_seconds if hears else min(FIRST_POLL, self.poll_seconds)
        self._asked_at = self.clock.monotonic()
        try:
            async with asyncio.timeout(self.stalled_seconds):
                return await self.client.updates(self._offset, BATCH, seconds, ALLOWED_UPDATES)
        except TimeoutError:
            self._state = "stalled"
            self.counters.add("poll:rebuilt")
            log.error("poll.stalled", line=self.line, seconds=self.stalled_seconds)
            return None
        finally:
            self._asked_at = None

    async def _store(self, updates: list[tuple[int, bytes]], accept: Accept) -> int:
        """Accept a batch, however long the store needs; then the next offset."""
        batch = [Update(number, raw, _dedup_name(raw)) for number, raw in updates]
        while True:
            try:
                await accept(batch)
            except StoreUnavailable as error:
                self._state = "store away"
                log.warning("updates.not_stored", line=self.line, error=str(error))
                await self.clock.sleep(STORE_PAUSE)
            else:
                self._state = "polling"
                return max(number for number, _ in updates) + 1

    async def _pause_after(self, error: TelegramError) -> float:
        self._failures += 1
        if isinstance(error, TooManyRequests):
            self._state = "throttled"
            return error.retry_after
        if isinstance(error, Conflict):
            self._state = "conflict"
            self.counters.add("poll:conflict")
            pause = backoff(self._failures, *CONFLICT_PAUSES)
            if "webhook" in error.description.lower():
                return 0.0 if await self._remove_webhook() else pause
            self._conflict_at = self.clock.monotonic()
            log.error(
                "poll.conflict",
                line=self.line,
                why="another program polls this bot with the same token",
                cure="stop the other program, or revoke the token at @BotFather",
                again_in=round(pause, 1),
            )
            return pause
        self._state = "unreachable"
        pause = backoff(self._failures, *NETWORK_PAUSES)
        log.warning("poll.failed", line=self.line, error=str(error), again_in=round(pause, 1))
        return pause

    async def _remove_webhook(self) -> bool:
        log.warning("poll.webhook_removed", line=self.line)
        keep = {"drop_pending_updates": False}
        try:
            await self.client.call("deleteWebhook", keep, timeout=CALL_SECONDS)
        except Unauthorized:
            raise
        except TelegramError as error:
            log.warning("poll.webhook_not_removed", line=self.line, error=str(error))
            return False
        return True


def update_of(raw: bytes) -> Update:
    """An update that was pushed to us, from its JSON; raises ValueError if it is not one.

    Raises JsonTooDeep, a kind of it, for what may be an update but cannot be read.
    """
    body = loads_object(raw)
    number = body.get("update_id") if body is not None else None
    if type(number) is not int:
        raise ValueError("not an update: it has no update_id")
    clean = dumps(body)  # without half surrogate pairs, which are not text
    return Update(number, clean, _dedup_name(clean))


def _dedup_name(raw: bytes) -> str:
    """What an update is known by: a press by its query, since it can come under two numbers."""
    if b'"callback_query"' not in raw:
        return ""
    query: Any = orjson.loads(raw).get("callback_query")
    id = query.get("id") if isinstance(query, dict) else None
    return f"press:{id}" if isinstance(id, str) else ""
