"""Who somebody is in a chat, as Telegram says now; where it does not say, nobody."""

from __future__ import annotations

import structlog

from bot.errors import TelegramError
from bot.events import Address
from bot.telegram.wire import Wire

log = structlog.get_logger("channel")

SECONDS = 8.0


class Members:
    """The members of one bot's chats; `line` names the bot in the log."""

    def __init__(self, wire: Wire, line: str) -> None:
        self._wire = wire
        self._line = line

    async def administers(self, address: Address, person: int) -> bool:
        """Whether somebody is an admin of the chat, as Telegram says now; where it does not, no."""
        if address.private:
            return person == address.chat
        return await self._standing(address, person) in ("creator", "administrator")

    async def has_left(self, address: Address, person: int) -> bool:
        """Whether somebody is in the chat no more, as Telegram says now; where it does not, no."""
        return not address.private and await self._standing(address, person) in ("left", "kicked")

    async def _standing(self, address: Address, person: int) -> str:
        """What Telegram calls somebody in a chat; empty where it does not say."""
        ask = {"chat_id": address.chat, "user_id": person}
        try:
            member = await self._wire.call("getChatMember", ask, timeout=SECONDS)
        except TelegramError as error:
            log.warning("member.unknown", line=self._line, error=str(error))
            return ""
        return str(member.get("status", ""))
