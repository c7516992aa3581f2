"""Where a request may go: a name is resolved once, and each of its addresses is judged first.

The connection goes to an address that was judged, so a name that resolves to another one a moment
later gains nothing. The judge of one address is `registry.urls.is_internal`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from registry.urls import is_internal

INTERNAL = "its address leads to an internal host"

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host and port, as texts; raises OSError where there are none."""


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
