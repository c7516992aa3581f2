"""The HTTP API: what it costs a host that serves it, and what a request without a key costs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.process import Process, cpu_of
from bench.results import Bar, Section, Table, median, short
from bench.stage import Stage

HOW = (
    "Hosts without and with a key of the HTTP API, started in turn. Start: from the start of the "
    "process to its first poll, and the CPU that it took: the best of all, which other programs "
    "disturb least. Memory is the proportional share of the host alone, after a conversation and, "
    "with a key, a request that loaded everything. Requests come one after the other over one "
    "connection; their CPU is that of the host alone."
)
KEY = "a-key-of-the-benchmark-0123456789abcdef"
API: dict[str, Any] = {
    "API_KEYS__0__KEY": KEY,
    "API_REQUESTS": "10000000",
    "API_FAILURES": "10000000",
}
STARTS = 5
REQUESTS = 2000


@dataclass(frozen=True, slots=True)
class Started:
    """One host: seconds to its first poll and of CPU by then; MB and CPU when it was at rest."""

    first_poll: float
    first_cpu: float
    memory: float
    cpu: float


async def measure(stage: Stage) -> Section:
    """Starts and memory with the API off and on; CPU of a 401, and of an answer."""
    off, on = list[Started](), list[Started]()
    for _ in range(STARTS):
        off.append(await _started(stage))
        on.append(await _started(stage, **API))
    refused, answered = await _requests(stage)
    section = Section("The HTTP API", HOW)
    rows = [
        [name, *(short(of([getattr(one, what) for one in found])) for found in (off, on))]
        for name, what, of in (
            ("first poll, s (best)", "first_poll", min),
            ("CPU up to there, s (best)", "first_cpu", min),
            ("memory, MB (median)", "memory", median),
            ("CPU at rest again, s (best)", "cpu", min),
        )
    ]
    section.tables.append(Table(["", "off", "on"], rows))
    rows = [["without a key: 401", short(refused)], ["with a key: 200", short(answered)]]
    section.tables.append(Table(["request", "CPU ms"], rows))

    slower = min(one.first_cpu for one in on) - min(one.first_cpu for one in off)
    larger = median([one.memory for one in on]) - median([one.memory for one in off])
    section.bars = [
        Bar("CPU of a start with the HTTP API on, more than with it off", slower, 0.15, "s"),
        Bar("memory with the HTTP API on, more than with it off", larger, 15, "MB"),
        Bar("CPU of a request without a key", refused, 1, "ms"),
    ]
    return section


async def _started(stage: Stage, **more: str) -> Started:
    """A host that has started, answered a message and, with a key, a request."""
    process, bot = await stage.host_started(1, None, **more)
    try:
        first = await stage.polling(process, bot, 1)
        began = cpu_of(process.pid)
        await stage.control("one_by_one", bot=bot, count=5)
        if more:
            async with aiohttp.ClientSession() as session:
                await _get(session, _url(process), KEY, 200)
        await asyncio.sleep(2)
        return Started(first, began, process.memory_alone(), cpu_of(process.pid))
    finally:
        await process.end()


async def _requests(stage: Stage) -> tuple[float, float]:
    """Milliseconds of CPU of a request without a key, and of one with a key."""
    process, bot = await stage.host(1, **API)
    try:
        await stage.control("one_by_one", bot=bot, count=5)
        costs = []
        async with aiohttp.ClientSession() as session:
            for key, status in ((None, 401), (KEY, 200)):
                await _get(session, _url(process), key, status)
                before = cpu_of(process.pid)
                for _ in range(REQUESTS):
                    await _get(session, _url(process), key, status)
                costs.append((cpu_of(process.pid) - before) / REQUESTS * 1e3)
        return costs[0], costs[1]
    finally:
        await process.end()


def _url(process: Process) -> str:
    return f"{process.address}/api/v1/me"


async def _get(session: aiohttp.ClientSession, url: str, key: str | None, status: int) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with session.get(url, headers=headers) as answer:
        await answer.read()
        if answer.status != status:
            raise RuntimeError(f"{url} answered {answer.status}, not {status}")
