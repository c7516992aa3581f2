"""The operator's document over what is kept at run time: file and environment win."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from registry.errors import Owned, Problem, RegistryError
from registry.snapshot import Document, Entry
from registry.sources.store import AuditEntry, Listener, Listeners, Source, Store, StoredValue

T = TypeVar("T")


class CompositeStore:
    """Two stores as one; what `above` has is refused to be written, and hides what is `below`."""

    def __init__(self, above: Source, below: Store) -> None:
        self._above = above
        self._below = below
        self._listeners = Listeners()
        self._unwatch: list[Callable[[], None]] = []
        self.document = Document()

    async def open(self) -> None:
        """Open both, then follow both."""
        await self._above.open()
        try:
            await self._below.open()
        except RegistryError:
            await self._above.close()
            raise
        self._unwatch = [store.watch(self._changed) for store in (self._above, self._below)]
        self.document = joined(self._above.document, self._below.document)

    async def close(self) -> None:
        """Stop following."""
        for unwatch in self._unwatch:
            unwatch()
        self._unwatch = []
        await self._below.close()
        await self._above.close()

    def owner(self, key: str) -> str | None:
        """The place above that a key is set at, or None where it can be written."""
        return self._above.owner(key)

    async def get(self, key: str) -> StoredValue | None:
        """A raw value of what can be written, or None."""
        return await self._below.get(key)

    async def list(self) -> Document:
        """Everything, read again now."""
        await self._above.list()
        await self._below.list()
        self._changed()
        return self.document

    async def put(self, key: str, value: str, expected: str | None, note: AuditEntry) -> str:
        """Write below, unless it is owned above."""
        self._refuse_owned(key, note)
        return await self._below.put(key, value, expected, note)

    async def delete(self, key: str, expected: str, note: AuditEntry) -> None:
        """Remove below, unless it is owned above."""
        self._refuse_owned(key, note)
        await self._below.delete(key, expected, note)

    async def replayed(self, note: AuditEntry, fingerprint: str) -> bool:
        """Whether this change was made before."""
        return await self._below.replayed(note, fingerprint)

    async def record(self, note: AuditEntry) -> None:
        """Write an audit entry alone."""
        await self._below.record(note)

    async def audit(self, count: int = 100) -> Sequence[Mapping[str, str]]:
        """The newest audit entries, newest first."""
        return await self._below.audit(count)

    def watch(self, listener: Listener) -> Callable[[], None]:
        """Call a listener after each change; the result ends that."""
        return self._listeners.add(listener)

    def _refuse_owned(self, key: str, note: AuditEntry) -> None:
        if place := self._above.owner(key):
            raise Owned(note.target, place)

    def _changed(self) -> None:
        self.document = joined(self._above.document, self._below.document)
        self._listeners.tell()


def joined(above: Document, below: Document) -> Document:
    """Two documents as one; `above` wins and the rest of `below` stays."""
    hidden: list[Problem] = []
    default = above.default_agent_id or below.default_agent_id
    if above.default_agent_id and below.default_agent_id:
        hidden.append(_hidden(below.default_agent_id, above.default_agent_id))
    return Document(
        agents=_over(above.agents, below.agents, hidden),
        bindings=_over(above.bindings, below.bindings, hidden),
        default_agent_id=default,
        mcp_servers=_over(above.mcp_servers, below.mcp_servers, hidden),
        problems=(*above.problems, *below.problems, *hidden),
    )


def _over(
    above: Mapping[str, Entry[T]], below: Mapping[str, Entry[T]], hidden: list[Problem]
) -> Mapping[str, Entry[T]]:
    if not above or not below:
        return above or below
    hidden += [_hidden(below[name], above[name]) for name in above if name in below]
    return {**above, **{name: entry for name, entry in below.items() if name not in above}}


def _hidden(below: Entry[T], above: Entry[T]) -> Problem:
    told = f"it is hidden by {above.place}, which wins"
    return Problem(below.place, told, "remove one of the two", level="warning")
