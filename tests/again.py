"""`python -m tests.again [times] [pytest arguments]`: the tests again and again, beside busy cores.

A test that fails only beside others waits for time where it should wait for an event, or shows a
race. One busy loop for each core makes both appear. Stops at the first run that fails.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORKERS = ("-n", "3", "--dist", "loadscope", "-q")


def _busy() -> None:
    while True:
        pass


def run(times: int, arguments: Sequence[str]) -> int:
    """Runs the tests so many times; the exit status of the first run that fails, else 0."""
    loops = [multiprocessing.Process(target=_busy, daemon=True) for _ in range(os.cpu_count() or 1)]
    for loop in loops:
        loop.start()
    for number in range(1, times + 1):
        began = time.monotonic()
        command = [sys.executable, "-m", "pytest", *WORKERS, *arguments]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        seconds = time.monotonic() - began
        sys.stdout.write(f"run {number} of {times}: exit status {status} after {seconds:.0f} s\n")
        sys.stdout.flush()
        if status:
            return status
    return 0


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(run(int(given[0]) if given else 10, given[1:]))
