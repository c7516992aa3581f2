"""Where requests may go: through which proxy, and to which addresses.

A name is resolved once, and each of its addresses is judged by `registry.urls.is_internal`; the
connection goes to one of those, so a name that resolves to another one a moment later gains
nothing.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from registry.errors import Problem
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


# --- the port of the host's own ------------------------------------------------------------------


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that nobody else can take while the context is open; raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With a protocol named: else the loop sets no TCP_NODELAY.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        yield sock


def port_problem(host: str, port: int) -> Problem | None:
    """Why HTTP cannot be served there; it is tried, and given up at once."""
    try:
        with bound(host, port):
            return None
    except OSError as error:
        return why_not_served(host, port, error)


def why_not_served(host: str, port: int, error: OSError) -> Problem:
    """What a failure to listen means, and how to fix it."""
    here = "write 127.0.0.1, 0.0.0.0, or an address that this machine has"
    if isinstance(error, socket.gaierror):
        return Problem("HTTP_HOST", f"{host} cannot be resolved", here)
    if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
        return Problem("HTTP_HOST", f"{host} is not an address of this machine", here)
    if error.errno == errno.EADDRINUSE:
        cure = "stop that program, or choose another HTTP_PORT"
        return Problem("HTTP_PORT", f"{host}:{port} is taken by another program", cure)
    cure = "choose another HTTP_PORT; ports below 1024 are often reserved for root"
    return Problem("HTTP_PORT", f"{host}:{port} cannot be used: {error.strerror}", cure)
