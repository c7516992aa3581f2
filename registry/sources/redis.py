"""Agents in Redis: plain JSON that a hand-written SET may change, felt within milliseconds."""

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

from registry.authorization import WriterPermissions
from registry.errors import KeyReused, Problem, RegistryUnavailable, RevisionConflict, WrongKind
from registry.keys import AUDIT, BINDING, DEFAULT, DEFINITION, PREFIX, replay_key, revision_of
from registry.snapshot import Document
from registry.sources.store import (
    VALUE_LIMIT,
    AuditEntry,
    CachedDocuments,
    Listener,
    Listeners,
    NoText,
    PendingChanges,
    Raw,
    Reading,
    StoredValue,
    TooLarge,
    fingerprint,
)

_log = structlog.get_logger("registry")
_SCRIPT = (Path(__file__).parent / "write.lua").read_text()
_GUEST = WriterPermissions(operator=False)
_REMEMBER_SECONDS = 3 * 24 * 3600
_QUICK = 32_000  # bytes that are read and validated on the loop
_CHUNK = 50  # values read and validated between two breaths of the loop
_SILENCE_SECONDS = 2.0
_RETRY_SECONDS = (0.05, 0.2, 0.5, 1.0)


class RedisStore:
    """The storage port on Redis; bad values are reported, and the last good ones stay.

    `client` answers in bytes. While the server is away everything stays readable.
    """

    def __init__(
        self, client: Redis, authority: WriterPermissions = _GUEST, name: str = "redis"
    ) -> None:
        self._client = client
        self._name = name
        self._shelf = CachedDocuments(name, authority)
        self._write_script = client.register_script(_SCRIPT)
        self._listeners = Listeners()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self._away: Problem | None = None
        self.document = Document()

    async def open(self) -> None:
        """Read everything once, then follow; raises RegistryUnavailable if that is impossible."""
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

    def owner(self, _key: str) -> str | None:
        """Every key can be written."""
        return None

    async def get(self, key: str) -> StoredValue | None:
        """A raw value, or None."""
        async with self._asked(key):
            value = await self._client.get(key)
        if value is None:
            return None
        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        return StoredValue(text, revision_of(value))

    async def list(self) -> Document:
        """Everything, read again now."""
        async with self._asked():
            await self._load()
        return self.document

    async def put(self, key: str, value: str, expected: str | None, note: AuditEntry) -> str:
        """Write over an expected revision; see the port."""
        mark = fingerprint(note.action, key, value)
        await self._write("put", key, value, expected or "", mark, note)
        return revision_of(value)

    async def delete(self, key: str, expected: str, note: AuditEntry) -> None:
        """Remove a value of an expected revision; see the port."""
        mark = fingerprint(note.action, key)
        await self._write("delete", key, "", expected, mark, note)

    async def replayed(self, note: AuditEntry, fingerprint: str) -> bool:
        """Whether this change was made before."""
        async with self._asked(replay_key(note.key)):
            made = await self._client.get(replay_key(note.key))
        if made is not None and _text(made) != fingerprint:
            raise KeyReused(f"the key of this {note.action} made another change before")
        return made is not None

    async def record(self, note: AuditEntry) -> None:
        """Write an audit entry alone, once for its key."""
        mark = fingerprint(note.action, note.target)
        await self._write("record", AUDIT, "", "", mark, note)

    async def audit(self, count: int = 100) -> Sequence[Mapping[str, str]]:
        """The newest audit entries, newest first, each with its stream id as `id`."""
        async with self._asked(AUDIT):
            entries: Any = await self._client.xrevrange(AUDIT, count=count)
        return [_entry(identity, fields) for identity, fields in entries]

    def watch(self, listener: Listener) -> Callable[[], None]:
        """Call a listener after each change; the result ends that."""
        return self._listeners.add(listener)

    @asynccontextmanager
    async def _asked(self, *keys: str) -> AsyncIterator[None]:
        """What is done with these keys; raises RegistryUnavailable, or WrongKind of one of them."""
        try:
            yield
        except (RedisError, OSError) as error:
            if isinstance(error, ResponseError) and "WRONGTYPE" in str(error):
                await self._tell_wrong_kind(keys)
            raise RegistryUnavailable(f"Redis did not answer ({type(error).__name__})") from error

    async def _tell_wrong_kind(self, keys: Sequence[str]) -> None:
        async with self._asked():
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
        kind: Literal["put", "delete", "record"],
        key: str,
        value: str,
        expected: str,
        mark: str,
        note: AuditEntry,
    ) -> None:
        audit = [text for pair in note.fields().items() for text in pair]
        keys = (key, AUDIT, replay_key(note.key))
        async with self._asked(*keys):
            answer = await self._write_script(
                keys=keys,
                args=[kind, value, expected, mark, _REMEMBER_SECONDS, *audit],
            )
            await self._refresh([] if kind == "record" else [key])
        if _text(answer) == "conflict":
            raise RevisionConflict(f"{note.target} was changed by somebody else meanwhile")
        if _text(answer) == "reused" and kind != "record":
            raise KeyReused(f"the key of this {note.action} made another change before")

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
        self._found()
        news = PendingChanges(_ours)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take(news))
            try:
                async for keys in pushes:
                    news.hear(keys)
            finally:
                news.end()

    async def _take(self, news: PendingChanges) -> None:
        """Read what has changed, until the session ends.

        A cancellation alone would not do: it is lost where the library connects.
        """
        while await news.come():
            everything, keys = news.take()
            await (self._load() if everything else self._refresh(keys))

    async def _load(self) -> None:
        found: set[str] = set()
        async for key in self._client.scan_iter(match=f"{PREFIX}[bd]*", count=5000):
            if _ours(name := _text(key)):
                found.add(name)
        await self._refresh([*found, *(self._shelf.keys - found)])

    async def _refresh(self, keys: Sequence[str]) -> None:
        """Read keys again; one at a time in this process, so that the later reading counts."""
        changed = False
        for start in range(0, len(keys), _CHUNK):
            async with self._turn:
                values = await self._read(keys[start : start + _CHUNK])
                changed |= self._shelf.take(await self._understood(values))
            await asyncio.sleep(0)
        if changed:
            self._show()

    async def _understood(self, values: Mapping[str, Raw]) -> Sequence[Reading]:
        """What values say; long ones are read in a thread."""
        if sum(len(value) for value in values.values() if isinstance(value, bytes)) > _QUICK:
            return await asyncio.to_thread(self._shelf.read, values)
        return self._shelf.read(values)

    async def _read(self, keys: Sequence[str]) -> dict[str, Raw]:
        """Raw values by key; what is too large, or no text, is not fetched."""
        async with self._client.pipeline(transaction=False) as asked:
            for key in keys:
                asked.strlen(key)
            sizes: list[Any] = await asked.execute(raise_on_error=False)
        found: dict[str, Raw] = {
            key: TooLarge(size)
            for key, size in zip(keys, sizes, strict=True)
            if isinstance(size, int) and size > VALUE_LIMIT
        }
        odd = [key for key, size in zip(keys, sizes, strict=True) if _is_no_text(size)]
        if odd:
            for key, kind in (await self._kinds(odd)).items():
                found[key] = None if kind in ("none", "string") else NoText(kind)
        wanted = [key for key in keys if key not in found]
        values: Iterable[Any] = await self._client.mget(wanted) if wanted else ()
        return {**dict(zip(wanted, values, strict=True)), **found}

    def _show(self) -> None:
        self.document = self._shelf.document(*(() if self._away is None else (self._away,)))
        self._listeners.tell()

    def _found(self) -> None:
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
            told = f"the store is away ({fault}); the last known agents stay in use"
            self._away = Problem(self._name, told, "start it, or correct REDIS_URL")
            self._show()


def _is_no_text(size: Any) -> bool:
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


def _entry(identity: Any, fields: Mapping[Any, Any]) -> dict[str, str]:
    return {"id": _text(identity), **{_text(name): _text(item) for name, item in fields.items()}}


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
