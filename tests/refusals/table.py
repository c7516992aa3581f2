"""The rows of the table in docs/reliability.md, and the walks that show how each of them ends."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_SECTION = re.compile(r"^## Refusals\n(.*?)(?=^## )", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| (?P<name>[A-Z]\d+) \|", re.MULTILINE)

Walk = Callable[[Path], Awaitable[None]]
"""Sets a neighbour that says only its row's words; returns once the row ended as written."""
WALKS: dict[str, Walk] = {}


def ends(row: str) -> Callable[[Walk], Walk]:
    """Registers the walk of a row, such as "M3"."""

    def register(walk: Walk) -> Walk:
        assert row not in WALKS, f"two walks of {row}"
        WALKS[row] = walk
        return walk

    return register


def rows() -> list[str]:
    """The names of the rows that the page has."""
    section = _SECTION.search(PAGE.read_text("utf-8"))
    assert section, f"{PAGE.name} has no section Refusals"
    return _ROW.findall(section[1])
