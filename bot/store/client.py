"""One way to run a script or a command: errors are ours, and what must be done is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from importlib.resources import files
from typing import Any, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
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

from bot.errors import FencedOut, StoreError, StoreUnavailable, WrongType
from bot.ports import Clock

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
WRONG_TYPE = (
    "WRONGTYPE: the key {} holds a {}, which does not belong there. What needs it waits. Move the "
    "key away with RENAME, or delete it with DEL."
)
LOOK_AGAIN = (0.5, 5.0)
"""Seconds between two looks at a key that holds what does not belong there."""
_NAMED = re.compile(r" key=(\S+)")


class StoreClient:
    """The connection to the store; counts its round trips and remembers trouble.

    `troubles` grows whenever a call's fate was unknown; `away` tells the last trouble while the
    store has not answered since. `wrong` has a sentence on each key that holds what does not belong
    there, for as long as it does; `tell` is given each of them once.
    """

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._scripts: dict[str, AsyncScript] = {}
        self.trips = 0
        self.troubles = 0
        self.away: str | None = None
        self.wrong: dict[str, str] = {}
        self.tell: Callable[[str], Coroutine[Any, Any, None]] = _nobody
        self._watching: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """One try of a script; raises StoreUnavailable, FencedOut, WrongType or StoreError."""
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
            named = _NAMED.search(str(error)) if "WRONGTYPE" in str(error) else None
            if named is not None:
                raise await self._wrong_type(named[1]) from None
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
        try:
            return await self.once(lambda: call(*words))  # type: ignore[no-untyped-call]
        except StoreError as error:
            if str(error).startswith("WRONGTYPE ") and len(words) > 1:
                raise await self._wrong_type(str(words[1])) from None
            raise

    async def _wrong_type(self, key: str) -> WrongType:
        """What to say of such a key, which is looked at from now on until it is mended."""
        if key not in self._watching:
            held = (await self.command("TYPE", key)).decode()
            mended = asyncio.Event()
            if held == "none":
                mended.set()
                return WrongType(WRONG_TYPE.format(key, held), mended)
            self.wrong[key] = words = WRONG_TYPE.format(key, held)
            log.error("store.wrong_type", why=words)
            watch = asyncio.create_task(self._until_mended(key, held, mended), name="store.key")
            self._watching[key] = mended, watch
        return WrongType(self.wrong[key], self._watching[key][0])

    async def _until_mended(self, key: str, held: str, mended: asyncio.Event) -> None:
        pause, longest = LOOK_AGAIN
        telling = asyncio.create_task(self.tell(self.wrong[key]))
        try:
            while True:
                await self._clock.sleep(pause)
                pause = min(2 * pause, longest)
                with contextlib.suppress(StoreError):
                    if (await self.command("TYPE", key)).decode() != held:
                        break
            log.info("store.mended", key=key)
        finally:
            telling.cancel()
            del self.wrong[key], self._watching[key]
            mended.set()

    @property
    def redis(self) -> Redis:
        """The connections themselves, for the registry, which has errors of its own."""
        return self._redis

    async def close(self) -> None:
        """Close all connections."""
        watches = [watch for _, watch in self._watching.values()]
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await self._redis.aclose()

    def messages(self) -> PubSub:
        """A subscription of its own connection."""
        return self._redis.pubsub(ignore_subscribe_messages=True)

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
    parts = ("named", *PRELUDES.get(name, ("fence",)), name)
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


async def _nobody(_words: str) -> None:
    """Nobody is told."""


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
