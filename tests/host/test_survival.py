"""What survives: kill -9, SIGTERM, a store that is away, a revoked token."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from simulators.messages.turns import Text, Turn
from simulators.testing.valkey import Valkey
from tests.host.chat import HostChat
from tests.host.stage import Stage, health, processes_in, until


async def test_an_answer_that_was_cut_by_kill_9_comes_once_after_the_restart(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(
        Turn((Text("half of an answer that is never whole"),), gate="held"), "the whole answer"
    )
    host = await stage.process()
    stage.world.say(ann, room, "tell me")
    await stage.sim.gates.reached("held")
    await host.kill()
    again = await stage.process()
    try:
        assert (await stage.answer(room, echo, seconds=30)).text == "the whole answer"
        stage.script.on("and the next")
        assert await stage.ask(ann, room, echo, "next") == "and the next"
    finally:
        await again.end()
    assert stage.texts(room, echo.id) == ["the whole answer", "and the next"]


async def test_sigterm_ends_host_and_store_within_seconds_when_nothing_runs(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    stage.script.on("ok")
    host = await stage.process()
    await stage.ask(ann, stage.world.private(ann, echo), echo, "hi")
    assert processes_in(stage.folder / "data")
    assert await host.terminate(seconds=20) == 0
    assert processes_in(stage.folder / "data") == []


async def test_sigterm_lets_a_running_turn_come_to_its_end(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(Turn((Text("just in time"),), gate="held"))
    host = await stage.process()
    stage.world.say(ann, room, "hi")
    await stage.sim.gates.reached("held")
    assert host.process is not None
    host.process.send_signal(signal.SIGTERM)
    await until(lambda: b"stopping" in host.log.read_bytes())
    stage.sim.gates.open("held")
    assert await asyncio.wait_for(host.process.wait(), 60) == 0
    assert stage.texts(room, echo.id) == ["just in time"]


async def test_the_store_of_a_killed_host_is_adopted_by_the_next(stage: Stage) -> None:
    stage.bot("Echo")
    host = await stage.process()
    before = processes_in(stage.folder / "data")
    await host.kill()
    assert processes_in(stage.folder / "data") == before
    again = await stage.process()
    assert processes_in(stage.folder / "data") == before
    await again.end()


async def test_a_second_host_on_one_data_directory_is_refused_with_the_cure(stage: Stage) -> None:
    stage.bot("Echo")
    host = await stage.process()
    process = await asyncio.create_subprocess_exec(
        *host.command, env=host.environ, stderr=asyncio.subprocess.PIPE, cwd=stage.folder
    )
    _, words = await asyncio.wait_for(process.communicate(), 100)
    await host.end()
    assert process.returncode == 1
    assert "set another DATA_DIR for this one" in words.decode()


async def test_one_revoked_token_among_ten_leaves_nine_that_answer(stage: Stage) -> None:
    bots = [stage.bot(f"Bot{n}") for n in range(10)]
    ann = stage.person("Ann")
    stage.script.on("here", again=True)
    variables = stage.variables()
    stage.world.revoke(bots[4])
    async with stage.host(**variables) as host:
        for number, bot in enumerate(bots):
            if number != 4:
                room = stage.world.private(ann, bot)
                assert await stage.ask(ann, room, bot, "there?") == "here"
        status, report = await health(host.url)
    states = [bot["state"] for bot in report["bots"]]
    assert status == 200
    assert report["status"] == "degraded"
    assert states == ["polling"] * 4 + ["quarantined"] + ["polling"] * 5


async def test_a_token_revoked_while_running_quarantines_that_bot_alone(stage: Stage) -> None:
    one, two = stage.bot("One"), stage.bot("Two")
    ann = stage.person("Ann")
    stage.script.on("here", again=True)
    async with stage.host() as host:
        assert await stage.ask(ann, stage.world.private(ann, one), one, "there?") == "here"
        stage.world.revoke(one)
        await until(lambda: host.fleet.lines[0].state == "quarantined")
        assert await stage.ask(ann, stage.world.private(ann, two), two, "there?") == "here"


async def test_a_store_that_is_away_for_seconds_loses_nothing(stage: Stage, tmp_path: Path) -> None:
    seconds = float(os.environ.get("STORE_AWAY_SECONDS", "2"))
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("ok", again=True)
    valkey = Valkey(tmp_path / "valkey")
    await valkey.start()
    try:
        async with stage.host(REDIS_URL=valkey.url) as host:
            assert await stage.ask(ann, room, echo, "before") == "ok"
            await valkey.stop()
            for number in range(5):
                stage.world.say(ann, room, f"while it is away {number}")
            await asyncio.sleep(seconds)
            assert stage.texts(room, echo.id) == ["ok"]
            await valkey.start()
            await stage.answer(room, echo, 6)
            assert host.fleet.lines[0].state == "polling"
    finally:
        await valkey.stop()
    asked = [r["messages"][-1]["content"][-1]["text"].split("\n")[1] for r in stage.requests()]
    assert asked == ["before"] + [f"while it is away {number}" for number in range(5)]


async def test_a_bundled_store_that_is_killed_is_started_again(chat: HostChat) -> None:
    chat.script.on("ok", again=True)
    await chat.ask("before")
    (server,) = processes_in(chat.stage.folder / "data")
    os.kill(server, signal.SIGKILL)
    assert await chat.ask("after") == "ok"
    assert len(chat.requests[-1]["messages"]) == 3
