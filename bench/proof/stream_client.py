"""A client of event streams as the standard has it: it reads, loses its host, and reads on.

What it is given must be given once: an id that comes twice, or falls, is a broken promise.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

PAUSE = 0.05
"""Seconds until it asks again; browsers wait longer."""
_ID = re.compile(r"([0-9a-f]{24})-(\d+)-(\d+)")


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """One block of a stream; a `kind` of '' is no event, only an id."""

    id: str
    kind: str
    data: str


def parse_block(block: bytes) -> ClientEvent:
    """The event of the lines between two empty ones."""
    id, kind, data = "", "", list[str]()
    for line in block.decode().split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            id = value
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
    return ClientEvent(id, kind if data else "", "\n".join(data))


@dataclass(eq=False)
class StreamClient:
    """Asks `path` at the address that `base` gives, until its turn is over.

    `partials` are messages that were closed as incomplete, each with the number of its pieces;
    `text` is the present one. `breaks` counts the connections that were lost, `problems` what no
    client may see.
    """

    session: aiohttp.ClientSession
    base: Callable[[], str]
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    first: str = "GET"
    last: str = ""
    text: str = ""
    partials: list[tuple[str, int]] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    breaks: int = 0
    pieces: int = 0
    problems: list[str] = field(default_factory=list)
    error: Mapping[str, Any] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def turn(self) -> str:
        """The turn that it reads."""
        return self.last.partition("-")[0]

    @property
    def is_over(self) -> bool:
        """Whether the turn has ended for this client."""
        return bool(self.ends)

    async def read(self, seconds: float = 60) -> None:
        """Read to the end of the turn, over as many connections as it takes."""
        async with asyncio.timeout(seconds):
            while not self.is_over:
                try:
                    await self._connect()
                except (aiohttp.ClientError, OSError):
                    self.breaks += 1
                if not self.is_over:
                    await asyncio.sleep(PAUSE)

    async def begin(self, seconds: float = 30) -> None:
        """Begin the turn, and go away as soon as it has a name."""
        async with asyncio.timeout(seconds):
            while not self.last:
                try:
                    await self._connect(lambda: bool(self.last))
                except (aiohttp.ClientError, OSError):
                    await asyncio.sleep(PAUSE)

    async def is_nothing_more(self) -> bool:
        """Whether a client that has everything is told so (204), and given nothing again."""
        async with self._request() as answer:
            return answer.status == 204

    def _request(self) -> aiohttp.client._RequestContextManager:
        headers = {**self.headers, **({"Last-Event-ID": self.last} if self.last else {})}
        url = self.base() + self.path
        if self.first == "POST":
            return self.session.post(url, json=dict(self.params), headers=headers)
        return self.session.get(url, params=self.params, headers=headers)

    async def _connect(self, is_enough: Callable[[], bool] = lambda: False) -> None:
        async with self._request() as answer:
            if answer.status == 503:
                raise aiohttp.ClientError
            if answer.status != 200:
                self.problems.append(f"answered {answer.status}: {(await answer.text())[:200]}")
                self.ends.append("refused")
                return
            unread, ended = b"", len(self.ends) + len(self.partials)
            async for data in answer.content.iter_any():
                *blocks, unread = (unread + data).split(b"\n\n")
                for block in blocks:
                    self._take(parse_block(block))
                if is_enough():
                    return
            if len(self.ends) + len(self.partials) == ended:
                raise aiohttp.ClientError  # it ended, and the turn did not

    def _take(self, event: ClientEvent) -> None:
        if event.id:
            self._take_id(event)
        if self.ends and event.kind:
            self.problems.append(f"{event.kind} after the end")
        if event.kind == "message":
            self.text += event.data
            self.pieces += 1
        elif event.kind == "done":
            self.ends.append("done")
        elif event.kind == "error":
            self.error = json.loads(event.data)
            if self.error.get("answered_anew"):
                self.partials.append((self.text, self.pieces))
                self.text, self.pieces = "", 0
            else:
                self.ends.append("error")
        self.changed.set()

    def _take_id(self, event: ClientEvent) -> None:
        before, now = _ID.fullmatch(self.last), _ID.fullmatch(event.id)
        if now is None:
            self.problems.append(f"no id: {event.id!r}")
            return
        if before is not None:
            if now[1] != before[1]:
                self.problems.append(f"another turn: {event.id} after {self.last}")
            at, was = (int(now[2]), int(now[3])), (int(before[2]), int(before[3]))
            if at < was or (at == was and event.kind):
                self.problems.append(f"{event.kind} {event.id} came after {self.last}")
        self.last = event.id

    async def until(self, holds: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until something holds of what was read, or the turn is over."""
        async with asyncio.timeout(seconds):
            while not (holds() or self.is_over):
                self.changed.clear()
                await self.changed.wait()
