"""Floods on the port of a running host: they are refused, cost little, and the bots go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import monotonic

import aiohttp
import pytest

from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.attacks.flood import KINDS
from tests.host.stage import HostProcess, Stage, health, staged
from tests.host.test_webhooks import free_port

FLOOD = Path(__file__).with_name("flood.py")
CONNECTIONS = 1000
MOST_MEMORY = 20.0
FEW = ["half a request", "60 KB of headers"]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as stage:
        yield stage


class Memory:
    """MB of a process that are resident, looked at all the time; `growth` is the most so far."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self._before = self.now()
        self.growth = 0.0

    def now(self) -> float:
        lines = self._status.read_text().splitlines()
        (line,) = [line for line in lines if line.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.growth = max(self.growth, self.now() - self._before)

    @contextlib.contextmanager
    def watched(self) -> Iterator[Memory]:
        watching = threading.Thread(target=self._watch)
        watching.start()
        try:
            yield self
        finally:
            self._over.set()
            watching.join()


class Scene:
    """A host with a bot, whose port is flooded while Ann talks to the bot."""

    def __init__(self, stage: Stage, port: int) -> None:
        self.stage = stage
        self.port = port
        self.bot: Bot = stage.bot("Echo")
        self.ann: Person = stage.person("Ann")
        self.room: Room = stage.world.private(self.ann, self.bot)
        stage.script.on("still here", again=True)

    async def host(self) -> HostProcess:
        """It talks to people as fast as they like."""
        return await self.stage.process(
            HTTP_PORT=str(self.port), LIMITS__REQUESTSPERMINUTE="1000000"
        )

    async def ask(self) -> float:
        """Seconds until the bot has answered."""
        began = monotonic()
        assert await self.stage.ask(self.ann, self.room, self.bot, "are you?") == "still here"
        return monotonic() - began

    async def warm(self) -> None:
        """What a host loads at its first use is loaded."""
        for _ in range(3):
            await self.ask()
            await health(f"http://127.0.0.1:{self.port}")

    async def flood(self, kind: str, seconds: float) -> dict[str, int]:
        """How the flood's connections ended, while Ann's questions are answered all the time."""
        words = (str(FLOOD), str(self.port), kind, str(CONNECTIONS), str(seconds))
        flood = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=asyncio.subprocess.PIPE
        )
        over = asyncio.ensure_future(flood.communicate())
        waits = []
        try:
            while not over.done():
                waits.append(await self.ask())
                assert await self.is_live()
        finally:
            if not over.done():
                flood.kill()
            said, _ = await over
        assert flood.returncode == 0
        assert max(waits) < 5, kind
        ends: dict[str, int] = json.loads(said)
        return ends

    async def is_live(self) -> bool:
        """What a health check of this machine hears."""
        url = f"http://127.0.0.1:{self.port}/health/live"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200


async def flooded(stage: Stage, kinds: list[str], seconds: float) -> dict[str, int]:
    """What the host has counted after floods of these kinds; its memory has hardly grown."""
    scene = Scene(stage, free_port())
    host = await scene.host()
    try:
        await scene.warm()
        with Memory(host.pid).watched() as memory:
            for kind in kinds:
                ends = await scene.flood(kind, seconds)
                assert memory.growth < MOST_MEMORY, (kind, memory.growth, ends)
        _, report = await health(f"http://127.0.0.1:{scene.port}")
        assert report["status"] == "healthy"
        assert host.log.read_text().count("http.crowded") <= 2  # once a minute
        counters: dict[str, int] = report["counters"]
        return counters
    finally:
        await host.end()


async def test_a_thousand_slow_connections_and_60_megabytes_of_headers_are_refused_cheaply(
    stage: Stage,
) -> None:
    counters = await flooded(stage, FEW, 0.0)
    assert counters["http:gave_way"] >= CONNECTIONS / 4
    assert counters["http:431"] >= CONNECTIONS / 4


@pytest.mark.attack
async def test_no_kind_of_flood_costs_the_host_its_memory_or_its_bots(stage: Stage) -> None:
    await flooded(stage, sorted(KINDS), 0.2)


@pytest.mark.attack
async def test_half_a_request_and_silence_are_let_go_after_ten_seconds(stage: Stage) -> None:
    scene = Scene(stage, free_port())
    host = await scene.host()
    try:
        await scene.warm()
        began = monotonic()
        talks = [await asyncio.open_connection("127.0.0.1", scene.port) for _ in range(3)]
        for (_, writer), said in zip(
            talks, (b"", b"GET / HT", b"GET / HTTP/1.1\r\nA: b\r\n"), strict=True
        ):
            writer.write(said)
        answers = await asyncio.wait_for(asyncio.gather(*(r.read() for r, _ in talks)), 20)
        assert [answer[:12] for answer in answers] == [b"", b"HTTP/1.1 408", b"HTTP/1.1 408"]
        assert 9.5 < monotonic() - began < 15
        for _, writer in talks:
            writer.close()
    finally:
        await host.end()
