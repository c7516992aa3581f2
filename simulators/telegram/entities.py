"""Entities of a text: which are taken, how they nest, and where they end up after trimming.

Offsets and lengths count UTF-16 units, as everywhere in the Bot API.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from simulators.telegram.refusals import bad_request

Entity = dict[str, Any]

MOST = 100
SPLITTABLE = ("bold", "italic", "underline", "strikethrough", "spoiler")
BLOCKS = frozenset({"blockquote", "expandable_blockquote"})
VERBATIM = frozenset({"pre", "code"})
_PRIORITY = {
    "blockquote": 0, "expandable_blockquote": 0, "pre": 10, "code": 20, "date_time": 30,
    "text_link": 49, "text_mention": 49, "bold": 90, "italic": 91, "underline": 92,
    "strikethrough": 93, "spoiler": 94, "custom_emoji": 99,
}  # fmt: skip
_CONTROL = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f]")
_DROPPED = re.compile("[\r\u2028-\u202e\u0333\u033f\u030a]")
_INVISIBLE = " \n\u200b\u200c\u200d\u200e\u200f\u202e\ufeff\u00a0"
_FARTHEST = 1_000_000


def units(text: str) -> int:
    """The length of a text in UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def is_blank(text: str) -> bool:
    """Whether a reader would see nothing."""
    return not text.strip(_INVISIBLE)


def end(entity: Entity) -> int:
    """The unit after the entity's last one."""
    return int(entity["offset"]) + int(entity["length"])


def ordered(entities: Iterable[Entity]) -> list[Entity]:
    """Entities by offset, the longer first, blocks outside styles."""
    return sorted(entities, key=lambda e: (e["offset"], -e["length"], _PRIORITY.get(e["type"], 50)))


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A text without what the service removes; `place[i]` is the new home of UTF-16 unit i."""

    text: str
    place: list[int] | None

    def at(self, unit: int) -> int:
        """The new offset of an old unit; -1 inside a surrogate pair."""
        return unit if self.place is None else self.place[unit]


def cleaned(text: str) -> Cleaned:
    """The text with control characters as spaces and invisible direction marks removed."""
    text = _CONTROL.sub(" ", text)
    if text.isascii() and "\r" not in text:
        return Cleaned(text, None)
    place: list[int] = []
    kept: list[str] = []
    home = 0
    for character in text:
        width = 2 if character > "\uffff" else 1
        place += [home] if width == 1 else [home, -1]
        if not _DROPPED.match(character):
            kept.append(character)
            home += width
    place.append(home)
    return Cleaned("".join(kept), place)


def normalized(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    """Text and entities as the service keeps them: cleaned, nested rightly and trimmed.

    Raises 400 for an entity outside the text or inside a character, and for a text of nothing.
    """
    for entity in entities:
        _check_range(entity)
    entities = nested([e for e in entities if e["length"]])
    clean = cleaned(text)
    moved = nested(_moved(text, clean, entities))
    text, moved = _trimmed(clean.text, moved)
    if is_blank(text):
        raise bad_request("text must be non-empty")
    return text, moved


def _check_range(entity: Entity) -> None:
    for name in ("offset", "length"):
        if not 0 <= entity[name] <= _FARTHEST:
            raise bad_request(f"receive an entity with incorrect {name} {entity[name]}")


def _moved(text: str, clean: Cleaned, entities: list[Entity]) -> list[Entity]:
    size = units(text)
    found = []
    for entity in entities:
        start, stop = entity["offset"], end(entity)
        if start >= size:
            raise bad_request(f"entity begins after the end of the text at UTF-16 offset {start}")
        if stop > size:
            raise bad_request(
                f"entity beginning at UTF-16 offset {start} ends after the end of the text "
                f"at UTF-16 offset {stop}"
            )
        first, last = clean.at(start), clean.at(stop)
        if first < 0:
            raise bad_request(
                f"entity begins in a middle of a UTF-16 symbol at byte offset {_bytes(text, start)}"
            )
        if last < 0:
            raise bad_request(
                f"entity beginning at UTF-16 offset {start} ends in a middle of a UTF-16 symbol "
                f"at byte offset {_bytes(text, stop)}"
            )
        if last > first:
            found.append(entity | {"offset": first, "length": last - first})
    return found


def _bytes(text: str, unit: int) -> int:
    before = text.encode("utf-16-le")[: (unit + 1) * 2].decode("utf-16-le")
    return len(before.encode())


def _trimmed(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    text = text.rstrip(" \n")
    size = units(text)
    kept = [
        e | {"length": min(e["length"], size - e["offset"])} for e in entities if e["offset"] < size
    ]
    lead = len(text) - len(text.lstrip(" \n"))
    if kept:
        lead = min(lead, min(e["offset"] for e in kept))
    moved = [e | {"offset": e["offset"] - lead} for e in kept] if lead else kept
    return text[lead:], ordered(moved)


def nested(entities: list[Entity]) -> list[Entity]:
    """Entities that nest: no crossing blocks or links, styles cut where another one begins."""
    if len(entities) < 2:
        return list(entities)
    entities = ordered(entities)
    blocks = non_overlapping([e for e in entities if e["type"] in BLOCKS])
    whole = non_overlapping(
        [e for e in entities if e["type"] not in BLOCKS and e["type"] not in SPLITTABLE]
    )
    whole = [e for e in whole if not any(_crosses(e, block) for block in blocks)]
    frame = ordered(whole + blocks)
    styles = _styles([e for e in entities if e["type"] in SPLITTABLE], frame)
    return ordered(frame + styles)


def non_overlapping(entities: list[Entity]) -> list[Entity]:
    """The entities that begin after all earlier ones have ended; the input is ordered."""
    kept: list[Entity] = []
    reached = 0
    for entity in entities:
        if entity["offset"] >= reached:
            kept.append(entity)
            reached = end(entity)
    return kept


def _crosses(inner: Entity, block: Entity) -> bool:
    if end(inner) <= block["offset"] or end(block) <= inner["offset"]:
        return False
    return bool(inner["offset"] < block["offset"] or end(inner) > end(block))


def _styles(styles: list[Entity], frame: list[Entity]) -> list[Entity]:
    merged = [m for kind in SPLITTABLE for m in _merged(kind, styles)]
    cuts = {start for _, start, _ in merged}
    cuts |= {e["offset"] for e in frame} | {end(e) for e in frame}
    verbatim = [e for e in frame if e["type"] in VERBATIM]
    found = []
    for kind, start, stop in merged:
        edges = [start, *sorted(c for c in cuts if start < c < stop), stop]
        for first, last in pairwise(edges):
            if not any(e["offset"] <= first < end(e) for e in verbatim):
                found.append({"type": kind, "offset": first, "length": last - first})
    return found


def _merged(kind: str, styles: list[Entity]) -> list[tuple[str, int, int]]:
    spans: list[tuple[str, int, int]] = []
    for entity in (e for e in styles if e["type"] == kind):
        if spans and entity["offset"] <= spans[-1][2]:
            spans[-1] = (kind, spans[-1][1], max(spans[-1][2], end(entity)))
        else:
            spans.append((kind, entity["offset"], end(entity)))
    return spans
