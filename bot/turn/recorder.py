"""What a turn writes down: its records, in the order in which they must be there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from bot.events import Outgoing
from bot.ports import Answer, Clock, Fence, Journal, OpenTurn, Posted, Record
from bot.tools.toolbox import Call, Result
from bot.turn.transcripts import Transcript

T = TypeVar("T")


class Recorder:
    """Writes one turn's records to the journal, and to the transcript in memory.

    `prefix` names what the model has read before its next answer, `start` where history begins.
    """

    def __init__(
        self, journal: Journal, fence: Fence, turn: OpenTurn, transcript: Transcript, clock: Clock
    ) -> None:
        self._journal = journal
        self._fence = fence
        self._clock = clock
        self.turn = turn
        self.transcript = transcript
        self.entry = turn.ref.entry
        self.prefix = ""
        self.start = ""

    def recorded(self) -> list[Record]:
        """All records of this turn so far."""
        return self.transcript.of_turn(self.entry)

    async def log(self, records: Sequence[Record]) -> None:
        """Append records; a cancelled turn still learns that they were written."""
        await whole(self._append(records))

    async def finish(self, records: Sequence[Record], parts: Sequence[Outgoing]) -> list[Posted]:
        """Append the last records, and hand the reply's parts to the outbox."""
        newest, posted = await self._journal.finish(self._fence, self.turn, records, parts)
        self.transcript.logged(records, newest)
        self.transcript.used_at = self._clock.wall()
        return posted

    async def preview(self, message: int) -> None:
        """Note the message that shows the growing answer."""
        await whole(self._journal.note_preview(self._fence, self.turn, message))

    def answered(self, answer: Answer) -> Record:
        """The record of a model's answer."""
        usage = answer.usage
        body = {
            "turn": self.entry,
            "content": answer.content,
            "stop": answer.stop,
            "model": answer.model,
            "usage": [usage.input, usage.output, usage.cache_read, usage.cache_write],
            "prefix": self.prefix,
            "start": self.start,
            "at": int(self._clock.wall()),
        }
        return Record("model", body)

    def started(self, call: Call) -> Record:
        """The record that a call is about to be made."""
        body = {"turn": self.entry, "call": call.id, "key": call.key, "digest": call.digest}
        return Record("started", body)

    def result(self, call: Call, result: Result) -> Record:
        """The record of what a call came to."""
        body = {
            "turn": self.entry,
            "call": call.id,
            "content": result.content,
            "error": result.error,
        }
        return Record("result", body | {"unknown": True} if result.fate_unknown else body)

    def ended(self, outcome: str, text: str) -> Record:
        """The record of how the turn ended, and what the person was told."""
        return Record("end", {"turn": self.entry, "outcome": outcome, "text": text})

    async def _append(self, records: Sequence[Record]) -> None:
        newest = await self._journal.append(self._fence, self.turn, records)
        self.transcript.logged(records, newest)


async def whole(write: Awaitable[T]) -> T:
    """A write that is not cut in two by a cancellation: that waits until it is made."""
    task = asyncio.ensure_future(write)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
