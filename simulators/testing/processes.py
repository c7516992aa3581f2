"""Hosts as processes of their own, started by their command or forked from a loaded process.

A fork server imports what a host needs once, and forks each host from there, which saves a second
of CPU a host. A forked host is a process like any other: its session, memory, files and signals are
its own. Run as a program, this module is the fork server.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import importlib
import json
import os
import queue
import random
import re
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn


class ForkedProcess:
    """One forked host: the part of `asyncio.subprocess.Process` that tests need."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless the process has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait(self) -> int:
        """The exit status once the process has ended; a signal's number is negative."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def set_ended(self, status: int) -> None:
        """Sets the exit status; called from another thread."""
        with contextlib.suppress(RuntimeError):  # the test's loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._end, status)

    def _end(self, status: int) -> None:
        self.returncode = status
        self._ended.set()


class ForkServer:
    """The process that hosts are forked from; usable from any event loop, ended at exit.

    `entry` is "module:function", called with `arguments`; it returns an exit status. `preload`
    names the modules to import once.
    """

    def __init__(
        self, entry: str, arguments: Sequence[str], preload: Sequence[str], root: Path
    ) -> None:
        job = {"entry": entry, "preload": list(preload)}
        self._arguments = tuple(arguments)
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, json.dumps(job)],  # no module of its folder is run
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root)},
            start_new_session=True,
        )
        self._forking = threading.Lock()
        self._known = threading.Lock()
        self._started: queue.Queue[int] = queue.Queue()
        self._forked: dict[int, ForkedProcess] = {}
        self._ended_early: dict[int, int] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        atexit.register(self.stop)

    async def fork(
        self,
        folder: Path,
        log: Path,
        environ: Mapping[str, str],
        *arguments: str,
        entry: str | None = None,
    ) -> ForkedProcess:
        """Forks a host that runs in a folder; its output is appended to the log.

        `arguments` and `entry`, where they are given, stand in for those of the server.
        """
        order: dict[str, Any] = {"cwd": str(folder), "log": str(log), "environ": dict(environ)}
        order["arguments"] = [*(arguments or self._arguments)]
        order["entry"] = entry
        forked = ForkedProcess(await asyncio.to_thread(self._fork, order))
        with self._known:
            self._forked[forked.pid] = forked
            if forked.pid in self._ended_early:
                self._set_ended(forked.pid, self._ended_early.pop(forked.pid))
        return forked

    def stop(self) -> None:
        """Ends the fork server; hosts that still run are not touched."""
        atexit.unregister(self.stop)
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                _open(pipe).close()

    def _fork(self, request: Mapping[str, Any]) -> int:
        with self._forking:
            requests = _open(self._process.stdin)
            requests.write(json.dumps(request).encode() + b"\n")
            requests.flush()
            return self._started.get(timeout=60)

    def _read(self) -> None:
        for line in _open(self._process.stdout):
            event, pid, status = line.split()
            if event == b"started":
                self._started.put(int(pid))
            else:
                with self._known:
                    self._set_ended(int(pid), int(status))

    def _set_ended(self, pid: int, status: int) -> None:
        if pid in self._forked:
            self._forked.pop(pid).set_ended(status)
        else:
            self._ended_early[pid] = status


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


class HostProcess:
    """A host as a process of its own; its output is appended to `log`.

    It is forked where there is a fork server, else started by its command.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        environ: Mapping[str, str],
        fork_server: ForkServer | None = None,
    ) -> None:
        self.command = list(command)
        self.folder = folder
        self.log = log
        self.environ = dict(environ)
        self.process: asyncio.subprocess.Process | ForkedProcess | None = None
        self._fork_server = fork_server
        self._logged = 0

    async def spawn(self, *, by_command: bool = False) -> None:
        """Starts the process without waiting for anything; `by_command` never forks it."""
        self._logged = len(self.log_text())
        self.log.touch()
        if self._fork_server is not None and not by_command:
            self.process = await self._fork_server.fork(self.folder, self.log, self.environ)
            return
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                cwd=self.folder,
                env=self.environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._started().pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.returncode is None

    def send(self, number: int) -> None:
        """Sends a signal, unless the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._started().send_signal(number)

    async def wait(self, seconds: float = 60) -> int:
        """The exit status, once the process has ended."""
        return await asyncio.wait_for(self._started().wait(), seconds)

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.send(signal.SIGKILL)
        await self._started().wait()

    async def terminate(self, seconds: float = 60) -> int:
        """SIGTERM; the exit status."""
        self.send(signal.SIGTERM)
        return await self.wait(seconds)

    async def end(self) -> None:
        """SIGTERM where it still runs, SIGKILL where that does not end it in 25 s."""
        if self.alive:
            try:
                await self.terminate(25)
            except TimeoutError:
                await self.kill()

    def log_text(self) -> str:
        """The log of all its lives."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def logged(self, words: str) -> bool:
        """Whether the log has these words since the process was last started."""
        return words in self.log_text()[self._logged :]

    @property
    def address(self) -> str | None:
        """Where it serves HTTP, once its log says so."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.log_text())
        found = re.findall(r"health=(http://\S+)/health", text)
        return found[-1] if found else None

    def _started(self) -> asyncio.subprocess.Process | ForkedProcess:
        assert self.process is not None, "the host was not started"
        return self.process


# --- the fork server's own process ---


def _tell(event: str, pid: int, status: int) -> None:
    os.write(1, f"{event} {pid} {status}\n".encode())


def _become_host(job: dict[str, Any], request: dict[str, Any]) -> NoReturn:
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.closerange(3, 64)
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["cwd"])
    random.seed()
    module, _, function = (request["entry"] or job["entry"]).partition(":")
    sys.argv = [module, *request["arguments"]]
    status = 1
    try:
        status = getattr(importlib.import_module(module), function)(request["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _tell("ended", pid, os.waitstatus_to_exitcode(status))


def _serve(job: dict[str, Any], selector: selectors.BaseSelector, wakeup: int) -> None:
    unread = b""
    while True:
        ready = {key.fd for key, _ in selector.select()}
        if wakeup in ready:
            os.read(wakeup, 512)
            _reap()
        if 0 not in ready:
            continue
        data = os.read(0, 65536)
        if not data:
            return
        *lines, unread = (unread + data).split(b"\n")
        for line in lines:
            pid = os.fork()
            if pid == 0:
                _become_host(job, json.loads(line))
            _tell("started", pid, 0)


def main() -> None:
    """Forks hosts as requested on stdin, a line of JSON each, until stdin is closed."""
    job = json.loads(sys.argv[1])
    gc.disable()  # what is imported here stays: looking for garbage in it only takes time
    for name in job["preload"]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    gc.enable()
    wakeup, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waking)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(wakeup, selectors.EVENT_READ)
    _serve(job, selector, wakeup)


if __name__ == "__main__":
    main()
