"""The menus of commands that Telegram shows: everybody's, and each admin's own.

Telegram does not tell who has a menu of their own. So it is noted before it is set, and whoever is
no admin any more loses it when the menus are shown next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

import structlog

from bot.admins import PersonLines
from bot.errors import StoreError
from bot.telegram.client import TelegramClient
from bot.telegram.errors import NotSent, TelegramError, Unreachable

log = structlog.get_logger("menus")

SECONDS = 20.0
AT_ONCE = 4
Row = tuple[str, str]


class Menus:
    """Rows of (command, help); `admins` see theirs in their private chats with the bot."""

    def __init__(
        self,
        everyone: Sequence[Row],
        admins_rows: Sequence[Row],
        admins: Callable[[], Collection[int]],
        owners: PersonLines,
    ) -> None:
        self._owners = owners
        self._everyone = _commands(everyone)
        self._own = _commands(admins_rows)
        self._admins = admins
        self._places = asyncio.Semaphore(AT_ONCE)

    async def show(self, wire: TelegramClient, line: str) -> None:
        """Set what is not as it should be at a line; faults are only logged.

        A few bots at a time: a thousand that start together have polls to make first.
        """
        async with self._places:
            if await self._put(wire, {"type": "default"}, self._everyone):
                for person in sorted(self._admins()):
                    await self.show_to(wire, line, person)
                await self._take_back(wire, line)

    async def show_to(self, wire: TelegramClient, line: str, person: int) -> None:
        """The menu of one admin, who must have written to the bot."""
        if person not in self._admins():
            return
        try:
            await self._owners.note(person, line)
        except StoreError as error:  # the next start, or their next message, sets it
            log.warning("menu.not_set", line=line, error=str(error))
        else:
            await self._put(wire, _chat(person), self._own)

    async def _take_back(self, wire: TelegramClient, line: str) -> None:
        """Whoever is no admin any more sees everybody's menu again."""
        try:
            for person in sorted(set(await self._owners.of(line)) - set(self._admins())):
                await wire.call("deleteMyCommands", {"scope": _chat(person)}, timeout=SECONDS)
                await self._owners.forget(person, line)
        except (StoreError, TelegramError) as error:
            log.warning("menu.not_taken_back", line=line, error=str(error))

    async def _put(
        self, wire: TelegramClient, scope: dict[str, Any], wanted: list[dict[str, str]]
    ) -> bool:
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


def _chat(person: int) -> dict[str, Any]:
    return {"type": "chat", "chat_id": person}


def _commands(rows: Sequence[Row]) -> list[dict[str, str]]:
    return [{"command": name, "description": words} for name, words in rows]
