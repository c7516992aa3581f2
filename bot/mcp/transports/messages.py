"""Cuts a stream of bytes into lines, with a limit that holds whatever the other side sends."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError, JSONRPCMessage, jsonrpc_message_adapter

from bot.ops.plain_json import Mending, mended

LINE_LIMIT = 8 * 1024 * 1024
ENDLESS = 64 * 1024 * 1024

_EDGE = 256
_VERSION = rb'"jsonrpc"\s*:\s*"2\.0"'
_ID = rb'"id"\s*:\s*(\d{1,15})'
_ID_IN_FRONT = re.compile(rb"(?:data:)?\s*\{\s*(?:" + _VERSION + rb"\s*,\s*)?" + _ID + rb"\s*,")
_ID_AT_END = re.compile(_ID + rb"\s*(?:,\s*" + _VERSION + rb"\s*)?\}\s*$")


@dataclass(frozen=True, slots=True)
class LineTooLong:
    """A line over the limit: its size in bytes, and the request it answers where that shows."""

    size: int
    request: int | None


class LineSplitter:
    """Bytes in, whole lines out; a line over `limit` bytes is dropped, and told of."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._begin()

    @property
    def is_endless(self) -> bool:
        """Whether the line that is coming in is longer than anything we wait for."""
        return self._size > ENDLESS

    def feed(self, chunk: bytes) -> list[bytes | LineTooLong]:
        """The lines that this chunk completes."""
        *ends, rest = chunk.split(b"\n")
        lines: list[bytes | LineTooLong] = []
        for end in ends:
            self._add(end)
            lines.append(self._line())
            self._begin()
        self._add(rest)
        return lines

    def _begin(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""
        self._tail = b""

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        self._head += part[: _EDGE - len(self._head)]
        self._tail = (self._tail + part[-_EDGE:])[-_EDGE:]
        if self._size <= self._limit:
            self._parts.append(part)
        else:
            self._parts.clear()

    def _line(self) -> bytes | LineTooLong:
        if self._size <= self._limit:
            return b"".join(self._parts)
        return LineTooLong(self._size, _request(self._head, self._tail))


def request_of(line: bytes) -> int | None:
    """The request that a line seems to answer, whatever else is wrong with it."""
    return _request(line[:_EDGE], line[-_EDGE:]) if b'"jsonrpc"' in line else None


def _request(head: bytes, tail: bytes) -> int | None:
    found = _ID_IN_FRONT.match(head) or _ID_AT_END.search(tail)
    return int(found.group(1)) if found else None


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
    return _whole(response, mended(bytes(body)))


class _MendedStream(httpx2.AsyncByteStream):
    """A stream of events whose texts can all be read."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        mending = Mending()
        async for piece in self._inner:
            if whole := mending.feed(piece):
                yield whole
        if rest := mending.end():
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
    raw = mended(raw)
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
