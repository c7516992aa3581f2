"""A conversation that grows to a thousand turns: what a turn costs on the way."""

from __future__ import annotations

from bench.process import Process
from bench.results import Bar, Section, Table, median, short
from bench.stage import Stage

CHATS = 10
WINDOW = 10
FIRST = 5  # turns of a fresh conversation before its window, so that turn 10 is in the middle
ROUNDS = 3
MARKS = (10, 100, 1000)
HOW = (
    f"{CHATS} conversations at each length, {WINDOW} turns in each of them, in {ROUNDS} mixed "
    "rounds: the ones that are longer go on growing by what is measured. Instant model; CPU of "
    "host and Valkey together."
)


async def measure(stage: Stage) -> Section:
    """Conversations of three lengths, taken in turns."""
    process, bot = await stage.host()
    first = {mark: 10_000 * (n + 1) for n, mark in enumerate(MARKS)}
    cost: dict[int, list[float]] = {mark: [] for mark in MARKS}
    try:
        await stage.control("burst", bot=bot, chats=50)
        for mark in MARKS[1:]:
            await _talk(stage, process, bot, first[mark], mark)
        for number in range(ROUNDS):
            for mark in MARKS:
                fresh = first[mark] + (1000 * (number + 1) if mark == MARKS[0] else 0)
                if mark == MARKS[0]:
                    await _talk(stage, process, bot, fresh, FIRST)
                cost[mark].append(await _talk(stage, process, bot, fresh, WINDOW))
    finally:
        await process.end()
    section = Section("A conversation that grows", HOW)
    rows = [[f"{mark:,}", short(median(cost[mark]) * 1e3)] for mark in MARKS]
    section.tables.append(Table(["turns so far", "CPU ms a turn"], rows))
    for mark in MARKS[1:]:
        ratio = median(cost[mark]) / median(cost[MARKS[0]])
        section.bars.append(Bar(f"4 · cost of turn {mark:,} against turn 10", ratio, 1.1, "×"))
    return section


async def _talk(stage: Stage, process: Process, bot: int, first: int, turns: int) -> float:
    """CPU seconds of one turn, over this many turns of all the chats."""
    cpu = process.cpu()
    await stage.control("burst", bot=bot, chats=CHATS, each=turns, first=first, seconds=600)
    return (process.cpu() - cpu) / (CHATS * turns)
