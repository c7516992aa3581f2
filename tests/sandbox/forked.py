"""Sandboxes that are forked from a process that has loaded all, and whose hosts are forked as well.

That saves the seconds in which each would load the same modules again. How a sandbox and its host
are started by their commands is for the tests that ask for it (`by_command`). The fork server runs
`main` here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NoReturn


class ForkedHost:
    """One forked host: what a sandbox needs of `asyncio.subprocess.Process`."""

    def __init__(self, pid: int, lifeline: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._lifeline = lifeline
        self._ended = asyncio.create_task(asyncio.to_thread(os.waitpid, pid, 0))

    async def wait(self) -> int:
        """The exit status once it has ended; a signal's number is negative."""
        _, status = await asyncio.shield(self._ended)
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(status)
            os.close(self._lifeline)
        return self.returncode

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def _send(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def main(arguments: list[str]) -> int:
    """`switchboard` with these arguments, in a process that was forked."""
    from bot.cli.main import main as switchboard

    start = asyncio.create_subprocess_exec

    async def forked(program: Any, *words: Any, **options: Any) -> Any:
        if program != sys.executable or words[2:4] != ("bot", "run"):
            return await start(program, *words, **options)
        return _fork([*words[2:]], options["env"], options["stderr"])

    asyncio.create_subprocess_exec = forked
    return switchboard(arguments)


def _fork(words: list[str], environ: Mapping[str, str], log: IO[bytes]) -> ForkedHost:
    inherited = _open_files()
    reading, lifeline = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(lifeline)
        _become_host(words, environ, (reading, log.fileno()), {*inherited.items()})
    os.close(reading)
    return ForkedHost(pid, lifeline)


def _open_files() -> dict[int, str]:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[int(entry.name)] = str(entry.readlink())
    return found


def _become_host(
    words: list[str],
    environ: Mapping[str, str],
    files: tuple[int, int],
    inherited: set[tuple[int, str]],
) -> NoReturn:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(sign, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for target, source in ((0, files[0]), (1, nothing), (2, files[1])):
        os.dup2(source, target)
    for number, file in _open_files().items():
        if number > 2 and (number in files or (number, file) in inherited):
            os.close(number)
    os.environ.clear()
    os.environ.update(environ)
    asyncio._set_running_loop(None)
    random.seed()
    status = 1
    try:
        from bot.sandbox.child_process import main as tied

        tied(words)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
