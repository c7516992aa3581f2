"""Dead letters: entries that were set aside; an operator lists, replays or drops them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.store import keys
from bot.store.client import StoreClient

PAGE = 500


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One entry that was set aside, when (seconds since the epoch) and why; `raw` is its JSON."""

    line: str
    id: str
    update: int
    at: int
    why: str
    raw: bytes


class DeadLetters:
    """The dead letters of all lines."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def lines(self) -> list[str]:
        """All lines that ever had an owner."""
        found = await self._client.command("ZRANGE", keys.LINES_OPEN, 0, -1)
        return sorted(line.decode() for line in found)

    async def count(self, line: str) -> int:
        """How many letters a line has."""
        return int(await self._client.command("XLEN", keys.dead(line)))

    async def of(self, lines: Sequence[str]) -> list[DeadLetter]:
        """The letters of some lines, oldest first in each."""
        return [letter for line in lines for letter in await self._of(line)]

    async def replay(self, letter: DeadLetter) -> bool:
        """Put a letter back into its line's inbox; whether it was still there."""
        line = letter.line
        names = [keys.dead(line), keys.inbox(line), keys.LINES_CHANGED, keys.LINE_CHANGES]
        return bool(await self._client.run("replay", names, [letter.id]))

    async def drop(self, letter: DeadLetter) -> bool:
        """Forget a letter; whether it was still there."""
        return bool(await self._client.command("XDEL", keys.dead(letter.line), letter.id))

    async def _of(self, line: str) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        start = "-"
        while True:
            words = ("XRANGE", keys.dead(line), start, "+", "COUNT", PAGE)
            page = await self._client.command(*words)
            found += [_dead_letter(line, id, fields) for id, fields in page]
            if len(page) < PAGE:
                return found
            start = f"({found[-1].id}"


def _dead_letter(line: str, id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    why = fields.get(b"w", b"").decode(errors="replace")
    return DeadLetter(line, id.decode(), int(fields[b"u"]), int(fields[b"a"]), why, fields[b"r"])
