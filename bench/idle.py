"""Starting and idling: the first poll, the first answer, and what a silent token costs."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass

from bench.host import ROOT
from bench.process import Process
from bench.results import Bar, Section, Table, median, short
from bench.stage import AGENT, Stage

HOW = (
    "Hosts started as an operator starts them. Cold start: a message is waiting; the first poll "
    "and its answer are timed from the start of the process. Idle: every token holds a poll of "
    "50 s; memory is the proportional share of host and Valkey. CPU is of both, over 15 s in which "
    "no poll comes back (`silent`), and over 50 s, in which each token polls once: that is "
    "what the promise is about. With tools: a real MCP server over stdio is connected and has been "
    "offered to the model."
)
COUNTS = (1, 100, 1000)
SILENCE = 15.0
POLL = 50.0
LOADED = {
    "the host's own wire (aiohttp, orjson)": "bot.telegram.client",
    "aiogram": "aiogram",
    "python-telegram-bot": "telegram.ext",
    "anthropic": "anthropic",
    "mcp": "mcp",
    "the whole host, before a conversation": "bot.app",
}


@dataclass(frozen=True, slots=True)
class Idle:
    """A host with some tokens."""

    bots: int
    first_poll: float
    all_polling: float
    memory: float
    silent: float
    cpu: float


async def measure(stage: Stage, starts: int = 3) -> Section:
    """Cold starts, then hosts with more and more tokens."""
    cold = [await _cold(stage) for _ in range(starts)]
    tools = await _with_tools(stage)
    idle = [await _idle(stage, bots) for bots in COUNTS]
    each = (idle[-1].memory - idle[0].memory) * 1024 / (idle[-1].bots - idle[0].bots)
    section = Section("Starting and idling", HOW)
    rows = [["first poll", *(short(first) for first, _ in cold)]]
    rows.append(["first answer", *(short(answer) for _, answer in cold)])
    section.tables.append(Table(["cold start, s", *(str(n + 1) for n in range(starts))], rows))
    section.tables.append(_table(idle))
    section.tables.append(await _imports())
    section.bars = [
        Bar("2 · first poll after the start", median([c[0] for c in cold]), 1.5, "s"),
        Bar("2 · first answer after a cold start", median([c[1] for c in cold]), 5, "s"),
        Bar("2 · memory with a text conversation and MCP tools loaded", tools, 160, "MB"),
        Bar("2 · memory of each idle token, at 1,000", each, 60, "KB"),
        Bar("2 · CPU of 1,000 idle tokens", idle[-1].cpu * 100, 1, "% of a core"),
        Bar("2 · 1,000 tokens polling", idle[-1].all_polling, 5, "s"),
    ]
    return section


async def _imports() -> Table:
    """What loading a library costs: CPU seconds, and MB more than a bare interpreter."""
    bare = await _imported("sys")
    rows = []
    for name, modules in LOADED.items():
        cpu, memory = await _imported(modules)
        rows.append([name, short(cpu - bare[0]), f"{memory - bare[1]:.0f}"])
    return Table(["loading", "CPU s", "MB"], rows)


async def _imported(modules: str) -> tuple[float, float]:
    code = (
        f"import {modules}, os, time; from bench.process import memory_of; "
        "print(time.process_time(), memory_of(os.getpid()))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    cpu, memory = said.split()
    return float(cpu), float(memory)


def _table(idle: list[Idle]) -> Table:
    head = ["idle tokens", "first poll, s", "all polling, s", "memory, MB"]
    head += ["silent, % of a core", "CPU, % of a core"]
    rows = [
        [
            f"{one.bots:,}",
            short(one.first_poll),
            short(one.all_polling),
            f"{one.memory:.0f}",
            short(one.silent * 100),
            short(one.cpu * 100),
        ]
        for one in idle
    ]
    return Table(head, rows)


async def _cold(stage: Stage) -> tuple[float, float]:
    bot = stage.number()
    await stage.control("prepare", bot=bot, chats=1, each=1)
    process, _ = await stage.host_started(first=bot)
    try:
        first = await stage.polling(process, bot, 1)
        await stage.control("prepared", bot=bot)
        return first, time.perf_counter() - process.started_at
    finally:
        await process.end()


async def _with_tools(stage: Stage) -> float:
    server = {"command": sys.executable, "args": ["-m", "mcp_server_time"]}
    agent = AGENT | {"mcpServers": ["time"], "whitelistPatterns": ["mcp:time:*"]}
    before, stage.agents = (
        stage.agents,
        {
            "agents": [agent],
            "defaultAgentId": "bench",
            "mcpServers": {"time": server},
        },
    )
    process, bot = await stage.host()
    stage.agents = before
    try:
        await _answered(stage, bot)
        return process.memory()
    finally:
        await process.end()


async def _answered(stage: Stage, bot: int) -> None:
    for _ in range(3):
        await stage.control("one_by_one", bot=bot, count=5)
        await asyncio.sleep(1)


async def _idle(stage: Stage, bots: int) -> Idle:
    process, first = await stage.host_started(bots)
    try:
        early = await stage.polling(process, first, 1)
        all_ = await stage.polling(process, first, bots)
        await _answered(stage, first)
        silent, cpu = await _spent(process, SILENCE), await _spent(process, POLL)
        return Idle(bots, early, all_, process.memory(), silent, cpu)
    finally:
        await process.end()


async def _spent(process: Process, seconds: float) -> float:
    """The share of a core that a process takes while nothing is asked of it."""
    cpu, began = process.cpu(), time.perf_counter()
    await asyncio.sleep(seconds)
    return (process.cpu() - cpu) / (time.perf_counter() - began)
