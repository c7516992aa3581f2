"""Hosts that start at once: forked from a process that has loaded the libraries already.

Run as a process it reads orders, a line of JSON each, and tells of births and deaths.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import random
import selectors
import signal
import sys
from typing import Any, NoReturn

LOADED = (
    "bot.app",
    "bot.cli.main",
    "bot.ops.logging",
    "uvloop",
    "anthropic",
    "anthropic.types",
    "anthropic.resources.messages",
    "bot.mcp.connection",
    "mcp",
    "mcp.client.stdio",
    "mcp.client.streamable_http",
)


class Forked:
    """One forked host: as much of `asyncio.subprocess.Process` as the proof needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._over = asyncio.Event()

    def send_signal(self, number: int) -> None:
        """A signal, unless it is gone."""
        if self.returncode is None:
            os.kill(self.pid, number)

    async def wait(self) -> int:
        """Its exit status once it is gone; a signal's number is negative."""
        await self._over.wait()
        assert self.returncode is not None
        return self.returncode

    def over(self, status: int) -> None:
        """It is gone."""
        self.returncode = status
        self._over.set()


class Nursery:
    """The process that hosts are forked from."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._forked: dict[int, Forked] = {}
        self._early: dict[int, int] = {}
        self._reading: asyncio.Task[None] | None = None

    async def start(self, root: str) -> None:
        """Load everything once; returns when it has."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.proof.nursery",
            cwd=root,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": root},
        )
        assert self._process.stdout is not None
        await self._process.stdout.readline()
        self._reading = asyncio.create_task(self._read())

    async def fork(self, cwd: str, log: str, environ: dict[str, str]) -> Forked:
        """A new host."""
        assert self._process is not None
        assert self._process.stdin is not None
        order = {"cwd": cwd, "log": log, "environ": environ}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        pid = await self._born.get()
        forked = self._forked[pid] = Forked(pid)
        if pid in self._early:
            forked.over(self._early.pop(pid))
        return forked

    async def stop(self) -> None:
        """End it; hosts are ended before."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            word, pid, status = line.split()
            if word == b"born":
                self._born.put_nowait(int(pid))
            elif int(pid) in self._forked:
                self._forked.pop(int(pid)).over(int(status))
            else:
                self._early[int(pid)] = int(status)


def _tell(word: str, pid: int, status: int) -> None:
    os.write(1, f"{word} {pid} {status}\n".encode())


def _become_a_host(order: dict[str, Any]) -> NoReturn:
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.closerange(3, 64)
    os.environ.clear()
    os.environ.update(order["environ"])
    os.chdir(order["cwd"])
    random.seed()
    sys.argv = ["switchboard", "run"]
    status = 1
    try:
        status = importlib.import_module("bot.cli.main").main(["run"])
    finally:
        sys.stderr.flush()
        os._exit(status)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _tell("gone", pid, os.waitstatus_to_exitcode(status))


def main() -> None:
    """Fork hosts as ordered, until the orders end."""
    gc.disable()  # what is loaded here is no garbage
    for name in LOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    gc.enable()
    receiving, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waking)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    chooser = selectors.DefaultSelector()
    chooser.register(0, selectors.EVENT_READ)
    chooser.register(receiving, selectors.EVENT_READ)
    _tell("ready", 0, 0)
    _obey(chooser, receiving)


def _obey(chooser: selectors.BaseSelector, receiving: int) -> None:
    waiting = b""
    while True:
        ready = {key.fd for key, _ in chooser.select()}
        if receiving in ready:
            os.read(receiving, 512)
            _reap()
        if 0 not in ready:
            continue
        data = os.read(0, 65536)
        if not data:
            return
        *lines, waiting = (waiting + data).split(b"\n")
        for line in lines:
            pid = os.fork()
            if pid == 0:
                _become_a_host(json.loads(line))
            _tell("born", pid, 0)


if __name__ == "__main__":
    main()
