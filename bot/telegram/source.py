"""Markdown made ready for the converter, which drops HTML and misjudges the width of tables.

What looks like a tag outside of code becomes plain text, `<br>` a line break, and a table a block
of fixed-width text. Spoiler tags stay: the converter knows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bot.telegram.tables import Table, layout

Events = list[tuple[Any, Any]]
_Edit = tuple[int, int, bytes]

_PASSES: Final = 12
_BREAK: Final = re.compile(rb"<br\s*/?>[ \t]*(\r?\n)?", re.IGNORECASE)
_FENCE: Final = re.compile(rb"[ \t>]*(```|~~~)")
_MARGIN: Final = re.compile(rb"[ \t>]*")
_SPOILER: Final = ("<tg-spoiler>", "</tg-spoiler>")
_LATEX: Final = ("\\(", "\\[")
_LATEX_SPAN: Final = re.compile(rb"\\\(.*?\\\)|\\\[.*?\\\]", re.DOTALL)
_TAG_START: Final = re.compile(rb"(?<!\\)<(?=[A-Za-z/!?])")


class TangledError(ValueError):
    """HTML that does not come apart within a few passes; the text is better shown as it is."""


@dataclass(frozen=True, slots=True)
class Source:
    """Markdown for the converter, and whether LaTeX in it may be turned into characters."""

    markdown: str
    latex: bool


def prepare(markdown: str) -> Source:
    """Markdown without tags and tables; raises `TangledError`."""
    latex = not any(mark in markdown for mark in _LATEX) or not _latex_in_code(markdown)
    if "<" in markdown:
        markdown = _without_tags(markdown)
    if "|" in markdown:
        markdown = _without_tables(markdown)
    return Source(markdown, latex)


def _parse(markdown: str) -> Events:
    """The parser's events with their ranges in bytes, under the converter's own options."""
    import pyromark
    from telegramify_markdown.converter import STANDARD_OPTIONS

    return list(pyromark.events_with_range(markdown, options=STANDARD_OPTIONS))


def _latex_in_code(markdown: str) -> bool:
    """Whether code shows LaTeX brackets: the converter would rewrite them there as well."""
    data = markdown.encode()
    for event, span in _parse(markdown):
        match event:
            case {"Start": {"CodeBlock": _}} | {"Code": _}:
                code = data[span["start"] : span["end"]]
                if any(mark.encode() in code for mark in _LATEX):
                    return True
            case _:
                pass
    return False


def _without_tags(markdown: str) -> str:
    """A tag escaped may lay open others beneath it, so the text is parsed until none is left."""
    for _ in range(_PASSES):
        data = markdown.encode()
        edits = _tag_edits(data, _parse(markdown))
        if not edits:
            return markdown
        markdown = _edited(data, edits)
    raise TangledError


def _tag_edits(data: bytes, events: Events) -> list[_Edit]:
    edits: list[_Edit] = []
    prose = _LATEX_SPAN.sub(lambda span: b" " * len(span.group()), data)
    in_table = in_code = False
    for event, span in events:
        match event:
            case {"Start": {"Table": _}} | {"End": "Table"}:
                in_table = "Start" in event
            case {"Start": {"CodeBlock": _}} | {"End": "CodeBlock"}:
                in_code = "Start" in event
            case {"Start": "HtmlBlock"}:
                edits += _block_edits(data, span["start"], span["end"])
            case {"InlineHtml": str(tag)} if tag.strip().lower() not in _SPOILER:
                edits.append(_tag_edit(data, span["start"], in_table=in_table))
            case {"Text": _} if not in_code:
                # No tag as yet, but it may become one once the converter has marked spoilers.
                edits += _text_edits(prose, span["start"], span["end"])
            case _:
                pass
    return edits


def _text_edits(prose: bytes, start: int, end: int) -> Iterator[_Edit]:
    for found in _TAG_START.finditer(prose, start, end + 1):
        if found.start() < end:
            yield found.start(), found.start(), b"\\"


def _block_edits(data: bytes, start: int, end: int) -> Iterator[_Edit]:
    """The tags that open the lines of an HTML block.

    A fence ends the block once the first tag is text, so code below a fence is left alone.
    """
    for line in data[start:end].splitlines(keepends=True):
        tag = start + len(line) - len(line.lstrip(b" \t>"))
        if _FENCE.match(line):
            return
        if data[tag : tag + 1] == b"<":
            yield _tag_edit(data, tag, in_table=False)
        start += len(line)


def _tag_edit(data: bytes, start: int, *, in_table: bool) -> _Edit:
    line_break = _BREAK.match(data, start)
    if line_break is None:
        return start, start, b"\\"
    if in_table:
        return start, start + data[start:].index(b">") + 1, b" "
    return start, line_break.end(), b"\n"


def _without_tables(markdown: str) -> str:
    data = markdown.encode()
    edits: list[_Edit] = []
    table: Table | None = None
    cell_end = 0
    for event, span in _parse(markdown):
        match event:
            case {"Start": {"Table": alignments}}:
                table = Table(alignments)
            case {"End": "Table"} if table is not None:
                edits.append(_block(data, span["start"], span["end"], layout(table)))
                table = None
            case {"End": "TableRow"} if table is not None:
                table.overflow(data[cell_end : span["end"]].decode())
            case _ if table is not None:
                cell_end = span["end"]
                table.take(event)
            case _:
                pass
    return _edited(data, edits)


def _block(data: bytes, start: int, end: int, lines: list[str]) -> _Edit:
    """The lines as a fenced block, with the margin that the table's own second line has."""
    second = data.find(b"\n", start, end) + 1
    margin = _MARGIN.match(data, second) if second else None
    tildes = max((len(run) for line in lines for run in re.findall("~+", line)), default=0)
    fence = "~" * max(3, tildes + 1)
    glue = b"\n" + (margin.group() if margin else b"")
    block = glue.join(line.encode() for line in (fence, *lines, fence))
    return start, end, block + (b"\n" if data[end - 1 : end] == b"\n" else b"")


def _edited(data: bytes, edits: list[_Edit]) -> str:
    parts, cursor = [], 0
    for start, end, replacement in edits:
        if start < cursor:
            continue
        parts += [data[cursor:start], replacement]
        cursor = end
    return b"".join((*parts, data[cursor:])).decode()
