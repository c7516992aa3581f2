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
from bot.ops.line_reader import LINE_LIMIT, answered_request

ANSWER_REJECTED = -32090
"""The code of an error of ours in place of an answer that we did not accept; its text says why."""
PROTOCOL_BROKEN = "The tool ran, but its answer breaks the protocol."

_JSON = "application/json"
_EVENTS = "text/event-stream"
_LONG = 256 * 1024


def parse_message(raw: bytes) -> JSONRPCMessage:
    """The message in these bytes; raises ValueError where there is none.

    Half of a surrogate pair in a text is read as U+FFFD: the rest of it is worth having.
    """
    raw = replace_half_surrogates(raw)
    if len(raw) > _LONG:
        # Five times as fast where an answer has very many parts, and all on this loop wait for it.
        with suppress(orjson.JSONDecodeError):
            return jsonrpc_message_adapter.validate_python(orjson.loads(raw), by_name=False)
    return jsonrpc_message_adapter.validate_json(raw, by_name=False)


def message_or_error(raw: bytes) -> SessionMessage | None:
    """The message in these bytes, or an error for the request that they seem to answer, if any."""
    try:
        return SessionMessage(parse_message(raw))
    except ValueError:
        return error_message(answered_request(raw), PROTOCOL_BROKEN)


def error_message(request: int | None, text: str) -> SessionMessage | None:
    """An error of ours in place of an answer; None where it is not known which request it was."""
    if request is None:
        return None
    body = ErrorData(code=ANSWER_REJECTED, message=text)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=body))


def too_long_message(request: int | None, size: int) -> SessionMessage | None:
    """The same for an answer of so many bytes."""
    text = f"The tool ran, but its answer of {size} bytes is too large: ask for less."
    return error_message(request, text)


def too_large_text(limit: int) -> str:
    """What the model is told of an answer over `limit` bytes."""
    size = limit // (1024 * 1024)
    return f"The tool ran, but its answer of more than {size} MB is too large: ask for less."


async def bounded_body(response: httpx2.Response, limit: int = LINE_LIMIT) -> httpx2.Response:
    """The response, its body read where that is JSON; a body over `limit` bytes is an error in it.

    Half of a surrogate pair in it, or in a stream of events, is U+FFFD. Raises
    httpx2.TransportError where the body breaks off, or is compressed although we asked for it
    plain: a few bytes could become gigabytes.
    """
    if response.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
        await response.aclose()
        raise httpx2.RemoteProtocolError("the answer is compressed", request=response.request)
    kind = response.headers.get("content-type", "").lower()
    if kind.startswith(_EVENTS):
        response.stream = _RepairedStream(response.stream)
    if not kind.startswith(_JSON):
        return response
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            await response.aclose()
            return _too_large(response.request, limit)
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name.lower() not in {"content-length", "transfer-encoding"}
    ]
    return httpx2.Response(
        response.status_code,
        headers=headers,
        content=replace_half_surrogates(bytes(body)),
        request=response.request,
    )


class _RepairedStream(httpx2.AsyncByteStream):
    """A stream of events without halves of surrogate pairs."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        replacer = SurrogateReplacer()
        async for piece in self._inner:
            if complete := replacer.add(piece):
                yield complete
        if rest := replacer.finish():
            yield rest

    async def aclose(self) -> None:
        """Close the stream that this one reads."""
        await self._inner.aclose()


def _too_large(request: httpx2.Request, limit: int) -> httpx2.Response:
    try:
        message = json.loads(request.content)
    except ValueError:
        message = None
    answer = {
        "jsonrpc": "2.0",
        "id": message.get("id") if isinstance(message, dict) else None,
        "error": {"code": ANSWER_REJECTED, "message": too_large_text(limit)},
    }
    return httpx2.Response(200, json=answer, request=request)
