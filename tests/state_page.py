"""docs/state.md as data: which keys the store has, of which type, and whether they expire."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

PAGE = Path(__file__).parents[1] / "docs" / "state.md"
ROW = re.compile(
    r"^\| `([^`]+)` \| (string|hash|list|stream|zset|set) \| .+ \| `([^`]+)` \| (.+) \|$"
)
CHANNEL = re.compile(r"^\| `([^`]+)` \| [^|]+ \| `[^`]+` \|$")


@dataclass(frozen=True, slots=True)
class Documented:
    """One row of the page; `owner` is a package of ours."""

    pattern: str
    type: str
    owner: str
    expires: bool

    def matches(self, key: str) -> bool:
        parts = re.split(r"<[^>]+>", self.pattern)
        return re.fullmatch(".+".join(map(re.escape, parts)), key, re.DOTALL) is not None


def documented(page: Path = PAGE) -> list[Documented]:
    """The keys, in the order of the page."""
    rows = (ROW.match(line) for line in page.read_text(encoding="utf-8").splitlines())
    return [Documented(r[1], r[2], r[3], r[4].startswith("expires")) for r in rows if r]


def channels(page: Path = PAGE) -> list[str]:
    """The channels of messages between hosts."""
    rows = (CHANNEL.match(line) for line in page.read_text(encoding="utf-8").splitlines())
    return [row[1] for row in rows if row]


def row_of(key: str, rows: Iterable[Documented]) -> Documented | None:
    """The row that says most about a key."""
    found = [row for row in rows if row.matches(key)]
    return max(found, key=lambda row: len(re.sub(r"<[^>]+>", "", row.pattern)), default=None)


async def compared_with(redis: Redis) -> tuple[set[str], list[str]]:
    """The patterns of which a store has keys, and what it holds that the page does not say."""
    rows, found, wrong = documented(), set[str](), list[str]()
    async for raw in redis.scan_iter():
        key, kind = raw.decode(), await redis.type(raw)
        row = row_of(key, rows)
        if row is None:
            wrong.append(f"{key} is not on the page")
            continue
        found.add(row.pattern)
        if kind not in (row.type, row.type.encode()):
            wrong.append(f"{key} is a {kind!r}")
        if await redis.ttl(raw) > 0 and not row.expires:
            wrong.append(f"{key} expires")
    return found, wrong
