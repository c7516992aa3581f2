"""Control APIs are for this machine alone: other hosts' names and other sites' pages are refused.

The Host must be a loopback name, an Origin must be the same site, and a body must be JSON, which no
page from elsewhere can send unasked.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_FOREIGN = "requests from other sites are refused"


def foreign(request: Request) -> str | None:
    """Why a request does not come from this machine's own programs and pages, or None."""
    host = request.headers.get("host", "")
    if _name(host) not in _LOOPBACK:
        return "the Host header must name this machine: 127.0.0.1, localhost or [::1]"
    origin = request.headers.get("origin")
    if origin is not None and origin != f"{request.url.scheme}://{host}":
        return _FOREIGN
    if request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        return _FOREIGN
    return None


def is_json(request: Request) -> bool:
    """Whether the body says that it is JSON."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return kind == "application/json"


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
