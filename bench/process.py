"""Processes under measurement: started, their CPU seconds and memory read from /proc, ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.host import ROOT
from simulators.testing import processes

CPU_CLOCK = 2  # of clock_getcpuclockid(3): the time that all threads of a process have run


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of memory: its field in /proc, and its name."""

    field: str
    words: str


SHARE = Measure("Pss:", "the proportional share (Pss)")
RESIDENT = Measure("VmRSS:", "all that is resident (VmRSS), as the share could not be read")
MEASURES: set[Measure] = set()
"""Those that were taken in this run."""


class Process(processes.HostProcess):
    """One measured process with its children, such as the host with its Valkey."""

    def __init__(self, name: str, words: Sequence[str], log: Path, **environ: str) -> None:
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        environ = {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environ}
        super().__init__([sys.executable, *words], folder=log.parent, log=log, environ=environ)
        self.name = name
        self.started_at = 0.0

    async def start(self) -> None:
        """Starts it; its output goes to its log."""
        self.started_at = time.perf_counter()
        await self.spawn()

    def pids(self) -> list[int]:
        """Its own id, and that of its Valkey; MCP servers are not counted."""
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

    def tail(self) -> str:
        """The end of its log."""
        return self.log_text()[-2000:]


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
        text, measure = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8"), SHARE
    except OSError:
        text, measure = Path(f"/proc/{pid}/status").read_text(encoding="utf-8"), RESIDENT
    MEASURES.add(measure)
    line = next(line for line in text.splitlines() if line.startswith(measure.field))
    return int(line.split()[1]) / 1024


def measures() -> str:
    """What the figures of memory so far are, in words."""
    return " and ".join(sorted(measure.words for measure in MEASURES)) or "not looked at"
