"""JSON Schemas of tools: judged when they are written, and what they can cost counted before use.

Everything here takes time that grows with the schema's own size alone, whatever it says.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from registry import fitting
from registry.fields import Wrong
from registry.pasted import shown

SIZE_LIMIT = 64_000
DEPTH_LIMIT = 48
PARTS_LIMIT = 100_000
"""Parts of a schema that may look at one and the same value, with references written out."""
EVALUATED_LIMIT = 2_000
"""The same below `unevaluatedProperties` and `unevaluatedItems`, which go through all of them."""
PATTERNS_LIMIT = 64
PATTERN_LIMIT = 1_000
PATTERNS_BYTES = 400_000
"""What a schema's patterns may come to in memory to be made ready at once: five milliseconds."""

_WEIGHTS = {"pattern": 1_000, "multipleOf": 20}
"""Keywords that cost as much as so many parts."""

_REFUSED = {
    "$dynamicRef": "use $ref",
    "$recursiveRef": "use $ref",
    "patternProperties": "name the properties under 'properties'",
}
_DATA = frozenset({"enum", "const", "default", "examples"})
_DEFINITIONS = frozenset({"$defs", "definitions"})
_HERE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
"""Keywords whose schemas look at the same value; those of all others look at what is inside it."""
_NAMED = frozenset({"properties", "dependentSchemas", *_DEFINITIONS})
_BRANCHES = frozenset({"anyOf", "oneOf"})
_EVALUATED = frozenset({"unevaluatedProperties", "unevaluatedItems"})
_MANY = 1_000_000_000
_WORDS = re.compile(r"[^a-z0-9]")
_CREDENTIALS = frozenset(
    {
        *("password", "passwd", "passphrase", "secret", "credentials", "credential", "apikey"),
        *("apisecret", "apitoken", "accesstoken", "refreshtoken", "authtoken", "bearertoken"),
        *("clientsecret", "privatekey", "secretkey", "accesskey", "authorization"),
    }
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What it can cost to judge a value by a schema.

    `parts` is how many parts it has with all references written out; each of them looks at each
    part of a value once at most. None where that has no end, or cannot be told, or where its
    patterns alone take long to be made ready. `branches` says
    whether a value that does not fit is told of once for each of several ways.
    """

    parts: int | None
    branches: bool = False


def checked(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an object, as it is; raises Wrong where it is none that a host can use."""
    if value.get("type") != "object":
        raise Wrong("must describe an object", 'begin with "type": "object"')
    _bounded(value)
    parts = _judged(value)
    for name in parts.properties():
        if _WORDS.sub("", name.lower()) in _CREDENTIALS:
            cure = "take it out, and give the tool its secret by webhookAuth or the environment"
            raise Wrong(f"asks the model for a credential, {shown(name)}", cure)
    return value


def usable(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Any JSON Schema, as it is; raises Wrong where it is none that a host can use."""
    _bounded(value)
    _judged(value)
    return value


def cost(value: Mapping[str, Any]) -> Cost:
    """What a usable schema can cost; raises Wrong for any other."""
    _bounded(value)
    return _counted(value).cost()


def fault(value: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a value is no JSON Schema at all, and where; None where it is one."""
    return fitting.misfit(_grammar(), value)


@functools.cache
def _grammar() -> Any:
    return fitting.grammar()


def _bounded(value: Any) -> None:
    """Refuse what is too large or nested too deep before anything else looks at it."""
    size, level = 0, [value]
    for _ in range(DEPTH_LIMIT + 1):
        inner: list[Any] = []
        for node in level:
            if isinstance(node, Mapping):
                size += sum(len(str(name)) + 4 for name in node)
                inner += node.values()
            elif isinstance(node, list | tuple):
                size += len(node)
                inner += node
            else:
                size += len(node) + 2 if isinstance(node, str) else 4
            if size > SIZE_LIMIT:
                raise Wrong(f"has more than {SIZE_LIMIT} characters", "make it smaller")
        level = inner
    if level:
        raise Wrong("is nested too deep", "make it flatter")


def _judged(value: Mapping[str, Any]) -> _Parts:
    parts = _counted(value)
    parts.try_patterns()
    return parts


def _counted(value: Mapping[str, Any]) -> _Parts:
    if found := fault(value):
        raise Wrong(f"is no JSON Schema, at {found[1][:80]}", "correct it")
    parts = _Parts(value)
    parts.count()
    return parts


@dataclass(slots=True)
class _Part:
    """One schema inside a schema: the schemas that look at the same value, and those inside it."""

    size: int = 1
    here: list[int] = field(default_factory=list)
    inside: list[int] = field(default_factory=list)
    evaluates: bool = False


class _Parts:
    """A schema's parts by the identity of their objects, each linked to those that it leads to."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._parts: dict[int, _Part] = {}
        self._nodes: dict[int, Mapping[str, Any]] = {}
        self._anchors: dict[str, Mapping[str, Any]] = {}
        self._patterns: dict[str, None] = {}
        self._references: list[tuple[_Part, str]] = []
        self._whole: int | None = 0
        self._branches = False
        self._walk(root)
        self._follow()

    def cost(self) -> Cost:
        """What the schema can cost."""
        share = PATTERNS_BYTES // max(1, len(self._patterns))
        light = all(_fits_in(pattern, share) for pattern in self._patterns)
        return Cost(self._whole if light else None, self._branches)

    def try_patterns(self) -> None:
        """Refuse a pattern that the engine does not take: it is made ready for that, one by one."""
        for pattern in self._patterns:
            if not _fits_in(pattern, fitting.PATTERN_BYTES):
                raise _pattern_wrong(pattern)

    def properties(self) -> Iterator[str]:
        """The names of all properties, at every depth."""
        for node in self._nodes.values():
            if isinstance(named := node.get("properties"), Mapping):
                yield from map(str, named)

    def count(self) -> None:
        """Count what references come to, and refuse what comes to too much or goes round."""
        counted = _sums(self._parts, lambda part: part.here)
        if counted is None:
            raise Wrong("leads round and round", "let each $ref lead further inside")
        if max(counted.values()) > PARTS_LIMIT:
            told = f"comes to more than {PARTS_LIMIT} parts for one value"
            raise Wrong(told, "refer to the same part less often")
        evaluated = [counted[key] for key, part in self._parts.items() if part.evaluates]
        if sum(evaluated) > EVALUATED_LIMIT:
            told = f"has more than {EVALUATED_LIMIT} parts below 'unevaluated…'"
            raise Wrong(told, "use additionalProperties, or refer less often")
        whole = _sums(self._parts, lambda part: [*part.here, *part.inside])
        endless = whole is None or evaluated or whole[id(self._root)] >= _MANY
        self._whole = None if whole is None or endless else whole[id(self._root)]

    def _walk(self, root: Mapping[str, Any]) -> None:
        """Take in a schema with all that is inside of it."""
        waiting: list[Mapping[str, Any]] = [root]
        while waiting:
            node = waiting.pop()
            if id(node) in self._parts:
                continue
            weight = sum(_WEIGHTS.get(keyword, 1) for keyword in node)
            part = self._parts[id(node)] = _Part(size=1 + weight)
            self._nodes[id(node)] = node
            for keyword, item in node.items():
                waiting += self._keyword(part, node, keyword, item)

    def _keyword(
        self, part: _Part, node: Mapping[str, Any], keyword: str, item: Any
    ) -> Iterable[Mapping[str, Any]]:
        """Note what a keyword says; the schemas that it holds."""
        if isinstance(item, str):
            self._text(part, node, keyword, item)
        if keyword in _REFUSED:
            raise Wrong(f"has {keyword}, which is not taken here", _REFUSED[keyword])
        if keyword in _DATA:
            part.size += _size(item)
            return ()
        found = [one for one in _schemas(keyword, item) if isinstance(one, Mapping)]
        if keyword in _HERE:
            part.here += map(id, found)
        elif keyword not in _DEFINITIONS:
            part.inside += map(id, found)
        part.evaluates = part.evaluates or keyword in _EVALUATED
        self._branches = self._branches or keyword in _BRANCHES
        return found

    def _text(self, part: _Part, node: Mapping[str, Any], keyword: str, text: str) -> None:
        """Note what a keyword says that is a text; raises Wrong where it may not say it."""
        match keyword:
            case "$id" if node is not self._root:
                raise Wrong("has a part with an $id of its own", "take the $id out")
            case "$ref" if not text.startswith("#"):
                cure = "put it under $defs, refer to #/$defs/…"
                raise Wrong("has a $ref to another document", cure)
            case "$ref":
                self._references.append((part, text))
            case "$anchor" | "$dynamicAnchor":
                self._anchors[text] = node
            case "pattern" if text not in self._patterns:
                self._pattern(text)

    def _pattern(self, text: str) -> None:
        self._patterns[text] = None
        if len(self._patterns) > PATTERNS_LIMIT:
            raise Wrong(f"has more than {PATTERNS_LIMIT} patterns", "use fewer")
        if len(text) > PATTERN_LIMIT:
            raise _pattern_wrong(text)

    def _follow(self) -> None:
        """Link each reference with what it leads to, which may hold references of its own."""
        targets: dict[str, Any] = {}
        while self._references:
            part, reference = self._references.pop()
            if reference not in targets:
                targets[reference] = self._target(reference)
                if isinstance(targets[reference], Mapping):
                    self._walk(targets[reference])
            if isinstance(targets[reference], Mapping):
                part.here.append(id(targets[reference]))

    def _target(self, reference: str) -> Mapping[str, Any] | bool:
        pointer = unquote(reference[1:])
        node: Any = self._anchors.get(pointer, self._root if not pointer else None)
        if pointer.startswith("/"):
            node = self._root
            for step in pointer[1:].split("/"):
                node = _inner(node, step.replace("~1", "/").replace("~0", "~"))
        if not isinstance(node, Mapping | bool):
            raise Wrong(f"has a $ref {shown(reference)} that leads nowhere", "correct it")
        return node


def _pattern_wrong(text: str) -> Wrong:
    cure = "write it without look-around and back-references, and shorter"
    return Wrong(f"has the pattern {shown(text)}, which is not taken here", cure)


def _schemas(keyword: str, item: Any) -> Iterable[Any]:
    """The schemas that a keyword holds: itself one, or a list or an object of them."""
    if keyword in _NAMED and isinstance(item, Mapping):
        return item.values()
    return item if isinstance(item, list | tuple) else (item,)


def _inner(node: Any, step: str) -> Any:
    if isinstance(node, Mapping):
        return node.get(step)
    is_index = isinstance(node, list | tuple) and step.isdecimal() and len(step) < 7
    return node[int(step)] if is_index and int(step) < len(node) else None


def _size(value: Any) -> int:
    """How many values there are in a value."""
    count, waiting = 0, [value]
    while waiting:
        count += 1
        node = waiting.pop()
        if isinstance(node, Mapping):
            waiting += node.values()
        elif isinstance(node, list | tuple):
            waiting += node
    return count


def _sums(
    parts: Mapping[int, _Part], following: Callable[[_Part], list[int]]
) -> dict[int, int] | None:
    """For each part its size with all that follow, counted as often as led to; None if in circles.

    What comes to very much is counted no further.
    """
    sums: dict[int, int] = {}
    under_way: set[int] = set()
    waiting = list(parts)
    while waiting:
        key = waiting[-1]
        if key in sums:
            waiting.pop()
            continue
        after = following(parts[key])
        if missing := [one for one in after if one not in sums]:
            if key in under_way:
                return None
            under_way.add(key)
            waiting += missing
        else:
            sums[key] = min(_MANY, parts[key].size + sum(sums[one] for one in after))
            under_way.discard(key)
            waiting.pop()
    return sums


@functools.lru_cache(maxsize=4096)
def _fits_in(pattern: str, size: int) -> bool:
    """Whether the engine that takes linear time takes a pattern, and in so many bytes of memory.

    What takes more is given up there: making a pattern ready takes time as it takes memory.
    """
    try:
        fitting.validator({"pattern": pattern}, size)
    except ValueError:
        return False
    return True
