"""What a store holds: its keys, audit entries, and validated values (the last good ones)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from registry.authorization import WriterPermissions
from registry.errors import DocumentErrors, Problem
from registry.fields import SLUG_RULE, is_slug
from registry.secrets import detect_secret, shown
from registry.snapshot import Document, Entry, revision_of
from registry.sources.json_yaml import read_value
from registry.validation import DocumentReader

SOURCE = "redis"
PREFIX = "agent:"
DEFINITION = "agent:definition:"
"""Before an agent's id: the key of its definition."""
BINDING = "agent:binding:"
"""Before a binding's slot: its key."""
DEFAULT = "agent:default"
AUDIT = "agent:audit"
REPLAY = "agent:replay:"
"""Before an idempotency key: where a change is remembered by it."""

VALUE_LIMIT = 256 * 1024
"""Bytes of one value; a file that an admin sends to a bot may have as many."""


def too_large(key: str, size: int) -> Problem:
    """A value with too many bytes."""
    return Problem(key, f"its value has {size} bytes, more than {VALUE_LIMIT}", "make it smaller")


def not_text(key: str, kind: str) -> Problem:
    """A key that does not hold text but, as the store names it, a `list`, `hash` …."""
    cure = f"delete it with DEL, then SET it to {_wanted(key)}"
    return Problem(key, f"it holds a {kind}, not text", cure)


Stored = bytes | str | Problem | None
"""What a key holds: nothing, a value, or why it cannot be read at all."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a key holds, once read: an entry, or what is wrong; no revision if the key is empty."""

    key: str
    revision: str | None
    problems: tuple[Problem, ...] = ()
    entry: Entry[Any] | None = None


Readings = list[_Reading]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who changes what. `key` is the change's idempotency key: a replay changes nothing.

    `at` is in seconds since the epoch, `detail` a sentence without secrets.
    """

    actor: str
    action: str
    target: str
    key: str
    at: float
    detail: str = ""

    def fields(self) -> dict[str, str]:
        """The entry as it is written."""
        return {**asdict(self), "at": f"{self.at:.3f}"}


def fingerprint(action: str, key: str, value: str = "") -> str:
    """What tells one change from another under the same idempotency key."""
    return revision_of(f"{action}\n{key}\n{value}")


class CachedDocuments:
    """The documents of a store; `writer` says what its values may contain."""

    def __init__(self, writer: WriterPermissions) -> None:
        self._writer = writer
        self._entries: dict[str, dict[str, Entry[Any]]] = {DEFINITION: {}, BINDING: {}, DEFAULT: {}}
        self._sorted: dict[str, dict[str, Entry[Any]]] = {}
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._revisions: dict[str, str] = {}

    @property
    def keys(self) -> frozenset[str]:
        """The keys that hold a value, good or bad."""
        return frozenset(self._revisions)

    def document(self, *more: Problem) -> Document:
        """Everything that is good, with the problems of what is not.

        Agents and bindings are the same mappings until one of them changes.
        """
        own = tuple(problem for found in self._problems.values() for problem in found)
        default = self._entries[DEFAULT].get(DEFAULT)
        agents, bindings = self._in_order(DEFINITION), self._in_order(BINDING)
        return Document(agents, bindings, default, problems=(*own, *more))

    def _in_order(self, kind: str) -> Mapping[str, Entry[Any]]:
        if kind not in self._sorted:
            self._sorted[kind] = dict(sorted(self._entries[kind].items()))
        return self._sorted[kind]

    def read(self, values: Mapping[str, Stored]) -> Readings:
        """Read the values that are new. Changes nothing, so that a thread can do it."""
        found: Readings = []
        for key, value in values.items():
            if isinstance(value, bytes | str) and len(value) > VALUE_LIMIT:
                value = too_large(key, len(value))
            revision = None
            if value is not None:
                revision = value.message if isinstance(value, Problem) else revision_of(value)
            if self._revisions.get(key) != revision:
                found.append(self._reading(key, value, revision))
        return found

    def take(self, readings: Readings) -> bool:
        """Put values that were read in force; whether there were any."""
        for reading in readings:
            key = reading.key
            kind = next(kind for kind in self._entries if key.startswith(kind))
            name = key.removeprefix(kind) or key
            self._problems.pop(key, None)
            if reading.revision is None:
                self._revisions.pop(key, None)
                if self._entries[kind].pop(name, None):
                    self._sorted.pop(kind, None)
                continue
            self._revisions[key] = reading.revision
            if reading.problems:
                self._problems[key] = reading.problems
            if reading.entry is not None:
                self._entries[kind][name] = reading.entry
                self._sorted.pop(kind, None)
        return bool(readings)

    def _reading(self, key: str, value: Stored, revision: str | None) -> _Reading:
        if value is None or revision is None:
            return _Reading(key, None)
        reader = DocumentReader(self._writer)
        try:
            entry = self._entry(key, _text_of(key, value), reader)
        except DocumentErrors as errors:
            return _Reading(key, revision, errors.problems)
        entry = replace(entry, document=SOURCE, origins={}, operator=False, revision=revision)
        return _Reading(key, revision, tuple(reader.problems), entry)

    def _entry(self, key: str, text: str, reader: DocumentReader) -> Entry[Any]:
        """The value of a key; raises DocumentErrors where it has none."""
        if key == DEFAULT:
            return _default(text)
        part = read_value(text, key, numbered=False)
        if not isinstance(part.value, dict):
            message, cure = "its value is not an object", "SET one JSON object"
            raise DocumentErrors([Problem(key, message, cure)])
        entry: Entry[Any] | None
        if key.startswith(DEFINITION):
            entry = reader.agent(part, None)
            own = DEFINITION + entry.value.id if entry else ""
        else:
            entry = reader.binding(part)
            own = BINDING + entry.value.slot if entry else ""
        if entry is None:
            raise DocumentErrors(reader.problems)
        if key != own:
            message = "its key does not match its value"
            raise DocumentErrors([Problem(key, message, f"SET this value at {own}")])
        return entry


def _wanted(key: str) -> str:
    return "the id of an agent" if key == DEFAULT else "one JSON object"


def _text_of(key: str, value: bytes | str | Problem) -> str:
    """The text that a key holds; raises DocumentErrors for anything else."""
    if isinstance(value, Problem):
        raise DocumentErrors([value])
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        message, cure = "its value is not UTF-8 text", f"SET it to {_wanted(key)}"
        raise DocumentErrors([Problem(key, message, cure)]) from None


def _default(text: str) -> Entry[str]:
    agent_id: Any = text.strip()
    if agent_id.startswith('"'):
        agent_id = read_value(text, DEFAULT, numbered=False).value
    if not isinstance(agent_id, str) or not is_slug(agent_id) or detect_secret(agent_id):
        message = f"{shown(agent_id)} is not a valid id ({SLUG_RULE})"
        raise DocumentErrors([Problem(DEFAULT, message, "SET it to the id of an agent")])
    return Entry(agent_id, "", DEFAULT)
