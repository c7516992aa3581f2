"""The door of the HTTP API: what each request passes before the application hears of it.

In this order: size, Host and Origin, credential, rate, and what else the request says of its
caller. None of it needs the web framework, so a refusal is cheap, and a host without a key never
loads it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.http.api.caller import Caller, Credentials, change_key
from bot.http.api.idempotency import Answer, Idempotency
from bot.http.api.problems import MEDIA_TYPE, ApiError, unavailable
from bot.http.server import BODY_LIMIT
from bot.ops.logging import Counters
from bot.ops.tasks import TaskSet, wait_first
from bot.store.key_uses import KeyUses
from registry.api_key import PREFIX, ApiKey, valid_user
from registry.errors import InvalidValue
from registry.roles import Why

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
PAGE = {
    "/docs": ("page.html", "text/html; charset=utf-8"),
    "/docs/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/docs/page.css": ("page.css", "text/css; charset=utf-8"),
}
"""The documentation's page and its files, which need no key."""
_CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ALWAYS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_MOST_NAMES = 4096
_TINY = 1e-9  # seconds that rounding may cost
_MOST_WORDS = 500
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


@dataclass(frozen=True, slots=True)
class GateRules:
    """Under which names the API is called, and how many requests a minute it takes.

    `requests` are those of one key, `failures` those of one address that show no valid key.
    """

    hosts: frozenset[str] = frozenset()
    requests: int = 600
    failures: int = 60


@dataclass(slots=True)
class Api:
    """What is behind the door; `load` makes the application when the first key is there.

    It waits until the host has `started`, unless a request needs it before. `wanted` is the
    setting: whether there is an API without a key (True) or in no case (False).
    """

    credentials: Credentials
    load: Callable[[], Awaitable[ASGIApp]]
    idempotency: Idempotency
    uses: KeyUses
    started: asyncio.Event
    wanted: bool | None = None
    _asked: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _loading: asyncio.Task[ASGIApp] | None = field(default=None, init=False)

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


@dataclass(slots=True)
class _Head:
    """What the door reads of a request's headers; each may be there once, or it is refused."""

    host: str = ""
    origin: str | None = None
    authorization: str = ""
    length: str = "0"
    is_json: bool = False
    key: str | None = None
    reason: str = ""
    ticket: str = ""
    has_body: bool = False
    is_only_new: bool = False

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> _Head:
        """The headers of a request; raises ApiError where one of them is there twice."""
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _READ:
                if name in found:
                    raise ApiError(400, "bad-request", "A header is there twice.", name.decode())
                found[name] = value
        text = {name: value.decode("latin-1").strip() for name, value in found.items()}
        kind = text.get(b"content-type", "").partition(";")[0].strip().lower()
        return cls(
            host=text.get(b"host", ""),
            is_only_new=b"if-none-match" in text,
            origin=text.get(b"origin"),
            authorization=text.get(b"authorization", ""),
            length=text.get(b"content-length", "0"),
            is_json=kind == "application/json" or kind.endswith("+json"),
            key=text.get(b"idempotency-key"),
            reason=_words(found.get(b"change-reason", b"")),
            ticket=_words(found.get(b"change-ticket", b"")),
            has_body=found.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in found,
        )


_READ = frozenset(
    {
        *(b"host", b"origin", b"authorization", b"content-length", b"content-type"),
        *(b"idempotency-key", b"change-reason", b"change-ticket", b"transfer-encoding"),
        b"if-none-match",
    }
)


class ApiGate:
    """Lets requests through to the API, and those of others to `inner`: health and webhooks.

    `api` is None until the registry has been read; `expected` says whether there will be one.
    """

    def __init__(
        self, inner: ASGIApp, rules: GateRules, counters: Counters, *, expected: bool = False
    ) -> None:
        self.api: Api | None = None
        self._inner = inner
        self._hosts = rules.hosts
        self._counters = counters
        self._expected = expected
        self._requests = MinuteLimiter(rules.requests)
        self._failures = MinuteLimiter(rules.failures)
        self._told = MinuteLimiter(1)
        self._noting = TaskSet()
        self._page: dict[str, bytes] = {}

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
                await self._pass(self.api, scope, receive, send)
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

    async def _pass(self, api: Api, scope: Scope, receive: Receive, send: Send) -> None:
        """Every step, in order; raises ApiError at the first one that refuses."""
        head = _Head.of(scope["headers"])
        if not head.length.isdecimal() or int(head.length) > BODY_LIMIT:
            raise _too_large()
        self._check_host(head, scope)
        if scope["path"] in PAGE and scope["method"] in ("GET", "HEAD"):
            await self._show_page(scope, send)
            return
        origin = _address(scope)
        key = self._key_of(api, head, scope, origin)
        if wait := self._requests.wait(key.id):
            raise _too_many("This key has made too many requests.", wait)
        if head.is_only_new and scope["method"] in _WRITES:
            detail = "If-None-Match is not supported here. A PUT answers 201 where it created."
            raise ApiError(422, "invalid", detail, field="If-None-Match")
        body = await _body(receive)
        caller = _caller(api.credentials, key, head, scope, body)
        scope["state"] = {**scope.get("state", {}), "caller": caller}
        if api.uses.is_due(key.id):
            self._noting.spawn(api.uses.note(key.id, origin))
        app = await api.app()
        if head.key is not None and scope["method"] in _WRITES:
            await _once(api.idempotency, app, caller, (scope, body, receive, send))
        else:
            await _run(app, scope, _replayed(body, receive), _with_headers(send))

    def _check_host(self, head: _Head, scope: Scope) -> None:
        """Refuse a name that is not ours (a page that was rebound to us), and others' pages."""
        name = _name_of(head.host)
        here = (scope.get("server") or ("", 0))[0]
        if name is None or (name not in self._hosts and name != here and not _is_loopback(name)):
            detail = (
                "This host is not called by the name in the Host header. Its operator can add the "
                "name to API_ALLOWED_HOSTS."
            )
            raise ApiError(421, "foreign-host", detail)
        if head.origin is not None:
            with suppress(ValueError):
                parts = urlsplit(head.origin)
                default = {"http": 80, "https": 443}.get(parts.scheme)
                ours = urlsplit(f"//{head.host}")
                if default and (parts.hostname, parts.port or default) == (
                    name,
                    ours.port or default,
                ):
                    return
            raise ApiError(403, "foreign-origin", "Pages of other sites may not call this API.")

    def _key_of(self, api: Api, head: _Head, scope: Scope, origin: str) -> ApiKey:
        """The key that a request shows; every failure takes the same way to the same answer."""
        scheme, _, secret = head.authorization.partition(" ")
        url = scope.get("raw_path", b"") + scope.get("query_string", b"")
        key = api.credentials.find(secret.strip())
        in_url = PREFIX.encode() in url or secret.strip().encode() in url
        if scheme.lower() == "bearer" and key is not None and not in_url:
            return key
        if not self._told.wait(origin):
            log.warning("api.unauthorized", address=origin, so="answered 401")
        # A valid key gets in whatever others at its address do: behind a proxy, all share one.
        if wait := self._failures.wait(origin):
            raise _too_many("Too many requests without a valid key.", wait)
        headers = {"WWW-Authenticate": 'Bearer realm="switchboard"'}
        raise ApiError(401, "unauthorized", _UNAUTHORIZED, headers=headers)

    async def _show_page(self, scope: Scope, send: Send) -> None:
        name, kind = PAGE[scope["path"]]
        if name not in self._page:
            folder = files("bot.http.api") / "page"
            self._page[name] = (folder / name).read_bytes()
        headers = [(b"content-type", kind.encode())]
        headers += [(b"content-security-policy", _CONTENT_POLICY.encode())]
        headers += [(b"referrer-policy", b"no-referrer"), (b"x-frame-options", b"DENY")]
        await _send(Answer(200, tuple(headers), self._page[name]), scope, send)


# --- the parts of a request ----------------------------------------------------------------------


def _words(value: bytes) -> str:
    """A text of a header in UTF-8, or else Latin-1."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text.strip()[:_MOST_WORDS]


def _name_of(host: str) -> str | None:
    """The name in a Host header, in small letters; None where it is not one."""
    with suppress(ValueError):
        parts = urlsplit(f"//{host}")
        if parts.hostname and parts.netloc == host and "@" not in host and parts.port != 0:
            return parts.hostname.rstrip(".")
    return None


def _is_loopback(name: str) -> bool:
    with suppress(ValueError):
        return ip_address(name).is_loopback
    return name == "localhost" or name.endswith(".localhost")


def _address(scope: Scope) -> str:
    """Where a request comes from; of IPv6 the network, of which one client has a whole one."""
    client = scope.get("client")
    if not client:
        return "unknown"
    address = str(client[0])
    with suppress(ValueError):
        if ":" in address:
            own = IPv6Address(address)
            mapped = own.ipv4_mapped
            return str(mapped) if mapped else f"{IPv6Address(int(own) >> 64 << 64)}/64"
    return address


async def _body(receive: Receive) -> bytes:
    """The whole body; raises ApiError where it is too large, or does not come to its end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(408, "cut-off", "The request was cut off.")
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            raise _too_large()
        if not message.get("more_body", False):
            return bytes(body)


def _caller(
    credentials: Credentials, key: ApiKey, head: _Head, scope: Scope, body: bytes
) -> Caller:
    user = _user(key, scope.get("query_string", b""), body if head.is_json else b"")
    given = head.key
    if given is not None and not (
        0 < len(given) <= 255 and given.isascii() and given.isprintable()
    ):
        detail = "Send 1 to 255 printable ASCII characters."
        raise ApiError(422, "invalid", detail, field="Idempotency-Key")
    # The roles are those of the person whom the key itself names. To name somebody in a request
    # proves nothing, and must not lend their roles.
    granted = credentials.snapshot().roles_held_by(key.person())
    actor = key.actor(user, granted)
    name = given if given is not None else _unique()
    return Caller(
        actor=actor,
        account=key.account,
        key=key,
        user=key.user or user,
        why=Why(head.reason, head.ticket),
        change_key=change_key(key, actor.id, name),
    )


def _user(key: ApiKey, query: bytes, body: bytes) -> str | None:
    """Who a request is made for, by `user_id` in the query or the JSON body; raises ApiError."""
    named: list[Any] = []
    if b"user_id" in query:
        named += parse_qs(query.decode("latin-1"), keep_blank_values=True).get("user_id", [])
    if b'"user_id"' in body:
        with suppress(ValueError, RecursionError):  # the route says what is wrong with the body
            found = json.loads(body)  # what it takes for JSON, FastAPI takes for JSON
            if isinstance(found, dict) and found.get("user_id") is not None:
                named.append(found["user_id"])
    if not named:
        return None
    user = named[0]
    try:
        if any(one != user for one in named) or not isinstance(user, str):
            raise InvalidValue("is not one text", "name one person")
        valid_user(user)
    except InvalidValue as error:
        detail = f"user_id {error.message}; {error.cure}."
        raise ApiError(422, "invalid", detail, field="user_id") from None
    if key.user is not None and user != key.user:
        detail = "This key stands for one person, and the request names another one."
        raise ApiError(403, "denied", detail, field="user_id")
    return user


def _unique() -> str:
    from uuid import uuid4

    return uuid4().hex


# --- answers -------------------------------------------------------------------------------------


def _too_large() -> ApiError:
    return ApiError(413, "too-large", f"A request may have {BODY_LIMIT} bytes.")


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
