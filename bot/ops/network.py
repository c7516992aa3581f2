"""Where requests may go: through which proxy, and to which addresses.

A name is resolved once, and each of its addresses is judged by `registry.urls.is_internal`; the
connection goes to one of those, so a name that resolves to another one a moment later gains
nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from registry.urls import is_internal

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
DIRECT_LOOPBACK = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))
"""The `mounts` of an HTTP client: no proxy of the environment stands before this machine."""

INTERNAL = "its address leads to an internal host"

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host and port, as texts; raises OSError where there are none."""


def proxy_of(url: str) -> str | None:
    """The proxy for this address by `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

    None where it is reached directly, as this machine itself always is.
    """
    parts = urlsplit(url)
    host, named = parts.hostname or "", getproxies_environment()
    if host in LOOPBACK or proxy_bypass(host):
        return None
    found = named.get(parts.scheme) or named.get("all")
    return found if not found or "://" in found else f"http://{found}"


class Forbidden(OSError):
    """An address that must not be reached."""


async def resolve_host(host: str, port: int) -> list[str]:
    """The addresses of a host by this machine's resolver; raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def public_addresses(host: str, port: int, resolve: Resolve = resolve_host) -> list[str]:
    """The addresses of a host; raises Forbidden where it or one of them is internal, or OSError."""
    if is_internal(host):
        raise Forbidden(INTERNAL)
    addresses = await resolve(host, port)
    if any(map(is_internal, addresses)):
        raise Forbidden(INTERNAL)
    return addresses
