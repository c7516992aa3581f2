"""One bot's way to its people: renders, sends the outbox, shows previews, asks who is in a chat.

Each chat's parts go out one by one, in order. A final answer waits only for its order or for a chat
that a 429 blocked; previews and typing take guessed slots, or are left out.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import structlog

from bot.hosting.leases import MIN_LEASE_SECONDS
from bot.hosting.outbox_channel import ChannelServices, OutboxChannel, SendResult
from bot.hosting.transport import Ownership
from bot.messages import (
    UNKNOWN_MESSAGE,
    Address,
    Buttons,
    CallbackPress,
    OutboxItem,
    OutgoingPart,
    PersonId,
    RichText,
    TurnSummary,
)
from bot.ops.redaction import Secrets
from bot.ops.tasks import offload_if_long
from bot.safety.output_filter import shows_secret
from bot.telegram import errors, sender
from bot.telegram.client import TelegramClient
from bot.telegram.markdown import renderer
from bot.telegram.markdown.split import split
from bot.telegram.rate_limit import ChatRateLimiter
from bot.telegram.sender import SEND_SECONDS, TelegramSender, message_id
from bot.turn.results import SILENT

log = structlog.get_logger("channel")

PREVIEW_SECONDS = 8.0
MEMBER_SECONDS = 8.0
CALLBACK_ANSWER_LIMIT = 200
SEEN = "👀"


def render_parts(
    secrets: Secrets,
    address: Address,
    markdown: str,
    reply_to: int | None = None,
    edit: int | None = None,
    buttons: Buttons = (),
    *,
    link_previews: bool = False,
) -> list[OutgoingPart]:
    """Markdown as the parts of an answer, whichever bot sends them; see `Channel.render`."""
    parts = []
    blank = [RichText(SILENT)] if markdown else []  # an answer always says something
    for rich in sender.messages(markdown, secrets) or blank:
        replied = None if edit else reply_to
        payload = sender.text_payload(address, rich, replied, link_previews=link_previews)
        part = OutgoingPart(address.chat, "message", payload)
        if edit == UNKNOWN_MESSAGE:
            part = sender.mark_repeated(part)
        elif edit is not None:
            part = OutgoingPart(address.chat, "edit", {"message_id": edit} | payload)
        parts.append(part)
        reply_to = edit = None
    if buttons and parts:
        rows = [[{"text": name, "callback_data": to} for name, to in row] for row in buttons]
        keyboard = {"reply_markup": {"inline_keyboard": rows}}
        parts[-1] = replace(parts[-1], payload={**parts[-1].payload, **keyboard})
    return parts


class TelegramChannel(OutboxChannel):
    """The channel of one bot; raises `TelegramError` kinds.

    Nothing that is rendered, shown or said contains a secret of the services.
    """

    def __init__(self, client: TelegramClient, owned: Ownership, services: ChannelServices) -> None:
        super().__init__(owned, services)
        self._client = client
        self._seconds_left = owned.seconds_left
        self._secrets = services.secrets
        self._rate_limit = ChatRateLimiter(services.clock)
        shared = (self._rate_limit, services.clock, services.counters, services.outbox)
        self._sender = TelegramSender(owned.fence, client, owned.seconds_left, *shared)

    # --- answers ---

    def render(
        self,
        address: Address,
        markdown: str,
        reply_to: int | None = None,
        edit: int | None = None,
        buttons: Buttons = (),
        *,
        link_previews: bool = False,
        summary: TurnSummary | None = None,  # noqa: ARG002 a chat is sent words alone
    ) -> list[OutgoingPart]:
        """Markdown as the parts of an answer; see `Channel.render`."""
        how = (reply_to, edit, buttons)
        return render_parts(self._secrets, address, markdown, *how, link_previews=link_previews)

    def callback_answer(self, press: CallbackPress, text: str) -> OutgoingPart:
        """What is shown for a moment to the person who pressed, cut to what Telegram shows."""
        text = self._secrets.redact(text)[:CALLBACK_ANSWER_LIMIT]
        payload = {"callback_query_id": press.query, "text": text}
        return OutgoingPart(press.address.chat, "callback_answer", payload)

    async def send(self, item: OutboxItem) -> SendResult:
        """Send one part; once the token is revoked, wait for the end of this channel."""
        try:
            return await self._sender.send(item)
        except errors.Unauthorized as error:
            if not self.revoked.done():
                self.revoked.set_result(error)
            await asyncio.Event().wait()
            raise

    # --- chats that were told to wait ---

    async def recover(self) -> int:
        """Queue what an earlier owner left; chats that Telegram made wait also wait here."""
        now = self._clock.monotonic()
        for chat, seconds in (await self._outbox.blocked_chats(self._fence.line)).items():
            self._rate_limit.block_until(chat, now + seconds)
        return await super().recover()

    def frozen(self) -> list[float]:
        """For each chat that has to wait: how many more seconds."""
        return self._rate_limit.blocked()

    def held_up(self, chat: int) -> float:
        """Seconds in which nothing will go out to a chat, as far as is known."""
        failing = math.inf if self._sender.is_failing(chat) else 0.0
        return max(failing, self._rate_limit.blocked_for(chat))

    # --- what may be left out ---

    async def preview(
        self,
        address: Address,
        draft: int,
        markdown: str,
        message: int | None,
        *,
        link_previews: bool = False,
    ) -> int | None:
        """Show a growing answer; its message id (0 for a draft), or None where it is not shown.

        That is the case if the chat has no slot or waits for parts, or if a secret seems to begin.
        """
        if not self._has_slot(address.chat):
            return None
        piece = renderer.preview_piece(markdown, last=address.private)
        rich = await offload_if_long(len(piece), lambda: renderer.render(piece))
        messages = split(rich, renderer.PART_LIMIT)
        if not messages or shows_secret(rich, self._secrets, growing=True):
            return None
        if message is None:
            self._rate_limit.begin(address.chat)
        self._rate_limit.record(address.chat, preview=True)
        if address.private:
            payload = sender.text_payload(address, messages[-1])
            payload |= {"draft_id": draft, "can_stop": True}
            await self._call_once(address, "sendMessageDraft", payload)
            return 0
        payload = sender.text_payload(address, messages[0], link_previews=link_previews)
        if message is None:
            sent = message_id(await self._call_once(address, "sendMessage", payload))
            if sent is None:
                raise errors.FateUnknown("sendMessage", "an answer without a message_id")
            return sent
        await self._call_once(address, "editMessageText", payload | {"message_id": message})
        return message

    async def typing(self, address: Address) -> None:
        """Show that an answer is coming, if the chat has a slot and waits for no parts."""
        if self._has_slot(address.chat):
            self._rate_limit.record(address.chat)
            thread = {} if address.topic is None else {"message_thread_id": address.topic}
            await self._call_once(address, "sendChatAction", {"action": "typing"} | thread)

    async def show_seen(self, address: Address, message: int) -> None:
        """React to a message; groups may forbid that, and a blocked chat takes nothing."""
        free = not self._rate_limit.blocked_for(address.chat)
        if free and self._seconds_left() > MIN_LEASE_SECONDS:
            reaction = {"message_id": message, "reaction": [{"type": "emoji", "emoji": SEEN}]}
            try:
                await self._call_once(address, "setMessageReaction", reaction)
            except errors.TelegramError as error:
                log.debug("seen.not_shown", line=self._fence.line, error=str(error))

    def _has_slot(self, chat: int) -> bool:
        free = not self.is_sending_to(chat) and self._rate_limit.may_preview(chat)
        return free and self._seconds_left() > MIN_LEASE_SECONDS

    async def _call_once(self, address: Address, method: str, payload: dict[str, Any]) -> Any:
        body = sender.without_link_preview(method, payload | {"chat_id": address.chat})
        try:
            seconds = min(PREVIEW_SECONDS, self._seconds_left())
            return await self._client.call(method, body, timeout=seconds)
        except errors.NotModified:
            return {"message_id": payload.get("message_id", 0)}
        except errors.TooManyRequests as error:
            await self._sender.block(address.chat, error.retry_after)
            raise

    # --- questions ---

    async def is_chat_admin(self, address: Address, person: PersonId) -> bool:
        """Whether a person is an admin of the chat, as Telegram says now; if it does not, no."""
        if address.private:
            return person == address.chat
        return await self._member_status(address, person) in ("creator", "administrator")

    async def has_left(self, address: Address, person: PersonId) -> bool:
        """Whether a person has left the chat, as Telegram says now; False if that is not known."""
        if address.private:
            return False
        return await self._member_status(address, person) in ("left", "kicked")

    async def _member_status(self, address: Address, person: PersonId) -> str:
        ask = {"chat_id": address.chat, "user_id": person}
        try:
            member = await self._client.call("getChatMember", ask, timeout=MEMBER_SECONDS)
        except errors.TelegramError as error:
            log.warning("member.unknown", line=self._fence.line, error=str(error))
            return ""
        return str(member.get("status", ""))

    async def fetch(self, file: str, most: int) -> bytes:
        """A file by its id, of at most `most` bytes."""
        return await self._client.download(file, most, timeout=SEND_SECONDS)
