"""What a store holds: its keys, audit entries, and validated values (the last good ones)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from registry.authorization import WriterPermissions
from registry.binding import AgentBinding
from registry.definition import AgentDefinition
from registry.errors import DocumentErrors, Problem
from registry.fields import SLUG_RULE, is_slug
from registry.secrets import detect_secret, shown
from registry.snapshot import Document, Entry, revision_of
from registry.sources.json_yaml import read_value
from registry.validation import read_agent, read_binding

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


@dataclass(frozen=True, slots=True)
class Unusable:
    """A value that cannot be used whatever it says: what is wrong, and the cure."""

    message: str
    cure: str

    @classmethod
    def too_large(cls, size: int) -> Unusable:
        """A value of more bytes than a value may have."""
        return cls(f"its value has {size} bytes, more than {VALUE_LIMIT}", "make it smaller")

    @classmethod
    def of_type(cls, name: str, key: str) -> Unusable:
        """A key that holds something else than text, as the store names it: `list`, `hash` …."""
        return cls(f"it holds a {name}, not text", f"DEL it, then SET it to {_wanted(key)}")


Stored = bytes | str | Unusable | None
"""What a key holds; None is nothing."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a key holds, read: an entry, or what is wrong; without a revision there is nothing."""

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
    """The documents of a store: `name` says which store, `writer` what its values may contain."""

    def __init__(self, name: str, writer: WriterPermissions) -> None:
        self._name = name
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
        return Document(
            agents=self._in_order(DEFINITION),
            bindings=self._in_order(BINDING),
            default_agent_id=self._entries[DEFAULT].get(DEFAULT),
            problems=(*own, *more),
        )

    def _in_order(self, kind: str) -> Mapping[str, Entry[Any]]:
        if kind not in self._sorted:
            self._sorted[kind] = dict(sorted(self._entries[kind].items()))
        return self._sorted[kind]

    def read(self, values: Mapping[str, Stored]) -> Readings:
        """Read the values that are new. Changes nothing, so that a thread can do it."""
        found: Readings = []
        for key, value in values.items():
            if isinstance(value, bytes | str) and len(value) > VALUE_LIMIT:
                value = Unusable.too_large(len(value))
            if isinstance(value, Unusable):
                revision: str | None = value.message
            else:
                revision = None if value is None else revision_of(value)
            if self._revisions.get(key) != revision:
                found.append(self._reading(key, value, revision))
        return found

    def take(self, readings: Readings) -> bool:
        """Replace what was read; whether there was anything."""
        for reading in readings:
            key = reading.key
            kind = next(kind for kind in self._entries if key.startswith(kind))
            self._problems.pop(key, None)
            if reading.revision is None:
                self._revisions.pop(key, None)
                if self._entries[kind].pop(_name(key, kind), None):
                    self._sorted.pop(kind, None)
                continue
            self._revisions[key] = reading.revision
            if reading.problems:
                self._problems[key] = reading.problems
            if reading.entry is not None:
                self._entries[kind][_name(key, kind)] = reading.entry
                self._sorted.pop(kind, None)
        return bool(readings)

    def _reading(self, key: str, value: Stored, revision: str | None) -> _Reading:
        if value is None or revision is None:
            return _Reading(key, None)
        try:
            problems: list[Problem] = []
            entry = self._entry(key, _text_of(key, value), problems)
            if any(problem.level == "error" for problem in problems):
                raise DocumentErrors(problems)
        except DocumentErrors as errors:
            return _Reading(key, revision, errors.problems)
        entry = replace(entry, document=self._name, origins={}, operator=False, revision=revision)
        return _Reading(key, revision, tuple(problems), entry)

    def _entry(self, key: str, text: str, problems: list[Problem]) -> Entry[Any]:
        """The value of a key; raises DocumentErrors where it has none."""
        if key == DEFAULT:
            return _default(text)
        part = read_value(text, key, numbered=False)
        if not isinstance(part.value, dict):
            message, cure = "its value is not an object", "SET one JSON object"
            raise DocumentErrors([Problem(key, message, cure)])
        found: Entry[AgentDefinition] | Entry[AgentBinding] | None
        expected = ""
        if key.startswith(DEFINITION):
            agent = found = read_agent(part, self._writer, None, problems)
            expected = DEFINITION + agent.value.id if agent else ""
        else:
            binding = found = read_binding(part, self._writer, problems)
            expected = BINDING + binding.value.slot if binding else ""
        if found is None:
            raise DocumentErrors(problems)
        if key != expected:
            message = "its key does not match its value"
            raise DocumentErrors([Problem(key, message, f"SET this value at {expected}")])
        return found


def _name(key: str, kind: str) -> str:
    return key.removeprefix(kind) or key


def _wanted(key: str) -> str:
    return "the id of an agent" if key == DEFAULT else "one JSON object"


def _text_of(key: str, value: bytes | str | Unusable) -> str:
    """The text that a key holds; raises DocumentErrors for anything else."""
    if isinstance(value, Unusable):
        raise DocumentErrors([Problem(key, value.message, value.cure)])
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
