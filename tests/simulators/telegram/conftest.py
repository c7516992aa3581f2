from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from simulators.http_server import serving
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from simulators.telegram.routes import application
from simulators.telegram.world import World

TOKEN = "7001:secret-of-the-first"


class Clock:
    """Seconds since 1970 that pass when the test says so."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Refused(Exception):
    """A call that was answered with ok=false."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        super().__init__(body["description"])
        self.status = status
        self.words: str = body["description"]
        self.parameters = body.get("parameters", {})
        self.headers = headers


@dataclass
class Api:
    """A world served over HTTP, with one bot, one person and their chat."""

    world: World
    url: str
    http: aiohttp.ClientSession
    bot: Bot
    ann: Person
    chat: Room
    token: str = TOKEN
    clock: Clock = field(default_factory=Clock)

    async def call(self, method: str, /, **params: Any) -> Any:
        """The result of a call with a JSON body, by another bot's `token` if given."""
        url = f"{self.url}/bot{params.pop('token', self.token)}/{method}"
        async with self.http.post(url, json=params) as response:
            return _result(response, await response.json())

    async def refused(self, method: str, /, **params: Any) -> str:
        """The words with which a call is refused."""
        with pytest.raises(Refused) as refusal:
            await self.call(method, **params)
        return refusal.value.words

    async def updates(self, **params: Any) -> list[dict[str, Any]]:
        """The waiting updates, confirmed."""
        found = await self.call("getUpdates", **params)
        if found:
            await self.call("getUpdates", offset=found[-1]["update_id"] + 1, limit=1)
        return list(found)

    async def control(self, act: str, **order: Any) -> Any:
        """The answer of a control act, which must be taken."""
        async with self.http.post(f"{self.url}/control/{act}", json=order) as response:
            body = await response.json()
            assert response.status == 200, body
            return body


def _result(response: aiohttp.ClientResponse, body: dict[str, Any]) -> Any:
    if not body["ok"]:
        assert body["error_code"] == response.status
        raise Refused(response.status, body, dict(response.headers))
    assert response.status == 200
    return body["result"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(clock: Clock) -> Iterator[World]:
    world = World(clock)
    yield world
    world.close()


@pytest.fixture
async def api(world: World, clock: Clock) -> AsyncIterator[Api]:
    bot = world.bot(TOKEN, "First", "first_bot")
    ann = world.person("Ann", username="ann")
    chat = world.private(ann, bot)
    async with serving(application(world)) as url, aiohttp.ClientSession() as http:
        yield Api(world, url, http, bot, ann, chat, clock=clock)
