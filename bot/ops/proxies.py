"""The proxy between this host and the world, as the environment names it for all programs."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
DIRECT_LOOPBACK = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))
"""The `mounts` of an HTTP client: no proxy of the environment stands before this machine."""


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
