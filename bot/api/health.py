"""How the host is doing, without a secret in it.

`/health/live`: the process runs. `/health/ready`: it can do its work, so that traffic may come: the
store answers, and not every bot is in trouble. `/health`: nothing at all is in trouble.

Whoever comes from outside, as webhooks do, learns how the host is and nothing of what it hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bot.redaction import Secrets
from registry.addresses import is_own_network

Report = Callable[[], dict[str, Any]]

_FOR_ALL = ("status", "version", "ready", "checks", "agents_available")
_HANDED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def http_app(
    report: Report, routes: Sequence[BaseRoute] = (), secrets: Secrets | None = None
) -> Starlette:
    """The web application.

    `report()["status"]` is `ok`, `degraded` or `down`; `report()["ready"]` a truth value. What is
    shown has none of the `secrets`, whoever wrote it.
    """

    def shown(status: int, body: dict[str, Any]) -> Response:
        text = orjson.dumps(body)
        if secrets is not None and secrets.found(text.decode()):
            text = orjson.dumps(secrets.hidden_in(body))
        return Response(text, status, media_type="application/json")

    async def live(_request: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def ready(request: Request) -> Response:
        body = report()
        return shown(200 if body["ready"] else 503, _for(request, body))

    async def health(request: Request) -> Response:
        body = report()
        return shown(200 if body["status"] == "ok" else 503, _for(request, body))

    own = [
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/health", health),
    ]
    return Starlette(routes=[*own, *routes])


def _for(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    """All of a report for this network, the least of it for strangers."""
    return body if _is_near(request) else {name: body[name] for name in _FOR_ALL if name in body}


def _is_near(request: Request) -> bool:
    """Whether a request comes from our own network, by a name of it, past no proxy."""
    if request.client is None or any(name in request.headers for name in _HANDED_ON):
        return False
    try:
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return False
    named = is_own_network(name) or ("." not in name and ":" not in name and name != "")
    return named and is_own_network(request.client.host)
