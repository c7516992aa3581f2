"""Full turns side by side: one by one, and in bursts of 50 and of 500 chats, in mixed rounds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from bench.process import Process, cpu_of
from bench.results import Bar, Section, Table, median, quantile, short
from bench.stage import CONTENDERS, HOST, Stage, stored

HOW = (
    "All contenders run at the same time, each in its own process; the rounds are mixed "
    "(A B C … A B C …), so that a busy machine is busy for all. One message answers the open poll, "
    "the model answers at once in 21 events, and the clock stops when the final message "
    "arrives. CPU is of the whole process, for the host and the library floor with their Valkey."
)
LIBRARIES = "floor: libraries"
TYPED = "floor: typed"


@dataclass(slots=True)
class Figures:
    """What one contender has shown so far."""

    latencies: list[float] = field(default_factory=list)
    burst50: list[float] = field(default_factory=list)
    burst500: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    memory_idle: float = 0.0
    memory: float = 0.0


@dataclass(slots=True)
class Runner:
    """A contender that polls, with its bot."""

    process: Process
    bot: int
    store: int | None = None
    figures: Figures = field(default_factory=Figures)

    def cpu(self) -> float:
        """CPU seconds, the store of a floor included."""
        return self.process.cpu() + (cpu_of(self.store) if self.store else 0.0)


async def measure(stage: Stage, rounds: int = 5, names: list[str] | None = None) -> Section:
    """All contenders through all rounds."""
    async with stored(stage):
        runners: dict[str, Runner] = {}
        try:
            for name in names or [HOST, *CONTENDERS]:
                runners[name] = await _started(stage, name)
            for runner in runners.values():
                await _warm(stage, runner)
            for _ in range(rounds):
                for runner in runners.values():
                    await _round(stage, runner)
            for runner in runners.values():
                runner.figures.memory = runner.process.memory()
        finally:
            for runner in runners.values():
                await runner.process.end()
    return _section({name: runner.figures for name, runner in runners.items()})


async def _started(stage: Stage, name: str) -> Runner:
    process, bot = await (stage.host() if name == HOST else stage.contender(name))
    return Runner(process, bot, stage.store_pid if name == LIBRARIES else None)


async def _warm(stage: Stage, runner: Runner) -> None:
    """What is loaded at the first message is loaded; then the process is idle for a moment."""
    await stage.control("one_by_one", bot=runner.bot, count=20)
    await asyncio.sleep(1)
    runner.figures.memory_idle = runner.process.memory()
    await stage.control("burst", bot=runner.bot, chats=50)


async def _round(stage: Stage, runner: Runner) -> None:
    figures = runner.figures
    found = await stage.control("one_by_one", bot=runner.bot, count=100)
    figures.latencies += found["latencies"]
    cpu, server, count = runner.cpu(), stage.server_cpu(), 0
    for chats, into in ((50, figures.burst50),) * 4 + ((500, figures.burst500),):
        found = await stage.control("burst", bot=runner.bot, chats=chats)
        into.append(chats / found["seconds"])
        count += chats
    figures.cpu.append((runner.cpu() - cpu) / count)
    figures.server.append((stage.server_cpu() - server) / count)


def _section(all_: dict[str, Figures]) -> Section:
    section = Section("A full turn, side by side", HOW)
    host = all_[HOST]
    section.tables.append(_ratios(all_, host))
    section.tables.append(_absolute(all_))
    section.figures = {
        "messages a second, burst of 50": {n: median(f.burst50) for n, f in all_.items()},
        "CPU, ms a message": {n: median(f.cpu) * 1e3 for n, f in all_.items()},
    }
    section.bars = _bars(all_, host)
    return section


def _bars(all_: dict[str, Figures], host: Figures) -> list[Bar]:
    bars = [
        Bar("1 · median final answer, one by one", median(host.latencies) * 1e3, 10, "ms"),
        Bar("1 · CPU a message, host and Valkey", median(host.cpu) * 1e3, 4, "ms"),
    ]
    if obvious := all_.get("aiogram"):
        for name, ours, theirs in (
            ("50", host.burst50, obvious.burst50),
            ("500", host.burst500, obvious.burst500),
        ):
            ratio = median(ours) / median(theirs)
            what = f"1 · messages a second against the obvious aiogram handler, burst of {name}"
            bars.append(Bar(what, ratio, 1.5, "×", at_least=True))
    for name, words in ((TYPED, "SDK's stream, typed send"), (LIBRARIES, "the libraries we call")):
        if floor := all_.get(name):
            ratio = median(host.cpu) / median(floor.cpu)
            bars.append(Bar(f"1 · CPU against the floor ({words})", ratio, 2, "×"))
    servers = max(median(f.server) / median(f.cpu) for f in (host,))
    bars.append(Bar("the servers' CPU against the host's", servers, 0.25, "×"))
    return bars


def _ratios(all_: dict[str, Figures], host: Figures) -> Table:
    rows = []
    for name, figures in all_.items():
        if name == HOST:
            continue
        rows.append(
            [
                name,
                f"{short(median(host.burst50) / median(figures.burst50))}×",
                f"{short(median(host.burst500) / median(figures.burst500))}×",
                f"{short(median(host.latencies) / median(figures.latencies))}×",
                f"{short(median(host.cpu) / median(figures.cpu))}×",
                f"{short(host.memory / figures.memory)}×",
            ]
        )
    head = ["the host against", "msg/s, burst 50", "msg/s, burst 500", "latency", "CPU", "memory"]
    return Table(head, rows)


def _absolute(all_: dict[str, Figures]) -> Table:
    rows = [
        [
            name,
            f"{median(f.latencies) * 1e3:.1f} / {quantile(f.latencies, 0.95) * 1e3:.1f}",
            f"{median(f.burst50):.0f}",
            f"{median(f.burst500):.0f}",
            f"{median(f.cpu) * 1e3:.2f} ({min(f.cpu) * 1e3:.2f})",
            f"{median(f.server) * 1e3:.2f}",
            f"{f.memory_idle:.0f} / {f.memory:.0f}",
        ]
        for name, f in all_.items()
    ]
    head = [
        "who",
        "latency ms, median / p95",
        "msg/s, 50",
        "msg/s, 500",
        "CPU ms a message (best)",
        "the servers' CPU",
        "MB idle / after the load",
    ]
    return Table(head, rows)
