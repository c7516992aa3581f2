"""A model's Markdown as text with entities, the way that Telegram takes it without a parse mode."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from bot.events import RichText
from bot.telegram.nesting import in_order, placed
from bot.telegram.source import prepare
from bot.telegram.splitting import ENTITY_LIMIT, TEXT_LIMIT, is_blank, split, utf16_units

__all__ = [
    "ENTITY_LIMIT",
    "MARK",
    "PART_LIMIT",
    "TEXT_LIMIT",
    "marked",
    "plain",
    "render",
    "split",
    "utf16_units",
]

MARK: Final = "↻ "
"""Stands in front of a part that may be in the chat already."""
PART_LIMIT: Final = TEXT_LIMIT - len(MARK)
"""UTF-16 units of a part that still has room for the mark."""

# Telegram takes no control characters; half a surrogate pair is no text at all.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_HALF_PAIR: Final = re.compile(r"[\ud800-\udfff]")


def render(markdown: str) -> RichText:
    """Markdown as one text of any length with its entities; `split` makes messages of it.

    Never raises: what cannot be converted, or would vanish, is shown as it was written.
    """
    text = _cleaned(markdown)
    if is_blank(text):
        return RichText("")
    try:
        rich = _converted(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 a panic in the parser's native code is no Exception
        return RichText(text)
    return RichText(text) if is_blank(rich.text) else rich


def plain(rich: RichText) -> RichText:
    """The same text without entities, for a server that refuses them."""
    return RichText(rich.text)


def marked(rich: RichText, mark: str = MARK) -> RichText:
    """The text with a mark in front; the entities move along."""
    shift = utf16_units(mark)
    moved = (
        placed(one, one["offset"] + shift, one["offset"] + one["length"] + shift)
        for one in rich.entities
    )
    return RichText(mark + rich.text, tuple(moved))


def _cleaned(markdown: str) -> str:
    text = markdown.replace("\r\n", "\n").replace("\r", "\n")
    return _HALF_PAIR.sub("\ufffd", _CONTROL.sub(" ", text))


def _converted(text: str) -> RichText:
    from telegramify_markdown import convert

    source = prepare(text)
    shown, entities = convert(source.markdown, latex_escape=source.latex, config=_symbols())
    found = (entity.to_dict() for entity in entities)
    return RichText(shown, in_order(found, utf16_units(shown)))


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
