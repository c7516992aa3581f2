"""What is shed where a chat has no free slot: growing answers, and the sign that one is coming."""

from __future__ import annotations

from typing import Any

from bot.errors import NotModified, TooManyRequests
from bot.events import Address
from bot.ops.aside import over
from bot.ports import Clock
from bot.redaction import Secrets
from bot.telegram import markup, parts
from bot.telegram.ownership import LEAST_LEASE, Lease
from bot.telegram.pacing import Pace
from bot.telegram.wire import Wire
from bot.turn.filters import shows_a_secret

SECONDS = 8.0


class Previews:
    """The previews of one bot's line, as far as its lease goes; raises `TelegramError` kinds."""

    def __init__(
        self, wire: Wire, lease: Lease, clock: Clock, pace: Pace, secrets: Secrets
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
        part = markup.edge(markdown, last=address.private)
        rich = await over(len(part), lambda: markup.render(part))
        grown = markup.split(rich, markup.PART_LIMIT)
        if not grown or shows_a_secret(rich, self._secrets, begun=True):
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
