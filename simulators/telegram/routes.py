"""The Bot API over HTTP: `/bot<token>/<method>` and `/file/bot<token>/<path>`.

Calls are plain ASGI, without a framework's request and response around them: the simulator must not
be what a benchmark measures.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from simulators.http_server import cut, until_disconnected
from simulators.telegram.control import control_routes
from simulators.telegram.execute import execute
from simulators.telegram.people import TOKEN, Bot
from simulators.telegram.refusals import RefusedError, not_found, unauthorized
from simulators.telegram.webhooks import pushing
from simulators.telegram.wire import JsonAnswer, answer, parameters
from simulators.telegram.world import World

_METHODS = ("GET", "POST")


def application(world: World) -> ASGIApp:
    """The whole simulator with its control API and its webhooks, as one application."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with pushing(world):
            yield
        world.events.close()

    rest = Starlette(routes=[*routes(world), *control_routes(world)], lifespan=lifespan)
    return Front(world, rest)


def routes(world: World) -> list[Route]:
    """The Bot API of a world; run `pushing(world)` beside it where webhooks are wanted."""

    async def download(request: Request) -> Response:
        try:
            _bot(world, request.path_params["token"])
        except RefusedError as refused:
            return JsonAnswer(refused.answer(), refused.code)
        stored = world.files.by_path(request.path_params["path"])
        if stored is None:
            return JsonAnswer(not_found().answer(), 404)
        return Response(stored.data, media_type="application/octet-stream")

    return [
        Route("/bot{token}/{method}", _Calls(world), methods=_METHODS),
        Route("/file/bot{token}/{path:path}", download, methods=["GET"]),
    ]


class Front:
    """Takes the calls of bots out before `rest`, which gets everything else, is asked."""

    def __init__(self, world: World, rest: ASGIApp) -> None:
        self._world = world
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Plays one call, or passes the request on."""
        if scope["type"] == "http" and scope["method"] in _METHODS:
            path: str = scope["path"]
            if path.startswith("/bot") and path.count("/") == 2:
                token, _, method = path[4:].partition("/")
                await _play(self._world, token, method, scope, receive, send)
                return
        await self._rest(scope, receive, send)


class _Calls:
    """The same as an endpoint of a route."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = scope["path_params"]
        await _play(self._world, given["token"], given["method"], scope, receive, send)


async def _play(
    world: World, token: str, method: str, scope: Scope, receive: Receive, send: Send
) -> None:
    try:
        bot = _bot(world, token)
        params = await parameters(scope, receive)
    except RefusedError as refused:
        await answer(send, refused.answer(), refused.code, refused.parameters.get("retry_after"))
        return
    outcome = await execute(world, bot, method, params, lambda: until_disconnected(receive))
    if outcome.page is not None:
        await HTMLResponse(outcome.page, outcome.status)(scope, receive, send)
    elif outcome.answer is None:
        await cut(scope, receive)
    else:
        wait = outcome.answer.get("parameters", {}).get("retry_after")
        await answer(send, outcome.answer, outcome.status, wait)


def _bot(world: World, token: str) -> Bot:
    bot = world.members.tokens.get(token)
    if bot is None:
        raise unauthorized() if TOKEN.match(token) else not_found()
    world.new_tokens.check(token)
    return bot
