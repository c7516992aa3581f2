"""The transcripts that are in memory: of conversations that spoke lately, the part in use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from bot.events import Json, TurnRef
from bot.ports.journal import Record
from bot.turn import history
from bot.turn.history import Exchange
from bot.turn.prompt import Render

Key = tuple[str, str, str]
KEEP = 0.75
RECORD_BYTES = 900
"""About what a record takes in memory beside its text."""


@dataclass(slots=True)
class Weight:
    """About how many bytes all transcripts of a cache take."""

    bytes: int = 0


@dataclass(slots=True)
class Transcript:
    """The turns in use, the newest record's id, and the render that the cache may still hold.

    `held` is the number of records, `size` about how many characters they add to a request; `start`
    names the record where history began for the newest answer. `weight` is told of all that comes
    and goes while the transcript is in a cache.
    """

    turns: list[Exchange] = field(default_factory=list)
    known: str = ""
    render: Render | None = None
    used_at: float = 0.0
    start: str = ""
    held: int = 0
    size: int = 0
    weight: Weight = field(default_factory=Weight)

    def extend(self, records: Iterable[Record]) -> None:
        """Records from the store, with their ids."""
        for record in records:
            self._add(record)
            self.known = record.id

    def logged(self, records: Iterable[Record], newest: str) -> None:
        """Records that we have just written."""
        for record in records:
            self._add(record)
        self.known = newest

    def of_turn(self, entry: str) -> Sequence[Record]:
        """The records of one turn, a view of them that grows."""
        found = (turn.records for turn in reversed(self.turns) if turn.entry == entry)
        return next(found, ())

    def newest_first(self) -> Iterator[Record]:
        """All records, the newest first."""
        return (record for turn in reversed(self.turns) for record in reversed(turn.records))

    def messages(self, prefix: str) -> list[Json]:
        """The messages under this prefix; whoever asks must leave them as they are."""
        return history.joined(self.turns, prefix)

    def doubtful(self) -> frozenset[str]:
        """Digests of calls whose outcome nobody knows."""
        return frozenset().union(*(turn.doubtful for turn in self.turns))

    def trim(self, turns: int, chars: int) -> str:
        """Forget what is before the start of history; the id of the record where it starts.

        It stays where it was until a limit is passed, then it moves over whole turns until three
        quarters of the limits are left: so the prefix changes, and the cache is lost, only once in
        many turns.
        """
        self._drop(next((i for i, turn in enumerate(self.turns) if turn.id == self.start), 0))
        if not self._fits(turns, chars):
            while len(self.turns) > 1 and not self._fits(int(turns * KEEP), int(chars * KEEP)):
                self._drop(1)
        return self.turns[0].id if self.turns else ""

    def _fits(self, turns: int, chars: int) -> bool:
        return len(self.turns) <= turns and self.size <= chars

    def leave(self) -> None:
        """The cache lets go of this one; a turn that still runs keeps it to its end."""
        self.weight.bytes -= self.held * RECORD_BYTES + self.size
        self.weight = Weight()

    def _drop(self, count: int) -> None:
        for turn in self.turns[:count]:
            self._hold(-len(turn.records), -turn.size)
        del self.turns[:count]

    def _hold(self, records: int, size: int) -> None:
        self.held += records
        self.size += size
        self.weight.bytes += records * RECORD_BYTES + size

    def _add(self, record: Record) -> None:
        if record.kind == "person":
            self.turns.append(Exchange())
        elif not self.turns:  # what has lost its beginning is no use
            return
        self._hold(1, self.turns[-1].add(record))
        if record.kind == "model":
            self.start = record.body.get("start", self.start)


class Transcripts:
    """A bounded cache: `most` conversations, and of the latest of them about `size` bytes.

    What it forgets is read from the store again; the render outlives the records, since the
    provider's cache may still hold it.
    """

    def __init__(self, most: int = 2000, size: int = 16_000_000) -> None:
        self._most = most
        self._size = size
        self._held: OrderedDict[Key, Transcript] = OrderedDict()
        self._heavy: OrderedDict[Key, None] = OrderedDict()
        self._weight = Weight()

    def get(self, line: str, ref: TurnRef) -> Transcript:
        """The transcript, empty if it is not in memory."""
        key = (line, ref.conversation, ref.agent)
        found = self._held.get(key) or self._held.setdefault(key, Transcript(weight=self._weight))
        self._held.move_to_end(key)
        self._heavy[key] = None
        self._heavy.move_to_end(key)
        while len(self._held) > self._most:
            self._drop(next(iter(self._held)))
        while self._weight.bytes > self._size and len(self._heavy) > 1:
            self._lighten(next(iter(self._heavy)))
        return found

    def forget(self, line: str, ref: TurnRef) -> None:
        """Drop one conversation: it began anew, or a write of it failed."""
        self._drop((line, ref.conversation, ref.agent))

    def forget_line(self, line: str) -> None:
        """Drop a whole line: another owner may write it now."""
        for key in [key for key in self._held if key[0] == line]:
            self._drop(key)

    def _lighten(self, key: Key) -> None:
        """Let the records go, not the render."""
        held = self._held[key]
        self._drop(key)
        self._held[key] = Transcript(render=held.render, used_at=held.used_at, weight=self._weight)
        self._held.move_to_end(key, last=False)

    def _drop(self, key: Key) -> None:
        self._heavy.pop(key, None)
        if dropped := self._held.pop(key, None):
            dropped.leave()
