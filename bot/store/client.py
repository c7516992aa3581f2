"""One way to run a script or a command: errors are ours, and what must be done is tried again."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
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
from bot.messages import Clock


def pairs_of(found: Any) -> list[tuple[Any, Any]]:
    """Pairs of an answer, in whichever form the protocol version gives them."""
    if isinstance(found, Mapping):
        return list(found.items())
    if found and isinstance(found[0], list | tuple):
        return [tuple(pair) for pair in found]
    return list(zip(found[::2], found[1::2], strict=True))


T = TypeVar("T")
log = structlog.get_logger("store")

PRELUDES = {
    "accept": ("stir",),
    "acquire": ("alive",),
    "append": ("fence", "ledger"),
    "ask": ("stir",),
    "beat": (),
    "claim": ("granted",),
    "count": (),
    "finish": ("fence", "ledger"),
    "grant": ("granted",),
    "knock": (),
    "look": ("alive",),
    "post": ("stir",),
    "replay": ("stir",),
    "reserve": ("fence", "ledger"),
    "unhold": ("fence", "ledger"),
}
"""What stands in front of a script. Every other one is an owner's, and begins with the fence."""
AWAY = (ConnectionError, TimeoutError, BusyLoadingError, OutOfMemoryError, ReadOnlyError, OSError)
AWAY_WORDS = (
    "MISCONF",
    "LOADING",
    "OOM",
    "READONLY",
    "NOREPLICAS",
    "MASTERDOWN",
    "TRYAGAIN",
    "BUSY ",  # somebody else's script has run for seconds
)


class StoreClient:
    """The connection to the store; counts its round trips and remembers trouble.

    `troubles` grows whenever a call's fate was unknown; `away` tells the last trouble while the
    store has not answered since.
    """

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._scripts: dict[str, AsyncScript] = {}
        self.trips = 0
        self.troubles = 0
        self.away: str | None = None

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """One try of a script; raises StoreUnavailable, FencedOut or StoreError."""
        script = self._scripts.get(name) or self._load(name)
        return await self.once(lambda: self._evaluated(script, keys, args))

    async def _evaluated(
        self, script: AsyncScript, keys: Sequence[str], args: Sequence[Any]
    ) -> Any:
        """A script's reply, by the connection itself: the client's own layers cost as much again.

        A connection whose call broke off closes itself.
        """
        pool = self._redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_command("EVALSHA", script.sha, len(keys), *keys, *args)
            return await connection.read_response()
        except NoScriptError:
            await connection.send_command("EVAL", script.script, len(keys), *keys, *args)
            return await connection.read_response()
        finally:
            await pool.release(connection)

    async def surely(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """A script that must be done: tried until the store answers. For repeatable ones only."""
        return await self.patiently(lambda: self.run(name, keys, args))

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call while the store is away, with growing pauses."""
        delay = 0.05
        while True:
            try:
                return await call()
            except StoreUnavailable as error:
                log.warning("store.away", error=str(error), again_in=round(delay, 2))
                await self._clock.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311
                delay = min(delay * 2, 2.0)

    async def once(self, call: Callable[[], Awaitable[T]]) -> T:
        """One round trip, with our errors."""
        self.trips += 1
        before = _cancellations()
        try:
            found = await call()
        except AWAY as error:
            self.troubles += 1
            self.away = _words(error)
            raise StoreUnavailable(self.away) from None
        except ResponseError as error:
            raise self._refused(error) from None
        except RedisError as error:
            raise StoreError(_words(error)) from None
        if _cancellations() > before:  # the library loses one that comes while it connects
            raise asyncio.CancelledError
        self.away = None
        return found

    async def command(self, *words: Any) -> Any:
        """One plain command, with our errors."""
        call = self._redis.execute_command
        return await self.once(lambda: call(*words))  # type: ignore[no-untyped-call]

    @property
    def redis(self) -> Redis:
        """The connections themselves, for the registry, which has errors of its own."""
        return self._redis

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    async def listen(
        self, channels: Sequence[str], pattern: str
    ) -> AsyncGenerator[tuple[str, str] | None, None]:
        """Published messages as (channel, data), over a connection of its own, for ever.

        None comes once the subscription stands: what was published before is missed. Raises
        StoreUnavailable when the connection is lost.
        """
        subscription = self._redis.pubsub(ignore_subscribe_messages=True)
        try:
            await subscription.psubscribe(pattern)
            await subscription.subscribe(*channels)
            while True:
                found = await subscription.get_message(timeout=None)
                yield found and (found["channel"].decode(), found["data"].decode())
        except (RedisError, OSError) as error:
            raise StoreUnavailable(_words(error)) from None
        finally:
            await asyncio.shield(subscription.aclose())  # type: ignore[no-untyped-call]

    def _refused(self, error: ResponseError) -> StoreError:
        found = _refusal(error)
        if isinstance(found, StoreUnavailable):
            self.troubles += 1
            self.away = str(found)
        return found

    def _load(self, name: str) -> AsyncScript:
        script = self._redis.register_script(script_source(name))
        self._scripts[name] = script
        return script


@functools.cache
def script_source(name: str) -> str:
    """A script's text, with what it needs in front."""
    folder = files("bot.store.scripts")
    parts = (*PRELUDES.get(name, ("fence",)), name)
    return "".join(folder.joinpath(f"{part}.lua").read_text() for part in parts)


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


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _refusal(error: ResponseError) -> StoreError:
    words = str(error)
    if "FENCED" in words:
        return FencedOut(words)
    if any(word in words for word in AWAY_WORDS):
        return StoreUnavailable(words)
    return StoreError(words)
