"""Poison: some tries, then the dead letters, with word to the person; the next message is fine."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import pytest

from bot.cli.dead_letters import dead_letters
from bot.conversations.router import Router
from bot.errors import ConfigError
from bot.store import journal
from bot.telegram import decode as decoding
from bot.turn.runner import TurnRunner
from bot.turn.turn import TurnRequest
from simulators.messages.turns import Text, Turn
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, command, settings_of, until
from tests.host.test_ledger import ledger


@pytest.fixture
def poisonous(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A turn that fails on a certain word for as long as the list holds True."""
    works, bad = TurnRunner.run, [True]

    async def run(self: TurnRunner, request: TurnRequest, *more: Any) -> Any:
        if bad[0] and request.incoming.text == "poison":
            raise ZeroDivisionError("secret words")
        return await works(self, request, *more)

    monkeypatch.setattr(TurnRunner, "run", run)
    return bad


def scene(stage: Stage) -> tuple[Bot, Person, Room]:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    return echo, ann, stage.world.private(ann, echo)


async def test_poison_is_set_aside_with_a_word_and_the_next_message_is_answered(
    stage: Stage, poisonous: list[bool]
) -> None:
    echo, ann, room = scene(stage)
    stage.script.on("well", again=True)
    async with stage.host() as host:
        stage.world.say(ann, room, "poison")
        stage.world.say(ann, room, "fine")
        first = await stage.answer(room, echo)
        assert "set it aside" in first.text
        assert (await stage.answer(room, echo, 2)).text == "well"
        assert host.counters["dead_letters"] == 1
        settings = settings_of(stage.variables())
        (line,) = await dead_letters(settings, "list", None, [], every=False)
        assert line.startswith(f"bot:{echo.id}/")
        assert f"chat {ann.id}" in line
        assert "ZeroDivisionError in test_poison.py" in line
        assert "secret words" not in line


async def test_a_dead_letter_is_replayed_into_a_running_host_or_dropped(
    stage: Stage, poisonous: list[bool]
) -> None:
    echo, ann, room = scene(stage)
    stage.script.on("well", again=True)
    async with stage.host(SWEEP_SECONDS="0.2"):
        stage.world.say(ann, room, "poison")
        stage.world.say(ann, room, "poison")
        await stage.answer(room, echo, 2)
        poisonous[0] = False
        settings = settings_of(stage.variables())
        first, _ = await dead_letters(settings, "list", echo.id, [], every=False)
        name = first.split()[0]
        assert await dead_letters(settings, "replay", None, [name], every=False) == [
            f"{name} back in the inbox"
        ]
        assert (await stage.answer(room, echo, 3)).text == "well"
        with pytest.raises(ConfigError, match="no dead letter"):
            await dead_letters(settings, "drop", None, [name], every=False)
        with pytest.raises(ConfigError, match="--all"):
            await dead_letters(settings, "drop", None, [], every=False)
        await dead_letters(settings, "drop", None, [], every=True)
        nothing = await dead_letters(settings, "list", None, [], every=False)
        assert nothing == ["no dead letters"]


async def test_the_command_line_lists_dead_letters_without_a_running_host(stage: Stage) -> None:
    stage.bot("Echo")
    async with stage.host():
        pass
    said = await command(stage.folder, stage.variables(), "dead-letters", "list")
    assert said == (0, "no dead letters\n")


def _asked(stage: Stage, count: int) -> bool:
    return len(stage.requests()) == count


async def test_a_turn_that_ends_every_life_of_the_host_is_set_aside(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ENDS_APART_SECONDS", 0.2)
    echo, ann, room = scene(stage)
    stage.script.on("well", user="fine")
    stage.script.on(Turn((Text("never"),), gate="shut"), again=True, user="poison")
    stage.world.say(ann, room, "poison")
    for life in range(5):
        async with stage.host(DRAIN_SECONDS="0"):
            await until(partial(_asked, stage, life + 1))
    async with stage.host() as host:
        assert "set it aside" in (await stage.answer(room, echo)).text
        assert await stage.ask(ann, room, echo, "fine") == "well"
        assert host.counters["dead_letters"] == 1
        counts = [line["count"] for line in await ledger(host)]
    assert len(stage.requests()) == 6
    (read,) = stage.requests()[-1]["messages"]
    assert "poison" not in str(read)
    assert read["content"][0]["text"] == "[A message here was set aside: it could not be answered.]"
    assert counts == ["guessed"] * 5 + ["told"]


async def test_an_update_that_breaks_the_reading_is_set_aside_and_blocks_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo, ann, room = scene(stage)
    stage.script.on("well")
    reads = decoding.decode

    def decode(update: Any, identity: Any) -> Any:
        if "poison" in str(update):
            raise ZeroDivisionError
        return reads(update, identity)

    monkeypatch.setattr("bot.telegram.transport.decode", decode)
    async with stage.host() as host:
        stage.world.say(ann, room, "poison")
        assert await stage.ask(ann, room, echo, "fine") == "well"
        assert host.counters["dead_letters"] == 1
        (line,) = await dead_letters(settings_of(stage.variables()), "list", None, [], every=False)
        assert "cannot be read" in line


async def test_a_burial_that_fails_is_tried_again(
    stage: Stage, poisonous: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot.conversations import queue
    from bot.conversations.router import Router

    monkeypatch.setattr(queue, "RETRY_PAUSES", (0.05, 0.1))
    echo, ann, room = scene(stage)
    stage.script.on("well")
    works, failures = Router.dead_letter, [3]

    async def dead_letter(self: Router, *words: Any) -> None:
        if failures[0]:
            failures[0] -= 1
            raise RuntimeError("no")
        await works(self, *words)

    monkeypatch.setattr(Router, "dead_letter", dead_letter)
    async with stage.host():
        stage.world.say(ann, room, "poison")
        with contextlib.suppress(TimeoutError):
            await stage.answer(room, echo)
        assert await stage.ask(ann, room, echo, "fine") == "well"
    assert failures == [0]


async def test_a_turn_that_ends_the_host_does_not_take_those_beside_it_along(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ENDS_APART_SECONDS", 0.2)
    echo, ann, room = scene(stage)
    ben = stage.person("Ben")
    slow = stage.world.private(ben, echo)
    stage.script.on(Turn((Text("never"),), gate="shut"), again=True, user="poison")
    stage.script.on(Turn((Text("patience pays"),), gate="slow"), again=True, user="slowly")
    stage.world.say(ann, room, "poison")
    stage.world.say(ben, slow, "slowly")
    for life in range(3):
        async with stage.host(DRAIN_SECONDS="0"):
            await until(partial(_asked, stage, 2 * (life + 1)))
    async with stage.host(DRAIN_SECONDS="0") as host:  # both were open at three ends: one at a time
        await until(lambda: host.counters["turns:suspected"] == 2 and _asked(stage, 7))
    assert _asked(stage, 7)
    stage.sim.gates.open("slow")
    for _ in range(4):
        seen = len(stage.requests())
        async with stage.host(DRAIN_SECONDS="0"):
            await until(partial(_answered_or_poison_ran, stage, slow, echo, seen))
    assert stage.texts(slow, echo.id) == ["patience pays"]


def _answered_or_poison_ran(stage: Stage, room: Room, bot: Bot, seen: int) -> bool:
    asked = stage.requests()[seen:]
    return bool(stage.texts(room, bot.id)) or any("poison" in str(body) for body in asked)
