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
    """A bounded cache; what it forgets is read from the store again."""

    def __init__(self, most: int = 2000) -> None:
        self._most = most
        self._held: OrderedDict[Key, Transcript] = OrderedDict()

    def get(self, line: str, ref: TurnRef) -> Transcript:
        """The transcript, empty if it is not in memory."""
        key = (line, ref.conversation, ref.agent)
        found = self._held.setdefault(key, Transcript())
        self._held.move_to_end(key)
        while len(self._held) > self._most:
            self._held.popitem(last=False)
        return found

    def forget(self, line: str, ref: TurnRef) -> None:
        """Drop one conversation: it began anew, or a write of it failed."""
        self._held.pop((line, ref.conversation, ref.agent), None)

    def forget_line(self, line: str) -> None:
        """Drop a whole line: another owner may write it now."""
        for key in [key for key in self._held if key[0] == line]:
            del self._held[key]
