"""Fixtures for tests of bots: `pytest_plugins = ["simulators.pytest_plugin"]`.

Needs pytest-asyncio. Both simulators run in the test's own event loop, so a test may use a world
and a script directly, while its bot speaks to them over HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest_asyncio

from simulators.http_server import serving
from simulators.messages.routes import app
from simulators.messages.sim import MessagesSim
from simulators.telegram.routes import application
from simulators.telegram.world import World


@dataclass(frozen=True, slots=True)
class TelegramSandbox:
    """A Bot API at `url`, and the world behind it."""

    url: str
    world: World


@dataclass(frozen=True, slots=True)
class MessagesSandbox:
    """A Messages API at `url`; `sim.script` says what it answers."""

    url: str
    sim: MessagesSim


@pytest_asyncio.fixture
async def telegram_sandbox() -> AsyncIterator[TelegramSandbox]:
    """A Bot API whose world is empty."""
    world = World()
    async with serving(application(world)) as url:
        yield TelegramSandbox(url, world)
        world.close()


@pytest_asyncio.fixture
async def messages_sandbox() -> AsyncIterator[MessagesSandbox]:
    """A Messages API that answers by the demo script, at once."""
    sim = MessagesSim()
    async with serving(app(sim)) as url:
        yield MessagesSandbox(url, sim)
        sim.close()
