"""`GET /health`: how the host is doing, without a secret in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Report = Callable[[], dict[str, Any]]


def health_app(report: Report) -> Starlette:
    """The web application; `report()["status"]` is `ok` or says what is not."""

    async def health(_request: Request) -> Response:
        body = report()
        status = 200 if body["status"] == "ok" else 503
        return Response(orjson.dumps(body), status, media_type="application/json")

    return Starlette(routes=[Route("/health", health)])
