"""One trial: simulators, a store, hosts with breakable wires, people, and the judgement."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bench.host import COMMAND, ROOT, fork_server, host_environ
from bench.proof.crowd import Crowd, Sent
from bench.proof.echo_model import AGENT, EchoModel
from bench.proof.judge import judge
from bench.proof.relay import Address, Relay, TelegramRelay
from bench.proof.result import Result
from bench.proof.store_relay import StoreRelay
from registry.binding import token_hash
from simulators.messages.sim import MessagesSim
from simulators.telegram.people import Bot
from simulators.telegram.refusals import RefusedError
from simulators.testing import processes
from simulators.testing.stage import Stage, simulators_of
from simulators.testing.valkey import Valkey

COUNTER = Path(__file__).with_name("counter.py")


@dataclass(frozen=True, slots=True)
class Run:
    """How a row is tried; `short` is the version of the test suite, whose hosts are all forked."""

    folder: Path
    seed: int
    short: bool = True
    kills: int = 300
    at_each: int = 20

    def pick(self, short: int, full: int) -> int:
        """A count for the short or the full version."""
        return short if self.short else full

    def with_seed(self, more: int) -> Run:
        """The same with another seed, for one of several workers."""
        return replace(self, seed=self.seed + more)


class Trial:
    """The parts of one trial; `result` collects what is found on the way."""

    def __init__(self, folder: Path, run: Run, bots: int, valkey: Valkey, *, forked: bool) -> None:
        self.folder = folder
        self.run = run
        self.model = EchoModel(run.seed)
        self.stage = Stage(folder, _no_host, MessagesSim(self.model, keep=50))
        self.world, self.sim = self.stage.world, self.stage.sim
        self.bots: list[Bot] = [self.stage.add_bot(f"Bot{n}") for n in range(bots)]
        self.valkey = valkey
        self.hosts: list[HostProcess] = []
        self.crowd = Crowd(self.world, self.bots, run.seed)
        self.result = Result()
        self.count_file = folder / "counted"
        self.tool_mode = ""
        self.forked = forked

    def write_agents(self, **agent: Any) -> Path:
        """Writes agents.json with the one agent, which all bots are bound to."""
        definition = {
            "id": AGENT,
            "name": "Echo",
            "mcpServerEndpoints": [],
            "mcpServers": ["counter"],
            "whitelistPatterns": ["mcp:counter:*"],
            "toolPolicy": {"approvers": ["asker"]},
            "customInstructions": "Say again what you are told.",
        }
        return self.write_document([definition | agent], {bot.id: AGENT for bot in self.bots})

    def write_document(
        self, agents: list[dict[str, Any]], agent_of: Mapping[int, str], *repeatable: str
    ) -> Path:
        """Writes agents.json with these agents and the counter of tool calls as MCP server."""
        counter = {
            "command": sys.executable,
            "args": ["-I", "-S", str(COUNTER), str(self.count_file), self.tool_mode],
            "repeatable": ["look", *repeatable],
        }
        tokens = {bot.id: token_hash(bot.token) for bot in self.bots}
        bindings = [
            {"agentId": agent, "type": "TelegramBot", "bindingKey": tokens[bot]}
            for bot, agent in agent_of.items()
        ]
        document = {"agents": agents, "bindings": bindings, "mcpServers": {"counter": counter}}
        path = self.folder / "agents.json"
        path.write_text(json.dumps(document, indent=1))
        return path

    async def host(self, name: str = "one", **settings: str) -> HostProcess:
        """A replica with wires of its own; not started yet."""
        host = HostProcess(self, name, settings)
        await host.open_wires()
        self.hosts.append(host)
        return host

    async def started_host(self, name: str = "one", **settings: str) -> HostProcess:
        """A replica with wires of its own, once it polls for every bot."""
        host = await self.host(name, **settings)
        await host.start()
        return host

    def tool_runs(self) -> dict[str, int]:
        """How often each tool ran with each word: `tool word` → count."""
        found: dict[str, int] = {}
        if self.count_file.exists():
            for line in self.count_file.read_text().splitlines():
                found[line] = found.get(line, 0) + 1
        return found

    def end_polls(self) -> None:
        """Ends the polls of a dead host, as its closed connections would."""
        for bot in self.bots:
            if bot.updates.polled:
                bot.updates.interrupt(RefusedError(409, "Conflict: the other end is gone"))

    async def judged(self, among: list[Sent] | None = None) -> Result:
        """The result once all is answered, or nothing more comes."""
        await self.crowd.answered(among=among)
        await self.emptied()
        return self.result.add(await self.judge(self.crowd.open(among)))

    async def judge(self, left: list[Sent]) -> Result:
        """What the judge says of all that was written; `left` was never answered."""
        async with self.valkey.client() as store:
            return await judge(self.crowd.sent, left, self.tool_runs(), self.bots, store)

    async def emptied(self, seconds: float = 5) -> None:
        """Waits until inboxes and outboxes are empty, or the time is over."""
        deadline = time.monotonic() + seconds
        async with self.valkey.client() as store:
            while time.monotonic() < deadline:
                lengths = [
                    await store.xlen(f"{{bot:{bot.id}}}:{box}")
                    for bot in self.bots
                    for box in ("inbox", "outbox")
                ]
                if not any(lengths):
                    return
                await asyncio.sleep(0.05)


class HostProcess(processes.HostProcess):
    """`python -m bot run` with wires of its own to Telegram, the model and the store."""

    def __init__(self, trial: Trial, name: str, settings: Mapping[str, str]) -> None:
        folder = trial.folder / name
        forked = trial.forked and "LD_PRELOAD" not in settings
        super().__init__(
            COMMAND,
            folder=folder,
            log=trial.folder / f"{name}.log",
            environ={},
            fork_server=fork_server() if forked else None,
        )
        self.name = name
        self.telegram = TelegramRelay(_address(trial.stage.telegram_url))
        self.messages = Relay(_address(trial.stage.messages_url))
        self.store = StoreRelay(trial.valkey.socket)
        self.started_at = 0.0
        self._trial = trial
        self._settings = settings

    async def open_wires(self) -> None:
        """Opens the wires."""
        self.folder.mkdir(exist_ok=True)
        await self.telegram.open()
        await self.messages.open()
        await self.store.open(str(self._trial.folder / f"{self.name}.s"))

    async def spawn(self, *, by_command: bool = False) -> None:
        """Starts it without waiting for anything."""
        agents = self._trial.folder / "agents.json"
        environ = host_environ(
            (bot.token for bot in self._trial.bots),
            agents=agents if agents.exists() else self._trial.write_agents(),
            data=self.folder / "data",
            telegram_url=self.telegram.url,
            messages_url=self.messages.url,
        )
        environ |= {
            "REPLICA_NAME": self.name,
            "REDIS_URL": self.store.url,
            "LEASE_SECONDS": "3",
            "POLL_SECONDS": "2",
            "LIMITS__REQUESTSPERMINUTE": "100000",  # people of a trial write without pause
        }
        environ |= self._settings
        self.environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        self.environ |= {name: value for name, value in environ.items() if value}
        self.started_at = time.monotonic()
        await super().spawn(by_command=by_command)

    async def start(self, seconds: float = 30) -> float:
        """Starts it and waits until it has polled for every bot; the seconds that this took."""
        await self.spawn()
        bots = [bot.id for bot in self._trial.bots]
        polled = asyncio.create_task(self.telegram.polled(bots, self.started_at, seconds))
        ended = asyncio.create_task(self.wait(seconds + 5))
        await asyncio.wait({polled, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if polled.done():
            return polled.result()
        polled.cancel()
        raise RuntimeError(f"host {self.name} ended by itself: {self.last_words()}")

    async def kill(self) -> None:
        """kill -9; what its wires held is lost with it."""
        if self.process is not None:
            await super().kill()
            self.store.drop()
            self._trial.end_polls()

    async def health(self) -> tuple[int, dict[str, Any]]:
        """The status and the report of its health page."""
        url = f"{self.address}/health"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, await response.json()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log_text()[-600:]

    async def close(self) -> None:
        """Ends it, whatever state it is in, and closes its wires."""
        if self.alive:
            self.send(signal.SIGCONT)
            await self.kill()
        for relay in (self.telegram, self.messages, self.store):
            await relay.close()

    def resident(self) -> float:
        """Resident memory in MB."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0


def _address(url: str) -> Address:
    parts = urlsplit(url)
    return (parts.hostname or "127.0.0.1", parts.port or 0)


def _no_host(_: Mapping[str, str]) -> contextlib.AbstractAsyncContextManager[None]:
    raise NotImplementedError("hosts of a trial are processes")


@contextlib.asynccontextmanager
async def trial(
    run: Run, name: str, bots: int = 2, valkey: Valkey | None = None, *, forked: bool | None = None
) -> AsyncIterator[Trial]:
    """A trial in a folder of its own, whose store runs; everything is ended afterwards.

    Hosts are forked where `forked` says so, by default in the short version.
    """
    folder = run.folder / name
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    valkey = valkey or Valkey(folder / "store")
    forked = run.short if forked is None else forked
    made = Trial(folder, run, bots, valkey, forked=forked)
    async with simulators_of(made.stage):
        await valkey.start()
        try:
            yield made
        finally:
            for host in made.hosts:
                await host.close()
            valkey.free_disk()
            await valkey.kill()


@contextlib.asynccontextmanager
async def chatting(crowd: Crowd, every: float = 0.1) -> AsyncIterator[None]:
    """People keep writing while the block runs."""
    people = crowd.join(8)

    async def talk() -> None:
        while True:
            crowd.say(crowd.chance.choice(people))
            await asyncio.sleep(every * crowd.chance.uniform(0.5, 1.5))

    task = asyncio.create_task(talk())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
