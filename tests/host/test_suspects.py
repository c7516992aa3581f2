"""Which message ends the host: only ends that it met alone, and not within seconds, count."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from bot.app import App
from bot.cli.dead_letters import dead_letters
from bot.store import journal, keys
from bot.turn import runner
from bot.turn.runner import TurnRunner
from bot.turn.turn import TurnRequest
from simulators.messages.turns import turn
from simulators.telegram.rooms import Room
from simulators.testing.stage import buttons
from tests.host.stage import Stage, settings_of, until

ENDS = 5


def _asked(stage: Stage, count: int) -> bool:
    return len(stage.requests()) >= count


async def _letters(stage: Stage) -> list[str]:
    return await dead_letters(settings_of(stage.variables()), "list", None, [], every=False)


@pytest.mark.parametrize("people", [1, 3])
async def test_messages_that_were_open_at_five_quick_ends_are_answered_and_not_set_aside(
    stage: Stage, people: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ENDS_APART_SECONDS", 4.0)
    echo = stage.bot("Echo")
    rooms = []
    for number in range(people):
        person = stage.person(f"P{number}")
        rooms.append(stage.world.private(person, echo))
        slow = turn(f"patience {number}", gate="slow")
        stage.script.on(slow, again=True, user=f"slowly {number}")
        stage.world.say(person, rooms[-1], f"slowly {number}")
    for life in range(ENDS):
        seen = len(stage.requests())
        async with stage.host(DRAIN_SECONDS="0"):
            if life < 3:
                await until(partial(_asked, stage, seen + people), 20)
            else:  # by now they are suspects, and run one by one
                await asyncio.sleep(0.3)
    stage.sim.gates.open("slow")
    async with stage.host():
        for number, room in enumerate(rooms):
            text = (await stage.answer(room, echo, seconds=50)).text
            assert text == f"patience {number}"
    assert await _letters(stage) == ["no dead letters"]


async def test_beside_a_message_that_ends_the_host_others_are_kept_and_answered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ENDS_APART_SECONDS", 0.0)
    echo, eve = stage.bot("Echo"), stage.person("Eve")
    bad = stage.world.private(eve, echo)
    stage.script.on(turn("never", gate="shut"), again=True, user="poison")
    stage.script.on(turn("kept", gate="slow"), again=True, user="slowly")
    stage.world.say(eve, bad, "poison")
    rooms = _slow_rooms(stage, echo)
    for life in range(20):
        seen = len(stage.requests())
        if life == 3:  # by now all are suspects, and run one by one
            stage.sim.gates.open("slow")
        async with stage.host(DRAIN_SECONDS="0") as host:
            await until(partial(_poison_or_word, stage, bad, echo.id, seen), 30)
            if life < 3:
                await until(partial(_asked, stage, seen + 1 + len(rooms)), 30)
            if set_aside := bool(stage.texts(bad, echo.id)):
                for room in rooms:
                    assert (await stage.answer(room, echo, seconds=30)).text == "kept"
            await _all_sent(host, f"bot:{echo.id}")
        if set_aside:
            break
    (line,) = await _letters(stage)
    assert f"chat {bad.id} " in line


async def test_who_is_answered_beside_a_message_that_ends_the_host_does_not_clear_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ENDS_APART_SECONDS", 0.0)
    monkeypatch.setattr(runner, "QUIET_SECONDS", 0.1)
    echo, eve, ann = stage.bot("Echo"), stage.person("Eve"), stage.person("Ann")
    bad, good = (stage.world.private(person, echo) for person in (eve, ann))
    stage.script.on(turn("never", gate="shut"), again=True, user="poison")
    stage.script.on("well", again=True, user="hello")
    stage.world.say(eve, bad, "poison")
    for life in range(12):
        seen = len(stage.requests())
        async with stage.host(DRAIN_SECONDS="0") as host:
            await until(partial(_poison_or_word, stage, bad, echo.id, seen), 30)
            stage.world.say(ann, good, "hello")
            await stage.answer(good, echo, life + 1, seconds=20)
            await _all_sent(host, f"bot:{echo.id}")
        if stage.texts(bad, echo.id):
            break
    (line,) = await _letters(stage)
    assert f"chat {bad.id} " in line
    assert stage.texts(good, echo.id) == ["well"] * (life + 1)


async def _all_sent(host: App, line: str) -> None:
    """Returns once all answers are sent and recorded: one that is cut off comes again with ↻."""
    async with asyncio.timeout(20):
        while await host.store.command("XLEN", keys.outbox(line)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _slow_rooms(stage: Stage, echo: Any) -> list[Room]:
    rooms = []
    for number in range(2):
        person = stage.person(f"P{number}")
        rooms.append(stage.world.private(person, echo))
        stage.world.say(person, rooms[-1], "slowly")
    return rooms


def _poison_or_word(stage: Stage, bad: Room, bot: int, seen: int) -> bool:
    asked = stage.requests()[seen:]
    return bool(stage.texts(bad, bot)) or any("poison" in str(body) for body in asked)


@pytest.fixture
def poisonous(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A turn that fails on a certain word for as long as the list holds True."""
    works, bad = TurnRunner.run, [True]

    async def run(self: TurnRunner, request: TurnRequest, *more: Any) -> Any:
        if bad[0] and "poison" in request.incoming.text:
            raise ZeroDivisionError("secret words")
        return await works(self, request, *more)

    monkeypatch.setattr(TurnRunner, "run", run)
    return bad


async def test_the_word_about_a_message_that_was_set_aside_has_a_button_that_tries_it_again(
    stage: Stage, poisonous: list[bool]
) -> None:
    echo, ann, ben = stage.bot("Echo"), stage.person("Ann"), stage.person("Ben")
    room, team = stage.world.private(ann, echo), stage.world.group("Team", [ann, ben, echo])
    stage.script.on("well", again=True)
    async with stage.host():
        stage.world.say(ann, room, "poison")
        stage.world.say(ann, team, f"@{echo.username} poison")
        word, there = await stage.answer(room, echo), await stage.answer(team, echo)
        assert buttons(word) == buttons(there) == ["Try again"]
        (data,) = buttons(word, "callback_data")
        poisonous[0] = False
        stranger = stage.world.press_button(ben, team, there.id, "Try again")
        await stage.world.until(lambda: stranger.answer is not None, 20)
        assert "Only the person who asked" in (stranger.answer or {})["text"]
        first = stage.world.press_button(ann, room, word.id, "Try again")
        assert (await stage.answer(room, echo, 2, seconds=20)).text == "well"
        assert first.answer is not None
        assert not buttons(room.messages[word.id])
        stage.world.press_button(ann, team, there.id, "Try again")
        assert (await stage.answer(team, echo, 2, seconds=20)).text == "well"
        late = stage.world.press(echo, ann, room, word, data)
        await stage.world.until(lambda: late.answer is not None, 20)
    assert stage.texts(room, echo.id)[1:] == ["well"]
    assert await _letters(stage) == ["no dead letters"]


async def test_trying_again_what_is_still_poison_sets_it_aside_again_with_the_button(
    stage: Stage, poisonous: list[bool]
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("well", again=True)
    async with stage.host():
        stage.world.say(ann, room, "poison")
        word = await stage.answer(room, echo)
        stage.world.press_button(ann, room, word.id, "Try again")
        again = await stage.answer(room, echo, 2, seconds=20)
        assert buttons(again) == ["Try again"]
        assert len(await _letters(stage)) == 1
    poisonous[0] = False
