"""How often a message failed is known to the next host: restarts do not undo a bound."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from bot.store import keys
from bot.store.client import connect
from bot.store.embedded import EmbeddedValkey
from bot.telegram import sender
from simulators.telegram.faults import Fault, Kind
from tests.host.stage import Stage, until
from tests.host.test_refused_answers import letters

FOR_EVER = 10**6
HOUR = 3600.0


@pytest.fixture
def lives(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Begins the next life of a host: so many tries, then a pause that outlasts it."""
    left = 0

    def pause(_failures: int, _first: float, _longest: float) -> float:
        nonlocal left
        left -= 1
        return 0.2 if left > 0 else HOUR

    def begin(tries: int) -> None:
        nonlocal left
        left = tries

    monkeypatch.setattr(sender, "backoff", pause)
    return begin


class Scene:
    """Ann's answer meets a fault for ever; Ben is served beside her."""

    def __init__(self, stage: Stage, fault: Kind) -> None:
        self.stage, self.echo = stage, stage.bot("Echo")
        self.ann, self.ben = stage.person("Ann"), stage.person("Ben")
        self.room = stage.world.private(self.ann, self.echo)
        self.other = stage.world.private(self.ben, self.echo)
        stage.script.on("the answer", user="hi")
        stage.script.on("hello", again=True, user="hello")
        where: dict[str, Any] = {"chat": self.room.id, "says": "answer"}
        stage.world.faults.add(Fault(fault, "sendMessage", status=502, times=FOR_EVER, **where))

    @property
    def tried(self) -> int:
        calls = self.stage.world.calls.of(method="sendMessage")
        sent = [call.params for call in calls if call.params["chat_id"] == self.room.id]
        return sum("answer" in one["text"] for one in sent)

    async def others_are_served(self) -> None:
        assert await self.stage.ask(self.ben, self.other, self.echo, "hello", 20) == "hello"


@pytest.mark.parametrize("fault", ["html"])
async def test_a_message_that_always_meets_5xx_is_set_aside_however_often_the_host_restarts(
    stage: Stage, lives: Callable[[int], None], fault: Kind
) -> None:
    s = Scene(stage, fault)
    redis = connect(EmbeddedValkey(stage.folder / "data", "everysec").url)
    key = keys.failing(f"bot:{s.echo.id}")
    for life in range(2):
        lives(3)
        async with stage.host(DRAIN_SECONDS="0"):
            if life == 0:
                stage.world.say(s.ann, s.room, "hi")
            await stage.world.until(lambda: s.tried == 1 + 3 * life, 20)  # noqa: B023
            await s.others_are_served()
            await stage.world.until(lambda: s.tried == 3 + 3 * life, 20)  # noqa: B023
    host = await stage.process()
    for _ in range(2000):
        (counts,) = await redis.hvals(key)
        if json.loads(counts)[0] == 7:
            break
        await asyncio.sleep(0.01)
    await host.kill()
    assert s.tried == 7
    lives(3)
    async with stage.host() as last:
        await until(lambda: last.counters["dead_letters"] == 1, 20)
        await s.others_are_served()
        assert s.tried == sender.MOST_FAULTS
        (line,) = await letters(stage)
        assert f"chat {s.room.id} " in line
        await last.fleet.lines[0].idle()
        assert not await redis.exists(key)
    await redis.aclose()


async def test_a_message_without_an_answer_counts_as_sent_at_last_however_often_the_host_restarts(
    stage: Stage, lives: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "MOST_COPIES", 5)
    s = Scene(stage, "lose")
    for life in range(2):
        lives(2)
        async with stage.host(DRAIN_SECONDS="0"):
            if life == 0:
                stage.world.say(s.ann, s.room, "hi")
            await stage.world.until(lambda: s.tried == 2 + 2 * life, 20)  # noqa: B023
            await s.others_are_served()
    lives(3)
    async with stage.host() as last:
        await until(lambda: last.counters["send:unanswered"] == 1, 20)
        await s.others_are_served()
        await last.fleet.lines[0].idle()
    assert s.tried == 5
