"""The servers of a benchmark in a process of their own, and the host and contenders beside."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp

from bench.host import host_environ
from bench.process import Process, children, cpu_of, memory_of

CONTENDERS = {
    "aiogram": ("-m", "bench.contenders.aiogram_obvious"),
    "python-telegram-bot": ("-m", "bench.contenders.telegram_obvious"),
    "floor: typed": ("-m", "bench.contenders.floor", "typed"),
    "floor: libraries": ("-m", "bench.contenders.floor", "libraries"),
    "floor: plain": ("-m", "bench.contenders.floor", "plain"),
}
HOST = "switchboard"
AGENT = {
    "id": "bench",
    "name": "Bench",
    "mcpServerEndpoints": [],
    "mcpServers": [],
    "customInstructions": "You are a friendly assistant in a Telegram chat.",
}


class Stage:
    """The servers of one run; starts what is measured."""

    def __init__(self, folder: Path, url: str, server: int, client: aiohttp.ClientSession) -> None:
        self.folder = folder
        self.url = url
        self.store_url = ""
        self.store_pid = 0
        self._server = server
        self._client = client
        self._numbers = iter(range(8_000_001, 9_000_000))
        self.agents: dict[str, Any] = {"agents": [AGENT], "defaultAgentId": "bench"}

    async def control(self, load: str, **words: Any) -> dict[str, Any]:
        """Runs one load in the server process, to its end."""
        async with self._client.post(f"{self.url}/control/{load}", json=words) as response:
            found: dict[str, Any] = await response.json()
        if "error" in found:
            raise RuntimeError(found["error"])
        return found

    def server_cpu(self) -> float:
        """CPU seconds of the server process."""
        return cpu_of(self._server)

    def server_memory(self) -> float:
        """MB of the server process."""
        return memory_of(self._server)

    def number(self, count: int = 1) -> int:
        """The first of some unused bot numbers."""
        first, *_ = islice(self._numbers, count)
        return first

    async def contender(self, name: str) -> tuple[Process, int]:
        """A contender, once it polls, and its bot."""
        bot = self.number()
        environ = {"BENCH_URL": self.url, "BENCH_TOKEN": token(bot)}
        if name == "floor: libraries":
            environ["BENCH_STORE"] = self.store_url
        process = Process(name, CONTENDERS[name], self.folder / f"{bot}.log", **environ)
        await process.start()
        await self.polling(process, bot, 1)
        return process, bot

    async def host(self, bots: int = 1, **more: str) -> tuple[Process, int]:
        """The host as an operator runs it, once all its bots poll, and the first of them."""
        process, first = await self.host_started(bots, None, **more)
        await self.polling(process, first, bots)
        return process, first

    async def host_started(
        self, bots: int = 1, first: int | None = None, **more: str
    ) -> tuple[Process, int]:
        """The host, not waited for."""
        first = first or self.number(bots)
        folder = self.folder / f"host-{first}"
        folder.mkdir()
        agents = folder / "agents.json"
        agents.write_text(json.dumps(self.agents))
        environ = host_environ(
            (token(first + n) for n in range(bots)),
            agents=agents,
            data=folder / "data",
            telegram_url=self.url,
            messages_url=self.url,
        )
        environ |= {"LIMITS__REQUESTSPERMINUTE": "1000000", **more}  # a load is not one person
        words = ("-m", "bot", "run", "--dumpable")  # else nobody reads its share of the memory
        process = Process(HOST, words, self.folder / f"host-{first}.log", **environ)
        await process.start()
        return process, first

    async def polling(
        self, process: Process, first: int, count: int, seconds: float = 120
    ) -> float:
        """Wait until these bots have polled; seconds since the process was started."""
        until = time.perf_counter() + seconds
        while (await self.control("polls", first=first, count=count))["polled"] < count:
            if not process.alive or time.perf_counter() > until:
                raise RuntimeError(f"{process.name} does not poll:\n{process.tail()}")
            await asyncio.sleep(0.02)
        return time.perf_counter() - process.started_at


def token(bot: int) -> str:
    """A token in the right shape."""
    return f"{bot}:AA{hashlib.sha256(str(bot).encode()).hexdigest()[:33]}"


@contextlib.asynccontextmanager
async def stored(stage: Stage) -> AsyncIterator[str]:
    """A Valkey of the bench's own, as the host would start it: its address."""
    from bot.store.embedded import EmbeddedValkey

    folder = stage.folder / "store"
    before = set(children(os.getpid()))
    server = EmbeddedValkey(folder, "everysec")
    await server.start()
    stage.store_url = server.url
    stage.store_pid = next(iter(set(children(os.getpid())) - before))
    try:
        yield server.url
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """The servers, while the block runs."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        server = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.server",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert server.stdout is not None
        assert server.stdin is not None
        url = (await server.stdout.readline()).decode().strip()
        timeout = aiohttp.ClientTimeout(total=900)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as client:
                yield Stage(folder, url, server.pid, client)
        finally:
            server.stdin.close()
            await server.wait()
