"""`switchboard sandbox` as a process, spoken to over HTTP: for tests of the whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp

from bench.host import fork_server
from simulators.testing.processes import ForkedProcess
from tests.host.stage import lockers_in

ROOT = Path(__file__).resolve().parents[2]
ANN, BEN = 5_000_001, 5_000_002
MERIDIAN, QUILL, OPERATOR = 7_000_001, 7_000_002, 7_000_003
CONCIERGE, ALMANAC = 7_000_004, 7_000_005
TOKENS = {
    MERIDIAN: "7000001:sandbox-token-of-meridian",
    QUILL: "7000002:sandbox-token-of-quill",
    OPERATOR: "7000003:sandbox-token-of-operator",
    CONCIERGE: "7000004:sandbox-token-of-concierge",
    ALMANAC: "7000005:sandbox-token-of-almanac",
}
WITHOUT_TOOLS = {
    "agents": [{"id": "operator", "name": "Operator", "mcpServers": []}],
    "defaultAgentId": "operator",
}
_HOST = re.compile(r"with a page:  (http://127\.0\.0\.1:\d+)")
_URL = re.compile(r"(?:is open:  |answers at )(http://127\.0\.0\.1:\d+)")


class Sandbox:
    """One sandbox in a folder of its own; `url` is known once it is open.

    It is forked from a process that has loaded all, unless it is started `by_command`.
    """

    def __init__(
        self, folder: Path, *flags: str, by_command: bool = False, **variables: str
    ) -> None:
        self.folder = folder
        self.url = ""
        self._flags = flags
        self._environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            **variables,
        }
        self._by_command = by_command
        self._log = folder / f"said-{secrets.token_hex(4)}"
        self._process: asyncio.subprocess.Process | ForkedProcess | None = None
        self._http: aiohttp.ClientSession | None = None

    async def start(self, *flags: str, until: str = "Ctrl-C") -> None:
        """Start it, and return once it has said that it is open."""
        port = ("--port", "0") if "--port" not in flags else ()
        words = ("sandbox", "--no-open", *port, *self._flags, *flags)
        self._log.write_text("")
        self._process = await self._started(words)
        async with asyncio.timeout(90):
            while until not in self.said:
                ended = self._process.returncode is not None
                assert not ended or until in self.said, f"it ended: {self.said}"
                await asyncio.sleep(0.02)
        self.url = _URL.findall(self.said)[-1]

    async def _started(self, words: Sequence[str]) -> asyncio.subprocess.Process | ForkedProcess:
        if not self._by_command:
            return await fork_server().fork(
                self.folder, self._log, self._environ, *words, entry="tests.sandbox.forked:main"
            )
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                Path(sys.executable).with_name("switchboard"),
                *words,
                cwd=self.folder,
                env=self._environ,
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        """All that it has said since it was last started."""
        return self._log.read_text("utf-8")

    @property
    def process(self) -> asyncio.subprocess.Process | ForkedProcess:
        """The running process."""
        assert self._process is not None
        return self._process

    async def ended(self, seconds: float = 60) -> int:
        """Its exit status; what it said at last is in `said`."""
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """A signal, and its exit status."""
        self.process.send_signal(number)
        return await self.ended(seconds)

    async def kill(self) -> None:
        """Kill -9 of the sandbox alone."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def get(self, path: str) -> Any:
        """A GET of the control API."""
        async with self._session().get(self.url + path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, path: str, **body: Any) -> Any:
        """A POST of the control API; AssertionError with its words where it is refused."""
        async with self._session().post(self.url + path, json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def settled(self, seconds: float = 60) -> None:
        """Return once the host has receipted all that people said."""
        url = _HOST.findall(self.said)[-1] + "/health"
        async with asyncio.timeout(seconds):
            while True:
                async with self._session().get(url) as response:
                    bots = (await response.json())["bots"]
                if all(bot["backlog"] == 0 for bot in bots):
                    return
                await asyncio.sleep(0.02)

    async def say(self, room: str, text: str, person: int = ANN, **more: Any) -> int:
        """A person says something; the message's id."""
        said = await self.post("/control/say", person=person, room=room, text=text, **more)
        return int(said["message"]["message_id"])

    async def answer(self, room: str, part: str, after: int = 0, seconds: float = 60) -> str:
        """The first text of a bot with `part` in it, in a message after another."""
        order = {"room": room, "text": part, "after": after, "timeout": seconds}
        found = await self.post("/control/wait", **order)
        return str(found["message"]["text"])

    async def ask(self, room: str, text: str, part: str, person: int = ANN) -> str:
        """An answer with `part` in it; asked again while a loaded machine still starts tools."""
        answer = ""
        for _ in range(3):
            mark = await self.say(room, text, person)
            answer = await self.answer(room, "", after=mark)
            if part in answer:
                break
        return answer

    async def texts(self, room: str, bot: int) -> list[str]:
        """What a bot has said in a room."""
        items = await self.get(f"/control/messages?room={room}")
        messages = [item["message"] for item in items]
        return [m.get("text", "") for m in messages if m.get("from", {}).get("id") == bot]

    async def events(self, path: str, seconds: float) -> AsyncGenerator[tuple[str, Any]]:
        """Kind and data of each event of a stream; TimeoutError after so many seconds."""
        async with (
            asyncio.timeout(seconds),
            self._session().get(self.url + path) as response,
        ):
            kind = ""
            async for line in response.content:
                if line.startswith(b"event: "):
                    kind = line[7:].decode().strip()
                elif line.startswith(b"data: "):
                    yield kind, json.loads(line[6:])

    async def hello(self) -> dict[str, Any]:
        """All that the page is told at first."""
        async with aclosing(self.events("/page/stream", 10)) as events:
            return dict((await anext(events))[1])

    async def host(self, fits: Callable[[dict[str, Any]], bool], seconds: float = 60) -> Any:
        """What the page hears of the host, as soon as it fits."""
        async with aclosing(self.events("/page/stream", seconds)) as events:
            async for kind, told in events:
                host = told["host"] if kind == "hello" else told
                if kind in {"hello", "host"} and host is not None and fits(host):
                    return host
        raise AssertionError("the stream ended")

    async def drafted(self, room: str, seconds: float = 60) -> str:
        """The text of an answer that is being written."""
        async with aclosing(self.events("/control/events", seconds)) as events:
            async for kind, told in events:
                if kind == "draft" and told["chat"] == room and told["data"].get("text"):
                    return str(told["data"]["text"])
        raise AssertionError("the stream ended")

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        return self._http

    async def close(self) -> None:
        """Make sure that nothing is left of it."""
        if self._http is not None:
            await self._http.close()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await self.stop()
                return
            await self.kill()


def without_tools(folder: Path) -> Path:
    """The same folder, with one agent in it that has no servers to start."""
    (folder / "agents.json").write_text(json.dumps(WITHOUT_TOOLS))
    return folder


@contextlib.asynccontextmanager
async def sandbox(
    folder: Path, *, by_command: bool = False, **variables: str
) -> AsyncIterator[Sandbox]:
    """An open sandbox; nothing of it runs afterwards."""
    one = Sandbox(folder, by_command=by_command, **variables)
    try:
        await one.start()
        yield one
    finally:
        await one.close()


def processes_in(folder: Path) -> dict[int, str]:
    """Processes that were started in a folder or below it, and what they are."""
    found: dict[int, str] = {}
    lockers = lockers_in(folder)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                inside = int(entry.name) in lockers
                inside = inside or (entry / "cwd").readlink().is_relative_to(folder)
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if inside and command:
                    found[int(entry.name)] = command
    return found
