"""The guard: in less than a minute, the ratios of the host to the floors.

Counts of instructions are steadier than time; where the machine does not count them (many virtual
ones do not), CPU time stands in: the best of mixed rounds, which other programs disturb least.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator

from bench.results import Table, short
from bench.stage import HOST, Stage, stored
from bench.turns import LIBRARIES, TYPED, Runner

NAMES = (HOST, TYPED, LIBRARIES, "floor: plain")
ROUNDS = 4
CHATS = 50
BURSTS = 3


async def quick(stage: Stage) -> Table:
    """Ratios to each floor, by instructions where they are counted, else by CPU time."""
    counts = await counted()
    cost: dict[str, list[float]] = {name: [] for name in NAMES}
    async with stored(stage):
        runners = await _runners(stage)
        try:
            for round_ in range(ROUNDS + 1):
                for name, runner in runners.items():
                    one = await _cost(stage, runner, instructions=counts)
                    if round_:  # the first only warms up
                        cost[name].append(one)
        finally:
            for runner in runners.values():
                await runner.process.end()
    return _table({name: min(found) for name, found in cost.items()}, counts)


async def _runners(stage: Stage) -> dict[str, Runner]:
    runners = {}
    for name in NAMES:
        process, bot = await (stage.host() if name == HOST else stage.contender(name))
        store = stage.store_pid if name == LIBRARIES else None
        runners[name] = Runner(process, bot, store)
    return runners


async def _cost(stage: Stage, runner: Runner, *, instructions: bool) -> float:
    """Of one message: millions of instructions, or milliseconds of CPU."""
    pids = [*runner.process.pids(), *([runner.store] if runner.store else [])]
    before, counts = runner.cpu(), [0]
    async with _counting(pids, counts) if instructions else contextlib.nullcontext():
        for _ in range(BURSTS):
            await stage.control("burst", bot=runner.bot, chats=CHATS)
    if instructions:
        return counts[0] / (BURSTS * CHATS) / 1e6
    return (runner.cpu() - before) / (BURSTS * CHATS) * 1e3


def _table(cost: dict[str, float], counts: bool) -> Table:
    unit = "million instructions a message" if counts else "CPU ms a message (best round)"
    rows = [
        [name, short(one), "" if name == HOST else f"{short(cost[HOST] / one)}×"]
        for name, one in cost.items()
    ]
    return Table(["who", unit, "the host against it"], rows)


async def counted() -> bool:
    """Whether this machine counts instructions for us."""
    if shutil.which("perf") is None:
        return False
    process = await asyncio.create_subprocess_exec(
        "perf",
        *("stat", "-x", ",", "-e", "instructions:u", "--", "true"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    return re.match(rb"\d+,", said) is not None


@contextlib.asynccontextmanager
async def _counting(pids: list[int], counts: list[int]) -> AsyncIterator[None]:
    """Count the instructions of these processes while the block runs; `counts[0]` is the number."""
    process = await asyncio.create_subprocess_exec(
        "perf",
        *("stat", "-x", ",", "-e", "instructions:u", "-p", ",".join(map(str, pids))),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    await asyncio.sleep(0.3)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGINT)
        _, said = await process.communicate()
        found = re.match(rb"(\d+),", said)
        counts[0] = int(found.group(1)) if found else 0
