"""The store's client: scripts and commands with our errors, retried where that is wanted."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import math
import re
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from importlib.resources import files
from typing import Any, TypeVar
from weakref import WeakSet

import structlog
from redis import DriverInfo, exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bot.errors import FencedOut, StoreError, StoreForbidden, StoreUnavailable, WrongType
from bot.messages import Clock, Fence
from bot.ops.tasks import backoff, cancel_and_wait
from bot.store.keys import AnyKey
from bot.store.keys import fence as fence_key

T = TypeVar("T")
log = structlog.get_logger("store")

PRELUDES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("admit", "beat", "count_within", "take_requests"), ()),
    **dict.fromkeys(("claim", "close_request", "decide_request", "request_access"), ()),
    **dict.fromkeys(("acquire", "open_line", "view_leases"), ("alive",)),
    **dict.fromkeys(("append", "charge", "release_budget", "reserve"), ("fence", "ledger")),
    "finish": ("fence", "ledger", "running"),
    **dict.fromkeys(("begin", "dead_letter", "refuse_stranger"), ("fence", "running")),
    **dict.fromkeys(("settle", "suspend"), ("fence", "running")),
    **dict.fromkeys(("accept", "post", "post_card", "replay"), ("notify_line",)),
    **dict.fromkeys(("accept_message", "accept_signal", "append_events"), ()),
    **dict.fromkeys(("change_cards", "claim_webhooks", "keep_artifact", "open_cards"), ()),
    **dict.fromkeys(("receipt", "set_aside"), ("fence", "end_part")),
}
"""The shared Lua that goes in front of a script. Any other script is its owner's: the fence."""
DOWN = (
    *(exceptions.ConnectionError, exceptions.TimeoutError, exceptions.BusyLoadingError),
    *(exceptions.OutOfMemoryError, exceptions.ReadOnlyError, OSError),
)
_DOWN_REPLY = re.compile("MISCONF|LOADING|OOM|READONLY|NOREPLICAS|MASTERDOWN|TRYAGAIN|BUSY ")
"""The last one: another client's script has run for seconds."""
NO_WRITES = re.compile("MISCONF|LOADING|OOM|READONLY|NOREPLICAS|MASTERDOWN")
"""What a server says that cannot be written to: the address may lead to another one now."""
_FORBIDDEN = re.compile("NOPERM|ACL failure|user executing the script can't")
_ARGUMENTS = ", with args beginning with"
"""What follows the name of a command that a server does not know: the values that were sent."""
WRONG_TYPE = (
    "WRONGTYPE: the key {} holds a {}, which is the wrong type. Everything that needs the key "
    "waits. Move it away with RENAME, or delete it with DEL."
)
RECONNECT_SECONDS = 2.0
"""Between two reconnects that a reply of the server causes."""
CALM_SECONDS = 3.0
"""So long after the last such reply, listeners reconnect as well."""
RECHECK_SECONDS = (0.5, 5.0)
"""Between two checks of a key that holds the wrong type: first, and at most."""
_NAMED_KEY = re.compile(r" key=(\S+)")


class StoreClient:
    """The connections to the store.

    `round_trips` counts calls, and `failures` those with an unknown outcome. `outage` is why the
    last call failed, while the store has not answered since. `wrong_types` has a sentence on each
    key that holds the wrong type, for as long as it does; `on_wrong_type` gets each of them once.
    """

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self.redis = redis
        self._clock = clock
        self.round_trips = 0
        self.failures = 0
        self.outage: str | None = None
        self.wrong_types: dict[str, str] = {}
        self.on_wrong_type: Callable[[str], Coroutine[Any, Any, None]] = _ignore
        self._rechecks: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}
        self._reconnected = -math.inf
        self._refused: float | None = None

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script once; raises StoreUnavailable, FencedOut, WrongType or StoreError."""
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
        except exceptions.NoScriptError:
            await connection.send_command("EVAL", script_source(name), len(keys), *keys, *args)
            return await connection.read_response()
        finally:
            await pool.release(connection)

    async def run_idempotent(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script until the store answers; running it twice must do no harm."""
        return await self.retry_while_down(lambda: self.run(name, keys, args))

    async def as_owner(self, script: str, fence: Fence, names: Sequence[AnyKey], *args: Any) -> Any:
        """Run a script of a line's owner until the store answers; running it twice must do no harm.

        The fence and its token go first; kinds of keys are those of its line. Raises FencedOut.
        """
        line = fence.line
        keys = [fence_key(line), *(n if isinstance(n, str) else n(line) for n in names)]
        return await self.run_idempotent(script, keys, [fence.token, *args])

    async def command(self, *words: Any) -> Any:
        """Run one command; raises StoreUnavailable, WrongType or StoreError."""
        call = self.redis.execute_command
        try:
            return await self.call(lambda: call(*words))  # type: ignore[no-untyped-call]
        except StoreError as error:
            if str(error).startswith("WRONGTYPE ") and len(words) > 1:
                raise await self.wrong_type(str(words[1])) from None
            raise

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
        except (exceptions.RedisError, OSError) as error:
            failure = _our_error(error)
            if isinstance(failure, StoreUnavailable):
                self.failures += 1
                self.outage = str(failure)
                if NO_WRITES.search(self.outage):
                    await self._reconnect()
            named = _NAMED_KEY.search(str(error)) if "WRONGTYPE" in str(error) else None
            if named is not None:
                raise await self.wrong_type(named[1]) from None
            raise failure from None
        if _cancellations() > before:  # the library loses one that comes while it connects
            raise asyncio.CancelledError
        self.outage = None
        if self._refused is not None:
            await self._reconnect_listeners(self._refused)
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
        except (exceptions.RedisError, OSError) as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from None
        finally:
            await asyncio.shield(subscription.aclose())  # type: ignore[no-untyped-call]

    async def _reconnect(self) -> None:
        """Close the connections of calls: after a failover, a new one may reach another server.

        The old ones may live on, behind one address. What listens follows once writes succeed, as
        its connection says nothing of where it leads.
        """
        self._refused = now = self._clock.monotonic()
        pool = self.redis.connection_pool
        if now - self._reconnected >= RECONNECT_SECONDS and isinstance(pool, _Pool):
            self._reconnected = now
            await _disconnect(pool.opened - pool.listening())

    async def _reconnect_listeners(self, refused: float) -> None:
        pool = self.redis.connection_pool
        if self._clock.monotonic() - refused >= CALM_SECONDS and isinstance(pool, _Pool):
            self._refused = None
            await _disconnect(pool.listening())

    async def wrong_type(self, key: str) -> WrongType:
        """The error for a key of the wrong type, which is checked until it is repaired."""
        if key not in self._rechecks:
            held = (await self.command("TYPE", key)).decode()
            repaired = asyncio.Event()
            if held == "none":
                repaired.set()
                return WrongType(WRONG_TYPE.format(key, held), repaired)
            self.wrong_types[key] = why = WRONG_TYPE.format(key, held)
            log.error("store.wrong_type", why=why)
            recheck = asyncio.create_task(self._recheck(key, held, repaired), name="store.recheck")
            self._rechecks[key] = repaired, recheck
        return WrongType(self.wrong_types[key], self._rechecks[key][0])

    async def _recheck(self, key: str, held: str, repaired: asyncio.Event) -> None:
        """Wait until a key holds another type than `held`."""
        pause, longest = RECHECK_SECONDS
        alerting = asyncio.create_task(self.on_wrong_type(self.wrong_types[key]))
        try:
            while True:
                await self._clock.sleep(pause)
                pause = min(2 * pause, longest)
                with contextlib.suppress(StoreError):
                    if (await self.command("TYPE", key)).decode() != held:
                        break
            log.info("store.repaired", key=key)
        finally:
            alerting.cancel()
            del self.wrong_types[key], self._rechecks[key]
            repaired.set()

    async def close(self) -> None:
        """Close all connections."""
        await cancel_and_wait([task for _, task in self._rechecks.values()])
        await self.redis.aclose()


@functools.cache
def script_source(name: str) -> str:
    """A script's text, with the shared Lua that it needs in front."""
    folder = files("bot.store.scripts")
    parts = ("check_types", *PRELUDES.get(name, ("fence",)), name)
    return "".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in parts)


@functools.cache
def script_digest(name: str) -> str:
    """The SHA-1 of a script, under which the store knows it once it was run."""
    return hashlib.sha1(script_source(name).encode(), usedforsecurity=False).hexdigest()


class _Pool(BlockingConnectionPool):
    """Knows each connection of its class, also those that others make for themselves."""

    def __init__(self, *, connection_class: type[Connection] = Connection, **options: Any) -> None:
        self.opened = opened = WeakSet[Connection]()

        class Known(connection_class):  # type: ignore[misc, valid-type]
            listens = False

            def __init__(self, **options: Any) -> None:
                super().__init__(**options)
                opened.add(self)

            def read_response(self, *args: Any, **options: Any) -> Awaitable[Any]:
                if options.get("push_request"):
                    self.listens = True
                reply: Awaitable[Any] = super().read_response(*args, **options)
                return reply

        super().__init__(connection_class=Known, **options)

    def listening(self) -> set[Connection]:
        """The connections of those who listen."""
        return {connection for connection in self.opened if connection.listens}  # type: ignore[attr-defined]

    async def release(self, connection: AbstractConnection) -> None:
        """Take a connection back; one that listened may serve calls from now on."""
        connection.listens = False  # type: ignore[attr-defined]
        await super().release(connection)


async def _disconnect(connections: Iterable[Connection]) -> None:
    for connection in [*connections]:
        await connection.disconnect(nowait=True)


def connect(url: str, connections: int = 64) -> Redis:
    """A client for a redis://, rediss:// or unix:// URL that never retries by itself."""
    pool = _Pool.from_url(
        url,
        max_connections=connections,
        timeout=30,
        socket_timeout=5,
        socket_connect_timeout=5,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        driver_info=_driver(),
    )
    return Redis.from_pool(pool)


@functools.cache
def _driver() -> DriverInfo:
    """What connections tell of the client: each would look its version up in files."""
    return DriverInfo()


def pairs_of(reply: Any) -> list[tuple[Any, Any]]:
    """The pairs of a reply, in whichever form the protocol version gives them."""
    if isinstance(reply, Mapping):
        return list(reply.items())
    if reply and isinstance(reply[0], list | tuple):
        return [tuple(pair) for pair in reply]
    return list(zip(reply[::2], reply[1::2], strict=True))


async def _ignore(_why: str) -> None:
    """Does nothing until somebody is there to be told."""


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def _our_error(error: Exception) -> StoreError:
    text = str(error).partition(_ARGUMENTS)[0]
    if (code := getattr(error, "status_code", None)) not in (None, "ERR"):
        text = f"{code} {text}"  # the library cut it off
    if isinstance(error, DOWN) or not isinstance(error, exceptions.ResponseError):
        kind = StoreUnavailable if isinstance(error, DOWN) else StoreError
        return kind(f"{type(error).__name__}: {text}")
    if "FENCED" in text:
        return FencedOut(text)
    if isinstance(error, exceptions.NoPermissionError) or _FORBIDDEN.search(text):
        return StoreForbidden(text)
    return StoreUnavailable(text) if is_outage(text) else StoreError(text)


def is_outage(reply: str) -> bool:
    """Whether an error's text says that the store cannot work now, though it may later."""
    return _DOWN_REPLY.search(reply) is not None
