"""What happens in the world, as events for listeners: the page, a control client, a test."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

_MAX_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is message, edit, delete, draft, typing, reaction, callback, update or call.

    `chat` is the room's key where there is one, `data` the JSON that belongs to the kind.
    """

    kind: str
    data: dict[str, Any]
    chat: str | None = None
    bot: int | None = None


@dataclass(eq=False)
class Listener:
    """An async iterator over the events since it was opened; a slow one loses the oldest."""

    source: Events
    lost: int = 0
    _waiting: deque[Event] = field(default_factory=lambda: deque(maxlen=_MAX_WAITING))
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    def put(self, event: Event) -> None:
        """Queues one event."""
        self.lost += len(self._waiting) == _MAX_WAITING
        self._waiting.append(event)
        self._ready.set()

    def close(self) -> None:
        """Ends the iteration and removes the listener."""
        self._closed = True
        self._ready.set()
        self.source.remove(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
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


class Events:
    """Passes each event to all listeners; costs next to nothing without any."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    @property
    def has_listeners(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def listen(self) -> Listener:
        """A listener for everything from now on; close it, or use it as a context."""
        listener = Listener(self)
        self._listeners.append(listener)
        return listener

    def remove(self, listener: Listener) -> None:
        """Removes a listener, if it is still there."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def emit(
        self, kind: str, data: dict[str, Any], *, chat: str | None = None, bot: int | None = None
    ) -> None:
        """Passes one event to every listener."""
        if self._listeners:
            event = Event(kind, data, chat, bot)
            for listener in self._listeners:
                listener.put(event)

    def close(self) -> None:
        """Ends every listener's iteration."""
        for listener in list(self._listeners):
            listener.close()
