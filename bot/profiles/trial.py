"""The rules of a profile, looked at over a turn that was recorded: nothing is executed.

The answers and the results of tools are those that were recorded; what the rules add and set is
only theirs, and an item counts as read by the next recorded request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from bot.messages import Json, text_of
from bot.profiles.inbox import WITHDRAWN, Earlier, words_of
from bot.profiles.rules import RULES, Decision, Round, Rules, rules_of
from bot.profiles.state import GIVEN, TurnState, bounded
from bot.safety.text_safety import Redact
from bot.store.journal import Record
from registry.profile import Profile
from registry.snapshot import revision_of

_CONTEXT, _METADATA = "[its context follows]", "- Additional context: "
_MARK = re.compile(r"\[([0-9a-f]{8}) marks what others wrote\]")
"""What the first line of a message tells of the rest: see `bot.turn.prompt`."""
AS_RECORDED, EARLIER, LATER = "as recorded", "earlier", "later"
"""Whether the rules end a turn where it ended, would have ended it before, or go on after that."""


@dataclass(frozen=True, slots=True)
class TriedStep:
    """One answer, with what the rules do around it; `recorded` is what other rules did there.

    `words` are those of the items that are added, as the model would read them.
    """

    step: int
    text: str
    tools: tuple[str, ...]
    phases: Sequence[Json]
    added: Sequence[Json]
    words: Sequence[str]
    sets: Mapping[str, Any]
    flow: str
    decision: Decision
    recorded: Json | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What the rules of a profile do over a turn, step by step, and where they end it."""

    rules: Rules
    steps: Sequence[TriedStep]
    ends: str = AS_RECORDED


@dataclass(slots=True)
class _Replay:
    """A turn on the way: its state by the rules that are tried."""

    rules: Rules
    state: TurnState
    turn: str
    redact: Redact
    recorded: Mapping[int, Json]
    steps: list[TriedStep] = field(default_factory=list)

    def answer(self, record: Record, *, is_last: bool) -> str:
        """Look at the rules around an answer; where they end the turn."""
        state, step = self.state, self.state.step + 1
        around = Round(self.rules, self.turn, step, self.redact)
        around.observe("pre", state)
        read = [*state.unread]
        state.follow([replace(record, body={**record.body, "read": read})])
        around.observe("post", state)
        decision = around.decide(state, may_go_on=True)
        words = [
            self.redact(words_of(self.rules.profile, one, state.read))
            for one in around.added
            if "to" not in one
        ]
        said = TriedStep(
            step,
            self.redact(text_of(record.body["content"])),
            tuple(state.read("state.actions") or ()),
            around.phases,
            around.added,
            words,
            around.sets,
            around.flow,
            decision,
            self.recorded.get(step),
        )
        self.steps.append(said)
        if not state.is_settled:
            return AS_RECORDED
        if is_last:
            return LATER if decision.goes_on else AS_RECORDED
        return AS_RECORDED if decision.goes_on else EARLIER


def tried(
    profile: Profile,
    turn: str,
    records: Sequence[Record],
    fixed: Mapping[str, Any],
    earlier: Earlier,
    redact: Redact,
) -> Trial:
    """The rules of a profile over the records of a turn; `fixed` is what stays the same in it."""
    mark = f"{profile.name}@{revision_of(profile.to_text())[:12]}"
    rules, names = rules_of(profile, mark), names_in(records)
    state = TurnState(fixed, names, earlier.number, dict(earlier.unread))
    recorded = {one.body["step"]: one.body for one in records if _is_round(one)}
    for one in records:
        if one.kind == RULES and WITHDRAWN in one.body and one.body["step"] in recorded:
            step = one.body["step"]
            recorded[step] = {**recorded[step], WITHDRAWN: one.body[WITHDRAWN]}
    walk = _Replay(rules, state, turn, redact, recorded)
    answers = [one for one in records if one.kind == "model" and not one.body.get("partial")]
    for record in _followed(records):
        if record.kind != "model":
            state.follow([record])
        elif (ends := walk.answer(record, is_last=record.id == answers[-1].id)) != AS_RECORDED:
            return Trial(rules, walk.steps, ends)
    return Trial(rules, walk.steps)


def _is_round(record: Record) -> bool:
    return record.kind == RULES and bool(record.body.get("phases"))


def _followed(records: Iterable[Record]) -> Iterator[Record]:
    """The records that the state is made of, without what other rules did."""
    for record in records:
        if record.kind == "person" and GIVEN not in record.body:
            given = given_of(text_of(record.body["content"]))
            yield replace(record, body={**record.body, GIVEN: given})
        elif record.kind != RULES and not record.body.get("partial"):
            yield record


def given_of(text: str) -> Json:
    """What a person wrote, and the metadata of a task, from a message as the model read it.

    A turn without rules keeps no more of it.
    """
    head, _, rest = text.partition("\n")
    if not head.startswith("[sent "):
        return {"text": text}
    params: Any = None
    if _CONTEXT in head:
        context, _, rest = rest.partition("\n\n")
        with suppress(ValueError):  # it was too long, and so it was cut
            params = orjson.loads(context.rpartition(_METADATA)[2])
    if (mark := _MARK.search(head)) is not None:
        end = f"[{mark[1]} ends]"
        rest = rest.rpartition(end)[2].removeprefix("\n")
    return {"text": rest, "params": bounded(params if isinstance(params, dict) else {})}


def names_in(records: Iterable[Record]) -> dict[str, tuple[str, str]]:
    """The server and the own name of each tool that was called, by the model's name of it."""
    calls = dict[str, str]()
    found: dict[str, tuple[str, str]] = {}
    for record in records:
        if record.kind == "model":
            content = record.body["content"]
            calls |= {one["id"]: one["name"] for one in content if one["type"] == "tool_use"}
        elif record.kind == "started" and (name := calls.get(record.body["call"])) is not None:
            kind, *rest = str(record.body["key"]).split(":", 2)
            if kind == "mcp" and len(rest) == 2:
                found[name] = (rest[0], rest[1])
            elif rest:
                found[name] = ("" if kind == "skill" else ":", rest[0])
    return found
