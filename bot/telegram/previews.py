"""What is shed where a chat has no free slot: growing answers, and the sign that one is coming."""

from __future__ import annotations

from typing import Any

from bot.errors import NotModified, TooManyRequests
from bot.hosting.leases import LEAST_LEASE, SecondsLeft
from bot.messages import Address, Clock
from bot.ops.redaction import Secrets
from bot.ops.tasks import offload_if_long
from bot.safety.output_filter import shows_secret
from bot.telegram import parts
from bot.telegram.client import TelegramClient
from bot.telegram.markdown import renderer
from bot.telegram.rate_limit import ChatRateLimiter

SECONDS = 8.0


class Previews:
    """The previews of one bot's line, as far as its lease goes; raises `TelegramError` kinds."""

    def __init__(
        self,
        wire: TelegramClient,
        lease: SecondsLeft,
        clock: Clock,
        pace: ChatRateLimiter,
        secrets: Secrets,
    ) -> None:
        self._secrets = secrets
        self._wire = wire
        self._lease = lease
        self._clock = clock
        self._pace = pace

    async def show(
        self,
        address: Address,
        draft: int,
        markdown: str,
        message: int | None,
        *,
        link_previews: bool = False,
    ) -> int | None:
        """Show a growing answer; its message id (0 for a draft), or None where it is not shown.

        That is where there is no slot, and where a secret seems to come out between the marks.
        """
        if not self._has_slot(address.chat):
            return None
        part = renderer.edge(markdown, last=address.private)
        rich = await offload_if_long(part, lambda: renderer.render(part))
        grown = renderer.split(rich, renderer.PART_LIMIT)
        if not grown or shows_secret(rich, self._secrets, growing=True):
            return None
        self._pace.spend(address.chat, preview=True)
        if address.private:
            body = parts.payload(address, grown[-1], None)
            body |= {"draft_id": draft, "can_stop": True}
            await self._shed(address, "sendMessageDraft", body)
            return 0
        payload = parts.payload(address, grown[0], None, link_previews=link_previews)
        if message is None:
            return parts.number("sendMessage", await self._shed(address, "sendMessage", payload))
        await self._shed(address, "editMessageText", payload | {"message_id": message})
        return message

    async def typing(self, address: Address) -> None:
        """Show that an answer is coming, if there is a slot."""
        if not self._has_slot(address.chat):
            return
        self._pace.spend(address.chat)
        thread = {} if address.topic is None else {"message_thread_id": address.topic}
        await self._shed(address, "sendChatAction", {"action": "typing"} | thread)

    def _has_slot(self, chat: int) -> bool:
        return self._pace.may_preview(chat) and self._lease() > LEAST_LEASE

    async def _shed(self, address: Address, method: str, payload: dict[str, Any]) -> Any:
        seconds = min(SECONDS, self._lease())
        body = parts.closed(method, payload | {"chat_id": address.chat})
        try:
            return await self._wire.call(method, body, timeout=seconds)
        except NotModified:
            return {"message_id": payload.get("message_id", 0)}
        except TooManyRequests as error:
            self._pace.freeze(address.chat, self._clock.monotonic() + error.retry_after)
            raise
