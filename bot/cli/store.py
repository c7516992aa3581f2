"""Opens the store that a host uses, for verbs that work with or without a running host."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator

from bot.errors import ConfigError
from bot.ops.process import data_dir_errors, open_private
from bot.ops.tasks import SystemClock
from bot.settings import Settings
from bot.store.client import StoreClient, connect
from bot.store.embedded import EmbeddedValkey, is_in_use


def no_store(settings: Settings) -> str:
    """Why there is no store, and what makes one; '' where there is one."""
    if settings.redis_url is not None:
        return ""
    if EmbeddedValkey(settings.data_dir, settings.data_fsync).has_data:
        return ""
    cure = "Run this where the host runs, with its DATA_DIR or REDIS_URL"
    return f"DATA_DIR {settings.data_dir}: no host keeps its state here. {cure}"


async def opened_store(settings: Settings, stack: contextlib.AsyncExitStack) -> StoreClient:
    """A client of the store, which answers; raises ConfigError or StoreError."""
    if missing := no_store(settings):
        raise ConfigError(f"{missing}.")
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
    else:
        url = await stack.enter_async_context(_bundled(settings))
    client = StoreClient(connect(url, connections=4), SystemClock())
    stack.push_async_callback(client.close)
    await client.command("PING")
    return client


@contextlib.asynccontextmanager
async def _bundled(settings: Settings) -> AsyncIterator[str]:
    """The address of the bundled server, started if need be.

    The command that leaves last stops it, unless a host uses it: several may run at once.
    """
    server = EmbeddedValkey(settings.data_dir, settings.data_fsync)
    with data_dir_errors(settings.data_dir):
        path = settings.data_dir / "valkey" / "visitors.lock"
        visitors = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(visitors, fcntl.LOCK_SH)
        await server.start()
        try:
            yield server.url
        finally:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(visitors, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not is_in_use(settings.data_dir):
                    await server.stop()
    finally:
        os.close(visitors)
