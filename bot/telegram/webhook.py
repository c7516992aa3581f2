"""A bot's webhook: its address, how it stays registered, and how pushed updates are stored."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog
from pydantic import SecretStr

from bot.hosting.transport import Accept
from bot.messages import Clock
from bot.ops.lenient_json import JsonTooDeep
from bot.ops.logging import Counters
from bot.store.inbox import Update
from bot.telegram.client import TelegramClient
from bot.telegram.decode import ALLOWED_UPDATES
from bot.telegram.errors import TelegramError, Unauthorized
from bot.telegram.poller import CALL_SECONDS, update_of

log = structlog.get_logger("webhook")

WEBHOOK_PATH = "/telegram/"
REGISTER_AGAIN = 60.0
REGISTER_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """A bot's webhook: its address, and the secret that Telegram must send; never stored."""

    url: str
    path: str
    secret: str


def webhook_config(base: str, token: SecretStr) -> WebhookConfig:
    """The webhook below a public URL: opaque, and the same on every host."""

    def derived(purpose: bytes) -> str:
        return hmac.new(token.get_secret_value().encode(), purpose, hashlib.sha256).hexdigest()[:48]

    path = WEBHOOK_PATH + derived(b"webhook path")
    return WebhookConfig(base.rstrip("/") + path, path, derived(b"webhook secret"))


async def accept_pushed(
    accept: Callable[[Update], Awaitable[None]], counters: Counters, raw: bytes
) -> None:
    """Store an update that Telegram pushed; raises ValueError and StoreUnavailable.

    One that cannot be read is only counted: if it were refused, Telegram would push it forever.
    """
    try:
        update = update_of(raw)
    except JsonTooDeep:
        counters.add("ignored:nested")
    else:
        await accept(update)


@dataclass(slots=True, repr=False)
class TelegramWebhook:
    """Keeps a webhook registered; the updates themselves come in over HTTP.

    It asks for one connection, so that Telegram pushes one update after the other, in their order.
    """

    line: str
    client: TelegramClient
    config: WebhookConfig
    clock: Clock
    state: str = field(default="starting", init=False)
    last_success: float | None = field(default=None, init=False)

    async def receive(self, _accept: Accept) -> None:
        """Check once a minute that the webhook is registered, until cancelled.

        Raises Unauthorized when the token is revoked.
        """
        while True:
            pause = REGISTER_AGAIN
            try:
                found = await self.client.call("getWebhookInfo", {}, timeout=CALL_SECONDS)
                if self.state == "starting" or found.get("url") != self.config.url:
                    wanted = {
                        "url": self.config.url,
                        "secret_token": self.config.secret,
                        "allowed_updates": list(ALLOWED_UPDATES),
                        "max_connections": 1,
                        "drop_pending_updates": False,
                    }
                    await self.client.call("setWebhook", wanted, timeout=CALL_SECONDS)
                self.state = "webhook"
            except Unauthorized:
                raise
            except TelegramError as error:
                self.state = "unreachable"
                log.warning("webhook.not_registered", line=self.line, error=str(error))
                pause = REGISTER_PAUSE
            else:
                self.last_success = self.clock.monotonic()
            await self.clock.sleep(pause)
