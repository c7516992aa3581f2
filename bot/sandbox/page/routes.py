"""The page over HTTP: its files, its stream of events, and the switches that no chat has."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from bot.sandbox.page.fault_injection import FaultInjector
from bot.sandbox.page.feed import PageFeed
from simulators.telegram.wire import JsonAnswer
from simulators.telegram.world import World

_STATIC = Path(__file__).with_name("static")
_SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp")
_EVENTS = {"X-Accel-Buffering": "no"}


class HostControl(Protocol):
    """What the page may do to the host."""

    def kill(self) -> bool:
        """Kill -9."""
        ...

    def log(self) -> str:
        """The end of its log."""
        ...


def page_routes(
    world: World, feed: PageFeed, faults: FaultInjector, host: HostControl
) -> list[Route]:
    """The routes; `Guard` must stand before them."""
    page = _Page(world, feed, faults, host)
    return [
        Route("/", page.index, methods=["GET"]),
        Route("/static/{name}", page.static, methods=["GET"]),
        Route("/page/stream", page.stream, methods=["GET"]),
        Route("/page/timeline/{number:int}", page.entry, methods=["GET"]),
        Route("/page/file/{id}", page.file, methods=["GET"]),
        Route("/page/log", page.log, methods=["GET"]),
        Route("/page/kill", page.kill, methods=["POST"]),
        Route("/page/trouble", page.order, methods=["POST"]),
    ]


class _Page:
    def __init__(
        self, world: World, feed: PageFeed, faults: FaultInjector, host: HostControl
    ) -> None:
        self._world = world
        self._feed = feed
        self._faults = faults
        self._host = host
        self._names = {path.name: path for path in _STATIC.iterdir()}

    async def index(self, _: Request) -> Response:
        return self._file("index.html")

    async def static(self, request: Request) -> Response:
        return self._file(request.path_params["name"])

    def _file(self, name: str) -> Response:
        path = self._names.get(name)
        if path is None:
            return PlainTextResponse("there is no such file", 404)
        kind = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(name)[0]
        return Response(path.read_bytes(), media_type=kind)

    async def stream(self, _: Request) -> Response:
        events = self._feed.stream()
        return StreamingResponse(events, media_type="text/event-stream", headers=_EVENTS)

    async def entry(self, request: Request) -> Response:
        body = self._feed.timeline.body(request.path_params["number"])
        if body is None:
            return _wrong("that entry is no longer kept", 404)
        return JsonAnswer(body)

    async def file(self, request: Request) -> Response:
        stored = self._world.files.by_id(request.path_params["id"])
        if stored is None:
            return _wrong("there is no such file", 404)
        shown = stored.mime in _SHOWN
        how = {} if shown else {"Content-Disposition": "attachment"}
        kind = stored.mime if shown else "application/octet-stream"
        return Response(stored.data, media_type=kind, headers=how)

    async def log(self, _: Request) -> Response:
        return PlainTextResponse(self._host.log())

    async def kill(self, _: Request) -> Response:
        if not self._host.kill():
            return _wrong("the host is not running just now", 409)
        return JSONResponse({"killed": True})

    async def order(self, request: Request) -> Response:
        """`{"arm": name}`, `{"slow": true|false}` or `{"clear": true}`."""
        try:
            order = orjson.loads(await request.body())
            _ORDERS[next(iter(order))](self._faults, next(iter(order.values())))
        except (orjson.JSONDecodeError, AttributeError, StopIteration, KeyError):
            words = 'send {"arm": <switch>}, {"slow": true} or {"clear": true}'
            return _wrong(words, 400)
        self._feed.publish_faults()
        return JsonAnswer(self._faults.show())


_ORDERS: dict[str, Callable[[FaultInjector, Any], None]] = {
    "arm": lambda faults, name: faults.arm(str(name)),
    "slow": lambda faults, on: faults.slow(on is True),
    "clear": lambda faults, _: faults.clear(),
}


def _wrong(words: str, status: int) -> Response:
    return JSONResponse({"error": words}, status)
