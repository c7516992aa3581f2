"""The event stream of a turn over HTTP: appended by its line's owner, read on any replica.

Appends of all turns of a host go to the store together. A stream holds the pieces of the answer in
order, so that its text is known after any crash; the ids of its entries are those that clients give
to read on. What a client was shown stays: an answer that departs from it is a new message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakValueDictionary

import orjson

from bot.errors import FencedOut, StoreError
from bot.messages import Fence
from bot.ops.tasks import cancel_and_wait
from bot.store import keys
from bot.store.artifacts import ArtifactStore
from bot.store.client import StoreClient

EventKind = Literal["message", "tool", "approval", "partial", "done", "error"]
"""A piece of the answer; a tool that runs; a question; the end of a message that the answer departs
from; the end of the turn, well or not."""
ENDS: frozenset[EventKind] = frozenset({"done", "error"})
MOST_EVENTS = 20_000
OPEN_FOR_MS = 48 * 3600 * 1000
"""How long a stream is kept while its turn is not over."""
OVER_FOR_MS = 3600 * 1000
GATHER_SECONDS = 0.01
"""How long appends are gathered while others are on their way."""
MOST_AT_ONCE = 200
MOST_UNFOLLOWED = 1_000
START = "0-0"
_OTHERS = "?"
"""Instead of an id: the stream has other events there than its writer knows."""


class UnknownEvents(StoreError):
    """A stream has events that its writer does not know; nothing was appended."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An entry of a stream; `summary` is JSON about the whole turn, in its last event."""

    id: str
    kind: EventKind
    data: str
    summary: str = ""


Follower = Callable[[str, StoredEvent], None]
"""Takes an event that was appended here, after the id of the entry before it."""


@dataclass(frozen=True, slots=True)
class _Append:
    fence: Fence
    turn: str
    lifetime: int
    before: str
    events: Sequence[tuple[EventKind, str, str]]
    done: asyncio.Future[list[str]]


class EventLog:
    """The event streams of all turns. `append` raises FencedOut where the line is another host's.

    `followers` are told of what this host appends, by line and turn. `artifacts` are the files that
    tools gave in these turns.
    """

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self.artifacts = ArtifactStore(client)
        self._waiting: list[_Append] = []
        self._flushing: asyncio.Task[None] | None = None
        self.followers: dict[tuple[str, str], list[Follower]] = {}
        self._unfollowed: dict[tuple[str, str], None] = {}
        self._streams: WeakValueDictionary[tuple[Fence, str], AnswerStream] = WeakValueDictionary()

    def stream(self, fence: Fence, turn: str) -> AnswerStream:
        """The stream of a turn, the same for all who write it under this fence."""
        found = self._streams.get((fence, turn))
        if found is None:
            found = self._streams[fence, turn] = AnswerStream(self, fence, turn)
        return found

    async def append(
        self,
        fence: Fence,
        turn: str,
        before: str,
        events: Sequence[tuple[EventKind, str, str]],
        lifetime: int = 0,
    ) -> list[str]:
        """Append events (kind, data, summary) behind the entry `before`; the ids of their entries.

        A `lifetime` (ms) of 0 leaves that of the stream as it is.
        """
        done: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Append(fence, turn, lifetime, before, events, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="events.flush")
        return await done

    async def _flush(self) -> None:
        """Write what waits; while the store is away everything waits."""
        while self._waiting:
            items, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            names, args = _script_arguments(items)
            try:
                ids = await self._client.run_idempotent("append_events", names, args)
            except Exception as error:  # noqa: BLE001 each of them hears of it
                for one in items:
                    if not one.done.done():
                        one.done.set_exception(error)
                continue
            _settle(items, ids)
            if self._waiting:
                await asyncio.sleep(GATHER_SECONDS)

    def tell(self, line: str, turn: str, before: str, event: StoredEvent) -> None:
        """Tell those who follow a stream here of an event that was just appended."""
        followers = self.followers.get((line, turn))
        if followers is None:
            self._unfollowed[line, turn] = None
            if len(self._unfollowed) > MOST_UNFOLLOWED:
                del self._unfollowed[next(iter(self._unfollowed))]
        for follower in followers or ():
            follower(before, event)

    def is_unfollowed(self, line: str, turn: str) -> bool:
        """Whether something was lately appended here that nobody here followed."""
        return (line, turn) in self._unfollowed

    async def read(self, line: str, turn: str, after: str = START) -> list[StoredEvent]:
        """The events after an id, in order."""
        found = await self._client.read("XRANGE", keys.events(line, turn), f"({after}", "+")
        return [read_event(id, fields) for id, fields in found]

    async def find(self, line: str, turn: str, id: str) -> StoredEvent | None:
        """One event; None where it is not kept any more."""
        found = await self._client.read("XRANGE", keys.events(line, turn), id, id)
        return read_event(*found[0]) if found else None

    async def last(self, line: str, turn: str) -> StoredEvent | None:
        """The newest event of a turn, if any is kept."""
        words = ("XREVRANGE", keys.events(line, turn), "+", "-", "COUNT", 1)
        found = await self._client.read(*words)
        return read_event(*found[0]) if found else None

    async def read_many(
        self, after: Mapping[tuple[str, str], str]
    ) -> dict[tuple[str, str], list[StoredEvent]]:
        """What came after an id in each of these streams; those without news are left out."""
        if not after:
            return {}
        names = {keys.events(*stream): stream for stream in after}
        words = ["XREAD", "STREAMS", *names, *after.values()]
        found = await self._client.command(*words)
        pairs = found.items() if isinstance(found, Mapping) else found or ()
        return {
            names[name.decode()]: [read_event(id, fields) for id, fields in entries]
            for name, entries in pairs
        }

    async def close(self) -> None:
        """Give up what waits to be written."""
        if self._flushing is not None:
            await cancel_and_wait([self._flushing])


def _script_arguments(items: Sequence[_Append]) -> tuple[list[str], list[str | int]]:
    """Keys and arguments of the script that appends these."""
    names: list[str] = []
    args: list[str | int] = [MOST_EVENTS]
    for one in items:
        line, before = one.fence.line, one.before
        for event in one.events:
            names += [keys.fence(line), keys.events(line, one.turn)]
            args += [str(one.fence.token), one.lifetime, before, *event]
            before = "+"
    return names, args


def _settle(items: Sequence[_Append], ids: Sequence[bytes]) -> None:
    """Tell those who wait which ids their events got, or that the line is another host's."""
    found = iter(ids)
    for one in items:
        own = [next(found).decode() for _ in one.events]
        if one.done.done():
            continue
        if _OTHERS in own:
            one.done.set_exception(UnknownEvents(f"other events of {one.turn} than are known here"))
        elif all(own):
            one.done.set_result(own)
        else:
            one.done.set_exception(FencedOut(f"FENCED {one.fence.line}"))


def read_event(id: bytes, fields: Mapping[bytes, bytes] | Sequence[bytes]) -> StoredEvent:
    """An entry of an event stream, as the store gives it."""
    if not isinstance(fields, Mapping):
        fields = dict(zip(fields[::2], fields[1::2], strict=True))
    kind: EventKind = fields[b"e"].decode()  # type: ignore[assignment]
    return StoredEvent(id.decode(), kind, fields[b"d"].decode(), fields.get(b"s", b"").decode())


@dataclass(slots=True, repr=False, eq=False, weakref_slot=True)
class AnswerStream:
    """The event stream of one turn, for its line's owner.

    `text` is what clients were shown of the present message in `chunks` pieces, `showing` is that
    and what is on its way to them. `partials` is how many messages were closed as incomplete before
    it. `is_over`: the last event is there.
    """

    log: EventLog
    fence: Fence
    turn: str
    text: str = field(default="", init=False)
    showing: str = field(default="", init=False)
    chunks: int = field(default=0, init=False)
    partials: int = field(default=0, init=False)
    is_over: bool = field(default=False, init=False)
    _last: str = field(default="", init=False)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def load(self) -> None:
        """Read what an earlier owner has shown; once, also where several ask at once."""
        async with self._writing:
            if not self._last:
                self._take(await self.log.read(self.fence.line, self.turn))

    def _take(self, events: Sequence[StoredEvent]) -> None:
        # Only what was read whole counts: who appends behind a guessed entry is taken for a repeat.
        pieces: list[str] = []
        last = START
        for event in events:
            last = event.id
            if event.kind == "message":
                pieces.append(event.data)
            elif event.kind == "partial":
                pieces, self.partials = [], self.partials + 1
            self.is_over = self.is_over or event.kind in ENDS
        self._last = last
        self.text = self.showing = "".join(pieces)
        self.chunks = len(pieces)

    def begin(self) -> None:
        """Note that the turn has just begun, so that nothing can have been shown."""
        self._last = self._last or START

    async def extend(self, text: str) -> None:
        """Show the message so far, which begins with what was shown."""
        if len(text) > len(self.text):
            await _whole(self._extend(text))

    async def _extend(self, text: str) -> None:
        async with self._writing:
            if piece := text[len(self.text) :]:
                self.showing = text
                await self._append("message", piece)
                self.text, self.chunks = text, self.chunks + 1

    async def note(self, kind: Literal["tool", "approval"], data: str) -> None:
        """Show something other than text: a tool that runs, a question."""
        await _whole(self._note(kind, data))

    async def _note(self, kind: EventKind, data: str) -> None:
        async with self._writing:
            await self._append(kind, data)

    async def close_partial(self, why: str) -> None:
        """Close what was shown as incomplete; the answer begins anew, as a new message."""
        await _whole(self._close_partial(why))

    async def _close_partial(self, why: str) -> None:
        async with self._writing:
            data = {"message": why, "partial": True, "answered_anew": True}
            await self._append("partial", orjson.dumps(data).decode())
            self.text = self.showing = ""
            self.chunks, self.partials = 0, self.partials + 1

    async def end(self, text: str, kind: Literal["done", "error"], data: str, summary: str) -> None:
        """Append the rest of a text that begins with what was shown, and the last event; once."""
        await _whole(self._end(text, kind, data, summary))

    async def _end(self, text: str, kind: EventKind, data: str, summary: str) -> None:
        async with self._writing:
            if self.is_over:
                return
            events: list[tuple[EventKind, str, str]] = [(kind, data, summary)]
            piece = text[len(self.text) :] if text.startswith(self.text) else ""
            if piece:
                events.insert(0, ("message", piece, ""))
                self.showing = text
            await self._append_all(events)
            self.is_over = True
            if piece:
                self.text, self.chunks = text, self.chunks + 1

    async def _append(self, kind: EventKind, data: str) -> None:
        await self._append_all([(kind, data, "")])

    async def _append_all(self, events: Sequence[tuple[EventKind, str, str]]) -> None:
        kind = events[-1][0]
        if kind in ENDS:
            lifetime = OVER_FOR_MS
        else:
            lifetime = OPEN_FOR_MS if self._last == START or kind != "message" else 0
        line, turn, before = self.fence.line, self.turn, self._last
        try:
            ids = await self.log.append(self.fence, turn, before, events, lifetime)
        except UnknownEvents:  # another try begins from what is there
            self._take(await self.log.read(line, turn))
            raise
        for id, event in zip(ids, events, strict=True):
            self.log.tell(line, turn, self._last, StoredEvent(id, *event))
            self._last = id


async def _whole(write: Coroutine[Any, Any, None]) -> None:
    """Write to the end, though cancelled: what is in the store must be known here."""
    task = asyncio.ensure_future(write)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # the cancellation counts
        raise
