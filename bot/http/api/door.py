"""The door of the HTTP API: what each request passes before the application hears of it.

In this order: size, Host and Origin, credential, rate, and what else the request says of its
caller. None of it needs the web framework, so a refusal is cheap, and a host without a key never
loads it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.http.api.caller import Caller, Credentials
from bot.http.api.head import (
    WRITES,
    GateRules,
    Head,
    address_of,
    body_of,
    check_host,
    too_large,
)
from bot.http.api.idempotency import Answer, Idempotency
from bot.http.api.later import Later
from bot.http.api.pages import page_at
from bot.http.api.problems import MEDIA_TYPE, ApiError, not_found, unavailable
from bot.http.api.visitors import SESSION, Visitor, Visitors, begins_turn, caller_of
from bot.http.limits import CONNECTION
from bot.http.server import BODY_LIMIT
from bot.ops.logging import Counters
from bot.ops.tasks import TaskSet, wait_first
from bot.store.key_uses import KeyUses

log = structlog.get_logger("api")
Application = ASGIApp
"""What answers behind the door."""

OPEN_PATHS = frozenset(
    {
        *("/health", "/health/live", "/health/ready"),
        *("/api/v1/health", "/api/v1/health/live", "/api/v1/health/ready"),
    }
)
"""What is answered without a key, whether or not there is an API."""
_WEBHOOKS = "/telegram/"
_ALWAYS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_SIGN_IN_LIMIT = 8 * 1024
_MOST_NAMES = 4096
_TINY = 1e-9  # seconds that rounding may cost
_OF_CONNECTION = frozenset({"type", "http_version", "method", "path", "client", "extensions"})
_UNAUTHORIZED = "Send a valid key of this host: Authorization: Bearer <key>."


class MinuteLimiter:
    """So many a minute of each name, spread evenly after a burst of as many."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60 / per_minute
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def wait(self, name: str) -> float:
        """Count one more, and 0; or the seconds until there may be one."""
        now = self._clock()
        full_at = max(now, self._full_at.get(name, now))
        if (wait := full_at - now - (60 - self._interval)) > _TINY:
            return wait
        self._full_at.pop(name, None)
        if len(self._full_at) >= _MOST_NAMES:  # the one that was silent for the longest time
            del self._full_at[next(iter(self._full_at))]
        self._full_at[name] = full_at + self._interval
        return 0.0


@dataclass(slots=True)
class Api:
    """What is behind the door; `load` makes the application when the first key is there.

    It waits until the host has `started`, unless a request needs it before. `wanted` is the
    setting: whether there is an API without a key (True) or in no case (False).
    """

    visitors: Visitors
    load: Callable[[], Awaitable[ASGIApp]]
    idempotency: Idempotency
    uses: KeyUses
    started: asyncio.Event
    wanted: bool | None = None
    _asked: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _loading: asyncio.Task[ASGIApp] | None = field(default=None, init=False)

    @property
    def credentials(self) -> Credentials:
        """The keys that open it."""
        return self.visitors.credentials

    @property
    def exists(self) -> bool:
        """Whether there is an API at all; where every key was revoked, it answers 401."""
        return self.wanted is not False and (bool(self.wanted) or self.credentials.exist)

    def look(self) -> None:
        """Load the application as soon as something can open it."""
        if self._loading is None and (self.wanted or (self.exists and self.credentials.are_live)):
            self._loading = asyncio.create_task(self._load(), name="api.load")

    async def app(self) -> ASGIApp:
        """The application, once it is loaded."""
        self._asked.set()
        if self._loading is None or (self._loading.done() and self._loading.exception()):
            self._loading = asyncio.create_task(self._load(), name="api.load")
        try:
            return await asyncio.shield(self._loading)
        except asyncio.CancelledError:
            if not self._loading.cancelled():
                raise
            raise unavailable("The host is stopping.") from None
        except Exception:
            if not self._loading.done():
                raise
            log.exception("api.not_loaded", so="it is tried again at the next request")
            raise unavailable("The API could not be loaded. A repeat is safe.") from None

    async def close(self) -> None:
        """End what is still loading."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)

    async def _load(self) -> ASGIApp:
        await wait_first(self._asked, self.started)
        app = await self.load()
        log.info("api.open")
        return app


class ApiGate:
    """Lets requests through to the API, and those of others to `inner`: health and webhooks.

    `api` is None until the registry has been read; `expected` says whether there will be one.
    """

    def __init__(
        self, inner: ASGIApp, rules: GateRules, counters: Counters, *, expected: bool = False
    ) -> None:
        self.api: Api | None = None
        self._inner = inner
        self._rules = rules
        self._counters = counters
        self._expected = expected
        self._requests = MinuteLimiter(rules.requests)
        self._failures = MinuteLimiter(rules.failures)
        self._strangers = MinuteLimiter(rules.failures)
        self._told = MinuteLimiter(1)
        self._noting = TaskSet()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        path = scope.get("path", "")
        is_inner = scope["type"] != "http" or path in OPEN_PATHS or path.startswith(_WEBHOOKS)
        if is_inner or (self.api is None and not self._expected):
            await self._inner(scope, receive, send)
        elif self.api is None:
            await _refuse(unavailable("The host is starting."), scope, send)
        elif not self.api.exists:
            await self._inner(scope, receive, send)
        else:
            try:
                later = await self._pass(self.api, scope, receive, send)
                if later is not None:
                    _forget(scope)
                    await later.run(receive, _with_headers(send))
            except ApiError as refusal:
                self._counters.add(f"api:{refusal.status}")
                await _refuse(refusal, scope, send)

    @property
    def is_open(self) -> bool:
        """Whether a key of this moment opens the API."""
        return self.api is not None and self.api.exists and self.api.credentials.are_live

    async def close(self) -> None:
        """Answer 503 from now on, and end what is done behind the answers."""
        api, self.api, self._expected = self.api, None, self.api is not None
        await self._noting.end(1)
        if api is not None:
            await api.close()

    async def _pass(self, api: Api, scope: Scope, receive: Receive, send: Send) -> Later | None:
        """Every step, in order; raises ApiError at the first one that refuses.

        Returns the rest of an answer that takes long: none of what is here stays in memory for it.
        """
        head = Head.of(scope["headers"])
        if not head.length.isdecimal() or int(head.length) > BODY_LIMIT:
            raise too_large()
        check_host(head, scope, self._rules)
        if (page := page_at(scope["method"], scope["path"])) is not None:
            await _send(page, scope, send)
            return None
        origin, body = address_of(scope), b""
        is_sign_in = scope["path"] == SESSION and scope["method"] == "POST"
        if is_sign_in:  # what it shows is in its body
            body = await body_of(receive, _SIGN_IN_LIMIT)
        visitor = self._admitted(await api.visitors.of(head, scope, body), origin)
        if not scope["path"].isprintable():  # a route would match it without its last line break
            raise not_found()
        if head.is_only_new and scope["method"] in WRITES:
            detail = "If-None-Match is not supported here. A PUT answers 201 where it created."
            raise ApiError(422, "invalid", detail, field="If-None-Match")
        if not is_sign_in:
            body = await body_of(receive)
        caller = caller_of(visitor, api.visitors.credentials, (head, scope, body))
        scope["state"] = {**scope.get("state", {}), "caller": caller}
        if caller.key is not None and api.uses.is_due(caller.key.id):
            self._noting.spawn(api.uses.note(caller.key.id, origin))
        app = await api.app()
        once = head.key is not None and scope["method"] in WRITES
        if once and not begins_turn(scope["path"]):
            await _once(api.idempotency, app, caller, (scope, body, receive, send))
        else:
            await _run(app, scope, _replayed(body, receive), _with_headers(send))
        later: Later | None = scope["state"].get("later")
        return later

    def _admitted(self, visitor: Visitor | None, origin: str) -> Visitor:
        """The visitor; raises ApiError for one who shows nothing valid, or asks too often."""
        if visitor is not None:
            if not visitor.rate and (wait := self._strangers.wait(origin)):
                raise _too_many("Too many requests come from this address.", wait)
            if visitor.rate and (wait := self._requests.wait(visitor.rate)):
                raise _too_many("This key has made too many requests.", wait)
            return visitor
        # Every failure takes the same way to the same answer.
        if not self._told.wait(origin):
            log.warning("api.unauthorized", address=origin, so="answered 401")
        # A valid key gets in whatever others at its address do: behind a proxy, all share one.
        if wait := self._failures.wait(origin):
            raise _too_many("Too many requests without a valid key.", wait)
        headers = {"WWW-Authenticate": 'Bearer realm="switchboard"'}
        raise ApiError(401, "unauthorized", _UNAUTHORIZED, headers=headers)


# --- answers -------------------------------------------------------------------------------------


def _too_many(detail: str, wait: float) -> ApiError:
    return ApiError(429, "too-many", detail, headers={"Retry-After": str(int(wait) + 1)})


async def _refuse(refusal: ApiError, scope: Scope, send: Send) -> None:
    headers = [(b"content-type", MEDIA_TYPE.encode())]
    headers += [(n.lower().encode(), v.encode()) for n, v in (refusal.headers or {}).items()]
    await _send(Answer(refusal.status, tuple(headers), refusal.body()), scope, send)


async def _send(answer: Answer, scope: Scope, send: Send) -> None:
    """Send a whole answer."""
    length = (b"content-length", str(len(answer.body)).encode())
    own = [one for one in answer.headers if one[0].lower() != b"content-length"]
    headers = [*own, length, *_ALWAYS]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    """What every answer of the API has besides its own headers."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_ALWAYS]}
        await send(message)

    return sending


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body that was read already, then what else comes."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


def _forget(scope: Scope) -> None:
    """Free what only the application needed: the connection keeps the scope to the end."""
    for name in [*scope]:
        if name not in _OF_CONNECTION:
            del scope[name]
    scope["query_string"] = b""  # for a log of requests
    if (connection := scope["extensions"].get(CONNECTION)) is not None:
        connection["free"]()


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run the application; a fault of it is logged here, after it was answered with 500."""
    try:
        await app(scope, receive, send)
    except Exception:
        log.exception("api.fault", route=getattr(scope.get("route"), "path", ""))


async def _once(
    idempotency: Idempotency,
    app: ASGIApp,
    caller: Caller,
    request: tuple[Scope, bytes, Receive, Send],
) -> None:
    """Answer a request with an `Idempotency-Key`."""
    scope, body, receive, send = request

    async def make() -> Answer:
        status, headers, parts = 500, tuple[tuple[bytes, bytes], ...](), list[bytes]()

        async def take(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = tuple((bytes(n), bytes(v)) for n, v in message.get("headers", ()))
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        await _run(app, scope, _replayed(body, receive), take)
        return Answer(status, headers, b"".join(parts))

    asked = b"\n".join(
        (scope["method"].encode(), scope["path"].encode(), scope.get("query_string", b""), body)
    )
    # With other roles than before a request is judged again; the catalog makes it once anyway.
    roles = ",".join(sorted(f"{one.role} of {one.place}" for one in caller.actor.grants))
    found = await idempotency.answer(f"{caller.change_key}:{roles}", asked, make)
    await _send(found, scope, send)
