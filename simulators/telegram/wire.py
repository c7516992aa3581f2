"""Requests into parameters, answers into bytes."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from simulators.telegram.params import Params, Upload
from simulators.telegram.refusals import bad_request
from simulators.telegram.updates import Update

_FORM = b"application/x-www-form-urlencoded"
_MULTIPART = b"multipart/form-data"
_JSON = b"application/json"
_MOST_PART = 60 * 1024 * 1024


def encode(value: Any) -> bytes:
    """JSON bytes; updates go out as they were first written."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATACLASS)


def _plain(value: Any) -> Any:
    if isinstance(value, Update):
        return orjson.Fragment(value.raw)
    raise TypeError(f"no JSON for {type(value).__name__}")


async def parameters(scope: Scope, receive: Receive) -> Params:
    """The parameters of a call from query and body; what the body says counts."""
    values: dict[str, Any] = {}
    files: dict[str, Upload] = {}
    query = scope["query_string"]
    if query:
        values.update(parse_qsl(query.decode(), keep_blank_values=True))
    kind = _kind(scope)
    if kind == _MULTIPART:
        await _multipart(Request(scope, receive), values, files)
    elif kind == _JSON:
        values.update(_json(await _body(receive)))
    elif kind == _FORM:
        values.update(_form(await _body(receive)))
    return Params(values, files)


def _kind(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"content-type":
            return bytes(value).partition(b";")[0].strip().lower()
    return b""


async def _body(receive: Receive) -> bytes:
    message = await receive()
    if not message.get("more_body"):
        return bytes(message.get("body", b""))
    parts = [message["body"]]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


async def answer(send: Send, content: Any, status: int, wait: int | None = None) -> None:
    """Sends an answer in JSON; `wait` becomes Retry-After, in seconds."""
    body = encode(content)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if wait is not None:
        headers.append((b"retry-after", str(wait).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True)
    except UnicodeDecodeError:
        raise bad_request("strings must be encoded in UTF-8") from None


def _json(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise bad_request("can't parse JSON object") from None
    if not isinstance(values, dict):
        raise bad_request("can't parse JSON object")
    return {name: value for name, value in values.items() if value is not None}


async def _multipart(request: Request, values: dict[str, Any], files: dict[str, Upload]) -> None:
    async with request.form(max_part_size=_MOST_PART) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                files[name] = Upload(value.filename or "", await value.read(), value.content_type)
            else:
                values[name] = value


class JsonAnswer(Response):
    """An answer in JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The content as JSON bytes."""
        return encode(content)
