"""The storage port: what a store of the registry can do, and the values that pass through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from registry.document import Document
from registry.keys import revision_of

Listener = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Held:
    """A raw value as it is stored; its revision is what a change of it must expect."""

    value: str
    revision: str


@dataclass(frozen=True, slots=True)
class Note:
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

    async def get(self, key: str) -> Held | None:
        """A raw value, or None."""
        ...

    async def put(self, key: str, value: str, expected: str | None, note: Note) -> str:
        """Write a value over the expected revision (None: nothing is there); the new revision.

        Raises RevisionConflict, Owned, KeyReused or RegistryUnavailable.
        """
        ...

    async def delete(self, key: str, expected: str, note: Note) -> None:
        """Remove a value of the expected revision; raises as `put`."""
        ...

    async def replayed(self, note: Note, fingerprint: str) -> bool:
        """Whether this change was made before; raises KeyReused where its key made another one."""
        ...

    async def record(self, note: Note) -> None:
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
