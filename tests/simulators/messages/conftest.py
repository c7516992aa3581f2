from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic

from simulators.http_server import serving
from simulators.messages.routes import app
from simulators.messages.script import Answer, scripted
from simulators.messages.sim import MessagesSim

CURRENT = "2026-10-21"


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Api:
    """A served simulator, the SDK as its client, and bare HTTP beside it."""

    def __init__(
        self, sim: MessagesSim, clock: Clock, url: str, http: aiohttp.ClientSession
    ) -> None:
        self.sim = sim
        self.clock = clock
        self.url = url
        self.http = http
        self.sdk = AsyncAnthropic(base_url=url, api_key="sk-test-key", max_retries=0)

    def answers(self, *answers: Answer, again: bool = False) -> None:
        self.sim.script = scripted(*answers, again=again)

    async def post(
        self, body: Any, path: str = "/v1/messages", version: str = CURRENT, **headers: str | None
    ) -> tuple[int, Any, Mapping[str, str]]:
        sent = {"x-api-key": "sk-test-key", "anthropic-version": version}
        for name, value in headers.items():
            sent.pop(name.replace("_", "-"), None)
            if value is not None:
                sent[name.replace("_", "-")] = value
        raw = io.BytesIO(body if isinstance(body, bytes) else orjson.dumps(body))
        async with self.http.post(self.url + path, headers=sent, data=raw) as response:
            return response.status, await response.json(), response.headers

    async def control(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        url = f"{self.url}/control/{path}"
        async with self.http.request(method, url, json=body) as response:
            return response.status, await response.json()


@asynccontextmanager
async def opened() -> AsyncIterator[Api]:
    clock = Clock()
    sim = MessagesSim(scripted("Fine.", again=True), clock=clock)
    async with serving(app(sim)) as url, aiohttp.ClientSession() as http:
        one = Api(sim, clock, url, http)
        async with one.sdk:
            yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Api]:
    """One simulator for a module."""
    async with opened() as one:
        yield one


@pytest.fixture
def clock(shared: Api) -> Clock:
    return shared.clock


@pytest.fixture
def api(shared: Api) -> Api:
    """The module's simulator, as good as new."""
    shared.sim.reset()
    shared.sim.pace = None
    shared.answers("Fine.", again=True)
    return shared


@pytest.fixture
def ask() -> Callable[..., dict[str, Any]]:
    """A good request; fields can be replaced, or left out with Ellipsis."""

    def make(text: str = "Hello", **fields: Any) -> dict[str, Any]:
        body = {
            "model": "claude-sonnet-5-5",
            "max_tokens": 2000,
            "messages": [{"role": "user", "content": text}],
        } | fields
        return {name: value for name, value in body.items() if value is not ...}

    return make
