"""Messages of the protocol, read from bytes within bounds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx2
import orjson
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError, JSONRPCMessage, jsonrpc_message_adapter

from bot.ops.lenient_json import SurrogateReplacer, replace_half_surrogates
from bot.ops.line_reader import LINE_LIMIT

UNREADABLE = -32090
"""The code of an error that stands for an answer which we did not take; its words say why."""

_JSON = "application/json"
_EVENTS = "text/event-stream"


async def bounded_body(response: httpx2.Response, limit: int = LINE_LIMIT) -> httpx2.Response:
    """The response, its body read where that is JSON; a body over `limit` bytes is an error in it.

    Half of a surrogate pair in it, or in a stream of events, is U+FFFD. Raises
    httpx2.TransportError where the body breaks off, or is compressed although we asked for it as it
    is: a few bytes could become gigabytes.
    """
    if response.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
        await response.aclose()
        raise httpx2.RemoteProtocolError("the answer is compressed", request=response.request)
    kind = response.headers.get("content-type", "").lower()
    if kind.startswith(_EVENTS):
        response.stream = _MendedStream(response.stream)
    if not kind.startswith(_JSON):
        return response
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            await response.aclose()
            return _error_too_large(response.request, limit)
    return _whole(response, replace_half_surrogates(bytes(body)))


class _MendedStream(httpx2.AsyncByteStream):
    """A stream of events whose texts can all be read."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        mending = SurrogateReplacer()
        async for piece in self._inner:
            if whole := mending.add(piece):
                yield whole
        if rest := mending.finish():
            yield rest

    async def aclose(self) -> None:
        """Close the stream that this one reads."""
        await self._inner.aclose()


def too_large(limit: int) -> str:
    """What the model is told of an answer over `limit` bytes."""
    size = limit // (1024 * 1024)
    return f"The tool ran, but its answer of more than {size} MB is too large: ask for less."


def _whole(response: httpx2.Response, body: bytes) -> httpx2.Response:
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name.lower() not in {"content-length", "transfer-encoding"}
    ]
    return httpx2.Response(
        response.status_code, headers=headers, content=body, request=response.request
    )


def _error_too_large(request: httpx2.Request, limit: int) -> httpx2.Response:
    error = {"code": UNREADABLE, "message": too_large(limit)}
    answer = {"jsonrpc": "2.0", "id": _id_of(request), "error": error}
    return httpx2.Response(200, json=answer, request=request)


def _id_of(request: httpx2.Request) -> Any:
    try:
        message = json.loads(request.content)
    except ValueError:
        return None
    return message.get("id") if isinstance(message, dict) else None


BROKEN = "The tool ran, but its answer breaks the protocol."

_LONG = 256 * 1024


def parsed(raw: bytes) -> JSONRPCMessage:
    """The message in these bytes; raises ValueError where there is none.

    Half of a surrogate pair in a text is read as U+FFFD: the rest of it is worth having.
    """
    raw = replace_half_surrogates(raw)
    if len(raw) > _LONG:
        # Five times as fast where an answer has very many parts, and all on this loop wait for it.
        with suppress(orjson.JSONDecodeError):
            return jsonrpc_message_adapter.validate_python(orjson.loads(raw), by_name=False)
    return jsonrpc_message_adapter.validate_json(raw, by_name=False)


def error(request: int, words: str) -> SessionMessage:
    """An answer of ours in place of one that we did not take."""
    body = ErrorData(code=UNREADABLE, message=words)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=body))


def too_long(request: int, size: int) -> SessionMessage:
    """The same for an answer of so many bytes."""
    return error(
        request, f"The tool ran, but its answer of {size} bytes is too large: ask for less."
    )
