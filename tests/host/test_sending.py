"""How answers leave: floods, refusals and unknown fates cost nothing of an answer."""

from __future__ import annotations

from simulators.messages.turns import Stall, Text, Turn
from simulators.telegram.faults import Fault
from tests.host.chat import HostChat
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
        await host.fleet.lines[0].idle()
    parts = stage.texts(room, echo.id)
    assert all(len(part) <= 4096 for part in parts)
    assert " ".join(parts).split() == LONG.split()


async def test_a_flood_refusal_delays_an_answer_and_loses_nothing(chat: HostChat) -> None:
    other = chat.with_person("Ben")
    chat.script.on("patient", again=True)
    wait = {"retry_after": 1}
    chat.world.faults.add(
        Fault("answer", "sendMessage", chat=chat.person.id, status=429, parameters=wait)
    )
    chat.says("hi")
    await until(lambda: chat.host.counters["send:429"] == 1)
    assert await other.ask("hi") == "patient"
    assert chat.texts == []
    assert (await chat.answer()).text == "patient"
    calls = chat.world.calls.of(bot=chat.bot.id, method="sendMessage")
    assert len([call for call in calls if call.params["chat_id"] == chat.person.id]) == 2


async def test_an_answer_whose_fate_is_unknown_is_sent_again_with_the_mark(chat: HostChat) -> None:
    chat.script.on("**once** only")
    chat.world.faults.add(Fault("lose", "sendMessage"))
    chat.says("hi")
    again = await chat.answer(2)
    assert chat.texts == ["once only", "↻ once only"]
    assert again.body["entities"][0]["offset"] == 2


async def test_an_answer_that_surely_was_not_sent_is_sent_again_unmarked(chat: HostChat) -> None:
    chat.script.on("late")
    chat.world.faults.add(Fault("answer", "sendMessage", status=429, parameters={"retry_after": 0}))
    assert await chat.ask("hi") == "late"


async def test_refused_entities_leave_the_text(chat: HostChat) -> None:
    chat.script.on("**bold** words")
    chat.world.faults.add(
        Fault(
            "answer",
            "sendMessage",
            status=400,
            description="Bad Request: can't parse entities: whatever",
        )
    )
    chat.says("hi")
    message = await chat.answer()
    assert message.text == "bold words"
    assert "entities" not in message.body


async def test_a_person_who_blocked_the_bot_costs_nobody_else_an_answer(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann, ben = stage.person("Ann"), stage.person("Ben")
    room, other = stage.world.private(ann, echo), stage.world.private(ben, echo)
    stage.script.on(Turn((Text("too late"),), gate="held"), user="from ann")
    stage.script.on("hello ben", user="from ben")
    async with stage.host() as host:
        stage.world.say(ann, room, "from ann")
        await stage.sim.gates.reached("held")
        stage.world.block(ann, echo)
        stage.sim.gates.open("held")
        await until(lambda: host.counters["send:unreachable"] == 1)
        assert await stage.ask(ben, other, echo, "from ben") == "hello ben"
        await host.fleet.lines[0].idle()
    assert stage.texts(room, echo.id) == []


async def test_a_group_that_became_a_supergroup_still_gets_its_answer(chat: HostChat) -> None:
    team = chat.in_group()
    chat.script.on(Turn((Text("moved along"),), gate="held"))
    team.says("hi")
    await chat.gates.reached("held")
    upgraded = chat.world.migrate(team.room)
    chat.gates.open("held")
    assert (await chat.stage.answer(upgraded, chat.bot)).text == "moved along"


async def test_previews_are_shed_and_the_final_answer_comes_whole(chat: HostChat) -> None:
    words = " ".join(f"word{n}" for n in range(120))
    chat.script.on(Turn((Text(words),), pace=60.0))
    said = await chat.ask("slowly")
    assert said == words
    drafts = chat.world.calls.of(bot=chat.bot.id, method="sendMessageDraft")
    assert 1 <= len(drafts) <= 6
    assert not chat.world.drafts(chat.room)


async def test_an_answer_in_a_group_grows_in_one_message_and_replies_to_its_question(
    chat: HostChat,
) -> None:
    team = chat.in_group()
    words = " ".join(f"word{n}" for n in range(100))
    chat.script.on(Turn((Text(words),), pace=60.0, fault=Stall(events=40, gate="half of it")))
    team.says("slowly please")
    await team.until(lambda: bool(team.texts))
    chat.stage.sim.gates.open("half of it")
    await team.until(lambda: team.texts == [words])
    assert chat.world.calls.of(bot=chat.bot.id, method="editMessageText")
