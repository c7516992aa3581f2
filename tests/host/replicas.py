"""Replicas for tests: processes of their own with a data directory each, on one store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from typing import Any

from tests.host.stage import HostProcess, Stage, health, until


class Replica(HostProcess):
    """A replica with a log of its own, which tells where its health is."""

    def __init__(self, stage: Stage, name: str, **more: str) -> None:
        folder = str(stage.folder / name)
        super().__init__(stage, stage.variables(DATA_DIR=folder, REPLICA_NAME=name, **more))
        self.log = stage.folder / f"{name}.log"
        self.name = name

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Replica]:
        """It runs, has polled what nobody else polls, and is gone at the end whatever happens."""
        try:
            await self.start()
            await until(lambda: self.address is not None, 20)
            yield self
        finally:
            if self.process is not None and self.process.returncode is None:
                await self.kill()

    def said(self, words: str) -> bool:
        """Whether its log has these words."""
        return self.log.exists() and words in self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        os.kill(self.pid, number)

    async def report(self) -> dict[str, Any]:
        """What it says of itself."""
        return (await health(self.address or ""))[1]

    async def serves(self) -> set[int]:
        """The bots that it polls now."""
        return {b["id"] for b in (await self.report())["bots"] if b["state"] == "polling"}

    @property
    def address(self) -> str | None:
        """Where it serves HTTP, once it has said so."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))
        found = re.findall(r"health=(http://\S+)/health", text)
        return found[-1] if found else None


async def shared_evenly(replicas: list[Replica], bots: int, seconds: float = 20) -> list[set[int]]:
    """Wait until each bot is polled by one replica, none by two, and the spread is even."""
    async with asyncio.timeout(seconds):
        while True:
            found = [await replica.serves() for replica in replicas]
            sizes = [len(one) for one in found]
            if sum(sizes) == bots == len(set().union(*found)) and max(sizes) - min(sizes) <= 1:
                return found
            await asyncio.sleep(0.1)
