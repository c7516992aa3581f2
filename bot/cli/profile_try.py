"""`switchboard profile try`: a profile's rules over a recorded turn; nothing is executed."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from bot.cli.documents import read_text
from bot.cli.registry import Registry, Said, table
from bot.errors import ConfigError
from bot.profiles.inbox import WITHDRAWN, earlier_in
from bot.profiles.trial import EARLIER, LATER, Trial, TriedStep, tried
from bot.store.journal import Record
from bot.store.recorded_turns import RecordedTurn, recorded_turns
from registry.definition import LlmConfiguration
from registry.profile import FlowRule, Observer, Profile
from registry.profile_edits import parse_pasted
from registry.profiles_seen import rule_words
from registry.roles import DEFAULT_ACCOUNT
from registry.secrets import redact
from registry.state_conditions import compiled

_LONGEST = 100
_PHASES = {"pre": "before", "post": "after", "flow": "flow"}
_NOT_KEPT = ("person.name", "person.role")
"""Facts of a turn that no record has, unless rules saw them then."""
_SAID = {
    EARLIER: "The turn would have ended here. What was recorded after it is not looked at.",
    LATER: "The turn would have made one more step here, which was not recorded.",
}


async def try_profile(registry: Registry, given: Namespace) -> Said:
    """What the rules of a profile would have done in a turn, beside what was recorded."""
    text, called = read_text(given.file)
    profile = await parse_pasted(registry.catalog, "profile", text, called)
    assert isinstance(profile, Profile)
    turn = await _found(registry, given.turn, given.agent or "")
    fixed = _facts(registry, turn, profile)
    earlier = earlier_in(_turns(turn.before))
    trial = tried(profile, turn.id, turn.records, fixed, earlier, _redacted)
    named = PurePath(called).name
    notes = [*_missing(profile, fixed)]
    if not turn.has_ended:
        notes.append("this turn is not over: only what is recorded so far is looked at")
    return Said([*_lines(turn, trial, named)], _data(turn, trial), notes=notes)


def _redacted(text: str) -> str:
    return redact("", text)


async def _found(registry: Registry, id: str, agent: str) -> RecordedTurn:
    """The turn with an id; raises ConfigError for none and for several."""
    if registry.client is None:
        raise ConfigError(f"this needs the store. {registry.missing}.")
    found = await recorded_turns(registry.client, id.strip(), agent)
    if not found:
        where = f" of agent '{agent}'" if agent else ""
        cure = "the log names turns by their ids; old ones are deleted after a while"
        raise ConfigError(f"no turn '{id[:64]}'{where} is recorded; {cure}")
    if len(found) > 1:
        places = "; ".join(f"agent {one.agent} in {one.line}" for one in found)
        raise ConfigError(f"several turns have this id: {places}; add --agent to name one")
    return found[0]


def _turns(records: Sequence[Record]) -> list[list[Record]]:
    """Records by the turns that they are of, in order."""
    found: list[list[Record]] = []
    for record in records:
        if record.kind == "person":
            found.append([])
        if found:
            found[-1].append(record)
    return found


def _facts(registry: Registry, turn: RecordedTurn, profile: Profile) -> dict[str, Any]:
    """What stays the same through a turn, as far as its records and the registry tell."""
    person = turn.records[0].body
    effective = registry.catalog.snapshot().effective(turn.answering, LlmConfiguration())
    own = effective.definition if effective else None
    models = (one.body["model"] for one in turn.records if one.kind == "model")
    millis = turn.id.partition("-")[0]
    began = int(millis) // 1000 if millis.isdecimal() else 0
    by = person.get("by")
    chat = "http" if person.get("stream") else "group" if turn.conversation[0] == "-" else "private"
    seen: dict[str, Any] = {}
    for record in turn.records:
        for phase in record.body.get("phases", ()) if record.kind == "rules" else ():
            seen |= {path: phase["seen"][path] for path in _NOT_KEPT if path in phase["seen"]}
    return {
        **dict.fromkeys(_NOT_KEPT),
        **seen,
        "state.agent_start_utc_timestamp": datetime.fromtimestamp(began, UTC).isoformat(),
        "person.id": f"tg:{by}" if isinstance(by, int) else by,
        "chat.kind": chat,
        "agent.id": turn.answering,
        "agent.name": own.name if own else None,
        "agent.type": profile.type,
        "agent.model": (effective.llm.model if effective else None) or next(models, None),
        "agent.instructions": effective.instructions if effective else None,
        "account.id": turn.attribution.get("account") or DEFAULT_ACCOUNT,
    }


def _missing(profile: Profile, fixed: Mapping[str, Any]) -> Iterator[str]:
    """What the rules read and no record has."""
    read = {path for rule in _rules(profile) for path in compiled(rule.condition).paths}
    if lost := [path for path in _NOT_KEPT if path in read and fixed[path] is None]:
        yield f"not recorded with this turn, and so None here: {', '.join(lost)}"


# --- as lines ------------------------------------------------------------------------------------


def _lines(turn: RecordedTurn, trial: Trial, called: str) -> Iterator[str]:
    profile = trial.rules.profile
    yield f"profile {profile.name} ({called}) over turn {turn.id}"
    yield f"agent {turn.answering}, {turn.line}, conversation {turn.conversation}"
    known = {one.id: one for one in _rules(profile)}
    for step in trial.steps:
        yield ""
        said = f"calls {', '.join(step.tools)}" if step.tools else f'"{_short(step.text)}"'
        yield f"step {step.step}: {said}"
        yield from (f"  {line}" for line in table(_rows(step, known)))
        yield from (f"  adds: {_short(words)}" for words in step.words)
        yield from (f"  sets {path} = {_value(value)}" for path, value in step.sets.items())
        yield f"  then: {_then(step)}"
        yield f"  recorded: {_recorded(step.recorded)}"
    if not trial.steps:
        yield "the model has not answered in this turn"
    if (end := _SAID.get(trial.ends)) is not None:
        yield ""
        yield end


def _rules(profile: Profile) -> Iterator[Observer | FlowRule]:
    yield from profile.pre_turn_observers
    yield from profile.post_turn_observers
    yield from profile.flow_decider


def _rows(step: TriedStep, known: Mapping[str, Observer | FlowRule]) -> Iterator[list[str]]:
    """A row for each rule that was looked at: when, whether it fires, what it does, what it saw."""
    for phase in step.phases:
        for id in phase["looked"]:
            rule = known[id]
            does = "fires" if id in phase["fired"] else "does not hold"
            does = "may add nothing now" if id in phase.get("spent", ()) else does
            paths = compiled(rule.condition).paths
            saw = ", ".join(f"{path} = {_value(phase['seen'].get(path))}" for path in paths)
            yield [_PHASES[phase["phase"]], id, does, rule_words(rule), saw]


def _then(step: TriedStep) -> str:
    """How the turn goes after an answer, by the rules that are tried."""
    by = f", by rule {step.flow}" if step.flow else ""
    if step.tools:
        return f"the tool runs as ever{by}"
    if step.decision.goes_on:
        return f"one more step{by}"
    failed = step.decision.action is not None and step.decision.action.outcome == "error"
    return f"the turn ends{' as an error' if failed else ''}{by}"


def _recorded(body: Mapping[str, Any] | None) -> str:
    """What the rules of that time did there."""
    if body is None:
        return "no rules"
    fired = [id for phase in body["phases"] for id in phase["fired"]]
    parts = [f"fired {', '.join(fired)}" if fired else "nothing fired"]
    parts += (
        [f"added {', '.join(one['source'] for one in body['added'])}"] if body.get("added") else []
    )
    parts += [f"set {', '.join(body['set'])}"] if body.get("set") else []
    parts += [f"flow {body['flow']}"] if body.get("flow") else []
    parts += [f"withdrawn at the end {', '.join(body[WITHDRAWN])}"] if body.get(WITHDRAWN) else []
    return f"{body['profile']}: {'; '.join(parts)}"


def _short(text: str) -> str:
    line = " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _value(value: Any) -> str:
    return _short(json.dumps(value, ensure_ascii=False))


# --- as data -------------------------------------------------------------------------------------


def _data(turn: RecordedTurn, trial: Trial) -> dict[str, Any]:
    return {
        "turn": turn.id,
        "agent": turn.answering,
        "line": turn.line,
        "conversation": turn.conversation,
        "profile": trial.rules.name,
        "ends": trial.ends,
        "steps": [
            {
                "step": one.step,
                "text": one.text,
                "tools": [*one.tools],
                "phases": [*one.phases],
                "added": [*one.added],
                "set": dict(one.sets),
                "flow": one.flow or None,
                "goes_on": one.decision.goes_on,
                "recorded": one.recorded,
            }
            for one in trial.steps
        ],
    }
