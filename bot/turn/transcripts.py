"""The transcripts that are in memory: of conversations that spoke lately, the part in use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bot.events import TurnRef
from bot.ports import Record
from bot.turn import history
from bot.turn.prompt import Render

Key = tuple[str, str, str]


@dataclass(slots=True)
class Transcript:
    """The records in use, the newest record's id, and the render that the cache may still hold."""

    records: list[Record] = field(default_factory=list)
    known: str = ""
    render: Render | None = None
    used_at: float = 0.0
    counted: int = 0

    def extend(self, records: Iterable[Record]) -> None:
        """Records from the store, with their ids."""
        for record in records:
            self.records.append(record)
            self.known = record.id

    def logged(self, records: Sequence[Record], newest: str) -> None:
        """Records that we have just written."""
        self.records.extend(records)
        self.known = newest

    def of_turn(self, entry: str) -> list[Record]:
        """The records of one turn."""
        return [record for record in self.records if record.body.get("turn") == entry]

    def trim(self, turns: int, chars: int) -> str:
        """Forget what is before the start of history; the id of the record where it starts."""
        del self.records[: history.start_of(self.records, turns, chars)]
        return self.records[0].id if self.records else ""


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
        self._records += len(transcript.records) - transcript.counted
        transcript.counted = len(transcript.records)
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
