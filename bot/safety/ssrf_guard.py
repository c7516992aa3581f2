"""An HTTP client that connects only where it may, even if a name resolves differently later."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import httpcore2
import httpx2

from bot.ops.network import (
    DIRECT_LOOPBACK,
    Forbidden,
    Resolve,
    proxy_of,
    public_addresses,
    resolve_host,
)
from registry.urls import is_internal

CONNECT_SECONDS = 15.0
REFUSED = "refused: the address leads to an internal host; INTERNAL_HOSTS does not list it"


class NotRequested(httpx2.TransportError):
    """A request that was not made; its message is our own and contains no secret."""


class InternalAddress(httpcore2.ConnectError):
    """A connection that was not made, as its address is internal."""


def failure_text(error: Exception) -> str:
    """What an operator may read of an error: our own message, or the name of a library's."""
    is_ours = isinstance(error, NotRequested) or isinstance(error.__cause__, InternalAddress)
    return str(error) if is_ours else type(error).__name__


class GuardedHttpClient(httpx2.AsyncClient):
    """Requests to one URL, which is judged before each connection unless it may be `internal`.

    Where `proxied`, the operator's proxy judges what is not internal as it is written. Answers are
    asked for uncompressed; redirects are followed only where a request says so.
    """

    def __init__(
        self,
        url: str,
        *,
        internal: bool,
        proxied: bool,
        headers: Mapping[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
    ) -> None:
        super().__init__(
            headers={"Accept-Encoding": "identity", **(headers or {})},
            timeout=timeout or httpx2.Timeout(CONNECT_SECONDS),
            transport=_transport(url, internal=internal, proxied=proxied),
            mounts=DIRECT_LOOPBACK,
            verify=trust(),
        )


def _transport(url: str, *, internal: bool, proxied: bool) -> httpx2.AsyncBaseTransport | None:
    if internal:
        return None  # the library's own way
    proxy = proxy_of(url) if proxied else None
    return ProxyTransport(verify=trust(), proxy=proxy) if proxy else SsrfGuardTransport()


@functools.cache
def trust() -> ssl.SSLContext:
    """The certificates that are trusted; read once, as it costs some 20 ms."""
    return httpx2.create_ssl_context()


class SsrfGuardTransport(httpx2.AsyncHTTPTransport):
    """HTTP over connections to judged addresses; it uses no proxy."""

    def __init__(self, backend: SsrfGuardBackend | None = None) -> None:
        super().__init__(verify=trust())
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trust(),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=backend or SsrfGuardBackend(),
        )


class SsrfGuardBackend(httpcore2.AsyncNetworkBackend):
    """Resolves a host once, and connects only to those addresses, all of them judged."""

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
        """A connection to the first of the host's addresses that accepts it."""
        try:
            addresses = await public_addresses(host, port, self._resolve)
        except Forbidden:
            raise InternalAddress(REFUSED) from None
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from None
        share = None if timeout is None else timeout / max(1, len(addresses))
        failure: Exception = httpcore2.ConnectError("the name has no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class ProxyTransport(httpx2.AsyncHTTPTransport):
    """HTTP through a proxy that judges; a host that is internal as written never gets there."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The response; raises ConnectError for an internal host."""
        if is_internal(request.url.host):
            raise httpx2.ConnectError(REFUSED) from InternalAddress(REFUSED)
        return await super().handle_async_request(request)
