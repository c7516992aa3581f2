"""Messages of the protocol, read from bytes within bounds.

Parsing very many values takes far longer than the size of a message suggests: such a message is
refused by counting its punctuation. Any other long message is parsed in a thread, and cut to the
parts that a model is shown.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx2
import orjson
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError, JSONRPCMessage, jsonrpc_message_adapter

from bot.mcp.refusals import (
    ANSWER_REJECTED,
    BREAKS_PROTOCOL,
    TOO_LARGE,
    TOO_MANY_PARTS,
    compressed,
)
from bot.ops.lenient_json import UnsupportedJson, dumps, loads_readable, replace_half_surrogates
from bot.ops.line_reader import LINE_LIMIT, LineSplitter, LineTooLong, answered_request
from bot.ops.tasks import run_in_daemon_thread

LONG_BYTES = 64 * 1024
PARTS_LIMIT = 2_000
_BRACKETS_LIMIT = 50_000
_QUOTES_LIMIT = 200_000
_COMMAS_LIMIT = 800_000
_JSON = "application/json"
_EVENTS = "text/event-stream"
_DATA = b"data:"


class TooManyParts(ValueError):
    """The message has too many values to be parsed."""


class InvalidMessage(ValueError):
    """A message that the SDK accepts, but that must not be used as it is.

    It is nested too deep, has both a result and an error, or answers another request than its own.
    """


async def shortened(raw: bytes, request: Any = None) -> bytes:
    """Shorten the JSON of a message, which may only answer `request` (its id) where that is given.

    Raises TooManyParts, InvalidMessage, or ValueError if it is not JSON.
    """
    if len(raw) <= LONG_BYTES:
        whole = replace_half_surrogates(raw)
        with suppress(orjson.JSONDecodeError):  # the SDK reports it
            message, is_changed = _read(whole, request)
            return dumps(message) if is_changed else whole
        return whole
    found: bytes = await run_in_daemon_thread(lambda: shorten(raw, request))
    return found


def _read(raw: bytes, request: Any) -> tuple[Any, bool]:
    """The JSON of a message, and whether it was changed so that the SDK takes it.

    Raises InvalidMessage or orjson.JSONDecodeError.
    """
    message, is_changed = _loads(raw)
    if not isinstance(message, dict) or "method" in message:
        return message, is_changed
    for end, other in (("result", "error"), ("error", "result")):
        if other in message and message.get(end, 0) is None:
            del message[end]
            is_changed = True
    ends, id = message.keys() & {"result", "error"}, message.get("id")
    is_foreign = None not in (id, request) and str(id) != str(request)
    if len(ends) == 2 or (ends and is_foreign):
        raise InvalidMessage
    if ends and id is None and request is not None:
        message["id"] = request
        is_changed = True
    if ends and "id" in message and message.get("jsonrpc") != "2.0":
        message["jsonrpc"] = "2.0"
        is_changed = True
    if not isinstance(message.get("result", {}), dict):
        message["result"] = {"content": message["result"]}
        is_changed = True
    return message, is_changed


def _loads(raw: bytes) -> tuple[Any, bool]:
    """The JSON in some bytes, and whether it had to be read for what it says."""
    try:
        return orjson.loads(raw), False
    except orjson.JSONDecodeError as error:
        try:
            return loads_readable(raw), True
        except UnsupportedJson:
            raise InvalidMessage from None
        except ValueError:
            raise error from None


def shorten(raw: bytes, request: Any = None) -> bytes:
    """The same without a thread."""
    if _has_too_many_parts(raw):
        raise TooManyParts
    raw = replace_half_surrogates(raw)
    message, _ = _read(raw, request)
    result = message.get("result") if isinstance(message, dict) else None
    if isinstance(result, dict):
        cut_parts(result)
        _structure_as_text(result)
    return dumps(message)


def cut_parts(result: dict[str, Any]) -> None:
    """Drop all but the first `PARTS_LIMIT` parts of a result, and say how many were dropped."""
    for name in ("content", "messages", "prompts"):
        # One more is our own note on an earlier cut.
        if isinstance(parts := result.get(name), list) and len(parts) > PARTS_LIMIT + 1:
            result[name] = parts[:PARTS_LIMIT]
            if name == "content":
                note = f"[{len(parts) - PARTS_LIMIT} more parts are left out]"
                result[name].append({"type": "text", "text": note})


def _structure_as_text(result: dict[str, Any]) -> None:
    content = result.get("content")
    if isinstance(content, list) and result.get("structuredContent") is not None:
        structure = result.pop("structuredContent")
        if not any(map(has_text, content)):
            content.append({"type": "text", "text": orjson.dumps(structure).decode()})


def has_text(part: Any) -> bool:
    """Whether a part of a result is text that shows."""
    text = part.get("text") if isinstance(part, dict) else None
    return isinstance(text, str) and bool(text.strip())


def _has_too_many_parts(raw: bytes) -> bool:
    quotes = raw.count(b'"') - raw.count(b'\\"')
    brackets = raw.count(b"[") + raw.count(b"{")
    return brackets > _BRACKETS_LIMIT or quotes > _QUOTES_LIMIT or raw.count(b",") > _COMMAS_LIMIT


def parse_message(raw: bytes) -> JSONRPCMessage:
    """Parse a message that was `shortened`; raises ValueError where it is not one."""
    if len(raw) > LONG_BYTES:
        # Five times as fast where an answer has very many parts, and all on this loop wait for it.
        with suppress(orjson.JSONDecodeError):
            return jsonrpc_message_adapter.validate_python(orjson.loads(raw), by_name=False)
    return jsonrpc_message_adapter.validate_json(raw, by_name=False)


def message_or_error(raw: bytes) -> SessionMessage | None:
    """The message in these bytes, or an error for the request that they seem to answer, if any."""
    try:
        return SessionMessage(parse_message(raw))
    except ValueError:
        return error_message(raw, BREAKS_PROTOCOL)


def error_message(raw: bytes, what: str) -> SessionMessage | None:
    """An error of ours in place of an answer that cannot be read; None if it is not an answer.

    It has no id where the answer shows none.
    """
    request = answered_request(raw)
    return rejected(request, what) if request is not None or _is_answer(raw) else None


def _is_answer(raw: bytes) -> bool:
    """Whether some bytes, which are not a message, seem to be an answer."""
    has_end = b'"result"' in raw or b'"error"' in raw
    return has_end and b'"jsonrpc"' in raw and b'"method"' not in raw


def rejected(request: int | str | None, what: str) -> SessionMessage:
    """An error of ours in place of an answer; `what` is wrong with it, to follow its name."""
    body = ErrorData(code=ANSWER_REJECTED, message=what)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=body))


def too_long_message(request: int | None, size: int) -> SessionMessage:
    """The same for an answer of so many bytes."""
    return rejected(request, f"of {size} bytes is too large")


async def bounded_body(response: httpx2.Response) -> httpx2.Response:
    """The response, its body read where that is JSON; one over `LINE_LIMIT` is an error in it.

    The same holds for each event of a stream, and for JSON with another content type, except that
    of a web page. Half of a surrogate pair is U+FFFD. Raises httpx2.TransportError where the body
    breaks off, or is compressed although we asked for it plain: a few bytes could become gigabytes.
    """
    if response.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
        await response.aclose()
        raise compressed(response)
    kind = response.headers.get("content-type", "").lower()
    if kind.startswith(_EVENTS):
        response.stream = _BoundedEvents(response)
    body, sent, request = bytearray(), _sent_id(response.request), response.request
    is_json = kind.startswith(_JSON)
    may_be_json = response.status_code == 200 and sent is not None and "html" not in kind
    if kind.startswith(_EVENTS) or not (is_json or may_be_json):
        return response
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > LINE_LIMIT:
            await response.aclose()
            content, headers = _error(sent, TOO_LARGE), {"Content-Type": _JSON}
            return httpx2.Response(200, content=content, headers=headers, request=request)
    kept = response.headers.copy()
    for name in ("content-length", "transfer-encoding"):
        kept.pop(name, None)
    if body.removeprefix(BOM_UTF8).lstrip().startswith(b"{"):
        kept["content-type"] = _JSON
    content = await _shortened_or_error(bytes(body), sent, sent)
    return httpx2.Response(response.status_code, headers=kept, content=content, request=request)


class _BoundedEvents(httpx2.AsyncByteStream):
    """A stream of events, each of which is quickly read; what is too long is an error instead."""

    def __init__(self, response: httpx2.Response) -> None:
        self._inner: Any = response.stream
        self._request = response.request
        self._sent_id = _sent_id(response.request)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        lines = LineSplitter()
        async for piece in self._inner:
            for line in lines.feed(piece):
                yield await self._line(line)
            if lines.is_endless:
                raise httpx2.RemoteProtocolError("a line without an end", request=self._request)

    async def _line(self, line: bytes | LineTooLong) -> bytes:
        if isinstance(line, LineTooLong):
            request = self._sent_id if line.request is None else line.request
            return b"data: " + _error(request, TOO_LARGE) + b"\n"
        if not line.startswith(_DATA):
            return line + b"\n"
        message = line.removeprefix(_DATA)
        answered = answered_request(message)
        return _DATA + await _shortened_or_error(message, answered, self._sent_id) + b"\n"

    async def aclose(self) -> None:
        """Close the stream that this one reads."""
        await self._inner.aclose()


async def _shortened_or_error(message: bytes, answered: Any, sent: Any) -> bytes:
    """A message shortened, or an error in its place; what is not JSON stays.

    It seems to answer the id `answered`, and should answer only `sent`, where that is known.
    """
    try:
        return await shortened(message, sent)
    except TooManyParts:
        return _error(answered, TOO_MANY_PARTS)
    except InvalidMessage:
        return _error(answered if sent is None else sent, BREAKS_PROTOCOL)
    except ValueError:
        return message


def _error(request: Any, text: str) -> bytes:
    error = {"code": ANSWER_REJECTED, "message": text}
    answer = {"jsonrpc": "2.0", "id": 0 if request is None else request, "error": error}
    return json.dumps(answer).encode()


def _sent_id(request: httpx2.Request) -> Any:
    return _sent(request).get("id")


def is_request(request: httpx2.Request) -> bool:
    """Whether a post carries a request, and no notification or answer."""
    return {"id", "method"} <= _sent(request).keys()


def _sent(request: httpx2.Request) -> dict[str, Any]:
    try:
        message = json.loads(request.content)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
