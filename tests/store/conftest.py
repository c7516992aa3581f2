from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.ops.clock import SystemClock
from bot.store.client import StoreClient, connect
from tests.host.valkey import Valkey


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    server = Valkey(tmp_path / "v")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(valkey: Valkey) -> AsyncIterator[StoreClient]:
    client = StoreClient(connect(valkey.url), SystemClock())
    yield client
    await client.close()
