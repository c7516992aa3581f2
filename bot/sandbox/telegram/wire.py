"""Requests into parameters, answers into bytes."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bot.ops.serving import cut
from bot.sandbox.telegram.params import Params, Upload
from bot.sandbox.telegram.refusals import bad_request
from bot.sandbox.telegram.updates import Update

_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_JSON = "application/json"
_MOST_PART = 60 * 1024 * 1024


def encode(value: Any) -> bytes:
    """JSON bytes; updates go out as they were first written."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATACLASS)


def _plain(value: Any) -> Any:
    if isinstance(value, Update):
        return orjson.Fragment(value.raw)
    raise TypeError(f"no JSON for {type(value).__name__}")


async def parameters(request: Request) -> Params:
    """The parameters of a call from query and body; what the body says counts."""
    values: dict[str, Any] = {}
    files: dict[str, Upload] = {}
    query = request.scope["query_string"]
    if query:
        values.update(parse_qsl(query.decode(), keep_blank_values=True))
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == _MULTIPART:
        await _multipart(request, values, files)
    elif kind in {_JSON, _FORM}:
        body = await request.body()
        values.update(_json(body) if kind == _JSON else _form(body))
    return Params(values, files)


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


class CutAnswer(Response):
    """No answer: the connection is cut."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Cuts the connection."""
        await cut(scope, receive)
