"""A tool as a server offers it, made safe to be shown to a model, and its name on the wire."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from bot.ops.redaction import Secrets
from bot.safety.text_safety import is_printable, printable
from registry.asked_credentials import WithoutCredentials, resolved, without_credentials
from registry.errors import InvalidValue
from registry.tool_schema import fault, usable

if TYPE_CHECKING:
    from mcp import types

DESCRIPTION_LIMIT = 8_000
NAME_LIMIT = 512
SCHEMA_LIMIT = 64_000
TOOLS_LIMIT = 1_000
NOTES_LIMIT = 100
WIRE_LIMIT = 64
CHECK_SECONDS = 1.0
"""How long the schemas of a list are searched for what cannot be checked."""

_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")
_PROPERTY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NOT_IN_PROPERTY = re.compile(r"[^A-Za-z0-9_.-]+")
_PROPERTY_LIMIT = 64
_VARIANTS = 50
_BY_NAME = ("properties", "dependentSchemas", "dependentRequired")
_SAME_VALUE = ("if", "then", "else", "not")
_FOR_READERS = frozenset({"description", "title", "$comment"})
_FIELDS_NAMED = 5
_CURE = "give it to the server in env or headers, or name the tool in allowCredentials"
_JOINERS = frozenset("\u200c\u200d")
_ROOT_COMBINATORS = frozenset({"oneOf", "anyOf", "allOf"})


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of one server: `server` is our name of it, `name` the server's own of the tool.

    `read_only` and `idempotent` are the server's hints, false where it gives none. `renamed` has
    the server's own names of the parameters whose names models do not take, by their names in the
    schema. `digest` covers name, description, schema and those. `enforced`, if there is one, is
    what a call is checked by instead of the schema: it also refuses fields that are left out.
    """

    server: str
    name: str
    description: str
    input_schema: dict[str, Any] = field(hash=False)
    read_only: bool = False
    idempotent: bool = False
    digest: str = ""
    renamed: dict[str, str] = field(default_factory=dict, hash=False)
    enforced: dict[str, Any] | None = field(default=None, hash=False)

    @property
    def key(self) -> str:
        """`mcp:<server>:<name>`, by which policy knows it."""
        return f"mcp:{self.server}:{self.name}"

    @property
    def checked_by(self) -> dict[str, Any]:
        """The schema by which a call is checked."""
        return self.input_schema if self.enforced is None else self.enforced

    def as_shown(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The server's own arguments under the names that the schema has for them."""
        names = {own: name for name, own in self.renamed.items()}
        return {names.get(name, name): value for name, value in arguments.items()}


def left_out(name: str, why: str) -> str:
    """The note on a tool that is left out."""
    return f"tool {printable(name[: 2 * NAME_LIMIT])[:80]!r} is left out: {why}"


def tool_named(name: str, tools: Iterable[Tool]) -> Tool | None:
    """The tool of this name, as its server names it."""
    return next((tool for tool in tools if tool.name == name), None)


class ToolFilter:
    """Takes the usable tools out of a list that comes in pages; `notes` say what is left out.

    Secrets are taken out of what models read; where a call would need one, the tool is left out.
    So is one that cannot be called without asking the model for a credential, and so are fields
    that may be given one, unless one of the globs `asking` matches the tool.
    """

    def __init__(self, secrets: Secrets, asking: Iterable[str] = ()) -> None:
        self._secrets = secrets
        self._asking = tuple(asking)
        self._tools: dict[str, Tool] = {}
        self._seconds = 0.0
        self.notes: list[str] = []
        self.is_full = False

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The usable tools so far, sorted by name."""
        return tuple(self._tools[name] for name in sorted(self._tools))

    def add(self, page: Iterable[types.Tool]) -> None:
        """Add the tools of a page; made to run in a thread, as it may take a while."""
        for raw in page:
            if len(self._tools) >= TOOLS_LIMIT:
                self._note(f"more than {TOOLS_LIMIT} tools: the others are left out")
                self.is_full = True
                return
            name = self._secrets.redact(raw.name[: 2 * NAME_LIMIT])
            if raw.name in self._tools:
                self._note(f"tool {printable(name)[:80]!r} is listed twice: the first stays")
            elif reason := _refusal(raw):
                self._note(left_out(name, reason))
            else:
                self._add(raw, name)

    def _add(self, raw: types.Tool, name: str) -> None:
        try:
            asked = self._without_credentials(raw)
        except InvalidValue as wrong:
            return self._note(left_out(name, f"its input schema {wrong.message}"))
        if asked.needed is not None:
            why = f"it asks the model for a credential, {self._shown(asked.needed)}; {_CURE}"
            return self._note(left_out(name, why))
        try:
            tool = _tool(raw, self._secrets, asked)
        except RecursionError:
            return self._note(left_out(name, "its input schema is nested too deeply"))
        needed = [tool.name, tool.input_schema, tool.renamed]
        if self._secrets.found_in(json.dumps(needed, ensure_ascii=False)):
            return self._note(left_out(name, "its name or its input schema has a secret"))
        reason = self._unchecked(tool)
        if asked.fields and self._seconds >= CHECK_SECONDS:
            reason = reason or "its schema takes too long to check"
        listed = ", ".join(map(self._shown, asked.fields[:_FIELDS_NAMED]))
        if (more := len(asked.fields) - _FIELDS_NAMED) > 0:
            listed += f" and {more} more"
        if asked.fields and reason:
            # Nothing would keep a call from setting the field that the model is not shown.
            why = f"it accepts a credential, {listed}, and {reason}; {_CURE}"
            return self._note(left_out(name, why))
        self._tools[raw.name] = tool
        shown = f"tool {printable(name)[:80]!r}"
        if asked.fields:
            kind = "which is a credential" if len(asked.fields) == 1 else "which are credentials"
            self._note(f"{shown} is offered without {listed}, {kind}; {_CURE}")
        if reason:
            self._note(f"the input of {shown} is not checked: {reason}")
        return None

    def _shown(self, field_name: str) -> str:
        return repr(printable(self._secrets.redact(field_name))[:80])

    def _without_credentials(self, raw: types.Tool) -> WithoutCredentials:
        if any(fnmatchcase(raw.name, glob) for glob in self._asking):
            return WithoutCredentials(raw.input_schema, raw.input_schema)
        return without_credentials(raw.input_schema)

    def _unchecked(self, tool: Tool) -> str | None:
        """Why calls of a tool cannot be checked against its schema, where that is known in time."""
        if self._seconds >= CHECK_SECONDS:
            return None
        began = time.monotonic()
        try:
            usable(tool.checked_by)
        except InvalidValue as wrong:
            return f"its schema {wrong.message}"
        finally:
            self._seconds += time.monotonic() - began
        return None

    def _note(self, text: str) -> None:
        if len(self.notes) < NOTES_LIMIT:
            self.notes.append(text)


def _refusal(raw: types.Tool) -> str | None:
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
    if not isinstance(schema.get("properties", {}), Mapping):
        return "its input schema has `properties` that are not an object"
    if wrong := next(filter(None, map(wrong_type, _referred(schema))), None):
        return wrong
    schema = _inlined(schema)
    if (elsewhere := schema.get("$ref")) is not None:
        return f"its input schema is in another document, {printable(str(elsewhere)[:80])!r}"
    properties = _as_object(schema).get("properties") or {}
    if bad := next((p for p in properties if not _PROPERTY_NAME.fullmatch(p)), None):
        shown = printable(bad[:80])
        if not shown.strip():
            return "a parameter has no name"
        if _refers_to_properties(schema):
            return (
                f"its parameter {shown!r} has a name that models do not accept, and its schema "
                "refers to parameters, so none can be renamed"
            )
    return _fault(schema)


def _fault(schema: Mapping[str, Any]) -> str | None:
    if (place := _hidden_text(schema)) is not None:
        return f"its input schema has hidden characters in {printable(place[:80])!r}"
    if (found := fault(schema) or fault(_as_object(schema))) is not None:
        return f"its input schema is not a JSON Schema, at {printable(found[1][:80])}"
    return None


def wrong_type(schema: Any) -> str | None:
    """Why no input of a tool could fit a schema, by its `type` alone; None if some could."""
    if not isinstance(schema, Mapping):
        return "its input schema is not an object in { }"
    kind = schema.get("type", "object")
    if kind == "object" or (isinstance(kind, list) and "object" in kind):
        return None
    shown = printable(json.dumps(kind, ensure_ascii=False)[:80])
    return f'its input schema has "type": {shown}, though the input of a tool is an "object"'


def _hidden_text(schema: Mapping[str, Any]) -> str | None:
    """The keyword or name with invisible characters that cannot be stripped: calls need them."""
    pending: list[tuple[str, Any]] = [("", schema)]
    while pending:
        place, value = pending.pop()
        if isinstance(value, Mapping):
            if hiding := next((name for name in value if _hides(name)), None):
                return str(hiding)
            pending += [
                (name, item)
                for name, item in value.items()
                if name not in _FOR_READERS or isinstance(item, Mapping | list | tuple)
            ]
        elif isinstance(value, list | tuple):
            pending += [(place, item) for item in value]
        elif isinstance(value, str) and _hides(value):
            return place
    return None


def _hides(text: str) -> bool:
    # Joiners belong to words of some scripts, and to many emoji.
    return any(not is_printable(char) and char not in _JOINERS for char in text)


def _refers_to_properties(schema: Any) -> bool:
    """Whether a part of a schema is referred to by a parameter's name."""
    pending = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            if str(value.get("$ref", "")).startswith("#/properties/"):
                return True
            pending += value.values()
        elif isinstance(value, list | tuple):
            pending += value
    return False


def _new_names(properties: Iterable[str]) -> dict[str, str]:
    """A name that models accept for each parameter with one that they do not; always the same."""
    names = {name: name for name in properties if _PROPERTY_NAME.fullmatch(name)}
    taken, new = set(names), dict[str, str]()
    for name in properties:
        if name in names:
            continue
        plain = _NOT_IN_PROPERTY.sub("_", name).strip("_") or "parameter"
        if plain in taken or len(plain) > _PROPERTY_LIMIT:
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            plain = f"{plain[: _PROPERTY_LIMIT - 9]}_{digest}"
        taken.add(plain)
        new[name] = plain
    return new


def _with_new_names(schema: Mapping[str, Any], new: Mapping[str, str]) -> dict[str, Any]:
    """A schema of the arguments with other names of parameters, wherever it names them."""
    renamed = dict(schema)
    for keyword in _BY_NAME:
        if isinstance(named := renamed.get(keyword), Mapping):
            renamed[keyword] = {new.get(name, name): value for name, value in named.items()}
    required, lists = renamed.get("required"), renamed.get("dependentRequired")
    if isinstance(required, list):
        renamed["required"] = [new.get(name, name) for name in required]
    if isinstance(lists, Mapping):
        renamed["dependentRequired"] = {
            name: [new.get(one, one) for one in needed] if isinstance(needed, list) else needed
            for name, needed in lists.items()
        }
    for keyword in _SAME_VALUE:
        if isinstance(inner := renamed.get(keyword), Mapping):
            renamed[keyword] = _with_new_names(inner, new)
    for keyword in _ROOT_COMBINATORS & renamed.keys():
        if isinstance(parts := renamed[keyword], list):
            renamed[keyword] = [
                _with_new_names(part, new) if isinstance(part, Mapping) else part for part in parts
            ]
    if isinstance(by_name := renamed.get("dependentSchemas"), Mapping):
        renamed["dependentSchemas"] = {
            name: _with_new_names(one, new) if isinstance(one, Mapping) else one
            for name, one in by_name.items()
        }
    return renamed


def _explained(schema: dict[str, Any], new: Mapping[str, str]) -> None:
    """Tell models the server's own names: other texts about the tool may use them."""
    for own, name in new.items():
        if isinstance(one := schema["properties"][name], Mapping):
            words = str(one.get("description") or "")
            schema["properties"][name] = {**one, "description": f"({own}) {words}".strip()}


def _tool(raw: types.Tool, secrets: Secrets, asked: WithoutCredentials) -> Tool:
    description = _readable(raw.description or "", secrets)
    schema = _as_object(asked.shown)
    if new := _new_names(schema.get("properties") or {}):
        schema = _with_new_names(schema, new)
        _explained(schema, new)
    schema = {key: _readable_value(key, value, secrets) for key, value in schema.items()}
    enforced = _with_new_names(_as_object(asked.enforced), new) if asked.fields else None
    renamed = {name: own for own, name in new.items()}
    told = [raw.name, description, schema, *([renamed] if renamed else [])]
    content = json.dumps(told, sort_keys=True)
    hints = raw.annotations
    return Tool(
        server="",
        name=raw.name,
        description=description,
        input_schema=schema,
        read_only=hints is not None and hints.read_only_hint is True,
        idempotent=hints is not None and hints.idempotent_hint is True,
        digest=hashlib.sha256(content.encode()).hexdigest(),
        renamed=renamed,
        enforced=enforced,
    )


def _as_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    # The Messages API refuses a whole request for a root that is not a plain object.
    schema = _inlined(schema)
    plain = {key: value for key, value in schema.items() if key not in _ROOT_COMBINATORS}
    properties = _all_properties(schema)
    return plain | ({"properties": properties} if properties else {}) | {"type": "object"}


def _referred(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema, the one in it that it refers to, and so on."""
    found: Mapping[str, Any] | None = schema
    seen = set[Any]()
    while found is not None:
        yield found
        place = found.get("$ref")
        found = resolved(place, schema) if isinstance(place, str) and place not in seen else None
        seen.add(place)


def _inlined(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with the one that it refers to, if that is in it, in place of the reference."""
    found, *others = _referred(schema)
    for target in others:
        found = {**target, **{key: one for key, one in found.items() if key != "$ref"}}
    return found


def _all_properties(root: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a schema, and those that only a part of it names, as of a `oneOf`."""
    own = root.get("properties")
    properties: dict[str, Any] = dict(own) if isinstance(own, Mapping) else {}
    found: dict[str, list[Any]] = {}
    pending, seen = _parts_of(root), set[int]()
    while pending:
        part = pending.pop(0)
        if not isinstance(part, Mapping) or id(part) in seen:
            continue
        seen.add(id(part))
        named = part.get("properties")
        for name, one in named.items() if isinstance(named, Mapping) else ():
            ones = found.setdefault(name, [])
            if len(ones) <= _VARIANTS and one not in ones:
                ones.append(one)
        pending += _parts_of(part)
        pending.append(resolved(str(part.get("$ref", "")), root))
    for name, ones in found.items():
        either = {"anyOf": ones} if len(ones) <= _VARIANTS else {}
        properties.setdefault(name, ones[0] if len(ones) == 1 else either)
    return properties


def _parts_of(schema: Mapping[str, Any]) -> list[Any]:
    """The schemas in one that are about the same value."""
    parts = [schema.get(keyword) for keyword in _SAME_VALUE if keyword != "not"]
    for keyword in sorted(_ROOT_COMBINATORS):
        parts += one if isinstance(one := schema.get(keyword), list) else []
    by_name = schema.get("dependentSchemas")
    return parts + list(by_name.values() if isinstance(by_name, Mapping) else ())


def _readable_value(key: str, value: Any, secrets: Secrets) -> Any:
    if isinstance(value, dict):
        return {name: _readable_value(name, item, secrets) for name, item in value.items()}
    if isinstance(value, list):
        return [_readable_value("", item, secrets) for item in value]
    if isinstance(value, str) and key in _FOR_READERS:
        return _readable(value, secrets)
    return value


def _readable(text: str, secrets: Secrets) -> str:
    return printable(secrets.redact(text[: 2 * DESCRIPTION_LIMIT]), DESCRIPTION_LIMIT)


def wire_names(keys: Iterable[str]) -> dict[str, str]:
    """The name on the wire of each key, `mcp:<server>:<tool>` or `skill:<name>`.

    The same keys give the same names in any order. A name is `server__tool` with illegal characters
    as `_`; where two would be equal, or one is longer than 64 characters, it ends in a digest.
    """
    plain = {key: _plain_name(key) for key in sorted(set(keys))}
    uses = Counter(plain.values())
    wires = {
        key: name for key, name in plain.items() if uses[name] == 1 and len(name) <= WIRE_LIMIT
    }
    taken = set(wires.values())
    for key in plain:
        if key not in wires:
            wires[key] = _name_with_digest(key, plain[key], taken)
            taken.add(wires[key])
    return wires


def _plain_name(key: str) -> str:
    parts = key.split(":", 2)
    segments = parts[1:] if parts[0] == "mcp" and len(parts) == 3 else parts
    return "__".join(_ILLEGAL.sub("_", segment) for segment in segments)


def _name_with_digest(key: str, plain: str, taken: set[str]) -> str:
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    for length in range(8, WIRE_LIMIT):
        name = f"{plain[: WIRE_LIMIT - length - 1]}_{digest[:length]}"
        if name not in taken:
            return name
    return digest
