"""A line's accepted updates: stored once, read in order, settled or set aside as dead letters."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.messages import Fence, LineEntry, OutboxItem, OutgoingPart
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from bot.store.outbox import dump_part, load_part, outbox_items

SEEN_FOR_MS = 48 * 3600 * 1000
PAGE = 500


@dataclass(frozen=True, slots=True)
class Update:
    """An update: its number and its JSON. `name` de-duplicates it, where `id` does not."""

    id: int
    raw: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """An update in a line's inbox; `id` is its durable order and, later, its turn's id."""

    id: str
    update: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The new entries, and the id of the newest entry that the inbox had had before them."""

    entries: list[InboxEntry]
    before: str


@dataclass(frozen=True, slots=True)
class UpdateInbox:
    """The inboxes of all lines, each a stream."""

    client: StoreClient

    async def accept(
        self, line: str, updates: Sequence[Update], fence: Fence | None = None
    ) -> Accepted:
        """Store the updates that were not seen before; raises StoreUnavailable without a retry."""
        names = [keys.inbox(line), keys.seen(line), keys.fence(line)]
        names += [keys.LINES_CHANGED, keys.LINE_CHANGES]
        args: list[Any] = [SEEN_FOR_MS, fence.token if fence else 0]
        for update in updates:
            args += [update.name or update.id, update.id, update.raw]
        before, *ids = await self.client.run("accept", names, args)
        found = zip(ids, updates, strict=True)
        entries = [InboxEntry(id.decode(), update.id, update.raw) for id, update in found if id]
        return Accepted(entries, before.decode())

    async def fetch(self, line: str, id: str) -> InboxEntry | None:
        """One entry, or None where it is done."""
        items = await self.client.read("XRANGE", keys.inbox(line), id, id)
        return inbox_entry(*items[0]) if items else None

    async def pending(self, line: str, after: str = "", count: int = 1000) -> list[InboxEntry]:
        """Entries that are not done, in order."""
        start = f"({after}" if after else "-"
        items = await self.client.read("XRANGE", keys.inbox(line), start, "+", "COUNT", count)
        return [inbox_entry(id, fields) for id, fields in items]

    async def settle(
        self,
        fence: Fence,
        entries: Sequence[str],
        parts: Sequence[OutgoingPart] = (),
        conversation: str | None = None,
    ) -> list[OutboxItem]:
        """Remove entries that are done, and send the parts.

        In `conversation`, the turn that is open for the first entry ends with it.
        """
        names: list[keys.AnyKey] = [keys.inbox, keys.outbox]
        if conversation is not None:
            names.append(keys.open_turn(fence.line, conversation))
        args = (len(entries), *entries, *map(dump_part, parts))
        return outbox_items(await self.client.as_owner("settle", fence, names, *args), parts)

    async def finish(
        self,
        entry: LineEntry,
        parts: Sequence[OutgoingPart] = (),
        conversation: str | None = None,
    ) -> None:
        """Settle one entry as `settle` does, and have its parts delivered."""
        items = await self.settle(entry.line.fence, [entry.id], parts, conversation)
        if parts:
            await entry.line.channel.deliver(items)

    async def dead_letter(
        self,
        fence: Fence,
        entry: str,
        why: str,
        parts: Sequence[OutgoingPart] = (),
        conversation: str = "",
    ) -> list[OutboxItem]:
        """Move an entry to the dead letters, end its open turn, and send the parts."""
        open_turn = keys.open_turn(fence.line, conversation)
        names = (keys.inbox, keys.outbox, keys.dead_letters, open_turn)
        args = (entry, why, int(time.time()), *map(dump_part, parts))
        return outbox_items(await self.client.as_owner("dead_letter", fence, names, *args), parts)


def inbox_entry(id: bytes, fields: Any) -> InboxEntry:
    """An entry of the stream, as commands and as scripts return it."""
    found = dict(pairs_of(fields))
    return InboxEntry(id.decode(), int(found[b"u"]), found[b"r"])


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What was set aside: when (seconds since the epoch) and why.

    `raw` is an update's JSON, empty where `part` was refused; `entry` was the update's inbox entry.
    """

    line: str
    id: str
    at: int
    why: str
    raw: bytes
    entry: str = ""
    part: OutgoingPart | None = None


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The dead letters of all lines; raises StoreUnavailable without a retry."""

    client: StoreClient

    async def lines(self) -> list[str]:
        """All lines that ever had an owner."""
        found = await self.client.command("ZRANGE", keys.LINES_OPEN, 0, -1)
        return sorted(line.decode() for line in found)

    async def count(self, line: str) -> int:
        """How many letters a line has."""
        return int(await self.client.command("XLEN", keys.dead_letters(line)))

    async def of(self, lines: Sequence[str]) -> list[DeadLetter]:
        """The letters of some lines, oldest first in each."""
        found: list[DeadLetter] = []
        for line in lines:
            start, key = "-", keys.dead_letters(line)
            while page := await self.client.command("XRANGE", key, start, "+", "COUNT", PAGE):
                found += [_dead_letter(line, id, fields) for id, fields in page]
                start = f"({found[-1].id}"
        return found

    async def replay(self, letter: DeadLetter) -> bool:
        """Put a letter back into its line's inbox or outbox; whether it was still there."""
        line = letter.line
        names = [keys.dead_letters(line), keys.inbox(line), keys.outbox(line)]
        names += [keys.LINES_CHANGED, keys.LINE_CHANGES]
        return bool(await self.client.run("replay", names, [letter.id]))

    async def replay_entry(self, line: str, entry: str) -> bool:
        """The same for the letter of an entry of the inbox."""
        found = [letter for letter in await self.of([line]) if letter.entry == entry]
        return bool(found) and await self.replay(found[0])

    async def drop(self, letter: DeadLetter) -> bool:
        """Delete a letter; whether it was still there."""
        return bool(await self.client.command("XDEL", keys.dead_letters(letter.line), letter.id))


def _dead_letter(line: str, id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    why, entry = (fields.get(name, b"").decode(errors="replace") for name in (b"w", b"e"))
    part = load_part(fields[b"p"]) if b"p" in fields else None
    return DeadLetter(line, id.decode(), int(fields[b"a"]), why, fields.get(b"r", b""), entry, part)
