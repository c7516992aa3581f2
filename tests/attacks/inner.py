"""A service inside, which nobody may reach: it keeps who came all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulators.http_server import serving


class Inner:
    """Where it is, and the paths that were asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.visits: list[str] = []

    async def __call__(self, request: Request) -> Response:
        """Note the visit."""
        self.visits.append(request.url.path)
        return JSONResponse({"secret": "of the house"})


@asynccontextmanager
async def inner() -> AsyncIterator[Inner]:
    """The service on loopback while the block lasts."""
    made = Inner()
    ways = ["GET", "POST", "DELETE", "HEAD"]
    async with serving(
        Starlette(routes=[Route("/{path:path}", made.__call__, methods=ways)])
    ) as url:
        made.url = url
        yield made
