"""Readers of event streams: from what this host appends itself, or else by looking into the store.

One task of the host looks for all readers: often where another host writes a stream, seldom where
this one does, whose appends are told at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import structlog

from bot.errors import StoreError
from bot.store.events import ENDS, START, EventLog, StoredEvent

log = structlog.get_logger("http.reader")

LOOK_SECONDS = 0.05
LOOK_AT_OWN_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
RETRY_SECONDS = 0.5

Stream = tuple[str, str]
"""A line and a turn."""


def is_later(one: str, other: str) -> bool:
    """Whether an id of an entry comes after another one."""
    return _number(one) > _number(other)


def _number(id: str) -> tuple[int, int]:
    millis, _, count = id.partition("-")
    return int(millis), int(count or 0)


@dataclass(slots=True, repr=False, eq=False)
class _Follower:
    """One reader: the id of the newest event that it has, and events that it has not taken yet."""

    last: str
    waiting: deque[StoredEvent] = field(default_factory=deque)
    missing: bool = True
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, before: str, event: StoredEvent) -> None:
        """An event that follows the entry `before`; where that is not known here, look first."""
        if before == self.last:
            self.waiting.append(event)
            self.last = event.id
        elif is_later(event.id, self.last):
            self.missing = True
        self.wake.set()

    def take_all(self, events: list[StoredEvent]) -> None:
        """Events in order, as the store has them."""
        for event in events:
            if is_later(event.id, self.last):
                self.waiting.append(event)
                self.last = event.id
        self.wake.set()


@dataclass(slots=True, repr=False)
class EventReader:
    """Follows event streams for any number of readers; `is_own` says which lines this host has."""

    events: EventLog
    is_own: Callable[[str], bool]
    _followers: dict[Stream, list[_Follower]] = field(default_factory=dict, init=False)
    _any: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def readers(self) -> int:
        """How many readers there are."""
        return sum(map(len, self._followers.values()))

    async def follow(
        self, line: str, turn: str, after: str = START, *, is_new: bool = False
    ) -> AsyncGenerator[StoredEvent | None, None]:
        """The events after an id, to the last one of the turn; None each time nothing came long.

        Nothing at all where the turn was over with the event `after`, or is not kept any more. Of a
        turn that was only just accepted (`is_new`) the first events are waited for.
        """
        follower, stream = _Follower(after), (line, turn)
        follower.missing = not is_new or after != START or self.events.is_unfollowed(line, turn)
        self._add(stream, follower)
        try:
            if after != START and await self._was_last(line, turn, after):
                return
            while True:
                if follower.missing:
                    follower.missing = False
                    follower.take_all(await self.events.read(line, turn, follower.last))
                while follower.waiting:
                    event = follower.waiting.popleft()
                    yield event
                    if event.kind in ENDS:
                        return
                follower.wake.clear()
                if follower.missing:
                    continue
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await follower.wake.wait()
                except TimeoutError:
                    yield None
        finally:
            self._remove(stream, follower)

    async def is_over(self, line: str, turn: str) -> bool:
        """Whether the last event of a turn is there."""
        last = await self.events.last(line, turn)
        return last is not None and last.kind in ENDS

    async def run(self) -> None:
        """Look for news for all readers, until cancelled."""
        loop = asyncio.get_running_loop()
        own_at = 0.0
        while True:
            await self._any.wait()
            await asyncio.sleep(LOOK_SECONDS)
            also_own = loop.time() >= own_at
            if also_own:
                own_at = loop.time() + LOOK_AT_OWN_SECONDS
            try:
                await self._look(also_own=also_own)
            except StoreError as error:
                log.warning("look.failed", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _look(self, *, also_own: bool) -> None:
        after = {
            stream: min((one.last for one in followers), key=_number)
            for stream, followers in self._followers.items()
            if also_own or not self.is_own(stream[0])
        }
        for stream, events in (await self.events.read_many(after)).items():
            for follower in self._followers.get(stream, ()):
                follower.take_all(events)

    async def _was_last(self, line: str, turn: str, after: str) -> bool:
        """Whether an event that a reader has was the last one, or is not kept any more."""
        event = await self.events.find(line, turn, after)
        return event is None or event.kind in ENDS

    def _add(self, stream: Stream, follower: _Follower) -> None:
        self._followers.setdefault(stream, []).append(follower)
        self.events.followers.setdefault(stream, []).append(follower.take)
        self._any.set()

    def _remove(self, stream: Stream, follower: _Follower) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._followers[stream].remove(follower)
            self.events.followers[stream].remove(follower.take)
        if not self._followers.get(stream):
            self._followers.pop(stream, None)
            self.events.followers.pop(stream, None)
        if not self._followers:
            self._any.clear()
