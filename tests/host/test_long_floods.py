"""A 429 of an hour: obeyed by the next host as well, shown in health, and no stop waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.store import keys
from bot.store.client import connect
from bot.store.embedded import EmbeddedValkey
from bot.telegram.markdown.renderer import MARK
from simulators.messages.turns import turn
from simulators.telegram.faults import Fault
from simulators.telegram.rooms import Room
from simulators.testing.valkey import Valkey
from tests.host.replicas import Replica
from tests.host.stage import Stage, health, until

HOUR = 3600


def flood(room: Room, method: str, seconds: int = HOUR) -> Fault:
    words = f"Too Many Requests: retry after {seconds}"
    wait = {"retry_after": seconds}
    return Fault("answer", method, chat=room.id, status=429, description=words, parameters=wait)


def calls_to(stage: Stage, room: Room) -> list[str]:
    calls = stage.world.calls.of()
    return [call.method for call in calls if str(call.params.get("chat_id")) == str(room.id)]


@pytest.mark.parametrize(
    ("method", "group"),
    [
        ("sendMessage", False),
        ("sendMessage", True),
        ("editMessageText", True),
        ("sendMessageDraft", False),
    ],
)
async def test_a_chat_that_is_frozen_for_an_hour_stays_so_through_a_restart(
    stage: Stage, method: str, group: bool
) -> None:
    echo, ann, ben = stage.bot("Echo"), stage.person("Ann"), stage.person("Ben")
    team = stage.world.group("Team", [ann, echo])
    room = team if group else stage.world.private(ann, echo)
    other = stage.world.private(ben, echo)
    grows = turn(" ".join(f"word{n}" for n in range(60)), pace=60.0)
    stage.script.on(grows, again=True, user="slowly")
    stage.script.on("hello", again=True, user="hello")
    stage.world.faults.add(flood(room, method))
    clock = asyncio.get_running_loop().time
    async with stage.host(DRAIN_SECONDS="30") as host:
        stage.world.say(ann, room, f"@{echo.username} slowly")
        await until(lambda: 429 in [call.status for call in stage.world.calls.of()], 20)
        assert await stage.ask(ben, other, echo, "hello") == "hello"
        await until(lambda: _frozen(host.report()) == 1, 20)
        began = clock()
    assert clock() - began < 10
    before = len(calls_to(stage, room))
    async with stage.host(DRAIN_SECONDS="30") as host:
        assert await stage.ask(ben, other, echo, "hello") == "hello"
        stage.world.say(ann, room, f"@{echo.username} hello")
        assert await stage.ask(ben, other, echo, "hello") == "hello"
        await until(lambda: host.fleet.lines[0].backlog >= 1, 20)
        status, report = await health(host.url)
        began = clock()
    assert clock() - began < 10
    assert calls_to(stage, room)[before:] == []
    assert status == 200
    (bot,) = report["bots"]
    assert bot["frozen"]["chats"] == 1
    assert HOUR - 60 < bot["frozen"]["seconds"] <= HOUR


async def test_a_replica_obeys_the_flood_limit_that_a_killed_one_had_met(
    stage: Stage, valkey: Valkey
) -> None:
    echo, ann, ben = stage.bot("Echo"), stage.person("Ann"), stage.person("Ben")
    room, other = stage.world.private(ann, echo), stage.world.private(ben, echo)
    stage.script.on("hello", again=True)
    stage.world.faults.add(flood(room, "sendMessage"))
    words = {"REDIS_URL": valkey.url, "LEASE_SECONDS": "2", "SWEEP_SECONDS": "0.5"}
    one, two = (Replica(stage, name, **words) for name in ("one", "two"))
    async with one.running(), two.running():
        stage.world.say(ann, room, "hello")
        await until(lambda: 429 in [call.status for call in stage.world.calls.of()], 20)
        owner, left = (one, two) if await one.serves() else (two, one)
        for _ in range(400):
            if _frozen(await owner.report()):
                break
            await asyncio.sleep(0.05)
        assert await stage.ask(ben, other, echo, "hello", 20) == "hello"
        await owner.kill()
        before = len(calls_to(stage, room))
        stage.world.say(ann, room, "hello")
        for _ in range(2):  # the first may be what the other one sent, once more
            assert (await stage.ask(ben, other, echo, "hello", 30)).removeprefix(MARK) == "hello"
        assert calls_to(stage, room)[before:] == []
        (bot,) = (await left.report())["bots"]
        assert bot["frozen"]["chats"] == 1
        assert HOUR - 120 < bot["frozen"]["seconds"] <= HOUR


def _frozen(report: dict[str, Any]) -> int:
    (bot,) = report["bots"]
    return int(bot.get("frozen", {}).get("chats", 0))


async def test_a_chat_whose_time_is_over_gets_its_answer_once_and_leaves_nothing_behind(
    stage: Stage,
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("patience pays")
    stage.world.faults.add(flood(room, "sendMessage", 3))
    first = await stage.process()
    stage.world.say(ann, room, "hi")
    await until(lambda: 429 in [call.status for call in stage.world.calls.of()], 20)
    refused = next(call.at for call in stage.world.calls.of() if call.status == 429)
    redis = connect(EmbeddedValkey(stage.folder / "data", "everysec").url)
    for _ in range(1000):
        if await redis.exists(keys.frozen(f"bot:{echo.id}")):
            break
        await asyncio.sleep(0.01)
    await redis.aclose()
    await first.kill()
    async with stage.host() as host:
        answer = (await stage.answer(room, echo, seconds=20)).text
        assert answer.removeprefix(MARK) == "patience pays"
        at = [call.at for call in stage.world.calls.of(method="sendMessage")][-1]
        assert at - refused >= 2.9
        await host.fleet.lines[0].idle()
        assert _frozen(host.report()) == 0
    assert len(stage.texts(room, echo.id)) == 1
