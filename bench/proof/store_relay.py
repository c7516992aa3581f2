"""The wire to the store: it reads the protocol, and can hold a script's request or its answer."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Literal

from bench.proof.relay import Address, Direction, Ends, Relay
from bot.store.client import script_source

Arguments = Sequence[bytes]
_GIVEN = re.compile(rb"\*2\r\n:(\d+)\r\n")
LISTENING = frozenset({b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"MONITOR"})


def digests() -> dict[bytes, str]:
    """The name of each script by the digest under which hosts call it."""
    names = [
        file.name.removesuffix(".lua")
        for file in files("bot.store.scripts").iterdir()
        if file.name.endswith(".lua")
    ]
    return {hashlib.sha1(script_source(n).encode()).hexdigest().encode(): n for n in names}


@dataclass
class Trap:
    """Holds one request before the store gets it, or one answer after the store has acted.

    `script` None fits any script; `fits` looks at the words of the request; `skip` lets some pass.
    """

    script: str | None
    moment: Literal["before", "after"]
    fits: Callable[[Arguments], bool] = lambda _: True
    skip: int = 0
    caught: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    forward: bool = False
    answer: asyncio.Future[bytes] | None = None

    def takes(self, script: str, words: Arguments) -> bool:
        """Whether this is the one."""
        if self.caught.is_set() or self.script not in (None, script) or not self.fits(words):
            return False
        self.skip -= 1
        return self.skip < 0


@dataclass(frozen=True, slots=True)
class Point:
    """A named point: which kind of message reaches it, and where it is caught."""

    name: str
    kind: str
    script: str | None
    moment: Literal["before", "after"]
    fits: Callable[[Arguments], bool] = lambda _: True
    skip: int = 0

    def trap(self) -> Trap:
        """A fresh trap for it."""
        return Trap(self.script, self.moment, self.fits, self.skip)


@dataclass
class _Passed:
    script: str
    trap: Trap | None
    first: bytes = b""


class StoreRelay(Relay):
    """Speaks RESP well enough to know which script passes."""

    def __init__(self, upstream: Address) -> None:
        super().__init__(upstream)
        self.trap: Trap | None = None
        self.scripts: dict[str, int] = {}
        self.fences: list[tuple[bytes, int]] = []
        self._names = digests()

    def set(self, trap: Trap) -> Trap:
        """Set a trap in place of another."""
        self.drop()
        self.trap = trap
        return trap

    async def let_go(self, seconds: float = 5) -> bytes:
        """The held request goes on to the store after all; what the store says to it."""
        trap = self.trap
        assert trap is not None
        trap.forward = True
        trap.answer = asyncio.get_running_loop().create_future()
        trap.gone.set()
        return await asyncio.wait_for(trap.answer, seconds)

    def drop(self) -> None:
        """What is held is lost with its connection."""
        if self.trap is not None:
            self.trap.gone.set()
            self.trap = None

    def directions(self, near: Ends, far: Ends) -> tuple[Direction, Direction]:
        """Both ways of one connection, with what has passed on it in between."""
        passed: deque[_Passed] = deque()
        return self._requests(near[0], far[1], passed), self._answers(far[0], near[1], passed)

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passed: deque[_Passed],
    ) -> None:
        while True:
            raw, words = await read_request(reader)
            if words and words[0].upper() in LISTENING:
                passed.append(_Passed("listening", None))
                await self.put(writer, raw)
                await self.up(reader, writer)
                return
            script = self._script(words)
            trap = self._trap_for(script, words)
            if trap is not None and trap.moment == "before":
                trap.caught.set()
                await trap.gone.wait()
                if not trap.forward:
                    raise ConnectionAbortedError
            passed.append(_Passed(script, trap, words[3] if script else b""))
            await self.put(writer, raw)

    def _note_fence(self, about: _Passed, raw: bytes) -> None:
        """Which fence an owner was given for which line."""
        given = _GIVEN.match(raw) if about.script == "acquire" else None
        if given and int(given[1]):
            self.fences.append((about.first, int(given[1])))

    def _script(self, words: Arguments) -> str:
        command = words[0].upper() if words else b""
        if command == b"EVAL":  # the store did not know the script by its digest
            digest = hashlib.sha1(words[1], usedforsecurity=False).hexdigest()
            return self._names.get(digest.encode(), "?")
        if command != b"EVALSHA":
            return ""
        script = self._names.get(words[1].lower(), "?")
        self.scripts[script] = self.scripts.get(script, 0) + 1
        return script

    def _trap_for(self, script: str, words: Arguments) -> Trap | None:
        trap = self.trap
        return trap if script and trap is not None and trap.takes(script, words) else None

    async def _answers(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passed: deque[_Passed],
    ) -> None:
        while True:
            raw = await read_answer(reader)
            if not raw.startswith(b">"):
                about = passed.popleft()
                if about.script == "listening":
                    await self.put(writer, raw)
                    await self.down(reader, writer)
                    return
                self._note_fence(about, raw)
                trap = about.trap
                if trap is not None and trap.forward:
                    if trap.answer is not None and not trap.answer.done():
                        trap.answer.set_result(raw)
                elif trap is not None:
                    if raw.startswith(b"-NOSCRIPT"):
                        trap.skip += 1
                    else:
                        trap.caught.set()
                        await trap.gone.wait()
                        raise ConnectionAbortedError
            await self.put(writer, raw, answer=True)


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, list[bytes]]:
    """One request: its bytes, and its words."""
    line = await reader.readuntil(b"\r\n")
    if not line.startswith(b"*"):
        return line, line.split()
    raw, words = [line], []
    for _ in range(int(line[1:])):
        head = await reader.readuntil(b"\r\n")
        body = await reader.readexactly(int(head[1:]) + 2)
        raw += [head, body]
        words.append(body[:-2])
    return b"".join(raw), words


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """One answer, of the second or third version of the protocol."""
    line = await reader.readuntil(b"\r\n")
    kind = line[:1]
    if kind in (b"$", b"=", b"!"):
        count = int(line[1:])
        return line if count < 0 else line + await reader.readexactly(count + 2)
    if kind in (b"*", b"~", b">", b"%", b"|"):
        count = int(line[1:]) * (2 if kind in (b"%", b"|") else 1)
        items = [await read_answer(reader) for _ in range(max(count, 0))]
        whole = line + b"".join(items)
        return whole + await read_answer(reader) if kind == b"|" else whole
    return line
