"""Markdown made ready for the converter, which drops HTML.

What looks like a tag outside of code becomes plain text, `<br>` a line break, and a table a block
of fixed-width text. Spoiler tags stay: the converter knows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from bot.telegram.markdown.tables import Edit, Event, table_edits

_PASSES: Final = 12
_MOST_FORMULAS: Final = 64
"""Brackets of LaTeX in a text that the converter looks at: it reads all of it from each of them."""
_MOST_NESTED: Final = 8
"""Lists that one line may open inside of each other; each of them indents all that is inside."""
_RULE: Final = r"(?:[- \t]*|[* \t]*)$"  # dashes or stars alone: a line across the text
_NESTED: Final = re.compile(
    rf"^(?!{_RULE})(?:[ \t>]*(?:[-*+]|\d{{1,9}}[.)])(?=[ \t])){{{_MOST_NESTED + 1}}}", re.MULTILINE
)
_BREAK: Final = re.compile(rb"<br\s*/?>[ \t]*(\r?\n)?", re.IGNORECASE)
_FENCE: Final = re.compile(rb"[ \t>]*(```|~~~)")
_SPOILER: Final = ("<tg-spoiler>", "</tg-spoiler>")
_LATEX_OPENS: Final = re.compile(rb"\\[(\[]")
_LATEX_CLOSES: Final = {b"\\(": b"\\)", b"\\[": b"\\]"}
_TAG_START: Final = re.compile(rb"(?<!\\)<(?=[A-Za-z/!?])")


class HtmlTooNested(ValueError):
    """HTML or lists are nested so deep that the text is better shown as it is."""


def preprocess_markdown(markdown: str) -> tuple[str, bool]:
    """Markdown without tags and tables, and whether its LaTeX may be turned into characters.

    Raises HtmlTooNested.
    """
    if _NESTED.search(markdown):
        raise HtmlTooNested
    formulas = len(_LATEX_OPENS.findall(markdown.encode()))
    latex = not formulas or (formulas <= _MOST_FORMULAS and not _latex_in_code(markdown))
    if "<" in markdown:
        markdown = _without_tags(markdown)
    if "|" in markdown:
        data = markdown.encode()
        markdown = _edited(data, table_edits(data, _parse(markdown)))
    return markdown, latex


def _parse(markdown: str) -> list[Event]:
    """The parser's events with their ranges in bytes, under the converter's own options."""
    import pyromark
    from telegramify_markdown.converter import STANDARD_OPTIONS

    # One by one: a list made in one go would hold up all other threads until it is made.
    return [event for event in pyromark.events_with_range(markdown, options=STANDARD_OPTIONS)]  # noqa: C416


def _latex_in_code(markdown: str) -> bool:
    """Whether code shows LaTeX brackets: the converter would rewrite them there as well."""
    data = markdown.encode()
    for event, span in _parse(markdown):
        match event:
            case {"Start": {"CodeBlock": _}} | {"Code": _}:
                code = data[span["start"] : span["end"]]
                if _LATEX_OPENS.search(code):
                    return True
    return False


def _without_tags(markdown: str) -> str:
    """A tag escaped may lay open others beneath it, so the text is parsed until none is left."""
    for _ in range(_PASSES):
        data = markdown.encode()
        edits = _tag_edits(data, _parse(markdown))
        if not edits:
            return markdown
        markdown = _edited(data, edits)
    raise HtmlTooNested


def _tag_edits(data: bytes, events: list[Event]) -> list[Edit]:
    edits: list[Edit] = []
    prose = _without_latex(data)
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
                found = _TAG_START.finditer(prose, span["start"], span["end"] + 1)
                starts = (tag.start() for tag in found if tag.start() < span["end"])
                edits += ((start, start, b"\\") for start in starts)
    return edits


def _without_latex(data: bytes) -> bytes:
    """The text with blanks for its formulas, each from a bracket that opens to one that closes."""
    parts, at, closed_for_good = [], 0, set[bytes]()
    for opens in _LATEX_OPENS.finditer(data):
        kind = opens.group()
        if opens.start() < at or kind in closed_for_good:
            continue
        end = data.find(_LATEX_CLOSES[kind], opens.end())
        if end < 0:  # nor does a later one find its end: looking again would take forever
            closed_for_good.add(kind)
            continue
        parts += [data[at : opens.start()], b" " * (end + 2 - opens.start())]
        at = end + 2
    return b"".join((*parts, data[at:]))


def _block_edits(data: bytes, start: int, end: int) -> Iterator[Edit]:
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


def _tag_edit(data: bytes, start: int, *, in_table: bool) -> Edit:
    line_break = _BREAK.match(data, start)
    if line_break is None:
        return start, start, b"\\"
    if in_table:
        return start, start + data[start:].index(b">") + 1, b" "
    return start, line_break.end(), b"\n"


def _edited(data: bytes, edits: Iterable[Edit]) -> str:
    parts, cursor = [], 0
    for start, end, replacement in edits:
        if start < cursor:
            continue
        parts += [data[cursor:start], replacement]
        cursor = end
    return b"".join((*parts, data[cursor:])).decode()
