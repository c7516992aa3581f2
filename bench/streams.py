"""Answers over HTTP: a thousand readers of growing answers, what a turn costs, idle sessions."""

from __future__ import annotations

import asyncio
import json
import os
import re
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from bench.process import Process, cpu_of, memory_of
from bench.results import Bar, Section, Table, median, quantile, short
from bench.stage import Stage, stored
from bot.store.sessions import line_of

TURNS = 1000
PACE = 0.5
WINDOW = 15.0
SETTLE = 4.0
CHATS = 50
BURSTS = 4
ROUNDS = 5
REAL = 2000
IDLE = 100_000
KEY = "a-key-of-the-benchmark-0123456789abcdef"
INSTANCE = "bench-http"
HOW = (
    f"One host, whose model writes a piece of each answer every {PACE:g} s. {TURNS:,} turns begin "
    "over HTTP and nobody reads them; then each gets a reader, which reads from its beginning. "
    "Memory is that of the host alone, as a proportional share; what the turns themselves grow by "
    "meanwhile is measured before, and taken off. Each piece is the time at which the model wrote "
    "it, so that a reader knows how late it is. "
    f"CPU of a turn: bursts of {CHATS} messages to the same agent with the same answer, by "
    f"Telegram and by `POST …/chat`, in {ROUNDS} mixed rounds, host and Valkey together; the best "
    f"round of each. Idle sessions: {REAL:,} that were talked in over HTTP, and copies of what one "
    f"of these left in the store, {IDLE:,} in all."
)


async def measure(stage: Stage) -> Section:
    """Readers, the CPU of turns, and idle sessions, in this order."""
    section = Section("Streams over HTTP", HOW)
    async with stored(stage):
        process, bot = await _host(stage)
        try:
            await _warm(stage, bot)
            cpu = await _turns(stage, process, bot)
            idle = await _idle(stage, process)
            readers = await _readers(stage, process)
        finally:
            await process.end()
    _add_readers(section, readers)
    _add_turns(section, cpu)
    _add_idle(section, idle)
    return section


async def _host(stage: Stage) -> tuple[Process, int]:
    configs = stage.folder / "agent_configs"
    folder = configs / "default" / INSTANCE
    folder.mkdir(parents=True, exist_ok=True)
    instance = {"agent_type": "bench", "account": "default", "instance_name": INSTANCE}
    (folder / "config.yaml").write_text(json.dumps(instance))
    more = {
        "REDIS_URL": stage.store_url,
        "AGENT_CONFIGS_DIR": str(configs),
        "API_KEYS__0__KEY": KEY,
        "API_REQUESTS": "10000000",
        "HTTP_CONNECTIONS": str(2 * TURNS),
    }
    process, bot = await stage.host(1, **more)
    path = f"/accounts/default/agents/{INSTANCE}"
    await stage.control("http_host", url=process.address, key=KEY, path=path)
    return process, bot


async def _warm(stage: Stage, bot: int) -> None:
    await stage.control("one_by_one", bot=bot, count=20)
    await stage.control("http_chats", first=0, count=20, together=1)
    for _ in range(2):
        await stage.control("burst", bot=bot, chats=CHATS)
        await stage.control("http_chats", first=0, count=CHATS, together=CHATS)


# --- the CPU of a turn ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turns:
    """Milliseconds of CPU of a turn in each round: of the host, and with Valkey."""

    telegram: list[tuple[float, float]]
    http: list[tuple[float, float]]


async def _turns(stage: Stage, process: Process, bot: int) -> Turns:
    found = Turns([], [])
    for _ in range(ROUNDS):
        for into, load, words in (
            (found.telegram, "burst", {"bot": bot, "chats": CHATS}),
            (found.http, "http_chats", {"first": 0, "count": CHATS, "together": CHATS}),
        ):
            host, store = cpu_of(process.pid), cpu_of(stage.store_pid)
            for _ in range(BURSTS):
                await stage.control(load, **words)
            each = 1e3 / (BURSTS * CHATS)
            host, store = cpu_of(process.pid) - host, cpu_of(stage.store_pid) - store
            into.append((host * each, (host + store) * each))
    return found


def _add_turns(section: Section, turns: Turns) -> None:
    ways = (("Telegram", turns.telegram), ("HTTP, `POST …/chat`", turns.http))
    rows = [
        [name, *(f"{short(min(ms))} / {short(median(ms))}" for ms in zip(*found, strict=True))]
        for name, found in ways
    ]
    head = ["a turn by", "host, CPU ms (best / median)", "with Valkey"]
    section.tables.append(Table(head, rows))
    best = [min(total for _, total in found) for _, found in ways]
    bar = Bar("3.17 · CPU of a chat turn over HTTP against Telegram", best[1] / best[0], 1.2, "×")
    section.bars.append(bar)


# --- readers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Readers:
    """MB of the host in each state, seconds of delay, readers that had everything, CPU shares."""

    idle: float
    turns: float
    grown: float
    reading: float
    delays: list[float]
    whole: int
    cpu: tuple[float, float]
    load: float


async def _readers(stage: Stage, process: Process) -> Readers:
    idle = process.memory_alone()
    begun = await stage.control("http_begin", first=500_000, count=TURNS, pace=PACE)
    if begun["begun"] != TURNS:
        raise RuntimeError(f"only {begun['begun']} turns began")
    await asyncio.sleep(SETTLE)
    turns = process.memory_alone()
    alone = await _busy(process, SETTLE)
    grown = process.memory_alone()
    await stage.control("http_read")
    await asyncio.sleep(SETTLE)
    reading = process.memory_alone()
    busy = asyncio.create_task(_busy(process, WINDOW))
    found = await stage.control("http_delays", seconds=WINDOW)
    if found["open"] < TURNS:
        raise RuntimeError(f"only {found['open']} answers were still growing")
    ended = await stage.control("http_ended", seconds=60)
    cpu = (alone, await busy)
    load = os.getloadavg()[0]
    return Readers(idle, turns, grown, reading, found["delays"], ended["whole"], cpu, load)


async def _busy(process: Process, seconds: float) -> float:
    """The share of a core that the host takes."""
    before = cpu_of(process.pid)
    await asyncio.sleep(seconds)
    return (cpu_of(process.pid) - before) / seconds


def _add_readers(section: Section, found: Readers) -> None:
    drift = found.grown - found.turns
    each = (found.reading - found.grown - drift) * 1024 / TURNS
    turn = (found.turns - found.idle) * 1024 / TURNS
    delays = found.delays or [float("inf")]
    p95 = quantile(delays, 0.95) * 1e3
    row = [
        f"{found.idle:.0f} / {found.grown:.0f} / {found.reading:.0f}",
        f"{turn:.0f} / {each:.0f}",
        f"{median(delays) * 1e3:.0f} / {p95:.0f}",
        f"{found.whole:,} of {TURNS:,}",
        f"{found.cpu[0] * 100:.0f} / {found.cpu[1] * 100:.0f}",
        f"{found.load:.1f}",
    ]
    head = [
        "MB before / with turns / with readers",
        "KB a turn / a reader",
        "added delay ms, median / p95",
        "readers with every piece",
        "CPU without / with readers, % of a core",
        "load average",
    ]
    section.tables.append(Table(head, [row]))
    section.bars += [
        Bar("3.17 · memory of each reader beyond its turn", each, 60, "KB"),
        Bar("3.17 · p95 of the delay from the model to a reader", p95, 150, "ms"),
        Bar(
            "3.17 · readers that had every piece and the end", found.whole, TURNS, "", at_least=True
        ),
    ]


# --- idle sessions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Idle:
    """MB of host and store: before, with sessions that were talked in, and with their copies."""

    host: tuple[float, float, float]
    store: tuple[float, float, float]
    cpu: tuple[float, float]


async def _idle(stage: Stage, process: Process) -> Idle:
    words = {"together": 20}
    await stage.control("http_chats", first=100_000, count=1000, **words)
    await asyncio.sleep(SETTLE)
    first, quiet = _both(stage, process), await _busy(process, SETTLE)
    await stage.control("http_chats", first=200_000, count=REAL, **words)
    await asyncio.sleep(SETTLE)
    real = _both(stage, process)
    await _copies(stage, IDLE - REAL)
    await asyncio.sleep(SETTLE)
    all_, cpu = _both(stage, process), await _busy(process, SETTLE)
    await _answers_in_a_copy(stage)
    hosts, stores = zip(first, real, all_, strict=True)
    return Idle(hosts, stores, (quiet, cpu))


def _both(stage: Stage, process: Process) -> tuple[float, float]:
    return process.memory_alone(), memory_of(stage.store_pid)


async def _copies(stage: Stage, count: int) -> None:
    """Copies of a session, byte for byte, under other names: what an idle one is in the store."""
    original = "bench-200000"
    tag = "{" + line_of("default", original) + "}"
    async with Redis.from_url(stage.store_url) as store:
        kept = [key async for key in store.scan_iter(match=f"{_escaped(tag)}*", count=10_000)]
        dumped = [
            (key.decode(), await store.dump(key), max(0, await store.pttl(key))) for key in kept
        ]
        for start in range(0, count, 500):
            pipe: Any = store.pipeline(transaction=False)
            for number in range(start, min(start + 500, count)):
                for key, value, lifetime in dumped:
                    name = key.replace(original, f"copy-{number}")
                    pipe.restore(name, lifetime, value)
            await pipe.execute()


def _escaped(pattern: str) -> str:
    return re.sub(r"([\[\]*?])", r"\\\1", pattern)


async def _answers_in_a_copy(stage: Stage) -> None:
    """A copy is a session like any other: its history is there, and a message is answered."""
    async with Redis.from_url(stage.store_url) as store:
        log = "{" + line_of("default", "copy-7") + "}:conv:0:" + f"default/{INSTANCE}:log"
        before = await store.xlen(log)
        await stage.control("http_chats", first=7, count=1, together=1, session="copy-")
        after = await store.xlen(log)
    if not (before > 0 and after == 2 * before):
        raise RuntimeError(f"a copied session had {before} records, and after a message {after}")


def _add_idle(section: Section, found: Idle) -> None:
    names = ("before", f"{REAL:,} talked in", f"{IDLE:,} in all")
    rows = [
        [name, f"{host:.1f}", f"{store:.1f}"]
        for name, host, store in zip(names, found.host, found.store, strict=True)
    ]
    section.tables.append(Table(["idle sessions", "MB of the host", "MB of Valkey"], rows))
    real = (found.host[1] - found.host[0]) * 1024 / REAL
    copies = (found.host[2] - found.host[1]) * 1024 / (IDLE - REAL)
    each = (found.store[2] - found.store[0]) * 1024 / IDLE
    row = [short(max(0.0, real)), short(max(0.0, copies)), short(each)]
    row.append(f"{short(found.cpu[0] * 100)} / {short(found.cpu[1] * 100)}")
    head = ["host, KB each talked in", "host, KB each idle", "Valkey, KB each"]
    section.tables.append(Table([*head, "host at rest, % of a core, before / after"], [row]))
    grown = max(0.0, found.host[2] - found.host[1])
    what = f"3.17 · memory of the host for {IDLE - REAL:,} idle sessions more"
    section.bars.append(Bar(what, grown, 1, "MB"))
