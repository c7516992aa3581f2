"""Everything that happens, told to whoever listens: the page, a control client, a test."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

_BACKLOG = 10_000


@dataclass(frozen=True, slots=True)
class Happening:
    """`kind` is message, edit, delete, draft, typing, reaction, callback, update or call.

    `chat` is the room's key where there is one, `data` the JSON that belongs to the kind.
    """

    kind: str
    data: dict[str, Any]
    chat: str | None = None
    bot: int | None = None


@dataclass(eq=False)
class Listener:
    """An async iterator of happenings since it was opened; a slow one loses the oldest."""

    of: Happenings
    lost: int = 0
    _waiting: deque[Happening] = field(default_factory=lambda: deque(maxlen=_BACKLOG))
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    def put(self, happening: Happening) -> None:
        """Queues one happening."""
        self.lost += len(self._waiting) == _BACKLOG
        self._waiting.append(happening)
        self._ready.set()

    def close(self) -> None:
        """Ends the iteration and forgets the listener."""
        self._closed = True
        self._ready.set()
        self.of.forget(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Happening:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._waiting.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Happenings:
    """The one place where all listeners are known; costs next to nothing without any."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def listen(self) -> Listener:
        """A listener that hears everything from now on; close it, or use it as a context."""
        listener = Listener(self)
        self._listeners.append(listener)
        return listener

    def forget(self, listener: Listener) -> None:
        """Takes a listener off the list."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def tell(
        self, kind: str, data: dict[str, Any], *, chat: str | None = None, bot: int | None = None
    ) -> None:
        """Tells every listener."""
        if self._listeners:
            happening = Happening(kind, data, chat, bot)
            for listener in self._listeners:
                listener.put(happening)

    def close(self) -> None:
        """Ends every listener's iteration."""
        for listener in list(self._listeners):
            listener.close()
