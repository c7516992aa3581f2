"""A Markdown table as a block of fixed-width text; the converter misjudges the width of cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Event = tuple[Any, Any]
"""One of the parser's events, with its range in bytes."""
Edit = tuple[int, int, bytes]
"""A range of bytes, and what stands in its place."""

_MARGIN: Final = re.compile(rb"[ \t>]*")


def table_edits(data: bytes, events: Iterable[Event]) -> Iterator[Edit]:
    """Each table of a text, replaced by fixed-width lines."""
    table: Table | None = None
    cell_end = 0
    for event, span in events:
        match event:
            case {"Start": {"Table": alignments}}:
                table = Table(alignments)
            case {"End": "Table"} if table is not None:
                yield _block(data, span["start"], span["end"], table.lines())
                table = None
            case {"End": "TableRow"} if table is not None:
                table.overflow(data[cell_end : span["end"]].decode())
            case _ if table is not None:
                cell_end = span["end"]
                table.take(event)


def _block(data: bytes, start: int, end: int, lines: list[str]) -> Edit:
    """The lines as a fenced block, with the margin that the table's own second line has."""
    second = data.find(b"\n", start, end) + 1
    margin = _MARGIN.match(data, second) if second else None
    tildes = max((len(run) for line in lines for run in re.findall("~+", line)), default=0)
    fence = "~" * max(3, tildes + 1)
    glue = b"\n" + (margin.group() if margin else b"")
    block = glue.join(line.encode() for line in (fence, *lines, fence))
    return start, end, block + (b"\n" if data[end - 1 : end] == b"\n" else b"")


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

    def overflow(self, source: str) -> None:
        """Keep what a row has beyond the table's last column; Markdown drops it."""
        if rest := source.strip().strip("|").strip():
            self._write(f" | {rest}")

    def _write(self, text: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += text.replace("\n", " ")

    def lines(self) -> list[str]:
        """Columns as wide as their widest cell shows, and a rule below the head."""
        columns = max((len(row) for row in self.rows), default=0)
        rows = [[cell.strip() for cell in row] + [""] * (columns - len(row)) for row in self.rows]
        widths = [max(width(row[column]) for row in rows) for column in range(columns)]
        right = [side == "Right" for side in self.alignments] + [False] * columns
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


def width(text: str) -> int:
    """Columns that `text` takes in a fixed-width font; wide characters and emoji take two."""
    if text.isascii():
        return len(text)
    from wcwidth import iter_graphemes, wcswidth

    # One by one: on a long row of flags the library would look back from each of them.
    return sum(max(0, wcswidth(character)) for character in iter_graphemes(text))
