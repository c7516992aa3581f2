"""The HTTP client of one server: it goes only where it may, and its failed posts are answers."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterable
from typing import Any, Protocol

import httpcore2
import httpx2

from bot.mcp.call_outcome import TransportCallbacks, departure_of_call
from bot.mcp.server_spec import ServerSpec
from bot.mcp.transports.messages import bounded_body
from bot.ops.proxies import LOOPBACK, proxy_of
from bot.safety.ssrf import Forbidden, Resolve, public_addresses, resolve_host
from registry.urls import is_internal

CONNECT_SECONDS = 15.0
UNPROXIED = {f"all://[{host}]" if ":" in host else f"all://{host}": None for host in LOOPBACK}
"""No proxy of the environment stands between us and this machine."""
REFUSED = "refused: the address leads to an internal host; INTERNAL_HOSTS does not list it"

_REFUSALS = frozenset({401, 403, 404})
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Tokens(Protocol):
    """Tokens that requests to a server are signed with."""

    async def good(self, unlike: str = "") -> str:
        """A token that is good still, and not `unlike`; raises NotAuthorised."""
        ...


class NotAuthorized(httpx2.TransportError):
    """No token was to be had; says why, and never what was sent."""


class InternalAddress(httpcore2.ConnectError):
    """A connection that was not made, as its address is internal."""


class SsrfGuardBackend(httpcore2.AsyncNetworkBackend):
    """Connects only to addresses that were judged, whatever a name leads to a moment later."""

    def __init__(
        self, resolve: Resolve = resolve_host, inner: httpcore2.AsyncNetworkBackend | None = None
    ) -> None:
        self._resolve = resolve
        self._inner = inner or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first of the host's addresses that takes it."""
        try:
            addresses = await public_addresses(host, port, self._resolve)
        except Forbidden:
            raise InternalAddress(REFUSED) from None
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from None
        share = None if timeout is None else timeout / max(1, len(addresses))
        trouble: Exception = httpcore2.ConnectError("the name has no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                trouble = error
        raise trouble


class SsrfGuardTransport(httpx2.AsyncHTTPTransport):
    """HTTP over connections that were judged; it knows no proxy."""

    def __init__(self, backend: SsrfGuardBackend | None = None) -> None:
        super().__init__(verify=trust())
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trust(),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=backend or SsrfGuardBackend(),
        )


@functools.cache
def trust() -> ssl.SSLContext:
    """Whose certificates are believed; read once, as it costs some 20 ms."""
    return httpx2.create_ssl_context()


class ProxyTransport(httpx2.AsyncHTTPTransport):
    """HTTP through a proxy that judges; what is internal as it is written never gets there."""

    def __init__(self, proxy: str) -> None:
        super().__init__(verify=trust(), proxy=proxy)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The response; raises ConnectError for an internal host."""
        if is_internal(request.url.host):
            raise httpx2.ConnectError(REFUSED) from InternalAddress(REFUSED)
        return await super().handle_async_request(request)


def transport(url: str, *, internal: bool, proxied: bool) -> httpx2.AsyncBaseTransport | None:
    """How requests go out: by the library's own way where the host may be internal."""
    if internal:
        return None
    proxy = proxy_of(url) if proxied else None
    return ProxyTransport(proxy) if proxy else SsrfGuardTransport()


class GuardedHttpClient(httpx2.AsyncClient):
    """An HTTP client whose failed posts are answers, so that one of them ends no connection.

    Where `posts_are_vital` the transport never tells which request a failed post was: there it
    does end the connection.
    """

    def __init__(
        self,
        spec: ServerSpec,
        ears: TransportCallbacks,
        *,
        posts_are_vital: bool = False,
        tokens: Tokens | None = None,
    ) -> None:
        super().__init__(
            headers={"Accept-Encoding": "identity", **spec.headers},
            timeout=httpx2.Timeout(CONNECT_SECONDS, read=None),
            transport=transport(spec.url or "", internal=spec.internal, proxied=spec.proxied),
            mounts=UNPROXIED,
            verify=trust(),
        )
        self._tokens = tokens
        self._ears = ears
        self._posts_are_vital = posts_are_vital

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """The response; a post that failed is answered with a 503 of our own."""
        if request.method != "POST":
            return await bounded_body(await self._signed(request, options))
        response, trouble = await self._post(request, options)
        if response.status_code in _REFUSALS:
            _never_left()
        if response.is_error:
            self._ears.note(trouble)
            if self._posts_are_vital:
                self._ears.lose(trouble)
        return response

    async def _post(
        self, request: httpx2.Request, options: dict[str, Any]
    ) -> tuple[httpx2.Response, str]:
        try:
            response = await bounded_body(await self._signed(request, options))
        except httpx2.TransportError as error:
            if isinstance(error, (*_NEVER_SENT, NotAuthorized)):
                _never_left()
            return httpx2.Response(503, request=request), trouble_of(error)
        return response, f"HTTP {response.status_code}"

    async def _signed(self, request: httpx2.Request, options: dict[str, Any]) -> httpx2.Response:
        """The response to a request with a token, asked once more where that was refused."""
        if self._tokens is None:
            return await super().send(request, **options)
        token = await self._tokens.good()
        request.headers["Authorization"] = f"Bearer {token}"
        response = await super().send(request, **options)
        if response.status_code != 401:
            return response
        await response.aclose()
        token = await self._tokens.good(unlike=token)
        request.headers["Authorization"] = f"Bearer {token}"
        return await super().send(request, **options)


def trouble_of(error: Exception) -> str:
    """What an operator may read: our own words whole, a library's by their kind alone."""
    ours = isinstance(error, NotAuthorized) or isinstance(error.__cause__, InternalAddress)
    return str(error) if ours else type(error).__name__


def _never_left() -> None:
    if (departure := departure_of_call.get()) is not None:
        departure.left = False
