"""How answers leave: floods, refusals and unknown fates cost nothing of an answer."""

from __future__ import annotations

from simulators.messages.turns import Say, Turn
from simulators.telegram.faults import Fault
from tests.host.stage import Stage, until

LONG = "\n\n".join(f"Paragraph {n}: " + "words and more words " * 20 for n in range(30))


async def test_a_long_answer_comes_in_parts_that_break_no_word(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(LONG)
    async with stage.host() as host:
        stage.world.say(ann, room, "tell me")
        await stage.answer(room, echo, 4)
        await host.fleet.bots[0].idle()
    parts = stage.texts(room, echo.id)
    assert all(len(part) <= 4096 for part in parts)
    assert " ".join(parts).split() == LONG.split()


async def test_a_flood_refusal_delays_an_answer_and_loses_nothing(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann, ben = stage.person("Ann"), stage.person("Ben")
    room, other = stage.world.private(ann, echo), stage.world.private(ben, echo)
    stage.script.on("patient", again=True)
    wait = {"retry_after": 1}
    stage.world.faults.add(Fault("answer", "sendMessage", chat=ann.id, status=429, parameters=wait))
    async with stage.host() as host:
        stage.world.say(ann, room, "hi")
        await until(lambda: host.counters["send:429"] == 1)
        assert await stage.ask(ben, other, echo, "hi") == "patient"
        assert stage.texts(room, echo.id) == []
        assert (await stage.answer(room, echo)).text == "patient"
    calls = stage.world.calls.of(bot=echo.id, method="sendMessage")
    assert len([call for call in calls if call.params["chat_id"] == ann.id]) == 2


async def test_an_answer_whose_fate_is_unknown_is_sent_again_with_the_mark(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("**once** only")
    stage.world.faults.add(Fault("lose", "sendMessage"))
    async with stage.host():
        stage.world.say(ann, room, "hi")
        again = await stage.answer(room, echo, 2)
    assert stage.texts(room, echo.id) == ["once only", "↻ once only"]
    assert again.body["entities"][0]["offset"] == 2


async def test_an_answer_that_surely_was_not_sent_is_sent_again_unmarked(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("late")
    stage.world.faults.add(
        Fault("answer", "sendMessage", status=429, parameters={"retry_after": 0})
    )
    async with stage.host():
        assert await stage.ask(ann, room, echo, "hi") == "late"


async def test_refused_entities_leave_the_text(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("**bold** words")
    stage.world.faults.add(
        Fault(
            "answer",
            "sendMessage",
            status=400,
            description="Bad Request: can't parse entities: whatever",
        )
    )
    async with stage.host():
        stage.world.say(ann, room, "hi")
        message = await stage.answer(room, echo)
    assert message.text == "bold words"
    assert "entities" not in message.body


async def test_a_person_who_blocked_the_bot_costs_nobody_else_an_answer(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann, ben = stage.person("Ann"), stage.person("Ben")
    room, other = stage.world.private(ann, echo), stage.world.private(ben, echo)
    stage.script.on(Turn((Say("too late"),), gate="held"), user="from ann")
    stage.script.on("hello ben", user="from ben")
    async with stage.host() as host:
        stage.world.say(ann, room, "from ann")
        await stage.sim.gates.reached("held")
        stage.world.block(ann, echo)
        stage.sim.gates.open("held")
        await until(lambda: host.counters["send:unreachable"] == 1)
        assert await stage.ask(ben, other, echo, "from ben") == "hello ben"
        await host.fleet.bots[0].idle()
    assert stage.texts(room, echo.id) == []


async def test_a_group_that_became_a_supergroup_still_gets_its_answer(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.group("Team", [ann, echo])
    stage.script.on(Turn((Say("moved along"),), gate="held"))
    async with stage.host():
        stage.world.say(ann, room, f"@{echo.username} hi")
        await stage.sim.gates.reached("held")
        kept = stage.world.migrate(room)
        stage.sim.gates.open("held")
        assert (await stage.answer(kept, echo)).text == "moved along"


async def test_previews_are_shed_and_the_final_answer_comes_whole(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    words = " ".join(f"word{n}" for n in range(120))
    stage.script.on(Turn((Say(words),), pace=60.0))
    async with stage.host():
        said = await stage.ask(ann, room, echo, "slowly")
    assert said == words
    drafts = stage.world.calls.of(bot=echo.id, method="sendMessageDraft")
    assert 1 <= len(drafts) <= 6
    assert not stage.world.drafts(room)


async def test_an_answer_in_a_group_grows_in_one_message_and_replies_to_its_question(
    stage: Stage,
) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.group("Team", [ann, echo])
    words = " ".join(f"word{n}" for n in range(100))
    stage.script.on(Turn((Say(words),), pace=60.0))
    async with stage.host():
        stage.world.say(ann, room, f"@{echo.username} slowly please")
        await stage.world.until(lambda: stage.texts(room, echo.id) == [words])
    assert stage.world.calls.of(bot=echo.id, method="editMessageText")
