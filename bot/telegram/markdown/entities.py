"""Entities brought into the order that the Bot API asks for.

Entities lie inside the text and in each other or apart, never across. Code holds no other entity
and lies in no style; a link outweighs the code in its text; a quotation lies in no other.
"""

from __future__ import annotations

import heapq
import sys
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Final

from bot.messages import Json

Range = tuple[int, int]

_STYLES: Final = ("bold", "italic", "underline", "strikethrough", "spoiler")
_QUOTES: Final = ("blockquote", "expandable_blockquote")
_CODE: Final = ("pre", "code")
# Where two of these meet, the one further to the left stays. Unknown kinds come before code.
_WEIGHT: Final = {"pre": 0, "text_link": 1, "text_mention": 1, "code": 3}


def normalize_entities(entities: Iterable[Json], units: int) -> tuple[Json, ...]:
    """The entities of a text of `units` UTF-16 units: clipped, nested and sorted, outer first."""
    inside = [clipped for entity in entities if (clipped := _clipped(entity, units)) is not None]
    if len(inside) < 2:
        return tuple(inside)
    others = (one for one in inside if one["type"] not in (*_STYLES, *_QUOTES))
    atoms = _apart(sorted(others, key=lambda one: (_WEIGHT.get(one["type"], 2), *_key(one))))
    quotes = _around((one for one in inside if one["type"] in _QUOTES), atoms)
    styles = _styles(inside, quotes + atoms)
    return tuple(sorted(quotes + atoms + styles, key=_key))


def entity_at(entity: Json, start: int, end: int) -> Json:
    """The same entity from `start` to `end`."""
    return {**entity, "offset": start, "length": end - start}


def range_of(entity: Json) -> Range:
    """Start and end of an entity, in UTF-16 units."""
    return entity["offset"], entity["offset"] + entity["length"]


def _key(entity: Json) -> tuple[int, int, int]:
    kind = entity["type"]
    rank = 0 if kind in _QUOTES else 1 + _STYLES.index(kind) if kind in _STYLES else 9
    return entity["offset"], -entity["length"], rank


def _clipped(entity: Json, units: int) -> Json | None:
    start, end = range_of(entity)
    start, end = max(0, start), min(end, units)
    return entity_at(entity, start, end) if start < end else None


def _apart(entities: Iterable[Json]) -> list[Json]:
    """Those of the entities, the first ones first, that meet none that was kept before."""
    apart: list[Json] = []
    taken: list[Range] = []
    for entity in entities:
        if not _meets(taken, *range_of(entity)):
            insort(taken, range_of(entity))
            apart.append(entity)
    return apart


def _meets(ranges: Sequence[Range], start: int, end: int) -> bool:
    """Whether one of the ranges, which are sorted and apart, has something between the two."""
    index = bisect_left(ranges, (end, 0))
    return index > 0 and ranges[index - 1][1] > start


def _around(quotes: Iterable[Json], atoms: Iterable[Json]) -> list[Json]:
    """The outermost quotations that begin and end inside of no other entity."""
    ranges = sorted(range_of(one) for one in atoms)
    whole = (q for q in quotes if not any(_meets(ranges, unit, unit) for unit in range_of(q)))
    return _apart(sorted(whole, key=_key))


def _styles(entities: Sequence[Json], others: Sequence[Json]) -> list[Json]:
    """Each style once in a place, outside of code, cut where another entity's border crosses it."""
    code = sorted(range_of(one) for one in others if one["type"] in _CODE)
    walls = [range_of(one) for one in others if one["type"] not in _CODE]
    pieces: list[Json] = []
    for style in _STYLES:
        ranges = _united(range_of(one) for one in entities if one["type"] == style)
        for start, end in _cut_by(_without(ranges, code), walls):
            pieces.append({"type": style, "offset": start, "length": end - start})
    return _nested(pieces)


def _united(ranges: Iterable[Range]) -> list[Range]:
    united: list[Range] = []
    for start, end in sorted(ranges):
        if united and start < united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], end))
        else:
            united.append((start, end))
    return united


def _without(ranges: Iterable[Range], holes: Sequence[Range]) -> Iterator[Range]:
    """What is left of the ranges; the holes are sorted and apart."""
    for start, end in ranges:
        index = bisect_right(holes, start, key=itemgetter(1))
        while index < len(holes) and holes[index][0] < end:
            left, right = holes[index]
            if start < left:
                yield start, left
            start, index = right, index + 1
        if start < end:
            yield start, end


def _cut_by(ranges: Iterable[Range], walls: Iterable[Range]) -> Iterator[Range]:
    """The ranges, cut at each border whose other border is outside of them."""
    borders = sorted(pair for left, right in walls for pair in ((left, right), (right, left)))
    for start, end in ranges:
        first, last = bisect_right(borders, (start, sys.maxsize)), bisect_left(borders, (end, 0))
        cuts = {cut for cut, other in borders[first:last] if not start <= other <= end}
        yield from pairwise((start, *sorted(cuts), end))


def _nested(pieces: list[Json]) -> list[Json]:
    """Pieces that cross an outer one's end are cut there."""
    heap = [(*_key(piece), number, piece) for number, piece in enumerate(pieces)]
    heapq.heapify(heap)
    nested: list[Json] = []
    open_ends: list[int] = []
    while heap:
        piece = heapq.heappop(heap)[-1]
        start, end = range_of(piece)
        while open_ends and open_ends[-1] <= start:
            open_ends.pop()
        if open_ends and open_ends[-1] < end:
            rest = entity_at(piece, open_ends[-1], end)
            heapq.heappush(heap, (*_key(rest), len(pieces) + len(nested), rest))
            end = open_ends[-1]
        nested.append(entity_at(piece, start, end))
        open_ends.append(end)
    return nested
