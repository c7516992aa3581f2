"""Bodies of HTTP answers, read by us and no further than our limit.

The SDK reads a JSON answer whole, however long it is, and an answer that breaks off would end the
connection of all who share it. Streams of events have a limit for each event.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from bot.tools.mcp.lines import LINE_LIMIT, LineSplitter, TooLong, request_of
from bot.tools.mcp.slim import BROKEN, CROWDED, Crowded, Unsound, slimmed

UNREADABLE = -32090
"""The code of an error that stands for an answer which we did not take; its words say why."""

_JSON = "application/json"
_EVENTS = "text/event-stream"
_DATA = b"data:"


async def bounded(response: httpx2.Response, limit: int = LINE_LIMIT) -> httpx2.Response:
    """The response, its body read where that is JSON; a body over `limit` bytes is an error in it.

    The same holds for each event of a stream. Half of a surrogate pair is U+FFFD. Raises
    httpx2.TransportError where the body breaks off, or is compressed although we asked for it as it
    is: a few bytes could become gigabytes.
    """
    if response.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
        await response.aclose()
        raise httpx2.RemoteProtocolError("the answer is compressed", request=response.request)
    kind = response.headers.get("content-type", "").lower()
    if kind.startswith(_EVENTS):
        response.stream = _BoundedEvents(response)
    if not kind.startswith(_JSON):
        return response
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            await response.aclose()
            return _too_large(response.request, limit)
    id = _id_of(response.request)
    return _whole(response, await _quickly_read(bytes(body), id, id))


async def _quickly_read(message: bytes, id: Any, request: Any) -> bytes:
    """A message's JSON so that it is quickly read, or an error in its place; what is none stays.

    It seems to answer `id`, and stands where only `request` should be answered, if that is known.
    """
    try:
        return await slimmed(message, request)
    except Crowded:
        return _error(id, CROWDED)
    except Unsound:
        return _error(id if request is None else request, BROKEN)
    except ValueError:
        return message


class _BoundedEvents(httpx2.AsyncByteStream):
    """A stream of events, each of which is quickly read; what is too long is an error instead."""

    def __init__(self, response: httpx2.Response) -> None:
        self._inner: Any = response.stream
        self._request = response.request
        self._asked = _id_of(response.request)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        lines = LineSplitter()
        async for piece in self._inner:
            for line in lines.feed(piece):
                yield await self._line(line)
            if lines.is_endless:
                raise httpx2.RemoteProtocolError("a line without an end", request=self._request)

    async def _line(self, line: bytes | TooLong) -> bytes:
        if isinstance(line, TooLong):
            id = self._asked if line.request is None else line.request
            return b"data: " + _error(id, too_large(LINE_LIMIT)) + b"\n"
        if not line.startswith(_DATA):
            return line + b"\n"
        message = line.removeprefix(_DATA)
        return _DATA + await _quickly_read(message, request_of(message), self._asked) + b"\n"

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


def _too_large(request: httpx2.Request, limit: int) -> httpx2.Response:
    body = _error(_id_of(request), too_large(limit))
    return httpx2.Response(200, content=body, headers={"Content-Type": _JSON}, request=request)


def _error(id: Any, words: str) -> bytes:
    """An answer of ours in place of one that we do not take."""
    error = {"code": UNREADABLE, "message": words}
    return json.dumps({"jsonrpc": "2.0", "id": 0 if id is None else id, "error": error}).encode()


def _id_of(request: httpx2.Request) -> Any:
    try:
        message = json.loads(request.content)
    except ValueError:
        return None
    return message.get("id") if isinstance(message, dict) else None
