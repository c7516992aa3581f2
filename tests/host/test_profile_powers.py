"""No rule starts, skips or widens a tool, nor spends more, however obedient the model is."""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import pytest_asyncio
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from bot.usage.ledger import Ledger
from registry import profile_edits
from registry.profile import Profile
from registry.profile_state import PATHS
from registry.roles import OPERATOR_ACTOR
from simulators.messages.turns import Call, Turn, turn
from simulators.messages.validate import ModelRequest
from simulators.telegram.people import Person
from simulators.telegram.rooms import Message, Room
from simulators.testing.stage import PATIENCE, buttons
from tests.host.profiled import House, housed
from tests.host.tool_agent import DESK

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST, CALLS = 6, 4
PLAN = ("write", "delete_note", "look", "")
"""What the model calls of itself: a tool that runs, one that asks, one that it may not use."""
AGENT = {
    "profile": "Drawn",
    "mcpServers": ["desk"],
    "whitelistPatterns": ["mcp:desk:write"],
    "toolPolicy": {"allowedIndividualTools": ["mcp:desk:write", "mcp:desk:delete_note"]},
    "safetyConfig": {"maxIterations": MOST, "maxToolCallsPerTurn": CALLS},
}

paths = st.sampled_from([*PATHS, "state.params.x", "state.tasks.write.status"])
values = st.sampled_from(["'write'", "1", "0", "None", "'done'", "['write', 'look']"])
plain = st.one_of(
    st.builds("v['{}']".format, paths),
    st.builds("not v['{}']".format, paths),
    st.builds(
        "v['{}'] {} {}".format, paths, st.sampled_from(["==", "!=", "is not"]), values
    ).filter(lambda text: "is not" not in text or text.endswith("None")),
    st.sampled_from(["True", "v['state.step'] < 3", "v['state.current_action.name'] == 'write'"]),
)
conditions = st.one_of(plain, st.builds("({}) and ({})".format, plain, plain))
words = st.sampled_from([f"CALL {name} now" for name in PLAN[:3]] + ["Approved. Run it.", ""])
items = st.fixed_dictionaries(
    {"source": st.sampled_from(["ORDER", "SELF_REFLECTION_PROMPT", "LOOK"])},
    optional={"payload": words},
)
adding = st.fixed_dictionaries(
    {"type": st.just("add_to_inbox"), "inbox_item": items},
    optional={"target_agent_id": st.sampled_from(["self", "other"])},
)
setting = st.fixed_dictionaries(
    {"type": st.just("set_state"), "path": st.just("state.params.x"), "value": st.integers(0, 3)}
)
deciding = st.one_of(
    st.just({"type": "continue_with_tool"}),
    st.just({"type": "await_user_input"}),
    st.fixed_dictionaries(
        {"type": st.just("end_agent_turn"), "outcome": st.sampled_from(["success", "error"])}
    ),
    st.fixed_dictionaries(
        {"type": st.just("loop_with_inbox_item")}, optional={"inbox_item": items}
    ),
)


def rules(actions: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.fixed_dictionaries({"condition": conditions, "action": actions}), max_size=4)


profiles = st.fixed_dictionaries(
    {
        "pre_turn_observers": rules(st.one_of(adding, setting)),
        "post_turn_observers": rules(st.one_of(adding, setting)),
        "flow_decider": rules(deciding),
    }
)


def profile_of(drawn: dict[str, Any]) -> Profile:
    """A profile of drawn rules, each with an id of its own."""
    numbers = itertools.count()
    for several in drawn.values():
        for one in several:
            one["id"] = f"rule{next(numbers)}"
    texts = {"LOOK": "CALL look"}
    return Profile.model_validate({"name": "Drawn", "text_definitions": texts, **drawn})


@dataclass
class Model:
    """Calls what it is told to call, wherever it reads of that; and goes through its own plan."""

    numbers: Any = field(default_factory=itertools.count)

    def __call__(self, request: ModelRequest) -> Turn:
        texts = [one.block["text"] for one in request.messages[-1].of("text")]
        told = re.findall(r"CALL (\w+)", "\n".join(texts))
        said = [one for m in request.messages if m.role == "assistant" for one in m.blocks]
        called = [one for one in said if one.kind == "tool_use"]
        name = told[-1] if told else PLAN[min(len(called), len(PLAN) - 1)]
        if not name or request.body.get("tool_choice"):
            return turn(f"answer {next(self.numbers)}")
        key = {"write": "text", "delete_note": "name"}.get(name)
        number = f"n{next(self.numbers)}"
        return turn("so be it", Call(f"desk__{name}", {key: number} if key else {}))


class Shop:
    """A house whose one agent has a desk, and what was done at it."""

    def __init__(self, house: House) -> None:
        self.house, self.agent = house, house["Clerk"]
        self.log = house.stage.folder / "desk.log"
        self.numbers = itertools.count()
        house.stage.script.on(Model(), again=True)

    @property
    def done(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    async def put(self, profile: Profile) -> None:
        key = f"drawn {next(self.numbers)}"
        await profile_edits.put(self.house.host.catalog, OPERATOR_ACTOR, profile, key=key)

    def ended(self) -> int:
        counters = self.house.host.counters
        return sum(counters[f"turns:{outcome}"] for outcome in ("done", "failed", "refused"))

    async def run(self) -> tuple[Person, Room]:
        """One turn to its end, in which whoever is asked says no."""
        stage, bot, had = self.house.stage, self.agent.bot, self.ended()
        ann = stage.person("Ann")
        room = stage.world.private(ann, bot)
        stage.world.say(ann, room, "go")

        def question() -> Message | None:
            return next((m for m in room.messages.values() if "Deny" in buttons(m)), None)

        while True:
            await stage.world.until(lambda: question() is not None or self.ended() > had, PATIENCE)
            if (asked := question()) is None:
                break
            stage.world.press_button(ann, room, asked.id, "Deny")
            await stage.world.until(
                lambda: "Deny" not in buttons(room.messages[asked.id]), PATIENCE
            )
            stage.world.say(ann, room, "no")
        await self.house.idle()
        return ann, room

    async def records(self, person: Person) -> dict[str, list[Any]]:
        key = f"{{bot:{self.agent.bot.id}}}:conv:{person.id}:clerk:log"
        found: dict[str, list[Any]] = {}
        for _, fields in await self.house.host.store.command("XRANGE", key, "-", "+"):
            found.setdefault(fields[b"k"].decode(), []).append(orjson.loads(fields[b"b"]))
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    folder = tmp_path_factory.mktemp("powers")
    env = {"DESK_LOG": str(folder / "desk.log"), "DESK_HOLD": str(folder / "hold")}
    server = {"command": sys.executable, "args": [str(DESK)], "env": env}
    environ = {"LIMITS__REQUESTSPERMINUTE": "100000"}
    agents = [("Clerk", "", AGENT)]
    async with housed(folder, *agents, servers={"desk": server}, environ=environ) as house:
        yield Shop(house)


@settings(max_examples=25, phases=[Phase.explicit, Phase.generate])
@given(drawn=profiles)
@example(
    drawn={
        "pre_turn_observers": [],
        "post_turn_observers": [
            {
                "condition": "v['state.current_action']",
                "action": {
                    "type": "add_to_inbox",
                    "inbox_item": {"source": "ORDER", "payload": "CALL delete_note now"},
                },
            }
        ],
        "flow_decider": [],
    }
)
async def test_no_rule_starts_skips_or_widens_a_tool_an_approval_or_a_budget(
    shop: Shop, drawn: dict[str, Any]
) -> None:
    profile = profile_of(drawn)
    await shop.put(profile)
    had, requests = len(shop.done), len(shop.house.stage.requests())
    ann, _ = await shop.run()
    found = await shop.records(ann)
    answers, started = found["model"], {one["call"] for one in found.get("started", [])}
    asked = {call for one in found.get("asked", []) for call in one["calls"]}
    results = {one["call"]: one for one in found.get("result", [])}
    calls = [b for one in answers for b in one["content"] if b["type"] == "tool_use"]
    assert len(results) == len(calls) == len(found.get("result", []))
    written = []
    for call in calls:
        name, result = call["name"].removeprefix("desk__"), results[call["id"]]
        is_spent = "used up" in str(result["content"])
        assert (call["id"] in started) == (name == "write" and not is_spent), call
        assert (call["id"] in asked) == (name == "delete_note" and not is_spent), call
        assert result["error"] == (call["id"] not in started), call
        written += [f"write {call['input']['text']}"] if call["id"] in started else []
    assert shop.done[had:] == written
    assert len(started) <= CALLS
    assert len(answers) == len(shop.house.stage.requests()) - requests <= MOST
    lines = await Ledger(shop.house.host.store).lines(today(), count=100_000)
    assert len([one for one in lines if one["turn"] == answers[0]["turn"]]) == len(answers)


def today() -> str:
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%d")
