"""A wire between a host and one of its servers, which can be shut, stalled, cut or broken off."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Coroutine, Iterable
from typing import Any

Address = str | tuple[str, int]
"""A unix socket's path, or host and port."""
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Direction = Coroutine[Any, Any, None]

_CHUNK = 65536
_POLL = re.compile(rb"POST /bot(\d+):[^/ ]+/getUpdates ")


class Relay:
    """Carries bytes to `upstream`; can be shut, stalled, cut, or made to break an answer off."""

    def __init__(self, upstream: Address) -> None:
        self.upstream = upstream
        self.address: Address = ("127.0.0.1", 0)
        self.carried = 0
        self._flow = asyncio.Event()
        self._flow.set()
        self._break_after: int | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self, address: Address = ("127.0.0.1", 0)) -> None:
        """Listen; port 0 takes a free one."""
        if isinstance(address, str):
            self._server = await asyncio.start_unix_server(self._serve, address)
            self.address = address
        else:
            self._server = await asyncio.start_server(self._serve, *address, backlog=1024)
            self.address = self._server.sockets[0].getsockname()[:2]

    @property
    def url(self) -> str:
        """Where a host finds it."""
        if isinstance(self.address, str):
            return f"unix://{self.address}"
        return f"http://{self.address[0]}:{self.address[1]}"

    def shut(self) -> None:
        """Refuse connections, and cut those that are there."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    async def reopen(self) -> None:
        """Listen again where it listened before."""
        await self.open(self.address)

    def stall(self) -> None:
        """Carry nothing, without a word."""
        self._flow.clear()

    def flow(self) -> None:
        """Carry again, also what was held."""
        self._flow.set()

    def cut(self) -> None:
        """Cut all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    def break_answer(self, after: int) -> None:
        """Cut the connection whose answer passes next, after so many bytes of it."""
        self._break_after = after

    async def close(self) -> None:
        """Shut for good."""
        self.shut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._connected(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await self._upstream()
        self._writers.add(far_writer)
        directions = [
            *map(asyncio.create_task, self.directions((reader, writer), (far_reader, far_writer)))
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in directions:
                way.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            self._writers.discard(far_writer)
            far_writer.transport.abort()

    def directions(self, near: Ends, far: Ends) -> tuple[Direction, Direction]:
        """What carries requests, and what carries answers, on one connection."""
        return self.up(near[0], far[1]), self.down(far[0], near[1])

    async def _upstream(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.upstream, str):
            return await asyncio.open_unix_connection(self.upstream)
        return await asyncio.open_connection(*self.upstream)

    async def up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests, towards the server."""
        while data := await reader.read(_CHUNK):
            self.noticed(data)
            await self.put(writer, data)

    async def down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers, towards the host."""
        while data := await reader.read(_CHUNK):
            await self.put(writer, data, answer=True)

    async def put(self, writer: asyncio.StreamWriter, data: bytes, *, answer: bool = False) -> None:
        """Hand bytes over, unless this wire is stalled or has to break here."""
        await self._flow.wait()
        self.carried += len(data)
        after = self._break_after
        if answer and after is not None:
            if len(data) > after:
                self._break_after = None
                writer.write(data[:after])
                with contextlib.suppress(OSError):
                    await writer.drain()
                raise ConnectionAbortedError
            self._break_after = after - len(data)
        writer.write(data)
        await writer.drain()

    def noticed(self, data: bytes) -> None:
        """Requests as they pass, in chunks."""


class TelegramRelay(Relay):
    """Knows which bots ask for updates through it; `polls` holds the time of each one's last."""

    def __init__(self, upstream: Address) -> None:
        super().__init__(upstream)
        self.polls: dict[int, float] = {}
        self.swallows_polls = False
        self._asked = asyncio.Event()

    async def put(self, writer: asyncio.StreamWriter, data: bytes, *, answer: bool = False) -> None:
        """Like every wire, but with `swallows_polls` no poll is ever answered."""
        if not answer and self.swallows_polls and _POLL.search(data):
            await asyncio.Event().wait()
        await super().put(writer, data, answer=answer)

    def noticed(self, data: bytes) -> None:
        """A poll that begins in this chunk."""
        for found in _POLL.finditer(data):
            self.polls[int(found[1])] = time.monotonic()
            self._asked.set()

    async def polled(self, bots: Iterable[int], since: float, seconds: float = 20) -> float:
        """Return once each bot has asked; the seconds that this took after `since`."""
        wanted = set(bots)
        async with asyncio.timeout(seconds):
            while not all(self.polls.get(bot, 0) > since for bot in wanted):
                self._asked.clear()
                await self._asked.wait()
        return max((self.polls[bot] for bot in wanted), default=since) - since
