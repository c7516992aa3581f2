"""Hosts of tests are forked from one process of each test worker, which loads the libraries once.

They are processes of their own all the same: their session, memory, files and signals. That the
command itself starts is shown elsewhere, by tests that spawn `python -m bot`.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]


class Forked:
    """One forked host: as much of `asyncio.subprocess.Process` as tests need."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()

    def send_signal(self, number: int) -> None:
        """A signal, unless it is gone."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait(self) -> int:
        """Its exit status once it is gone; a signal's number is negative."""
        await self._over.wait()
        assert self.returncode is not None
        return self.returncode

    def over(self, status: int) -> None:
        """It is gone, another thread says."""
        with contextlib.suppress(RuntimeError):  # the test's loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._end, status)

    def _end(self, status: int) -> None:
        self.returncode = status
        self._over.set()


class Forks:
    """The process that hosts are forked from, as a worker's tests share it."""

    def __init__(self) -> None:
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.proof.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            start_new_session=True,
        )
        self._turn = threading.Lock()
        self._known = threading.Lock()
        self._born: queue.Queue[int] = queue.Queue()
        self._forked: dict[int, Forked] = {}
        self._early: dict[int, int] = {}
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        atexit.register(self._stop)

    async def fork(self, folder: Path, log: Path, environ: Mapping[str, str]) -> Forked:
        """A new host in a folder; what it says is added to the log."""
        forked = Forked(await asyncio.to_thread(self._order, folder, log, environ))
        with self._known:
            self._forked[forked.pid] = forked
            if forked.pid in self._early:
                self._gone(forked.pid, self._early.pop(forked.pid))
        return forked

    def _order(self, folder: Path, log: Path, environ: Mapping[str, str]) -> int:
        log.touch()
        order = {"cwd": str(folder), "log": str(log), "environ": dict(environ)}
        with self._turn:
            orders = _open(self._process.stdin)
            orders.write(json.dumps(order).encode() + b"\n")
            orders.flush()
            return self._born.get(timeout=60)

    def _read(self) -> None:
        for line in _open(self._process.stdout):
            word, pid, status = line.split()
            if word == b"born":
                self._born.put(int(pid))
            elif word == b"gone":
                with self._known:
                    self._gone(int(pid), int(status))

    def _gone(self, pid: int, status: int) -> None:
        if pid in self._forked:
            self._forked.pop(pid).over(status)
        else:
            self._early[pid] = status

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._reading.join()
        _open(self._process.stdin).close()
        _open(self._process.stdout).close()


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


forks = cache(Forks)
