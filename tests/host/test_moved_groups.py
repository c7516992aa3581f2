"""A group becomes a supergroup: its chat has another id, and all else goes on."""

from __future__ import annotations

from typing import Any

from simulators.messages.turns import Call, turn
from simulators.telegram.people import Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, until
from tests.host.tool_agent import PATIENCE, ToolAgent, buttons, write


def group(stage: Stage, agent: ToolAgent, *people: Person) -> Room:
    return stage.world.group("Team", [*people, agent.bot])


def moved(stage: Stage, room: Room) -> Room:
    return stage.world.migrate(room)


async def test_an_open_question_is_asked_anew_where_the_group_is_now(stage: Stage) -> None:
    agent, ann, ben = ToolAgent(stage), stage.person("Ann"), stage.person("Ben")
    room = group(stage, agent, ann, ben)
    stage.script.on(write(), "It is written.")
    async with agent.host():
        stage.world.say(ann, room, f"@{agent.bot.username} write hello")
        await agent.question(room)
        there = moved(stage, room)
        question = await agent.question(there)
        word = await agent.answered(agent.press(ben, there, question, "Once"))
        assert word == "Only Ann may answer this."
        assert await agent.answered(agent.press(ann, there, question, "Once")) == "Allowed once."
        await agent.said(there, "It is written.")
        assert "allowed once by Ann" in await agent.closed(there, question)
    assert agent.done == ["write hello"]
    assert len(agent.asked(there)) == 0
    assert stage.texts(there, agent.bot.id)[-1] == "It is written."


async def test_in_a_supergroup_admins_are_those_of_the_supergroup(stage: Stage) -> None:
    agent = ToolAgent(stage, toolPolicy={"approvers": ["admins"]})
    ann, ben = stage.person("Ann"), stage.person("Ben")
    room = group(stage, agent, ann, ben)
    stage.script.on(write(), "It is written.")
    async with agent.host():
        stage.world.say(ben, room, f"@{agent.bot.username} write hello")
        await agent.question(room)
        there = moved(stage, room)
        there.members[ann.id], there.members[ben.id] = "member", "administrator"
        question = await agent.question(there)
        word = await agent.answered(agent.press(ann, there, question, "Once"))
        assert word == "Only the chat's admins may answer this."
        agent.press(ben, there, question, "Once")
        await agent.said(there, "It is written.")
    assert agent.done == ["write hello"]


async def test_the_conversation_and_what_binds_it_go_along_also_past_a_restart(
    stage: Stage,
) -> None:
    agent, ann = ToolAgent(stage), stage.person("Ann")
    other = stage.bot("Other")
    room = group(stage, agent, ann)
    stage.agents["bindings"] = [
        {"agentId": "other", "type": "TelegramBot", "bindingKey": agent.bot.username},
        {
            "agentId": "clerk",
            "type": "ChatId",
            "bindingKey": str(room.id),
            "bot": str(agent.bot.id),
        },
    ]
    stage.script.on("first", write("1"), "second", system="You are Clerk.")
    stage.script.on(write("2"), "third", system="You are Clerk.")
    at = f"@{agent.bot.username}"
    async with agent.host():
        stage.world.say(ann, room, f"{at} one")
        await agent.said(room, "first")
        there = moved(stage, room)
        stage.world.say(ann, there, f"{at} two")
        agent.press(ann, there, await agent.question(there), "Always here")
        await agent.said(there, "second")
    async with agent.host():
        stage.world.say(ann, there, f"{at} three")
        await agent.said(there, "third")
    said = str(stage.requests()[-1]["messages"])
    assert "one" in said
    assert "second" in said
    assert agent.done == ["write 1", "write 2"]
    assert stage.texts(there, other.id) == []


async def test_a_turn_that_runs_while_its_group_moves_draws_over_no_other_message(
    stage: Stage,
) -> None:
    """Numbers of messages begin anew in a supergroup: an edit would meet a stranger."""
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = group(stage, agent, ann)
    held = turn("I will write it down for you, whatever that is.", gate="held")
    stage.script.on(turn("Here I am."), user="are you there")
    stage.script.on(held, user="go")
    at = f"@{agent.bot.username}"
    async with agent.host():
        stage.world.say(ann, room, f"{at} go")
        await stage.sim.gates.reached("held", PATIENCE)
        there = moved(stage, room)
        stage.sim.gates.open("held")
        await agent.said(there, "whatever that is")
        stage.world.say(ann, there, f"{at} are you there")
        await agent.said(there, "Here I am.")
    assert len(stage.texts(there, agent.bot.id)) == 2


async def test_a_question_that_was_on_its_way_can_be_answered_where_it_arrives(
    stage: Stage,
) -> None:
    """The group moves before the question is sent; nobody has heard of the move by then."""
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = group(stage, agent, ann)
    held = turn("", Call("desk__write", {"text": "hello"}), gate="held")
    stage.script.on(held, "It is written.")
    async with agent.host():
        stage.world.say(ann, room, f"@{agent.bot.username} write hello")
        await stage.sim.gates.reached("held", PATIENCE)
        there = moved(stage, room)
        stage.sim.gates.open("held")
        question = await agent.question(there)
        assert await agent.answered(agent.press(ann, there, question, "Once")) == "Allowed once."
        await agent.said(there, "It is written.")
        await agent.until(lambda: not agent.asked(there))
    assert agent.done == ["write hello"]


# --- questions that nobody can be asked ---


async def test_where_the_chat_takes_no_question_the_agent_is_told_at_once(stage: Stage) -> None:
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = agent.room(ann)
    held = turn("", Call("desk__write", {"text": "hello"}), gate="held")
    stage.script.on(held, "Then I leave it.", user="write hello")
    async with agent.host() as host:
        stage.world.say(ann, room, "write hello")
        await stage.sim.gates.reached("held", PATIENCE)
        stage.world.block(ann, agent.bot)
        stage.sim.gates.open("held")
        await until(lambda: len(stage.requests()) == 2, PATIENCE)
        told: Any = stage.requests()[-1]["messages"][-1]["content"]
        await until(lambda: host.counters["turns:done"] == 1, PATIENCE)
    assert "nobody could be asked" in str(told)
    assert agent.done == []
    assert not any(map(buttons, room.messages.values()))
