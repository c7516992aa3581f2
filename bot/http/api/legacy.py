"""The routes of before: `/chat` and `/events/stream`, which are `default/simple-chat`."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
import structlog
from fastapi import FastAPI, Header, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from bot.http.accounts.conversations import SentMessage, TurnAnswer
from bot.http.api import conversations as talk
from bot.http.api import documents as docs
from bot.http.api.answering import ChosenAgent
from bot.http.api.caller import Caller
from bot.http.api.needs import CallerDep, Host, HostDep, needs_key
from bot.http.api.problems import ApiError, not_found
from registry.roles import DEFAULT_ACCOUNT

log = structlog.get_logger("api")
SLUG = "simple-chat"
INSTANCE = ChosenAgent(f"{DEFAULT_ACCOUNT}/{SLUG}", DEFAULT_ACCOUNT)
SUCCESSOR = f"/accounts/{DEFAULT_ACCOUNT}/agents/{SLUG}"
DEPRECATED_SINCE = "@1796083200"
"""When these routes were deprecated, as RFC 9745 writes it: 1 December 2026."""
WAITING = "This waits for a person's approval."
_MESSAGE: dict[str, Any] = {
    "type": "object",
    "required": ["message"],
    "properties": {"message": {"type": "string", "example": "hello"}},
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": _MESSAGE, "example": {"message": "hello"}}
            for kind in ("application/json", "application/x-www-form-urlencoded")
        },
    }
}
_ELSEWHERE: dict[int | str, dict[str, Any]] = {
    301: {"description": "With LEGACY_ROUTES=301: the new route is in `Location`."},
    308: {"description": "With LEGACY_ROUTES=308: the new route is in `Location`."},
    410: talk.problem("With LEGACY_ROUTES=gone: this route is gone."),
}
_TEXT: dict[int | str, dict[str, Any]] = {
    **_ELSEWHERE,
    202: {
        "description": "The turn waits for an approval.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": WAITING}},
    },
    502: talk.CHATS[502],
    200: {
        "description": "The answer as text.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "Hello!"}},
    },
}


def add_routes(app: FastAPI) -> None:
    """Add the routes of before."""
    common: dict[str, Any] = {"tags": docs.tags("legacy"), "deprecated": True}
    common["response_class"] = Response
    app.post("/chat", openapi_extra=_BODY, responses=_TEXT, **common)(chat)
    app.get("/events/stream", responses={**talk.STREAMS, **_ELSEWHERE}, **common)(stream)


@needs_key()
async def chat(request: Request, caller: CallerDep, host: HostDep) -> Response:
    """Send a message to `default/simple-chat`, as JSON or as a form; the answer is plain text."""
    if (elsewhere := _elsewhere(caller, host, "/chat", "")) is not None:
        return elsewhere
    body = await _message_of(request)
    session = talk.session_of(request, caller, _answering(caller, host, body), body.session_id)
    turn = await talk.send(request, host, session, body.message, grows=False)
    return talk.later_answer(request, host, session, turn, _as_text)


@needs_key()
async def stream(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    message: talk.ShortMessage = None,
    session_id: Annotated[talk.SessionId | None, Query()] = None,
    on_disconnect: Annotated[talk.OnDisconnect, Query()] = "continue",
    last_event_id: Annotated[str | None, Query()] = None,
    header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """Send a message to `default/simple-chat`, and read the answer as server-sent events."""
    query = urlencode(request.query_params.multi_items())
    if (elsewhere := _elsewhere(caller, host, "/events/stream", query)) is not None:
        return elsewhere
    after = header or last_event_id
    own = _headers("stream")
    wanted = talk.Wanted(INSTANCE, message, session_id, after, on_disconnect, own)
    return await talk.begin_stream(request, caller, host, wanted)


def _answering(caller: Caller, host: Host, body: talk.ChatRequest) -> ChosenAgent:
    if caller.key is None:  # a stranger has no presets
        return INSTANCE
    return talk.answering(host, caller, DEFAULT_ACCOUNT, SLUG, body)


def _elsewhere(caller: Caller, host: Host, path: str, query: str) -> Response | None:
    """Where the operator no longer serves these routes: that they are gone, or where they are.

    Counts the caller, and raises ApiError for one that does not reach the instance.
    """
    if not caller.reaches_account(DEFAULT_ACCOUNT) or not caller.reaches_agent(SLUG):
        raise not_found()
    name = "chat" if path == "/chat" else "stream"
    who = caller.key.id if caller.key else "open"
    host.talking.count(f"legacy:{path}:{who}")
    log.warning(
        f"DEPRECATED: {path} endpoint used. Migrate to {SUCCESSOR}/{name}",
        caller=who,
    )
    mode = host.talking.legacy
    if mode == "serve":
        talk.instance_of(host, DEFAULT_ACCOUNT, SLUG)
        return None
    if mode == "gone":
        detail = f"This route is gone. Use {SUCCESSOR}/{name}."
        raise ApiError(410, "gone", detail, headers=_headers(name))
    response = Response(status_code=int(mode))
    response.headers["Location"] = f"{SUCCESSOR}/{name}" + (f"?{query}" if query else "")
    return _deprecated(response, name)


def _headers(name: str) -> dict[str, str]:
    link = f'<{SUCCESSOR}/{name}>; rel="successor-version"'
    return {"Deprecation": DEPRECATED_SINCE, "Link": link}


def _deprecated(response: Response, name: str) -> Response:
    response.headers.update(_headers(name))
    return response


async def _message_of(request: Request) -> talk.ChatRequest:
    """The message of a form or of JSON; raises ApiError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
            async with request.form(max_files=0, max_fields=10) as form:
                given: Any = {name: value for name, value in form.items() if name != "user_id"}
        else:
            given = orjson.loads(await request.body())
        return talk.ChatRequest.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "message"
        raise ApiError(422, "invalid", "Send a message: a text.", field=field) from None
    except ValueError:
        raise ApiError(422, "invalid", "Send JSON or a form with a message.") from None


def _as_text(turn: SentMessage, answer: TurnAnswer) -> Response:
    if answer.failure:
        raise talk.failure(turn, answer)
    text, status = answer.text, 200
    if answer.approval is not None:
        text, status = WAITING, 202
    return _deprecated(Response(text, status, media_type="text/plain"), "chat")
