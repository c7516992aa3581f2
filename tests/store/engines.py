"""The two servers on which the contract of the store is tested: a real Valkey, and fakeredis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis

from bot.ops.tasks import SystemClock
from bot.store.client import StoreClient, connect
from simulators.testing.valkey import Valkey, running_valkey

ENGINES = ("valkey", "fakeredis")


@dataclass(frozen=True)
class Engine:
    """A server; `connect` gives clients of their own that share its data."""

    connect: Callable[[], Redis]
    valkey: Valkey | None = None

    def needs(self, what: str) -> Valkey:
        """The real server; on fakeredis the test is skipped, for what that lacks."""
        if self.valkey is None:
            pytest.skip(f"fakeredis has no {what}")
        return self.valkey


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    if request.param == "valkey":
        async with running_valkey(tmp_path / "v") as valkey:
            yield Engine(lambda: connect(valkey.url), valkey)
        return
    import fakeredis

    server = fakeredis.FakeServer()
    yield Engine(lambda: fakeredis.FakeAsyncRedis(server=server))


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[StoreClient]:
    client = StoreClient(engine.connect(), SystemClock())
    yield client
    await client.close()
