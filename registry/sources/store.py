"""The storage port: what a store of the registry can do, and the values that pass through."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from registry.authorization import WriterPermissions
from registry.binding import AgentBinding
from registry.definition import AgentDefinition
from registry.errors import DocumentErrors, Problem
from registry.keys import BINDING, DEFAULT, DEFINITION, SLUG_RULE, is_slug, revision_of
from registry.secrets import detect_secret, shown
from registry.snapshot import Document, Entry
from registry.validation import RawValue, read_agent, read_binding, read_value

Listener = Callable[[], None]


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A raw value as it is stored; its revision is what a change of it must expect."""

    value: str
    revision: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who changes what: one audit entry. `key` makes a replay of the change harmless.

    `at` is seconds since the epoch, `detail` a sentence without secrets.
    """

    actor: str
    action: str
    target: str
    key: str
    at: float
    detail: str = ""

    def fields(self) -> dict[str, str]:
        """The entry as it is written."""
        return {
            "actor": self.actor,
            "action": self.action,
            "target": self.target,
            "key": self.key,
            "at": f"{self.at:.3f}",
            "detail": self.detail,
        }


class Source(Protocol):
    """A place that agents, bindings and the default agent come from."""

    @property
    def document(self) -> Document:
        """What the store holds now, as far as it is good."""
        ...

    async def open(self) -> None:
        """Read everything once, then follow changes until `close`."""
        ...

    async def close(self) -> None:
        """Stop following."""
        ...

    def owner(self, key: str, /) -> str | None:
        """The place that sets a key which cannot be written here, or None."""
        ...

    async def list(self) -> Document:
        """Everything, read again now."""
        ...

    def watch(self, listener: Listener) -> Callable[[], None]:
        """Call a listener after each change of `document`; the result ends that."""
        ...


class Store(Source, Protocol):
    """A source that can be written.

    Keys are those of `registry.keys`; values are their JSON texts. A write whose note's key was
    seen before with the same fingerprint changes nothing and succeeds.
    """

    async def get(self, key: str) -> StoredValue | None:
        """A raw value, or None."""
        ...

    async def put(self, key: str, value: str, expected: str | None, note: AuditEntry) -> str:
        """Write a value over the expected revision (None: nothing is there); the new revision.

        Raises RevisionConflict, Owned, KeyReused or RegistryUnavailable.
        """
        ...

    async def delete(self, key: str, expected: str, note: AuditEntry) -> None:
        """Remove a value of the expected revision; raises as `put`."""
        ...

    async def replayed(self, note: AuditEntry, fingerprint: str) -> bool:
        """Whether this change was made before; raises KeyReused where its key made another one."""
        ...

    async def record(self, note: AuditEntry) -> None:
        """Write an audit entry alone, once for its key."""
        ...

    async def audit(self, count: int = 100) -> Sequence[Mapping[str, str]]:
        """The newest audit entries, newest first."""
        ...


class Listeners:
    """Who wants to hear of changes; a listener that raises is not heard of by the others."""

    def __init__(self) -> None:
        self._listeners: dict[object, Listener] = {}

    def add(self, listener: Listener) -> Callable[[], None]:
        """Add one; the result removes it."""
        mark = object()
        self._listeners[mark] = listener
        return lambda: self._listeners.pop(mark, None) and None

    def tell(self) -> None:
        """Call them all."""
        for listener in list(self._listeners.values()):
            listener()


def fingerprint(action: str, key: str, value: str = "") -> str:
    """What tells one change from another under the same idempotency key."""
    return revision_of(f"{action}\n{key}\n{value}")


class PendingChanges:
    """What has changed since it was last taken: some of `our` keys, or perhaps all of them."""

    def __init__(self, ours: Callable[[str], bool]) -> None:
        self._ours = ours
        self._keys: set[str] = set()
        self._everything = self._over = False
        self._wake = asyncio.Event()

    def hear(self, keys: tuple[str, ...] | None) -> None:
        """Names of changed keys; None means that any may have changed."""
        self._everything |= keys is None
        self._keys.update(key for key in keys or () if self._ours(key))
        self._wake.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._over = True
        self._wake.set()

    async def come(self) -> bool:
        """Wait for news; False once nothing more comes."""
        await self._wake.wait()
        self._wake.clear()
        return not self._over

    def take(self) -> tuple[bool, list[str]]:
        """Whether everything must be read, and else which keys."""
        found = self._everything, [*self._keys]
        self._everything = False
        self._keys.clear()
        return found


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


class CachedDocuments:
    """What a store of single values holds: `name` is its document, `authority` its writers'."""

    def __init__(self, name: str, authority: WriterPermissions) -> None:
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

    def _part(self, key: str, text: str) -> RawValue:
        part = read_value(text, key, numbered=False)
        if not isinstance(part.value, dict):
            raise DocumentErrors([Problem(key, "its value is no object", "SET one JSON object")])
        return part

    def _default_entry(self, key: str, text: str, revision: str) -> Entry[str]:
        agent_id: Any = text.strip()
        if agent_id.startswith('"'):
            agent_id = read_value(text, key, numbered=False).value
        if not isinstance(agent_id, str) or not is_slug(agent_id) or detect_secret(agent_id):
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
