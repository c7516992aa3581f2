"""The two doors through which a bot's updates come: polls that are watched, and a webhook."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Protocol

import structlog

from bot.messages import Clock
from bot.telegram.client import BotToken, TelegramClient
from bot.telegram.decode import ALLOWED_UPDATES
from bot.telegram.errors import TelegramError, Unauthorized

log = structlog.get_logger("intake")

WEBHOOK_PATH = "/telegram/"
REGISTER_AGAIN = 60.0
REGISTER_PAUSE = 5.0
CALL_SECONDS = 20.0


class Transport(Protocol):
    """A door; `finished_at` is when Telegram last answered, on the monotonic clock."""

    state: str

    @property
    def finished_at(self) -> float | None:
        """When Telegram last answered."""
        ...

    async def run(self) -> None:
        """Take updates in until cancelled; raises Unauthorized when the token is revoked."""
        ...


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """A bot's webhook: where it is, and the word that Telegram must say; never stored."""

    url: str
    path: str
    secret: str


def webhook_config(base: str, token: BotToken) -> WebhookConfig:
    """The webhook below a public URL: opaque, and the same on every replica."""

    def derived(purpose: bytes) -> str:
        return hmac.new(token.get_secret_value().encode(), purpose, hashlib.sha256).hexdigest()[:48]

    path = WEBHOOK_PATH + derived(b"webhook path")
    return WebhookConfig(base.rstrip("/") + path, path, derived(b"webhook secret"))


class WebhookTransport:
    """Keeps the webhook registered; the updates themselves come in over HTTP.

    One connection, so that Telegram pushes one update after the other, in their order.
    """

    def __init__(self, line: str, wire: TelegramClient, hook: WebhookConfig, clock: Clock) -> None:
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
