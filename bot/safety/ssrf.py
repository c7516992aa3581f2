"""Where a request may go: a name is resolved once, and each of its addresses is judged first.

Whoever connects goes to an address that was judged, so a name that leads elsewhere the next time
it is asked gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable

from registry.urls import is_internal

INTERNAL = "its address leads to an internal host"

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host, as texts; raises OSError where there are none."""


class Forbidden(OSError):
    """An address that must not be reached."""


async def resolve_host(host: str, port: int) -> list[str]:
    """The addresses of a host by this machine's resolver; raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def require_public(host: str, addresses: Iterable[str]) -> None:
    """Raise Forbidden where a host, or one of its addresses, is internal."""
    if is_internal(host) or any(map(is_internal, addresses)):
        raise Forbidden(INTERNAL)


async def public_addresses(host: str, port: int, resolve: Resolve = resolve_host) -> list[str]:
    """The addresses of a host, none of them internal; raises Forbidden, or OSError."""
    require_public(host, ())
    found = await resolve(host, port)
    require_public(host, found)
    return found
