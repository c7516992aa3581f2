"""Intake of one bot: ask, store, and only then let the offset move."""

from __future__ import annotations

import random
from typing import Protocol

import orjson
import structlog

from bot.errors import (
    Conflict,
    StoreUnavailable,
    TelegramError,
    TooManyRequests,
    Unauthorized,
)
from bot.events import Event, Ignored
from bot.ops.counters import Counters
from bot.ports import Clock, Entry, Inbox
from bot.telegram.decode import ALLOWED_UPDATES, BotIdentity, decode
from bot.telegram.wire import Wire

log = structlog.get_logger("poller")

BATCH = 100
STORE_PAUSE = 1.0
CONFLICT_PAUSES = (5.0, 60.0)
NETWORK_PAUSES = (1.0, 30.0)
FULL = 2000
FULL_PAUSE = 0.2


class Takes(Protocol):
    """Where accepted entries go: the line's lanes."""

    @property
    def backlog(self) -> int:
        """How many wait."""
        ...

    @property
    def newest(self) -> str:
        """The newest entry's id."""
        ...

    def offer(self, items: list[tuple[Entry, Event]]) -> None:
        """Take entries in order."""
        ...


class Poller:
    """Polls one bot until cancelled; `state` and `finished_at` tell how it is doing."""

    def __init__(
        self,
        line: str,
        identity: BotIdentity,
        wire: Wire,
        inbox: Inbox,
        lanes: Takes,
        clock: Clock,
        counters: Counters,
        poll_seconds: int,
    ) -> None:
        self._line = line
        self._identity = identity
        self._wire = wire
        self._inbox = inbox
        self._lanes = lanes
        self._clock = clock
        self._counters = counters
        self._poll_seconds = poll_seconds
        self._offset: int | None = None
        self._failures = 0
        self.state = "starting"
        self.finished_at: float | None = None

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
            if updates:
                await self._store(updates)
            while self._lanes.backlog >= FULL:
                await self._clock.sleep(FULL_PAUSE)

    async def recover(self) -> int:
        """Offer the entries that are in the inbox already, in their order."""
        count = 0
        while page := await self._inbox.pending(self._line, self._lanes.newest):
            await self._offer([(entry, orjson.loads(entry.raw)) for entry in page])
            count += len(page)
            if page[-1].id != self._lanes.newest:  # nothing of this page was for the lanes
                break
        return count

    async def _poll(self) -> list[tuple[int, bytes]]:
        return await self._wire.updates(self._offset, BATCH, self._poll_seconds, ALLOWED_UPDATES)

    async def _store(self, updates: list[tuple[int, bytes]]) -> None:
        """Accept a batch, however long the store needs; then the offset moves."""
        wanted = [(number, raw) for number, raw in updates if not self._ignores(raw)]
        unsure = False
        while wanted:
            try:
                entries = await self._inbox.accept(self._line, wanted)
            except StoreUnavailable as error:
                unsure = True
                self.state = "store away"
                log.warning("intake.waits", line=self._line, error=str(error))
                await self._clock.sleep(STORE_PAUSE)
                continue
            if unsure:  # what an unanswered try stored comes back as seen: look for it
                await self.recover()
            else:
                await self._offer([(entry, orjson.loads(entry.raw)) for entry in entries])
            break
        self.state = "polling"
        self._offset = max(number for number, _ in updates) + 1

    def _ignores(self, raw: bytes) -> bool:
        """Whether a rule leaves the update alone; such updates are counted, not stored."""
        found = decode(orjson.loads(raw), self._identity)
        rule = found.rule if isinstance(found, Ignored) else None
        if rule is None and getattr(found, "addressed", True) is False:
            rule = "not addressed"
        if rule is not None:
            self._counters.add(f"ignored:{rule}")
        return rule is not None

    async def _offer(self, items: list[tuple[Entry, dict[str, object]]]) -> None:
        decoded = ((entry, decode(raw, self._identity)) for entry, raw in items)
        self._lanes.offer([(e, event) for e, event in decoded if not isinstance(event, Ignored)])

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
        if "webhook" in error.description.lower():
            log.warning("poll.webhook_removed", line=self._line)
            await self._wire.call("deleteWebhook", {"drop_pending_updates": False}, timeout=20)
            return 0.0
        pause = _pause(self._failures, *CONFLICT_PAUSES)
        log.error(
            "poll.conflict",
            line=self._line,
            why="somebody else polls this bot with the same token",
            cure="stop the other program, or revoke the token at @BotFather",
            again_in=round(pause, 1),
        )
        return pause


def _pause(failures: int, first: float, most: float) -> float:
    pause: float = min(first * 2.0 ** min(failures - 1, 10), most)
    return pause * random.uniform(0.8, 1.2)  # noqa: S311


async def identify(wire: Wire, clock: Clock) -> BotIdentity:
    """Who the bot is, asked until the server answers; raises Unauthorized."""
    failures = 0
    while True:
        try:
            me = await wire.call("getMe", {}, timeout=20)
            return BotIdentity(me["id"], me["username"])
        except Unauthorized:
            raise
        except TooManyRequests as error:
            await clock.sleep(error.retry_after)
        except TelegramError as error:
            failures += 1
            log.warning("getme.failed", error=str(error))
            await clock.sleep(_pause(failures, *NETWORK_PAUSES))
