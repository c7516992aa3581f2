"""Hosts killed while people are asked: each approved call runs once at most."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from simulators.messages.turns import Call, Turn, turn
from simulators.messages.validate import ModelRequest
from simulators.telegram.people import Person
from simulators.telegram.rooms import Message, Room
from simulators.testing.valkey import running_valkey
from tests.host.replicas import Replica
from tests.host.stage import HostProcess, Stage, until
from tests.host.tool_agent import PATIENCE, ToolAgent, buttons, data, results, write

KILLS = int(os.environ.get("APPROVAL_KILLS", "4"))
SEED = int(os.environ.get("APPROVAL_SEED", "1"))
PEOPLE = 6


def obedient(asked: ModelRequest) -> Turn:
    """Writes down what it was told, then says so."""
    word = asked.user_text.rsplit(" ", 1)[-1]
    if asked.results:
        return turn(f"done with {word}")
    return turn(f"I write {word}.", Call("desk__write", {"text": word}))


class Crowd:
    """People who each ask for one thing, and press Once whenever they are asked."""

    def __init__(self, stage: Stage, agent: ToolAgent) -> None:
        self.stage = stage
        self.agent = agent
        self.people = [stage.person(f"P{n}") for n in range(PEOPLE)]
        self.rooms = [agent.room(person) for person in self.people]
        self.pressed: set[str] = set()

    def speak(self) -> None:
        for number, (person, room) in enumerate(zip(self.people, self.rooms, strict=True)):
            self.stage.world.say(person, room, f"please write word{number}")

    def press(self) -> None:
        """Press what is open; each button of each message once."""
        for person, room in zip(self.people, self.rooms, strict=True):
            for message in [*room.messages.values()]:
                if message.author != self.agent.bot.id or not buttons(message):
                    continue
                choice = data(message)[0]
                if choice + str(message.id) not in self.pressed:
                    self.pressed.add(choice + str(message.id))
                    self.stage.world.press(self.agent.bot, person, room, message, choice)

    def answered(self) -> int:
        return sum(
            any(f"done with word{n}" in text for text in self.stage.texts(room, self.agent.bot.id))
            for n, room in enumerate(self.rooms)
        )

    async def until_calls(self, count: int) -> None:
        """Until so many Bot API calls more were made, or all have their answer."""
        target = self.stage.world.calls.total + count

        def reached() -> bool:
            self.press()
            return self.stage.world.calls.total >= target or self.answered() == PEOPLE

        await self.stage.world.until(reached, 90)


async def asked_before_the_kill(agent: ToolAgent, person: Person, room: Room) -> Message:
    """The question of a host that is killed as soon as it has asked."""
    agent.stage.script.on(write(), "It is written.")
    host = await agent.process()
    agent.stage.world.say(person, room, "write hello")
    question = await agent.question(room)
    await host.kill()
    return question


@pytest.mark.timeout(180)
async def test_kill_9_between_question_and_answer_runs_the_call_once(stage: Stage) -> None:
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = agent.room(ann)
    question = await asked_before_the_kill(agent, ann, room)
    agent.press(ann, room, question, "Once")
    again = await stage.process()
    try:
        await agent.said(room, "It is written.")
        stage.script.on("and the next")
        assert await stage.ask(ann, room, agent.bot, "next") == "and the next"
    finally:
        await again.end()
    assert agent.done == ["write hello"]
    assert stage.texts(room, agent.bot.id)[-2:] == ["It is written.", "and the next"]


@pytest.mark.timeout(180)
async def test_kill_9_between_answer_and_call_runs_the_call_once(stage: Stage) -> None:
    """The second host records the answer, and waits for the server when it is killed."""
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = agent.room(ann)
    question = await asked_before_the_kill(agent, ann, room)
    agent.hold.touch()
    host = await stage.process()
    pressed = agent.press(ann, room, question, "Once")
    assert await agent.answered(pressed) == "Allowed once."
    assert agent.done == []
    await host.kill()
    agent.hold.unlink()
    host = await stage.process()
    try:
        await agent.said(room, "It is written.")
    finally:
        await host.end()
    assert agent.done == ["write hello"]
    assert results(stage) == ["written: hello"]


@pytest.mark.timeout(180)
async def test_kill_9_during_an_approved_call_never_runs_it_again(stage: Stage) -> None:
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = agent.room(ann)
    slow = Call("desk__slow", {"text": "x"})
    stage.script.on(turn(slow), "I can't tell what came of it.")
    host = await agent.process()
    stage.world.say(ann, room, "go")
    agent.press(ann, room, await agent.question(room), "Once")
    await until(lambda: agent.done == ["slow x"])
    await host.kill()
    again = await stage.process()
    try:
        await agent.said(room, "I can't tell what came of it.")
    finally:
        await again.end()
    assert agent.done == ["slow x"]
    assert "Outcome unknown" in results(stage)[0]


@pytest.mark.timeout(180)
async def test_a_call_of_unknown_outcome_asks_a_person_though_whitelisted(stage: Stage) -> None:
    agent = ToolAgent(stage, whitelistPatterns=["mcp:desk:*"])
    ann = stage.person("Ann")
    room = agent.room(ann)
    slow = Call("desk__slow", {"text": "x"})
    stage.script.on(turn(slow), turn("Again.", slow), "Not again.")
    host = await agent.process()
    stage.world.say(ann, room, "go")
    await until(lambda: agent.done == ["slow x"])
    await host.kill()
    again = await stage.process()
    try:
        question = await agent.question(room)
        assert buttons(question) == ["Once", "Deny"]
        agent.press(ann, room, question, "Deny")
        stage.world.say(ann, room, "once is enough")
        await agent.said(room, "Not again.")
    finally:
        await again.end()
    assert agent.done == ["slow x"]


@pytest.mark.timeout(180)
async def test_a_press_after_the_line_has_moved_runs_it_once_though_the_old_owner_wakes(
    stage: Stage, tmp_path: Path
) -> None:
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = agent.room(ann)
    stage.script.on(write(), "It is written.", "and the next")
    async with running_valkey(tmp_path / "valkey") as valkey:
        words = {"REDIS_URL": valkey.url, "LEASE_SECONDS": "2", "SWEEP_SECONDS": "0.5"}
        old, new = Replica(stage, "old", **words), Replica(stage, "new", **words)
        async with old.running():
            stage.world.say(ann, room, "write hello")
            question = await agent.question(room)
            old.send(signal.SIGSTOP)
            async with new.running():
                await until(lambda: new.logged("line.serving"), PATIENCE)
                pressed = agent.press(ann, room, question, "Once")
                old.send(signal.SIGCONT)
                assert await agent.answered(pressed) == "Allowed once."
                await agent.said(room, "It is written.")
                await until(lambda: old.logged("line.lost"), PATIENCE)
                assert await stage.ask(ann, room, agent.bot, "next") == "and the next"
    assert agent.done == ["write hello"]
    assert results(stage, 1) == ["written: hello"]


@pytest.mark.timeout(400)
async def test_killed_at_random_moments_each_approved_call_runs_once_at_most(stage: Stage) -> None:
    agent, seed = ToolAgent(stage), random.Random(SEED)
    crowd = Crowd(stage, agent)
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
    runs = agent.done
    assert sorted(runs) == sorted(set(runs)), "a call ran twice"
    assert set(runs) <= {f"write word{n}" for n in range(PEOPLE)}
    unknown = _unknown(stage)
    assert len(runs) + len(unknown) >= PEOPLE, "an approved call neither ran nor was told of"
    finals = [
        [text for text in stage.texts(room, agent.bot.id) if "done with" in text]
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
