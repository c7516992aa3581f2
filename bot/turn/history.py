"""Transcript records to the Messages API's messages; pure.

A call is never parted from its result, and every call has one: where the record has none, the
message says so. Thinking blocks are kept only under the prefix that they were made under.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bot.events import Json
from bot.ports import Record

THINKING = frozenset({"thinking", "redacted_thinking"})
UNANSWERED = "This call was not answered: the turn ended before its result came."
UNSAID = frozenset({"refusal"})
KEEP = 0.75

Block = dict[str, Any]


def messages(records: Sequence[Record], prefix: str) -> list[Json]:
    """The messages of these records, in order, adjacent ones of one role joined."""
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


def text_of(content: Iterable[Block]) -> str:
    """The text of an answer."""
    return "".join(block["text"] for block in content if block["type"] == "text").strip()


def start_of(records: Sequence[Record], turns: int, chars: int) -> int:
    """The index where history starts for the next request.

    It stays where it was (the newest answer remembers its start) until a limit is passed, then it
    moves over whole turns until three quarters of the limits are left: so the prefix changes, and
    the cache is lost, only once in many turns.
    """
    persons = [i for i, record in enumerate(records) if record.kind == "person"]
    if not persons:
        return len(records)
    start = max(_last_start(records), persons[0])
    kept = [i for i in persons if i >= start]
    if _fits(records, kept, turns, chars):
        return start
    while len(kept) > 1 and not _fits(records, kept, int(turns * KEEP), int(chars * KEEP)):
        kept.pop(0)
    return kept[0]


def _fits(records: Sequence[Record], kept: Sequence[int], turns: int, chars: int) -> bool:
    return len(kept) <= turns and sum(size_of(r) for r in records[kept[0] :]) <= chars


def size_of(record: Record) -> int:
    """About how many characters a record adds to a request."""
    content = record.body.get("content", ())
    return len(content) if isinstance(content, str) else sum(map(_size, content))


def _size(block: Json) -> int:
    if block["type"] == "image":
        return 6000
    return len(str(block.get("text") or block.get("input") or block.get("content") or ""))


def _last_start(records: Sequence[Record]) -> int:
    for record in reversed(records):
        if record.kind == "model" and "start" in record.body:
            wanted = record.body["start"]
            return next((i for i, r in enumerate(records) if r.id == wanted), 0)
    return 0


def _said(record: Record, prefix: str) -> list[Block]:
    """An answer's blocks as they may be sent back: thinking only under its own prefix."""
    fits = record.body["prefix"] == prefix
    said = [
        block
        for block in record.body["content"]
        if (block["type"] not in THINKING or fits)
        and (block["type"] != "text" or block["text"].strip())
    ]
    while said and said[-1]["type"] in THINKING:  # the API refuses an answer that ends in one
        said.pop()
    return said


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
