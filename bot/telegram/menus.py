"""The menus of commands that Telegram shows: everybody's, and each admin's own.

Telegram does not tell who has a menu of their own. So that is noted before it is set, and whoever
is no longer an admin loses it when the menus are shown next.
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

CALL_SECONDS = 20.0
BOTS_AT_ONCE = 4
Row = tuple[str, str]


class Menus:
    """Menus of (command, help); `admins` see theirs in their private chats with the bot."""

    def __init__(
        self,
        everyone: Sequence[Row],
        for_admins: Sequence[Row],
        admins: Callable[[], Collection[int]],
        owners: PersonLines,
    ) -> None:
        self._owners = owners
        self._everyone = _commands(everyone)
        self._for_admins = _commands(for_admins)
        self._admins = admins
        self._slots = asyncio.Semaphore(BOTS_AT_ONCE)

    async def show(self, client: TelegramClient, line: str) -> None:
        """Set what differs at a bot; faults are only logged.

        A few bots at a time: a thousand that start together have polls to make first.
        """
        async with self._slots:
            if await self._set(client, {"type": "default"}, self._everyone):
                for person in sorted(self._admins()):
                    await self.show_to(client, line, person)
                await self._take_back(client, line)

    async def show_to(self, client: TelegramClient, line: str, person: int) -> None:
        """Set the menu of one admin, who must have written to the bot."""
        if person not in self._admins():
            return
        try:
            await self._owners.note(person, line)
        except StoreError as error:  # the next start, or their next message, sets it
            log.warning("menu.not_set", line=line, error=str(error))
        else:
            await self._set(client, _chat_scope(person), self._for_admins)

    async def _take_back(self, client: TelegramClient, line: str) -> None:
        """Show everybody's menu again to whoever is no longer an admin."""
        try:
            for person in sorted(set(await self._owners.of(line)) - set(self._admins())):
                scope = {"scope": _chat_scope(person)}
                await client.call("deleteMyCommands", scope, timeout=CALL_SECONDS)
                await self._owners.forget(person, line)
        except (StoreError, TelegramError) as error:
            log.warning("menu.not_removed", line=line, error=str(error))

    async def _set(
        self, client: TelegramClient, scope: dict[str, Any], wanted: list[dict[str, str]]
    ) -> bool:
        """Set a menu where it differs; False where the server cannot be reached."""
        try:
            found = await client.call("getMyCommands", {"scope": scope}, timeout=CALL_SECONDS)
            if found != wanted:
                body = {"scope": scope, "commands": wanted}
                await client.call("setMyCommands", body, timeout=CALL_SECONDS)
        except Unreachable:
            log.debug("menu.no_chat", scope=scope)  # set once this admin writes
        except TelegramError as error:
            log.warning("menu.not_set", scope=scope, error=str(error))
            return not isinstance(error, NotSent)
        return True


def _chat_scope(person: int) -> dict[str, Any]:
    return {"type": "chat", "chat_id": person}


def _commands(rows: Sequence[Row]) -> list[dict[str, str]]:
    return [{"command": name, "description": text} for name, text in rows]
