"""A person's chat with a bot whose host runs: what most tests of the host begin with."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from bot.app import App
from simulators.messages.gates import Gates
from simulators.messages.script import Scripted
from simulators.telegram.world import World
from simulators.testing.stage import PATIENCE, Chat, until
from tests.host.stage import CLOCK_SERVER, Stage

CLOCK = pytest.mark.chat(
    name="Clock",
    servers={"time": CLOCK_SERVER},
    mcpServers=["time"],
    whitelistPatterns=["mcp:time:*"],
)
"""Marks a test whose bot asks an MCP server for the time."""


@dataclass(frozen=True, slots=True)
class HostChat(Chat):
    """A chat, with the host behind it."""

    stage: Stage
    host: App

    @property
    def script(self) -> Scripted:
        """What the model answers."""
        return self.stage.script

    @property
    def gates(self) -> Gates:
        """Where answers of the model wait."""
        return self.stage.sim.gates

    @property
    def world(self) -> World:
        """Telegram."""
        return self.stage.world

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Bodies of the model requests so far."""
        return self.stage.requests()

    async def counted(self, counter: str, count: int = 1) -> None:
        """Waits until a counter of the host has reached a number."""
        await until(lambda: self.host.counters[counter] >= count, PATIENCE)

    async def idle(self) -> None:
        """Waits until the bot has nothing to do any more."""
        await self.host.fleet.lines[0].idle()


@contextlib.asynccontextmanager
async def opened_chat(
    stage: Stage,
    name: str = "Echo",
    *,
    environ: Mapping[str, str] | None = None,
    servers: Mapping[str, Any] | None = None,
    **agent: Any,
) -> AsyncIterator[HostChat]:
    """Ann's chat with a new bot and its agent, and a host; MCP servers, if any, are connected."""
    stage.agents["mcpServers"] |= servers or {}
    bot, ann = stage.bot(name, **agent), stage.person("Ann")
    async with stage.host(**(environ or {})) as host:
        if servers:
            await until(lambda: _are_up(host), PATIENCE)
        yield HostChat(stage, bot, ann, stage.world.private(ann, bot), host)


def _are_up(host: App) -> bool:
    """Whether all MCP servers that the host has are connected; it has some."""
    states = [server["state"] for server in host.report()["servers"]]
    return bool(states) and set(states) == {"up"}
