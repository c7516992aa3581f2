"""F30: a host whose agent has rules is killed between observer, model, flow and answer."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bench.proof.crowd import Sent
from bench.proof.echo_model import AGENT
from bench.proof.result import Result
from bench.proof.rules_model import AGAIN, FIRST, LEAVES, Reminders, RulesModel
from bench.proof.store_relay import Arguments, Point, Trap
from bench.proof.trial import HostProcess, Run, Trial, trial
from bot.store import keys

PROFILE: dict[str, Any] = {
    "name": "Reminded",
    "pre_turn_observers": [
        {
            "id": "before_the_first",
            "condition": "v['state.step'] == 0",
            "action": {"type": "add_to_inbox", "inbox_item": {"source": "FIRST"}},
        },
    ],
    "post_turn_observers": [
        {
            "id": "without_a_call",
            "condition": "not v['state.current_action']",
            "action": {
                "type": "add_to_inbox",
                "inbox_item": {"source": "AGAIN"},
            },
        },
        {
            "id": "counts",
            "condition": "True",
            "action": {"type": "set_state", "path": "state.params.looked", "value": "yes"},
        },
    ],
    "flow_decider": [
        {
            "id": "leaves",
            "condition": f"'{LEAVES}' in v['state.answer']",
            "action": {"type": "await_user_input"},
        },
        {
            "id": "nothing_waits",
            "condition": "v['inbox.count'] == 0",
            "action": {"type": "end_agent_turn", "outcome": "success"},
        },
    ],
    "text_definitions": {"FIRST": FIRST, "AGAIN": AGAIN},
}


def _has_rules(words: Arguments) -> bool:
    return b"rules" in words


@dataclass(frozen=True, slots=True)
class Request:
    """A moment of a kill: the model was asked with these reminders, and has not answered."""

    name: str
    kind: str
    reminders: Reminders


MOMENTS: tuple[Request | Point, ...] = (
    Request("observer has fired, model has not answered", "plain", (FIRST,)),
    Request("the same, and the model will call a tool", "tool", (FIRST,)),
    Point("model answered, rules not recorded", "plain", None, "before", _has_rules),
    Point("rules and item recorded, item not read", "plain", None, "after", _has_rules),
    Point("call and rules not recorded", "tool", None, "before", _has_rules),
    Point("call and rules recorded, call not started", "tool", None, "after", _has_rules),
    Request("item read, model has not answered", "plain", (AGAIN,)),
    Request("item read after a call, model has not answered", "tool", (AGAIN,)),
    Point("flow has decided, end not recorded", "plain", "finish", "before"),
    Point("end recorded, answer not sent", "plain", "finish", "after"),
    Point("flow has left an item, end not recorded", "quick", "finish", "before"),
    Point("left item recorded, answer not sent", "quick", "finish", "after"),
)
SHORT = (MOMENTS[0], MOMENTS[2], MOMENTS[3], MOMENTS[7], MOMENTS[10])
"""One of each kind, for the tests."""
KINDS = ("plain", "tool", "quick")


async def named_moments(run: Run) -> Result:
    """F30: kill -9 at each of these moments; each item is read once, each rule acts once."""
    model = RulesModel()
    async with trial(run, "f30", 1, forked=True) as t:
        t.sim.script = model
        t.write_agents(profile=PROFILE["name"])
        folder = t.folder / "agent_profiles" / "profiles"
        folder.mkdir(parents=True)
        (folder / "reminded.json").write_text(json.dumps(PROFILE))
        host = await t.host(AGENT_PROFILES_DIR=str(folder.parent))
        for moment in SHORT if run.short else MOMENTS * max(1, run.at_each // 4):
            t.result.takeover.append(await host.start())
            await t.crowd.answered(20)  # five lives without getting further are poison
            await _one_kill(t, host, model, moment)
        t.result.takeover.append(await host.start())
        await t.crowd.answered()
        for whom in t.crowd.rooms:  # what was left unread is read now
            t.crowd.say(whom, "plain")
        result = await t.judged()
        await _judge_rules(t, model)
        await host.terminate()
        return result


async def _one_kill(t: Trial, host: HostProcess, model: RulesModel, at: Request | Point) -> None:
    """One life of the host, until it is killed at this moment."""
    (whom,) = t.crowd.join(1)
    gate = f"held {len(t.crowd.sent)}"
    if isinstance(at, Request):
        model.gates[f"n{len(t.crowd.sent):06d}", at.reminders] = gate
        caught = t.sim.gates.reached(gate, 25)
    else:
        caught = asyncio.wait_for(_set(host.store.set(at.trap())), 25)
    t.crowd.say(whom, at.kind)
    try:
        await caught
        t.result.tries += 1
    except TimeoutError:
        t.result.problem(f"the moment {at.name!r} was not reached")
    for beside in t.crowd.join(2):
        t.crowd.say(beside, t.crowd.chance.choice(KINDS))
    await host.kill()
    t.sim.gates.open(gate)


async def _set(trap: Trap) -> None:
    await trap.caught.wait()


# --- the judgement -------------------------------------------------------------------------------


async def _judge_rules(t: Trial, model: RulesModel) -> None:
    """Each item was in the requests of one answer; each rule acted once in a turn."""
    for words in model.problems:
        t.result.problem(words)
    by_room: dict[int, list[Sent]] = defaultdict(list)
    for one in t.crowd.sent:
        by_room[id(one.room)].append(one)
    drafts = 0
    async with t.valkey.client() as store:
        for there in by_room.values():
            _judge_requests(there, model, t.result)
            log = keys.transcript(there[0].line, str(there[0].room.id), AGENT)
            found: Any = await store.xrange(log)
            records = [(fields[b"k"].decode(), json.loads(fields[b"b"])) for _, fields in found]
            _judge_records(there, records, t.result)
            drafts += sum(kind == "model" for kind, _ in records) - len(there)
    asked = sum(map(len, model.asked.values()))
    t.result.notes.append(
        f"{len(t.crowd.sent)} turns with rules, {asked} requests to the model, {drafts} drafts and "
        "calls, none of which a person saw"
    )


def _judge_requests(sent: Sequence[Sent], model: RulesModel, result: Result) -> None:
    """Reminders came in their order, and none again once another answer was there."""
    for before, one in zip((None, *sent), sent, strict=False):
        first = (FIRST, AGAIN) if before is not None and before.kind == "quick" else (FIRST,)
        rest: dict[str, list[Reminders]] = {"plain": [(AGAIN,)], "tool": [(), (AGAIN,)]}
        asked = [reminders for reminders, _ in groupby(model.asked[one.nonce])]
        result.check(
            asked == [first, *rest.get(one.kind, [])],
            f"{one.nonce} ({one.kind}): reminded of {asked}",
        )


def _judge_records(
    sent: Sequence[Sent], records: Sequence[tuple[str, dict[str, Any]]], result: Result
) -> None:
    """Each item was added once by its rule, and read by one answer."""
    rules = [body for kind, body in records if kind == "rules"]
    added = [(body["turn"], one) for body in rules for one in body.get("added", ())]
    acts = Counter((turn, one["by"]) for turn, one in added)
    values = Counter(body["turn"] for body in rules if body.get("set"))
    turns = {body["turn"] for kind, body in records if kind == "person"}
    wanted = {(turn, rule) for turn in turns for rule in ("before_the_first", "without_a_call")}
    once = dict.fromkeys(wanted, 1)
    result.check(dict(acts) == once, f"{sent[0].nonce}: rules have acted {acts}")
    result.check(dict(values) == dict.fromkeys(turns, 1), f"{sent[0].nonce}: values {values}")
    read = Counter(id for kind, body in records if kind == "model" for id in body.get("read", ()))
    ids = Counter(one["id"] for _, one in added)
    twice = [id for id, count in (read + ids).items() if count != 2]
    result.check(not twice, f"{sent[0].nonce}: added or read another time than once: {twice}")
