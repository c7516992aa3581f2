"""An answer that grows in a group is a message of its own: one, whatever becomes of calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.app import App
from bot.telegram import rate_limit, sender
from bot.telegram.markdown.renderer import MARK
from simulators.messages.turns import Stall, Text, Turn
from simulators.telegram.calls import CallRecord
from simulators.telegram.faults import Fault
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, staged, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER = " ".join(f"word{number}" for number in range(80))
CALLS = ("sendMessage", "editMessageText")
FLOODS: dict[str, dict[str, Any]] = {
    "an edit on the way": {"method": "editMessageText", "parameters": {"retry_after": 1}},
    "the last edit, in words": {"method": "editMessageText", "says": ANSWER[-6:]},
    "a draft": {"method": "sendMessageDraft", "parameters": {"retry_after": 1}},
    "a draft, in words": {"method": "sendMessageDraft"},
}


class Group:
    """One host for all tests here, and a group for each."""

    def __init__(self, stage: Stage, host: App, bot: Bot, ann: Person) -> None:
        self.stage, self.host, self.bot, self.ann = stage, host, bot, ann
        self.faults = stage.world.faults
        self.faults.clear()
        self.room: Room = stage.world.group("Team", [ann, bot])

    async def ask(self, events: int = 12, pace: float | None = None) -> None:
        """A question whose answer stands still when so much of it is there."""
        self.stage.sim.gates.shut("half")
        stands = Turn((Text(ANSWER),), pace=pace, fault=Stall(events, gate="half"))
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

    async def grown(self, pace: float = 120.0) -> list[str]:
        """What can be read after an answer that grew slowly."""
        had = self.host.counters["turns:done"]
        self.stage.script.on(Turn((Text(ANSWER),), pace=pace))
        self.stage.world.say(self.ann, self.room, f"@{self.bot.username} slowly")
        await until(lambda: self.host.counters["turns:done"] > had)
        await self.host.fleet.lines[0].idle()
        return self.stage.texts(self.room, self.bot.id)

    def made(self) -> list[CallRecord]:
        """All calls for this chat, in order."""
        made = self.stage.world.calls.of(bot=self.bot.id)
        return [call for call in made if call.params.get("chat_id") == self.room.id]

    def calls(self) -> list[str]:
        """The calls that show text in this group, in order."""
        return [call.method for call in self.made() if call.method in CALLS]


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
    group.faults.add(Fault("delay", "editMessageText", seconds=1.5, says="word60"))
    await group.ask(events=125, pace=60.0)  # slow enough that it begins before that
    await group.is_on_its_way()
    await group.go_on()

    def edits() -> list[str]:
        return [call.params["text"] for call in group.made() if call.method == "editMessageText"]

    await until(lambda: edits()[-1:] == [ANSWER] and any("word60" in one for one in edits()[:-1]))
    assert group.stage.texts(group.room, group.bot.id) == [ANSWER]


async def test_an_edit_of_unknown_fate_cannot_undo_the_answer(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "_GROUP_EDIT_GAP", 0.3)
    group.faults.add(Fault("lose", "editMessageText"))
    beginning, answer = await group.grown(pace=40.0)
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


async def test_each_answer_in_a_group_begins_to_grow_at_the_short_gap_again(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"_GROUP_GAP": 0.1, "_GROUP_EDIT_STEP": 1.0}.items():
        monkeypatch.setattr(rate_limit, name, seconds)
    for _ in range(2):
        before = len(group.calls())
        await group.grown(pace=50.0)
        shown = [call for call in group.made() if call.method in CALLS][before:]
        assert [call.method for call in shown][:2] == [*CALLS]
        assert shown[1].params["text"] != ANSWER, "the answer grew no further than its beginning"


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_limit_while_an_answer_grows_is_obeyed_and_one_whole_answer_comes(
    group: Group, monkeypatch: pytest.MonkeyPatch, flood: str
) -> None:
    monkeypatch.setattr(rate_limit, "_GROUP_EDIT_GAP", 0.3)
    if "draft" in flood:
        group.ann = group.stage.person("Ann")
        group.room = group.stage.world.private(group.ann, group.bot)
    before = len(group.made())
    texts = len(group.stage.texts(group.room, group.bot.id))
    words = "Too Many Requests: retry after 1"
    fault = FLOODS[flood] | {"chat": group.room.id, "status": 429, "description": words}
    group.faults.add(Fault("answer", **fault))
    assert (await group.grown(pace=60.0))[texts:] == [ANSWER]
    assert not group.faults.open
    made = group.made()[before:]
    refused = next(n for n, call in enumerate(made) if call.status == 429)
    assert made[refused + 1].at - made[refused].at >= 0.95


@pytest.mark.parametrize("status", [500, 502])
async def test_an_answer_whose_edit_always_meets_5xx_comes_as_a_new_message(
    group: Group, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    longest: list[float] = []

    def pause(_failures: int, _first: float, most: float) -> float:
        longest.append(most)
        return 0.3

    monkeypatch.setattr(sender, "backoff", pause)
    stage, ben = group.stage, group.stage.person("Ben")
    other = stage.world.private(ben, group.bot)
    await group.ask()
    await until(lambda: "sendMessage" in group.calls())
    fault = Fault("answer", "editMessageText", chat=group.room.id, status=status, times=10**6)
    group.faults.add(fault)
    growing = asyncio.create_task(group.go_on())
    await until(lambda: bool(whole(group)))
    stage.script.on("hello", user="hello")
    assert await stage.ask(ben, other, group.bot, "hello") == "hello"
    beginning, answer = await asyncio.wait_for(growing, 20)
    assert ANSWER.startswith(beginning)
    assert answer == MARK + ANSWER
    assert group.host.counters["dead_letters"] == 0
    group.faults.clear()
    *edits, last = whole(group)
    assert sender.PLAIN_AFTER <= len(edits) < sender.MOST_FAULTS
    assert set(edits) == {"editMessageText"}
    assert last == "sendMessage"
    assert longest[-1] == sender.LONGEST_WHILE_SERVED


def whole(group: Group) -> list[str]:
    """The calls that show the whole answer, in order."""
    made = [call for call in group.made() if ANSWER[-6:] in call.params.get("text", "")]
    return [call.method for call in made]
