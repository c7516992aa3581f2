"""What a turn writes down: its records, in the order in which they must be there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from bot.events import Outgoing
from bot.ports import Answer, Clock, Fence, Journal, OpenTurn, Posted, Record
from bot.tools.approvals import Sheet
from bot.tools.toolbox import Call, Result
from bot.turn.purse import Purse
from bot.turn.suspension import Approvals
from bot.turn.transcripts import Transcript

T = TypeVar("T")


class Recorder:
    """Writes one turn's records to the journal, and to the transcript in memory.

    `prefix` names what the model has read before its next answer, `start` where history begins.
    """

    def __init__(
        self,
        journal: Journal,
        fence: Fence,
        turn: OpenTurn,
        transcript: Transcript,
        purse: Purse,
        clock: Clock,
    ) -> None:
        self._purse = purse
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

    def _with_lines(self, records: Sequence[Record]) -> list[Record]:
        """The records, with a line for the ledger behind each answer of the model."""
        lines = [self._purse.line(record) for record in records if record.kind == "model"]
        return [*records, *lines]

    async def finish(self, records: Sequence[Record], parts: Sequence[Outgoing]) -> list[Posted]:
        """Append the last records, and hand the reply's parts to the outbox."""
        written = self._with_lines(records)
        newest, posted = await self._journal.finish(self._fence, self.turn, written, parts)
        self.transcript.logged(records, newest)
        self.transcript.used_at = self._clock.wall()
        return posted

    async def suspend(
        self,
        approvals: Approvals,
        records: Sequence[Record],
        sheet: Sheet,
        parts: Sequence[Outgoing],
        renders: Sequence[str],
        seconds: float,
    ) -> list[Posted]:
        """Append the last records before the turn waits, with the sheet and the question."""
        newest, posted = await approvals.suspend(
            self._fence, self.turn, records, sheet, parts, renders, seconds
        )
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
        return result_record(self.entry, call.id, result)

    def asked(self, nonce: str, calls: Sequence[str]) -> Record:
        """The record that calls wait for people; what was said before it has been told."""
        return Record("asked", {"turn": self.entry, "nonce": nonce, "calls": list(calls)})

    def ended(self, outcome: str, text: str) -> Record:
        """The record of how the turn ended, and what the person was told."""
        return end_record(self.entry, outcome, text)

    async def _append(self, records: Sequence[Record]) -> None:
        written = self._with_lines(records)
        newest = await self._journal.append(self._fence, self.turn, written)
        self.transcript.logged(records, newest)


def result_record(entry: str, call: str, result: Result) -> Record:
    """The record of what a call of a turn came to."""
    body = {"turn": entry, "call": call, "content": result.content, "error": result.error}
    return Record("result", body | {"unknown": True} if result.fate_unknown else body)


def end_record(entry: str, outcome: str, text: str) -> Record:
    """The record of how a turn ended, and what the person was told."""
    return Record("end", {"turn": entry, "outcome": outcome, "text": text})


async def whole(write: Awaitable[T]) -> T:
    """A write that is not cut in two by a cancellation: that waits until it is made."""
    task = asyncio.ensure_future(write)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
