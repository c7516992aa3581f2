"""Answers that Telegram refuses for good: kept with its words, told, and sent again on demand."""

from __future__ import annotations

from typing import Any

import pytest

from bot.app import App
from bot.cli.dead_letters import dead_letters
from bot.errors import ConfigError
from bot.hosting import outbox_channel
from bot.telegram import sender
from simulators.messages.turns import turn
from simulators.telegram.faults import Fault
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from simulators.testing.stage import buttons
from tests.host.stage import Stage, settings_of, until

FOR_EVER = 10**6
FINAL = {
    "no reason known": (400, "Bad Request: new unknown reason"),
    "too long after all": (400, "Bad Request: message is too long"),
    "a method it lost": (404, "Not Found: method not found"),
    "a conflict": (409, "Conflict: something else is at work"),
}
"""What Telegram says to each try of one answer; the user's words name the case."""


def refusal(room: Room, status: int, words: str, method: str = "sendMessage", **more: Any) -> Fault:
    return Fault(
        "answer", method, chat=room.id, status=status, description=words, times=FOR_EVER, **more
    )


async def letters(stage: Stage, verb: Any = "list", *ids: str) -> list[str]:
    settings = settings_of(stage.variables())
    return await dead_letters(settings, verb, None, ids, every=verb != "list" and not ids)


def sends(stage: Stage, room: Room) -> list[dict[str, Any]]:
    calls = stage.world.calls.of(method="sendMessage")
    return [call.params for call in calls if call.params["chat_id"] == room.id]


async def test_an_answer_that_is_refused_for_good_is_kept_told_and_sent_on_demand(
    stage: Stage,
) -> None:
    echo, boss, ben = stage.bot("Echo"), stage.person("Boss"), stage.person("Ben")
    stage.environ |= {"ADMINS": str(boss.id), "SWEEP_SECONDS": "0.2"}
    office, other = stage.world.private(boss, echo), stage.world.private(ben, echo)
    rooms = {name: stage.world.private(stage.person(f"P{n}"), echo) for n, name in enumerate(FINAL)}
    for name in FINAL:
        stage.script.on(f"**The** answer to {name}", user=name)
        stage.script.on("I know.", user=f"again {name}")
    stage.script.on("hello", again=True, user="hello")
    async with stage.host() as host:
        await stage.ask(boss, office, echo, "hello")
        for name, room in rooms.items():
            stage.world.faults.add(refusal(room, *FINAL[name], says="answer to"))
            stage.world.say(_person(stage, room), room, name)
            assert await stage.ask(ben, other, echo, "hello") == "hello"
        await until(lambda: host.counters["dead_letters"] == len(FINAL), 20)
        for name, room in rooms.items():
            tried = [one for one in sends(stage, room) if "answer to" in one["text"]]
            assert 1 <= len(tried) <= 3, name
            assert "could not be delivered" in (await stage.answer(room, echo)).text, name
            (line,) = [one for one in await letters(stage) if f"chat {room.id} " in one]
            assert FINAL[name][1] in line
            assert "answer to" not in line
            notices = [t for t in stage.texts(office, echo.id) if FINAL[name][1] in t]
            assert len(notices) == 1, name
            assert "dead-letters" in notices[0]
        for name, room in rooms.items():
            person = _person(stage, room)
            assert await stage.ask(person, room, echo, f"again {name}") == "I know."
            assert "was not delivered" in str(stage.requests()[-1]["messages"]), name
        stage.world.faults.clear()
        assert len(await letters(stage, "replay")) == len(FINAL)
        for name, room in rooms.items():
            assert (await stage.answer(room, echo, 3)).text == f"The answer to {name}"
        await until(lambda: host.counters["sent"] > 0)
        assert await letters(stage) == ["no dead letters"]


async def _wait_for_letters(host: App, count: int) -> None:
    await until(lambda: host.counters["dead_letters"] == count, 20)


def _person(stage: Stage, room: Room) -> Person:
    return stage.world.members.persons[room.id]


async def test_one_notice_tells_of_many_answers_that_are_refused_in_the_same_words(
    stage: Stage,
) -> None:
    echo, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = str(boss.id)
    office, room = stage.world.private(boss, echo), stage.world.private(ann, echo)
    stage.script.on("hello", again=True)
    async with stage.host() as host:
        await stage.ask(boss, office, echo, "hello")
        for count, number in enumerate((17, 23, 42), 1):
            words = f"Bad Request: something is wrong at byte offset {number}"
            stage.world.faults.add(refusal(room, 400, words))
            stage.world.say(ann, room, "hi")
            await _wait_for_letters(host, count)
            stage.world.faults.clear()
        assert len(await letters(stage)) == 3
        assert len([t for t in stage.texts(office, echo.id) if "byte offset" in t]) == 1


@pytest.mark.parametrize(
    "words", ["Bad Request: message thread not found", "Bad Request: TOPIC_DELETED"]
)
async def test_an_answer_to_a_topic_that_went_is_sent_to_the_private_chat_without_it(
    stage: Stage, words: str
) -> None:
    echo, ann, room = _with_topics(stage)
    topic = stage.world.topic(room, "Trip", ann)
    stage.script.on("**bon** voyage")
    async with stage.host() as host:
        stage.world.faults.add(refusal(room, 400, words, "send*", has="message_thread_id"))
        stage.world.say(ann, room, "hi", topic=topic)
        message = await stage.answer(room, echo)
        await host.fleet.lines[0].idle()
        assert message.text == "bon voyage"
        assert message.body["entities"][0]["type"] == "bold"
        assert "message_thread_id" not in message.body
        assert len(sends(stage, room)) == 2
        assert await letters(stage) == ["no dead letters"]


def _with_topics(stage: Stage) -> tuple[Bot, Person, Room]:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    echo.topics = True
    return echo, ann, stage.world.private(ann, echo)


async def test_an_answer_to_a_deleted_topic_of_a_forum_is_kept_and_no_other_topic_gets_it(
    stage: Stage,
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    forum = stage.world.group("Forum", [ann, echo], forum=True)
    topic = stage.world.topic(forum, "Trip", ann)
    stage.script.on(turn("bon voyage", gate="held"))
    async with stage.host() as host:
        stage.world.say(ann, forum, f"@{echo.username} hi", topic=topic)
        await stage.sim.gates.reached("held")
        stage.world.topics.delete(forum, topic)
        stage.sim.gates.open("held")
        await until(lambda: host.counters["dead_letters"] == 1, 20)
        (line,) = await letters(stage)
    assert "message thread not found" in line
    assert stage.texts(forum, echo.id) == []
    assert len(sends(stage, forum)) <= 3


async def test_an_answer_to_somebody_who_blocked_the_bot_is_no_dead_letter_but_history_says_so(
    stage: Stage,
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(turn("too late", gate="held"), "I know.")
    async with stage.host() as host:
        stage.world.say(ann, room, "hi")
        await stage.sim.gates.reached("held")
        stage.world.block(ann, echo)
        stage.sim.gates.open("held")
        await until(lambda: host.counters["send:unreachable"] == 1)
        stage.world.unblock(ann, echo)
        assert await stage.ask(ann, room, echo, "and now?") == "I know."
        assert "was not delivered" in str(stage.requests()[-1]["messages"])
        assert await letters(stage) == ["no dead letters"]


async def test_what_may_be_left_out_is_no_dead_letter(stage: Stage) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("fine", again=True)
    old = "Bad Request: query is too old and response timeout expired or query ID is invalid"
    fault = Fault("answer", "answerCallbackQuery", status=400, description=old, times=FOR_EVER)
    stage.world.faults.add(fault)
    async with stage.host() as host:
        await stage.ask(ann, room, echo, "hi")
        message = await stage.answer(room, echo)
        stage.world.press(echo, ann, room, message, "made up")
        await until(lambda: host.counters["send:refused"] == 1)
        assert await letters(stage) == ["no dead letters"]


async def test_a_replayed_answer_comes_later_and_a_dropped_one_never(
    stage: Stage,
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("first", "second")
    async with stage.host(SWEEP_SECONDS="0.2") as host:
        stage.world.faults.add(refusal(room, 400, "Bad Request: no", says="first"))
        stage.world.faults.add(refusal(room, 400, "Bad Request: no", says="second"))
        for number in (1, 2):
            stage.world.say(ann, room, "hi")
            await _wait_for_letters(host, number)
        stage.world.faults.clear()
        one, two = (line.split()[0] for line in await letters(stage))
        assert await letters(stage, "drop", one) == [f"{one} dropped"]
        assert await letters(stage, "replay", two) == [f"{two} back in the outbox"]
        await stage.world.until(lambda: "second" in stage.texts(room, echo.id), 20)
        with pytest.raises(ConfigError, match="no dead letter"):
            await letters(stage, "replay", two)
        await host.fleet.lines[0].idle()
    assert "first" not in stage.texts(room, echo.id)
    assert not any(buttons(m) for m in room.messages.values())


async def test_an_answer_that_this_host_cannot_send_is_kept_as_well(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_channel, "backoff", lambda _failures, _first, _longest: 0.01)
    works = sender.without_link_preview

    def breaks(method: str, payload: Any) -> dict[str, Any]:
        if "first" in payload["text"]:
            raise ZeroDivisionError
        return works(method, payload)

    monkeypatch.setattr(sender, "without_link_preview", breaks)
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("first", "second")
    async with stage.host() as host:
        stage.world.say(ann, room, "hi")
        await _wait_for_letters(host, 1)
        stage.world.say(ann, room, "hi")
        await stage.answer(room, echo, 2)
        (line,) = await letters(stage)
    assert "its log says why" in line
    assert stage.texts(room, echo.id)[-1] == "second"
    assert "was not delivered" in str(stage.requests()[-1]["messages"])
