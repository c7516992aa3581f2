"""The ground that faults are tried on: both simulators, a store, hosts, and wires between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bench.proof.nursery import Forked, Nursery
from bench.proof.relay import Place, Relay, TelegramRelay
from bench.proof.store_relay import StoreRelay
from bench.proof.valkey import Valkey
from bench.proof.voice import Voice
from registry.binding import token_hash
from simulators.http_server import serving
from simulators.messages.routes import app as messages_app
from simulators.messages.sim import MessagesSim
from simulators.telegram.people import Bot
from simulators.telegram.refusals import RefusedError
from simulators.telegram.routes import application
from simulators.telegram.world import World

ROOT = Path(__file__).parents[2]
COUNTER = Path(__file__).with_name("counter.py")
AGENT = "echo"


class Ground:
    """Simulators and store of one trial; hosts are made on it."""

    def __init__(
        self, folder: Path, seed: int, valkey: Valkey, nursery: Nursery | None = None
    ) -> None:
        self.folder = folder
        self.world = World()
        self.voice = Voice(seed)
        self.sim = MessagesSim(self.voice, keep=50)
        self.valkey = valkey
        self.bots: list[Bot] = []
        self.hosts: list[HostProcess] = []
        self.telegram_url = self.messages_url = ""
        self.count_file = folder / "counted"
        self.manner = ""
        self.nursery = nursery
        self._own_nursery: Nursery | None = None

    def add_bots(self, count: int) -> None:
        """Bots that one agent answers for."""
        for _ in range(count):
            number = 7_000_001 + len(self.bots)
            token = f"{number}:AAproof{number:028d}"
            self.bots.append(self.world.bot(token, f"Bot {number}", f"proof_{number}_bot"))

    def write_agents(self, **agent: Any) -> Path:
        """agents.json with the one agent."""
        counter = {
            "command": sys.executable,
            "args": ["-I", "-S", str(COUNTER), str(self.count_file), self.manner],
            "repeatable": ["look"],
        }
        definition = {
            "id": AGENT,
            "name": "Echo",
            "mcpServerEndpoints": [],
            "mcpServers": ["counter"],
            "whitelistPatterns": ["mcp:counter:*"],
            "toolPolicy": {"approvers": ["asker"]},
            "customInstructions": "Say again what you are told.",
        }
        bindings = [
            {"agentId": AGENT, "type": "TelegramBot", "bindingKey": token_hash(bot.token)}
            for bot in self.bots
        ]
        document = {
            "agents": [definition | agent],
            "bindings": bindings,
            "mcpServers": {"counter": counter},
        }
        path = self.folder / "agents.json"
        path.write_text(json.dumps(document, indent=1))
        return path

    async def host(self, name: str = "one", **more: str) -> HostProcess:
        """A replica with wires of its own; not started yet."""
        host = HostProcess(self, name, more)
        await host.wire()
        self.hosts.append(host)
        return host

    def counted(self) -> dict[str, int]:
        """How often each run left a line: `tool word`."""
        found: dict[str, int] = {}
        if self.count_file.exists():
            for line in self.count_file.read_text().splitlines():
                found[line] = found.get(line, 0) + 1
        return found

    async def fork_hosts(self) -> None:
        """From now on hosts are forked from a process that has loaded the libraries already."""
        if self.nursery is None:
            self.nursery = self._own_nursery = Nursery()
            await self.nursery.start(str(ROOT))

    async def close(self) -> None:
        """End what hosts were forked from, unless others fork from it too."""
        if self._own_nursery is not None:
            await self._own_nursery.stop()

    def let_go_of_polls(self) -> None:
        """Polls of a dead host end, as a connection that is gone ends them."""
        for bot in self.bots:
            if bot.updates.polled:
                bot.updates.interrupt(RefusedError(409, "Conflict: the other end is gone"))


class HostProcess:
    """`python -m bot run` with its own wires to Telegram, model and store."""

    def __init__(self, ground: Ground, name: str, more: Mapping[str, str]) -> None:
        self._ground = ground
        self.name = name
        self._more = more
        self.telegram = TelegramRelay(_place(ground.telegram_url))
        self.messages = Relay(_place(ground.messages_url))
        self.store = StoreRelay(ground.valkey.socket)
        self.process: asyncio.subprocess.Process | Forked | None = None
        self.folder = ground.folder / name
        self.log = ground.folder / f"{name}.log"
        self.began = 0.0
        self._logged = 0

    async def wire(self) -> None:
        """Open the wires."""
        self.folder.mkdir(exist_ok=True)
        await self.telegram.open()
        await self.messages.open()
        await self.store.open(str(self._ground.folder / f"{self.name}.s"))

    def environ(self) -> dict[str, str]:
        """The environment of the process."""
        ground = self._ground
        agents = ground.folder / "agents.json"
        variables = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "AGENTS_FILE": str(agents if agents.exists() else ground.write_agents()),
            "DATA_DIR": str(self.folder / "data"),
            "REPLICA_NAME": self.name,
            "REDIS_URL": self.store.url,
            "TELEGRAM_API_URL": self.telegram.url,
            "ANTHROPIC_BASE_URL": self.messages.url,
            "ANTHROPIC_API_KEY": "sk-ant-key-of-the-proof",
            "HTTP_PORT": "0",
            "ACCESS": "open",
            "LEASE_SECONDS": "3",
            "POLL_SECONDS": "2",
            "LIMITS__REQUESTSPERMINUTE": "100000",  # people of a trial write without pause
            "LLM__MODEL": "claude-haiku-5-5",
        }
        variables |= {f"BOTS__{n}__TOKEN": bot.token for n, bot in enumerate(ground.bots)}
        merged = {**variables, **self._more}
        return {name: value for name, value in merged.items() if value}

    async def spawn(self) -> None:
        """Start it, without waiting for anything."""
        self._logged = len(self._log())
        if self._ground.nursery is not None and "LD_PRELOAD" not in self._more:
            self.began = time.monotonic()
            place, log_file = str(self.folder), str(self.log)
            self.process = await self._ground.nursery.fork(place, log_file, self.environ())
            return
        with self.log.open("ab") as log:
            self.began = time.monotonic()
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bot",
                "run",
                cwd=self.folder,
                env=self.environ(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def start(self, seconds: float = 30) -> float:
        """Start it, and wait until every bot is asked for; the seconds that this took."""
        await self.spawn()
        return await self.polling(seconds=seconds)

    async def polling(self, seconds: float = 30) -> float:
        """Wait until this process has asked for every bot's updates; seconds since its start."""
        assert self.process is not None
        bots = [bot.id for bot in self._ground.bots]
        asked = asyncio.create_task(self.telegram.polled(bots, self.began, seconds))
        ended = asyncio.create_task(self.process.wait())
        await asyncio.wait({asked, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if asked.done():
            return asked.result()
        asked.cancel()
        raise RuntimeError(f"host {self.name} ended by itself: {self.last_words()}")

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self.process is not None and self.process.returncode is None

    def signal(self, number: int) -> None:
        """A signal to the process."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def kill(self) -> None:
        """kill -9; what its wires held is lost with it."""
        if self.process is None:
            return
        self.signal(signal.SIGKILL)
        await self.process.wait()
        self.store.drop()
        self._ground.let_go_of_polls()

    async def terminate(self, seconds: float = 40) -> int:
        """SIGTERM, and the exit status."""
        assert self.process is not None
        self.signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def health(self) -> tuple[int, dict[str, Any]]:
        """What it says of itself; the address is in its log."""
        found = [w for w in self.log.read_text().replace('"', " ").split() if "/health" in w]
        url = found[-1].partition("=")[2] or found[-1]
        async with aiohttp.ClientSession() as session, session.get(_plain(url)) as response:
            return response.status, await response.json()

    def has_started(self) -> bool:
        """Whether it has said so since it was spawned last."""
        return "started" in self._log()[self._logged :]

    def last_words(self) -> str:
        """The end of its log."""
        return self._log()[-600:]

    def _log(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    async def end(self) -> None:
        """Nothing of it is left."""
        if self.running:
            self.signal(signal.SIGCONT)
            await self.kill()
        for relay in (self.telegram, self.messages, self.store):
            await relay.close()


def _place(url: str) -> Place:
    parts = urlsplit(url)
    return (parts.hostname or "127.0.0.1", parts.port or 0)


def _plain(text: str) -> str:
    """A URL without the colours that a console log may have put around it."""
    return text[text.index("http") :].split("\x1b")[0]


@contextlib.asynccontextmanager
async def ground(
    folder: Path,
    seed: int,
    bots: int = 2,
    valkey: Valkey | None = None,
    nursery: Nursery | None = None,
) -> AsyncIterator[Ground]:
    """A ground with simulators on loopback and a store that runs; all ended afterwards."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    place = Ground(folder, seed, valkey or Valkey(folder / "store"), nursery)
    place.add_bots(bots)
    async with (
        serving(application(place.world)) as telegram_url,
        serving(messages_app(place.sim)) as messages_url,
    ):
        place.telegram_url, place.messages_url = telegram_url, messages_url
        await place.valkey.start()
        try:
            yield place
        finally:
            for host in place.hosts:
                await host.end()
            await place.close()
            place.valkey.free_disk()
            await place.valkey.kill()
            place.sim.close()
            place.world.close()
