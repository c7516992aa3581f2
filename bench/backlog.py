"""A backlog of 10,000 messages, and a hot chat beside 200 others."""

from __future__ import annotations

import asyncio

from bench.results import Bar, Section, Table, median, quantile, short
from bench.stage import Stage

CHATS = 500
EACH = 20
HOT = 1500
OTHERS = 200
RATE = 40
COUNT = 400
HOW = (
    f"Backlog: {CHATS * EACH:,} messages of {CHATS} chats wait when the host starts; throughput is "
    "from the first answer to the last, compared with a burst of 500 chats on the same host right "
    "after it. Memory is the host's own; Valkey keeps the transcripts. Fairness: "
    f"{RATE} messages a second from {OTHERS} chats in turn, alone, and again while one chat has "
    f"{HOT:,} messages in its queue."
)


async def measure(stage: Stage) -> Section:
    """Both, one after the other."""
    section = Section("Backlog and fairness", HOW)
    await _backlog(stage, section)
    await _fairness(stage, section)
    return section


async def _backlog(stage: Stage, section: Section) -> None:
    at_rest = await _at_rest(stage)
    bot = stage.number()
    await stage.control("prepare", bot=bot, chats=CHATS, each=EACH)
    process, _ = await stage.host_started(first=bot)
    try:
        await stage.polling(process, bot, 1)
        job = asyncio.create_task(stage.control("prepared", bot=bot, seconds=600))
        peak = kept = 0.0
        while not job.done():
            await asyncio.sleep(0.2)
            peak = max(peak, process.memory_alone())
            kept = process.memory() - process.memory_alone()
        found = await job
        rates = []
        for _ in range(4):
            burst = await stage.control("burst", bot=bot, chats=CHATS)
            rates.append(CHATS / burst["seconds"])
    finally:
        await process.end()
    drained = found["count"] / found["seconds"]
    row = [short(drained), short(median(rates)), f"{at_rest:.0f} / {peak:.0f}", short(kept)]
    head = [
        "drained, msg/s",
        "a burst of 500, msg/s",
        "the host: MB idle / peak",
        "Valkey after, MB",
    ]
    section.tables.append(Table(head, [row]))
    ratio = drained / median(rates)
    section.bars += [
        Bar("5 · backlog against the bench's throughput", ratio, 0.9, "×", at_least=True),
        Bar("5 · peak memory of the backlog against idle", peak / at_rest, 1.5, "×"),
    ]


async def _at_rest(stage: Stage) -> float:
    """MB of a host that has answered some messages and has nothing to do."""
    process, bot = await stage.host()
    try:
        await stage.control("one_by_one", bot=bot, count=20)
        await asyncio.sleep(2)
        return process.memory_alone()
    finally:
        await process.end()


async def _fairness(stage: Stage, section: Section) -> None:
    process, bot = await stage.host()
    try:
        await stage.control("burst", bot=bot, chats=OTHERS)
        words = {"bot": bot, "chats": OTHERS, "rate": RATE, "count": COUNT}
        alone = (await stage.control("fairness", hot=0, **words))["latencies"]
        found = await stage.control("fairness", hot=HOT, **words)
    finally:
        await process.end()
    rows = [
        [name, f"{median(one) * 1e3:.1f}", f"{quantile(one, 0.95) * 1e3:.1f}"]
        for name, one in (("alone", alone), ("beside a hot chat", found["latencies"]))
    ]
    head = [f"{OTHERS} chats", "latency ms, median", "p95"]
    section.tables.append(Table(head, rows))
    ratio = quantile(found["latencies"], 0.95) / quantile(alone, 0.95)
    section.bars.append(Bar("5 · p95 of 200 chats beside a hot one, against alone", ratio, 2, "×"))
