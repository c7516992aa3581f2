"""A model's Markdown as text with entities, the way that Telegram takes it without a parse mode."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, Final

from bot.messages import Json, RichText
from bot.safety.text_safety import readable
from bot.telegram.markdown.entities import entity_at, normalize_entities
from bot.telegram.markdown.preprocess import preprocess_markdown
from bot.telegram.markdown.split import ENTITY_LIMIT, TEXT_LIMIT, is_blank, split, utf16_units

__all__ = [
    "ENTITY_LIMIT",
    "MARK",
    "PART_LIMIT",
    "TEXT_LIMIT",
    "edge",
    "joined",
    "pieces",
    "render",
    "seen",
    "split",
    "utf16_units",
    "with_mark",
    "without_entities",
]

MARK: Final = "↻ "
"""Stands in front of a part that may be in the chat already."""
PART_LIMIT: Final = TEXT_LIMIT - len(MARK)
"""UTF-16 units of a part that still has room for the mark."""

PIECE: Final = 16_000
"""Characters of Markdown that are converted in one go."""

_FENCES: Final = re.compile(r"^ {0,3}(?P<marks>`{3,}|~{3,})(?P<info>[^\n]*)", re.MULTILINE)
# Telegram takes no control characters; half a surrogate pair is no text at all.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_HALF_PAIR: Final = re.compile(r"[\ud800-\udfff]")


def render(markdown: str) -> RichText:
    """Markdown as one text of any length with its entities; `split` makes messages of it.

    Never raises: what cannot be converted, or would vanish, is shown as it was written. What nobody
    sees is left out, also where Markdown names it (`&zwj;`).
    """
    text = readable(_cleaned(markdown))
    if is_blank(text):
        return RichText("")
    try:
        rich = _converted(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 a panic in the parser's native code is no Exception
        return RichText(text)
    return RichText(text) if is_blank(rich.text) else rich


@lru_cache(maxsize=32)
def seen(markdown: str) -> RichText:
    """The same, remembered for a while: what is rendered to be looked at is rendered to be sent.

    A long text is rendered piece by piece, as it is sent.
    """
    if len(markdown) <= PIECE:
        return render(markdown)
    return joined([render(piece) for piece in _pieces(markdown)])


def joined(rich: Sequence[RichText]) -> RichText:
    """Texts one right behind the other, each with its entities."""
    entities: list[Json] = []
    shift = 0
    for one in rich:
        entities += [
            entity_at(e, e["offset"] + shift, e["offset"] + e["length"] + shift)
            for e in one.entities
        ]
        shift += utf16_units(one.text)
    return RichText("".join(one.text for one in rich), tuple(entities))


def pieces(markdown: str) -> list[RichText]:
    """Markdown as rich texts, one for each piece of a long one."""
    if len(markdown) <= PIECE:
        return [seen(markdown)]
    return [render(piece) for piece in _pieces(markdown)]


def edge(markdown: str, *, last: bool) -> str:
    """Of a long Markdown the last or the first piece, as much as a preview can show."""
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


def without_entities(rich: RichText) -> RichText:
    """The same text without entities, for a server that refuses them."""
    return RichText(rich.text)


def with_mark(rich: RichText, mark: str = MARK) -> RichText:
    """The text with a mark in front; the entities move along."""
    shift = utf16_units(mark)
    moved = (
        entity_at(one, one["offset"] + shift, one["offset"] + one["length"] + shift)
        for one in rich.entities
    )
    return RichText(mark + rich.text, tuple(moved))


def _cleaned(markdown: str) -> str:
    text = markdown.replace("\r\n", "\n").replace("\r", "\n")
    return _HALF_PAIR.sub("\ufffd", _CONTROL.sub(" ", text))


def _converted(text: str) -> RichText:
    from telegramify_markdown import convert

    source = preprocess_markdown(text)
    shown, entities = convert(source.markdown, latex_escape=source.latex, config=_symbols())
    return _readable(shown, [entity.to_dict() for entity in entities])


def _readable(shown: str, entities: Sequence[Json]) -> RichText:
    """The text without what nobody sees; its entities close up."""
    text = readable(shown)
    if text != shown:
        homes = _homes(shown, text)
        entities = [
            entity_at(one, homes[one["offset"]], homes[one["offset"] + one["length"]])
            for one in entities
        ]
    return RichText(text, normalize_entities(entities, utf16_units(text)))


def _homes(shown: str, text: str) -> list[int]:
    """For each UTF-16 unit of `shown`, and its end, how many of those before it are in `text`."""
    homes, at, units = list[int](), 0, 0
    for char in shown:
        width = 2 if char > "\uffff" else 1
        homes += [units] * width
        if at < len(text) and text[at] == char:
            at, units = at + 1, units + width
    return [*homes, units]


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
