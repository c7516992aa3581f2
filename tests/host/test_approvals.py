"""A call that no pattern allows asks people: whatever they answer, it runs once or not at all."""

from __future__ import annotations

import pytest

from simulators.messages.turns import Call, turn
from tests.host.stage import Stage
from tests.host.tool_agent import ToolAgent, asking, buttons, data, results, write


async def test_once_runs_the_call_and_the_turn_goes_on(stage: Stage) -> None:
    agent = ToolAgent(stage)
    async with asking(agent, write(), "It is written.") as it:
        assert "write of desk" in it.question.text
        assert "text: hello" in it.question.text
        assert buttons(it.question) == ["Once", "Deny", "Always for this chat"]
        assert agent.done == []
        assert await it.told(it.press("Once")) == "Allowed once."
        await it.said("It is written.")
        await agent.closed(it.room, it.question)
    assert agent.done == ["write hello"]
    assert results(stage) == ["written: hello"]
    assert "allowed once by Ann" in it.text
    said = stage.texts(it.room, agent.bot.id)
    assert said[0] == "I will write it."
    assert said[-1] == "It is written."


async def test_a_denial_reaches_the_agent_with_its_reason(stage: Stage) -> None:
    agent = ToolAgent(stage)
    async with asking(agent, write(), "Then not.") as it:
        assert await it.told(it.press("Deny")) == "Denied."
        it.say("it is *too* early")
        await it.said("Then not.")
    assert agent.done == []
    (told,) = results(stage)
    assert "denied" in told
    assert "it is *too* early" in told
    assert "Reason: it is *too* early" in it.text
    assert len(stage.requests()) == 2


async def test_a_denial_goes_on_without_a_reason_when_told_so(stage: Stage) -> None:
    agent, go_on = ToolAgent(stage), "Continue without a reason"
    async with asking(agent, write(), "Then not.") as it:
        it.press("Deny")
        await agent.until(lambda: go_on in it.buttons)
        it.press(go_on)
        await it.said("Then not.")
    assert "They gave no reason." in results(stage)[0]


async def test_a_question_that_nobody_answers_runs_out(stage: Stage) -> None:
    agent = ToolAgent(stage, toolPolicy={"approvalMinutes": 0.04})
    async with asking(agent, write(), "Nobody said yes.") as it:
        await it.said("Nobody said yes.")
        assert "nobody answered in time" in it.text
        assert it.buttons == []
    assert agent.done == []
    assert "nobody answered in time" in results(stage)[0]


async def test_always_asks_no_more_in_this_chat_and_only_there(stage: Stage) -> None:
    agent, ann, ben = ToolAgent(stage), stage.person("Ann"), stage.person("Ben")
    room, other = agent.room(ann), agent.room(ben)
    stage.script.on(write("one"), "first", user="one")
    stage.script.on(write("two"), "second", user="two")
    stage.script.on(write("three"), "third", user="three")
    async with agent.host():
        stage.world.say(ann, room, "one")
        agent.press(ann, room, await agent.question(room), "Always for this chat")
        await agent.said(room, "first")
        stage.world.say(ann, room, "two")
        await agent.said(room, "second")
        stage.world.say(ben, other, "three")
        await agent.question(other)
    assert agent.done == ["write one", "write two"]


async def test_what_was_allowed_for_good_is_listed_and_taken_back(stage: Stage) -> None:
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = agent.room(ann)
    stage.script.on(write("one"), "first", user="one")
    stage.script.on(write("two"), user="two")
    async with agent.host():
        assert "I ask every time" in await stage.ask(ann, room, agent.bot, "/approvals")
        stage.world.say(ann, room, "one")
        agent.press(ann, room, await agent.question(room), "Always for this chat")
        await agent.said(room, "first")
        listed = await stage.ask(ann, room, agent.bot, "/approvals")
        assert "1. mcp:desk:write for clerk, by Ann" in listed
        taken = await stage.ask(ann, room, agent.bot, "/approvals revoke 1")
        assert taken.startswith("Revoked: mcp:desk:write.")
        stage.world.say(ann, room, "two")
        await agent.question(room)
    assert agent.done == ["write one"]


async def test_always_is_void_when_the_tool_is_another(stage: Stage) -> None:
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = agent.room(ann)
    stage.script.on(write("one"), "first", user="one")
    stage.script.on(write("two"), "second", user="two")
    async with agent.host():
        stage.world.say(ann, room, "one")
        agent.press(ann, room, await agent.question(room), "Always for this chat")
        await agent.said(room, "first")
    stage.agents["mcpServers"]["desk"]["env"]["DESK_WORDS"] = "Write it down, and mail it."
    async with agent.host():
        stage.world.say(ann, room, "two")
        await agent.question(room)
    assert agent.done == ["write one"]


async def test_what_must_be_confirmed_asks_even_if_whitelisted_and_never_for_good(
    stage: Stage,
) -> None:
    agent = ToolAgent(stage, whitelistPatterns=["mcp:desk:*"])
    async with asking(agent, turn(Call("desk__delete_note", {"name": "a"})), "gone") as it:
        assert buttons(it.question) == ["Once", "Deny"]
        forged = it.press_data(data(it.question)[0][:-1] + "a")
        assert await it.told(forged) == "This question is no longer open."
        assert agent.done == []
        it.press("Once")
        await it.said("gone")
    assert agent.done == ["delete a"]


@pytest.mark.parametrize(
    ("floor", "call", "done"),
    [
        ({}, Call("desk__delete_note", {"name": "a"}), "delete a"),
        (
            {"LIMITS__CONFIRM": "mcp:desk:WRITE, skill:*"},
            Call("desk__write", {"text": "a"}),
            "write a",
        ),
    ],
)
async def test_what_the_host_wants_confirmed_asks_though_the_agent_takes_it_away(
    stage: Stage, floor: dict[str, str], call: Call, done: str
) -> None:
    stage.environ |= floor
    policy: dict[str, list[str]] = {"requireConfirmation": []}
    agent = ToolAgent(stage, whitelistPatterns=["mcp:desk:*"], toolPolicy=policy)
    async with asking(agent, turn(call), "I see.") as it:
        assert buttons(it.question) == ["Once", "Deny"]
        assert agent.done == []
        it.press("Once")
        await it.said("I see.")
    assert agent.done == [done]


async def test_several_calls_are_one_question_and_each_is_decided(stage: Stage) -> None:
    agent = ToolAgent(stage, whitelistPatterns=["mcp:desk:look"])
    calls = [Call("desk__write", {"text": one}) for one in ("a", "b", "c")]
    async with asking(agent, turn(Call("desk__look", {}), *calls), "done with it") as it:
        assert agent.done == ["look"]
        assert len([b for b in buttons(it.question) if b.endswith("Deny")]) == 3
        it.press("1: Once")
        await agent.until(lambda: "1: Once" not in it.buttons)
        it.press("2: Deny")
        await agent.until(lambda: "2: Deny" not in it.buttons)
        assert agent.done == ["look"]
        it.press("3: Once")
        it.say("b is a secret")
        await it.said("done with it")
    assert sorted(agent.done) == ["look", "write a", "write c"]
    told = results(stage)
    assert told[:2] == ["a desk", "written: a"]
    assert "b is a secret" in told[2]
    assert told[3] == "written: c"


async def test_a_new_message_instead_closes_the_question_and_is_answered(stage: Stage) -> None:
    agent = ToolAgent(stage)
    async with asking(agent, write(), "As you like.") as it:
        choices = data(it.question)
        it.say("never mind")
        await it.said("As you like.")
        await agent.closed(it.room, it.question)
        assert (await it.told(it.press_data(choices[0]))).startswith("Already answered: ")
    assert agent.done == []
    assert "the conversation went on" in it.text
    assert "Not approved: the person wrote something else instead" in results(stage)[0]


async def test_a_stop_ends_a_turn_that_waits(stage: Stage) -> None:
    agent = ToolAgent(stage)
    async with asking(agent, write(), "next") as it:
        it.say("/stop")
        await it.said("Stopped.")
        assert it.buttons == []
        assert await it.ask("and now") == "next"
    assert agent.done == []


async def test_a_new_conversation_ends_a_turn_that_waits(stage: Stage) -> None:
    agent = ToolAgent(stage)
    async with asking(agent, write(), "fresh") as it:
        it.say("/new")
        await it.said("A new conversation begins")
        assert it.buttons == []
        it.say("hi")
        await it.said("fresh")
    assert agent.done == []
