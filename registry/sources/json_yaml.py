"""Documents as text: JSON and YAML become raw values that know the line of each of their parts.

JSON is what `json` takes, without a name twice in one object. YAML is limited to what JSON can say:
one document without tags, anchors and aliases, in which an unquoted scalar is what it is in JSON (a
number, true, false, null), or else a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from registry.authorization import WriterPermissions
from registry.definition import AgentDefinition, Servers
from registry.errors import DocumentErrors, Problem
from registry.fields import Path, casefolded, inner_values, nearest_place, unknown_name
from registry.secrets import shown
from registry.snapshot import Document
from registry.validation import DocumentReader, RawDocument, RawValue, build, normalized

EMPTY = "it is empty"
_LEVELS = 100
_SHORT_LINE = 80  # where a mistake is found without its column
_LONGEST_KEY = 1_000  # YAML looks no further for the colon behind a name
_ROOTS: Mapping[str, tuple[type, str, str]] = {
    "agents": (list, "a list in [ ]", 'write "agents": [{"id": "jack", "name": "Jack"}]'),
    "bindings": (list, "a list in [ ]", 'write "bindings": [{ … }]'),
    "defaultAgentId": (object, "", ""),
    "mcpServers": (dict, "an object in { }", 'write "mcpServers": {"name": {"command": …}}'),
}
"""The top-level parts of a document: what each must be, in words, and the fix."""

# --- whole documents -----------------------------------------------------------------------------


def load_document(text: str, name: str = "agents.json") -> Document:
    """The document of an agents file's text; raises `DocumentErrors` with every mistake in it."""
    return build(read_document(text, name))


def parse_agent(
    text: str, place: str, writer: WriterPermissions, shared: Servers | None = None
) -> AgentDefinition:
    """One agent from pasted JSON; raises `DocumentErrors`."""
    reader = DocumentReader(writer)
    entry = reader.agent(read_value(text, place), shared)
    if entry is None:
        raise DocumentErrors(reader.problems)
    return entry.value


def read_document(text: str, name: str) -> RawDocument:
    """The raw document of an agents file (.yaml and .yml: YAML); raises `DocumentErrors`."""
    whole = read_value(text, name, yaml=name.endswith((".yaml", ".yml")))
    if not isinstance(whole.value, Mapping):
        cure = 'write { "agents": [ … ] }'
        raise DocumentErrors([Problem(whole.place, "it must be an object in { }", cure)])
    problems: list[Problem] = []
    roots = _roots(whole, problems)
    servers = roots.get("mcpServers")
    raw = RawDocument(
        agents=_entries(roots.get("agents")),
        bindings=_entries(roots.get("bindings")),
        default=roots.get("defaultAgentId"),
        servers={name: servers.inner(name) for name in servers.value} if servers else {},
        problems=tuple(problems),
    )
    return normalized(raw)


def read_value(text: str, name: str, *, numbered: bool = True, yaml: bool = False) -> RawValue:
    """One JSON or YAML value, its places `name:line` or just `name`; raises `DocumentErrors`."""
    try:
        value, lines = parse_yaml(text) if yaml else (parse_json(text), None)
    except MalformedText as fault:
        place = f"{name}:{fault.line}" if numbered else name
        message = f"column {fault.column}: {fault.message}"
        if not numbered:
            message = f"line {fault.line}, {message}"
        elif all(len(line) <= _SHORT_LINE for line in text.splitlines()[fault.line - 1 :][:1]):
            message = fault.message
        raise DocumentErrors([Problem(place, message, fault.cure)]) from None
    if not numbered:
        return RawValue.of_place(value, name, name)
    lines_by_path = cache(lambda: lines or lines_of(text))
    return RawValue(value, lambda path: f"{name}:{nearest_place(path, lines_by_path())}", name)


def _roots(whole: RawValue, problems: list[Problem]) -> dict[str, RawValue]:
    """The top-level parts that are what they must be and not null, by their canonical names."""
    known = {casefolded(root): root for root in _ROOTS}
    roots: dict[str, RawValue] = {}
    for name in whole.value:
        part = whole.inner(name)
        root = known.get(casefolded(name))
        if root is None and name != "$schema":
            problems.append(Problem(part.place, *unknown_name(name, _ROOTS)))
        elif root in roots:
            problems.append(Problem(part.place, f"'{root}' is given twice", "keep one of the two"))
        elif root is not None:
            roots[root] = part
    for root, part in [*roots.items()]:
        kind, form, cure = _ROOTS[root]
        if part.value is None or not isinstance(part.value, kind):
            del roots[root]
            if part.value is not None:
                problems.append(Problem(part.place, f"'{root}' must be {form}", cure))
    return roots


def _entries(part: RawValue | None) -> list[RawValue]:
    return [part.inner(index) for index in range(len(part.value))] if part else []


# --- JSON ----------------------------------------------------------------------------------------


class MalformedText(ValueError):
    """A text that cannot be read; `line` and `column` begin at 1."""

    def __init__(self, line: int, column: int, message: str, cure: str) -> None:
        super().__init__(f"line {line}, column {column}: {message}; {cure}")
        self.line = line
        self.column = column
        self.message = message
        self.cure = cure


_NUMBERS_CURE = "write plain numbers of a reasonable size"
_CURES = {
    "Expecting property name enclosed in double quotes": "write every name in double quotes",
    "Illegal trailing comma before end of object": "remove the comma before the closing bracket",
    "Illegal trailing comma before end of array": "remove the comma before the closing bracket",
    "Expecting ',' delimiter": "put a comma between two entries, or close the bracket",
    "Expecting ':' delimiter": "put a colon between the name and its value",
    "Unterminated string starting at": "close the text with a double quote on the same line",
    "Invalid control character at": "write a line break inside a text as \\n",
    "Invalid \\escape": "write a backslash inside a text as \\\\",
    "Invalid \\uXXXX escape": "write four hexadecimal digits after \\u",
    "Extra data": "keep one JSON object in the file and remove what follows it",
}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NOT_YAML = re.compile(
    "[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def parse_json(text: str) -> Any:
    """The value of a JSON text; `MalformedText` also for doubled names, NaN and lone surrogates."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise _syntax_fault(error) from None
    except MalformedText:  # a name occurs twice: where?
        _read_events(_as_yaml(text), once=True)
        raise
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise MalformedText(1, 1, str(error), _NUMBERS_CURE) from None
    _check_value(value, text)
    return value


def lines_of(text: str) -> dict[Path, int]:
    """The line of every value of a valid JSON text, by its path of folded names and indexes."""
    return _read_events(_as_yaml(text))[1]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise _twice(1, next(name for name in names if names.count(name) > 1))
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _check_value(value: Any, text: str) -> None:
    """Raise MalformedText for what nothing can send, or what is nested too deeply."""
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            found = re.search(r"\\u[dD][89a-fA-F]", text)
            line = text.count("\n", 0, found.start() if found else 0) + 1
            cure = "write the character itself, or both halves of the pair"
            raise MalformedText(line, 1, "a surrogate pair is incomplete", cure) from None
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_LEVELS):
        inner = (one for node in level for one in inner_values(node))
        level = [one for one in inner if isinstance(one, dict | list)]
    if level:
        raise _too_deep()


def _too_deep() -> MalformedText:
    return MalformedText(1, 1, "it is nested too deeply", f"nest at most {_LEVELS} levels")


def _twice(line: int, name: str) -> MalformedText:
    message = f"the name {shown(name)} occurs twice in one object"
    return MalformedText(line, 1, message, "keep one of the two")


def _syntax_fault(error: json.JSONDecodeError) -> MalformedText:
    rest = re.search(r"\S", error.doc[error.pos :])
    before = error.doc[: error.pos].rstrip()
    if not error.doc.strip():
        return MalformedText(1, 1, EMPTY, "write at least {}")
    if rest is None or error.msg.startswith("Unterminated string"):
        message, cure = "it ends unexpectedly", "save the whole file: it looks half-written"
        if rest is not None and "\n" in error.doc[error.pos :].rstrip():
            message, cure = "a text is not closed", _CURES["Unterminated string starting at"]
    elif rest[0] in "}]" and before.endswith(","):
        message, cure = f"there is a comma before {rest[0]}", "remove it"
    else:
        message, cure = _misplaced(error, error.doc[error.pos + rest.start() :][:5])
    return MalformedText(error.lineno, error.colno, message, cure)


def _misplaced(error: json.JSONDecodeError, ahead: str) -> tuple[str, str]:
    if ahead.startswith(("//", "/*", "#")):
        return "JSON has no comments", "remove the comment"
    if ahead.startswith("'"):
        return "a text is in single quotes", "use double quotes"
    if ahead.startswith(("True", "False", "None")):
        return "true, false and null are written in lower case", "write true, false or null"
    cure = _CURES.get(error.msg, "write a value here: a text in quotes, a number, true, { } or [ ]")
    message = error.msg.removesuffix(" at")
    return f"{message[0].lower()}{message[1:]}", cure


def _as_yaml(text: str) -> str:
    """JSON as YAML with the same lines, without what YAML reads differently inside of texts."""
    return _STRING.sub(_plain_string, text).replace("\t", " ").replace("\r", " ")


def _plain_string(match: re.Match[str]) -> str:
    string = match[0]
    if len(string) < _LONGEST_KEY and "\\" not in string and not _NOT_YAML.search(string):
        return string
    try:
        content: str = json.loads(string, strict=False)
    except ValueError:  # behind a doubled name nothing was read
        return '""'
    short = content[: _LONGEST_KEY // 7].replace("\\", "\\\\").replace('"', '\\"')

    def escaped(found: re.Match[str]) -> str:  # half a surrogate pair has no form in YAML
        return "\ufffd" if "\ud800" <= found[0] <= "\udfff" else f"\\u{ord(found[0]):04x}"

    return f'"{_NOT_YAML.sub(escaped, short)}"'


# --- YAML ----------------------------------------------------------------------------------------

_PLAIN = {"true": True, "false": False, "null": None, "~": None, "": None}
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*+)(\.\d++)?+([eE][+-]?\d++)?+\Z")


def parse_yaml(text: str) -> tuple[Any, dict[Path, int]]:
    """The value of a YAML text, and the line of each of its parts; raises `MalformedText`."""
    from yaml.reader import Reader

    if found := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise MalformedText(line, 1, "it holds a control character", "remove the character")
    value, lines = _read_events(text, once=True)
    _check_value(value, text)
    return value, lines


@dataclass(slots=True)
class _Open:
    """An object or a list whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None

    def add(self, value: Any) -> Path:
        """Put the next value in; its path."""
        if isinstance(self.value, list):
            self.value.append(value)
            return (*self.path, len(self.value) - 1)
        name, self.key = self.key or "", None
        self.value[name] = value
        return (*self.path, casefolded(name))


def _read_events(text: str, *, once: bool = False) -> tuple[Any, dict[Path, int]]:
    """The value and the lines of a YAML text; with `once` a repeated name is a fault."""
    import yaml

    lines: dict[Path, int] = {}
    found: list[Any] = []
    opened: list[_Open] = []
    for event in _events(text):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.CollectionEndEvent):
            opened.pop()
            continue
        parent = opened[-1] if opened else None
        if parent and isinstance(parent.value, dict) and parent.key is None:
            if not isinstance(event, yaml.ScalarEvent):
                raise MalformedText(line, 1, "a name must be a text", "write name: value")
            if once and event.value in parent.value:
                raise _twice(line, event.value)
            parent.key = event.value
            lines.setdefault((*parent.path, casefolded(event.value)), line)
            continue
        value = _value_of(event, line)
        path = parent.add(value) if parent else ()
        lines.setdefault(path, line)
        if parent is None:
            found.append(value)
        if not isinstance(event, yaml.ScalarEvent):
            opened.append(_Open(value, path))
            if len(opened) > _LEVELS:
                raise _too_deep()
    if len(found) != 1:
        raise MalformedText(1, 1, EMPTY, "write at least {}")
    return found[0], lines


def _events(text: str) -> Iterator[Any]:
    """The nodes of a YAML text as they begin and end; raises MalformedText."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                line = event.start_mark.line + 1
                raise MalformedText(line, 1, "a second document begins", "keep one in the file")
            if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
                yield event
    except yaml.YAMLError as error:
        mark, message = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        if message and "nesting depth" in message:
            raise _too_deep() from None
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        line = min(line, text.count("\n") + 1)  # an end that comes too early has a line of its own
        cure = "indent with spaces, and put texts with ': ' or ' #' into quotes"
        if message and "Unicode character escape" in message:
            cure = "write the character itself: none has this number"
        raise MalformedText(line, column, str(message or "it is not YAML"), cure) from None


def _value_of(event: Any, line: int) -> Any:
    import yaml

    if event.anchor is not None:
        raise MalformedText(line, 1, "anchors and aliases are not supported", "write the value out")
    if event.tag is not None:
        raise MalformedText(line, 1, "tags are not supported", "write the value without its tag")
    if not isinstance(event, yaml.ScalarEvent):
        return {} if isinstance(event, yaml.MappingStartEvent) else []
    if not event.implicit[0]:  # in quotes, or a block of text
        return event.value
    if event.value.lower() in _PLAIN:
        return _PLAIN[event.value.lower()]
    if not (number := _NUMBER.match(event.value)):
        return event.value
    try:
        return float(event.value) if number[1] or number[2] else int(event.value)
    except ValueError as error:
        raise MalformedText(line, 1, str(error), _NUMBERS_CURE) from None
