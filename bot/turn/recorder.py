"""What a turn writes down: its records, in the order in which they must be there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TypeVar

from bot.events import Incoming, Outgoing
from bot.ports.clock import Clock
from bot.ports.fence import Fence
from bot.ports.journal import Journal, Opened, OpenTurn, Record
from bot.ports.model import Answer
from bot.ports.outbox import Posted
from bot.tools.approvals import Sheet
from bot.tools.calls import Call, Result
from bot.turn import history, prompt
from bot.turn.again import Again
from bot.turn.charges import Heard, heard
from bot.turn.purse import Purse
from bot.turn.suspension import Approvals
from bot.turn.transcripts import Transcript

T = TypeVar("T")


class Recorder:
    """Writes one turn's records to the journal, and to the transcript in memory.

    `prefix` names what the model has read before its next answer, `start` where history begins,
    `head` the model, its system prompt (without the time) and its tools.
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
        self.head = ""
        self._rests = False

    def recorded(self) -> Sequence[Record]:
        """All records of this turn so far."""
        return self.transcript.of_turn(self.entry)

    @property
    def asks_next(self) -> bool:
        """Whether the turn's next step is to ask the model: no call is without its result."""
        records = self.recorded()
        answers = [record for record in records if record.kind == "model"]
        made = history.calls_of(answers[-1].body["content"]) if answers else []
        answered = {record.body["call"] for record in records if record.kind == "result"}
        return all(call["id"] in answered for call in made)

    def heard(self) -> Heard:
        """What the newest answer in this conversation tells of its next request."""
        return heard(self.transcript.newest_first(), self.head)

    async def log(self, records: Sequence[Record]) -> None:
        """Append records; a cancelled turn still learns that they were written."""
        await whole(self._append(records))

    @contextlib.asynccontextmanager
    async def accounting(self) -> AsyncIterator[None]:
        """What fails in this block has cost something all the same."""
        try:
            yield
        except Exception:
            await self.broke()
            raise

    async def broke(self) -> None:
        """A request was cut off: what it cost goes into the ledger at once."""
        before, lines = self._purse.lost, self._purse.broke()
        self._rests = bool(lines) or self._purse.lost > before
        if lines:
            await whole(self._journal.append(self._fence, self.turn, lines))

    async def asks(self) -> None:
        """A request is about to be made: after one that broke, the record has to say so again."""
        if self._rests:
            self._rests = False
            await whole(self._journal.append(self._fence, self.turn, []))

    async def finish(self, records: Sequence[Record], parts: Sequence[Outgoing]) -> list[Posted]:
        """Append the last records, and hand the reply's parts to the outbox."""
        written = [*records, *self._purse.lines(records, self.transcript.size)]
        newest, posted = await self._journal.finish(self._fence, self.turn, written, parts)
        self.transcript.logged(records, newest)
        self.transcript.used_at = self._clock.wall()
        await self._purse.release()
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
            "head": self.head,
            "at": int(self._clock.wall()),
        }
        return Record("model", body)

    def partial(self, answer: Answer) -> Record:
        """The record of what had come of an answer that was cut off."""
        record = self.answered(answer)
        return Record(record.kind, {**record.body, "partial": True})

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
        written = [*records, *self._purse.lines(records)]
        newest = await self._journal.append(self._fence, self.turn, written)
        self.transcript.logged(records, newest)


async def left_behind(journal: Journal, fence: Fence, opened: object, purse: Purse) -> None:
    """A turn came to nothing, and no later life of it will write what it has cost."""
    if isinstance(opened, Opened):
        size = sum(history.size_of(record) for record in opened.records)
        purse.lost = opened.turn.lost
        if lines := purse.lines([], size):
            await journal.append(fence, opened.turn, lines)


def person_record(entry: str, incoming: Incoming, again: Again | None) -> Record:
    """The record of a message that a turn answers, or answers once more."""
    body = {
        "turn": entry,
        "at": incoming.sent_at,
        "message": incoming.message,
        "by": incoming.person.id,
        "content": prompt.person_content(incoming),
    }
    if again is not None:
        body |= {"again": again.turn, "content": again.said_by(incoming.person)}
    return Record("person", body)


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
