"""A stage for tests: both simulators over HTTP, and hosts beside them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from bot.app import App
from bot.settings import Settings
from registry.binding import token_hash
from simulators.http_server import serving
from simulators.messages.routes import app as messages_app
from simulators.messages.script import Scripted
from simulators.messages.sim import MessagesSim
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Message, Room
from simulators.telegram.routes import application
from simulators.telegram.world import World
from tests.host.forks import Forked, forks

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TIME_SERVER = {"command": str(BIN / "mcp-server-time"), "args": ["--local-timezone", "UTC"]}


class Stage:
    """Bots, persons and chats; scripts for the model; hosts to run them."""

    def __init__(self, folder: Path, world: World, sim: MessagesSim) -> None:
        self.folder = folder
        self.world = world
        self.sim = sim
        self.script = Scripted()
        sim.script = self.script
        self.telegram_url = ""
        self.messages_url = ""
        self.agents: dict[str, Any] = {"agents": [], "bindings": [], "mcpServers": {}}
        self.environ: dict[str, str] = {}
        self.bots: list[Bot] = []

    # --- setting the stage ---

    def bot(self, name: str = "Echo", **agent: Any) -> Bot:
        """A bot, and an agent of that name bound to it by its token's hash.

        The bots of a stage are open to everybody, and who asks approves: tests of who may talk, and
        of what is so by default, say otherwise.
        """
        number = 7_000_001 + len(self.bots)
        token = f"{number}:AA{secrets.token_hex(16)}"
        bot = self.world.bot(token, name, f"{name.lower()}_{number}_bot")
        return self.adopt(bot, name, **agent)

    def adopt(self, bot: Bot, name: str, **agent: Any) -> Bot:
        """An agent for a bot that was made otherwise."""
        self.bots.append(bot)
        definition = {
            "id": name.lower(),
            "name": name,
            "mcpServerEndpoints": [],
            "mcpServers": [],
            "customInstructions": f"You are {name}.",
        }
        policy = {"approvers": ["asker"], **agent.pop("toolPolicy", {})}
        self.agents["agents"].append(definition | agent | {"toolPolicy": policy})
        binding = {"agentId": name.lower(), "type": "TelegramBot"}
        self.agents["bindings"].append(binding | {"bindingKey": token_hash(bot.token)})
        return bot

    def person(self, name: str = "Ann") -> Person:
        """Somebody who writes."""
        return self.world.person(name)

    def write_agents(self) -> Path:
        """agents.json as it stands now."""
        path = self.folder / "agents.json"
        path.write_text(json.dumps(self.agents, indent=1))
        return path

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of a host on this stage."""
        bots = {f"BOTS__{n}__TOKEN": bot.token for n, bot in enumerate(self.bots)}
        return {
            **bots,
            "AGENTS_FILE": str(self.write_agents()),
            "DATA_DIR": str(self.folder / "data"),
            "TELEGRAM_API_URL": self.telegram_url,
            "ANTHROPIC_BASE_URL": self.messages_url,
            "ANTHROPIC_API_KEY": "sk-ant-test-key-for-the-simulator",
            "HTTP_PORT": "0",
            "LEASE_SECONDS": "3",
            "LLM__MODEL": "claude-haiku-5-5",
            "ACCESS": "open",
            **self.environ,
            **more,
        }

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
        """A Bot API client of somebody else, with one of our tokens."""
        async with aiohttp.ClientSession() as session:

            async def call(method: str, bot: Bot, **params: Any) -> Any:
                url = f"{self.telegram_url}/bot{bot.token}/{method}"
                async with session.post(url, json=params) as response:
                    return await response.json()

            yield call

    # --- hosts ---

    @contextlib.asynccontextmanager
    async def host(self, **more: str) -> AsyncIterator[App]:
        """A host in this process."""
        variables = self.variables(**more)
        settings = settings_of(variables)
        async with App(settings) as host:
            running = asyncio.create_task(host.fleet.run())
            try:
                await self.polling(variables)
                yield host
            finally:
                host.fleet.shutdown()
                await asyncio.wait_for(running, 30)

    async def process(self, **more: str) -> HostProcess:
        """A host as a process of its own."""
        host = HostProcess(self, self.variables(**more))
        await host.start()
        return host

    async def polling(self, variables: Mapping[str, str], seconds: float = 20) -> None:
        """Every bot whose token is still good asks for updates."""
        async with asyncio.timeout(seconds):
            for bot in self.bots:
                if bot.token in variables.values():
                    await bot.updates.wait_until_polled(seconds)

    # --- watching ---

    def texts(self, room: Room, author: int) -> list[str]:
        """What somebody wrote in a room, in order."""
        return [m.text for m in room.messages.values() if m.author == author]

    async def answer(self, room: Room, bot: Bot, count: int = 1, seconds: float = 10) -> Message:
        """The bot's n-th message in a room, once it is there."""

        def there() -> bool:
            return len(self.texts(room, bot.id)) >= count

        await self.world.until(there, seconds)
        return [m for m in room.messages.values() if m.author == bot.id][count - 1]

    async def ask(
        self, person: Person, room: Room, bot: Bot, text: str, seconds: float = 10
    ) -> str:
        """Say something, and wait for the next message of the bot."""
        had = len(self.texts(room, bot.id))
        self.world.say(person, room, text)
        return (await self.answer(room, bot, had + 1, seconds)).text

    def requests(self) -> list[dict[str, Any]]:
        """Bodies of the model requests so far."""
        return [record.body for record in self.sim.records.all()]


class HostProcess:
    """`switchboard run` as a process; its log goes to a file of the stage's folder."""

    def __init__(self, stage: Stage, environ: Mapping[str, str]) -> None:
        self._stage = stage
        self.command = [sys.executable, "-m", "bot", "run"]
        self.environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ}
        self.process: asyncio.subprocess.Process | Forked | None = None
        self.log = stage.folder / "host.log"

    async def start(self) -> None:
        """Start it, and wait until it polls."""
        if self.environ["PYTHONPATH"] == str(ROOT):
            self.process = await forks().fork(self._stage.folder, self.log, self.environ)
        else:
            await self.spawn()  # what a fork has loaded came from elsewhere
        await self._stage.polling(self.environ)

    async def spawn(self) -> None:
        """Start it by its command, as people do, and wait for nothing."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                cwd=self._stage.folder,
                env=self.environ,
                stderr=log,
                stdout=log,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def terminate(self, seconds: float = 30) -> int:
        """SIGTERM, and its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def end(self) -> None:
        """Make sure that nothing of it is left."""
        if self.process is not None and self.process.returncode is None:
            await self.terminate()


def settings_of(variables: Mapping[str, str]) -> Settings:
    """Settings from these variables alone, as the environment would give them."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        return Settings(_env_file=None)
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """A stage with both simulators on loopback."""
    world, sim = World(), MessagesSim()
    stage = Stage(folder, world, sim)
    async with (
        serving(application(world)) as telegram_url,
        serving(messages_app(sim)) as messages_url,
    ):
        stage.telegram_url, stage.messages_url = telegram_url, messages_url
        try:
            yield stage
        finally:
            sim.close()
            world.close()
            # Whatever a failed test has left behind.
            for pid in {*processes_in(folder), *lockers_in(folder)}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def processes_in(folder: Path) -> list[int]:
    """Processes that live in a folder: hosts, bundled stores."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where = (entry / "cwd").readlink()
                dead = " Z " in (entry / "stat").read_text()
            except OSError:
                continue
            if where.is_relative_to(folder) and not dead:
                found.append(int(entry.name))
    return found


def lockers_in(folder: Path) -> list[int]:
    """Hosts and sandboxes whose locks are in a folder: most users see no more than this of them."""
    names = ("host.lock", "sandbox.lock")
    locks = {path.stat().st_ino for name in names for path in folder.rglob(name)}
    rows = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    held = [(int(row[4]), int(row[5].rpartition(":")[2])) for row in rows if row[1] == "FLOCK"]
    return [pid for pid, inode in held if inode in locks and pid not in (-1, os.getpid())]


async def health(url: str) -> tuple[int, dict[str, Any]]:
    """What a host says of itself."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as response:
        return response.status, await response.json()


async def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Look often until something holds: for what no event tells."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
