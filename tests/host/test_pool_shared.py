"""Forty chats on three shared MCP servers, each killed and started again: every turn ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bot.app import App
from simulators.messages.turns import Call, Turn, turn
from simulators.messages.validate import ModelRequest
from simulators.telegram.people import Bot
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, until
from tests.mcp.servers.starting import HERE
from tests.mcp.test_http import PATHS, free_port, serving

CHATS = 40
LOSSES = int(os.environ.get("POOL_LOSSES", "1"))
SLOTS = 8
PATIENCE = 45.0
SERVERS = ("stdio", "http", "sse")
WORKSHOP = str(HERE / "workshop.py")


def obedient(asked: ModelRequest) -> Turn:
    """Has the server that it is told of hold the word that it is told."""
    server, word = asked.user_text.split()[-2:]
    if asked.results:
        return turn(f"{word} ended")
    return turn(Call(f"{server}__hold", {"word": word}))


class Workshops:
    """Three servers of one kind, by three transports; all leave their words in one log."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "words"
        self.log.touch()
        self.gate = self.log.with_suffix(".hold")
        self.ports = {"http": free_port(), "sse": free_port()}
        self._running = AsyncExitStack()
        self._processes: list[asyncio.subprocess.Process] = []

    @property
    def words(self) -> list[str]:
        return self.log.read_text().split()

    def config(self) -> dict[str, Any]:
        env = {"WORKSHOP_LOG": str(self.log)}
        urls = {how: f"http://127.0.0.1:{port}{PATHS[how]}" for how, port in self.ports.items()}
        return {
            "stdio": {"command": sys.executable, "args": [WORKSHOP], "env": env},
            **{how: {"url": url} for how, url in urls.items()},
        }

    async def start(self) -> None:
        """Those that do not belong to the host."""
        self._processes = [
            await self._running.enter_async_context(serving("workshop.py", how, port, log=self.log))
            for how, port in self.ports.items()
        ]

    async def kill(self) -> None:
        """All three, with what they are doing."""
        for child in children("workshop.py"):
            os.kill(child, signal.SIGKILL)
        await self.stop()

    async def stop(self) -> None:
        await self._running.aclose()
        self._running = AsyncExitStack()


@asynccontextmanager
async def workshops(stage: Stage) -> AsyncIterator[Workshops]:
    shops = Workshops(stage.folder)
    stage.agents["mcpServers"] = shops.config()
    await shops.start()
    try:
        yield shops
    finally:
        await shops.stop()


def children(script: str = "") -> list[int]:
    """Processes that this one has started and not yet reaped."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            line = (entry / "cmdline").read_text()
        except OSError:
            continue
        if entry.name.isdigit() and int(stat[1]) == os.getpid() and script in line:
            found.append(int(entry.name))
    return found


def figures() -> Counter[str]:
    """What a lost connection could leave behind: tasks, processes, watchers, descriptors."""
    tasks = (f"task {task.get_coro().__qualname__}" for task in asyncio.all_tasks())  # type: ignore[union-attr]
    watchers = ("watcher" for thread in threading.enumerate() if "waitpid" in thread.name)
    files = (f"file {target.partition(':[')[0]}" for target in open_files())
    return Counter([*tasks, *watchers, *("process" for _ in children()), *files])


def open_files() -> list[str]:
    """What this process has open but sockets, which come and go with the talk of other parts."""
    return [target for target in _targets() if not target.startswith("socket:")]


def sockets(shops: Workshops) -> set[str]:
    """Our sockets to the servers, by their numbers."""
    ports = set(shops.ports.values())
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    to_servers = {row[9] for row in rows if int(row[2].rpartition(":")[2], 16) in ports}
    ours = {target[8:-1] for target in _targets() if target.startswith("socket:")}
    return to_servers & ours


def _targets() -> list[str]:
    found = []
    for entry in os.scandir("/proc/self/fd"):
        with suppress(OSError):
            found.append(str(Path(entry.path).readlink()))
    return found


def lives(host: App) -> dict[str, int]:
    return {server.names[0]: server.connects for server in host.pool.servers}


def all_up(host: App, count: int) -> bool:
    up = all(health.state == "up" for health in host.pool.servers)
    return up and lives(host) == dict.fromkeys(SERVERS, count)


class Crowd:
    """Forty people who each talk with one bot; their chats share its three servers."""

    def __init__(self, stage: Stage, bot: Bot) -> None:
        self.stage = stage
        self.bot = bot
        self.people = [stage.person(f"P{n}") for n in range(CHATS)]
        self.rooms: list[Room] = [stage.world.private(person, bot) for person in self.people]
        self.rounds = 0

    def speak(self) -> None:
        self.rounds += 1
        for n, (person, room) in enumerate(zip(self.people, self.rooms, strict=True)):
            word = f"word{self.rounds}-{n}"
            self.stage.world.say(person, room, f"ask {SERVERS[n % 3]} {word}")

    async def answered(self) -> None:
        def all_have() -> bool:
            return all(
                self.stage.texts(room, self.bot.id)[-1:] == [f"word{self.rounds}-{n} ended"]
                for n, room in enumerate(self.rooms)
            )

        await self.stage.world.until(all_have, PATIENCE)


@pytest.mark.timeout(120 + 60 * LOSSES)
async def test_forty_chats_outlive_their_servers_with_one_reconnect_for_each_loss(
    stage: Stage,
) -> None:
    stage.script.on(obedient, again=True)
    async with workshops(stage) as shops:
        agent = stage.bot("Desk", mcpServers=[*SERVERS], whitelistPatterns=["mcp:*:hold"])
        crowd = Crowd(stage, agent)
        async with stage.host() as host:
            await until(lambda: all_up(host, 1), PATIENCE)
            crowd.speak()
            await crowd.answered()
            before = figures()
            for loss in range(LOSSES):
                await _loss(shops, crowd)
                await until(lambda loss=loss: all_up(host, 2 + loss), PATIENCE)  # type: ignore[misc]
            crowd.speak()
            await crowd.answered()
            assert {f"word{crowd.rounds}-{n}" for n in range(CHATS)} <= set(shops.words)
            assert all_up(host, 1 + LOSSES)
            await until(lambda: not figures() - before, PATIENCE)
    assert len(shops.words) == len(set(shops.words)), "a call ran twice"


async def _loss(shops: Workshops, crowd: Crowd) -> None:
    """All slots of all servers are taken, more callers wait, and all three die at once."""
    had = len(shops.words)
    shops.gate.touch()
    crowd.speak()
    await until(lambda: len(shops.words) - had >= SLOTS * len(SERVERS), PATIENCE)
    former = sockets(shops)
    await shops.kill()
    shops.gate.unlink()
    await shops.start()
    await crowd.answered()
    await until(lambda: not former & sockets(shops), PATIENCE)
