"""A line's accepted updates: stored once, fetched in order, settled or set aside."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.messages import Fence, OutboxItem, OutgoingPart
from bot.store import keys
from bot.store.client import StoreClient
from bot.store.outbox import dump_part, outbox_items


class UpdateInbox:
    """Accepted updates in a stream; implements `ports.Inbox`."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def accept(
        self, line: str, updates: Sequence[Update], fence: Fence | None = None
    ) -> Accepted:
        """Store what was not seen; raises StoreUnavailable at once, since the poller must wait."""
        names = [keys.inbox(line), keys.seen(line), keys.fence(line)]
        args: list[Any] = [SEEN_FOR_MS, fence.token if fence else 0]
        for update in updates:
            args += [update.name or update.id, update.id, update.raw]
        names += [keys.LINES_CHANGED, keys.LINE_CHANGES]
        before, *ids = await self._client.run("accept", names, args)
        found = zip(ids, updates, strict=True)
        entries = [InboxEntry(id.decode(), update.id, update.raw) for id, update in found if id]
        return Accepted(entries, before.decode())

    async def fetch(self, line: str, id: str) -> InboxEntry | None:
        """One entry, or None where it is done."""
        words = ("XRANGE", keys.inbox(line), id, id)
        items = await self._client.patiently(lambda: self._client.command(*words))
        return _entry(*items[0]) if items else None

    async def pending(self, line: str, after: str = "", count: int = 1000) -> list[InboxEntry]:
        """Entries that are not done, in order."""
        start = f"({after}" if after else "-"
        words = ("XRANGE", keys.inbox(line), start, "+", "COUNT", count)
        items = await self._client.patiently(lambda: self._client.command(*words))
        return [_entry(id, fields) for id, fields in items]

    async def settle(
        self,
        fence: Fence,
        entries: Sequence[str],
        parts: Sequence[OutgoingPart] = (),
        conv: str | None = None,
    ) -> list[OutboxItem]:
        """Entries are done, and say this; a turn of the first that is open in `conv` is over."""
        names = [keys.fence(fence.line), keys.inbox(fence.line), keys.outbox(fence.line)]
        if conv is not None:
            names.append(keys.open_turn(fence.line, conv))
        args = [fence.token, len(entries), *entries, *map(dump_part, parts)]
        ids = await self._client.surely("settle", names, args)
        return outbox_items(ids, parts)

    async def bury(
        self, fence: Fence, entry: str, why: str, parts: Sequence[OutgoingPart] = (), conv: str = ""
    ) -> list[OutboxItem]:
        """Move an entry to the dead letters, and end its open turn."""
        line = fence.line
        names = [
            keys.fence(line),
            keys.inbox(line),
            keys.outbox(line),
            keys.dead(line),
            keys.open_turn(line, conv),
        ]
        args = [fence.token, entry, why, int(time.time()), *map(dump_part, parts)]
        ids = await self._client.surely("bury", names, args)
        return outbox_items(ids, parts)


def _entry(id: bytes, fields: dict[bytes, bytes]) -> InboxEntry:
    return InboxEntry(id.decode(), int(fields[b"u"]), fields[b"r"])


SEEN_FOR_MS = 48 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """An accepted update in a line's inbox; `id` is its durable order and, later, its turn's id."""

    id: str
    update: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Update:
    """What came in: its number and its JSON. `name` tells it from others where that is not `id`."""

    id: int
    raw: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The new entries, and the id of the newest that the inbox had had before them."""

    entries: list[InboxEntry]
    before: str
