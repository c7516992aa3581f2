"""The stage of our tests: agents for its bots, and hosts in this process or in one of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from bench.host import COMMAND, ROOT, fork_server, host_environ
from bot.app import App
from bot.settings import Settings
from registry.binding import token_hash
from simulators.telegram.people import Bot
from simulators.testing import processes
from simulators.testing import stage as kit
from simulators.testing.stage import processes_in, simulators_of, until

__all__ = [
    "CLOCK_SERVER",
    "ROOT",
    "TIME_SERVER",
    "HostProcess",
    "Stage",
    "command",
    "health",
    "lockers_in",
    "processes_in",
    "settings_of",
    "staged",
    "until",
]

TIME_SERVER = {
    "command": str(Path(sys.executable).parent / "mcp-server-time"),
    "args": ["--local-timezone", "UTC"],
}


CLOCK_SERVER = {
    "command": sys.executable,
    "args": ["-I", "-S", str(ROOT / "tests" / "mcp" / "servers" / "clock.py")],
}
"""Tools like those of `TIME_SERVER`, without the second that it takes to start."""


class Stage(kit.Stage[App]):
    """Bots with agents, and hosts for them.

    The bots of a stage are open to everybody, and who asks approves: tests of who may talk, and of
    the defaults, say otherwise.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, host_in_process)
        self.agents: dict[str, Any] = {"agents": [], "bindings": [], "mcpServers": {}}
        self.environ: dict[str, str] = {}

    def bot(self, name: str = "Echo", **agent: Any) -> Bot:
        """A bot, and an agent of that name bound to it by its token's hash."""
        return self._bind(self.add_bot(name), name, **agent)

    def adopt(self, bot: Bot, name: str, **agent: Any) -> Bot:
        """The same for a bot that the world has already."""
        self.bots.append(bot)
        return self._bind(bot, name, **agent)

    def _bind(self, bot: Bot, name: str, **agent: Any) -> Bot:
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

    def write_agents(self) -> Path:
        """Writes agents.json as it is now."""
        path = self.folder / "agents.json"
        path.write_text(json.dumps(self.agents, indent=1))
        return path

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of a host on this stage."""
        environ = host_environ(
            (bot.token for bot in self.bots),
            agents=self.write_agents(),
            data=self.folder / "data",
            telegram_url=self.telegram_url,
            messages_url=self.messages_url,
        )
        return {**environ, "LEASE_SECONDS": "3", **self.environ, **more}

    @contextlib.asynccontextmanager
    async def host(self, **more: str) -> AsyncIterator[App]:
        """A host in this process."""
        async with self.run_host(self.variables(**more)) as host:
            yield host

    async def process(self, **more: str) -> HostProcess:
        """A host as a process of its own."""
        host = HostProcess(self, self.variables(**more))
        await host.start()
        return host


@contextlib.asynccontextmanager
async def host_in_process(environ: Mapping[str, str]) -> AsyncIterator[App]:
    """A host in this process, for as long as the block lasts."""
    async with App(settings_of(environ)) as host:
        running = asyncio.create_task(host.fleet.run())
        try:
            yield host
        finally:
            host.fleet.shutdown()
            await asyncio.wait_for(running, 30)


class HostProcess(processes.HostProcess):
    """`switchboard run` as a process; its log is in the stage's folder."""

    def __init__(self, stage: Stage, environ: Mapping[str, str], log: str = "host.log") -> None:
        complete = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ}
        super().__init__(
            COMMAND,
            folder=stage.folder,
            log=stage.folder / log,
            environ=complete,
            # With other modules on its path a host cannot be forked from one that has ours.
            fork_server=fork_server() if complete["PYTHONPATH"] == str(ROOT) else None,
        )
        self._stage = stage

    async def start(self) -> None:
        """Starts it, and waits until it polls."""
        await self.spawn()
        await self._stage.polling(self.environ)


async def command(
    folder: Path, environ: Mapping[str, str], *words: str, seconds: float = 60
) -> tuple[int, str]:
    """`switchboard …` in a process of its own: its exit status, and all that it says."""
    log = folder / f"said-{secrets.token_hex(4)}"
    complete = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ}
    process = await fork_server().fork(folder, log, complete, *words)
    try:
        status = await asyncio.wait_for(process.wait(), seconds)
    finally:
        process.send_signal(signal.SIGKILL)
    said = log.read_text("utf-8")
    log.unlink()
    return status, said


def settings_of(environ: Mapping[str, str]) -> Settings:
    """Settings from these variables alone, as the environment would give them."""
    before = dict(os.environ)
    os.environ.update(environ)
    try:
        return Settings(_env_file=None)
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """A stage with both simulators on loopback."""
    stage = Stage(folder)
    async with simulators_of(stage, lambda path: {*processes_in(path), *lockers_in(path)}):
        yield stage


def lockers_in(folder: Path) -> list[int]:
    """Hosts and sandboxes whose locks are in a folder: most users see no more than this of them."""
    names = ("host.lock", "sandbox.lock")
    locks = {path.stat().st_ino for name in names for path in folder.rglob(name)}
    rows = (line.split() for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines())
    held = [(int(row[4]), int(row[5].rpartition(":")[2])) for row in rows if row[1] == "FLOCK"]
    return [pid for pid, inode in held if inode in locks and pid not in (-1, os.getpid())]


async def health(url: str) -> tuple[int, dict[str, Any]]:
    """The status and the report of a host's health page."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as response:
        return response.status, await response.json()
