"""A long text cut into messages: at paragraphs, else lines, else sentences, else words."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import Final

from bot.messages import Json, RichText

TEXT_LIMIT: Final = 4096
"""UTF-16 units that one message takes."""
ENTITY_LIMIT: Final = 100
"""Entities that one message takes; Telegram leaves out what is more."""

_PARAGRAPH: Final = re.compile(r"\n\s*\n")
_LINE: Final = re.compile(r"\n")
_SENTENCE: Final = re.compile(
    r"(?<=[.!?…])(?=\s)|(?<=[.!?…][\"'”’»)\]])(?=\s)|(?<=[。！？])(?![。！？”’」』）])"
)
_WORD: Final = re.compile(r"\s+")
_BLANK_LINES: Final = re.compile(r"(?:[^\S\n]*\n)*")
# Kinds of characters that show nothing, and two letters that are drawn as nothing.
_INVISIBLE: Final = ("Cc", "Cf", "Zs", "Zl", "Zp")
_FILLERS: Final = "\u2800\u3164\u115f\u1160\uffa0\ufffc"
_JOINER: Final = "\u200d"
_EMOJI_STYLE: Final = "\ufe0f"
# Zero-width (non-)joiners, half-width voicing marks; tones and tags are ranges below.
_EXTENDING: Final = frozenset("\u200c\u200d\uff9e\uff9f")
_MARKS: Final = frozenset(("Mn", "Mc", "Me"))
_FLAG_HALVES: Final = re.compile("[\U0001f1e6-\U0001f1ff]*")


@dataclass(frozen=True, slots=True)
class _Span:
    """An entity by the indices of its characters."""

    start: int
    end: int
    entity: Json


def utf16_units(text: str) -> int:
    """The length of a text as Telegram counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def is_blank(text: str) -> bool:
    """Whether Telegram would take the text for empty."""
    return all(
        char in _FILLERS or unicodedata.category(char) in _INVISIBLE or "\ufe00" <= char <= "\ufe0f"
        for char in text
    )


def split(rich: RichText, limit: int = TEXT_LIMIT) -> list[RichText]:
    """The text in parts of at most `limit` UTF-16 units and 100 entities, none of them empty.

    A cut goes into a word only where the word fits into no part, and never into a visible
    character that fits. Code goes on as code of the same language, other entities as themselves.
    """
    if limit < 2:
        raise ValueError(f"limit {limit}: a part needs room for at least 2 UTF-16 units")
    if _is_one_part(rich, limit):
        return [rich]
    return list(_Cutter(rich, limit).parts())


def _is_one_part(rich: RichText, limit: int) -> bool:
    """Whether nothing has to be cut or trimmed, as with nearly every preview."""
    text, entities = rich.text, rich.entities
    if len(text) > limit or len(entities) > ENTITY_LIMIT or text.strip() != text or is_blank(text):
        return False
    units = utf16_units(text)
    return units <= limit and all(e["offset"] + e["length"] <= units for e in entities)


class _Cutter:
    """One text on its way into parts; all positions are indices of characters."""

    def __init__(self, rich: RichText, limit: int) -> None:
        self._text = text = rich.text
        self._limit = limit
        self._offsets = _offsets(text)
        at, last = self._offsets, len(self._text)
        spans = [
            _Span(
                bisect_left(at, entity["offset"]),
                min(last, bisect_left(at, entity["offset"] + entity["length"])),
                entity,
            )
            for entity in rich.entities
        ]
        self._spans = sorted(
            (span for span in spans if span.start < span.end), key=lambda s: (s.start, -s.end)
        )
        self._code = sorted((s.start, s.end) for s in self._spans if s.entity["type"] == "pre")

    def parts(self) -> Iterator[RichText]:
        position, spans = self._skip_space(0), self._spans
        while position < len(self._text):
            spans = [span for span in spans if span.end > position]
            # How far a part may reach for its units and its entities.
            bound = bisect_right(self._offsets, self._offsets[position] + self._limit) - 1
            if len(spans) > ENTITY_LIMIT and spans[ENTITY_LIMIT].start > position:
                bound = min(bound, spans[ENTITY_LIMIT].start)
            cut = self._cut(position, bound) if bound < len(self._text) else bound
            text = self._text[position:cut].rstrip()
            if not is_blank(text):
                yield RichText(text, self._clipped(position, position + len(text), spans))
            position = self._skip_space(cut)

    def _code_after(self, position: int) -> tuple[int, int]:
        """The code that goes on at a position, else the next, else the text's end."""
        index = bisect_right(self._code, position, key=itemgetter(1))
        end = len(self._text)
        return self._code[index] if index < len(self._code) else (end, end)

    def _skip_space(self, position: int) -> int:
        """Over white space, but only over empty lines where code begins or goes on."""
        start, end = self._code_after(position)
        while position < start and self._text[position].isspace():
            position += 1
        if position < start or position == len(self._text):
            return position
        match = _BLANK_LINES.match(self._text, position, end)
        position = match.end() if match else position
        return position if position < end else self._skip_space(end)

    def _cut(self, position: int, bound: int) -> int:
        """The best place in the second half, else the last gap that saves a word, else the end."""
        middle = position + (bound - position) // 2
        for borders, in_code in (
            (_PARAGRAPH, False),
            (_LINE, False),
            (_LINE, True),
            (_SENTENCE, False),
            (_WORD, False),
            (_WORD, True),
        ):
            cut = self._last(borders, middle, bound, in_code=in_code)
            if cut is not None:
                return cut
        cut = self._last(_WORD, position, middle, in_code=True)
        if cut is not None and self._word_fits(cut):
            return cut
        cut = bound
        while cut > position and not is_border(self._text, cut):
            cut -= 1
        return cut if cut > position else bound

    def _last(
        self, borders: re.Pattern[str], after: int, bound: int, *, in_code: bool
    ) -> int | None:
        best = None
        for match in borders.finditer(self._text, after, min(bound + 2, len(self._text))):
            place = match.start()
            if not after < place <= bound or not is_border(self._text, place):
                continue
            if in_code or self._code_after(place)[0] >= place:
                best = place
        return best

    def _word_fits(self, gap: int) -> bool:
        start = len(self._text) - len(self._text[gap:].lstrip())
        following = _WORD.search(self._text, start)
        end = following.start() if following else len(self._text)
        return self._offsets[end] - self._offsets[start] <= self._limit

    def _clipped(self, start: int, end: int, spans: Sequence[_Span]) -> tuple[Json, ...]:
        at, base = self._offsets, self._offsets[start]
        clipped: list[Json] = []
        for span in spans:
            if span.start >= end:
                break
            left, right = max(span.start, start), min(span.end, end)
            if left >= right or self._text[left:right].isspace():
                continue
            whole = (left, right) == (span.start, span.end)
            if not whole and span.entity["type"] == "custom_emoji":
                continue
            place = {"offset": at[left] - base, "length": at[right] - at[left]}
            clipped.append({**span.entity, **place})
        return tuple(clipped[:ENTITY_LIMIT])


def _offsets(text: str) -> Sequence[int]:
    """For each index of the text, and its end, how many UTF-16 units lie before it."""
    if text.isascii():
        return range(len(text) + 1)
    return list(accumulate((2 if char > "\uffff" else 1 for char in text), initial=0))


# --- visible characters: combining marks, joined emoji, flags, keycaps, Hangul letters ---


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
