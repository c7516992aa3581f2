"""Runs the host as a child process: restarted whenever it dies, ended when we are."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from bot.sandbox import child_process

State = Literal["starting", "up", "down", "stopped"]
Polling = Callable[[float], Awaitable[None]]

_IN_USE = "is in use by another running"
_PAUSES = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
_LOG_TAIL = 16_384
_LOG_LIMIT = 5_000_000


class HostProcess:
    """`python -m bot run` as a child; `polling(since)` returns once its bots poll."""

    def __init__(self, log: Path, polling: Polling) -> None:
        self._log = log
        self._polling = polling
        self._process: Process | None = None
        self._stopping = False
        self._state: State = "starting"
        self._since = time.time()
        self._failures = 0
        self.starts = 0
        self.changed: Callable[[], None] = lambda: None
        self.up = asyncio.Event()
        self.refused: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def show(self) -> dict[str, Any]:
        """State of the host, for the page."""
        process = self._process
        return {
            "state": self._state,
            "pid": process.pid if process and process.returncode is None else None,
            "starts": self.starts,
            "since": self._since,
            "words": self._last_line() if self._state == "down" else "",
        }

    def log(self) -> str:
        """The last `_LOG_TAIL` bytes of its log, from the start of a line."""
        if not self._log.exists():
            return ""
        with self._log.open("rb") as file:
            start = max(0, file.seek(0, 2) - _LOG_TAIL)
            file.seek(start)
            text = file.read().decode(errors="replace")
        return text.partition("\n")[2] if start else text

    def kill(self) -> bool:
        """Kill -9; False where nothing runs."""
        if self._process is None or self._process.returncode is not None:
            return False
        self._process.kill()
        return True

    async def run(self, environ: Mapping[str, str]) -> None:
        """Start it, and start it again whenever it ends, until `stop` is called."""
        while not self._stopping:
            self._process = await self._start(environ)
            began = time.time()
            starting = asyncio.create_task(self._report_up(began), name="host.start")
            code = await self._process.wait()
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self._on_exit(code)

    async def stop(self, seconds: float) -> bool:
        """SIGTERM, then kill -9 after so many seconds; whether it ended by itself."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return True
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), seconds)
            return True
        self.kill()
        await process.wait()
        return False

    async def _start(self, environ: Mapping[str, str]) -> Process:
        self.starts += 1
        self._log.parent.mkdir(parents=True, exist_ok=True)
        mode = "wb" if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT else "ab"
        arguments = ("-P", child_process.__file__, "bot", "run", "--no-env-file")
        with self._log.open(mode) as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *arguments),
                env=dict(environ),
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self._set_state("starting")
        return process

    async def _report_up(self, began: float) -> None:
        await self._polling(began)
        self._failures = 0
        self._set_state("up")
        self.up.set()

    async def _on_exit(self, code: int) -> None:
        self.up.clear()
        self._set_state("stopped" if self._stopping else "down")
        if self._stopping:
            return
        line = self._last_line()
        if code == 1 and self.starts == 1 and _IN_USE not in line and not self.refused.done():
            self.refused.set_result(line)
        pause = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._failures += 1
        await asyncio.sleep(pause)

    def _last_line(self) -> str:
        lines = self.log().strip().splitlines()
        return lines[-1].removeprefix("switchboard: ")[:500] if lines else ""

    def _set_state(self, state: State) -> None:
        self._state, self._since = state, time.time()
        self.changed()
