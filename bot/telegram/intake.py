"""The two doors through which a bot's updates come: polls that are watched, and a webhook."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from bot.errors import TelegramError, Unauthorized
from bot.ops.counters import Counters
from bot.ports.clock import Clock
from bot.telegram.decode import ALLOWED_UPDATES
from bot.telegram.poller import Poller
from bot.telegram.wire import Secret, Wire

log = structlog.get_logger("intake")

WEBHOOK_PATH = "/telegram/"
REGISTER_AGAIN = 60.0
REGISTER_PAUSE = 5.0
CALL_SECONDS = 20.0


class Intake(Protocol):
    """A door; `finished_at` is when Telegram last answered, on the monotonic clock."""

    state: str

    @property
    def finished_at(self) -> float | None:
        """When Telegram last answered."""
        ...

    async def run(self) -> None:
        """Take updates in until cancelled; raises Unauthorized when the token is revoked."""
        ...


class Polls:
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


@dataclass(frozen=True, slots=True)
class Hook:
    """A bot's webhook: where it is, and the word that Telegram must say; never stored."""

    url: str
    path: str
    secret: str


def hook_of(base: str, token: Secret) -> Hook:
    """The webhook below a public URL: opaque, and the same on every replica."""

    def derived(purpose: bytes) -> str:
        return hmac.new(token.get_secret_value().encode(), purpose, hashlib.sha256).hexdigest()[:48]

    path = WEBHOOK_PATH + derived(b"webhook path")
    return Hook(base.rstrip("/") + path, path, derived(b"webhook secret"))


class Pushes:
    """Keeps the webhook registered; the updates themselves come in over HTTP.

    One connection, so that Telegram pushes one update after the other, in their order.
    """

    def __init__(self, line: str, wire: Wire, hook: Hook, clock: Clock) -> None:
        self._line = line
        self._wire = wire
        self._hook = hook
        self._clock = clock
        self.state = "starting"
        self.finished_at: float | None = None

    async def run(self) -> None:
        """Look once a minute whether the webhook is what it should be; raises Unauthorized."""
        while True:
            pause = REGISTER_AGAIN
            try:
                await self._register()
            except Unauthorized:
                raise
            except TelegramError as error:
                self.state = "unreachable"
                log.warning("webhook.not_registered", line=self._line, error=str(error))
                pause = REGISTER_PAUSE
            else:
                self.finished_at = self._clock.monotonic()
            await self._clock.sleep(pause)

    async def _register(self) -> None:
        found = await self._wire.call("getWebhookInfo", {}, timeout=CALL_SECONDS)
        if self.state == "starting" or found.get("url") != self._hook.url:
            wanted = {
                "url": self._hook.url,
                "secret_token": self._hook.secret,
                "allowed_updates": list(ALLOWED_UPDATES),
                "max_connections": 1,
                "drop_pending_updates": False,
            }
            await self._wire.call("setWebhook", wanted, timeout=CALL_SECONDS)
        self.state = "webhook"
