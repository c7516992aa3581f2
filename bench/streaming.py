"""A thousand answers that grow at the same time."""

from __future__ import annotations

import asyncio
import time

from bench.results import Bar, Section, Table, median, quantile, short
from bench.stage import Stage

BOTS = 10
CHATS = 1000
PACE = 0.5
PIECES = 40
HOW = (
    f"{CHATS:,} chats of {BOTS} bots ask at once (Telegram itself holds one bot to 30 sends a "
    "second, and a line runs at most 200 turns side by side); the model sends each of them a piece "
    f"of the answer every {PACE:g} s, {PIECES} pieces in all. Memory is read in the middle of it. "
    "The added delay is the time from the model's last event to the arrival of the final message. "
    "Previews are drafts, at most about one a second in each chat."
)


async def measure(stage: Stage) -> Section:
    """One run of all of them."""
    process, bot = await stage.host(BOTS)
    try:
        await stage.control("burst", bot=bot, chats=50, first=500_000)
        await asyncio.sleep(2)
        before, cpu, began = process.memory(), process.cpu(), time.perf_counter()
        words = {"first": bot, "bots": BOTS, "chats": CHATS, "pace": PACE, "pieces": PIECES}
        job = asyncio.create_task(stage.control("stream", seconds=300, **words))
        await asyncio.sleep(PACE * PIECES / 2)
        open_ = (await stage.control("about"))["open"]
        during = process.memory()
        busy = (process.cpu() - cpu) / (time.perf_counter() - began)
        found = await job
    finally:
        await process.end()
    each = (during - before) * 1024 / max(1, open_)
    drafts = found["calls"].get("sendmessagedraft", 0)
    pace = drafts / CHATS / found["seconds"]
    added = found["added"]
    section = Section("1,000 answers streaming at once", HOW)
    row = [
        f"{open_:,}",
        f"{before:.0f} / {during:.0f}",
        short(each),
        f"{median(added) * 1e3:.0f} / {quantile(added, 0.95) * 1e3:.0f}",
        short(pace),
        f"{busy * 100:.0f}",
    ]
    head = [
        "open at once",
        "MB before / during",
        "KB each",
        "added delay ms, median / p95",
        "previews a second in each chat",
        "CPU, % of a core",
    ]
    section.tables.append(Table(head, [row]))
    section.bars = [
        Bar("3 · answers streaming at once", open_, CHATS, "", at_least=True),
        Bar("3 · memory of each streaming answer", each, 100, "KB"),
        Bar("3 · p95 of the delay added to the final text", quantile(added, 0.95) * 1e3, 250, "ms"),
        Bar("3 · previews a second in each chat", pace, 1.1, ""),
    ]
    return section
