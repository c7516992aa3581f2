"""A tool as a server offers it, made safe to be shown to a model."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

from bot.safety.text_safety import is_printable, printable
from registry.tool_schema import fault

DESCRIPTION_LIMIT = 8_000
NAME_LIMIT = 512
SCHEMA_LIMIT = 64_000
TOOLS_LIMIT = 1_000
NOTES_LIMIT = 100

_PROPERTY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_FOR_READERS = frozenset({"description", "title", "$comment"})
_JOINERS = frozenset("\u200c\u200d")
_ROOT_COMBINATORS = frozenset({"oneOf", "anyOf", "allOf"})

Hide = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of one server: `server` is our name of it, `name` the server's own of the tool.

    `read_only`, `idempotent`, `destructive` and `open_world` are the server's hints, with the
    protocol's defaults where it gives none. `digest` covers name, description and schema.
    """

    server: str
    name: str
    description: str
    input_schema: dict[str, Any] = field(hash=False)
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = True
    open_world: bool = True
    digest: str = ""

    @property
    def key(self) -> str:
        """`mcp:<server>:<name>`, by which policy knows it."""
        return f"mcp:{self.server}:{self.name}"

    def of(self, server: str) -> Tool:
        """The same tool under another name of its server."""
        return replace(self, server=server)


class RawAnnotations(Protocol):
    """A tool's hints as they arrive."""

    read_only_hint: bool | None
    idempotent_hint: bool | None
    destructive_hint: bool | None
    open_world_hint: bool | None


class RawTool(Protocol):
    """A tool as it arrives."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def description(self) -> str | None: ...  # noqa: D102
    @property
    def input_schema(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def annotations(self) -> RawAnnotations | None: ...  # noqa: D102


def tools_from(raw: Iterable[RawTool], hide: Hide = str) -> tuple[tuple[Tool, ...], list[str]]:
    """The usable tools sorted by name, and a sentence for each that had to be left out."""
    filtered = ToolFilter(hide)
    filtered.take(raw)
    return filtered.tools, filtered.notes


class ToolFilter:
    """Takes the usable tools out of a list that comes in pages; `notes` say what is left out.

    `hide` takes secrets out of what models read; where a call would need one, the tool is left out.
    """

    def __init__(self, hide: Hide = str) -> None:
        self._hide = hide
        self._tools: dict[str, Tool] = {}
        self.notes: list[str] = []
        self.is_full = False

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The usable tools so far, sorted by name."""
        return tuple(self._tools[name] for name in sorted(self._tools))

    def take(self, page: Iterable[RawTool]) -> None:
        """Take in a page; made to run in a thread, as it may take a while."""
        for item in page:
            if len(self._tools) >= TOOLS_LIMIT:
                self._note(f"more than {TOOLS_LIMIT} tools: the others are left out")
                self.is_full = True
                return
            name = printable(self._hide(item.name[: 2 * NAME_LIMIT])[:80])
            if item.name in self._tools:
                self._note(f"tool {name!r} is listed twice: the first stays")
            elif reason := _refusal(item):
                self._note(f"tool {name!r} is left out: {reason}")
            elif _has_a_secret(tool := _tool(item, self._hide), self._hide):
                why = "its name or its input schema has a secret"
                self._note(f"tool {name!r} is left out: {why}")
            else:
                self._tools[item.name] = tool

    def _note(self, words: str) -> None:
        if len(self.notes) < NOTES_LIMIT:
            self.notes.append(words)


def _refusal(raw: RawTool) -> str | None:
    if not raw.name or len(raw.name) > NAME_LIMIT:
        return f"its name must have 1 to {NAME_LIMIT} characters"
    if printable(raw.name) != raw.name or "\n" in raw.name or "\t" in raw.name:
        return "its name has hidden characters"
    return _schema_refusal(raw.input_schema)


def _schema_refusal(schema: Mapping[str, Any]) -> str | None:
    try:
        size = len(json.dumps(schema, ensure_ascii=False, allow_nan=False))
    except (ValueError, RecursionError):
        return "its input schema is not plain JSON"
    if size > SCHEMA_LIMIT:
        return f"its input schema has {size} characters, over {SCHEMA_LIMIT}"
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        return "its input schema has `properties` that are no object"
    if bad := next((p for p in properties if not _PROPERTY_NAME.fullmatch(p)), None):
        return f"its parameter {printable(bad[:80])!r} has a name that models do not take"
    if (place := _hidden_place(schema)) is not None:
        return f"its input schema has hidden characters in {printable(place[:80])!r}"
    return _draft_refusal(schema)


def _hidden_place(schema: Mapping[str, Any]) -> str | None:
    """The keyword or name whose text hides something that cannot be stripped: calls need it."""
    found: list[tuple[str, Any]] = [("", schema)]
    while found:
        place, value = found.pop()
        if isinstance(value, Mapping):
            if hiding := next((name for name in value if _hides(name)), None):
                return str(hiding)
            found += [(name, item) for name, item in value.items() if name not in _FOR_READERS]
            found += [(n, value[n]) for n in _FOR_READERS & set(value) if _is_nested(value[n])]
        elif isinstance(value, list | tuple):
            found += [(place, item) for item in value]
        elif isinstance(value, str) and _hides(value):
            return place
    return None


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _hides(text: str) -> bool:
    # Joiners belong to words of some scripts, and to many emoji.
    return any(not is_printable(char) and char not in _JOINERS for char in text)


def _draft_refusal(schema: Mapping[str, Any]) -> str | None:
    if (found := fault(_as_object(schema))) is None:
        return None
    return f"its input schema is no JSON Schema, at {printable(found[1][:80])}"


def _has_a_secret(tool: Tool, hide: Hide) -> bool:
    """Whether a call would need what nobody may read."""
    said = json.dumps([tool.name, tool.input_schema], ensure_ascii=False)
    return hide(said) != said


def _tool(raw: RawTool, hide: Hide) -> Tool:
    description = _words(raw.description or "", hide)
    schema = _readable(_as_object(raw.input_schema), hide)
    said = json.dumps([raw.name, description, schema], sort_keys=True)
    hints = raw.annotations
    return Tool(
        server="",
        name=raw.name,
        description=description,
        input_schema=schema,
        read_only=_hint(hints and hints.read_only_hint, default=False),
        idempotent=_hint(hints and hints.idempotent_hint, default=False),
        destructive=_hint(hints and hints.destructive_hint, default=True),
        open_world=_hint(hints and hints.open_world_hint, default=True),
        digest=hashlib.sha256(said.encode()).hexdigest(),
    )


def _hint(value: object, *, default: bool) -> bool:
    return value if isinstance(value, bool) else default


def _as_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    # The Messages API refuses a whole request for a root that is no plain object.
    if schema.get("type", "object") != "object":
        return {"type": "object"}
    kept = {key: value for key, value in schema.items() if key not in _ROOT_COMBINATORS}
    return {**kept, "type": "object"}


def _readable(schema: dict[str, Any], hide: Hide) -> dict[str, Any]:
    return {key: _readable_value(key, value, hide) for key, value in schema.items()}


def _readable_value(key: str, value: Any, hide: Hide) -> Any:
    if isinstance(value, dict):
        return _readable(value, hide)
    if isinstance(value, list):
        return [_readable_value("", item, hide) for item in value]
    if isinstance(value, str) and key in _FOR_READERS:
        return _words(value, hide)
    return value


def _words(text: str, hide: Hide) -> str:
    """What a server says of a tool, as a model may read it."""
    return printable(hide(text[: 2 * DESCRIPTION_LIMIT]), DESCRIPTION_LIMIT)


WIRE_LIMIT = 64

_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")


class Keyed(Protocol):
    """Anything with a key of segments: `mcp:<server>:<tool>`, `skill:<name>`."""

    @property
    def key(self) -> str:
        """The key."""
        ...


KeyedT = TypeVar("KeyedT", bound=Keyed)


class WireNames(Generic[KeyedT]):
    """The wire names of one set of tools; the same set gives the same names in any order.

    A name is `server__tool` with illegal characters as `_`; where two tools would share one, or
    it is longer than 64 characters, it ends in a digest of the key.
    """

    def __init__(self, tools: Iterable[KeyedT]) -> None:
        by_key: dict[str, KeyedT] = {}
        for tool in tools:
            by_key.setdefault(tool.key, tool)
        self._wires = _assign(sorted(by_key))
        self._tools = {self._wires[key]: tool for key, tool in by_key.items()}

    def wire(self, tool: Keyed | str) -> str:
        """The wire name of a tool (or of its key); KeyError if it is not of this set."""
        return self._wires[tool if isinstance(tool, str) else tool.key]

    def tool(self, wire: str) -> KeyedT | None:
        """The tool of a wire name, or None: a model may invent names."""
        return self._tools.get(wire)


def _assign(keys: list[str]) -> dict[str, str]:
    plain = {key: _plain(key) for key in keys}
    uses = Counter(plain.values())
    wires = {
        key: name for key, name in plain.items() if uses[name] == 1 and len(name) <= WIRE_LIMIT
    }
    taken = set(wires.values())
    for key in keys:
        if key not in wires:
            wires[key] = _with_digest(key, plain[key], taken)
            taken.add(wires[key])
    return wires


def _plain(key: str) -> str:
    parts = key.split(":", 2)
    segments = parts[1:] if parts[0] == "mcp" and len(parts) == 3 else parts
    return "__".join(_ILLEGAL.sub("_", segment) for segment in segments)


def _with_digest(key: str, plain: str, taken: set[str]) -> str:
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    for length in range(8, WIRE_LIMIT):
        name = f"{plain[: WIRE_LIMIT - length - 1]}_{digest[:length]}"
        if name not in taken:
            return name
    return digest
