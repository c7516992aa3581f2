"""One person who writes without an end, and a crowd that comes at once: what the others notice."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bot.turn.results import TOO_MANY_REQUESTS
from simulators.telegram.people import Bot, Person
from tests.host.replicas import Replica
from tests.host.stage import Stage, staged

pytestmark = [
    pytest.mark.attack,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]

PATIENCE = 60.0
GROWTH = 60_000
"""KB that a host may grow by; what the flood weighs is ten times as much in all its copies."""


class Scene:
    """A host as a process, with a bot that answers everybody in a word."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.bot: Bot = stage.bot("Echo")
        stage.script.on("here", again=True)
        self.host = Replica(stage, "host")

    async def waited(self, people: int = 8) -> float:
        """Seconds that somebody new waits for an answer, in the middle of some."""
        return statistics.median(await asyncio.gather(*(self._one() for _ in range(people))))

    async def _one(self) -> float:
        ann = self.stage.person("Ann")
        began = time.monotonic()
        await self.answered(ann)
        return time.monotonic() - began

    async def answered(self, person: Person) -> None:
        room = self.stage.world.private(person, self.bot)
        self.stage.world.say(person, room, "are you there?")
        await self.stage.answer(room, self.bot, 1, PATIENCE)

    def resident(self) -> int:
        """KB of memory that the host has."""
        lines = Path(f"/proc/{self.host.pid}/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with staged(tmp_path_factory.mktemp("flood")) as stage:
        scene = Scene(stage)
        async with scene.host.running():
            await scene.waited()
            yield scene


async def test_ten_megabytes_of_one_person_hold_nobody_else_up(scene: Scene) -> None:
    eve, usual, before = scene.stage.person("Eve"), await scene.waited(), scene.resident()
    room, asked = scene.stage.world.private(eve, scene.bot), len(scene.stage.requests())
    for number in range(2_500):
        scene.stage.world.say(eve, room, f"{number} " + "x" * 4_000)
    others = [await scene.waited() for _ in range(4)]
    (bot,) = (await scene.host.report())["bots"]
    assert bot["backlog"] > 2_000  # it is all there, and still waits
    assert max(others) < usual + 3
    assert scene.resident() - before < GROWTH

    def told_to_wait() -> bool:
        return TOO_MANY_REQUESTS in scene.stage.texts(room, scene.bot.id)

    await scene.stage.world.until(told_to_wait, PATIENCE)
    assert len(scene.stage.requests()) - asked < 60 + 4 * 8 + 10


async def test_a_thousand_new_chats_at_once_are_answered_and_leave_the_host_as_it_was(
    scene: Scene,
) -> None:
    usual, before = await scene.waited(), scene.resident()
    crowd = [scene.stage.person(f"P{number}") for number in range(1_000)]
    began = time.monotonic()
    await asyncio.gather(*(scene.answered(one) for one in crowd))
    assert time.monotonic() - began < PATIENCE
    assert await scene.waited() < usual + 1
    assert scene.resident() - before < GROWTH
