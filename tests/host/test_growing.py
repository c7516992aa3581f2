"""An answer that grows in a group is a message of its own: one, whatever becomes of calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bot.app import App
from bot.telegram import rate_limit
from bot.telegram.markdown.renderer import MARK
from simulators.messages.turns import Stall, Text, Turn
from simulators.telegram.faults import Fault
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, staged, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER = " ".join(f"word{number}" for number in range(80))
CALLS = ("sendMessage", "editMessageText")


class Group:
    """One host for all tests here, and a group for each."""

    def __init__(self, stage: Stage, host: App, bot: Bot, ann: Person) -> None:
        self.stage, self.host, self.bot, self.ann = stage, host, bot, ann
        self.faults = stage.world.faults
        self.room: Room = stage.world.group("Team", [ann, bot])

    async def ask(self) -> None:
        """A question whose answer stands still when half of it is there."""
        self.stage.sim.gates.shut("half")
        stands = Turn((Text(ANSWER),), fault=Stall(events=12, gate="half"))
        self.stage.script.on(stands)
        self.stage.world.say(self.ann, self.room, f"@{self.bot.username} slowly")
        await self.stage.sim.gates.reached("half")

    async def is_on_its_way(self) -> None:
        """Until the call has begun to which something happens."""
        await until(lambda: not self.faults.open)

    async def go_on(self) -> list[str]:
        """The answer comes to its end; what can be read then."""
        had = self.host.counters["turns:done"]
        self.stage.sim.gates.open("half")
        await until(lambda: self.host.counters["turns:done"] > had)
        await self.host.fleet.lines[0].idle()
        return self.stage.texts(self.room, self.bot.id)

    async def grown(self) -> list[str]:
        """What can be read after an answer that grew slowly."""
        had = self.host.counters["turns:done"]
        self.stage.script.on(Turn((Text(ANSWER),), pace=120.0))
        self.stage.world.say(self.ann, self.room, f"@{self.bot.username} slowly")
        await until(lambda: self.host.counters["turns:done"] > had)
        await self.host.fleet.lines[0].idle()
        return self.stage.texts(self.room, self.bot.id)

    def calls(self) -> list[str]:
        """The calls that show text in this group, in order."""
        made = self.stage.world.calls.of(bot=self.bot.id)
        mine = [call for call in made if call.params.get("chat_id") == self.room.id]
        return [call.method for call in mine if call.method in CALLS]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Stage, App, Bot, Person]]:
    folder: Path = tmp_path_factory.mktemp("growing")
    async with staged(folder) as stage:
        echo, ann = stage.bot("Echo"), stage.person("Ann")
        async with stage.host() as host:
            await host.loaded.wait()
            yield stage, host, echo, ann


@pytest.fixture
def group(scene: tuple[Stage, App, Bot, Person]) -> Group:
    return Group(*scene)


async def test_a_beginning_on_its_way_when_the_answer_is_whole_becomes_the_answer(
    group: Group,
) -> None:
    group.faults.add(Fault("delay", "sendMessage", seconds=0.7))
    await group.ask()
    await group.is_on_its_way()
    assert await group.go_on() == [ANSWER]
    assert group.calls() == ["sendMessage", "editMessageText"]


async def test_an_edit_on_its_way_when_the_answer_is_whole_does_not_undo_it(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "_GROUP_EDIT_GAP", 0.3)
    group.faults.add(Fault("delay", "editMessageText", seconds=1.5))
    await group.grown()
    await until(lambda: group.calls().count("editMessageText") == 2)
    assert group.stage.texts(group.room, group.bot.id) == [ANSWER]


async def test_an_edit_of_unknown_fate_cannot_undo_the_answer(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "_GROUP_EDIT_GAP", 0.3)
    group.faults.add(Fault("lose", "editMessageText"))
    beginning, answer = await group.grown()
    assert ANSWER.startswith(beginning)
    assert answer == MARK + ANSWER
    assert group.calls() == ["sendMessage", "editMessageText", "sendMessage"]


async def test_a_beginning_of_unknown_fate_stays_the_only_one_and_the_answer_is_marked(
    group: Group,
) -> None:
    group.faults.add(Fault("lose", "sendMessage"))
    await group.ask()
    await group.is_on_its_way()
    beginning, answer = await group.go_on()
    assert ANSWER.startswith(beginning)
    assert answer == MARK + ANSWER
    assert group.calls() == ["sendMessage", "sendMessage"]


async def test_a_beginning_that_was_refused_leaves_no_mark(group: Group) -> None:
    group.faults.add(Fault("answer", "sendMessage", status=400, description="Bad Request: no"))
    await group.ask()
    await group.is_on_its_way()
    assert await group.go_on() == [ANSWER]
