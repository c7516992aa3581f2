"""Groups that became supergroups: a new id, the same conversation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.messages import ChatMigration, Decoded, Fence, Ignored
from bot.store import keys
from bot.store.client import StoreClient, pairs_of


class ChatMigrations:
    """The groups of one line that became supergroups: the present id to the original one.

    What is said in a chat that has migrated is said in its old conversation.
    """

    def __init__(self, known: Mapping[int, int] | None = None) -> None:
        self._original = dict(known or {})

    def apply(self, event: Decoded) -> Decoded:
        """The event, its address with the original id of the chat."""
        if isinstance(event, Ignored):
            return event
        if isinstance(event, ChatMigration):
            self._original[event.to] = event.address.chat
            return event
        original = self._original.get(event.address.chat)
        if original is None:
            return event
        return replace(event, address=replace(event.address, migrated_from=original))


@dataclass(slots=True, repr=False)
class ChatMigrationStore:
    """One hash for each line: the present id of a group, and its original one."""

    client: StoreClient

    async def add(self, fence: Fence, original: int, present: int) -> None:
        """Note that a group has another id from now on."""
        names = [keys.fence(fence.line), keys.migrations(fence.line)]
        await self.client.run_idempotent("note_migration", names, [fence.token, present, original])

    async def load(self, line: str) -> dict[int, int]:
        """The original ids of a line's groups, by their present ids."""
        command = ("HGETALL", keys.migrations(line))
        found = await self.client.retry_while_down(lambda: self.client.command(*command))
        return {int(present): int(original) for present, original in pairs_of(found)}
