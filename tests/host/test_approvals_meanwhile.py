"""What is another when the answer comes: the agent, the tool, the question itself."""

from __future__ import annotations

from bot.turn.results import BROKEN
from registry.policy import ToolPolicy
from simulators.messages.turns import Call, Turn, turn
from simulators.telegram.faults import Fault
from tests.host.profiled import PARTNER, write_profile
from tests.host.stage import Stage, until
from tests.host.tool_agent import PATIENCE, ToolAgent, asking, buttons, data, results, write


async def test_an_agent_that_was_removed_meanwhile_ends_its_turn_with_a_word(stage: Stage) -> None:
    agent = ToolAgent(stage)
    async with asking(agent, write(), "never") as it:
        stage.agents["agents"] = [{"id": "other", "name": "Other"}]
        stage.agents["bindings"] = []
        stage.write_agents()
        await it.host.catalog.until(lambda snapshot: "clerk" not in snapshot.agents)
        it.press("Once")
        await it.said("was removed, so nothing was done")
    assert agent.done == []
    assert len(stage.requests()) == 1


async def test_an_agent_that_lost_its_profile_meanwhile_says_so_and_can_be_asked_again(
    stage: Stage,
) -> None:
    write_profile(stage, "Clerkly", PARTNER)
    agent = ToolAgent(stage, profile="Clerkly")
    async with asking(agent, write(), "never") as it:
        (stage.folder / "agent_profiles" / "profiles" / "clerkly.yaml").unlink()
        await it.host.catalog.until(lambda now: now.lost_profile("clerk") is not None)
        it.press("Once")
        await it.said(BROKEN)
        (apology,) = [one for one in it.room.messages.values() if one.text == BROKEN]
        assert buttons(apology) == ["Try again"]
        assert agent.done == []
        write_profile(stage, "Clerkly", PARTNER)
        await it.host.catalog.until(lambda now: now.lost_profile("clerk") is None)
        stage.world.press_button(it.ann, it.room, apology.id, "Try again")
        await it.said("never")


async def test_a_tool_that_was_disabled_meanwhile_does_not_run_though_it_was_approved(
    stage: Stage,
) -> None:
    agent = ToolAgent(stage)
    async with asking(agent, write(), "I was not allowed.") as it:
        stage.agents["agents"][0]["toolPolicy"]["disabledTools"] = ["write"]
        stage.write_agents()
        now = ToolPolicy(approvers=("asker",), disabled_tools=("write",))
        await it.host.catalog.until(lambda found: found.agents["clerk"].value.tool_policy == now)
        it.press("Once")
        await it.said("I was not allowed.")
    assert agent.done == []
    assert "not available to you" in results(stage)[0]


async def test_a_tool_that_became_another_meanwhile_does_not_run(stage: Stage) -> None:
    agent = ToolAgent(stage)
    async with asking(agent, write(), "It changed.") as it:
        pass
    stage.agents["mcpServers"]["desk"]["env"]["DESK_WORDS"] = "Mail it to everybody."
    async with agent.host():
        it.press("Once")
        await it.said("It changed.")
    assert agent.done == []
    assert "no longer the one that a person approved" in results(stage)[0]


# --- the question itself ---


async def test_a_question_that_arrives_after_its_answer_shows_the_answer(stage: Stage) -> None:
    """Its first copy was taken for lost, and sent again while somebody answered it."""
    agent = ToolAgent(stage)
    stage.world.faults.add(Fault("lose", "sendMessage"))
    stage.world.faults.add(Fault("delay", "sendMessage", seconds=1.0))
    async with asking(agent, turn(Call("desk__write", {"text": "hello"})), "ok") as it:
        assert await it.told(it.press("Once")) == "Allowed once."
        await it.said("ok")
        second = next(m for m in it.room.messages.values() if m.text.startswith("↻ "))
        assert "allowed once by Ann" in await agent.closed(it.room, second)
        assert it.buttons == []
    assert agent.done == ["write hello"]


async def test_a_deleted_question_is_not_sent_again_and_the_chat_goes_on(stage: Stage) -> None:
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = stage.world.group("Team", [ann, agent.bot])
    stage.script.on(write(), user="write hello")
    stage.script.on("As you like.", user="never mind")
    at = f"@{agent.bot.username}"
    async with agent.host():
        stage.world.say(ann, room, f"{at} write hello")
        stage.world.messages.remove(room, await agent.question(room))
        stage.world.say(ann, room, f"{at} never mind")
        await agent.said(room, "As you like.")
        assert stage.texts(room, agent.bot.id) == ["I will write it.", "As you like."]
    assert agent.done == []


async def test_a_press_on_a_message_too_old_to_be_edited_or_shown_still_counts(
    stage: Stage,
) -> None:
    """Telegram then leaves text and topic of the message out, and refuses edit and answer."""
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = stage.world.group("Plans", [ann, agent.bot], forum=True)
    topic = stage.world.topic(room, "Travel", ann)
    stage.script.on(write(), "It is written.")
    why = "Bad Request: message can't be edited"
    fault = Fault("answer", "editMessageText", status=400, description=why, times=9)
    stage.world.faults.add(fault)
    async with agent.host():
        stage.world.say(ann, room, f"@{agent.bot.username} write hello", topic=topic)
        question = await agent.question(room)
        assert "message_thread_id" in question.body
        shown = {"chat": question.body["chat"], "message_id": question.id, "date": 0}
        query = {"id": "1", "from": ann.user(), "message": shown, "data": data(question)[0]}
        stage.world.members.send_update(agent.bot, "callback_query", query | {"chat_instance": "1"})
        await agent.said(room, "It is written.")
    assert agent.done == ["write hello"]


async def test_a_person_who_blocked_the_bot_meanwhile_is_not_asked_for_ever(stage: Stage) -> None:
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = agent.room(ann)
    stage.script.on(Turn((*write().parts,), gate="blocked"), user="write hello")
    stage.script.on("Welcome back.", user="here again")
    async with agent.host() as host:
        stage.world.say(ann, room, "write hello")
        await stage.sim.gates.reached("blocked", PATIENCE)
        stage.world.block(ann, agent.bot)
        stage.sim.gates.open("blocked")
        await until(lambda: host.counters["send:unreachable"] >= 2, PATIENCE)
        stage.world.unblock(ann, agent.bot)
        stage.world.say(ann, room, "here again")
        await agent.said(room, "Welcome back.")
    assert agent.done == []
    assert agent.asked(room) == []
