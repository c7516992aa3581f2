"""Signals at odd moments: while the store is away, and a second Ctrl-C."""

from __future__ import annotations

import signal
import socket

import pytest

from simulators.messages.turns import Text, Turn
from tests.host.replicas import Replica
from tests.host.stage import Stage, until


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_host_that_waits_for_its_store_is_stopped_by_a_signal(
    stage: Stage, number: signal.Signals
) -> None:
    url = f"redis://:hunter2@127.0.0.1:{closed_port()}/0"
    stage.bot("Echo")
    host = Replica(stage, "waiting", REDIS_URL=url)
    await host.spawn(by_command=True)
    try:
        await until(lambda: host.logged("store.away"))
        host.send(number)
        assert await host.wait(60) == 0
    finally:
        await host.end()
    assert host.logged("a signal, during the start")
    assert not host.logged("hunter2")
    assert not host.logged("Traceback")


async def test_a_second_ctrl_c_ends_the_host_at_once_and_the_next_one_goes_on(
    stage: Stage,
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(Turn((Text("never said to its end"),), gate="held"))
    stage.script.on("whole", again=True)
    first = Replica(stage, "one", DRAIN_SECONDS="600")
    async with first.running():
        stage.world.say(ann, room, "hi")
        await until(lambda: len(stage.requests()) == 1)
        first.send(signal.SIGINT)
        await until(lambda: first.logged("stopping"))
        first.send(signal.SIGINT)
        assert await first.wait(60) == 0
    assert not first.logged("Traceback")
    async with Replica(stage, "one").running():
        await stage.answer(room, echo, 1, 30)
    assert stage.texts(room, echo.id) == ["whole"]
