from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.ops.clock import SystemClock
from bot.store.client import StoreClient, connect
from simulators.testing.valkey import Valkey


@pytest.fixture
async def client(valkey: Valkey) -> AsyncIterator[StoreClient]:
    client = StoreClient(connect(valkey.url), SystemClock())
    yield client
    await client.close()
