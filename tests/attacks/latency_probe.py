"""Asks a host and a bare server beside it every 50 ms, and tells how long either was silent.

Run as `python -I -S latency_probe.py bare` it is the bare server, as `… ask URL PID URL` whoever
asks the host, which is that process, and the bare server. It answers each line on its input with a
line of JSON on what there was since the last one. Standard library only: what it measures is the
other two.

Time for which the host's loop was ready to run and had no core is not its own silence, no more than
that for which the bare server was silent too: the machine has other things to do. Its other threads
excuse nothing: one that keeps the loop from running while it has no core itself is at fault.
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


@dataclass(frozen=True)
class Question:
    """When it was asked, how long it took, and for how much of that there was no core: seconds."""

    began: float
    took: float
    waited: float

    def is_near(self, other: Question) -> bool:
        """Whether both were open at about the same time."""
        ended = self.began + self.took
        return other.began <= ended + ROOM and other.began + other.took >= self.began - ROOM


def waits(pid: int | None) -> int:
    """For how long a process's first thread was ready to run and had no core, in nanoseconds."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text(encoding="utf-8").split()[1])
    return 0


class ProbedServer:
    """One server, asked over one connection, and the process that it is, if its waits count."""

    def __init__(self, url: str, pid: int | None = None) -> None:
        self._pid = pid
        where = urlsplit(url)
        self._place = (where.hostname or "", where.port or 80)
        self._question = f"GET {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._answered: list[Question] = []
        self._open: tuple[float, int] | None = None

    async def ask(self) -> None:
        """Ask forever, no second question before the first is answered."""
        while True:
            self._open = time.monotonic(), waits(self._pid)
            try:
                if self._line is None:
                    self._line = await asyncio.open_connection(*self._place)
                self._line[1].write(self._question)
                head = await self._line[0].readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await self._line[0].readexactly(size)
            except (OSError, asyncio.IncompleteReadError):
                self._line = None
            self._answered.append(self._until_now(*self._open))
            self._open = None
            await asyncio.sleep(max(0.0, EVERY - self._answered[-1].took))

    def _until_now(self, began: float, before: int) -> Question:
        """A question with the time that it has taken so far."""
        waited = max(0, waits(self._pid) - before)
        return Question(began, time.monotonic() - began, waited / 1e9)

    def since(self, then: float) -> list[Question]:
        """All questions that were open at a time or after it, also one that still is."""
        still = [] if self._open is None else [self._until_now(*self._open)]
        return [one for one in (*self._answered, *still) if one.began + one.took >= then]


def longer(host: ProbedServer, bare: ProbedServer, since: float) -> dict[str, float]:
    """The worst of the host's silences, by how much longer it was than what excuses it."""
    asked, reference = host.since(since), bare.since(since - ROOM)
    found = {"more": 0.0, "host": 0.0, "bare": 0.0, "waited": 0.0, "questions": len(asked)}
    for one in asked:
        quiet = max((other.took for other in reference if one.is_near(other)), default=0.0)
        more = one.took - max(quiet, one.waited)
        if more > found["more"]:
            found |= {"more": more, "host": one.took, "bare": quiet, "waited": one.waited}
    return found


async def _ask(host: ProbedServer, bare: ProbedServer) -> None:
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
    """The host's worst silence, and what of it the bare server and a lack of cores excuse."""

    more: float
    host: float
    bare: float
    waited: float
    questions: int


class LatencyProbe:
    """Both processes, for as long as the block lasts."""

    def __init__(self, url: str, pid: int) -> None:
        self._host = (url, str(pid))
        self._bare: Any = None
        self._asker: Any = None

    async def __aenter__(self) -> LatencyProbe:
        self._bare = await _started("bare")
        bare = (await self._bare.stdout.readline()).decode().strip()
        self._asker = await _started("ask", *self._host, bare)
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
        asyncio.run(_ask(ProbedServer(sys.argv[2], int(sys.argv[3])), ProbedServer(sys.argv[4])))
