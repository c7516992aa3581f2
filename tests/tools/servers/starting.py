"""How tests start the servers of this folder, and a clock that does not wait."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.mcp.pool import Pool
from bot.mcp.server_spec import ServerSpec

HERE = Path(__file__).parent
BOUND = 30.0


class QuickClock:
    """A clock whose sleeps are short, and whose time a test may push forward."""

    def __init__(self) -> None:
        self.pushed = 0.0

    def wall(self) -> float:
        return time.time() + self.pushed

    def monotonic(self) -> float:
        return time.monotonic() + self.pushed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(max(0.0, seconds), 0.02))


def server(name: str, script: str, *args: str, **fields: Any) -> ServerSpec:
    """A server of this folder over stdio."""
    # Isolated from site-packages, a hand-written server starts in a few milliseconds.
    flags = () if script == "workshop.py" else ("-I", "-S")
    return ServerSpec(
        name, command=sys.executable, args=(*flags, str(HERE / script), *args), **fields
    )


@asynccontextmanager
async def pool_of(*specs: ServerSpec, clock: QuickClock | None = None) -> AsyncIterator[Pool]:
    """A pool with these servers, ready; closed at the end."""
    pool = Pool(clock or QuickClock())
    try:
        await pool.ensure(specs)
        await pool.ready([spec.name for spec in specs], BOUND)
        yield pool
    finally:
        await pool.close()


async def until(condition: Callable[[], Any], bound: float = BOUND) -> None:
    """Wait for what has no event of its own; fails after `bound` seconds."""
    async with asyncio.timeout(bound):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def words(log: Path) -> list[str]:
    """What the servers left in their log."""
    return log.read_text().split()


def runs(pid: int) -> bool:
    """Whether a process is alive (a zombie is not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def open_files() -> set[str]:
    """What the descriptors of this process point to."""
    links: set[str] = set()
    for entry in os.scandir("/proc/self/fd"):
        try:
            links.add(f"{entry.name} {Path(entry.path).readlink()}")
        except FileNotFoundError:
            continue
    return links
