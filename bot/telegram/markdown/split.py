"""A long text cut into messages: at paragraphs, else lines, else sentences, else words."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import itemgetter
from typing import Final

from bot.messages import Json, RichText
from bot.telegram.markdown.entities import entity_at, range_of

TEXT_LIMIT: Final = 4096
"""UTF-16 units that one message takes."""
ENTITY_LIMIT: Final = 100
"""Entities that one message takes; Telegram leaves out what is more."""
_LOOKS: Final = (
    *("italic", "underline", "bold", "code"),
    *("blockquote", "expandable_blockquote", "strikethrough"),
)
"""Entities that change only how a text looks, the least important first."""
_IMPORTANCE: Final = {kind: number for number, kind in enumerate(_LOOKS)}

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

    A cut goes into a word only where the word fits into no part, and never into a visible character
    that fits. Code continues as code of the same language, other entities as themselves. Of more
    entities than a part takes, those go that change only how the text looks.
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
        spans: list[_Span] = []
        for entity in rich.entities:
            start, end = (bisect_left(self._offsets, unit) for unit in range_of(entity))
            if start < min(end, len(text)):
                spans.append(_Span(start, min(end, len(text)), entity))
        self._spans = sorted(spans, key=lambda span: (span.start, -span.end))
        self._code = sorted((s.start, s.end) for s in self._spans if s.entity["type"] == "pre")

    @cached_property
    def _borders(self) -> Sequence[int]:
        return borders(self._text)

    def parts(self) -> Iterator[RichText]:
        position, spans = self._skip_space(0), self._spans
        while position < len(self._text):
            spans = [span for span in spans if span.end > position]
            # How far a part may reach for its units and its entities.
            bound = bisect_right(self._offsets, self._offsets[position] + self._limit) - 1
            needed = [span for span in spans if span.entity["type"] not in _LOOKS]
            if len(needed) > ENTITY_LIMIT and needed[ENTITY_LIMIT].start > position:
                bound = min(bound, needed[ENTITY_LIMIT].start)
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
        for gaps, in_code in (
            (_PARAGRAPH, False),
            (_LINE, False),
            (_LINE, True),
            (_SENTENCE, False),
            (_WORD, False),
            (_WORD, True),
        ):
            if cut := self._last(gaps, middle, bound, in_code=in_code):
                return cut
        cut = self._last(_WORD, position, middle, in_code=True)
        if cut and self._word_fits(cut):
            return cut
        cut = self._borders[bisect_right(self._borders, bound) - 1]
        return cut if cut > position else bound

    def _last(self, gaps: re.Pattern[str], after: int, bound: int, *, in_code: bool) -> int:
        """The last gap between the two where the text may be cut; 0 where there is none."""
        found = gaps.finditer(self._text, after, min(bound + 2, len(self._text)))
        for place in reversed([match.start() for match in found]):
            fits = after < place <= bound and (in_code or self._code_after(place)[0] >= place)
            if fits and self._borders[bisect_left(self._borders, place)] == place:
                return place
        return 0

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
            is_cut = (left, right) != (span.start, span.end)
            if is_cut and span.entity["type"] == "custom_emoji":
                continue
            clipped.append(entity_at(span.entity, at[left] - base, at[right] - base))
        return _most_important(clipped)


def _most_important(entities: Sequence[Json]) -> tuple[Json, ...]:
    """As many entities as one message takes, in their order; of two alike the first."""
    if len(entities) <= ENTITY_LIMIT:
        return tuple(entities)
    needed = len(_LOOKS)
    by_importance = sorted(entities, key=lambda one: -_IMPORTANCE.get(one["type"], needed))
    kept = {id(entity) for entity in by_importance[:ENTITY_LIMIT]}
    return tuple(entity for entity in entities if id(entity) in kept)


def _offsets(text: str) -> Sequence[int]:
    """For each index of the text, and its end, how many UTF-16 units lie before it."""
    if text.isascii():
        return range(len(text) + 1)
    return list(accumulate((2 if char > "\uffff" else 1 for char in text), initial=0))


def borders(text: str) -> Sequence[int]:
    """Where a text may be cut without breaking a visible character (UAX 29), with both its ends."""
    if text.isascii() and "\r" not in text:
        return range(len(text) + 1)
    from wcwidth import iter_graphemes

    return list(accumulate(map(len, iter_graphemes(text)), initial=0))
