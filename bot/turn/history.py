"""What was said, as the Messages API's messages; pure.

A call is never parted from its result, and every call has one: where the record has none, the
message says so. Thinking blocks are kept only under the prefix that they were made under.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bot.messages import INVALID_INPUT, THINKING, Block, Json
from bot.store.journal import Record

UNANSWERED = "This call was not answered: the turn ended before its result came."
UNSAID = frozenset({"refusal"})
NONE: frozenset[str] = frozenset()
"""One for all: an empty one for each turn would be a twelfth of what a turn takes."""
SET_ASIDE = "[A message here was set aside: it could not be answered.]"


class TurnHistory:
    """One turn's records, the person's message first; its messages are made once, then kept.

    `size` is about how many characters they add to a request, `doubtful` the digests of calls whose
    outcome nobody knows. `over` is set once the turn has an end on record.
    """

    __slots__ = (
        "_made",
        "_made_under",
        "_thinks",
        "doubtful",
        "entry",
        "id",
        "over",
        "records",
        "size",
    )

    def __init__(self) -> None:
        self.id = self.entry = ""
        self.records: list[Record] = []
        self.size = 0
        self.doubtful = NONE
        self.over = self._thinks = False
        self._made: list[Json] | None = None
        self._made_under = ""

    def add(self, record: Record) -> int:
        """The turn's next record; its size."""
        self.records.append(record)
        self.size += (size := size_of(record))
        self._made = None
        if record.kind == "person":
            self.id, self.entry = record.id, record.body["turn"]
        elif record.kind == "end":
            self.over = True
        elif record.kind == "model":
            self._thinks |= any(block["type"] in THINKING for block in record.body["content"])
        elif record.kind == "result" and record.body.get("unknown"):
            self.doubtful |= self._digests(record.body["call"])
        return size

    def messages(self, prefix: str) -> list[Json]:
        """The turn's messages under this prefix; whoever asks must leave them as they are."""
        if self._made is None or (self._thinks and self._made_under != prefix):
            self._made, self._made_under = _messages(self.records, prefix), prefix
        return self._made

    def _digests(self, call: str) -> set[str]:
        started = (record.body for record in self.records if record.kind == "started")
        return {body["digest"] for body in started if body["call"] == call}


def to_messages(exchanges: Sequence[TurnHistory], prefix: str) -> list[Json]:
    """The messages of these turns, in order, adjacent ones of one role joined.

    Of a turn that never came to an end only that is told, unless it is the last: what was poison
    to it would be poison to all that follow.
    """
    found: list[Json] = []
    for exchange in exchanges:
        whole = exchange.over or exchange is exchanges[-1]
        said = exchange.messages(prefix) if whole else _set_aside()
        if found and said and found[-1]["role"] == said[0]["role"]:
            content = [*found[-1]["content"], *said[0]["content"]]
            found[-1] = {"role": said[0]["role"], "content": content}
            said = said[1:]
        found += said
    return found


def _set_aside() -> list[Json]:
    return [{"role": "user", "content": [{"type": "text", "text": SET_ASIDE}]}]


def _messages(records: Sequence[Record], prefix: str) -> list[Json]:
    results = {r.body["call"]: r for r in records if r.kind == "result"}
    found: list[Block] = []
    for record in records:
        if record.kind == "person":
            _join(found, "user", list(record.body["content"]))
        elif record.kind == "model" and record.body["stop"] not in UNSAID:
            content = _said(record, prefix)
            _join(found, "assistant", content)
            _join(found, "user", [_result(call, results) for call in calls_of(content)])
    return [*found]


def calls_of(content: Iterable[Block]) -> list[Block]:
    """The tool_use blocks of an answer."""
    return [block for block in content if block["type"] == "tool_use"]


def size_of(record: Record) -> int:
    """About how many characters a record adds to a request."""
    content = record.body.get("content", ())
    return len(content) if isinstance(content, str) else sum(map(_size, content))


def _size(block: Json) -> int:
    if block["type"] == "image":
        return 6000
    return len(str(block.get("text") or block.get("input") or block.get("content") or ""))


def _said(record: Record, prefix: str) -> list[Block]:
    """An answer's blocks as they may be sent back: thinking only under its own prefix."""
    fits = record.body["prefix"] == prefix
    said = [
        _without_notes(block)
        for block in record.body["content"]
        if (block["type"] not in THINKING or fits)
        and (block["type"] != "text" or block["text"].strip())
    ]
    while said and said[-1]["type"] in THINKING:  # the API refuses an answer that ends in one
        said.pop()
    return said


def _without_notes(block: Block) -> Block:
    """A block without what we noted of it ourselves: the API takes no field that is not its own."""
    return (
        {key: one for key, one in block.items() if key != INVALID_INPUT}
        if INVALID_INPUT in block
        else block
    )


def _result(call: Block, results: dict[str, Record]) -> Block:
    record = results.get(call["id"])
    if record is None:
        return tool_result(call["id"], UNANSWERED, error=True)
    return tool_result(call["id"], record.body["content"], error=record.body["error"])


def tool_result(call: str, content: Any, *, error: bool) -> Block:
    """A tool_result block; an error says so."""
    block: Block = {"type": "tool_result", "tool_use_id": call, "content": content}
    return block | {"is_error": True} if error else block


def _join(found: list[Block], role: str, content: list[Block]) -> None:
    if not content:
        return
    if found and found[-1]["role"] == role:
        found[-1]["content"] = [*found[-1]["content"], *content]
    else:
        found.append({"role": role, "content": content})
