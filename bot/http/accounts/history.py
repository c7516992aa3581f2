"""What was said in a conversation over HTTP, as its client reads it: from the journal's records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.messages import Json, text_of
from bot.store.journal import Record
from bot.turn.results import partial_facts

_FACTS = ("partial", "error", "completion_status", "chunks_received")


@dataclass(frozen=True, slots=True)
class HistoryMessage:
    """One message: `role` is human or assistant, `at` seconds since the epoch.

    `metadata` has the four keys of spec 3 where an answer is incomplete.
    """

    role: str
    content: str
    at: int
    output_id: str
    metadata: Json | None = None


def history_of(records: Sequence[Record]) -> list[HistoryMessage]:
    """The messages in the records of a transcript, oldest first."""
    found: list[HistoryMessage] = []
    turn, at, texts, facts = "", 0, list[str](), None
    for record in records:
        body = record.body
        if record.kind == "person":
            turn, at, texts, facts = body.get("stream", ""), body["at"], [], None
            found.append(HistoryMessage("human", _own_words(body["content"]), at, turn))
        elif record.kind == "model":
            at = body["at"]
            texts += [text] if (text := text_of(body["content"])) else []
            facts = _facts(body) if "error" in body else facts
        elif record.kind == "partial":
            found.append(HistoryMessage("assistant", body["text"], at, turn, _facts(body)))
        elif record.kind == "end":
            if body["outcome"] == "failed":  # its text is the host's, and no answer
                facts = facts or partial_facts(body["text"], 0)
            text = "\n\n".join(texts) if facts else body["text"]
            if text or facts:
                found.append(HistoryMessage("assistant", text, at, turn, facts))
    return found


def _facts(body: Json) -> Json:
    return {name: body[name] for name in _FACTS}


def _own_words(content: Sequence[Json]) -> str:
    """What the person wrote, without the line that the host puts in front for the model."""
    return "".join(block.get("text", "") for block in content).partition("\n")[2]
