"""What was said in a conversation with one agent: as records, and as the Messages API's messages.

Drafts are left out once their turn has ended; the journal keeps them. A call is never parted from
its result, and every call has one: where the record has none, the message says so. Thinking blocks
are kept only under the prefix that they were made under. What the model's API refused is left out
of later requests: a `View` says what.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bot.messages import INVALID_INPUT, THINKING, Block, Json, TurnRef, is_whole, text_of
from bot.store import keys
from bot.store.journal import GOES_ON, Record
from bot.usage.pricing import MIN_BYTES_PER_TOKEN, known_prompt
from registry.models import known

UNANSWERED = '{"error": "This call was not answered: the turn ended before its result came."}'
NOT_DELIVERED = "[Your last message was not delivered: the person has not seen all of it.]"
SET_ASIDE = "[A message here was set aside: it could not be answered.]"
ITS_CALLS = "[A message here was set aside; these tools were called for it: {}.]"
RESULT_LEFT_OUT = "[This result was left out: it could not be sent.]"
PICTURE_LEFT_OUT: Block = {"type": "text", "text": "[A picture was left out: it cannot be shown.]"}
TURN, RESULT, PICTURES, THOUGHTS = "turn:", "result:", "pictures:", "thinking:"
"""What a view may leave out, before the entry of a turn, or the id of a call."""


@dataclass(frozen=True, slots=True)
class View:
    """The part of a transcript that is sent: turns from the record `start` on, minus `omitted`.

    Each name in `omitted` is that of a turn, of a call's result or its pictures, or of a turn
    before whose request all thinking was dropped.
    """

    start: str = ""
    omitted: frozenset[str] = frozenset()


ALL = View()


@dataclass(slots=True, repr=False, eq=False)
class TurnHistory:
    """One turn's records, the person's message first; its messages are made once and kept.

    `size` is about how many characters they add to a request, `uncertain` the digests of calls
    whose outcome is unknown. `ended` is set once the turn's end is recorded, `set_aside` where it
    would make every later turn fail.
    """

    id: str = ""
    entry: str = ""
    records: list[Record] = field(default_factory=list)
    size: int = 0
    uncertain: frozenset[str] = frozenset()
    ended: bool = False
    set_aside: bool = False
    _has_thinking: bool = False
    _made: list[Json] | None = None
    _made_under: str = ""
    _made_without: frozenset[str] = frozenset()

    def add(self, record: Record) -> int:
        """Append the turn's next record; by how much that changes its size."""
        before = self.size
        self.records.append(record)
        self.size += size_of(record)
        self._made = None
        if record.kind == "person":
            self.id, self.entry = record.id, record.body["turn"]
        elif record.kind == "end":
            self.ended, self.set_aside = True, "refused" in record.body
            self._drop_drafts()
        elif record.kind == "model":
            self._has_thinking |= any(b["type"] in THINKING for b in record.body["content"])
        elif record.kind == "result" and record.body.get("unknown"):
            started = (one.body for one in self.records if one.kind == "started")
            call = record.body["call"]
            self.uncertain |= {body["digest"] for body in started if body["call"] == call}
        return self.size - before

    def _drop_drafts(self) -> None:
        """Forget what drafts said: no person has read it, so that no later turn has it as said."""
        if not (drafts := drafts_in(self.records)):
            return
        for place, record in enumerate(self.records):
            if id(record) in drafts:
                self.size -= size_of(record)
                self.records[place] = replace(record, body={**record.body, "content": []})

    def messages(self, prefix: str, omitted: frozenset[str]) -> list[Json]:
        """The turn's messages under this prefix; callers must not change them."""
        under_another = self._has_thinking and self._made_under != prefix
        if self._made is None or under_another or self._made_without != omitted:
            self._made = _messages(self.records, prefix, omitted)
            self._made_under, self._made_without = prefix, omitted
        return self._made

    def note(self) -> list[Json]:
        """What is sent in place of the turn's messages where it is set aside."""
        answers = (one.body["content"] for one in self.records if one.kind == "model")
        names = dict.fromkeys(call["name"] for content in answers for call in calls_of(content))
        text = ITS_CALLS.format(", ".join(names)) if names else SET_ASIDE
        return [{"role": "user", "content": [{"type": "text", "text": text}]}]

    def results(self) -> list[Record]:
        """The results of the turn's calls."""
        return [record for record in self.records if record.kind == "result"]


def _messages(records: Sequence[Record], prefix: str, omitted: frozenset[str]) -> list[Json]:
    results = {r.body["call"]: r for r in records if r.kind == "result"}
    drafts, is_behind_draft, is_without_draft = drafts_in(records), False, False
    found: list[Json] = []
    for record in records:
        if record.kind == "person":
            _join(found, "user", record.body["content"])
        elif record.kind == "model" and record.body["stop"] != "refusal":  # never repeated
            is_draft = id(record) in drafts
            is_without_draft |= is_draft and not record.body["content"]
            content = _sent_back(record, prefix, is_draft=is_draft, is_changed=is_without_draft)
            _join(found, "assistant", _behind_draft(found, content) if is_behind_draft else content)
            is_behind_draft = is_draft
            _join(found, "user", [_result(call, results, omitted) for call in calls_of(content)])
        elif (
            record.kind == "undelivered"
            and found
            and found[-1]["role"] == "assistant"
            and _is_missing(records)
        ):
            _join(found, "user", [{"type": "text", "text": NOT_DELIVERED}])
    return found


def _is_missing(records: Sequence[Record]) -> bool:
    """Whether an answer of a turn was refused and has not been delivered since."""
    kinds = [record.kind for record in records]
    return kinds.count("undelivered") > kinds.count("delivered")


def drafts_in(records: Sequence[Record]) -> set[int]:
    """The answers, by identity, after which a rule asked for another step: they are drafts.

    Where the turn was done and the newest of them is its last answer, that was said after all.
    """
    drafts: set[int] = set()
    newest: Record | None = None
    outcome = ""
    for record in records:
        if record.kind == "model":
            newest = record
        elif record.kind == "rules" and newest is not None and record.body.get(GOES_ON):
            drafts.add(id(newest))
        elif record.kind == "end":
            outcome = record.body.get("outcome", "done")
    return drafts - {id(newest)} if outcome == "done" else drafts


def said_in(answers: Iterable[Record], *, goes_on: bool = False) -> str:
    """What answers of a turn say to the person.

    Of whole answers only the newest is said, also where it has no text: those before are drafts.
    Where the turn `goes_on`, that may be one as well.
    """
    texts: list[str] = []
    draft = ""
    for answer in answers:
        text = text_of(answer.body["content"])
        if is_whole(answer.body["content"], answer.body["stop"]):
            draft = text
        elif text:
            draft = ""
            texts.append(text)
    return "\n\n".join([*texts, draft] if draft and not goes_on else texts)


def with_passing(messages: list[Json], passing: Sequence[Block]) -> list[Json]:
    """The messages with blocks that stand at the end of this request alone."""
    if not passing:
        return messages
    found = [*messages]
    _join(found, "user", passing)
    return found


def calls_of(content: Iterable[Block]) -> list[Block]:
    """The tool_use blocks of an answer."""
    return [block for block in content if block["type"] == "tool_use"]


def size_of(record: Record) -> int:
    """About how many characters a record adds to a request."""
    content = record.body.get("content", ())
    return len(content) if isinstance(content, str) else sum(map(_block_size, content))


def _block_size(block: Json) -> int:
    if block["type"] == "image":
        return 6000
    return len(str(block.get("text") or block.get("input") or block.get("content") or ""))


def _sent_back(record: Record, prefix: str, *, is_draft: bool, is_changed: bool) -> list[Block]:
    """An answer's blocks as the API takes them back: thinking only under its own prefix.

    What a draft was thought for is over. What an answer has read of an inbox is no longer before
    it, nor are drafts of a turn that has ended, where this `is_changed`: models notice that which
    bind their thinking to what was before it.
    """
    keeps_thinking = record.body["prefix"] == prefix and not is_draft
    if keeps_thinking and (is_changed or record.body.get("read")):
        model = known(record.body["model"])
        keeps_thinking = model is not None and not model.binds_thinking
    content = [
        {name: value for name, value in block.items() if name != INVALID_INPUT}
        if INVALID_INPUT in block  # our own note: the API refuses unknown fields
        else block
        for block in record.body["content"]
        if (block["type"] not in THINKING or keeps_thinking)
        and (block["type"] != "text" or block["text"].strip())
    ]
    while content and content[-1]["type"] in THINKING:  # the API refuses an answer that ends so
        content.pop()
    return content


def _result(call: Block, results: dict[str, Record], omitted: frozenset[str]) -> Block:
    record, id = results.get(call["id"]), call["id"]
    content: Any = record.body["content"] if record else UNANSWERED
    if omitted and RESULT + id in omitted:
        content = RESULT_LEFT_OUT
    elif omitted and PICTURES + id in omitted:
        content = [PICTURE_LEFT_OUT if part["type"] == "image" else part for part in content]
    block: Block = {"type": "tool_result", "tool_use_id": id, "content": content}
    return block | {"is_error": True} if record is None or record.body["error"] else block


def has_pictures(result: Record) -> bool:
    """Whether a call's result holds any."""
    content = result.body["content"]
    return not isinstance(content, str) and any(part["type"] == "image" for part in content)


def _behind_draft(found: list[Json], content: Sequence[Block]) -> Sequence[Block]:
    """What of an answer comes behind a draft; its thinking goes first, where the API wants it."""
    if not content or not found or found[-1]["role"] != "assistant":
        return content
    ahead = next((n for n, b in enumerate(content) if b["type"] not in THINKING), len(content))
    found[-1] = {"role": "assistant", "content": [*content[:ahead], *found[-1]["content"]]}
    return content[ahead:]


def _join(found: list[Json], role: str, content: Sequence[Json]) -> None:
    """Add a message, to the last one where that is of the same role; a new object then."""
    if content and found and found[-1]["role"] == role:
        found[-1] = {"role": role, "content": [*found[-1]["content"], *content]}
    elif content:
        found.append({"role": role, "content": list(content)})


Key = tuple[str, str, str]
TRIM_TO = 0.75
MAX_TOKENS_PER_CHARACTER = 4
RECORD_BYTES = 900
"""About what a record takes in memory beside its text."""


@dataclass(slots=True)
class Transcript:
    """The turns that the model reads again, in memory.

    `newest` is the id of the newest record, `view` what was sent for the newest answer. `count` is
    the number of records, `size` about how many characters they add to a request. `cache` is the
    one that the transcript is in, and whose size it keeps up to date.
    """

    turns: list[TurnHistory] = field(default_factory=list)
    newest: str = ""
    view: View = ALL
    count: int = 0
    size: int = 0
    cache: Transcripts | None = field(default=None, repr=False, compare=False)

    def load(self, records: Iterable[Record]) -> None:
        """Add records from the store, with their ids."""
        for record in records:
            self.append([record], record.id)

    def append(self, records: Iterable[Record], newest: str) -> None:
        """Add records that we have just written; the last one's id is `newest`."""
        for record in records:
            self._add(record)
        self.newest = newest

    def of_turn(self, entry: str) -> Sequence[Record]:
        """The records of one turn, as a view that grows."""
        found = (turn.records for turn in reversed(self.turns) if turn.entry == entry)
        return next(found, ())

    def newest_first(self) -> Iterator[Record]:
        """All records, the newest first."""
        return (record for turn in reversed(self.turns) for record in reversed(turn.records))

    def messages(self, prefix: str, view: View = ALL) -> list[Json]:
        """What is sent under this prefix, adjacent messages of one role joined; not to be changed.

        A turn that never ended is replaced by a note, unless it is the last one: what made it fail
        would make every later turn fail.
        """
        found: list[Json] = []
        for turn in self.shown(view):
            said = self._said(turn, prefix, view)
            if found and said and found[-1]["role"] == said[0]["role"]:
                _join(found, said[0]["role"], said[0]["content"])
                said = said[1:]
            found += said
        return found

    def shown(self, view: View) -> list[TurnHistory]:
        """The turns of a view, also those of which it shows but a note."""
        if not self.turns or self.turns[0].id == view.start:
            return self.turns
        first = next((i for i, turn in enumerate(self.turns) if turn.id == view.start), 0)
        return self.turns[first:]

    def turn_at(self, place: tuple[int, int], prefix: str, view: View) -> TurnHistory | None:
        """The turn whose block is at this position, message and block, of what is sent."""
        owners: list[list[TurnHistory]] = []
        role = ""
        for turn in self.shown(view):
            for message in self._said(turn, prefix, view):
                if message["role"] != role:
                    owners.append([])
                role = message["role"]
                owners[-1] += [turn] * len(message["content"])
        at, block = place
        return owners[at][min(block, len(owners[at]) - 1)] if at < len(owners) else None

    def _said(self, turn: TurnHistory, prefix: str, view: View) -> list[Json]:
        omitted = view.omitted
        is_whole = turn.ended and not turn.set_aside
        if turn is self.turns[-1] or (is_whole and not (omitted and TURN + turn.entry in omitted)):
            return turn.messages(prefix, omitted)
        return turn.note()

    def uncertain(self) -> frozenset[str]:
        """Digests of calls whose outcome is unknown."""
        return frozenset().union(*(turn.uncertain for turn in self.turns))

    def call_ids(self) -> set[str]:
        """The ids of all calls."""
        answers = (one.body["content"] for one in self.newest_first() if one.kind == "model")
        return {block["id"] for content in answers for block in calls_of(content)}

    def trim(
        self, turns: int, chars: int, tokens: int | None = None, *, most: int | None = None
    ) -> View:
        """Drop what is before the start of history; what is left to be sent.

        `tokens` is the room that the model has, where it is known. The start stays where it was
        until a limit is passed, then it moves over whole turns until three quarters of the limits
        are left: so the prefix changes, and the provider's cache is lost, only once in many turns.
        Where an instance wants to have read `most` turns, that is exact.
        """
        self._drop(len(self.turns) - len(self.shown(self.view)))
        if tokens is not None and self.size * MAX_TOKENS_PER_CHARACTER > tokens:
            chars = min(chars, self._characters_in(tokens))
        if not self._fits(turns, chars):
            while len(self.turns) > 1 and not self._fits(
                int(turns * TRIM_TO), int(chars * TRIM_TO)
            ):
                self._drop(1)
        if most is not None:
            self._drop(max(0, len(self.turns) - most))
        return replace(self.view, start=self.turns[0].id if self.turns else "")

    def _characters_in(self, tokens: int) -> int:
        """How many characters of this conversation so many tokens hold, by the last true count."""
        known = known_prompt(self.newest_first(), "")
        return self.size * tokens // max(1, known.tokens + known.added // MIN_BYTES_PER_TOKEN)

    def kept_in(self, view: View) -> View:
        """The view, without names of what is no longer in the transcript."""
        entries = {turn.entry for turn in self.turns}
        known = entries | {one.body["call"] for turn in self.turns for one in turn.results()}
        named = ((name, name.partition(":")[2]) for name in view.omitted)
        return replace(view, omitted=frozenset(name for name, of in named if of in known))

    def _fits(self, turns: int, chars: int) -> bool:
        return len(self.turns) <= turns and self.size <= chars

    def _drop(self, count: int) -> None:
        for turn in self.turns[:count]:
            self._grow(-len(turn.records), -turn.size)
        del self.turns[:count]

    def _grow(self, records: int, size: int) -> None:
        self.count += records
        self.size += size
        if self.cache is not None:
            self.cache.bytes += records * RECORD_BYTES + size

    def _turn_of(self, record: Record) -> TurnHistory | None:
        """The newest turn; for what was delivered late, the one that it belongs to."""
        if record.kind != "delivered":
            return self.turns[-1] if self.turns else None
        of = record.body["turn"]
        return next((turn for turn in reversed(self.turns) if of in ("", turn.entry)), None)

    def _add(self, record: Record) -> None:
        if record.kind == "rules":  # what its rules looked at is in the store, and much
            record = replace(record, body={n: v for n, v in record.body.items() if n != "phases"})
        if record.kind == "person":
            self.turns.append(TurnHistory())
        turn = self._turn_of(record)
        if turn is None:  # the beginning of its turn is not here
            return
        self._grow(1, turn.add(record))
        if record.kind == "model":
            start, omitted = record.body.get("start", ""), record.body.get("omitted", ())
            self.view = View(start or self.view.start, frozenset(omitted))


@dataclass(slots=True, repr=False)
class Transcripts:
    """A bounded cache of transcripts: `max_count` of them, about `max_bytes` in all (`bytes` now).

    What is evicted is read from the store again.
    """

    max_count: int = 2000
    max_bytes: int = 16_000_000
    _cached: OrderedDict[Key, Transcript] = field(init=False, default_factory=OrderedDict)
    _of_line: dict[str, set[Key]] = field(init=False, default_factory=dict)
    bytes: int = field(init=False, default=0)

    def get(self, line: str, ref: TurnRef) -> Transcript:
        """The transcript, empty if it is not in memory."""
        key = _key(line, ref)
        found = self._cached.get(key)
        if found is None:
            found = self._cached[key] = Transcript(cache=self)
            self._of_line.setdefault(line, set()).add(key)
        self._cached.move_to_end(key)
        while len(self._cached) > 1 and (
            len(self._cached) > self.max_count or self.bytes > self.max_bytes
        ):
            self._drop(next(iter(self._cached)))
        return found

    def forget(self, line: str, ref: TurnRef) -> None:
        """Drop one conversation: it began again, or a write of it failed."""
        self._drop(_key(line, ref))

    def forget_line(self, line: str) -> None:
        """Drop a whole line: another owner may write it now."""
        for key in [*self._of_line.get(line, ())]:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        if dropped := self._cached.pop(key, None):
            own = self._of_line[key[0]]
            own.remove(key)
            if not own:
                del self._of_line[key[0]]
            self.bytes -= dropped.count * RECORD_BYTES + dropped.size
            dropped.cache = None  # a running turn may keep its reference


def _key(line: str, ref: TurnRef) -> Key:
    return (line, ref.conversation, keys.spoken_to(ref.agent))
