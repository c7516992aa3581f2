"""The control API under `/control/…`: for the page and for tests in other processes."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from simulators.guard import foreign, is_json
from simulators.telegram import snapshot
from simulators.telegram.actions import ACTIONS
from simulators.telegram.control_requests import ControlRequest
from simulators.telegram.events import Listener
from simulators.telegram.refusals import RefusedError
from simulators.telegram.wire import JsonAnswer, encode
from simulators.telegram.world import World, WorldError

_BEAT = 15.0

Endpoint = Callable[[Request], Awaitable[Response]]


def control_routes(world: World, prefix: str = "/control") -> list[Route]:
    """The control API of a world, below a prefix."""
    page = _Control(world)
    return [
        Route(f"{prefix}/state", _guarded(page.state), methods=["GET"]),
        Route(f"{prefix}/calls", _guarded(page.calls), methods=["GET"]),
        Route(f"{prefix}/previews", _guarded(page.previews), methods=["GET"]),
        Route(f"{prefix}/updates", _guarded(page.updates), methods=["GET"]),
        Route(f"{prefix}/messages", _guarded(page.messages), methods=["GET"]),
        Route(f"{prefix}/events", _guarded(page.events), methods=["GET"]),
        Route(f"{prefix}/{{action}}", _guarded(page.act), methods=["POST"]),
    ]


def _guarded(endpoint: Endpoint) -> Endpoint:
    async def guarded(request: Request) -> Response:
        reason = foreign(request)
        if reason is not None:
            return JsonAnswer({"error": reason}, 403)
        try:
            return await endpoint(request)
        except WorldError as wrong:
            return JsonAnswer({"error": str(wrong)}, 400)
        except RefusedError as refused:
            return JsonAnswer({"error": refused.description}, 400)
        except TimeoutError as late:
            return JsonAnswer({"error": str(late)}, 504)

    return guarded


class _Control:
    def __init__(self, world: World) -> None:
        self._world = world

    async def state(self, _: Request) -> Response:
        return JsonAnswer(snapshot.world_state(self._world))

    async def calls(self, request: Request) -> Response:
        query = request.query_params
        bot = _number(query.get("bot"), "bot")
        after = float(_number(query.get("after"), "after") or 0)
        records = self._world.calls.of(bot=bot, method=query.get("method"))
        return JsonAnswer([r.show() for r in records if r.at >= after])

    async def previews(self, request: Request) -> Response:
        bot = _number(request.query_params.get("bot"), "bot")
        return JsonAnswer([record.show() for record in self._world.fetches.of(bot=bot)])

    async def updates(self, request: Request) -> Response:
        bot = self._world.members.bots.get(_number(request.query_params.get("bot"), "bot") or 0)
        if bot is None:
            raise WorldError("parameter 'bot': no such bot")
        return JsonAnswer(list(bot.updates.waiting))

    async def messages(self, request: Request) -> Response:
        room = self._world.rooms.by_key.get(request.query_params.get("room", ""))
        if room is None:
            raise WorldError("parameter 'room': no such room; /control/state lists them")
        after = _number(request.query_params.get("after"), "after") or 0
        return JsonAnswer(snapshot.room_messages(room, after))

    async def act(self, request: Request) -> Response:
        action = ACTIONS.get(request.path_params["action"])
        if action is None:
            return JsonAnswer({"error": f"no such action; known: {', '.join(ACTIONS)}"}, 404)
        result: Any = action(ControlRequest(self._world, await _body(request)))
        if inspect.isawaitable(result):
            result = await result
        return JsonAnswer(result)

    async def events(self, _: Request) -> Response:
        listener = self._world.events.listen()
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_stream(listener), media_type="text/event-stream", headers=headers)


async def _stream(listener: Listener) -> AsyncIterator[bytes]:
    """Server-sent events: the kind as the event, JSON as the data, a comment as a heartbeat."""
    try:
        yield b": here\n\n"
        while True:
            try:
                event = await asyncio.wait_for(anext(listener), _BEAT)
            except TimeoutError:
                yield b": beat\n\n"
                continue
            except StopAsyncIteration:
                return
            data = {"chat": event.chat, "bot": event.bot, "data": event.data}
            yield b"event: " + event.kind.encode() + b"\ndata: " + encode(data) + b"\n\n"
    finally:
        listener.close()


async def _body(request: Request) -> dict[str, Any]:
    if not is_json(request):
        raise WorldError("send a JSON object with Content-Type: application/json")
    try:
        given = orjson.loads(await request.body())
    except orjson.JSONDecodeError as wrong:
        raise WorldError(f"the body is not JSON: {wrong}") from None
    if not isinstance(given, dict):
        raise WorldError("the body must be a JSON object")
    return given


def _number(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not text.lstrip("-").isdecimal():
        raise WorldError(f"parameter {name!r} must be a whole number")
    return int(text)
