"""A model's Markdown as text with entities, the way that Telegram takes it without a parse mode."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, Final

from bot.messages import Json, RichText
from bot.safety.text_safety import strip_invisible
from bot.telegram.markdown.entities import entity_at, normalize_entities
from bot.telegram.markdown.preprocess import preprocess_markdown
from bot.telegram.markdown.split import TEXT_LIMIT, is_blank, utf16_units

MARK: Final = "↻ "
"""Stands in front of a part that may be in the chat already."""
PART_LIMIT: Final = TEXT_LIMIT - len(MARK)
"""UTF-16 units of a part that still has room for the mark."""

PIECE: Final = 16_000
"""Characters of Markdown that are converted in one go."""

_FENCES: Final = re.compile(r"^ {0,3}(?P<marks>`{3,}|~{3,})(?P<info>[^\n]*)", re.MULTILINE)
# Telegram takes no control characters; half a surrogate pair is not text at all.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_HALF_PAIR: Final = re.compile(r"[\ud800-\udfff]")


def render(markdown: str) -> RichText:
    """Markdown as one text of any length with its entities; `split` makes messages of it.

    Never raises: what cannot be converted, or would vanish, is shown as it was written. Invisible
    characters are left out, also where Markdown names them (`&zwj;`).
    """
    text = markdown.replace("\r\n", "\n").replace("\r", "\n")
    text = strip_invisible(_HALF_PAIR.sub("\ufffd", _CONTROL.sub(" ", text)))
    if is_blank(text):
        return RichText("")
    try:
        from telegramify_markdown import convert

        source, latex = preprocess_markdown(text)
        shown, entities = convert(source, latex_escape=latex, config=_symbols())
        rich = _readable(shown, [entity.to_dict() for entity in entities])
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 a panic in the parser's native code is no Exception
        return RichText(text)
    return RichText(text) if is_blank(rich.text) else rich


@lru_cache(maxsize=32)
def render_cached(markdown: str) -> RichText:
    """As `render`, cached: what the output filter judges is rendered once more to be sent.

    A long text is rendered piece by piece, as it is sent.
    """
    if len(markdown) <= PIECE:
        return render(markdown)
    return join([render(piece) for piece in _pieces(markdown)])


def join(rich: Sequence[RichText]) -> RichText:
    """Texts in a row as one, with all their entities."""
    entities: list[Json] = []
    shift = 0
    for one in rich:
        entities += [
            entity_at(e, e["offset"] + shift, e["offset"] + e["length"] + shift)
            for e in one.entities
        ]
        shift += utf16_units(one.text)
    return RichText("".join(one.text for one in rich), tuple(entities))


def render_pieces(markdown: str) -> list[RichText]:
    """Markdown as rich texts, one for each piece of a long one."""
    if len(markdown) <= PIECE:
        return [render_cached(markdown)]
    return [render(piece) for piece in _pieces(markdown)]


def preview_piece(markdown: str, *, last: bool) -> str:
    """As much of a long Markdown as a preview can show: its last or its first piece."""
    if len(markdown) <= PIECE:
        return markdown
    pieces = _pieces(markdown)
    return deque(pieces, maxlen=1)[0] if last else next(pieces)


def _pieces(markdown: str) -> Iterator[str]:
    """A long Markdown in pieces that stand alone: code that is cut goes on as code."""
    at, fence = 0, ""
    while at < len(markdown):
        end = _end_of_piece(markdown, at)
        text = f"{fence}\n{markdown[at:end]}" if fence else markdown[at:end]
        fence = _open_fence(text)
        yield f"{text}\n{_closing(fence)}" if fence else text
        at = end


def _end_of_piece(markdown: str, at: int) -> int:
    """Behind the last paragraph that fits, else behind the last line, else where it has to be."""
    end = at + PIECE
    if end >= len(markdown):
        return len(markdown)
    for border in ("\n\n", "\n", " "):
        found = markdown.rfind(border, at + PIECE // 2, end)
        if found >= 0:
            return found + len(border)
    return end


def _open_fence(text: str) -> str:
    """The line that begins the code in which a text ends, or nothing."""
    opening = ""
    for found in _FENCES.finditer(text):
        if not opening:
            opening = found.group()
        elif found.group().strip().startswith(_closing(opening)) and not found["info"].strip():
            opening = ""
    return opening


def _closing(fence: str) -> str:
    found = _FENCES.match(fence)
    return found["marks"] if found else ""


def with_mark(rich: RichText, mark: str = MARK) -> RichText:
    """The text with a mark in front; the entities move with it."""
    return join([RichText(mark), rich])


def _readable(shown: str, entities: Sequence[Json]) -> RichText:
    """The text without invisible characters; its entities close up."""
    text = strip_invisible(shown)
    if text != shown:
        new_offsets = _new_offsets(shown, text)
        entities = [
            entity_at(one, new_offsets[one["offset"]], new_offsets[one["offset"] + one["length"]])
            for one in entities
        ]
    return RichText(text, normalize_entities(entities, utf16_units(text)))


def _new_offsets(shown: str, text: str) -> list[int]:
    """For each UTF-16 unit of `shown`, and its end, how many of those before it are in `text`."""
    new_offsets, at, units = list[int](), 0, 0
    for char in shown:
        width = 2 if char > "\uffff" else 1
        new_offsets += [units] * width
        if at < len(text) and text[at] == char:
            at, units = at + 1, units + width
    return [*new_offsets, units]


@cache
def _symbols() -> Any:
    """The converter's settings: no emoji of its own, task boxes that look like their state."""
    from telegramify_markdown.config import RenderConfig

    config = RenderConfig.isolated()
    symbols = config.markdown_symbol
    for level in range(1, 7):
        setattr(symbols, f"heading_level_{level}", "")
    symbols.image = "🖼 "
    symbols.task_completed = "☑"
    symbols.task_uncompleted = "☐"
    symbols.unordered_list_item = "•"
    return config
