"""A conversation that grows to a thousand turns: what a turn costs on the way."""

from __future__ import annotations

from bench.process import Process
from bench.results import Bar, Section, Table, median, short
from bench.stage import Stage

CHATS = 10
WINDOW = 10
FIRST = 5  # turns of a fresh conversation before its window, so that turn 10 is in the middle
ROUNDS = 12
MARKS = (10, 100, 1000)
HOW = (
    f"{CHATS} conversations at each length, {WINDOW} turns in each of them, in {ROUNDS} mixed "
    "rounds: the longer ones keep growing while they are measured. Instant model; CPU of host and "
    "Valkey together, read from the processes' own clocks. A ratio is the median of the ratios "
    "within each round, so that a busy moment affects both sides. What grows is the request: its "
    "history is the newest 36 to 48 turns, which are sent with each turn."
)


async def measure(stage: Stage) -> Section:
    """Conversations of three lengths, taken in turns."""
    process, bot = await stage.host()
    first = {mark: 10_000 * (n + 1) for n, mark in enumerate(MARKS)}
    cost: dict[int, list[float]] = {mark: [] for mark in MARKS}
    sent = dict.fromkeys(MARKS, 0)
    try:
        await stage.control("burst", bot=bot, chats=50)
        for mark in MARKS[1:]:
            await _talk(stage, process, bot, first[mark], mark)
        for number in range(ROUNDS):
            for mark in _mixed(number):
                fresh = first[mark] + (100 * (number + 1) if mark == MARKS[0] else 0)
                if mark == MARKS[0]:
                    await _talk(stage, process, bot, fresh, FIRST)
                cost[mark].append(await _talk(stage, process, bot, fresh, WINDOW))
                sent[mark] = (await stage.control("about"))["newest_request"]
    finally:
        await process.end()
    return _section(cost, sent)


def _mixed(number: int) -> list[int]:
    """The lengths in an order that is another one in each round."""
    at = number % len(MARKS)
    return [*MARKS[at:], *MARKS[:at]]


def _section(cost: dict[int, list[float]], sent: dict[int, int]) -> Section:
    section = Section("A conversation that grows", HOW)
    ratios = {mark: _ratio(cost[mark], cost[MARKS[0]]) for mark in MARKS}
    rows = [
        [
            f"{mark:,}",
            short(median(cost[mark]) * 1e3),
            f"{short(ratios[mark])}×",
            f"{sent[mark] / 1000:.1f}",
        ]
        for mark in MARKS
    ]
    head = ["turns so far", "CPU ms a turn", "against turn 10", "KB of a request"]
    section.tables.append(Table(head, rows))
    for mark in MARKS[1:]:
        what = f"4 · cost of turn {mark:,} against turn 10"
        section.bars.append(Bar(what, ratios[mark], 1.1, "×"))
    return section


def _ratio(cost: list[float], base: list[float]) -> float:
    return median([a / b for a, b in zip(cost, base, strict=True)])


async def _talk(stage: Stage, process: Process, bot: int, first: int, turns: int) -> float:
    """CPU seconds of one turn, over this many turns of all the chats."""
    cpu = process.cpu()
    await stage.control("burst", bot=bot, chats=CHATS, each=turns, first=first, seconds=600)
    return (process.cpu() - cpu) / (CHATS * turns)
