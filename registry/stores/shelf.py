"""Raw values by key, read into a document; of a value that turned bad the last good one stays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from registry.binding import AgentBinding
from registry.building import read_agent, read_binding
from registry.definition import AgentDefinition
from registry.document import Document, Entry
from registry.draft import Part
from registry.errors import DocumentErrors, Problem
from registry.keys import BINDING, DEFAULT, DEFINITION, SLUG_RULE, is_slug, revision_of
from registry.pasted import known_secret, shown
from registry.reading import read_value
from registry.screening import Authority

T = TypeVar("T")
VALUE_LIMIT = 256 * 1024
"""Bytes of one value; a file that an admin sends to a bot may have as many."""


@dataclass(frozen=True, slots=True)
class NoText:
    """What a key holds in the place of a text, as the store names it: `list`, `hash` …."""

    kind: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """A value that was not fetched, for its size in bytes."""

    size: int


Raw = bytes | str | NoText | TooLarge | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one value says: an entry, or what is wrong; nothing is there without a revision."""

    key: str
    revision: str | None
    problems: tuple[Problem, ...] = ()
    entry: Entry[Any] | None = None


class _Kept(Generic[T]):
    """Good entries by name, handed out as a mapping that is made anew only after a change."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry[T]] = {}
        self._view: dict[str, Entry[T]] | None = None

    def put(self, name: str, entry: Entry[T]) -> None:
        self.entries[name] = entry
        self._view = None

    def drop(self, name: str) -> None:
        if self.entries.pop(name, None) is not None:
            self._view = None

    def view(self) -> Mapping[str, Entry[T]]:
        if self._view is None:
            self._view = {name: self.entries[name] for name in sorted(self.entries)}
        return self._view


class Shelf:
    """What a store of single values holds: `name` is its document, `authority` its writers'."""

    def __init__(self, name: str, authority: Authority) -> None:
        self._name = name
        self._authority = authority
        self._agents: _Kept[AgentDefinition] = _Kept()
        self._bindings: _Kept[AgentBinding] = _Kept()
        self._default: Entry[str] | None = None
        self._bad: dict[str, tuple[Problem, ...]] = {}
        self._seen: dict[str, str] = {}

    @property
    def keys(self) -> frozenset[str]:
        """The keys that hold a value, good or bad."""
        return frozenset(self._seen)

    def document(self, *more: Problem) -> Document:
        """Everything that is good, with the problems of what is not."""
        own = tuple(problem for found in self._bad.values() for problem in found)
        return Document(
            agents=self._agents.view(),
            bindings=self._bindings.view(),
            default_agent_id=self._default,
            problems=(*own, *more),
        )

    def apply(self, values: Mapping[str, Raw]) -> bool:
        """Take over raw values by key (None: nothing is there any more); whether that was news."""
        return self.take(self.read(values))

    def read(self, values: Mapping[str, Raw]) -> list[Reading]:
        """Read what is new of some raw values. Changes nothing, so that a thread can do it."""
        found: list[Reading] = []
        for key, value in values.items():
            revision = _revision(value)
            if self._seen.get(key) != revision:
                found.append(self._reading(key, value, revision))
        return found

    def take(self, readings: Iterable[Reading]) -> bool:
        """Take over what was read; whether there was anything."""
        news = False
        for reading in readings:
            news = True
            key = reading.key
            self._bad.pop(key, None)
            if reading.revision is None:
                self._seen.pop(key, None)
                self._drop(key)
                continue
            self._seen[key] = reading.revision
            if reading.problems:
                self._bad[key] = reading.problems
            if reading.entry is not None:
                self._keep(key, reading.entry)
        return news

    def _keep(self, key: str, entry: Entry[Any]) -> None:
        if key.startswith(DEFINITION):
            self._agents.put(entry.value.id, entry)
        elif key.startswith(BINDING):
            self._bindings.put(entry.value.slot, entry)
        elif key == DEFAULT:
            self._default = entry

    def _drop(self, key: str) -> None:
        if key.startswith(DEFINITION):
            self._agents.drop(key.removeprefix(DEFINITION))
        elif key.startswith(BINDING):
            self._bindings.drop(key.removeprefix(BINDING))
        elif key == DEFAULT:
            self._default = None

    def _reading(self, key: str, raw: Raw, revision: str | None) -> Reading:
        if raw is None or revision is None:
            return Reading(key, None)
        if isinstance(raw, NoText):
            value = "the id of an agent" if key == DEFAULT else "one JSON object"
            told, cure = f"it holds a {raw.kind}, not a text", f"DEL it, then SET it to {value}"
            return Reading(key, revision, (Problem(key, told, cure),))
        try:
            if isinstance(raw, bytes | str) and len(raw) > VALUE_LIMIT:
                raw = TooLarge(len(raw))
            if isinstance(raw, TooLarge):
                told = f"its value has {raw.size} bytes, more than {VALUE_LIMIT}"
                raise DocumentErrors([Problem(key, told, "make it smaller")])
            text = raw.decode() if isinstance(raw, bytes) else raw
            return self._read(key, text, revision)
        except UnicodeDecodeError:
            told, cure = "its value is no UTF-8 text", "SET it to one JSON object"
            return Reading(key, revision, (Problem(key, told, cure),))
        except DocumentErrors as errors:
            return Reading(key, revision, errors.problems)

    def _read(self, key: str, text: str, revision: str) -> Reading:
        problems: list[Problem] = []
        entry: Entry[Any] | None = None
        if key.startswith(DEFINITION):
            agent = read_agent(self._part(key, text), self._authority, None, problems)
            _stop_at(problems)
            if agent:
                _same(key, DEFINITION + agent.value.id)
                entry = self._revised(agent, revision)
        elif key.startswith(BINDING):
            binding = read_binding(self._part(key, text), self._authority, problems)
            _stop_at(problems)
            if binding:
                _same(key, BINDING + binding.value.slot)
                entry = self._revised(binding, revision)
        elif key == DEFAULT:
            entry = self._default_entry(key, text, revision)
        return Reading(key, revision, tuple(problems), entry)

    def _part(self, key: str, text: str) -> Part:
        part = read_value(text, key, numbered=False)
        if not isinstance(part.value, dict):
            raise DocumentErrors([Problem(key, "its value is no object", "SET one JSON object")])
        return part

    def _default_entry(self, key: str, text: str, revision: str) -> Entry[str]:
        agent_id: Any = text.strip()
        if agent_id.startswith('"'):
            agent_id = read_value(text, key, numbered=False).value
        if not isinstance(agent_id, str) or not is_slug(agent_id) or known_secret(agent_id):
            told = f"{shown(agent_id)} is no id ({SLUG_RULE})"
            raise DocumentErrors([Problem(key, told, "SET it to the id of an agent")])
        return self._revised(Entry(agent_id, self._name, key, operator=False), revision)

    def _revised(self, entry: Entry[T], revision: str) -> Entry[T]:
        return Entry(entry.value, self._name, entry.place, operator=False, revision=revision)


def _revision(raw: Raw) -> str | None:
    """The revision of a value; one that is too large is known by its size."""
    if isinstance(raw, NoText):
        return f"no text but a {raw.kind}"
    if isinstance(raw, bytes | str):
        return revision_of(raw) if len(raw) <= VALUE_LIMIT else f"{len(raw)} bytes"
    return None if raw is None else f"{raw.size} bytes"


def _stop_at(problems: list[Problem]) -> None:
    if any(problem.level == "error" for problem in problems):
        raise DocumentErrors(problems)


def _same(key: str, expected: str) -> None:
    if key != expected:
        told = "its key and its value do not belong together"
        raise DocumentErrors([Problem(key, told, f"SET this value at {expected}")])


def default_text(agent_id: str) -> str:
    """The default agent's id as it is stored."""
    return json.dumps(agent_id)
