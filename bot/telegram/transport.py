"""One bot of Telegram as a line's wire: it receives by polling or by a webhook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import orjson
import structlog
from pydantic import SecretStr

from bot.hosting.leases import SecondsLeft
from bot.hosting.outbox_channel import ChannelServices
from bot.hosting.transport import Accept, Report
from bot.messages import Decoded, Fence
from bot.telegram.channel import TelegramChannel
from bot.telegram.client import TelegramClient
from bot.telegram.decode import BotUser, decode
from bot.telegram.errors import TelegramError, TooManyRequests, Unauthorized
from bot.telegram.menus import Menus
from bot.telegram.poller import CALL_SECONDS, NETWORK_PAUSES, TelegramPoller, jittered_pause
from bot.telegram.webhook import TelegramWebhook, webhook_config
from registry.binding import BotIdentity, token_hash

log = structlog.get_logger("telegram")


@dataclass(frozen=True, slots=True)
class TelegramOptions:
    """How updates come in: from the webhook below `webhook_url`, or by polls of `poll_seconds`.

    A poll is given up after `stalled_seconds`.
    """

    webhook_url: str | None = None
    poll_seconds: int = 50
    stalled_seconds: float = 90.0


@dataclass(slots=True, repr=False)
class TelegramServices:
    """What all bots of a host share; `on_identified` is called once a bot's names are known."""

    channels: ChannelServices
    menus: Menus
    options: TelegramOptions
    on_identified: Callable[[], None]


class TelegramTransport:
    """Implements `Transport` for one bot; `webhook` is set where updates are pushed."""

    def __init__(
        self, bot: int, token: SecretStr, client: TelegramClient, services: TelegramServices
    ) -> None:
        self.line = f"bot:{bot}"
        self.identity = BotIdentity(token_hash(token.get_secret_value()), bot)
        self._client = client
        self._services = services
        base = services.options.webhook_url
        self.webhook = webhook_config(base, token) if base else None
        self._user = BotUser(bot, "")
        self._receiver = self._new_receiver()

    @property
    def state(self) -> str:
        """How receiving is doing: starting, polling, webhook, conflict, unreachable …."""
        return self._receiver.state

    @property
    def last_success(self) -> float | None:
        """When Telegram last answered a getUpdates, or a check of the webhook."""
        return self._receiver.last_success

    async def identify(self) -> None:
        """Ask for the bot's username until Telegram answers; raises Unauthorized."""
        failures = 0
        while True:
            pause = 0.0
            try:
                me = await self._client.call("getMe", {}, timeout=CALL_SECONDS)
                self._user = BotUser(me["id"], me["username"])
            except Unauthorized:
                raise
            except TooManyRequests as error:
                pause = error.retry_after
            except TelegramError as error:
                failures += 1
                log.warning("getme.failed", line=self.line, error=str(error))
                pause = jittered_pause(failures, *NETWORK_PAUSES)
            else:
                self.identity = replace(self.identity, username=self._user.username)
                self._services.on_identified()
                return
            await self._services.channels.clock.sleep(pause)

    def decode(self, raw: bytes) -> Decoded:
        """What a stored update means to this bot."""
        return decode(orjson.loads(raw), self._user)

    def open_channel(
        self, fence: Fence, seconds_left: SecondsLeft, on_lost: Callable[[], None], report: Report
    ) -> TelegramChannel:
        """The bot's way to its people."""
        channels = self._services.channels
        return TelegramChannel(self._client, fence, seconds_left, on_lost, report, channels)

    async def receive(self, accept: Accept) -> None:
        """Take updates in until cancelled; raises Unauthorized."""
        self._receiver = self._new_receiver()
        await self._receiver.receive(accept)

    async def show_menu(self, person: int | None = None) -> None:
        """Show the commands to everybody and to each admin, or to one admin."""
        menus = self._services.menus
        if person is None:
            await menus.show(self._client, self.line)
        else:
            await menus.show_to(self._client, self.line, person)

    def _new_receiver(self) -> TelegramPoller | TelegramWebhook:
        clock, options = self._services.channels.clock, self._services.options
        if self.webhook is not None:
            return TelegramWebhook(self.line, self._client, self.webhook, clock)
        return TelegramPoller(
            self.line,
            self._client,
            clock,
            self._services.channels.counters,
            options.poll_seconds,
            options.stalled_seconds,
        )
