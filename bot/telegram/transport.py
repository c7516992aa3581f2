"""A Telegram bot as a line: identified, received by polling or webhook, with its command menus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import structlog
from pydantic import SecretStr

from bot.admins import PersonLines
from bot.errors import StoreError
from bot.hosting.outbox_channel import ChannelServices
from bot.hosting.transport import Accept, Ownership
from bot.messages import Decoded, Json
from bot.ops.bot_tokens import Seal, without_tokens
from bot.ops.tasks import backoff
from bot.store.inbox import Update
from bot.telegram.channel import TelegramChannel
from bot.telegram.client import TelegramClient
from bot.telegram.decode import BotUser, decode
from bot.telegram.errors import NotSent, TelegramError, TooManyRequests, Unauthorized, Unreachable
from bot.telegram.poller import CALL_SECONDS, NETWORK_PAUSES, TelegramPoller
from bot.telegram.webhook import TelegramWebhook, webhook_config
from registry.binding import BotIdentity, token_hash

log = structlog.get_logger("telegram")

BOTS_AT_ONCE = 4
Row = tuple[str, str]


def line_of(bot: int) -> str:
    """The name of a bot's line."""
    return f"bot:{bot}"


class Menus:
    """Menus of (command, help); some `people` have their own in private chats with the bot."""

    def __init__(
        self,
        everyone: Sequence[Row],
        of_person: Callable[[int], Sequence[Row]],
        people: Callable[[], Collection[int]],
        owners: PersonLines,
    ) -> None:
        self._owners = owners
        self._everyone = _commands(everyone)
        self._of_person = of_person
        self._people = people
        self._slots = asyncio.Semaphore(BOTS_AT_ONCE)

    async def show(self, client: TelegramClient, line: str, person: int | None = None) -> None:
        """Set what differs at a bot, or for one person who wrote to it; faults are only logged.

        A few bots at a time: a thousand that start together have polls to make first.
        """
        if person is not None:
            await self._show_to(client, line, person)
            return
        async with self._slots:
            if await self._set(client, {"type": "default"}, self._everyone):
                for person in sorted(self._people()):
                    await self._show_to(client, line, person)
                await self._take_back(client, line)

    async def _show_to(self, client: TelegramClient, line: str, person: int) -> None:
        if person not in self._people():
            return
        try:
            await self._owners.note(person, line)
        except StoreError as error:  # the next start, or their next message, sets it
            log.warning("menu.not_set", line=line, error=str(error))
        else:
            await self._set(client, _chat_scope(person), _commands(self._of_person(person)))

    async def _take_back(self, client: TelegramClient, line: str) -> None:
        """Show the common menu again to people who no longer have one of their own."""
        try:
            for person in sorted(set(await self._owners.of(line)) - set(self._people())):
                scope = {"scope": _chat_scope(person)}
                await client.call("deleteMyCommands", scope, timeout=CALL_SECONDS)
                await self._owners.forget(person, line)
        except (StoreError, TelegramError) as error:
            log.warning("menu.not_removed", line=line, error=str(error))

    async def _set(self, client: TelegramClient, scope: Json, wanted: list[Json]) -> bool:
        """Set a menu where it differs; False where the server cannot be reached."""
        try:
            found = await client.call("getMyCommands", {"scope": scope}, timeout=CALL_SECONDS)
            if found != wanted:
                body = {"scope": scope, "commands": wanted}
                await client.call("setMyCommands", body, timeout=CALL_SECONDS)
        except Unreachable:
            log.debug("menu.no_chat", scope=scope)  # set once this person writes
        except TelegramError as error:
            log.warning("menu.not_set", scope=scope, error=str(error))
            return not isinstance(error, NotSent)
        return True


def without_token(update: Update, seal: Seal | None) -> Update:
    """An update as it may be stored; most are the same."""
    raw = without_tokens(update.raw, seal)
    return update if raw is update.raw else replace(update, raw=raw)


def _chat_scope(person: int) -> Json:
    return {"type": "chat", "chat_id": person}


def _commands(rows: Sequence[Row]) -> list[Json]:
    return [{"command": name, "description": text} for name, text in rows]


@dataclass(slots=True, repr=False)
class TelegramServices:
    """What all bots of a host share; `on_identified` is called once a bot's names are known.

    Updates come in from the webhook below `webhook_url`, or by polls of `poll_seconds`, each of
    which is given up after `stalled_seconds`. `seal` seals the tokens of bots that people send.
    """

    channels: ChannelServices
    menus: Menus
    on_identified: Callable[[], None]
    webhook_url: str | None
    poll_seconds: int
    stalled_seconds: float
    seal: Seal | None = None


class TelegramTransport:
    """Implements `Transport` for one bot; `webhook` is set where updates are pushed."""

    has_groups = True

    def __init__(
        self, bot: int, token: SecretStr, client: TelegramClient, services: TelegramServices
    ) -> None:
        self.line = line_of(bot)
        self.identity = BotIdentity(token_hash(token.get_secret_value()), bot)
        self._client = client
        self._services = services
        base = services.webhook_url
        self.webhook = webhook_config(base, token) if base else None
        self._user = BotUser(bot, "")
        self._receiver = self._new_receiver()

    @property
    def state(self) -> str:
        """The state of receiving: starting, polling, webhook, conflict, unreachable …."""
        return self._receiver.state

    @property
    def last_success(self) -> float | None:
        """When Telegram last answered a getUpdates, or a check of the webhook."""
        return self._receiver.last_success

    async def identify(self) -> None:
        """Ask for the bot's username until Telegram answers; raises Unauthorized."""
        failures, me = 0, dict[str, Any]()
        while True:
            try:
                me = await self._client.call("getMe", {}, timeout=CALL_SECONDS)
                self._user = BotUser(me["id"], me["username"])
                break
            except Unauthorized:
                raise
            except TooManyRequests as error:
                pause = error.retry_after
            except TelegramError as error:
                failures += 1
                log.warning("getme.failed", line=self.line, error=str(error))
                pause = backoff(failures, *NETWORK_PAUSES)
            await self._services.channels.clock.sleep(pause)
        self.identity = replace(
            self.identity,
            username=self._user.username,
            name=me.get("first_name"),
            manages=me.get("can_manage_bots") is True,
        )
        self._services.on_identified()

    def decode(self, raw: bytes) -> Decoded:
        """What a stored update means to this bot."""
        return decode(orjson.loads(raw), self._user)

    def open_channel(self, owned: Ownership) -> TelegramChannel:
        """The bot's way to its people."""
        return TelegramChannel(self._client, owned, self._services.channels)

    async def receive(self, accept: Accept) -> None:
        """Take updates in until cancelled; raises Unauthorized."""
        self._receiver = self._new_receiver()
        seal = self._services.seal

        async def clean(updates: Sequence[Update]) -> None:
            await accept([without_token(update, seal) for update in updates])

        await self._receiver.receive(clean)

    async def accept_clean(
        self, accept: Callable[[Update], Awaitable[None]], update: Update
    ) -> None:
        """Accept an update that was pushed, without tokens."""
        await accept(without_token(update, self._services.seal))

    async def end_webhook(self) -> None:
        """Let Telegram push nothing any more to a bot that is no longer hosted; never raises."""
        if self.webhook is None:
            return
        try:
            keep = {"drop_pending_updates": False}
            await self._client.call("deleteWebhook", keep, timeout=CALL_SECONDS)
        except TelegramError as error:
            log.warning("webhook.not_removed", line=self.line, error=str(error))

    async def show_menu(self, person: int | None = None) -> None:
        """Show the commands to everybody and to each admin, or to one admin."""
        await self._services.menus.show(self._client, self.line, person)

    def _new_receiver(self) -> TelegramPoller | TelegramWebhook:
        services, bot = self._services, (self.line, self._client)
        clock, counters = services.channels.clock, services.channels.counters
        if self.webhook is not None:
            return TelegramWebhook(*bot, self.webhook, clock)
        waits = (services.poll_seconds, services.stalled_seconds)
        return TelegramPoller(*bot, clock, counters, *waits)
