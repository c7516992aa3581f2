"""Entities found in plain text: commands, mentions, hashtags, links and the like."""

from __future__ import annotations

import re

from simulators.telegram.entities import (
    BLOCKS,
    SPLITTABLE,
    Entity,
    end,
    nested,
    non_overlapping,
    units,
)

_TOP = (
    "com|org|net|io|dev|app|ai|me|info|biz|edu|gov|eu|de|uk|us|ru|fr|it|es|nl|ch|at|cz|pl|tv|co|xyz"
)
_PATTERNS = (
    (
        "url",
        re.compile(
            r"(?<![\w@.])(?:https?://|tg://|ftp://)[^\s<>\"'()]+(?:\([^\s()]*\)[^\s<>\"'()]*)*"
            rf"|(?<![\w@./-])(?:[a-z0-9-]+\.)+(?:{_TOP})(?![\w.@-]*\w*@)"
            r"(?:(?:[/?#]|:\d)[^\s<>\"']*|\b)",
            re.IGNORECASE,
        ),
    ),
    ("email", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[a-z0-9-]+\.)+[a-z]{2,}", re.IGNORECASE)),
    (
        "bot_command",
        re.compile(r"(?<![\w/<>])/[a-zA-Z0-9_]{1,64}(?:@[a-zA-Z0-9_]{3,32})?(?![\w/<>])"),
    ),
    ("mention", re.compile(r"(?<![\w@/.])@[a-zA-Z0-9_]{2,32}(?!\w)")),
    ("hashtag", re.compile(r"(?<![\w#&])#(?=\w*[^\W\d_])\w{1,256}")),
    ("cashtag", re.compile(r"(?<![\w$])\$(?:[A-Z]{1,8}|1INCH)(?![\w$])")),
)  # fmt: skip
_HINT = re.compile(r"[@/#$.:]")
_TRAILING = ".,;:!?"


def detected(text: str) -> list[Entity]:
    """The entities that the service itself finds in a text, in order, none crossing another."""
    if not _HINT.search(text):
        return []
    entities: list[Entity] = []
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            matched = match.group().rstrip(_TRAILING) if kind == "url" else match.group()
            start = units(text[: match.start()])
            entities.append({"type": kind, "offset": start, "length": units(matched)})
    return non_overlapping(sorted(entities, key=lambda e: (e["offset"], -e["length"])))


def with_detected(text: str, entities: list[Entity]) -> list[Entity]:
    """The given entities with those that the service finds, where these do not disturb."""
    extra = detected(text)
    if not extra:
        return entities
    firm = [e for e in entities if e["type"] not in SPLITTABLE and e["type"] not in BLOCKS]
    fresh = [e for e in extra if not any(_overlap(e, f) for f in firm)]
    return nested(entities + fresh)


def _overlap(one: Entity, other: Entity) -> bool:
    return bool(one["offset"] < end(other) and other["offset"] < end(one))
