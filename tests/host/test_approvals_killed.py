"""Hosts killed again and again while people are asked: each approved call runs once at most."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from bot.sandbox.messages.turns import Call, Turn, turn
from bot.sandbox.messages.validate import Asked
from tests.host.stage import HostProcess, Stage
from tests.host.test_approvals import Desk, buttons, data

KILLS = int(os.environ.get("APPROVAL_KILLS", "4"))
SEED = int(os.environ.get("APPROVAL_SEED", "1"))
PEOPLE = 6


def obedient(asked: Asked) -> Turn:
    """Writes down what it was told, then says so."""
    word = asked.user_text.rsplit(" ", 1)[-1]
    if asked.results:
        return turn(f"done with {word}")
    return turn(f"I write {word}.", Call("desk__write", {"text": word}))


class Crowd:
    """People who each ask for one thing, and press Once whenever they are asked."""

    def __init__(self, stage: Stage, desk: Desk) -> None:
        self.stage = stage
        self.desk = desk
        self.people = [stage.person(f"P{n}") for n in range(PEOPLE)]
        self.rooms = [desk.room(person) for person in self.people]
        self.pressed: set[str] = set()

    def speak(self) -> None:
        for number, (person, room) in enumerate(zip(self.people, self.rooms, strict=True)):
            self.stage.world.say(person, room, f"please write word{number}")

    def press(self) -> None:
        """Press what is open; each button of each message once."""
        for person, room in zip(self.people, self.rooms, strict=True):
            for message in [*room.messages.values()]:
                if message.author != self.desk.bot.id or not buttons(message):
                    continue
                tap = data(message)[0]
                if tap + str(message.id) not in self.pressed:
                    self.pressed.add(tap + str(message.id))
                    self.stage.world.press(self.desk.bot, person, room, message, tap)

    def answered(self) -> int:
        return sum(
            any(f"done with word{n}" in text for text in self.stage.texts(room, self.desk.bot.id))
            for n, room in enumerate(self.rooms)
        )

    async def until_calls(self, count: int) -> None:
        """Until so many Bot API calls more were made, or all have their answer."""
        target = self.stage.world.calls.total + count

        def reached() -> bool:
            self.press()
            return self.stage.world.calls.total >= target or self.answered() == PEOPLE

        await self.stage.world.until(reached, 90)


@pytest.mark.timeout(400)
async def test_killed_at_random_moments_each_approved_call_runs_once_at_most(stage: Stage) -> None:
    desk, seed = Desk(stage), random.Random(SEED)
    crowd = Crowd(stage, desk)
    stage.script.on(obedient, again=True)
    host: HostProcess | None = None
    crowd.speak()
    for _ in range(KILLS):
        host = await stage.process()
        await crowd.until_calls(seed.randint(2, 40))
        await host.kill()
    host = await stage.process()
    try:
        await crowd.until_calls(10_000)
    finally:
        await host.end()
    runs = desk.done
    assert sorted(runs) == sorted(set(runs)), "a call ran twice"
    assert set(runs) <= {f"write word{n}" for n in range(PEOPLE)}
    unknown = _unknown(stage)
    assert len(runs) + len(unknown) >= PEOPLE, "an approved call neither ran nor was told of"
    finals = [
        [text for text in stage.texts(room, desk.bot.id) if "done with" in text]
        for room in crowd.rooms
    ]
    assert all(len({text.removeprefix("↻ ") for text in one}) == 1 for one in finals)


def _unknown(stage: Stage) -> set[Any]:
    """Calls of which the model was told that nobody knows their outcome."""
    found = set()
    for request in stage.requests():
        for block in request["messages"][-1]["content"]:
            if block["type"] == "tool_result" and "Outcome unknown" in str(block["content"]):
                found.add(block["tool_use_id"])
    return found
