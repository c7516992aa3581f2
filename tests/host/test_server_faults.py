"""Telegram answers one message with 5xx forever: its chat is free again, and no stop waits."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from bot.cli.dead_letters import dead_letters
from bot.telegram import sender
from simulators.telegram.faults import Fault, Kind
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, settings_of, until

FOR_EVER = 10**6
HOUR = 3600.0
BOUND = 20
"""Tries of one message, in all its forms."""


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two tries."""
    monkeypatch.setattr(sender, "backoff", lambda _failures, _first, _longest: 0.01)


def fault(room: Room, kind: Kind = "answer", status: int = 500, **more: Any) -> Fault:
    return Fault(kind, "sendMessage", chat=room.id, status=status, times=FOR_EVER, **more)


def sent(stage: Stage, room: Room, words: str) -> int:
    calls = stage.world.calls.of(method="sendMessage")
    return sum(c.params["chat_id"] == room.id and words in c.params["text"] for c in calls)


@pytest.mark.usefixtures("brisk")
async def test_a_message_that_always_meets_5xx_is_set_aside_and_its_chat_goes_on(
    stage: Stage,
) -> None:
    echo, ben = stage.bot("Echo"), stage.person("Ben")
    other = stage.world.private(ben, echo)
    cases: dict[str, dict[str, Any]] = {
        "500": {"kind": "answer", "status": 500},
        "502 of a proxy": {"kind": "html", "status": 502},
        "504": {"kind": "answer", "status": 504},
    }
    stage.script.on("**bad** words", again=True, user="bad")
    stage.script.on("hello", again=True, user="hello")
    async with stage.host(LIMITS__REQUESTSPERMINUTE="10000") as host:
        for number, (name, how) in enumerate(cases.items(), 1):
            ann = stage.person(f"Ann{number}")
            room = stage.world.private(ann, echo)
            stage.world.faults.add(fault(room, says="bad words", **how))
            stage.world.say(ann, room, "bad")
            stage.world.say(ann, room, "hello")
            stage.world.say(ann, room, "/help")
            while host.counters["dead_letters"] < number:
                assert await asyncio.wait_for(stage.ask(ben, other, echo, "hello"), 20) == "hello"
                assert sent(stage, room, "bad words") <= BOUND, name
            await stage.world.until(partial(_has_gone_on, stage, room, echo.id), 20)
            assert sent(stage, room, "bad words") <= BOUND, name
        letters = await dead_letters(settings_of(stage.variables()), "list", None, [], every=False)
    assert len(letters) == len(cases)
    assert "Internal Server Error" in letters[0]
    assert "502" in letters[1]


def _has_gone_on(stage: Stage, room: Room, bot: int) -> bool:
    texts = stage.texts(room, bot)
    return "hello" in texts and any("new conversation" in text.lower() for text in texts)


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize("part", ["entities", "reply_parameters"])
async def test_a_message_that_meets_5xx_only_with_its_decoration_arrives_without(
    stage: Stage, part: str
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.group("Team", [ann, echo])
    stage.script.on("**bad** words")
    stage.world.faults.add(fault(room, has=part))
    async with stage.host():
        stage.world.say(ann, room, f"@{echo.username} hi")
        message = await stage.answer(room, echo, seconds=20)
    assert message.text.endswith("bad words")
    assert sent(stage, room, "") <= BOUND


@pytest.mark.usefixtures("brisk")
async def test_while_telegram_is_away_for_all_an_answer_waits_and_is_sent_when_it_is_back(
    stage: Stage,
) -> None:
    echo, ann, ben = stage.bot("Echo"), stage.person("Ann"), stage.person("Ben")
    rooms = [stage.world.private(person, echo) for person in (ann, ben)]
    stage.script.on("late", again=True)
    for method in ("sendMessage", "getMe"):
        stage.world.faults.add(Fault("answer", method, status=500, times=FOR_EVER, skip=1))
    async with stage.host() as host:
        await stage.ask(ann, rooms[0], echo, "hi")
        for person, room in zip((ann, ben), rooms, strict=True):
            stage.world.say(person, room, "hi")
        calls = stage.world.calls
        await until(lambda: len(calls.of(method="getMe")) > 2 * BOUND, 20)
        assert host.counters["dead_letters"] == 0
        stage.world.faults.clear()
        await stage.answer(rooms[0], echo, 2, seconds=20)
        await stage.answer(rooms[1], echo, seconds=20)


async def test_a_stop_does_not_wait_for_a_message_that_meets_5xx(stage: Stage) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("bad words")
    stage.world.faults.add(fault(room))
    clock = asyncio.get_running_loop().time
    async with stage.host(DRAIN_SECONDS="30"):
        stage.world.say(ann, room, "hi")
        await until(lambda: sent(stage, room, "bad") >= 3, 20)
        began = clock()
    assert clock() - began < 5
    stage.world.faults.clear()
    async with stage.host():
        assert "bad words" in (await stage.answer(room, echo, seconds=20)).text


@pytest.mark.parametrize("failing", ["an answer", "a command's reply"])
async def test_who_sends_stop_or_new_while_a_message_fails_is_answered_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    monkeypatch.setattr(sender, "backoff", lambda failures, *_: 0.01 if failures < 3 else HOUR)
    echo = stage.bot("Echo")
    cases = {"/stop": "Nothing is running", "/new": "A new conversation begins"}
    stage.script.on("bad words", again=True)
    async with stage.host() as host:
        for number, (word, said) in enumerate(cases.items(), 1):
            ann = stage.person(f"Ann{number}")
            room = stage.world.private(ann, echo)
            says = "bad words" if failing == "an answer" else "/stop"
            stage.world.faults.add(fault(room, says=says))
            stage.world.say(ann, room, "hi" if failing == "an answer" else "/help")
            await stage.world.until(partial(_has_tried, stage, room, says, 3), 20)
            stage.world.say(ann, room, word)
            await stage.answer(room, echo, 2)
            texts = stage.texts(room, echo.id)
            assert any("could not be delivered" in text for text in texts)
            assert any(said in text for text in texts)
            assert sent(stage, room, says) == 3
            assert host.counters["dead_letters"] == number
            stage.world.faults.clear()
            assert await stage.ask(ann, room, echo, "hi") == "bad words"
        letters = await dead_letters(settings_of(stage.variables()), "list", None, [], every=False)
    assert len(letters) == len(cases)


async def test_a_stop_in_one_topic_leaves_what_fails_in_another(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "backoff", lambda failures, *_: 0.01 if failures < 3 else HOUR)
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    forum = stage.world.group("Forum", [ann, echo], forum=True)
    trip, home = (stage.world.topic(forum, name, ann) for name in ("Trip", "Home"))
    room, at = stage.world.private(ann, echo), f"@{echo.username}"
    stage.script.on("bad words", again=True, user="hi")
    stage.script.on("hello", again=True, user="hello")
    async with stage.host() as host:
        stage.world.faults.add(fault(forum, says="bad words"))
        stage.world.say(ann, forum, f"{at} hi", topic=trip)
        await stage.world.until(partial(_has_tried, stage, forum, "bad words", 3), 20)
        stage.world.say(ann, forum, f"/stop{at}", topic=home)
        assert await stage.ask(ann, room, echo, "hello") == "hello"
        assert host.counters["dead_letters"] == 0
        stage.world.say(ann, forum, f"/stop{at}", topic=trip)
        await stage.answer(forum, echo, 3)
        assert host.counters["dead_letters"] == 1
    assert sent(stage, forum, "bad words") == 3


async def test_a_stop_does_not_give_up_a_message_that_failed_but_once(stage: Stage) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("good words")
    stage.world.faults.add(Fault("answer", "sendMessage", chat=room.id, status=500))
    async with stage.host() as host:
        stage.world.say(ann, room, "hi")
        await stage.world.until(partial(_has_tried, stage, room, "good words", 1), 20)
        stage.world.say(ann, room, "/stop")
        assert "good words" in (await stage.answer(room, echo)).text
        assert "Nothing is running" in (await stage.answer(room, echo, 2)).text
        assert host.counters["dead_letters"] == 0


def _has_tried(stage: Stage, room: Room, words: str, times: int) -> bool:
    return sent(stage, room, words) >= times
