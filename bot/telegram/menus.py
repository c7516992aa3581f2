"""The menus of commands that Telegram shows: everybody's, and each admin's own."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import structlog

from bot.errors import NotSent, TelegramError, Unreachable
from bot.telegram.wire import Wire

log = structlog.get_logger("menus")

SECONDS = 20.0
AT_ONCE = 4
Row = tuple[str, str]


class Menus:
    """Rows of (command, help); `admins` see theirs in their private chats with the bot."""

    def __init__(
        self, everyone: Sequence[Row], admins_rows: Sequence[Row], admins: Collection[int]
    ) -> None:
        self._everyone = _commands(everyone)
        self._own = _commands(admins_rows)
        self._admins = frozenset(admins)
        self._places = asyncio.Semaphore(AT_ONCE)

    async def show(self, wire: Wire) -> None:
        """Set what is not as it should be; faults are only logged.

        A few bots at a time: a thousand that start together have polls to make first.
        """
        async with self._places:
            if await self._put(wire, {"type": "default"}, self._everyone):
                for person in sorted(self._admins):
                    await self.show_to(wire, person)

    async def show_to(self, wire: Wire, person: int) -> None:
        """The menu of one admin, who must have written to the bot."""
        if person in self._admins:
            await self._put(wire, {"type": "chat", "chat_id": person}, self._own)

    async def _put(self, wire: Wire, scope: dict[str, Any], wanted: list[dict[str, str]]) -> bool:
        """Whether the server answers at all."""
        try:
            there = await wire.call("getMyCommands", {"scope": scope}, timeout=SECONDS)
            if there != wanted:
                body = {"scope": scope, "commands": wanted}
                await wire.call("setMyCommands", body, timeout=SECONDS)
        except Unreachable:
            log.debug("menu.no_chat", scope=scope)  # set once this admin writes
        except TelegramError as error:
            log.warning("menu.not_set", scope=scope, error=str(error))
            return not isinstance(error, NotSent)
        return True


def _commands(rows: Sequence[Row]) -> list[dict[str, str]]:
    return [{"command": name, "description": words} for name, words in rows]
