"""The HTTP API of a host as its clients see it, and keys for it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from fastapi import FastAPI
from fastapi.routing import APIRoute
from multidict import CIMultiDict, CIMultiDictProxy

from bot.app import App
from bot.http.api.needs import Needs, needs_of
from registry.api_key import ApiKey, digest, new_secret
from registry.roles import OPERATOR_ACTOR
from tests.host.stage import Stage

OPERATOR_KEY = "the-operators-own-key-0123456789abcdef"
"""A key of the environment: an engineer of the whole host."""
OPERATOR = {
    "API_KEYS__0__KEY": OPERATOR_KEY,
    "API_KEYS__0__ROLE": "spokestack_engineer",
    "API_REQUESTS": "100000",
    "API_FAILURES": "100000",
}


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """What came back."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Client:
    """Asks a host; without a key where none is given."""

    host: App
    session: aiohttp.ClientSession

    async def ask(
        self,
        method: str,
        path: str,
        key: str | None = OPERATOR_KEY,
        *,
        data: Any = None,
        json: Any = None,
        **headers: Any,
    ) -> ApiAnswer:
        sent = CIMultiDict({name.replace("_", "-"): text for name, text in headers.items()})
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if json is not None:
            data = orjson.dumps(json)
            sent["Content-Type"] = "application/json"
        url = self.host.url + path
        async with self.session.request(method, url, headers=sent, data=data) as answer:
            return ApiAnswer(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, key: str | None = OPERATOR_KEY, **headers: Any) -> ApiAnswer:
        return await self.ask("GET", path, key, **headers)

    async def until_task(
        self, task: str, status: str, key: str | None = OPERATOR_KEY, *, seconds: float = 20
    ) -> dict[str, Any]:
        """What is said of a task once it has this status."""
        async with asyncio.timeout(seconds):
            while True:
                found: dict[str, Any] = (await self.get(f"/api/v1/agent/status/{task}", key)).json
                if found["status"] == status:
                    return found
                await asyncio.sleep(0.02)

    async def make_key(self, **fields: Any) -> str:
        """A new key of the registry, in force."""
        secret, catalog = new_secret(), self.host.catalog
        made = ApiKey(id=digest(secret)[:8], hash=digest(secret), created=time.time(), **fields)
        await catalog.create_key(OPERATOR_ACTOR, made, key=f"make {made.id}")
        await catalog.until(lambda snapshot: made.id in snapshot.document.keys)
        return secret

    async def revoke(self, secret: str) -> None:
        id, catalog = digest(secret)[:8], self.host.catalog
        await catalog.revoke_key(OPERATOR_ACTOR, id, key=f"revoke {id}")
        await catalog.until(lambda snapshot: bool(snapshot.document.keys[id].value.revoked))

    async def app(self) -> FastAPI:
        """The application behind the door, to which a test may add routes."""
        assert self.host.api is not None
        app = await self.host.api.app()
        assert isinstance(app, FastAPI)
        return app


@asynccontextmanager
async def client_of(host: App) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(host, session)


@asynccontextmanager
async def api_host(stage: Stage, **environ: str) -> AsyncIterator[Client]:
    """A host without a bot whose API is open for the operator."""
    async with stage.host(**{**OPERATOR, **environ}) as host, client_of(host) as client:
        yield client


def routes_of(app: FastAPI) -> list[tuple[str, str, Needs | None]]:
    """The method and the path of every route of an application, and what it declares."""
    found = []
    for route in app.routes:
        assert isinstance(route, APIRoute), f"{route} cannot declare a permission"
        path, needs = route.path_format, needs_of(route.endpoint)
        found += [(m, path, needs) for m in sorted(route.methods or ())]
    return found


def filled(path: str, **values: str) -> str:
    """A path with values for its parameters: `1` where nothing else is given."""
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda match: values.get(match[1], "1"), path)
