"""A table as lines of fixed-width text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.telegram.markdown.graphemes import width


@dataclass(slots=True)
class Table:
    """The cells of a table, row by row, gathered from the parser's events."""

    alignments: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)

    def take(self, event: Any) -> None:
        """Take in one event from inside of the table."""
        match event:
            case {"Start": "TableHead" | "TableRow"}:
                self.rows.append([])
            case {"Start": "TableCell"}:
                self.rows[-1].append("")
            case {"Start": {"Image": _}}:
                self._write("🖼 ")
            case "SoftBreak" | "HardBreak":
                self._write(" ")
            case {"FootnoteReference": str(name)}:
                self._write(f"[{name}]")
            case {"Text": str(text)} | {"Code": str(text)} | {"InlineMath": str(text)}:
                self._write(text)
            case {"DisplayMath": str(text)}:
                self._write(text)
            case _:
                pass

    def overflow(self, source: str) -> None:
        """Keep what a row has beyond the table's last column; Markdown drops it."""
        rest = source.strip().strip("|").strip()
        if rest:
            self._write(f" | {rest}")

    def _write(self, text: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += text.replace("\n", " ")


def layout(table: Table) -> list[str]:
    """The table's lines: columns as wide as their widest cell shows, and a rule below the head."""
    columns = max((len(row) for row in table.rows), default=0)
    rows = [[cell.strip() for cell in row] + [""] * (columns - len(row)) for row in table.rows]
    widths = [max(width(row[column]) for row in rows) for column in range(columns)]
    right = [side == "Right" for side in table.alignments] + [False] * columns
    lines = [
        " | ".join(_padded(*cell) for cell in zip(row, widths, right, strict=False)).rstrip()
        for row in rows
    ]
    if len(lines) > 1:
        lines.insert(1, "-+-".join("-" * wide for wide in widths))
    return lines


def _padded(cell: str, wide: int, right: bool) -> str:
    room = " " * (wide - width(cell))
    return room + cell if right else cell + room
