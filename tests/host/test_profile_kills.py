"""kill -9 around the rules of a turn: nothing is read twice or lost, and no rule fires twice."""

from __future__ import annotations

import signal
from collections import Counter, deque
from typing import Any

import orjson

from bot.turn.results import BROKEN
from simulators.messages.turns import Text, Turn
from simulators.messages.validate import ModelRequest
from simulators.testing.stage import PATIENCE, buttons
from simulators.testing.valkey import Valkey
from tests.host.profiled import PARTNER, Json, add_agent, write_profile
from tests.host.stage import Stage, until

RULES = """
pre_turn_observers:
  - id: setup
    condition: "v['state.step'] == 0"
    action: {type: add_to_inbox, inbox_item: {source: SETUP, payload: "Begin well."}}
post_turn_observers:
  - id: reflect
    condition: "not v['state.current_action']"
    action: {type: add_to_inbox, inbox_item: {source: SELF_REFLECTION_PROMPT}}
  - id: count
    condition: "v['state.params.answers'] is None"
    action: {type: set_state, path: state.params.answers, value: 1}
"""


async def test_a_host_killed_at_each_moment_around_its_rules_does_everything_once(
    stage: Stage, valkey: Valkey
) -> None:
    stage.environ["REDIS_URL"] = valkey.url
    agent = add_agent(stage, "Steady", "Steady", RULES)
    first, second = deque(["before the model", "before the flow"]), deque(["before the end"])

    def answer(request: ModelRequest) -> Turn:
        """A draft, or the answer once it was asked to reflect; the first ones are held."""
        is_asked = "Reflect" in str(request.messages[-1].blocks[-1].block)
        gates = second if is_asked else first
        gate = gates.popleft() if gates else None
        return Turn((Text("the answer" if is_asked else "a draft"),), gate=gate)

    agent.script(answer, again=True)
    host = await stage.process()
    agent.say("go")
    await stage.sim.gates.reached("before the model")
    await host.kill()
    host = await stage.process()
    await stage.sim.gates.reached("before the flow")
    assert valkey.process is not None
    valkey.process.send_signal(signal.SIGSTOP)
    stage.sim.gates.open("before the flow")
    await until(lambda: stage.sim.records.all()[-1].outcome == "done", PATIENCE)
    await host.kill()
    valkey.process.send_signal(signal.SIGCONT)
    host = await stage.process()
    await stage.sim.gates.reached("before the end")
    await host.kill()
    again = await stage.process()
    try:
        await stage.answer(agent.room, agent.bot)
        records = await _records(valkey, f"{{bot:{agent.bot.id}}}:conv:{agent.ann.id}:steady:log")
    finally:
        await again.end()
    assert agent.texts == ["the answer"]
    for request in agent.requests:
        told = str(request["messages"])
        assert told.count("Begin well.") + told.count("Reflect on") == 1
    added = Counter(one["id"] for r in records["rules"] for one in r.get("added", ()))
    read = Counter(id for one in records["model"] for id in one.get("read", ()))
    assert added == read
    assert [*added.values()] == [1, 1]
    assert [one["step"] for one in records["rules"]] == [1, 2]
    assert [one.get("set") for one in records["rules"]] == [{"state.params.answers": 1}, None]


WORDS = """
text_definitions: {SELF_REFLECTION_PROMPT: "Look again, by {{ agent.name }}."}
"""
OTHER = """
flow_decider:
  - {id: wait, condition: "v['state.step'] > 1", action: {type: await_user_input}}
"""


async def test_a_step_that_a_rule_asked_for_is_made_also_where_the_agent_has_other_rules_by_now(
    stage: Stage, valkey: Valkey
) -> None:
    stage.environ["REDIS_URL"] = valkey.url
    names = ("Bare", "Worded", "Changed")
    agents = {name: add_agent(stage, name, name, RULES) for name in names}
    for agent in agents.values():
        agent.script("a draft", Turn((Text("never whole"),), gate=agent.name), "the answer", "ok")
    host = await stage.process()
    for agent in agents.values():
        agent.say("go")
        await stage.sim.gates.reached(agent.name)
    await host.kill()
    del next(one for one in stage.agents["agents"] if one["id"] == "bare")["profile"]
    write_profile(stage, "Worded", WORDS)
    write_profile(stage, "Changed", OTHER)
    again = await stage.process()
    try:
        for agent in agents.values():
            await stage.answer(agent.room, agent.bot)
            assert agent.texts == ["the answer"]
            assert await agent.ask("and?") == "ok"
            assert not any(word in agent.everywhere() for word in ("Reflect", "Look", "a draft"))
    finally:
        await again.end()
    assert [agents["Bare"].asked(n)[0][:7] for n in (1, 2)] == ["Reflect"] * 2
    assert agents["Worded"].asked(2) == ["Look again, by Worded."]
    assert agents["Changed"].asked(2)[0].startswith("Reflect")
    for agent in agents.values():
        key = f"{{bot:{agent.bot.id}}}:conv:{agent.ann.id}:{agent.name.lower()}:log"
        read = [one.get("read") for one in (await _records(valkey, key))["model"]]
        assert [bool(ids) for ids in read] == [True, True, False]


async def test_a_turn_whose_profile_is_gone_after_a_restart_says_so_and_can_be_tried_again(
    stage: Stage,
) -> None:
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    agent = add_agent(stage, "Lost", "Lost", PARTNER)
    private = stage.world.private(boss, agent.bot)
    agent.script(Turn((Text("never whole"),), gate="held"), "the answer", "ok")
    host = await stage.process()
    await stage.ask(boss, private, agent.bot, "/help")
    agent.say("go")
    await stage.sim.gates.reached("held")
    await host.kill()
    file = stage.folder / "agent_profiles" / "profiles" / "lost.yaml"
    file.unlink()
    async with stage.host() as again:
        said = await stage.answer(agent.room, agent.bot)
        assert (said.text, buttons(said)) == (BROKEN, ["Try again"])
        told = "agent 'lost' does not answer: there is no profile 'Lost'"
        await stage.world.until(lambda: told in str(stage.texts(private, agent.bot.id)), PATIENCE)
        write_profile(stage, "Lost", PARTNER)
        await again.catalog.until(lambda now: now.lost_profile("lost") is None)
        stage.world.press_button(agent.ann, agent.room, said.id, "Try again")
        await stage.world.until(lambda: "the answer" in agent.texts, PATIENCE)
        assert agent.asked()[0].endswith("go")
        assert await agent.ask("and?") == "ok"


async def _records(valkey: Valkey, key: str) -> dict[str, list[Json]]:
    """The records of a conversation, by their kinds."""
    kept: dict[str, list[Json]] = {}
    async with valkey.client() as store:
        found: Any = await store.xrange(key)
        for _, fields in found:
            kept.setdefault(fields[b"k"].decode(), []).append(orjson.loads(fields[b"b"]))
    return kept
