"""Replicas for tests: processes of their own with a data directory each, on one store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.host.stage import HostProcess, Stage, health, until


class Replica(HostProcess):
    """A host with a data directory and a log of its own."""

    def __init__(self, stage: Stage, name: str, **more: str) -> None:
        folder = str(stage.folder / name)
        environ = stage.variables(DATA_DIR=folder, REPLICA_NAME=name, **more)
        super().__init__(stage, environ, f"{name}.log")
        self.name = name

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Replica]:
        """It runs and all bots are polled, by it or by another one; killed at the end."""
        try:
            await self.start()
            await until(lambda: self.address is not None, 30)
            yield self
        finally:
            if self.alive:
                await self.kill()

    async def report(self) -> dict[str, Any]:
        """The report of its health page."""
        return (await health(self.address or ""))[1]

    async def serves(self) -> set[int]:
        """The bots that it polls now."""
        return {b["id"] for b in (await self.report())["bots"] if b["state"] == "polling"}


async def shared_evenly(replicas: list[Replica], bots: int, seconds: float = 30) -> list[set[int]]:
    """Waits until each bot is polled by one replica, none by two, and the spread is even."""
    async with asyncio.timeout(seconds):
        while True:
            found = [await replica.serves() for replica in replicas]
            sizes = [len(one) for one in found]
            if sum(sizes) == bots == len(set().union(*found)) and max(sizes) - min(sizes) <= 1:
                return found
            await asyncio.sleep(0.1)
