"""Ways around an approval: each of these was tried, and some of them once went through."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from bot.app import App
from bot.store.keys import outbox
from registry.policy import ToolPolicy
from simulators.messages.turns import Call, Turn, turn
from simulators.messages.validate import ModelRequest
from simulators.telegram.people import Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, until
from tests.host.tool_agent import PATIENCE, ToolAgent, data, results, write


async def test_an_approval_holds_for_one_call_also_where_the_model_gives_all_calls_one_id(
    stage: Stage,
) -> None:
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = agent.room(ann)
    same = turn(Call("desk__write", {"text": "pay"}, id="toolu_same"))
    stage.script.on(same, same, "done")
    async with agent.host():
        stage.world.say(ann, room, "pay")
        first = await agent.question(room)
        agent.press(ann, room, first, "Once")
        await agent.closed(room, first)
        second = await agent.question(room)
        assert second.id != first.id
        assert agent.done == ["write pay"]
        agent.press(ann, room, second, "Deny")
        await agent.closed_or_asked_why(room, second)
        agent.press(ann, room, second, "Continue without a reason")
        await agent.said(room, "done")
    assert agent.done == ["write pay"]


async def test_two_calls_of_one_id_are_decided_each_for_itself(stage: Stage) -> None:
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = agent.room(ann)
    calls = [Call("desk__write", {"text": word}, id="toolu_same") for word in ("a", "a")]
    stage.script.on(turn(*calls), "done")
    async with agent.host():
        stage.world.say(ann, room, "write")
        question = await agent.question(room)
        agent.press(ann, room, question, "1: Once")
        agent.press(ann, room, question, "2: Deny")
        await agent.closed_or_asked_why(room, question)
        agent.press(ann, room, question, "Continue without a reason")
        await agent.said(room, "done")
    assert agent.done == ["write a"]


async def test_a_press_after_the_end_of_a_question_decides_nothing_though_nobody_closed_it_yet(
    stage: Stage,
) -> None:
    """Its end is due, but the only place for turns is taken by somebody else's."""
    agent, ann, ben = (
        ToolAgent(stage, toolPolicy={"approvalMinutes": 0.02}),
        *map(stage.person, "AB"),
    )
    room, other = agent.room(ann), agent.room(ben)
    stage.script.on(write(), "nobody said yes", user="write hello")
    stage.script.on(turn("held", gate="held"), user="hold on")
    async with agent.host(TURNS_AT_ONCE="1"):
        stage.world.say(ann, room, "write hello")
        question = await agent.question(room)
        stage.world.say(ben, other, "hold on")
        await stage.sim.gates.reached("held", PATIENCE)
        end = time.time() + 1.3
        await until(lambda: time.time() > end)
        word = await agent.answered(agent.press(ann, room, question, "Once"))
        stage.sim.gates.open("held")
        await agent.said(room, "nobody said yes")
    assert word == "This question is no longer open."
    assert agent.done == []


async def cut_off(stage: Stage) -> tuple[ToolAgent, Person, Room]:
    """A call that may be repeated has run, and the host was killed before it heard so."""
    agent, ann = ToolAgent(stage, whitelistPatterns=["mcp:desk:slow"]), stage.person("Ann")
    stage.agents["mcpServers"]["desk"]["repeatable"] = ["slow"]
    room = agent.room(ann)
    stage.script.on(turn(Call("desk__slow", {"text": "x"})), "as you wish")
    host = await agent.process()
    stage.world.say(ann, room, "slow x")
    await until(lambda: agent.done == ["slow x"], PATIENCE)
    await host.kill()
    return agent, ann, room


@pytest.mark.timeout(120)
async def test_a_repeatable_call_that_was_cut_off_is_not_repeated_once_its_tool_is_disabled(
    stage: Stage,
) -> None:
    agent, _, room = await cut_off(stage)
    stage.agents["agents"][0]["toolPolicy"] = {"disabledTools": ["slow"]}
    host = await stage.process()
    try:
        await agent.said(room, "as you wish")
    finally:
        await host.end()
    assert agent.done == ["slow x"]
    assert "not available to you" in results(stage)[0]
    assert "may or may not" in results(stage)[0]


@pytest.mark.timeout(120)
async def test_a_repeatable_call_that_was_cut_off_asks_first_where_it_may_not_run_unasked_now(
    stage: Stage,
) -> None:
    agent, ann, room = await cut_off(stage)
    stage.agents["agents"][0]["whitelistPatterns"] = []
    host = await stage.process()
    try:
        question = await agent.question(room)
        assert agent.done == ["slow x"]
        agent.press(ann, room, question, "Once")
        await until(lambda: agent.done == ["slow x", "slow x"], PATIENCE)
    finally:
        await host.kill()


async def test_what_somebody_allowed_for_good_is_void_once_they_may_not_approve_any_more(
    stage: Stage,
) -> None:
    ann, cid = stage.person("Ann"), stage.person("Cid")
    agent = ToolAgent(stage)
    room = stage.world.group("Team", [cid, ann, agent.bot])
    stage.script.on(write("1"), "one", write("2"), "two")
    async with agent.host() as host:
        stage.world.say(ann, room, f"@{agent.bot.username} write")
        agent.press(ann, room, await agent.question(room), "Always here")
        await agent.said(room, "one")
        stage.agents["agents"][0]["toolPolicy"] = {"approvers": [cid.id]}
        stage.write_agents()
        now = ToolPolicy(approvers=(cid.id,))
        await host.catalog.until(lambda found: found.agents["clerk"].value.tool_policy == now)
        stage.world.say(ann, room, f"@{agent.bot.username} write again")
        question = await agent.question(room)
        assert agent.done == ["write 1"]
        agent.press(cid, room, question, "Once")
        await agent.said(room, "two")
    assert agent.done == ["write 1", "write 2"]


async def test_what_one_member_of_a_group_allows_for_good_binds_no_other_member(
    stage: Stage,
) -> None:
    """Mallory is glad that writing needs no question any more; Ann was never asked."""
    agent, ann, mallory = ToolAgent(stage), stage.person("Ann"), stage.person("Mallory")
    room = stage.world.group("Team", [ann, mallory, agent.bot])
    stage.script.on(write("1"), "one", write("2"), "two", write("3"), "three")
    at = f"@{agent.bot.username}"
    async with agent.host():
        stage.world.say(mallory, room, f"{at} write")
        pressed = agent.press(mallory, room, await agent.question(room), "Always here")
        assert await agent.answered(pressed) == "Allowed here for you from now on."
        await agent.said(room, "one")
        stage.world.say(ann, room, f"{at} write")
        question = await agent.question(room)
        assert agent.done == ["write 1"]
        agent.press(ann, room, question, "Once")
        await agent.said(room, "two")
        stage.world.say(mallory, room, f"{at} write")
        await agent.said(room, "three")
    assert agent.done == ["write 1", "write 2", "write 3"]


@pytest.mark.parametrize("shape", ["closed", "open"])
async def test_a_forged_press_draws_no_question_over_another_message_of_the_bot(
    stage: Stage, shape: str
) -> None:
    """Clients may send any data for any message of a bot."""
    agent, ann, mallory = ToolAgent(stage), stage.person("Ann"), stage.person("Mallory")
    room = stage.world.group("Team", [ann, mallory, agent.bot])
    stage.script.on(write(), "It is written.", write("more"))
    async with agent.host():
        stage.world.say(ann, room, f"@{agent.bot.username} write hello")
        question = await agent.question(room)
        choice = data(question)[0]
        agent.press(ann, room, question, "Once")
        await agent.said(room, "It is written.")
        await agent.closed(room, question)
        victim = [m for m in room.messages.values() if m.author == agent.bot.id][-1]
        who: Any = mallory
        if shape == "open":
            stage.world.say(ann, room, f"@{agent.bot.username} write more")
            choice, who = data(await agent.question(room))[0], ann
        forged = stage.world.press(agent.bot, who, room, victim, choice)
        await agent.answered(forged)
        if shape == "open":
            await agent.until(lambda: len(agent.done) == 2)
        again = stage.world.press(agent.bot, mallory, room, victim, "nonsense")
        await agent.answered(again)
        assert room.messages[victim.id].text == "It is written."


async def test_a_heap_of_calls_is_not_put_before_a_person_at_once(stage: Stage) -> None:
    """Nobody can judge forty calls that are cut to a line each, under one button for all."""
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = agent.room(ann)
    calls = [Call("desk__write", {"text": f"{n} " + "x" * 300}) for n in range(40)]
    stage.script.on(turn(*calls), "Then not.")
    async with agent.host(LIMITS__TOOLCALLS="64"):
        stage.world.say(ann, room, "write")
        question = await agent.question(room)
        assert "May I do these 10 things?" in question.text
        assert "x" * 200 in question.text
        agent.press(ann, room, question, "Deny all")
        await agent.closed_or_asked_why(room, question)
        agent.press(ann, room, question, "Continue without a reason")
        await agent.said(room, "Then not.")
    told = results(stage)
    assert len(told) == 40
    assert sum("calls already wait for approval" in one for one in told) == 30
    assert agent.done == []


async def test_the_name_of_a_tool_formats_and_links_nothing_while_it_runs(stage: Stage) -> None:
    agent, ann = ToolAgent(stage, whitelistPatterns=["mcp:desk:*"]), stage.person("Ann")
    name = "[Your account is locked](https://evil.example) *now*"
    stage.agents["mcpServers"]["desk"]["env"]["DESK_SLOW"] = name
    room = agent.room(ann)

    def called(asked: ModelRequest) -> Turn:
        wire = next(tool["name"] for tool in asked.tools if "account" in tool["name"])
        return turn(Call(wire, {"text": "x"}))

    stage.script.on(called)
    async with agent.host():
        stage.world.say(ann, room, "go")
        await agent.until(lambda: any(name in d.text for d in stage.world.drafts(room)))
        (draft,) = stage.world.drafts(room)
        assert {one["type"] for one in draft.entities} <= {"italic", "url"}
        stage.world.say(ann, room, "/stop")
        await agent.said(room, "topped")


async def test_a_heap_of_open_questions_makes_nothing_slow_for_anybody_else(stage: Stage) -> None:
    """Whoever may write to a bot can leave questions open, in as many chats as they like."""
    agent, ann = ToolAgent(stage), stage.person("Ann")
    crowd = [stage.person(f"P{number}") for number in range(24)]
    stage.script.on(write(), again=True)
    async with agent.host() as host:
        for one in crowd:
            stage.world.say(one, agent.room(one), "write hello")
        for one in crowd:
            await agent.question(agent.room(one))
        await all_receipted(host, f"bot:{agent.bot.id}")
        before = host.store.round_trips
        for word, told in (("/stop", "Nothing is running"), ("/new", "A new conversation")):
            stage.world.say(ann, agent.room(ann), word)
            await agent.said(agent.room(ann), told)
        assert host.store.round_trips - before < 20


async def all_receipted(host: App, line: str) -> None:
    """Until nothing of a line is on its way any more."""
    async with asyncio.timeout(PATIENCE):
        while await host.store.command("XLEN", outbox(line)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
