"""JSON Schemas of tools: checked when they are written; their cost is counted before use.

Everything here takes time that depends only on the size of the schema.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from registry import schema_worker
from registry.asked_credentials import without_credentials
from registry.errors import InvalidValue
from registry.fields import inner_values
from registry.secrets import shown

SIZE_LIMIT = 64_000
DEPTH_LIMIT = 48
PARTS_LIMIT = 100_000
"""Parts of a schema that may look at one and the same value, with references written out."""
EVALUATED_LIMIT = 2_000
"""The same below `unevaluatedProperties` and `unevaluatedItems`, which go through all of them."""
PATTERNS_LIMIT = 64
PATTERN_LIMIT = 1_000
PATTERNS_BYTES = 400_000
"""Memory of all compiled patterns of a schema that is validated on the loop: five milliseconds."""

_WEIGHTS = {"pattern": 1_000, "multipleOf": 20}
"""Keywords that cost as much as so many parts."""

_REFUSED = {
    "$dynamicRef": "use $ref",
    "$recursiveRef": "use $ref",
}
_DATA = frozenset({"enum", "const", "default", "examples"})
_DEFINITIONS = frozenset({"$defs", "definitions"})
_HERE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
"""Keywords whose schemas look at the same value; those of all others look at what is inside it."""
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas", *_DEFINITIONS})
_BRANCHES = frozenset({"anyOf", "oneOf"})
_EVALUATED = frozenset({"unevaluatedProperties", "unevaluatedItems"})
_MANY = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What it can cost to validate a value by a schema.

    `parts` is how many parts it has with all references written out; each of them looks at each
    part of a value once at most. None if that is endless or unknown, or if its patterns alone take
    long to compile. `branches` says whether a value that does not fit is reported once for each of
    several ways.
    """

    parts: int | None
    branches: bool = False


def checked(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an object, as it is; raises InvalidValue where the host cannot use it."""
    if value.get("type") != "object":
        raise InvalidValue("must describe an object", 'begin with "type": "object"')
    parts = _counted(value)
    parts.compile_patterns()
    if asked := without_credentials(value).fields:
        cure = "remove it, and give the tool its secret with webhookAuth or the environment"
        raise InvalidValue(f"asks the model for a credential, {shown(asked[0])}", cure)
    return value


def usable(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Any JSON Schema, as it is; raises InvalidValue where the host cannot use it."""
    _counted(value).compile_patterns()
    return value


def cost(value: Mapping[str, Any]) -> Cost:
    """What a usable schema can cost; raises InvalidValue for any other."""
    return _counted(value).cost()


def fault(value: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a value is not a JSON Schema, and where; None if it is one."""
    return schema_worker.misfit(schema_worker.grammar(), value)


def _bounded(value: Any) -> None:
    """Refuse what is too large or nested too deep before anything else looks at it."""
    size, level = 0, [value]
    for _ in range(DEPTH_LIMIT + 1):
        for node in level:
            if isinstance(node, Mapping):
                size += sum(len(str(name)) + 4 for name in node)
            elif isinstance(node, list | tuple):
                size += len(node)
            else:
                size += len(node) + 2 if isinstance(node, str) else 4
            if size > SIZE_LIMIT:
                raise InvalidValue(f"has more than {SIZE_LIMIT} characters", "make it smaller")
        level = [inner for node in level for inner in inner_values(node)]
    if level:
        raise InvalidValue("is nested too deeply", "make it flatter")


def _counted(value: Mapping[str, Any]) -> _Parts:
    _bounded(value)
    if found := fault(value):
        cure = 'write {"type": "object", "properties": {…}}, with a schema for each property'
        raise InvalidValue(f"is not a JSON Schema, at {found[1][:80]}", cure)
    return _Parts(value)


@dataclass(slots=True)
class _Part:
    """One schema inside a schema: the schemas that look at the same value, and those inside it."""

    node: Mapping[str, Any]
    size: int
    here: list[int] = field(default_factory=list)
    inside: list[int] = field(default_factory=list)
    evaluates: bool = False


class _Parts:
    """A schema's parts by the identity of their objects, each linked to those that it leads to."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._parts: dict[int, _Part] = {}
        self._anchors: dict[str, Mapping[str, Any]] = {}
        self._patterns: dict[str, None] = {}
        self._references: list[tuple[_Part, str]] = []
        self._whole: int | None = 0
        self._branches = False
        self._add(root)
        self._resolve()
        self._count()

    def cost(self) -> Cost:
        """What the schema can cost."""
        share = PATTERNS_BYTES // max(1, len(self._patterns))
        is_light = all(_compiles(pattern, share) for pattern in self._patterns)
        return Cost(self._whole if is_light else None, self._branches)

    def compile_patterns(self) -> None:
        """Compile each pattern; raises InvalidValue where the engine refuses one."""
        for pattern in self._patterns:
            if not _compiles(pattern, schema_worker.PATTERN_BYTES):
                raise _invalid_pattern(pattern)

    def _count(self) -> None:
        """Count the parts with references written out; refuse too many, and circular references."""
        counted = _sums(self._parts, lambda part: part.here)
        if counted is None:
            raise InvalidValue("has a circular $ref", "let each $ref point to a deeper part")
        if max(counted.values()) > PARTS_LIMIT:
            message = f"has more than {PARTS_LIMIT} parts for one value, with each $ref written out"
            raise InvalidValue(message, "refer to the same part less often")
        evaluated = [counted[key] for key, part in self._parts.items() if part.evaluates]
        if sum(evaluated) > EVALUATED_LIMIT:
            message = f"has more than {EVALUATED_LIMIT} parts below 'unevaluated…'"
            raise InvalidValue(message, "use additionalProperties, or refer less often")
        sums = _sums(self._parts, lambda part: [*part.here, *part.inside])
        whole = _MANY if sums is None else sums[id(self._root)]
        self._whole = None if evaluated or whole >= _MANY else whole

    def _add(self, root: Mapping[str, Any]) -> None:
        """Add a schema with all schemas inside it."""
        waiting: list[Mapping[str, Any]] = [root]
        while waiting:
            node = waiting.pop()
            if id(node) in self._parts:
                continue
            weight = sum(_WEIGHTS.get(keyword, 1) for keyword in node)
            part = self._parts[id(node)] = _Part(node, 1 + weight)
            for keyword, item in node.items():
                waiting += self._keyword(part, keyword, item)

    def _keyword(self, part: _Part, keyword: str, item: Any) -> Iterable[Mapping[str, Any]]:
        """Add what a keyword says to its part; returns the schemas that it holds."""
        if isinstance(item, str):
            self._text(part, keyword, item)
        if keyword == "patternProperties" and isinstance(item, Mapping):
            part.size += _WEIGHTS["pattern"] * len(item)
            for pattern in item:
                self._pattern(pattern)
        if keyword in _REFUSED:
            raise InvalidValue(f"has {keyword}, which is not supported here", _REFUSED[keyword])
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

    def _text(self, part: _Part, keyword: str, text: str) -> None:
        """Check and add a keyword whose value is a text; raises InvalidValue for a refused one."""
        match keyword:
            case "$id" if part.node is not self._root:
                raise InvalidValue("has a part with an $id of its own", "remove the $id")
            case "$ref" if not text.startswith("#"):
                cure = "put it under $defs, refer to #/$defs/…"
                raise InvalidValue("has a $ref to another document", cure)
            case "$ref":
                self._references.append((part, text))
            case "$anchor" | "$dynamicAnchor":
                self._anchors[text] = part.node
            case "pattern":
                self._pattern(text)

    def _pattern(self, text: str) -> None:
        self._patterns[text] = None
        if len(self._patterns) > PATTERNS_LIMIT:
            raise InvalidValue(f"has more than {PATTERNS_LIMIT} patterns", "use fewer")
        if len(text) > PATTERN_LIMIT:
            raise _invalid_pattern(text)

    def _resolve(self) -> None:
        """Link each reference with what it leads to, which may hold references of its own."""
        targets: dict[str, Any] = {}
        while self._references:
            part, reference = self._references.pop()
            if reference not in targets:
                targets[reference] = self._target(reference)
            if isinstance(target := targets[reference], Mapping):
                self._add(target)
                part.here.append(id(target))

    def _target(self, reference: str) -> Mapping[str, Any] | bool:
        pointer = unquote(reference[1:])
        node: Any = self._anchors.get(pointer, self._root if not pointer else None)
        if pointer.startswith("/"):
            node = self._root
            for step in pointer[1:].split("/"):
                node = _inner(node, step.replace("~1", "/").replace("~0", "~"))
        if not isinstance(node, Mapping | bool):
            cure = "put the part under $defs, refer to #/$defs/…"
            raise InvalidValue(f"has a $ref {shown(reference)} that points to nothing", cure)
        return node


def _invalid_pattern(text: str) -> InvalidValue:
    cure = "make it shorter, without look-around and back-references"
    return InvalidValue(f"has the pattern {shown(text)}, which is not supported here", cure)


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
        waiting += inner_values(waiting.pop())
    return count


def _sums(
    parts: Mapping[int, _Part], following: Callable[[_Part], list[int]]
) -> dict[int, int] | None:
    """For each part its size with all parts below it, once for each path; None if circular."""
    sums: dict[int, int] = {}
    entered: set[int] = set()
    waiting = list(parts)
    while waiting:
        key = waiting[-1]
        if key in sums:
            waiting.pop()
            continue
        after = following(parts[key])
        if missing := [one for one in after if one not in sums]:
            if key in entered:
                return None
            entered.add(key)
            waiting += missing
        else:
            sums[key] = min(_MANY, parts[key].size + sum(sums[one] for one in after))
            entered.discard(key)
            waiting.pop()
    return sums


@functools.lru_cache(maxsize=4096)
def _compiles(pattern: str, size: int) -> bool:
    """Whether the linear-time engine accepts a pattern, within `size` bytes of memory.

    It gives up at that limit: compiling takes time in proportion to memory.
    """
    try:
        schema_worker.validator({"pattern": pattern}, size)
    except ValueError:
        return False
    return True
