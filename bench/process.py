"""Processes under measurement: started, their CPU seconds and memory read from /proc, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CPU_CLOCK = 2  # of clock_getcpuclockid(3): the time that all threads of a process have run


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of memory: where it stands in /proc, and its name."""

    field: str
    words: str


SHARE = Measure("Pss:", "the proportional share (Pss)")
RESIDENT = Measure("VmRSS:", "all that is resident (VmRSS), as the share could not be read")
MEASURES: set[Measure] = set()
"""Those that were taken in this run."""


class Process:
    """One process with its children, such as the host with its Valkey."""

    def __init__(self, name: str, words: Sequence[str], log: Path, **environ: str) -> None:
        self.name = name
        self._words = words
        self._log = log
        self._environ = environ
        self._process: asyncio.subprocess.Process | None = None
        self.started_at = 0.0

    async def start(self) -> None:
        """Start it; its output goes to its log."""
        self.started_at = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._words,
                cwd=self._log.parent,
                env=_environment(self._environ),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def pids(self) -> list[int]:
        """Its own id, and that of its Valkey; MCP servers are not ours to count."""
        return [self.pid, *(pid for pid in children(self.pid) if _is_store(pid))]

    def cpu(self) -> float:
        """CPU seconds so far, children included."""
        return sum(cpu_of(pid) for pid in self.pids())

    def memory(self) -> float:
        """MB that are resident (proportional share), children included."""
        return sum(memory_of(pid) for pid in self.pids())

    def memory_alone(self) -> float:
        """MB of the process without its children."""
        return memory_of(self.pid)

    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.returncode is None

    async def end(self) -> None:
        """SIGTERM, and after 25 s SIGKILL, to this process alone."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), 25)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def tail(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-2000:]


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def _is_store(pid: int) -> bool:
    try:
        return b"valkey.conf" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """The children of all threads of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(one) for one in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def cpu_of(pid: int) -> float:
    """CPU seconds of one process, dead threads included, by its own clock.

    /proc tells the same in hundredths of a second, too coarse for a load of a second.
    """
    return time.clock_gettime(~pid << 3 | CPU_CLOCK)


def memory_of(pid: int) -> float:
    """MB of one process: its share of shared pages, or else all resident ones."""
    try:
        text, measure = Path(f"/proc/{pid}/smaps_rollup").read_text(), SHARE
    except OSError:
        text, measure = Path(f"/proc/{pid}/status").read_text(), RESIDENT
    MEASURES.add(measure)
    line = next(line for line in text.splitlines() if line.startswith(measure.field))
    return int(line.split()[1]) / 1024


def measures() -> str:
    """What the figures of memory so far are, in words."""
    return " and ".join(sorted(measure.words for measure in MEASURES)) or "not looked at"
