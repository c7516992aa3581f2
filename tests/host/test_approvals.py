"""A call that no pattern allows asks people: whatever they answer, it runs once or not at all."""

from __future__ import annotations

from bot.sandbox.messages.turns import Call, turn
from tests.host.desk import Desk, buttons, data, results, write
from tests.host.stage import Stage


async def test_once_runs_the_call_and_the_turn_goes_on(stage: Stage) -> None:
    desk, ann = Desk(stage), stage.person("Ann")
    room = desk.room(ann)
    stage.script.on(write(), "It is written.")
    async with desk.host():
        stage.world.say(ann, room, "write hello")
        question = await desk.question(room)
        assert "write of desk" in question.text
        assert "text: hello" in question.text
        assert buttons(question) == ["Once", "Deny", "Always for this chat"]
        assert desk.done == []
        pressed = desk.press(ann, room, question, "Once")
        assert await desk.answered(pressed) == "Allowed once."
        await desk.said(room, "It is written.")
        await desk.closed(room, question)
    assert desk.done == ["write hello"]
    assert results(stage) == ["written: hello"]
    assert "allowed once by Ann" in room.messages[question.id].text
    said = stage.texts(room, desk.bot.id)
    assert said[0] == "I will write it."
    assert said[-1] == "It is written."


async def test_a_denial_reaches_the_agent_with_its_reason(stage: Stage) -> None:
    desk, ann = Desk(stage), stage.person("Ann")
    room = desk.room(ann)
    stage.script.on(write(), "Then not.")
    async with desk.host():
        stage.world.say(ann, room, "write hello")
        question = await desk.question(room)
        assert await desk.answered(desk.press(ann, room, question, "Deny")) == "Denied."
        stage.world.say(ann, room, "it is *too* early")
        await desk.said(room, "Then not.")
    assert desk.done == []
    (told,) = results(stage)
    assert "denied" in told
    assert "it is *too* early" in told
    assert "Reason: it is *too* early" in room.messages[question.id].text
    assert len(stage.requests()) == 2


async def test_a_denial_goes_on_without_a_reason_when_told_so(stage: Stage) -> None:
    desk, ann = Desk(stage), stage.person("Ann")
    room = desk.room(ann)
    stage.script.on(write(), "Then not.")
    async with desk.host():
        stage.world.say(ann, room, "write hello")
        question = await desk.question(room)
        desk.press(ann, room, question, "Deny")
        go_on = "Go on without a reason"
        await desk.until(lambda: go_on in buttons(room.messages[question.id]))
        desk.press(ann, room, question, go_on)
        await desk.said(room, "Then not.")
    assert "They gave no reason." in results(stage)[0]


async def test_a_question_that_nobody_answers_runs_out(stage: Stage) -> None:
    desk = Desk(stage, toolPolicy={"approvalMinutes": 0.04})
    ann = stage.person("Ann")
    room = desk.room(ann)
    stage.script.on(write(), "Nobody said yes.")
    async with desk.host():
        stage.world.say(ann, room, "write hello")
        question = await desk.question(room)
        await desk.said(room, "Nobody said yes.")
        assert "nobody answered in time" in room.messages[question.id].text
        assert buttons(room.messages[question.id]) == []
    assert desk.done == []
    assert "nobody answered in time" in results(stage)[0]


async def test_always_asks_no_more_in_this_chat_and_only_there(stage: Stage) -> None:
    desk, ann, ben = Desk(stage), stage.person("Ann"), stage.person("Ben")
    room, other = desk.room(ann), desk.room(ben)
    stage.script.on(write("one"), "first", user="one")
    stage.script.on(write("two"), "second", user="two")
    stage.script.on(write("three"), "third", user="three")
    async with desk.host():
        stage.world.say(ann, room, "one")
        desk.press(ann, room, await desk.question(room), "Always for this chat")
        await desk.said(room, "first")
        stage.world.say(ann, room, "two")
        await desk.said(room, "second")
        stage.world.say(ben, other, "three")
        await desk.question(other)
    assert desk.done == ["write one", "write two"]


async def test_what_was_allowed_for_good_is_listed_and_taken_back(stage: Stage) -> None:
    desk, ann = Desk(stage), stage.person("Ann")
    room = desk.room(ann)
    stage.script.on(write("one"), "first", user="one")
    stage.script.on(write("two"), user="two")
    async with desk.host():
        assert "I ask each time" in await stage.ask(ann, room, desk.bot, "/approvals")
        stage.world.say(ann, room, "one")
        desk.press(ann, room, await desk.question(room), "Always for this chat")
        await desk.said(room, "first")
        listed = await stage.ask(ann, room, desk.bot, "/approvals")
        assert "1. mcp:desk:write for clerk, by Ann" in listed
        taken = await stage.ask(ann, room, desk.bot, "/approvals revoke 1")
        assert taken.startswith("Taken back: mcp:desk:write.")
        stage.world.say(ann, room, "two")
        await desk.question(room)
    assert desk.done == ["write one"]


async def test_always_is_void_when_the_tool_is_another(stage: Stage) -> None:
    desk, ann = Desk(stage), stage.person("Ann")
    room = desk.room(ann)
    stage.script.on(write("one"), "first", user="one")
    stage.script.on(write("two"), "second", user="two")
    async with desk.host():
        stage.world.say(ann, room, "one")
        desk.press(ann, room, await desk.question(room), "Always for this chat")
        await desk.said(room, "first")
    stage.agents["mcpServers"]["desk"]["env"]["DESK_WORDS"] = "Write it down, and mail it."
    async with desk.host():
        stage.world.say(ann, room, "two")
        await desk.question(room)
    assert desk.done == ["write one"]


async def test_what_must_be_confirmed_asks_even_if_whitelisted_and_never_for_good(
    stage: Stage,
) -> None:
    desk = Desk(stage, whitelistPatterns=["mcp:desk:*"])
    ann = stage.person("Ann")
    room = desk.room(ann)
    stage.script.on(turn(Call("desk__delete_note", {"name": "a"})), "gone")
    async with desk.host():
        stage.world.say(ann, room, "delete it")
        question = await desk.question(room)
        assert buttons(question) == ["Once", "Deny"]
        forged = data(question)[0][:-1] + "a"
        async with stage.client():
            pressed = stage.world.press(desk.bot, ann, room, question, forged)
        assert await desk.answered(pressed) == "This question is no longer open."
        assert desk.done == []
        desk.press(ann, room, question, "Once")
        await desk.said(room, "gone")
    assert desk.done == ["delete a"]


async def test_several_calls_are_one_question_and_each_is_decided(stage: Stage) -> None:
    desk = Desk(stage, whitelistPatterns=["mcp:desk:look"])
    ann = stage.person("Ann")
    room = desk.room(ann)
    calls = [Call("desk__write", {"text": one}) for one in ("a", "b", "c")]
    stage.script.on(turn(Call("desk__look", {}), *calls), "done with it")
    async with desk.host():
        stage.world.say(ann, room, "write three")
        question = await desk.question(room)
        assert desk.done == ["look"]
        assert len([b for b in buttons(question) if b.endswith("Deny")]) == 3
        desk.press(ann, room, question, "1: Once")
        await desk.until(lambda: "1: Once" not in buttons(room.messages[question.id]))
        desk.press(ann, room, question, "2: Deny")
        await desk.until(lambda: "2: Deny" not in buttons(room.messages[question.id]))
        assert desk.done == ["look"]
        desk.press(ann, room, question, "3: Once")
        stage.world.say(ann, room, "b is a secret")
        await desk.said(room, "done with it")
    assert sorted(desk.done) == ["look", "write a", "write c"]
    told = results(stage)
    assert told[:2] == ["a desk", "written: a"]
    assert "b is a secret" in told[2]
    assert told[3] == "written: c"


async def test_a_new_message_instead_closes_the_question_and_is_answered(stage: Stage) -> None:
    desk, ann = Desk(stage), stage.person("Ann")
    room = desk.room(ann)
    stage.script.on(write(), user="write hello")
    stage.script.on("As you like.", user="never mind")
    async with desk.host():
        stage.world.say(ann, room, "write hello")
        question = await desk.question(room)
        taps = data(question)
        stage.world.say(ann, room, "never mind")
        await desk.said(room, "As you like.")
        await desk.closed(room, question)
        pressed = stage.world.press(desk.bot, ann, room, question, taps[0])
        assert (await desk.answered(pressed)).startswith("Answered already: ")
    assert desk.done == []
    assert "the conversation went on" in room.messages[question.id].text
    assert results(stage)[0].startswith("Not approved: the person wrote instead")


async def test_a_stop_ends_a_turn_that_waits(stage: Stage) -> None:
    desk, ann = Desk(stage), stage.person("Ann")
    room = desk.room(ann)
    stage.script.on(write(), "next")
    async with desk.host():
        stage.world.say(ann, room, "write hello")
        question = await desk.question(room)
        stage.world.say(ann, room, "/stop")
        await desk.said(room, "Stopped.")
        assert buttons(room.messages[question.id]) == []
        assert await stage.ask(ann, room, desk.bot, "and now") == "next"
    assert desk.done == []


async def test_a_new_conversation_ends_a_turn_that_waits(stage: Stage) -> None:
    desk, ann = Desk(stage), stage.person("Ann")
    room = desk.room(ann)
    stage.script.on(write(), "fresh")
    async with desk.host():
        stage.world.say(ann, room, "write hello")
        question = await desk.question(room)
        stage.world.say(ann, room, "/new")
        await desk.said(room, "A new conversation begins")
        assert buttons(room.messages[question.id]) == []
        stage.world.say(ann, room, "hi")
        await desk.said(room, "fresh")
    assert desk.done == []
