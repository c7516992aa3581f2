"""Ten thousand agents in the store: start, reload, a change, resolution, memory.

`python -m bench.registry [agents]` starts a Valkey of its own and prints a table.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bot.ops.tasks import SystemClock
from bot.store.client import StoreClient, connect
from bot.store.embedded import EmbeddedValkey
from registry.authorization import WriterPermissions
from registry.binding import BotIdentity
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.sources.file import FileSource
from registry.sources.redis import RedisStore

ROUNDS = 5
CHANGES = 50
LOOKS = 20_000


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="sb") as folder:
        server = EmbeddedValkey(Path(folder), "everysec")
        await server.start()
        client = StoreClient(connect(server.url), SystemClock())
        try:
            await fill(client, count)
            await measure(client, count)
        finally:
            await client.close()
            await server.stop()


async def fill(client: StoreClient, count: int) -> None:
    """Agents of a middling size, each bound to a chat of one bot."""
    async with client.redis.pipeline(transaction=False) as pipe:
        for number in range(count):
            agent = {
                "id": f"agent-{number}",
                "name": f"Agent {number}",
                "mcpServerEndpoints": [],
                "whitelistPatterns": ["mcp:library:*"],
                "customInstructions": f"You are agent {number}. " + "Answer briefly. " * 20,
                "llmOverrides": {"model": "claude-haiku-5-5", "maxTokens": 2000},
            }
            bound = {
                "agentId": f"agent-{number}",
                "type": "ChatId",
                "bindingKey": str(number + 1),
                "bot": "7",
            }
            pipe.set(f"agent:definition:agent-{number}", json.dumps(agent))
            pipe.set(f"agent:binding:chatid:{number + 1}:bot:7", json.dumps(bound))
        await pipe.execute()


async def measure(client: StoreClient, count: int) -> None:
    before, stall = memory(), Stall()
    catalog, began, worked = opened(client), time.perf_counter(), time.process_time()
    async with stall:
        await catalog.open()
    start, cpu = time.perf_counter() - began, time.process_time() - worked
    held = memory() - before
    assert len(catalog.snapshot().agents) == count
    rows = [
        (f"start with {count} agents and {count} bindings", f"{start * 1000:.0f} ms"),
        ("CPU of it", f"{cpu * 1000:.0f} ms"),
        ("longest stall of the loop at the start", f"{stall.worst * 1000:.0f} ms"),
        ("memory of all of them", f"{held / 1e6:.1f} MB ({held / count / 1e3:.1f} kB each)"),
        ("reload of everything", f"{await median(catalog.reload) * 1000:.0f} ms"),
        *await changed(client, catalog),
        ("CPU to resolve a message, layers merged", f"{resolved(catalog, count) * 1e6:.1f} µs"),
        ("the whole health of the agents", f"{health(catalog) * 1000:.0f} ms"),
    ]
    await catalog.close()
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows))


def opened(client: StoreClient) -> Catalog:
    below = RedisStore(client.redis, WriterPermissions(operator=False))
    return Catalog(FileSource(None), below)


async def median(work: Callable[[], Awaitable[object]]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


async def changed(client: StoreClient, catalog: Catalog) -> list[tuple[str, str]]:
    """From a raw SET to the snapshot that has it."""
    seconds = []
    for number in range(CHANGES):
        name = f"Changed {number}"
        agent = {"id": "agent-0", "name": name, "mcpServerEndpoints": []}
        began = time.perf_counter()
        await client.command("SET", "agent:definition:agent-0", json.dumps(agent))
        await catalog.until(lambda s, n=name: s.agents["agent-0"].value.name == n)  # type: ignore[misc]
        seconds.append(time.perf_counter() - began)
    return [
        ("a raw SET until it is in force, median", f"{statistics.median(seconds) * 1000:.1f} ms"),
        ("a raw SET until it is in force, worst", f"{max(seconds) * 1000:.1f} ms"),
    ]


def resolved(catalog: Catalog, count: int) -> float:
    snapshot, bot = catalog.snapshot(), BotIdentity("a" * 64, 7, "seven_bot")
    defaults = LlmConfiguration(model="claude-haiku-5-5")
    began = time.process_time()
    for number in range(LOOKS):
        found = snapshot.resolve(bot, number % count + 1, 5).agent_id
        assert found is not None
        snapshot.effective(found, defaults)
    return (time.process_time() - began) / LOOKS


def health(catalog: Catalog) -> float:
    snapshot = catalog.snapshot()
    began = time.perf_counter()
    _ = snapshot.problems
    return time.perf_counter() - began


class Stall:
    """The longest time for which the loop did not come round."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Stall:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0)
            self.worst = max(self.worst, time.perf_counter() - began)


def memory() -> float:
    """Bytes of this process in memory."""
    (line,) = [
        one
        for one in Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        if "VmRSS" in one
    ]
    return float(line.split()[1]) * 1024


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
