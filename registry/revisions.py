"""Revisions of documents, and what differs between two of them, by section and word by word."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

Kind = Literal[
    "llm-config",
    "profile",
    "agent",
    "instance",
    "binding",
    "default",
    "role",
    "key",
    "access",
    "proposal",
    "preset",
    "bot",
    "draft",
]
KINDS: tuple[Kind, ...] = (
    "llm-config",
    "profile",
    "agent",
    "instance",
    "binding",
    "default",
    "role",
    "key",
    "access",
    "proposal",
    "preset",
    "bot",
    "draft",
)
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
    "internalToolsets": "tools",
    "safetyConfig": "limits",
    "costConfig": "limits",
    "agent_type": "model",
    "llm": "model",
    "tools": "tools",
    "context_management": "limits",
    "profile": "tools",
    "llm_config_ref": "model",
    "model": "model",
    "temperature": "model",
    "max_tokens": "model",
    "reasoning_effort": "model",
    "fallback_model": "model",
    "system_prompt_construction": "text",
    "text_definitions": "text",
    "tool_access_policy": "tools",
    "pre_turn_observers": "rules",
    "post_turn_observers": "rules",
    "flow_decider": "rules",
}
_OF_DRAFT = "definition"
"""Where a draft has the agent that it is of."""
_ENTITIES: Mapping[str, str] = {"text": "prompt", "model": "preference", "tools": "tool"}
_WORDS = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")
_MOST_WORDS = 8_000
_MOST_EDITS = 300
"""Words taken out and put in of a text; beyond these it is shown as a whole, before and after."""
_MOST_FIELDS = 60
_STEP = re.compile(r"(?:[^.\\]|\\.)++", re.DOTALL)


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
    """One changed field: its dotted name ('' for a whole value), what it was and what it is.

    None stands for a field that is not there.
    """

    field: str
    section: str
    old: Any
    new: Any

    @property
    def words(self) -> tuple[WordChange, ...]:
        """The change of a text word by word: kept (=), taken out (-), put in (+); () of no text.

        Made when it is asked for: most changes are only stored.
        """
        if not (isinstance(self.old, str) and isinstance(self.new, str)):
            return ()
        return _word_changes(self.old, self.new)

    @property
    def entity(self) -> str:
        """The entity type of the audit: prompt, tool, rule or preference."""
        rule = "rule" if self.section in ("rules", "limits") else "preference"
        return _ENTITIES.get(self.section, rule)


def differences(old: Any, new: Any) -> list[FieldChange]:
    """What changed from one document to another, in the order of the sections."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        same = old == new
        return [] if same else [FieldChange("", "other", old, new)]
    found = list(_fields(old, new, ()))
    if len(found) > _MOST_FIELDS:
        return [FieldChange("", "other", old, new)]
    order = ("text", "model", "tools", "rules", "limits", "other")
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
        named = steps[1] if steps[0] == _OF_DRAFT and len(steps) > 1 else steps[0]
        section = _SECTIONS.get(named, "other")
        yield FieldChange(dotted_name(steps), section, was, now)


def _word_changes(old: str, new: str) -> tuple[WordChange, ...]:
    a, b = _WORDS.findall(old), _WORDS.findall(new)
    start, shorter = 0, min(len(a), len(b))
    while start < shorter and a[start] == b[start]:
        start += 1
    end = 0
    while end < shorter - start and a[-1 - end] == b[-1 - end]:
        end += 1
    before, after = a[start : len(a) - end], b[start : len(b) - end]
    edits = _edits(before, after) if len(before) + len(after) <= _MOST_WORDS else None
    if edits is None:
        edits = [*(("-", word) for word in before), *(("+", word) for word in after)]
    every = [*(("=", word) for word in a[:start]), *edits]
    return _joined([*every, *(("=", word) for word in a[len(a) - end :])])


def _edits(a: Sequence[str], b: Sequence[str]) -> list[tuple[str, str]] | None:
    """The fewest words taken out and put in; None where there are too many (Myers, 1986).

    `reach` holds, by diagonal, how far into `a` the edits made so far lead; `trail` keeps it for
    each number of edits, and is walked back from the end.
    """
    reach, trail = {1: 0}, list[dict[int, int]]()
    for count in range(min(len(a) + len(b), _MOST_EDITS) + 1):
        trail.append(dict(reach))
        for diagonal in range(-count, count + 1, 2):
            x = _step(reach, diagonal, count)
            while x < len(a) and x - diagonal < len(b) and a[x] == b[x - diagonal]:
                x += 1
            reach[diagonal] = x
            if x >= len(a) and x - diagonal >= len(b):
                return _walked_back(a, b, trail)
    return None


def _step(reach: Mapping[int, int], diagonal: int, count: int) -> int:
    """Where one more edit leads on a diagonal: a word of `b` put in, or one of `a` taken out."""
    is_put_in = diagonal == -count or (
        diagonal != count and reach[diagonal - 1] < reach[diagonal + 1]
    )
    return reach[diagonal + 1] if is_put_in else reach[diagonal - 1] + 1


def _walked_back(
    a: Sequence[str], b: Sequence[str], trail: Sequence[Mapping[int, int]]
) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    x, y = len(a), len(b)
    for count in range(len(trail) - 1, -1, -1):
        reach, diagonal = trail[count], x - y
        after = _step(reach, diagonal, count)
        while x > after and y > after - diagonal:
            x, y = x - 1, y - 1
            found.append(("=", a[x]))
        if count == 0:
            break
        if after == reach.get(diagonal + 1):
            y -= 1
            found.append(("+", b[y]))
        else:
            x -= 1
            found.append(("-", a[x]))
    return found[::-1]


def _joined(words: Sequence[tuple[str, str]]) -> tuple[WordChange, ...]:
    """Neighbouring words of a kind as one; of what changed between two kept parts, old first."""
    found: list[WordChange] = []
    for kept, group in groupby(words, lambda word: word[0] == "="):
        parts = list(group)
        kinds: tuple[Literal["=", "-", "+"], ...] = ("=",) if kept else ("-", "+")
        for kind in kinds:
            text = "".join(word for own, word in parts if own == kind)
            if text:
                found.append((kind, text))
    return tuple(found)


def dotted_name(steps: Iterable[str]) -> str:
    """Names inside one another as one; a dot in a name gets a backslash."""
    return ".".join(step.replace("\\", "\\\\").replace(".", "\\.") for step in steps)


def steps_of(field: str) -> list[str]:
    """The names of a dotted one; [] for ''."""
    found = [re.sub(r"\\(.)", r"\1", step) for step in _STEP.findall(field)]
    return found if field else []


def with_field(document: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The document with one dotted field set, or taken out where the value is None."""
    head, *rest = steps_of(name)
    result = dict(document)
    if rest:
        inner = result.get(head)
        below = with_field(inner if isinstance(inner, Mapping) else {}, dotted_name(rest), value)
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
    a, b = steps_of(one), steps_of(other)
    shared = min(len(a), len(b))
    return a[:shared] == b[:shared]
