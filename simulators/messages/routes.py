"""The simulator over HTTP: `/v1/messages`, its token count, and the models."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from simulators.messages.control import control_routes
from simulators.messages.models import MODELS, described, find
from simulators.messages.records import MESSAGES, Record
from simulators.messages.refusals import TYPES, Refusal, invalid
from simulators.messages.reply import Reply
from simulators.messages.sim import MessagesSim
from simulators.messages.stream import Event, HangUp, Hold, Step, events, steps
from simulators.messages.turns import (
    Cut,
    Drop,
    EndEarly,
    ErrorEvent,
    HttpError,
    Raw,
    Stall,
    Turn,
)
from simulators.messages.validate import (
    ModelRequest,
    check_count,
    check_create,
    check_headers,
    parse,
)
from simulators.messages.wire import PlayedResponse, unless_disconnected

MOST_BYTES = 32 * 1024 * 1024
COUNT = f"{MESSAGES}/count_tokens"
MODELS_PATH = "/v1/models"
Handler = Callable[[MessagesSim, Request, Record, bytes, str], Awaitable[Response]]


def routes(sim: MessagesSim) -> list[BaseRoute]:
    """The API's routes, to mount under any prefix."""
    return [
        Route(MESSAGES, _endpoint(sim, MESSAGES, _create), methods=["POST"]),
        Route(COUNT, _endpoint(sim, COUNT, _count), methods=["POST"]),
        Route(MODELS_PATH, _endpoint(sim, MODELS_PATH, _list), methods=["GET"]),
        Route(f"{MODELS_PATH}/{{id}}", _endpoint(sim, MODELS_PATH, _model), methods=["GET"]),
    ]


def app(sim: MessagesSim) -> Starlette:
    """The API with its control routes, as an application of its own."""
    return Starlette(
        routes=[*routes(sim), *control_routes(sim)],
        exception_handlers={HTTPException: _http_error},
    )


def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    kind = TYPES.get(error.status_code, "invalid_request_error")
    return _refused(Refusal(error.status_code, error.detail, kind=kind), _new_id())


def _endpoint(
    sim: MessagesSim, path: str, handle: Handler
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        request_id = _new_id()
        raw = await _body(request)
        record = sim.records.add(path, dict(request.headers), _shown(raw), len(raw or b""))
        try:
            if raw is None:
                raise Refusal(413, "Request exceeds the maximum size")
            version = check_headers(request.headers, sim.accepts)
            response = await handle(sim, request, record, raw, version)
        except Refusal as refusal:
            record.status = refusal.status
            record.end("refused")
            return _refused(refusal, request_id)
        record.status = response.status_code
        response.headers["request-id"] = request_id
        return response

    return endpoint


def _new_id() -> str:
    return f"req_{secrets.token_hex(12)}"


def _refused(refusal: Refusal, request_id: str) -> Response:
    headers = refusal.headers | {"request-id": request_id}
    return _json(refusal.body(request_id), refusal.status, headers)


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


async def _body(request: Request) -> bytes | None:
    """The body, or None (and not a byte kept) if it is over the limit."""
    chunks: list[bytes] | None = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MOST_BYTES:
            chunks = None
        if chunks is not None:
            chunks.append(chunk)
    return None if chunks is None else b"".join(chunks)


def _shown(raw: bytes | None) -> Any:
    """A body for the record: its JSON, or the text that was none."""
    if not raw:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw[:2000].decode(errors="replace")


async def _create(
    sim: MessagesSim, request: Request, record: Record, raw: bytes, version: str
) -> Response:
    body = parse(raw)
    held = sim.threads.enter(body, request.headers.get("anthropic-beta", ""))
    checked = check_create(held.body if held else body, version, sim.paused)
    sim.limits.enter(checked.prompt.tokens)
    turn = sim.script.answer(checked)
    if turn.gate is not None and await _held(sim, request, turn) is None:
        record.end("left")
        return PlayedResponse((), sim.gates, record.end, headers=None)
    _raise(turn, checked)
    if isinstance(turn.fault, Drop):
        return PlayedResponse((), sim.gates, record.end, headers=None)
    reply = sim.reply(checked, turn)
    sim.threads.start(held, reply.id, [*reply.blocks])

    def ended(how: str) -> None:
        whole = how == "done" and not isinstance(turn.fault, ErrorEvent | EndEarly)
        sim.threads.end(held, reply.id, whole=whole)
        record.end(how)

    return PlayedResponse(
        _steps(reply, turn, checked),
        sim.gates,
        ended,
        headers=_headers(checked, turn) | sim.limits.headers(),
        pace=lambda: turn.pace or sim.pace,
    )


def _headers(request: ModelRequest, turn: Turn) -> dict[str, str]:
    if isinstance(turn.fault, Raw):
        return {"content-type": turn.fault.kind}
    if request.stream:
        return {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
    return {"content-type": "application/json"}


async def _held(sim: MessagesSim, request: Request, turn: Turn) -> str | None:
    """A word when the turn's gate has opened, None when the client has left before."""

    async def opened() -> str:
        await sim.gates.wait(turn.gate)
        return "open"

    return await unless_disconnected(opened(), request.receive)


def _raise(turn: Turn, request: ModelRequest) -> None:
    """A turn that is an HTTP error (without a stream, an error event is one too)."""
    fault = turn.fault
    if isinstance(fault, HttpError):
        headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
        raise Refusal(fault.status, fault.message, headers=headers)
    if isinstance(fault, ErrorEvent) and not request.stream:
        status = next((code for code, kind in TYPES.items() if kind == fault.kind), 500)
        raise Refusal(status, fault.message, kind=fault.kind)


def _steps(reply: Reply, turn: Turn, request: ModelRequest) -> list[Step]:
    if isinstance(turn.fault, Raw):
        return [Event(turn.fault.body)]
    if request.stream:
        return steps(events(reply), turn.fault)
    whole = orjson.dumps(reply.whole())
    if isinstance(turn.fault, Cut):
        return [Event(whole[: turn.fault.bytes or 0], reply.tokens), HangUp()]
    held: list[Step] = [Hold(turn.fault.gate)] if isinstance(turn.fault, Stall) else []
    return [*held, Event(whole, reply.tokens)]


async def _count(
    _sim: MessagesSim, _request: Request, record: Record, raw: bytes, version: str
) -> Response:
    checked = check_count(parse(raw), version)
    record.end("done")
    return _json({"input_tokens": checked.prompt.tokens})


async def _list(
    _sim: MessagesSim, request: Request, record: Record, _raw: bytes, _version: str
) -> Response:
    ids = list(MODELS)
    after, before = request.query_params.get("after_id"), request.query_params.get("before_id")
    if after is not None:
        ids = ids[_at(ids, after) + 1 :]
    if before is not None:
        ids = ids[: _at(ids, before)]
    limit = _limit(request.query_params.get("limit", "20"))
    page = ids[-limit:] if before is not None else ids[:limit]
    record.end("done")
    return _json(
        {
            "data": [described(MODELS[one]) for one in page],
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
            "has_more": len(ids) > len(page),
        }
    )


def _at(ids: list[str], wanted: str) -> int:
    if wanted not in ids:
        raise invalid(f"Invalid cursor: {wanted}")
    return ids.index(wanted)


def _limit(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 1000:
        raise invalid("limit: Input should be a whole number from 1 to 1000")
    return int(value)


async def _model(
    _sim: MessagesSim, request: Request, record: Record, _raw: bytes, _version: str
) -> Response:
    model = find(request.path_params["id"])
    record.end("done")
    return _json(described(model))
