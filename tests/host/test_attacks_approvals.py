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
from tests.host.desk import PATIENCE, Desk, data, results, write
from tests.host.stage import Stage, until


async def test_an_approval_holds_for_one_call_also_where_the_model_gives_all_calls_one_id(
    stage: Stage,
) -> None:
    desk, ann = Desk(stage), stage.person("Ann")
    room = desk.room(ann)
    same = turn(Call("desk__write", {"text": "pay"}, id="toolu_same"))
    stage.script.on(same, same, "done")
    async with desk.host():
        stage.world.say(ann, room, "pay")
        first = await desk.question(room)
        desk.press(ann, room, first, "Once")
        await desk.closed(room, first)
        second = await desk.question(room)
        assert second.id != first.id
        assert desk.done == ["write pay"]
        desk.press(ann, room, second, "Deny")
        await desk.closed_or_asked_why(room, second)
        desk.press(ann, room, second, "Continue without a reason")
        await desk.said(room, "done")
    assert desk.done == ["write pay"]


async def test_two_calls_of_one_id_are_decided_each_for_itself(stage: Stage) -> None:
    desk, ann = Desk(stage), stage.person("Ann")
    room = desk.room(ann)
    calls = [Call("desk__write", {"text": word}, id="toolu_same") for word in ("a", "a")]
    stage.script.on(turn(*calls), "done")
    async with desk.host():
        stage.world.say(ann, room, "write")
        question = await desk.question(room)
        desk.press(ann, room, question, "1: Once")
        desk.press(ann, room, question, "2: Deny")
        await desk.closed_or_asked_why(room, question)
        desk.press(ann, room, question, "Continue without a reason")
        await desk.said(room, "done")
    assert desk.done == ["write a"]


async def test_a_press_after_the_end_of_a_question_decides_nothing_though_nobody_closed_it_yet(
    stage: Stage,
) -> None:
    """Its end is due, but the only place for turns is taken by somebody else's."""
    desk, ann, ben = Desk(stage, toolPolicy={"approvalMinutes": 0.02}), *map(stage.person, "AB")
    room, other = desk.room(ann), desk.room(ben)
    stage.script.on(write(), "nobody said yes", user="write hello")
    stage.script.on(turn("held", gate="held"), user="hold on")
    async with desk.host(TURNS_AT_ONCE="1"):
        stage.world.say(ann, room, "write hello")
        question = await desk.question(room)
        stage.world.say(ben, other, "hold on")
        await stage.sim.gates.reached("held", PATIENCE)
        end = time.time() + 1.3
        await until(lambda: time.time() > end)
        word = await desk.answered(desk.press(ann, room, question, "Once"))
        stage.sim.gates.open("held")
        await desk.said(room, "nobody said yes")
    assert word == "This question is no longer open."
    assert desk.done == []


async def cut_off(stage: Stage) -> tuple[Desk, Person, Room]:
    """A call that may be repeated has run, and the host was killed before it heard so."""
    desk, ann = Desk(stage, whitelistPatterns=["mcp:desk:slow"]), stage.person("Ann")
    stage.agents["mcpServers"]["desk"]["repeatable"] = ["slow"]
    room = desk.room(ann)
    stage.script.on(turn(Call("desk__slow", {"text": "x"})), "as you wish")
    host = await desk.process()
    stage.world.say(ann, room, "slow x")
    await until(lambda: desk.done == ["slow x"], PATIENCE)
    await host.kill()
    return desk, ann, room


@pytest.mark.timeout(120)
async def test_a_repeatable_call_that_was_cut_off_is_not_repeated_once_its_tool_is_disabled(
    stage: Stage,
) -> None:
    desk, _, room = await cut_off(stage)
    stage.agents["agents"][0]["toolPolicy"] = {"disabledTools": ["slow"]}
    host = await stage.process()
    try:
        await desk.said(room, "as you wish")
    finally:
        await host.end()
    assert desk.done == ["slow x"]
    assert "not available to you" in results(stage)[0]
    assert "may or may not" in results(stage)[0]


@pytest.mark.timeout(120)
async def test_a_repeatable_call_that_was_cut_off_asks_first_where_it_may_not_run_unasked_now(
    stage: Stage,
) -> None:
    desk, ann, room = await cut_off(stage)
    stage.agents["agents"][0]["whitelistPatterns"] = []
    host = await stage.process()
    try:
        question = await desk.question(room)
        assert desk.done == ["slow x"]
        desk.press(ann, room, question, "Once")
        await until(lambda: desk.done == ["slow x", "slow x"], PATIENCE)
    finally:
        await host.kill()


async def test_what_somebody_allowed_for_good_is_void_once_they_may_not_approve_any_more(
    stage: Stage,
) -> None:
    ann, cid = stage.person("Ann"), stage.person("Cid")
    desk = Desk(stage)
    room = stage.world.group("Team", [cid, ann, desk.bot])
    stage.script.on(write("1"), "one", write("2"), "two")
    async with desk.host() as host:
        stage.world.say(ann, room, f"@{desk.bot.username} write")
        desk.press(ann, room, await desk.question(room), "Always here")
        await desk.said(room, "one")
        stage.agents["agents"][0]["toolPolicy"] = {"approvers": [cid.id]}
        stage.write_agents()
        now = ToolPolicy(approvers=(cid.id,))
        await host.catalog.until(lambda found: found.agents["clerk"].value.tool_policy == now)
        stage.world.say(ann, room, f"@{desk.bot.username} write again")
        question = await desk.question(room)
        assert desk.done == ["write 1"]
        desk.press(cid, room, question, "Once")
        await desk.said(room, "two")
    assert desk.done == ["write 1", "write 2"]


async def test_what_one_member_of_a_group_allows_for_good_binds_no_other_member(
    stage: Stage,
) -> None:
    """Mallory is glad that writing needs no question any more; Ann was never asked."""
    desk, ann, mallory = Desk(stage), stage.person("Ann"), stage.person("Mallory")
    room = stage.world.group("Team", [ann, mallory, desk.bot])
    stage.script.on(write("1"), "one", write("2"), "two", write("3"), "three")
    at = f"@{desk.bot.username}"
    async with desk.host():
        stage.world.say(mallory, room, f"{at} write")
        pressed = desk.press(mallory, room, await desk.question(room), "Always here")
        assert await desk.answered(pressed) == "Allowed here for you from now on."
        await desk.said(room, "one")
        stage.world.say(ann, room, f"{at} write")
        question = await desk.question(room)
        assert desk.done == ["write 1"]
        desk.press(ann, room, question, "Once")
        await desk.said(room, "two")
        stage.world.say(mallory, room, f"{at} write")
        await desk.said(room, "three")
    assert desk.done == ["write 1", "write 2", "write 3"]


@pytest.mark.parametrize("shape", ["closed", "open"])
async def test_a_forged_press_draws_no_question_over_another_message_of_the_bot(
    stage: Stage, shape: str
) -> None:
    """Clients may send any data for any message of a bot."""
    desk, ann, mallory = Desk(stage), stage.person("Ann"), stage.person("Mallory")
    room = stage.world.group("Team", [ann, mallory, desk.bot])
    stage.script.on(write(), "It is written.", write("more"))
    async with desk.host():
        stage.world.say(ann, room, f"@{desk.bot.username} write hello")
        question = await desk.question(room)
        choice = data(question)[0]
        desk.press(ann, room, question, "Once")
        await desk.said(room, "It is written.")
        await desk.closed(room, question)
        victim = [m for m in room.messages.values() if m.author == desk.bot.id][-1]
        who: Any = mallory
        if shape == "open":
            stage.world.say(ann, room, f"@{desk.bot.username} write more")
            choice, who = data(await desk.question(room))[0], ann
        forged = stage.world.press(desk.bot, who, room, victim, choice)
        await desk.answered(forged)
        if shape == "open":
            await desk.until(lambda: len(desk.done) == 2)
        again = stage.world.press(desk.bot, mallory, room, victim, "nonsense")
        await desk.answered(again)
        assert room.messages[victim.id].text == "It is written."


async def test_a_heap_of_calls_is_not_put_before_a_person_at_once(stage: Stage) -> None:
    """Nobody can judge forty calls that are cut to a line each, under one button for all."""
    desk, ann = Desk(stage), stage.person("Ann")
    room = desk.room(ann)
    calls = [Call("desk__write", {"text": f"{n} " + "x" * 300}) for n in range(40)]
    stage.script.on(turn(*calls), "Then not.")
    async with desk.host(LIMITS__TOOLCALLS="64"):
        stage.world.say(ann, room, "write")
        question = await desk.question(room)
        assert "May I do these 10 things?" in question.text
        assert "x" * 200 in question.text
        desk.press(ann, room, question, "Deny all")
        await desk.closed_or_asked_why(room, question)
        desk.press(ann, room, question, "Continue without a reason")
        await desk.said(room, "Then not.")
    told = results(stage)
    assert len(told) == 40
    assert sum("calls already wait for approval" in one for one in told) == 30
    assert desk.done == []


async def test_the_name_of_a_tool_formats_and_links_nothing_while_it_runs(stage: Stage) -> None:
    desk, ann = Desk(stage, whitelistPatterns=["mcp:desk:*"]), stage.person("Ann")
    name = "[Your account is locked](https://evil.example) *now*"
    stage.agents["mcpServers"]["desk"]["env"]["DESK_SLOW"] = name
    room = desk.room(ann)

    def called(asked: ModelRequest) -> Turn:
        wire = next(tool["name"] for tool in asked.tools if "account" in tool["name"])
        return turn(Call(wire, {"text": "x"}))

    stage.script.on(called)
    async with desk.host():
        stage.world.say(ann, room, "go")
        await desk.until(lambda: any(name in d.text for d in stage.world.drafts(room)))
        (draft,) = stage.world.drafts(room)
        assert {one["type"] for one in draft.entities} <= {"italic", "url"}
        stage.world.say(ann, room, "/stop")
        await desk.said(room, "topped")


async def test_a_heap_of_open_questions_makes_nothing_slow_for_anybody_else(stage: Stage) -> None:
    """Whoever may write to a bot can leave questions open, in as many chats as they like."""
    desk, ann = Desk(stage), stage.person("Ann")
    crowd = [stage.person(f"P{number}") for number in range(24)]
    stage.script.on(write(), again=True)
    async with desk.host() as host:
        for one in crowd:
            stage.world.say(one, desk.room(one), "write hello")
        for one in crowd:
            await desk.question(desk.room(one))
        await all_receipted(host, f"bot:{desk.bot.id}")
        before = host.store.round_trips
        for word, told in (("/stop", "Nothing is running"), ("/new", "A new conversation")):
            stage.world.say(ann, desk.room(ann), word)
            await desk.said(desk.room(ann), told)
        assert host.store.round_trips - before < 20


async def all_receipted(host: App, line: str) -> None:
    """Until nothing of a line is on its way any more."""
    async with asyncio.timeout(PATIENCE):
        while await host.store.command("XLEN", outbox(line)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
