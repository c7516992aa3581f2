"""SIGTERM in the midst of work, and a bot that nobody wrote to for a week."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from simulators.messages.turns import Text, Turn
from simulators.telegram.faults import Fault
from tests.host.replicas import Replica
from tests.host.stage import Stage, until


async def test_sigterm_with_twenty_turns_and_half_a_request_ends_in_time_and_loses_nothing(
    stage: Stage, tmp_path: Path
) -> None:
    echo = stage.bot("Echo")
    people = [stage.person(f"Person {n}") for n in range(20)]
    rooms = [stage.world.private(person, echo) for person in people]
    long = "never said to its end " * 40
    stage.script.on(*[Turn((Text(long),), gate="held")] * 19, Turn((Text(long),), pace=20.0))
    stage.script.on("whole", again=True)
    first = Replica(stage, "one", DRAIN_SECONDS="1")
    async with first.running():
        for person, room in zip(people, rooms, strict=True):
            stage.world.say(person, room, "hi")
        await until(lambda: len(stage.requests()) == 20)
        port = int((first.address or "").rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /telegram/x HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{")
        await writer.drain()
        began = time.monotonic()
        first.send(signal.SIGTERM)
        assert await first.wait(30) == 0
        assert time.monotonic() - began < 18  # one after the other: 20
        writer.close()
    assert all(stage.texts(room, echo.id) == [] for room in rooms)
    async with Replica(stage, "one").running():
        for room in rooms:
            await stage.answer(room, echo, 1, 30)
    assert all(stage.texts(room, echo.id) == ["whole"] for room in rooms)


async def test_update_ids_that_begin_lower_after_a_quiet_week_are_answered(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("here", again=True)
    async with stage.host(POLL_SECONDS="1") as host:
        assert await stage.ask(ann, room, echo, "before") == "here"
        polled = host.fleet.lines[0]
        await until(lambda: (polled.last_success_age or 9) > 0.5)
        await until(lambda: (polled.last_success_age or 9) < 0.3)  # an empty poll has ended
        stage.world.faults.add(Fault("drop", "getUpdates"))
        await until(lambda: polled.state == "unreachable")  # nobody polls for a moment
        echo.updates.next_id = 1000
        assert await stage.ask(ann, room, echo, "a week later") == "here"
        assert await stage.ask(ann, room, echo, "and on") == "here"
