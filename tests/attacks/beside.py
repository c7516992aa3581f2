"""Asks a host and a bare server beside it every 50 ms, and tells how long either was silent.

Run as `python -I -S beside.py bare` it is the bare server, as `… ask URL URL` whoever asks both; it
answers each line on its input with a line of JSON on what there was since the last one. Standard
library only: what it measures is the other two.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

EVERY = 0.05
ROOM = 0.1
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nContent-Type: application/json\r\n\r\n"


class Asked:
    """One server, asked over one connection; `silences` are (when, how long) of each question."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._place = (where.hostname or "", where.port or 80)
        self._question = f"GET {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.silences: list[tuple[float, float]] = []
        self.asking_since: float | None = None

    async def ask(self) -> None:
        """Ask for ever, no second question before the first is answered."""
        while True:
            self.asking_since = time.monotonic()
            try:
                if self._line is None:
                    self._line = await asyncio.open_connection(*self._place)
                self._line[1].write(self._question)
                head = await self._line[0].readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await self._line[0].readexactly(size)
            except (OSError, asyncio.IncompleteReadError):
                self._line = None
            took = time.monotonic() - self.asking_since
            self.silences.append((self.asking_since, took))
            await asyncio.sleep(max(0.0, EVERY - took))

    def known(self, now: float) -> list[tuple[float, float]]:
        """All questions, the one that is open with the time that it has taken so far."""
        open_since = self.asking_since
        answered = self.silences and self.silences[-1][0] == open_since
        if open_since is None or answered:
            return self.silences
        return [*self.silences, (open_since, now - open_since)]


def longer(host: Asked, bare: Asked, since: float) -> dict[str, float]:
    """How much longer the host was silent than the bare server about the same time, at worst."""
    now = time.monotonic()
    asked = [one for one in host.known(now) if one[0] + one[1] >= since]
    beside = [one for one in bare.known(now) if one[0] + one[1] >= since - ROOM]
    worst = 0.0
    for began, took in asked:
        near = [
            other
            for start, other in beside
            if start <= began + took + ROOM and start + other >= began - ROOM
        ]
        worst = max(worst, took - max(near, default=0.0))
    return {
        "more": worst,
        "host": max((took for _, took in asked), default=0.0),
        "bare": max((took for _, took in beside), default=0.0),
        "questions": len(asked),
    }


async def _ask(host: Asked, bare: Asked) -> None:
    asking = [asyncio.create_task(one.ask()) for one in (host, bare)]
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    since = time.monotonic()
    while await orders.readline():
        told = longer(host, bare, since)
        since = time.monotonic()
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
    for task in asking:
        task.cancel()


async def _bare() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ANSWER + b'{"status":"ok"}')
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/health/live\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@dataclass(frozen=True)
class Silence:
    """Seconds: how much longer the host was silent than the bare server, and each at worst."""

    more: float
    host: float
    bare: float
    questions: int


class Beside:
    """Both processes, for as long as the block lasts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._bare: Any = None
        self._asker: Any = None

    async def __aenter__(self) -> Beside:
        self._bare = await _started("bare")
        bare = (await self._bare.stdout.readline()).decode().strip()
        self._asker = await _started("ask", self._url, bare)
        await self.since_last()
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in (self._asker, self._bare):
            if process is not None:
                process.stdin.close()
                process.kill()
                await process.wait()

    async def since_last(self) -> Silence:
        """What there was since this was asked last."""
        self._asker.stdin.write(b"?\n")
        return Silence(**json.loads(await self._asker.stdout.readline()))


async def _started(*words: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    program = (sys.executable, "-I", "-S", str(Path(__file__)), *words)
    return await asyncio.create_subprocess_exec(
        *program, stdin=pipe, stdout=pipe, env={"PATH": os.environ["PATH"]}
    )


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        asyncio.run(_bare())
    else:
        asyncio.run(_ask(Asked(sys.argv[2]), Asked(sys.argv[3])))
