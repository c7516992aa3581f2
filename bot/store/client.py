"""The store's client: scripts and commands with our errors, retried where that is wanted."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,  # noqa: A004
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004
)

from bot.errors import FencedOut, StoreError, StoreUnavailable
from bot.messages import Clock, Fence
from bot.ops.tasks import backoff
from bot.store.keys import AnyKey
from bot.store.keys import fence as fence_key

T = TypeVar("T")
log = structlog.get_logger("store")

PRELUDES = {
    "accept": ("notify_line",),
    "acquire": ("alive",),
    "append": ("fence", "ledger"),
    "beat": (),
    "change_role": ("role_changed",),
    "claim": ("role_changed",),
    "count_within": (),
    "finish": ("fence", "ledger"),
    "post": ("notify_line",),
    "post_card": ("notify_line",),
    "release_budget": ("fence", "ledger"),
    "replay": ("notify_line",),
    "request_access": (),
    "reserve": ("fence", "ledger"),
    "view_leases": ("alive",),
}
"""The shared Lua that goes in front of a script. Any other script is its owner's: the fence."""
DOWN = (ConnectionError, TimeoutError, BusyLoadingError, OutOfMemoryError, ReadOnlyError, OSError)
DOWN_REPLIES = (
    "MISCONF",
    "LOADING",
    "OOM",
    "READONLY",
    "NOREPLICAS",
    "MASTERDOWN",
    "TRYAGAIN",
    "BUSY ",  # another client's script has run for seconds
)


class StoreClient:
    """The connections to the store.

    `round_trips` counts calls, and `failures` those with an unknown outcome. `outage` is why the
    last call failed, while the store has not answered since.
    """

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self.redis = redis
        self._clock = clock
        self.round_trips = 0
        self.failures = 0
        self.outage: str | None = None

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script once; raises StoreUnavailable, FencedOut or StoreError."""
        return await self.call(lambda: self._evaluate(name, keys, args))

    async def _evaluate(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """A script's reply, from a connection itself: the library's layers cost as much again.

        A connection whose call was interrupted closes itself.
        """
        pool = self.redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_command("EVALSHA", script_digest(name), len(keys), *keys, *args)
            return await connection.read_response()
        except NoScriptError:
            await connection.send_command("EVAL", script_source(name), len(keys), *keys, *args)
            return await connection.read_response()
        finally:
            await pool.release(connection)

    async def run_idempotent(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script until the store answers; it must bear to be run twice."""
        return await self.retry_while_down(lambda: self.run(name, keys, args))

    async def as_owner(self, script: str, fence: Fence, names: Iterable[AnyKey], *args: Any) -> Any:
        """Run a script of a line's owner until the store answers; it must bear to be run twice.

        The fence and its token go first; kinds of keys are those of its line. Raises FencedOut.
        """
        line = fence.line
        keys = [fence_key(line), *(n if isinstance(n, str) else n(line) for n in names)]
        return await self.run_idempotent(script, keys, [fence.token, *args])

    async def command(self, *words: Any) -> Any:
        """Run one command; raises StoreUnavailable or StoreError."""
        return await self.call(lambda: self.redis.execute_command(*words))  # type: ignore[no-untyped-call]

    async def read(self, *words: Any) -> Any:
        """Run a command that changes nothing, until the store answers."""
        return await self.retry_while_down(lambda: self.command(*words))

    async def retry_while_down(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call that raises StoreUnavailable, with growing pauses."""
        failures = 0
        while True:
            try:
                return await call()
            except StoreUnavailable as error:
                failures += 1
                pause = backoff(failures, 0.05, 2.0)
                log.warning("store.away", error=str(error), again_in=round(pause, 2))
                await self._clock.sleep(pause)

    async def call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make one round trip; raises our errors in place of the library's."""
        self.round_trips += 1
        before = _cancellations()
        try:
            found = await call()
        except (RedisError, OSError) as error:
            failure = _our_error(error)
            if isinstance(failure, StoreUnavailable):
                self.failures += 1
                self.outage = str(failure)
            raise failure from None
        if _cancellations() > before:  # the library loses one that comes while it connects
            raise asyncio.CancelledError
        self.outage = None
        return found

    async def listen(
        self, channels: Sequence[str], pattern: str
    ) -> AsyncGenerator[tuple[str, str] | None, None]:
        """Published messages as (channel, data), over a connection of its own, forever.

        Yields None once it is subscribed: what was published before is missed. Raises
        StoreUnavailable when the connection is lost.
        """
        subscription = self.redis.pubsub(ignore_subscribe_messages=True)
        try:
            await subscription.psubscribe(pattern)
            await subscription.subscribe(*channels)
            while True:
                found = await subscription.get_message(timeout=None)
                yield found and (found["channel"].decode(), found["data"].decode())
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from None
        finally:
            await asyncio.shield(subscription.aclose())  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Close all connections."""
        await self.redis.aclose()


@functools.cache
def script_source(name: str) -> str:
    """A script's text, with the shared Lua that it needs in front."""
    folder = files("bot.store.scripts")
    parts = (*PRELUDES.get(name, ("fence",)), name)
    return "".join(folder.joinpath(f"{part}.lua").read_text() for part in parts)


@functools.cache
def script_digest(name: str) -> str:
    """The SHA-1 of a script, under which the store knows it once it was run."""
    return hashlib.sha1(script_source(name).encode(), usedforsecurity=False).hexdigest()


def connect(url: str, connections: int = 64) -> Redis:
    """A client for a redis://, rediss:// or unix:// URL that never retries by itself."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=30,
        socket_timeout=5,
        socket_connect_timeout=5,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
    return Redis.from_pool(pool)


def pairs_of(reply: Any) -> list[tuple[Any, Any]]:
    """The pairs of a reply, in whichever form the protocol version gives them."""
    if isinstance(reply, Mapping):
        return list(reply.items())
    if reply and isinstance(reply[0], list | tuple):
        return [tuple(pair) for pair in reply]
    return list(zip(reply[::2], reply[1::2], strict=True))


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def _our_error(error: Exception) -> StoreError:
    text = str(error)
    if isinstance(error, DOWN) or not isinstance(error, ResponseError):
        kind = StoreUnavailable if isinstance(error, DOWN) else StoreError
        return kind(f"{type(error).__name__}: {text}")
    if "FENCED" in text:
        return FencedOut(text)
    return StoreUnavailable(text) if any(w in text for w in DOWN_REPLIES) else StoreError(text)
