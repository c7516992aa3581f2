"""The transcripts that are in memory: of conversations that spoke lately, the part in use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bot.events import Json, TurnRef
from bot.ports import Record
from bot.turn import history
from bot.turn.history import Exchange
from bot.turn.prompt import Render

Key = tuple[str, str, str]
KEEP = 0.75


@dataclass(slots=True)
class Transcript:
    """The turns in use, the newest record's id, and the render that the cache may still hold.

    `held` is the number of records, `size` about how many characters they add to a request; `start`
    names the record where history began for the newest answer.
    """

    turns: list[Exchange] = field(default_factory=list)
    known: str = ""
    render: Render | None = None
    used_at: float = 0.0
    start: str = ""
    held: int = 0
    size: int = 0
    counted: int = 0

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

    def _drop(self, count: int) -> None:
        for turn in self.turns[:count]:
            self.held -= len(turn.records)
            self.size -= turn.size
        del self.turns[:count]

    def _add(self, record: Record) -> None:
        if record.kind == "person":
            self.turns.append(Exchange())
        elif not self.turns:  # what has lost its beginning is no use
            return
        self.size += self.turns[-1].add(record)
        self.held += 1
        if record.kind == "model":
            self.start = record.body.get("start", self.start)


class Transcripts:
    """A bounded cache: `most` conversations, and of the latest of them about `records` records.

    What it forgets is read from the store again; the render outlives the records, since the
    provider's cache may still hold it.
    """

    def __init__(self, most: int = 2000, records: int = 15_000) -> None:
        self._most = most
        self._most_records = records
        self._held: OrderedDict[Key, Transcript] = OrderedDict()
        self._heavy: OrderedDict[Key, None] = OrderedDict()
        self._records = 0

    def get(self, line: str, ref: TurnRef) -> Transcript:
        """The transcript, empty if it is not in memory."""
        key = (line, ref.conversation, ref.agent)
        found = self._held.setdefault(key, Transcript())
        self._held.move_to_end(key)
        self._count(key, found)
        while len(self._held) > self._most:
            self._drop(next(iter(self._held)))
        while self._records > self._most_records and len(self._heavy) > 1:
            self._lighten(next(iter(self._heavy)))
        return found

    def forget(self, line: str, ref: TurnRef) -> None:
        """Drop one conversation: it began anew, or a write of it failed."""
        self._drop((line, ref.conversation, ref.agent))

    def forget_line(self, line: str) -> None:
        """Drop a whole line: another owner may write it now."""
        for key in [key for key in self._held if key[0] == line]:
            self._drop(key)

    def _count(self, key: Key, transcript: Transcript) -> None:
        """Take note of what the transcript's last turn has added."""
        self._records += transcript.held - transcript.counted
        transcript.counted = transcript.held
        self._heavy[key] = None
        self._heavy.move_to_end(key)

    def _lighten(self, key: Key) -> None:
        """Let the records go; a turn that still runs keeps its own transcript to its end."""
        held = self._held[key]
        self._drop(key)
        self._held[key] = Transcript(render=held.render, used_at=held.used_at)
        self._held.move_to_end(key, last=False)

    def _drop(self, key: Key) -> None:
        self._heavy.pop(key, None)
        if dropped := self._held.pop(key, None):
            self._records -= dropped.counted
