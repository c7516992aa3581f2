"""A store in memory: for tests, and for a host that keeps nothing but its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from registry.authorization import WriterPermissions
from registry.errors import KeyReused, RevisionConflict
from registry.keys import revision_of
from registry.snapshot import Document
from registry.sources.store import (
    AuditEntry,
    CachedDocuments,
    Listener,
    Listeners,
    StoredValue,
    fingerprint,
)

_GUEST = WriterPermissions(operator=False)


class MemoryStore:
    """The storage port over a dictionary; everything is gone with the process."""

    def __init__(self, authority: WriterPermissions = _GUEST, name: str = "memory") -> None:
        self._values: dict[str, str] = {}
        self._replays: dict[str, str] = {}
        self._audit: list[Mapping[str, str]] = []
        self._shelf = CachedDocuments(name, authority)
        self._listeners = Listeners()
        self.document = Document()

    async def open(self) -> None:
        """Nothing to read."""

    async def close(self) -> None:
        """Nothing to stop."""

    def owner(self, _key: str) -> str | None:
        """Every key can be written."""
        return None

    async def get(self, key: str) -> StoredValue | None:
        """A raw value, or None."""
        value = self._values.get(key)
        return None if value is None else StoredValue(value, revision_of(value))

    async def list(self) -> Document:
        """What is there."""
        return self.document

    async def put(self, key: str, value: str, expected: str | None, note: AuditEntry) -> str:
        """Write over an expected revision; see the port."""
        self._write(key, value, expected, note)
        return revision_of(value)

    async def delete(self, key: str, expected: str, note: AuditEntry) -> None:
        """Remove a value of an expected revision; see the port."""
        self._write(key, None, expected, note)

    async def replayed(self, note: AuditEntry, fingerprint: str) -> bool:
        """Whether this change was made before."""
        made = self._replays.get(note.key)
        if made is not None and made != fingerprint:
            raise KeyReused(f"the key of this {note.action} made another change before")
        return made is not None

    async def record(self, note: AuditEntry) -> None:
        """Write an audit entry alone, once for its key."""
        if note.key not in self._replays:
            self._replays[note.key] = fingerprint(note.action, note.target)
            self._audit.append(note.fields())

    async def audit(self, count: int = 100) -> Sequence[Mapping[str, str]]:
        """The newest audit entries, newest first."""
        return self._audit[::-1][:count]

    def watch(self, listener: Listener) -> Callable[[], None]:
        """Call a listener after each change; the result ends that."""
        return self._listeners.add(listener)

    def set_raw(self, key: str, value: str | None) -> None:
        """A value written by hand, past every check; None removes it."""
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value
        self._shelf.apply({key: value})
        self.document = self._shelf.document()
        self._listeners.tell()

    def _write(self, key: str, value: str | None, expected: str | None, note: AuditEntry) -> None:
        mark = fingerprint(note.action, key, value or "")
        made = self._replays.get(note.key)
        if made is not None:
            if made != mark:
                raise KeyReused(f"the key of this {note.action} made another change before")
            return
        there = self._values.get(key)
        if (None if there is None else revision_of(there)) != expected:
            raise RevisionConflict(f"{note.target} was changed by somebody else meanwhile")
        self._replays[note.key] = mark
        self._audit.append(note.fields())
        self.set_raw(key, value)
