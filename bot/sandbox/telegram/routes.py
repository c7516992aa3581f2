"""The Bot API over HTTP: `/bot<token>/<method>` and `/file/bot<token>/<path>`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from bot.sandbox.telegram.control import control_routes
from bot.sandbox.telegram.people import TOKEN, Bot
from bot.sandbox.telegram.performing import Outcome, perform
from bot.sandbox.telegram.refusals import RefusedError, not_found, unauthorized
from bot.sandbox.telegram.webhooks import pushing
from bot.sandbox.telegram.wire import CutAnswer, JsonAnswer, parameters
from bot.sandbox.telegram.world import World


def application(world: World) -> Starlette:
    """The whole simulator with its control API and its webhooks, as one application."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with pushing(world):
            yield
        world.happenings.close()

    return Starlette(routes=[*routes(world), *control_routes(world)], lifespan=lifespan)


def routes(world: World) -> list[Route]:
    """The Bot API of a world; run `pushing(world)` beside it where webhooks are wanted."""

    async def call(request: Request) -> Response:
        try:
            bot = _bot(world, request.path_params["token"])
            params = await parameters(request)
        except RefusedError as refused:
            return _refusal(refused)
        return _response(await perform(world, bot, request.path_params["method"], params))

    async def download(request: Request) -> Response:
        try:
            _bot(world, request.path_params["token"])
        except RefusedError as refused:
            return _refusal(refused)
        stored = world.files.by_path(request.path_params["path"])
        if stored is None:
            return _refusal(not_found())
        return Response(stored.data, media_type="application/octet-stream")

    return [
        Route("/bot{token}/{method}", call, methods=["GET", "POST"]),
        Route("/file/bot{token}/{path:path}", download, methods=["GET"]),
    ]


def _bot(world: World, token: str) -> Bot:
    bot = world.tokens.get(token)
    if bot is None:
        raise unauthorized() if TOKEN.match(token) else not_found()
    return bot


def _refusal(refused: RefusedError) -> Response:
    return _response(Outcome(refused.code, refused.answer()))


def _response(outcome: Outcome) -> Response:
    if outcome.page is not None:
        return HTMLResponse(outcome.page, outcome.status)
    if outcome.answer is None:
        return CutAnswer()
    wait = outcome.answer.get("parameters", {}).get("retry_after")
    headers = {"Retry-After": str(wait)} if wait is not None else None
    return JsonAnswer(outcome.answer, outcome.status, headers)
