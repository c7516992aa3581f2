"""Agents in Redis: plain JSON that a hand-written SET may change, in force within milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError

from registry.audit import Change
from registry.authorization import GUEST, WriterPermissions
from registry.errors import Problem, RegistryUnavailable, WrongKind
from registry.roles import Target
from registry.snapshot import Document, revision_of
from registry.sources import stored_values as stored
from registry.sources.revision_store import RevisionStore

_log = structlog.get_logger("registry")
_QUICK = 32_000  # bytes that are read and validated on the loop
_CHUNK = 50  # values read and validated between two breaths of the loop
_SILENCE_SECONDS = 2.0
_LOOK_SECONDS = 1.0
CHANGED = "agent:changed"
"""The channel on which each write is published."""
_RETRY_SECONDS = (0.05, 0.2, 0.5, 1.0)
_KINDS = {stored.AUDIT: "stream", stored.HEADS: "hash"}
"""What keys hold that do not hold a text."""


class RedisStore:
    """The documents in Redis; keys as `stored_values` names them.

    `revisions` writes them, and reads their histories and the audit: see `using`.

    Bad values are reported in `document.problems`, and the last good ones stay. While the server is
    away everything stays readable. A write whose entry's key was seen before with the same
    fingerprint changes nothing and succeeds. `client` answers in bytes.
    """

    def __init__(self, client: Redis, writer: WriterPermissions = GUEST) -> None:
        self.document = Document()
        self._client = client
        self._cached = stored.CachedDocuments(writer)
        self.revisions = RevisionStore(client)
        self._changed: Callable[[], None] = lambda: None
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self._away: Problem | None = None
        self._untracked: Problem | None = None

    async def open(self, changed: Callable[[], None] = lambda: None) -> None:
        """Read everything, then follow until `close`, and call `changed` after each change.

        Raises RegistryUnavailable where everything cannot be read.
        """
        self._changed = changed
        self._first = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._follow(), name="registry redis")
        try:
            await self._first
        except RegistryUnavailable:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            while not self._task.done():  # a cancellation is lost where the library connects
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=0.5)
            self._task = None

    async def reload(self) -> None:
        """Read everything again, now."""
        async with self._translated():
            await self._load()

    async def tracking_problems(self) -> list[Problem]:
        """What is to be known where the server does not say what changes."""
        async with self._translated():
            try:
                async with aclosing(changes(self._client, stored.PREFIX)) as pushes:
                    await anext(pushes)
            except TrackingRefused as error:
                return [_untracked(error)]
        return []

    async def revision(self, key: str) -> str | None:
        """The revision of a value, which a change of it must expect; None where there is none."""
        async with self._translated(key):
            value = await self._client.get(key)
        return None if value is None else revision_of(value)

    async def text(self, key: str) -> str | None:
        """The text at a key, valid or not; None where there is none."""
        async with self._translated(key):
            value = await self._client.get(key)
        return None if value is None else _text(value)

    async def write(
        self, key: str, value: str | None, expected: str | None, change: Change, target: Target
    ) -> int:
        """Write a value (None: delete it) over the expected hash (None: nothing is there).

        Returns the number of the new revision. Raises RevisionConflict, KeyReused, WrongKind or
        RegistryUnavailable.
        """
        async with self.using(key, change.key) as revisions:
            number = await revisions.write(key, value, expected, change, target)
            await self._refresh([key])
        return number

    @asynccontextmanager
    async def using(self, key: str = "", change_key: str = "") -> AsyncIterator[RevisionStore]:
        """The revisions, with the client's errors as RegistryUnavailable or WrongKind."""
        keys = [stored.AUDIT, stored.AUDIT_HEAD, stored.HEADS]
        keys += [key, stored.history_of(key)] if key else []
        keys += [stored.REPLAY + change_key] if change_key else []
        async with self._translated(*keys):
            yield self.revisions

    @asynccontextmanager
    async def _translated(self, *keys: str) -> AsyncIterator[None]:
        """Commands on these keys, with the client's errors as RegistryUnavailable or WrongKind."""
        try:
            yield
        except (RedisError, OSError) as error:
            if isinstance(error, ResponseError) and "WRONGTYPE" in str(error):
                async with self._translated():
                    kinds = await self._kinds(keys)
                for key, kind in kinds.items():
                    is_history = key.startswith(stored.HISTORY)
                    wanted = "list" if is_history else _KINDS.get(key, "string")
                    if kind not in (wanted, "none"):
                        wanted = "text" if wanted == "string" else wanted
                        raise WrongKind(key, kind, wanted) from None
            raise RegistryUnavailable(f"Redis did not answer ({type(error).__name__})") from error

    async def _kinds(self, keys: Sequence[str]) -> dict[str, str]:
        """What each key holds, as the server names it; `none` where there is nothing."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.type(key)
            return dict(zip(keys, map(_text, await pipeline.execute()), strict=True))

    # --- following -------------------------------------------------------------------------------

    async def _follow(self) -> None:
        tries = 0
        while True:
            try:
                async with aclosing(self._changes()) as pushes:
                    await self._session(pushes)
            except* Exception as errors:  # noqa: BLE001 - following must continue after any error
                tries = 0 if self._away is None else tries + 1
                self._lost(type(errors.exceptions[0]).__name__)
            await asyncio.sleep(_RETRY_SECONDS[min(tries, len(_RETRY_SECONDS) - 1)])

    async def _changes(self) -> AsyncGenerator[tuple[str, ...] | None]:
        """What has changed, from the server, or by looking where the server does not say."""
        try:
            async with aclosing(changes(self._client, stored.PREFIX)) as pushes:
                async for keys in pushes:
                    yield keys
        except TrackingRefused as error:
            if self._untracked is None:
                self._untracked = _untracked(error)
                _log.warning("registry.untracked", problem=str(self._untracked))
        async with aclosing(looks(self._client)) as pushes:
            async for keys in pushes:
                yield keys

    async def _session(self, pushes: AsyncIterator[tuple[str, ...] | None]) -> None:
        """One connection's life: read everything, then what the server says has changed."""
        await anext(pushes)
        await self._load()
        if self._away or self._untracked:
            self._away = None
            self._show()
        if self._first is not None and not self._first.done():
            self._first.set_result(None)
        pending: set[str | None] = set()  # None: all keys
        wake, ended = asyncio.Event(), asyncio.Event()

        async def refresh_pending() -> None:
            await wake.wait()
            while not ended.is_set():
                wake.clear()
                changed = [*pending]
                pending.clear()
                known = [key for key in changed if key is not None]
                await (self._load() if None in changed else self._refresh(known))
                await wake.wait()

        async with asyncio.TaskGroup() as group:
            group.create_task(refresh_pending())
            try:
                async for keys in pushes:
                    pending.update([None] if keys is None else [*filter(stored.is_document, keys)])
                    wake.set()
            finally:  # a cancellation alone would not do: it is lost where the library connects
                ended.set()
                wake.set()

    async def _load(self) -> None:
        found: set[str] = set()
        async for key in self._client.scan_iter(match=f"{stored.PREFIX}[abdiklpr]*", count=5000):
            if stored.is_document(name := _text(key)):
                found.add(name)
        await self._refresh([*found, *(self._cached.keys - found)])

    async def _refresh(self, keys: Sequence[str]) -> None:
        """Read keys again; one at a time in this process, so that the later reading counts."""
        changed = False
        for start in range(0, len(keys), _CHUNK):
            async with self._lock:
                values = await self._read(keys[start : start + _CHUNK])
                size = sum(len(value) for value in values.values() if isinstance(value, bytes))
                if size > _QUICK:
                    read = await asyncio.to_thread(self._cached.read, values)
                else:
                    read = self._cached.read(values)
                changed |= self._cached.take(read)
            await asyncio.sleep(0)
        if changed:
            self._show()

    async def _read(self, keys: Sequence[str]) -> dict[str, stored.Stored]:
        """Raw values by key; what is too large or not a text is not fetched."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.strlen(key)
            sizes: list[Any] = await pipeline.execute(raise_on_error=False)
        sized = dict(zip(keys, sizes, strict=True))
        failed = {key: size for key, size in sized.items() if isinstance(size, Exception)}
        large = [k for k, size in sized.items() if k not in failed and size > stored.VALUE_LIMIT]
        found: dict[str, stored.Stored] = {key: stored.too_large(key, sized[key]) for key in large}
        if other := next((one for one in failed.values() if "WRONGTYPE" not in str(one)), None):
            raise other
        for key, kind in (await self._kinds([*failed])).items() if failed else ():
            found[key] = None if kind in ("none", "string") else stored.not_text(key, kind)
        wanted = [key for key in keys if key not in found]
        values: Iterable[Any] = await self._client.mget(wanted) if wanted else ()
        return {**dict(zip(wanted, values, strict=True)), **found}

    def _show(self) -> None:
        self.document = self._cached.document(*filter(None, (self._away, self._untracked)))
        self._changed()

    def _lost(self, fault: str) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_exception(RegistryUnavailable(f"Redis did not answer ({fault})"))
            return
        if self._away is None:
            _log.warning("lost the registry's store", fault=fault)
            message = f"the store is unavailable ({fault}); the last known agents stay in use"
            self._away = Problem(stored.SOURCE, message, "start it, or fix REDIS_URL")
            self._show()


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _untracked(error: TrackingRefused) -> Problem:
    message = f"the store refuses CLIENT TRACKING ({error}), so its agents are read every second"
    cure = "allow `client|tracking` to its user, or accept that"
    if "unknown command" in str(error):
        cure = "remove the `rename-command` of CLIENT from its configuration, or accept that"
    return Problem("REDIS_URL", message, cure, "warning")


# --- what has changed, pushed by the server over a connection of its own -------------------------


class TrackingRefused(Exception):
    """The server does not say what changes: its words, such as those for a missing permission."""


async def changes(client: Redis, prefix: str) -> AsyncGenerator[tuple[str, ...] | None]:
    """Names of changed keys as they change; first an empty tuple when tracking is on.

    None means that any key may have changed. Raises TrackingRefused where the server has no such
    pushes, and redis or OS errors when the connection is lost: what happened from then on is
    unknown.
    """
    pool = client.connection_pool
    settings = {**pool.connection_kwargs, "protocol": 3, "decode_responses": False}
    connection: Any = pool.connection_class(**settings)

    async def as_it_is(push: list[Any]) -> list[Any]:
        return push

    try:
        try:
            await connection.connect()
            # The library has no public way to receive these pushes.
            connection._parser.set_invalidation_push_handler(as_it_is)  # noqa: SLF001
            await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix)
            await connection.read_response()
        except ResponseError as error:  # a login that is refused is another kind of error
            raise TrackingRefused(str(error)) from None
        yield ()
        is_asked = False
        while True:
            answer = await connection.read_response(timeout=_SILENCE_SECONDS, push_request=True)
            if answer is None and is_asked:
                raise LostConnection("the server went silent")
            is_asked = answer is None
            if is_asked:
                await connection.send_command("PING")
            elif isinstance(answer, list):
                keys = answer[1]
                yield None if keys is None else tuple(map(_text, keys))
    finally:
        await connection.disconnect(nowait=True)


async def looks(client: Redis) -> AsyncGenerator[tuple[str, ...] | None]:
    """The same without the server's help: any key may have changed each second, or when published.

    First an empty tuple; raises redis or OS errors when the connection is lost.
    """
    yield ()
    subscription = client.pubsub(ignore_subscribe_messages=True)
    try:
        await subscription.subscribe(CHANGED)
        is_allowed = True
        while True:
            try:
                if is_allowed:
                    await subscription.get_message(timeout=_LOOK_SECONDS)
                else:
                    await asyncio.sleep(_LOOK_SECONDS)
            except ResponseError:  # its user has no channels
                is_allowed = False
            yield None
    finally:
        await asyncio.shield(subscription.aclose())  # type: ignore[no-untyped-call]
