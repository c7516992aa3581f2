"""F29: clients go away before the first event and in mid-stream; nothing is left of them.

The host runs in this process, so that its tasks can be counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from bench.host import host_environ
from bench.proof.result import Result
from bench.proof.stream_model import StoryModel
from bench.proof.stream_rows import KEY, PATH, SETTINGS, write_instance
from bench.proof.trial import Run, Trial, trial
from bot.app import App
from simulators.messages.records import Record
from tests.host.stage import host_in_process

ROUNDS = 500
TOGETHER = 10
WARM_UP = 12
QUICKLY = 1.0
"""Seconds within which the model's stream ends where the client wanted that."""
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Left:
    """What a host has open: tasks by name, descriptors of the process, streams of the model.

    Idle connections to the model and the store are kept for the next request, and not counted.
    """

    tasks: Counter[str]
    descriptors: int
    model: int
    readers: int
    lines: int

    @classmethod
    def of(cls, host: App, t: Trial) -> Left:
        """What there is at this moment."""
        names = (task.get_name() for task in asyncio.all_tasks() if not task.done())
        tasks = Counter("task" if name.startswith("Task-") else name for name in names)
        open_ = sum(record.outcome is None for record in t.sim.records.all())
        reader = host.conversations.reader
        readers = reader.readers + len(reader.events.followers)
        port, store = urlsplit(t.stage.messages_url).port, str(t.valkey.socket)
        opened = [int(one.name) for one in Path("/proc/self/fd").iterdir()]
        descriptors = sum(not _is_kept(one, port, store) for one in opened)
        return cls(tasks, descriptors, open_, readers, host.http_lines.served)

    def more_than(self, before: Left) -> list[str]:
        """What is left over, in words."""
        tasks = (self.tasks - before.tasks).items()
        wrong = [f"{count} tasks more: {name}" for name, count in tasks]
        for what in ("descriptors", "model", "readers", "lines"):
            more = getattr(self, what) - getattr(before, what)
            wrong += [f"{more} {what} more"] * (more > 0)
        return wrong


def _is_kept(descriptor: int, model: int | None, store: str) -> bool:
    """Whether it is a connection to the model's port or the store's socket."""
    with contextlib.suppress(OSError):
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:"):  # noqa: PTH115
            with socket.socket(fileno=os.dup(descriptor)) as one:
                if one.family == socket.AF_INET:
                    return model in (one.getsockname()[1], one.getpeername()[1])
                return bool(one.getpeername() == store)
    return False


async def clients_leave(run: Run) -> Result:
    """F29: clients that go away before the first event, after it, and between pieces."""
    async with trial(run, "f29", 0) as t, _host(t) as host:
        t.sim.script = StoryModel(run.seed, pace=run.pick(200, 60))
        leaving = Leaving(host, t, random.Random(run.seed))
        return t.result.add(await leaving.rounds(run.pick(30, ROUNDS)))


@contextlib.asynccontextmanager
async def _host(t: Trial) -> AsyncIterator[App]:
    write_instance(t)
    environ = host_environ(
        (),
        agents=t.folder / "agents.json",
        data=t.folder / "data",
        telegram_url=t.stage.telegram_url,
        messages_url=t.stage.messages_url,
    )
    configs = {"AGENT_CONFIGS_DIR": str(t.folder / "agent_configs")}
    url = f"unix://{t.valkey.socket}"
    async with host_in_process({**environ, **SETTINGS, **configs, "REDIS_URL": url}) as host:
        yield host


@dataclass
class Leaving:
    """Clients of a host in this process, as bare sockets, that break off."""

    host: App
    t: Trial
    chance: random.Random
    number: int = 0
    slowest: float = 0.0
    cancelled: int = 0

    async def rounds(self, count: int) -> Result:
        """So many clients, ten at a time; then what is left of them."""
        assert self.host.api is not None
        await self.host.api.app()
        await asyncio.gather(*(self._one() for _ in range(WARM_UP)))
        before = await self._quiet(None)
        for _ in range(0, count, TOGETHER):
            await asyncio.gather(*(self._one() for _ in range(TOGETHER)))
        result = Result(tries=count, messages=count)
        for words in (await self._quiet(before)).more_than(before):
            result.problem(words)
        slow = f"{self.slowest:.2f} s"
        result.check(self.slowest <= QUICKLY, f"a model stream was open for {slow} more")
        result.notes.append(
            f"{self.cancelled} model streams ended with their clients, after at most {slow}"
        )
        return result

    async def _quiet(self, before: Left | None) -> Left:
        """What is left once every turn has ended, and nothing more ends."""
        until = time.monotonic() + 20
        left = Left.of(self.host, self.t)
        while time.monotonic() < until:
            await asyncio.sleep(0.2)
            last, left = left, Left.of(self.host, self.t)
            is_over = not (left.lines or left.readers or left.model)
            if is_over and (not left.more_than(before) if before else left == last):
                break
        return left

    async def _one(self) -> None:
        self.number += 1
        name = f"s{self.number:05d}"
        cancels = self.chance.random() < 0.5
        way = self.chance.choice(("at once", "head", "pieces", "pieces", "chat"))
        reader, writer = await asyncio.open_connection(*self._address)
        writer.write(self._request(name, chats=way == "chat", cancels=cancels))
        if way in ("head", "pieces"):
            await reader.readuntil(b"-0-0\n\n")
        if way == "pieces":
            with contextlib.suppress(asyncio.IncompleteReadError):  # that was the end
                for _ in range(self.chance.randint(1, 8)):
                    await reader.readuntil(b"event: message\n")
        if way in ("at once", "chat"):
            await asyncio.sleep(self.chance.choice((0, 0.01, 0.2)))
        self._leave(writer)
        if cancels and way != "chat":
            await self._ends_quickly(name)

    def _leave(self, writer: asyncio.StreamWriter) -> None:
        """Without a word, or with the reset of a process that was killed."""
        if self.chance.random() < 0.5:
            of = writer.get_extra_info("socket")
            of.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()

    async def _ends_quickly(self, name: str) -> None:
        """Note how long the model's stream for this client, if it has one, is open after it."""
        since = time.monotonic()
        while time.monotonic() < since + 2 * QUICKLY:
            outcomes = [one.outcome for one in self._records(name)]
            if None in outcomes:
                self.slowest = max(self.slowest, time.monotonic() - since)
            elif outcomes:
                self.cancelled += "left" in outcomes
                return
            await asyncio.sleep(0.01)

    def _records(self, name: str) -> list[Record]:
        """The newest requests for this client's story."""
        newest = self.t.sim.records.all()[-4 * TOGETHER :]
        return [one for one in newest if name in json.dumps(one.body["messages"][-1])]

    def _request(self, name: str, *, chats: bool, cancels: bool) -> bytes:
        asked = {"message": f"story {name}"}
        head = f"Host: {urlsplit(self.host.url).netloc}\r\nAuthorization: Bearer {KEY}\r\n"
        if chats:
            body = json.dumps(asked)
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            return f"POST {PATH}/chat HTTP/1.1\r\n{head}\r\n{body}".encode()
        asked["on_disconnect"] = "cancel" if cancels else "continue"
        return f"GET {PATH}/stream?{urlencode(asked)} HTTP/1.1\r\n{head}\r\n".encode()

    @property
    def _address(self) -> tuple[str, int]:
        parts = urlsplit(self.host.url)
        return parts.hostname or "", parts.port or 0
