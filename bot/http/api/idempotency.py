"""`Idempotency-Key`: a request that is repeated with it gets the first answer again, for a day."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from bot.errors import StoreError, StoreUnavailable
from bot.http.api.problems import ApiError, unavailable
from bot.messages import Clock
from bot.ops.tasks import cancel_and_wait
from bot.store import keys
from bot.store.client import StoreClient

KEPT_SECONDS = 24 * 3600
RUNNING_SECONDS = 5.0
"""How long the request of a host that died keeps others waiting."""
WAIT_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_MOST_BYTES = 256 * 1024
_SHOWN_ONCE = re.compile(rb"sbk_[\w-]{20,}")
_KEPT_HEADERS = frozenset({b"content-type", b"etag", b"location"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the application."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The answers that were given under a key, in the store.

    Two requests that come at once on two replicas are answered one after the other. Should both be
    answered after all, as one of the hosts was frozen, the catalog makes the change only once, and
    both get the answer that was kept first.
    """

    store: StoreClient
    clock: Clock

    async def answer(
        self, name: str, request: bytes, make: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """The answer kept under this name, or the one that `make` makes now.

        `request` is what must be the same each time. Raises ApiError: 422 for another request under
        this name, 409 where the first one takes too long, 503 while the store is away. A refusal is
        not kept, since it changed nothing; of a kept answer, the API key in it is not.
        """
        digest = hashlib.sha256(name.encode()).hexdigest()[:40]
        print_ = hashlib.sha256(request).hexdigest()
        try:
            stored = await self._stored_or_claimed(digest, print_)
            if stored is not None:
                return stored
            async with self._running(digest, print_):
                found = await make()
                if found.status < 300 and len(found.body) <= _MOST_BYTES:
                    return await self._keep(digest, print_, found)
                return found
        except StoreUnavailable:
            raise unavailable() from None
        except StoreError as error:
            raise unavailable(str(error)) from None

    async def _stored_or_claimed(self, digest: str, print_: str) -> Answer | None:
        """The answer that is kept; None where this request is the one to be answered now."""
        ends = self.clock.monotonic() + WAIT_SECONDS
        while True:
            if (stored := await self._stored(digest, print_)) is not None:
                return stored
            running, ms = keys.api_running(digest), round(RUNNING_SECONDS * 1000)
            if await self.store.command("SET", running, print_, "NX", "PX", ms):
                # What was answered between the two looks is found now.
                return await self._stored(digest, print_)
            held = await self.store.command("GET", running)
            if held is not None and held.decode() != print_:
                raise _reused()
            if self.clock.monotonic() > ends:
                detail = "The first request with this Idempotency-Key is still running."
                raise ApiError(409, "still-running", detail, headers={"Retry-After": "5"})
            await self.clock.sleep(_LOOK_SECONDS)

    async def _stored(self, digest: str, print_: str) -> Answer | None:
        value = await self.store.command("GET", keys.api_answer(digest))
        if value is None:
            return None
        stored: dict[str, Any] = orjson.loads(value)
        if not secrets.compare_digest(stored["request"], print_):
            raise _reused()
        headers = tuple((name.encode(), text.encode()) for name, text in stored["headers"])
        return Answer(stored["status"], headers, stored["body"].encode())

    async def _keep(self, digest: str, print_: str, found: Answer) -> Answer:
        """Keep an answer, unless there is one by now; what the client is to get."""
        headers = [
            (name.decode(), text.decode("latin-1"))
            for name, text in found.headers
            if name.lower() in _KEPT_HEADERS
        ]
        body = _SHOWN_ONCE.sub(b"(shown once)", found.body).decode()
        stored = {"request": print_, "status": found.status, "headers": headers, "body": body}
        name, value = keys.api_answer(digest), orjson.dumps(stored)
        if await self.store.command("SET", name, value, "NX", "EX", KEPT_SECONDS):
            return found
        return await self._stored(digest, print_) or found

    @asynccontextmanager
    async def _running(self, digest: str, print_: str) -> AsyncIterator[None]:
        """Others wait for as long as the block lasts and this host is alive."""
        running, ms = keys.api_running(digest), round(RUNNING_SECONDS * 1000)

        async def renew() -> None:
            while True:
                await self.clock.sleep(RUNNING_SECONDS / 3)
                await self.store.command("SET", running, print_, "PX", ms)

        renewing = asyncio.create_task(renew(), name="api.running")
        try:
            yield
        finally:
            await cancel_and_wait([renewing])
            await self.store.command("DEL", running)


def _reused() -> ApiError:
    detail = "This Idempotency-Key was used for another request. Choose a new one."
    return ApiError(422, "key-reused", detail, field="Idempotency-Key")
