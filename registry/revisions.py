"""Revisions of documents, and what differs between two of them, by section and word by word."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["agent", "binding", "default", "role", "key", "access", "proposal"]
KINDS: tuple[Kind, ...] = ("agent", "binding", "default", "role", "key", "access", "proposal")
WordChange = tuple[Literal["=", "-", "+"], str]

_SECTIONS: Mapping[str, str] = {
    "name": "text",
    "description": "text",
    "customInstructions": "text",
    "llmOverrides": "model",
    "mcpServerEndpoints": "tools",
    "mcpServers": "tools",
    "whitelistPatterns": "tools",
    "toolPolicy": "tools",
    "skills": "tools",
    "safetyConfig": "limits",
    "costConfig": "limits",
}
_ENTITIES: Mapping[str, str] = {"text": "prompt", "model": "preference", "tools": "tool"}
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
_MOST_WORDS = 4_000
_MOST_FIELDS = 60


@dataclass(frozen=True, slots=True)
class Revision:
    """A numbered state of a document: its text (None: it was deleted), who wrote it, when and why.

    `hash` is the SHA-1 of the value in force, which a change must expect; `text` has the secrets of
    the operator's documents masked. `by` is `store` for a value that was SET by hand, `file` for
    one that the operator's file or environment brought from `place`. `at` is in seconds.
    """

    number: int
    hash: str
    text: str | None
    by: str
    at: float
    reason: str = ""
    ticket: str = ""
    via: str = ""
    place: str = ""
    masked: bool = False

    @property
    def value(self) -> Any:
        """The document as JSON, None where it was deleted."""
        return None if self.text is None else json_of(self.text)


def json_of(text: str) -> Any:
    """A stored text as JSON; a text that is none (an id SET by hand) as itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One changed field: its dotted name ('' for a whole value), what it was and is (None: absent).

    `words` tells the change of a text word by word: kept (=), taken out (-), put in (+).
    """

    field: str
    section: str
    old: Any
    new: Any
    words: tuple[WordChange, ...] = ()

    @property
    def entity(self) -> str:
        """The entity type of the audit: prompt, tool, rule or preference."""
        return _ENTITIES.get(self.section, "rule" if self.section == "limits" else "preference")


def differences(old: Any, new: Any) -> list[FieldChange]:
    """What changed from one document to another, in the order of the sections."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        same = old == new
        return [] if same else [FieldChange("", "other", old, new, _word_changes(old, new))]
    found = list(_fields(old, new, ()))
    if len(found) > _MOST_FIELDS:
        return [FieldChange("", "other", old, new)]
    order = ("text", "model", "tools", "limits", "other")
    return sorted(found, key=lambda change: order.index(change.section))


def _fields(
    old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[FieldChange]:
    for name in dict.fromkeys([*old, *new]):
        was, now, steps = old.get(name), new.get(name), (*path, name)
        if was == now:
            continue
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _fields(was, now, steps)
            continue
        section = _SECTIONS.get(steps[0], "other")
        yield FieldChange(".".join(steps), section, was, now, _word_changes(was, now))


def _word_changes(old: Any, new: Any) -> tuple[WordChange, ...]:
    """How one text became another; () where they are no texts, or too long to compare."""
    if not (isinstance(old, str) and isinstance(new, str)):
        return ()
    a, b = _WORDS.findall(old), _WORDS.findall(new)
    if len(a) + len(b) > _MOST_WORDS:
        return _line_changes(old, new)
    return _changes(a, b)


def _line_changes(old: str, new: str) -> tuple[WordChange, ...]:
    a, b = old.splitlines(keepends=True), new.splitlines(keepends=True)
    return _changes(a, b) if len(a) + len(b) <= _MOST_WORDS else ()


def _changes(a: Sequence[str], b: Sequence[str]) -> tuple[WordChange, ...]:
    found: list[WordChange] = []
    for act, a1, a2, b1, b2 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if act == "equal":
            found.append(("=", "".join(a[a1:a2])))
            continue
        if a1 != a2:
            found.append(("-", "".join(a[a1:a2])))
        if b1 != b2:
            found.append(("+", "".join(b[b1:b2])))
    return tuple(found)


def with_field(document: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The document with one dotted field set, or taken out where the value is None."""
    head, _, rest = name.partition(".")
    result = dict(document)
    if rest:
        inner = result.get(head)
        below = with_field(inner if isinstance(inner, Mapping) else {}, rest, value)
        result[head] = below
        if not below:
            del result[head]
    elif value is None:
        result.pop(head, None)
    else:
        result[head] = value
    return result


def overlap(one: str, other: str) -> bool:
    """Whether two dotted fields are the same, or one lies inside the other ('' is everything)."""
    a, b = one.split(".") if one else [], other.split(".") if other else []
    shared = min(len(a), len(b))
    return a[:shared] == b[:shared]
