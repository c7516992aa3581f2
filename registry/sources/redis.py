"""Agents in Redis: plain JSON that a hand-written SET may change, in force within milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, cast

import structlog
from redis.asyncio import Connection, Redis
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError

from registry.authorization import GUEST, WriterPermissions
from registry.errors import KeyReused, Problem, RegistryUnavailable, RevisionConflict, WrongKind
from registry.keys import (
    AUDIT,
    BINDING,
    DEFAULT,
    DEFINITION,
    PREFIX,
    REPLAY,
    AuditEntry,
    StoredValue,
    fingerprint,
    revision_of,
)
from registry.snapshot import Document
from registry.sources.cached_documents import (
    VALUE_LIMIT,
    CachedDocuments,
    OtherType,
    Readings,
    Stored,
    TooLarge,
)

_log = structlog.get_logger("registry")
_SCRIPT = (Path(__file__).parent / "write.lua").read_text()
_REMEMBER_SECONDS = 3 * 24 * 3600
_QUICK = 32_000  # bytes that are read and validated on the loop
_CHUNK = 50  # values read and validated between two breaths of the loop
_SILENCE_SECONDS = 2.0
_RETRY_SECONDS = (0.05, 0.2, 0.5, 1.0)


class RedisStore:
    """Agents, bindings and the default agent in Redis; values as `registry.keys` names them.

    Bad values are reported in `document.problems`, and the last good ones stay. While the server is
    away everything stays readable. A write whose entry's key was seen before with the same
    fingerprint changes nothing and succeeds. `client` answers in bytes.
    """

    def __init__(
        self, client: Redis, writer: WriterPermissions = GUEST, name: str = "redis"
    ) -> None:
        self.document = Document()
        self._client = client
        self._name = name
        self._cached = CachedDocuments(name, writer)
        self._write_script = client.register_script(_SCRIPT)
        self._changed: Callable[[], None] = lambda: None
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self._away: Problem | None = None

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

    async def get(self, key: str) -> StoredValue | None:
        """A raw value, or None."""
        async with self._translated(key):
            value = await self._client.get(key)
        return None if value is None else StoredValue(_text(value), revision_of(value))

    async def put(self, key: str, value: str, expected: str | None, entry: AuditEntry) -> None:
        """Write a value over the expected revision (None: nothing is there).

        Raises RevisionConflict, KeyReused, WrongKind or RegistryUnavailable.
        """
        await self._write("put", key, value, expected, entry)

    async def delete(self, key: str, expected: str, entry: AuditEntry) -> None:
        """Remove a value of the expected revision; raises as `put`."""
        await self._write("delete", key, "", expected, entry)

    async def replayed(self, entry: AuditEntry, fingerprint: str) -> bool:
        """Whether this change was made before; raises KeyReused where its key made another one."""
        async with self._translated(REPLAY + entry.key):
            made = await self._client.get(REPLAY + entry.key)
        if made is not None and _text(made) != fingerprint:
            raise KeyReused(f"the key of this {entry.action} made another change before")
        return made is not None

    async def record(self, entry: AuditEntry) -> None:
        """Write an audit entry alone, once for its key."""
        await self._write("record", AUDIT, "", None, entry)

    async def audit(self, count: int = 100) -> Sequence[Mapping[str, str]]:
        """The newest audit entries, newest first, each with its stream id as `id`."""
        async with self._translated(AUDIT):
            entries: Any = await self._client.xrevrange(AUDIT, count=count)
        return [
            {"id": _text(id), **{_text(name): _text(item) for name, item in fields.items()}}
            for id, fields in entries
        ]

    @asynccontextmanager
    async def _translated(self, *keys: str) -> AsyncIterator[None]:
        """Commands on these keys, with the client's errors as RegistryUnavailable or WrongKind."""
        try:
            yield
        except (RedisError, OSError) as error:
            if isinstance(error, ResponseError) and "WRONGTYPE" in str(error):
                await self._raise_wrong_kind(keys)
            raise RegistryUnavailable(f"Redis did not answer ({type(error).__name__})") from error

    async def _raise_wrong_kind(self, keys: Sequence[str]) -> None:
        async with self._translated():
            kinds = await self._kinds(keys)
        for key, kind in kinds.items():
            wanted = "stream" if key == AUDIT else "string"
            if kind not in (wanted, "none"):
                raise WrongKind(key, kind, "stream" if key == AUDIT else "text")

    async def _kinds(self, keys: Sequence[str]) -> dict[str, str]:
        """What each key holds, as the server names it; `none` where there is nothing."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.type(key)
            return dict(zip(keys, map(_text, await pipeline.execute()), strict=True))

    async def _write(
        self,
        act: Literal["put", "delete", "record"],
        key: str,
        value: str,
        expected: str | None,
        entry: AuditEntry,
    ) -> None:
        mark = fingerprint(entry.action, entry.target if act == "record" else key, value)
        audit = [text for pair in entry.fields().items() for text in pair]
        keys = (key, AUDIT, REPLAY + entry.key)
        async with self._translated(*keys):
            answer = await self._write_script(
                keys=keys, args=[act, value, expected or "", mark, _REMEMBER_SECONDS, *audit]
            )
            await self._refresh([] if act == "record" else [key])
        if _text(answer) == "conflict":
            raise RevisionConflict(
                f"{entry.target} has been changed by somebody else in the meantime"
            )
        if _text(answer) == "reused" and act != "record":
            raise KeyReused(f"the key of this {entry.action} made another change before")

    # --- following -------------------------------------------------------------------------------

    async def _follow(self) -> None:
        tries = 0
        while True:
            try:
                async with aclosing(changes(self._client, PREFIX)) as pushes:
                    await self._session(pushes)
            except* Exception as errors:  # noqa: BLE001 - whatever it is, following must go on
                fault = type(errors.exceptions[0]).__name__
                tries = 0 if self._away is None else tries + 1
                self._lost(fault)
            await asyncio.sleep(_RETRY_SECONDS[min(tries, len(_RETRY_SECONDS) - 1)])

    async def _session(self, pushes: AsyncIterator[tuple[str, ...] | None]) -> None:
        """One connection's life: read everything, then what the server says has changed."""
        await anext(pushes)
        await self._load()
        self._connected()
        pending = PendingChanges()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._refresh_pending(pending))
            try:
                async for keys in pushes:
                    pending.add(keys)
            finally:
                pending.end()

    async def _refresh_pending(self, pending: PendingChanges) -> None:
        """Read what has changed, until the session ends.

        A cancellation alone would not do: it is lost where the library connects.
        """
        while await pending.wait():
            everything, keys = pending.take()
            await (self._load() if everything else self._refresh(keys))

    async def _load(self) -> None:
        found: set[str] = set()
        async for key in self._client.scan_iter(match=f"{PREFIX}[bd]*", count=5000):
            if _ours(name := _text(key)):
                found.add(name)
        await self._refresh([*found, *(self._cached.keys - found)])

    async def _refresh(self, keys: Sequence[str]) -> None:
        """Read keys again; one at a time in this process, so that the later reading counts."""
        changed = False
        for start in range(0, len(keys), _CHUNK):
            async with self._lock:
                values = await self._read(keys[start : start + _CHUNK])
                changed |= self._cached.take(await self._validated(values))
            await asyncio.sleep(0)
        if changed:
            self._show()

    async def _validated(self, values: Mapping[str, Stored]) -> Readings:
        """What values say; long ones are read in a thread."""
        if sum(len(value) for value in values.values() if isinstance(value, bytes)) > _QUICK:
            return await asyncio.to_thread(self._cached.read, values)
        return self._cached.read(values)

    async def _read(self, keys: Sequence[str]) -> dict[str, Stored]:
        """Raw values by key; what is too large or not a text is not fetched."""
        async with self._client.pipeline(transaction=False) as asked:
            for key in keys:
                asked.strlen(key)
            sizes: list[Any] = await asked.execute(raise_on_error=False)
        found: dict[str, Stored] = {
            key: TooLarge(size)
            for key, size in zip(keys, sizes, strict=True)
            if isinstance(size, int) and size > VALUE_LIMIT
        }
        odd = [key for key, size in zip(keys, sizes, strict=True) if _is_other_type(size)]
        if odd:
            for key, kind in (await self._kinds(odd)).items():
                found[key] = None if kind in ("none", "string") else OtherType(kind)
        wanted = [key for key in keys if key not in found]
        values: Iterable[Any] = await self._client.mget(wanted) if wanted else ()
        return {**dict(zip(wanted, values, strict=True)), **found}

    def _show(self) -> None:
        self.document = self._cached.document(*(() if self._away is None else (self._away,)))
        self._changed()

    def _connected(self) -> None:
        if self._away is not None:
            self._away = None
            self._show()
        if self._first is not None and not self._first.done():
            self._first.set_result(None)

    def _lost(self, fault: str) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_exception(RegistryUnavailable(f"Redis did not answer ({fault})"))
            return
        if self._away is None:
            _log.warning("lost the registry's store", fault=fault)
            message = f"the store is away ({fault}); the last known agents stay in use"
            self._away = Problem(self._name, message, "start it, or correct REDIS_URL")
            self._show()


def _is_other_type(size: Any) -> bool:
    """Whether STRLEN says that a key holds something else; raises any other error."""
    if not isinstance(size, Exception):
        return False
    if "WRONGTYPE" not in str(size):
        raise size
    return True


def _ours(key: str) -> bool:
    return key == DEFAULT or key.startswith((DEFINITION, BINDING))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class PendingChanges:
    """The keys that have changed since they were last taken; perhaps all of them."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._everything = self._ended = False
        self._wake = asyncio.Event()

    def add(self, keys: tuple[str, ...] | None) -> None:
        """Note changed keys; None means that any may have changed."""
        self._everything |= keys is None
        self._keys.update(filter(_ours, keys or ()))
        self._wake.set()

    def end(self) -> None:
        """No more changes come."""
        self._ended = True
        self._wake.set()

    async def wait(self) -> bool:
        """Wait for changes; False once no more come."""
        await self._wake.wait()
        self._wake.clear()
        return not self._ended

    def take(self) -> tuple[bool, list[str]]:
        """Whether everything must be read, and else which keys."""
        found = self._everything, [*self._keys]
        self._everything = False
        self._keys.clear()
        return found


# --- what has changed, as the server tells it, on a connection of its own ------------------------


async def changes(client: Redis, prefix: str) -> AsyncGenerator[tuple[str, ...] | None]:
    """Names of changed keys as they change; first an empty tuple when tracking is on.

    None means that any key may have changed. Raises redis or OS errors when the connection is lost:
    what happened from then on is unknown.
    """
    connection = _own(client)
    try:
        await connection.connect()
        # The library has no public way to receive these pushes.
        connection._parser.set_invalidation_push_handler(_as_it_is)  # noqa: SLF001
        await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix)
        await connection.read_response()
        yield ()
        async for keys in _pushes(connection):
            yield keys
    finally:
        await connection.disconnect(nowait=True)


def _own(client: Redis) -> Any:
    pool = client.connection_pool
    settings = {**pool.connection_kwargs, "protocol": 3, "decode_responses": False}
    return cast(type[Connection], pool.connection_class)(**settings)


async def _as_it_is(push: list[Any]) -> list[Any]:
    return push


async def _pushes(connection: Any) -> AsyncGenerator[tuple[str, ...] | None]:
    asked = False
    while True:
        answer = await connection.read_response(timeout=_SILENCE_SECONDS, push_request=True)
        if answer is None and asked:
            raise LostConnection("the server went silent")
        asked = answer is None
        if asked:
            await connection.send_command("PING")
        elif isinstance(answer, list):
            keys = answer[1]
            yield None if keys is None else tuple(key.decode(errors="replace") for key in keys)
