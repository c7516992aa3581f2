"""How the host is doing, without a secret in it.

`/health/live`: the process runs. `/health/ready`: it can do its work, so that traffic may come: the
store answers, and not every bot is in trouble. `/health`: nothing at all is in trouble.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

Report = Callable[[], dict[str, Any]]


def http_app(report: Report, routes: Sequence[BaseRoute] = ()) -> Starlette:
    """The web application.

    `report()["status"]` is `ok`, `degraded` or `down`; `report()["ready"]` a truth value.
    """

    async def live(_request: Request) -> Response:
        return _json(200, {"status": "ok"})

    async def ready(_request: Request) -> Response:
        body = report()
        return _json(200 if body["ready"] else 503, body)

    async def health(_request: Request) -> Response:
        body = report()
        return _json(200 if body["status"] == "ok" else 503, body)

    own = [
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/health", health),
    ]
    return Starlette(routes=[*own, *routes])


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
