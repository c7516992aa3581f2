"""Dead letters: entries that were set aside; an operator lists, replays or drops them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.store import keys
from bot.store.client import StoreClient

PAGE = 500


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entry that was set aside: when (seconds since the epoch) and why; `raw` is its JSON."""

    line: str
    id: str
    update: int
    at: int
    why: str
    raw: bytes


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
            start, page = "-", [None] * PAGE
            while len(page) == PAGE:
                words = ("XRANGE", keys.dead_letters(line), start, "+", "COUNT", PAGE)
                page = await self.client.command(*words)
                found += [_dead_letter(line, id, fields) for id, fields in page]
                start = f"({found[-1].id}" if page else start
        return found

    async def replay(self, letter: DeadLetter) -> bool:
        """Put a letter back into its line's inbox; whether it was still there."""
        line = letter.line
        names = [keys.dead_letters(line), keys.inbox(line), keys.LINES_CHANGED, keys.LINE_CHANGES]
        return bool(await self.client.run("replay", names, [letter.id]))

    async def drop(self, letter: DeadLetter) -> bool:
        """Delete a letter; whether it was still there."""
        return bool(await self.client.command("XDEL", keys.dead_letters(letter.line), letter.id))


def _dead_letter(line: str, id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    why = fields.get(b"w", b"").decode(errors="replace")
    return DeadLetter(line, id.decode(), int(fields[b"u"]), int(fields[b"a"]), why, fields[b"r"])
