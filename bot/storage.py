"""The store of this host: the operator's server, judged, or the bundled one, which is started."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import structlog

from bot.errors import ConfigError
from bot.ops.clock import SystemClock
from bot.ops.waiting import ended
from bot.settings import Settings
from bot.store.client import StoreClient, connect
from bot.store.embedded import EmbeddedValkey
from bot.store.judge import Judge, refuse_open
from bot.store.letters import DeadLetters

log = structlog.get_logger("switchboard")


async def opened_store(
    settings: Settings, clock: SystemClock, stack: contextlib.AsyncExitStack
) -> tuple[StoreClient, Judge]:
    """The store's client, and who looks after it; raises ConfigError for a store not to be used."""
    url = await _url(settings, stack)
    client = StoreClient(connect(url), clock)
    stack.push_async_callback(client.close)
    judge = Judge(client, clock)
    await judge.admit(volatile=settings.allow_volatile_redis)
    await background(stack, judge.watch_forever(), "store.judge")
    return client, judge


async def _url(settings: Settings, stack: contextlib.AsyncExitStack) -> str:
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        await refuse_open(url, allowed=settings.allow_open_redis)
        return url
    server = EmbeddedValkey(settings.data_dir, settings.data_fsync)
    await server.start()
    stack.push_async_callback(server.stop)
    await background(stack, server.watch_forever(), "valkey.watch")
    return server.url


async def background(
    stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None], name: str
) -> None:
    """A task for as long as the stack lives; one that ends by a fault is told of."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_told)

    async def end() -> None:
        await ended([task])

    stack.push_async_callback(end)


def _told(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task.failed", task=task.get_name(), exc_info=error)


@contextlib.asynccontextmanager
async def opened_letters(settings: Settings) -> AsyncIterator[DeadLetters]:
    """The dead letters, for the command line; beside a running host or without one."""
    async with contextlib.AsyncExitStack() as stack:
        url = await _url_beside(settings, stack)
        client = StoreClient(connect(url), SystemClock())
        stack.push_async_callback(client.close)
        await client.command("PING")
        yield DeadLetters(client)


async def _url_beside(settings: Settings, stack: contextlib.AsyncExitStack) -> str:
    """As `_url`, but a bundled server that runs already is left running."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    server = EmbeddedValkey(settings.data_dir, settings.data_fsync)
    if not server.was_here:
        raise ConfigError(
            f"DATA_DIR {settings.data_dir}: no host has kept anything here. "
            "Call this where the host runs, or set DATA_DIR or REDIS_URL as it has them."
        )
    await server.start()
    if server.is_ours:
        stack.push_async_callback(server.stop)
    return server.url
