"""What was said in a conversation over HTTP: as its client reads it, and as its client tells it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bot.messages import Json, User
from bot.store.journal import Record, end_record
from bot.turn.prompt import earlier_content
from bot.turn.results import partial_facts
from bot.turn.transcript import said_in

_FACTS = ("partial", "error", "completion_status", "chunks_received")


@dataclass(frozen=True, slots=True)
class HistoryMessage:
    """One message: `role` is human or assistant, `at` seconds since the epoch.

    `metadata` has the four keys of spec 3 where an answer is incomplete, and its artifacts.
    """

    role: str
    content: str
    at: int
    output_id: str
    metadata: Json | None = None


def history_of(
    records: Sequence[Record],
    listed: Callable[[Sequence[Json]], Sequence[Json]] = lambda _known: (),
) -> list[HistoryMessage]:
    """The messages in the records of a transcript, oldest first.

    `listed` makes of what is known of artifacts what clients see.
    """
    found: list[HistoryMessage] = []
    turn, at, said, facts, kept = "", 0, list[Record](), None, list[Json]()
    for record in records:
        body = record.body
        if record.kind == "person":
            turn, at, said, facts, kept = body.get("stream", ""), body["at"], [], None, []
            if words := _own_words(body["content"]):
                found.append(HistoryMessage("human", words, at, turn))
        elif record.kind == "model":
            at = body["at"]
            said.append(record)
            facts = _facts(body) if "error" in body else facts
        elif record.kind == "result":
            kept += body.get("artifacts", ())
        elif record.kind == "partial":
            found.append(HistoryMessage("assistant", body["text"], at, turn, _facts(body)))
        elif record.kind == "end":
            failure = body.get("summary", {}).get("failure")
            if failure or body["outcome"] == "failed":  # its text is the host's, and no answer
                facts = facts or partial_facts(failure or body["text"], 0)
            text = _shown(body, said_in(said, goes_on="summary" not in body) if facts else None)
            files = listed(kept)
            if text or facts or files:
                more = {**(facts or {}), "artifacts": files} if files else facts
                found.append(HistoryMessage("assistant", text, at, turn, more))
    return found


def _shown(body: Json, said: str | None) -> str:
    """The answer as it went out; of an incomplete one what was `said`, without the host's words."""
    shown: str | None = body.get("summary", {}).get("text")
    if said is not None:
        return said if shown is None else shown
    return str(body["text"] if shown is None else shown)


def _facts(body: Json) -> Json:
    return {name: body[name] for name in _FACTS}


def _own_words(content: Sequence[Json]) -> str:
    """What the person wrote, without the line that the host puts in front for the model."""
    return "".join(block.get("text", "") for block in content).partition("\n")[2]


@dataclass(frozen=True, slots=True)
class EarlierMessage:
    """A message that a client says was sent before, in a conversation that it keeps itself."""

    role: Literal["human", "assistant"]
    text: str


def records_of(messages: Sequence[EarlierMessage], person: User, at: int) -> list[Record]:
    """The records of a transcript in which this was said before `at` (seconds since the epoch).

    Each message of the person begins a turn. What the assistant said first answers nothing.
    """
    found: list[Record] = []
    turns: list[tuple[str, list[str]]] = []
    for one in messages:
        if one.role == "human":
            turns.append((one.text, []))
            continue
        if not turns:
            turns.append(("", []))
        turns[-1][1].append(one.text)
    for number, (asked, answers) in enumerate(turns, 1):
        turn = f"before-{number}"
        content = earlier_content(person, asked)
        body = {"turn": turn, "at": at, "message": 0, "by": person.id, "content": content}
        found.append(Record("person", body))
        found += [Record("model", _answer(turn, text, at)) for text in answers]
        found.append(end_record(turn, "done", "\n\n".join(answers)))
    return found


def _answer(turn: str, text: str, at: int) -> Json:
    """The body of an answer that no model of ours gave: it cost nothing."""
    content = [{"type": "text", "text": text}]
    said = {"turn": turn, "at": at, "content": content, "stop": "end_turn", "model": ""}
    return {**said, "usage": [0, 0, 0, 0], "prefix": "", "start": "", "head": ""}
