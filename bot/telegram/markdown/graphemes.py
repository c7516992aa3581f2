"""Where one visible character ends and the next begins, and how wide a text is on a screen.

The rules that chats meet: combining marks, joined and toned emoji, flags, keycaps, Hangul letters.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_JOINER: Final = "\u200d"
_EMOJI_STYLE: Final = "\ufe0f"
# Zero-width (non-)joiners, half-width voicing marks; tones and tags are ranges below.
_EXTENDING: Final = frozenset("\u200c\u200d\uff9e\uff9f")
_MARKS: Final = frozenset(("Mn", "Mc", "Me"))
_FLAG_HALVES: Final = re.compile("[\U0001f1e6-\U0001f1ff]*")


def is_border(text: str, index: int) -> bool:
    """Whether `text` may be cut before `index` without breaking a visible character."""
    if index <= 0 or index >= len(text):
        return True
    return _is_inner_border(text, index)


def _is_inner_border(text: str, index: int, flag_halves: int | None = None) -> bool:
    """The same inside of a text; `flag_halves` stand before the index, if that is known."""
    before, after = text[index - 1], text[index]
    if before < "\u0300" and after < "\u0300":
        return not (before == "\r" and after == "\n")
    if before.isspace():
        return True
    if before == _JOINER or _extends(after):
        return False
    if _is_flag_half(before) and _is_flag_half(after):
        count = _flag_halves_before(text, index) if flag_halves is None else flag_halves
        return count % 2 == 0
    return not _hangul_joins(before, after)


def width(text: str) -> int:
    """Columns that `text` takes in a fixed-width font; wide characters and emoji take two."""
    if text.isascii():
        return len(text)
    columns, start, halves = 0, 0, 0
    for index in range(1, len(text)):
        # Counted on the way: to look back from each of many flags would take for ever.
        halves = halves + 1 if _is_flag_half(text[index - 1]) else 0
        if _is_inner_border(text, index, halves):
            columns += _columns(text[start:index])
            start = index
    return columns + _columns(text[start:])


def _columns(cluster: str) -> int:
    if _EMOJI_STYLE in cluster or _is_flag_half(cluster[:1] or " "):
        return 2
    if all(unicodedata.category(char) in ("Mn", "Me", "Cf") for char in cluster):
        return 0
    return 2 if any(unicodedata.east_asian_width(char) in "WF" for char in cluster) else 1


def _extends(char: str) -> bool:
    return (
        char in _EXTENDING
        or unicodedata.category(char) in _MARKS
        or "\U0001f3fb" <= char <= "\U0001f3ff"
        or "\U000e0020" <= char <= "\U000e007f"
    )


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _flag_halves_before(text: str, index: int) -> int:
    found = _FLAG_HALVES.match(text[:index][::-1])
    return found.end() if found else 0


def _hangul_joins(before: str, after: str) -> bool:
    left, right = _hangul(before), _hangul(after)
    if left == "L":
        return right in ("L", "V", "LV", "LVT")
    if left in ("V", "LV"):
        return right in ("V", "T")
    return left in ("T", "LVT") and right == "T"


def _hangul(char: str) -> str:
    """The kind of a Hangul letter or syllable, or an empty word."""
    if "\uac00" <= char <= "\ud7a3":
        return "LV" if (ord(char) - 0xAC00) % 28 == 0 else "LVT"
    if "\u1100" <= char <= "\u115f" or "\ua960" <= char <= "\ua97c":
        return "L"
    if "\u1160" <= char <= "\u11a7" or "\ud7b0" <= char <= "\ud7c6":
        return "V"
    return "T" if "\u11a8" <= char <= "\u11ff" or "\ud7cb" <= char <= "\ud7fb" else ""
