"""Groups that became supergroups: another chat id, the same conversation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bot.messages import ChatMigration, Decoded, Fence, Ignored
from bot.store import keys
from bot.store.client import StoreClient, pairs_of


class ChatMigrations:
    """The moves of one line, from the moment at which an update tells of them.

    What is said in a chat that has moved is said in its old conversation.
    """

    def __init__(self, known: Mapping[int, int] | None = None) -> None:
        self._before = dict(known or {})

    def placed(self, event: Decoded) -> Decoded:
        """The event, its address with the id that the chat had before."""
        if isinstance(event, Ignored):
            return event
        if isinstance(event, ChatMigration):
            self._before[event.to] = event.address.chat
            return event
        was = self._before.get(event.address.chat)
        return (
            event
            if was is None
            else replace(event, address=replace(event.address, migrated_from=was))
        )


class ChatMigrationStore:
    """One hash for a line: the id that a group has now, and the one that it had before."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def note(self, fence: Fence, before: int, now: int) -> None:
        """A group has another id from now on."""
        names = [keys.fence(fence.line), keys.migrations(fence.line)]
        await self._client.run_idempotent("note_migration", names, [fence.token, now, before])

    async def of(self, line: str) -> dict[int, int]:
        """The ids of a line's groups before they became supergroups, by the id of today."""
        words = ("HGETALL", keys.migrations(line))
        found = await self._client.retry_while_down(lambda: self._client.command(*words))
        return {int(now): int(before) for now, before in pairs_of(found)}
