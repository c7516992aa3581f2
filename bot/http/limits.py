"""Limits of the HTTP port, which strangers reach: sizes, numbers, memory and times.

Everything they send is bounded before the application sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import Any, Literal, cast

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = structlog.get_logger("http")

CONNECTION = "switchboard.connection"
"""The extension of a request's scope: `cut` cuts its connection, `free` frees its header."""

_TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_PIECE_BYTES = 8 * 1024  # what is parsed between two looks at the limits
_WRITE_BUFFER = 16 * 1024
_FIELD_BYTES = 150  # what a field takes in memory besides its bytes
_REQUEST_BYTES = 2 * 1024  # what a request takes besides its header
_LIGHT_HEADER = 4 * 1024  # a larger one is not kept in an idle connection
_WARN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What each connection, and all of them together, may use.

    Sizes are in bytes; `memory` is for all that is not answered yet. `connections` are open at
    once; this machine itself may have `reserve` more, so that its health check gets in.
    `header_seconds` is the time to a whole header, `body_seconds` to the end of a body,
    `answer_seconds` to take what is answered. `pipelined` requests may wait behind the one that
    is being answered. `count` is called with the name of each refusal, such as `http:431`.
    """

    connections: int = 512
    reserve: int = 16
    header_bytes: int = 32 * 1024
    header_fields: int = 100
    memory: int = 3 * 1024 * 1024
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    answer_seconds: float = 10.0
    pipelined: int = 4
    count: Callable[[str], None] = lambda _: None


def limited_protocol(limits: HttpLimits) -> type[asyncio.Protocol]:
    """The protocol of one port; it stands for the class that uvicorn makes its connections of."""
    return cast(type[asyncio.Protocol], partial(_LimitedProtocol, _ConnectionLimiter(limits)))


class _ConnectionLimiter:
    """The connections of one port. Where there are too many, one without a request is closed.

    It is the oldest of the client with the most of them, so that others keep theirs.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self._open: set[_LimitedProtocol] = set()
        self._idle: dict[object, dict[_LimitedProtocol, None]] = {}
        self._held = 0
        self._warned_at = float("-inf")

    def admit(self, connection: _LimitedProtocol) -> bool:
        """Take in a new connection; False where there is no room for it."""
        room = self.limits.connections + (self.limits.reserve if connection.is_local else 0)
        if len(self._open) >= room:
            if connection.loop.time() - self._warned_at > _WARN_SECONDS:
                self._warned_at = connection.loop.time()
                log.warning(
                    "http.crowded",
                    connections=len(self._open),
                    so="idle connections are closed to make room",
                    cure="let only your proxy reach this port, or raise HTTP_CONNECTIONS",
                )
            if not self._close_idle(lambda _: True):
                self.limits.count("http:503")
                return False
        self._open.add(connection)
        self.set_idle(connection)
        return True

    def set_idle(self, connection: _LimitedProtocol) -> None:
        """Note a connection that waits for a whole request."""
        if connection in self._open:
            self._idle.setdefault(connection.peer, {})[connection] = None

    def set_busy(self, connection: _LimitedProtocol) -> None:
        """Note a connection whose request is being read or answered."""
        if (idle := self._idle.get(connection.peer)) is not None:
            idle.pop(connection, None)
            if not idle:
                del self._idle[connection.peer]

    def remove(self, connection: _LimitedProtocol) -> None:
        """Note that a connection is gone."""
        self._open.discard(connection)
        self.set_busy(connection)

    def reserve(self, more: int) -> bool:
        """Take so many bytes more (or fewer) of the memory; False where there is no room."""
        self._held += more
        fits = self._held <= self.limits.memory
        return more <= 0 or fits or self._close_idle(lambda idle: idle.held > 0)

    def _close_idle(self, can: Callable[[_LimitedProtocol], bool]) -> bool:
        """Close an idle connection for which `can` is true; False where there is none."""
        for idle in sorted(self._idle.values(), key=len, reverse=True):
            if (oldest := next(filter(can, idle), None)) is not None:
                self.remove(oldest)
                oldest.abort()
                self.limits.count("http:gave_way")
                return True
        return False


class _LimitedProtocol(HttpToolsProtocol):
    """HTTP within limits. `held` is what it keeps in memory, in bytes, until it is answered."""

    def __init__(self, limiter: _ConnectionLimiter, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._limiter = limiter
        self._limits = limiter.limits
        self._in_header = False
        self._in_body = False
        self._header_fed = 0  # bytes of an unfinished header, also those not parsed yet
        self._header_size = 0
        self._requests_held = 0
        self._refusal: HTTPStatus | None = None
        self._deadlines: dict[Literal["read", "write"], asyncio.TimerHandle] = {}
        self.held = 0
        self.peer: object = None
        self.is_local = False

    # --- the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        here, there = (end[0] if end else "" for end in (self.server, self.client))
        self.is_local = here == there
        self.peer = int(IPv6Address(there)) >> 64 if ":" in there else there
        if self._limiter.admit(self):
            self._start_deadline(self._limits.header_seconds)
        else:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._release()
        self._limiter.remove(self)
        self._clear_deadline("write")
        super().connection_lost(exc)

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self._finish()

    def abort(self) -> None:
        """Cut the connection at once."""
        self._release()
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._set_write_deadline()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._clear_deadline("write")

    # --- what comes in ---

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            for start in range(0, len(data), _PIECE_BYTES):
                self._feed(memoryview(data)[start : start + _PIECE_BYTES])
        except httptools.HttpParserUpgrade:  # answered as if it had not been asked for
            if self._refusal is None:
                self.cycle.keep_alive = False
            else:
                self._refuse_now(self._refusal)
        except httptools.HttpParserError:
            self._refuse_now(HTTPStatus.BAD_REQUEST)
        else:
            self._set_deadline()

    def _feed(self, piece: memoryview) -> None:
        if self.transport.is_closing():
            return
        self.parser.feed_data(piece)
        if self._in_header:
            self._header_fed += len(piece)
            if self._header_fed > self._limits.header_bytes:
                self._refuse_later(_TOO_LARGE)
            fields = len(self.headers) * _FIELD_BYTES
            self._set_held(self._requests_held + self._header_fed + fields)
        if self._refusal is not None:
            self._refuse_now(self._refusal)

    def _refuse_later(self, status: HTTPStatus) -> None:
        # Raised at once, the error would keep alive all that the parser holds.
        if self._refusal is None:
            self._refusal = status

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= self._limits.pipelined:
            self._refuse_later(HTTPStatus.TOO_MANY_REQUESTS)
        if self._refusal is None:
            super().on_message_begin()
            own: dict[object, object] = {"cut": self.transport.abort, "free": self._free_header}
            self.scope["extensions"] = {CONNECTION: own}
            self._in_header, self._header_fed, self._header_size = True, 0, 0

    def on_url(self, url: bytes) -> None:
        if self._header_takes(len(url)):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._header_takes(len(name) + len(value) + 4):
            super().on_header(name, value)

    def _header_takes(self, size: int) -> bool:
        """Count more bytes of a header; False where it is refused, for them or for what was."""
        self._header_size += size
        limits = self._limits
        if self._header_size > limits.header_bytes or len(self.headers) >= limits.header_fields:
            self._refuse_later(_TOO_LARGE)
        return self._refusal is None

    def on_headers_complete(self) -> None:
        self._limiter.set_busy(self)
        fields = len(self.headers) * _FIELD_BYTES
        self._requests_held += self._header_size + fields + _REQUEST_BYTES
        self._set_held(self._requests_held)
        if self._refusal is not None:
            return
        super().on_headers_complete()  # raises where the path is not valid
        self._in_header, self._in_body = False, True
        self._clear_deadline()
        if self._header_size > _LIGHT_HEADER:  # it stays in memory as long as the connection
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        if self._refusal is None:
            super().on_body(body)
            self._set_held(self._requests_held + len(self.cycle.body))

    def on_message_complete(self) -> None:
        if self._refusal is None:
            self._in_body = False
            self._clear_deadline()
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body:  # the application does not read the rest
            self._unset_keepalive_if_required()
            self.transport.close()
        if self.transport.is_closing():
            self._finish()
        elif not self._is_answering():
            self._requests_held = 0
            self._set_held(self._header_fed if self._in_header else 0)
            self._limiter.set_idle(self)
            if self._in_header:
                self._start_deadline(self._limits.header_seconds)

    # --- what it holds ---

    def _set_held(self, size: int) -> None:
        before, self.held = self.held, size
        if size != before and not self._limiter.reserve(size - before):
            self._refuse_later(HTTPStatus.SERVICE_UNAVAILABLE)

    def _free_header(self) -> None:
        """Free the header of the request that is being answered: its answer takes long."""
        if not self.pipeline and not self._in_header and not self._in_body:
            self.headers.clear()
            self._requests_held = 0
            self._set_held(0)

    def _release(self) -> None:
        """Free what an ending connection holds, long before it is gone."""
        if self._in_header:
            self.headers.clear()  # the request that it was to become has it, too
        if self._in_body:
            self.cycle.body = bytearray()
        self.pipeline.clear()
        self.scope = None  # type: ignore[assignment]
        self.headers = []
        self.parser = None  # type: ignore[assignment]  # as the library does where all is over
        self._in_header = False
        self._set_held(0)
        self._clear_deadline()

    # --- deadlines ---

    def _set_deadline(self) -> None:
        """Start the deadline of an unfinished header or body, unless one runs already."""
        if not self.transport.is_closing() and (self._in_body or not self._is_answering()):
            limits = self._limits
            self._start_deadline(limits.body_seconds if self._in_body else limits.header_seconds)

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle
        return bool(self.pipeline) or (cycle is not None and not cycle.response_complete)

    def _start_deadline(self, seconds: float) -> None:
        if "read" not in self._deadlines:
            self._deadlines["read"] = self.loop.call_later(seconds, self._on_deadline)

    def _set_write_deadline(self) -> None:
        """Cut the connection where the client does not take what is written in time."""
        if "write" not in self._deadlines:
            seconds = self._limits.answer_seconds
            self._deadlines["write"] = self.loop.call_later(seconds, self.transport.abort)

    def _clear_deadline(self, kind: Literal["read", "write"] = "read") -> None:
        if (deadline := self._deadlines.pop(kind, None)) is not None:
            deadline.cancel()

    def _on_deadline(self) -> None:
        if self._in_header or self._in_body:
            self._refuse_now(HTTPStatus.REQUEST_TIMEOUT)
        else:  # an unasked answer would be taken for the one to the next request
            self._limits.count("http:silent")
            self.transport.close()

    # --- ends ---

    def _refuse_now(self, status: HTTPStatus) -> None:
        self._limits.count(f"http:{status.value}")
        own = not self._is_answering() or (self._in_body and not self.cycle.response_started)
        if self.pipeline or not own:
            self.abort()  # an answer now would be taken for another request's
        else:
            self._answer(status)

    def _answer(self, status: HTTPStatus) -> None:
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        self.transport.write(f"{head}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        self.transport.close()
        self._finish()

    def _finish(self) -> None:
        """Free what is held, and cut the connection where the last answer is not taken."""
        self._release()
        self._set_write_deadline()
