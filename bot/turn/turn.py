"""What a turn writes down: its records, in the order in which they must be there."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bot.approvals.request import ApprovalRequest
from bot.approvals.store import ApprovalStore
from bot.messages import (
    Answer,
    Clock,
    Fence,
    IncomingMessage,
    Json,
    OutboxItem,
    OutgoingPart,
    TurnRef,
)
from bot.store.journal import Journal, Opened, OpenTurn, Record, end_record
from bot.tools.calls import Call, Result, result_record
from bot.turn import history, prompt
from bot.turn.history import TurnHistory
from bot.turn.prompt import RenderedPrompt
from bot.turn.retry import Retry
from bot.usage.pricing import KnownPrompt, known_prompt
from bot.usage.reservation import TurnBudget

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
        purse: TurnBudget,
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

    def heard(self) -> KnownPrompt:
        """What the newest answer in this conversation tells of its next request."""
        return known_prompt(self.transcript.newest_first(), self.head)

    async def log(self, records: Sequence[Record]) -> None:
        """Append records; a cancelled turn still learns that they were written."""
        await shielded(self._append(records))

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
        before, lines = self._purse.unrecorded_attempts, self._purse.interrupted()
        self._rests = bool(lines) or self._purse.unrecorded_attempts > before
        if lines:
            await shielded(self._journal.append(self._fence, self.turn, lines))

    async def asks(self) -> None:
        """A request is about to be made: after one that broke, the record has to say so again."""
        if self._rests:
            self._rests = False
            await shielded(self._journal.append(self._fence, self.turn, []))

    async def finish(
        self, records: Sequence[Record], parts: Sequence[OutgoingPart]
    ) -> list[OutboxItem]:
        """Append the last records, and hand the reply's parts to the outbox."""
        written = [*records, *self._purse.usage_records(records, self.transcript.size)]
        newest, posted = await self._journal.finish(self._fence, self.turn, written, parts)
        self.transcript.logged(records, newest)
        self.transcript.used_at = self._clock.wall()
        await self._purse.release()
        return posted

    async def suspend(
        self,
        approvals: ApprovalStore,
        records: Sequence[Record],
        sheet: ApprovalRequest,
        parts: Sequence[OutgoingPart],
        renders: Sequence[str],
        seconds: float,
    ) -> list[OutboxItem]:
        """Append the last records before the turn waits, with the sheet and the question."""
        newest, posted = await approvals.suspend(
            self._fence, self.turn, records, sheet, parts, renders, seconds
        )
        self.transcript.logged(records, newest)
        self.transcript.used_at = self._clock.wall()
        return posted

    async def preview(self, message: int) -> None:
        """Note the message that shows the growing answer."""
        await shielded(self._journal.note_preview(self._fence, self.turn, message))

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
        written = [*records, *self._purse.usage_records(records)]
        newest = await self._journal.append(self._fence, self.turn, written)
        self.transcript.logged(records, newest)


async def record_abandoned(
    journal: Journal, fence: Fence, opened: object, purse: TurnBudget
) -> None:
    """A turn came to nothing, and no later life of it will write what it has cost."""
    if isinstance(opened, Opened):
        size = sum(history.size_of(record) for record in opened.records)
        purse.unrecorded_attempts = opened.turn.unrecorded_attempts
        if lines := purse.usage_records([], size):
            await journal.append(fence, opened.turn, lines)


def person_record(entry: str, incoming: IncomingMessage, again: Retry | None) -> Record:
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


async def shielded(write: Awaitable[T]) -> T:
    """A write that is not cut in two by a cancellation: that waits until it is made."""
    task = asyncio.ensure_future(write)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


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

    turns: list[TurnHistory] = field(default_factory=list)
    known: str = ""
    render: RenderedPrompt | None = None
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
        return history.to_messages(self.turns, prefix)

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
            self.turns.append(TurnHistory())
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
