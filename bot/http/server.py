"""A web application on a socket, inside the running event loop.

With `Limits` strangers may come: whatever they send is bounded in size, number and time before the
application hears of it. Without, as on loopback, it is not.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import Any, cast

import httptools
import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = structlog.get_logger("http")

ABORT = "switchboard.abort"
_GRACE = 0.2
_KEEP_ALIVE = 75
_TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_PIECE = 8 * 1024  # what is parsed between two looks at the limits
_WRITE_BUFFER = 16 * 1024
_FIELD = 150  # what a field takes in memory besides its bytes
_REQUEST = 2 * 1024  # what a request takes besides its header
_LIGHT = 4 * 1024  # a header beyond it is not kept in an idle connection
_TOLD_AGAIN = 60.0


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What whoever connects may use before anything that they say is looked at.

    Sizes are in bytes; `memory` is for all that is not answered yet. `connections` are open at
    once; this machine itself may have `reserve` more, so that its health check gets in.
    `header_seconds` is the time to a whole header, `body_seconds` to the end of a body,
    `answer_seconds` to take what is answered. `pipelined` requests may wait behind the one that
    is being answered. `count` is told of each refusal.
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


class _Protocol(HttpToolsProtocol):
    """HTTP whose requests may cut their own connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"cut": self.transport.abort}}


class _Crowd:
    """The connections of one port. Where there are too many, one without a request gives way.

    It is the oldest of whoever has the most of them, so that others keep theirs.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self._all: set[_Guarded] = set()
        self._idle: dict[object, dict[_Guarded, None]] = {}
        self._held = 0
        self._told = float("-inf")

    def admit(self, one: _Guarded) -> bool:
        """Whether a new connection may stay."""
        room = self.limits.connections + (self.limits.reserve if one.is_local else 0)
        if len(self._all) >= room:
            self._tell(one)
            if not self._make_room(lambda _: True):
                self.limits.count("http:503")
                return False
        self._all.add(one)
        self.idle(one)
        return True

    def idle(self, one: _Guarded) -> None:
        """A connection without a whole request."""
        if one in self._all:
            self._idle.setdefault(one.peer, {})[one] = None

    def busy(self, one: _Guarded) -> None:
        """A connection whose request is being read or answered."""
        if (idle := self._idle.get(one.peer)) is not None:
            idle.pop(one, None)
            if not idle:
                del self._idle[one.peer]

    def leave(self, one: _Guarded) -> None:
        """A connection that is gone."""
        self._all.discard(one)
        self.busy(one)

    def hold(self, more: int) -> bool:
        """Whether so many bytes more may be held; fewer always may."""
        self._held += more
        fits = self._held <= self.limits.memory
        return more <= 0 or fits or self._make_room(lambda one: one.held > 0)

    def _make_room(self, can: Callable[[_Guarded], bool]) -> bool:
        """End an idle connection of this kind; False where there is none."""
        for idle in sorted(self._idle.values(), key=len, reverse=True):
            if (oldest := next(filter(can, idle), None)) is not None:
                self.leave(oldest)
                oldest.give_way()
                self.limits.count("http:gave_way")
                return True
        return False

    def _tell(self, one: _Guarded) -> None:
        if one.loop.time() - self._told > _TOLD_AGAIN:
            self._told = one.loop.time()
            log.warning(
                "http.crowded",
                connections=len(self._all),
                so="idle connections give way to new ones",
                cure="let only your proxy reach this port, or raise HTTP_CONNECTIONS",
            )


class _Guarded(_Protocol):
    """HTTP within limits. `held` is what it keeps in memory, in bytes, until it is answered."""

    def __init__(self, crowd: _Crowd, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._crowd = crowd
        self._limits = crowd.limits
        self._in_header = False
        self._in_body = False
        self._fed = 0  # of an unfinished header, also what the parser has not told of yet
        self._size = 0
        self._requests = 0
        self._over: HTTPStatus | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
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
        if self._crowd.admit(self):
            self._expect_header()
        else:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._crowd.leave(self)
        self._expect_no_reader()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self._let_go()

    def give_way(self) -> None:
        """Make room for another connection."""
        self._forget()
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._expect_no_reader()

    # --- what comes in ---

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            if len(data) <= _PIECE:
                self._feed(data)
            else:
                whole = memoryview(data)
                for start in range(0, len(whole), _PIECE):
                    self._feed(whole[start : start + _PIECE])
        except httptools.HttpParserUpgrade:  # it is answered as if it had not asked for that
            if self._over is None:
                self.cycle.keep_alive = False
            else:
                self._refuse(self._over)
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            self._expect_more()

    def _feed(self, piece: bytes | memoryview) -> None:
        if self.transport.is_closing():
            return
        self.parser.feed_data(piece)
        if self._in_header:
            self._fed += len(piece)
            if self._fed > self._limits.header_bytes:
                self._stop(_TOO_LARGE)
            self._hold(self._requests + self._fed + len(self.headers) * _FIELD)
        if self._over is not None:
            self._refuse(self._over)

    def _stop(self, status: HTTPStatus) -> None:
        # An error would stop the parser at once, but keep alive all that led to it.
        if self._over is None:
            self._over = status

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= self._limits.pipelined:
            self._stop(HTTPStatus.TOO_MANY_REQUESTS)
        if self._over is None:
            super().on_message_begin()
            self._in_header, self._fed, self._size = True, 0, 0

    def on_url(self, url: bytes) -> None:
        self._size += len(url)
        if self._size > self._limits.header_bytes:
            self._stop(_TOO_LARGE)
        elif self._over is None:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value) + 4
        limits = self._limits
        if self._size > limits.header_bytes or len(self.headers) >= limits.header_fields:
            self._stop(_TOO_LARGE)
        elif self._over is None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._crowd.busy(self)
        self._requests += self._size + len(self.headers) * _FIELD + _REQUEST
        self._hold(self._requests)
        if self._over is not None:
            return
        super().on_headers_complete()  # raises where the address is none
        self._in_header, self._in_body = False, True
        self._expect_nothing()
        if self._size > _LIGHT:  # what it said would stay in memory as long as it does
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        if self._over is None:
            super().on_body(body)
            self._hold(self._requests + len(self.cycle.body))

    def on_message_complete(self) -> None:
        if self._over is None:
            self._in_body = False
            self._expect_nothing()
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body:  # nobody will read the rest
            self._unset_keepalive_if_required()
            self.transport.close()
        if self.transport.is_closing():
            self._let_go()
        elif not self._is_answering():
            self._requests = 0
            self._hold(self._fed if self._in_header else 0)
            self._crowd.idle(self)
            if self._in_header:
                self._expect_header()

    # --- what it holds ---

    def _hold(self, size: int) -> None:
        before, self.held = self.held, size
        if size != before and not self._crowd.hold(size - before):
            self._stop(HTTPStatus.SERVICE_UNAVAILABLE)

    def _forget(self) -> None:
        """A connection that ends needs no memory and no time any more, long before it is gone."""
        if self._in_header:
            self.headers.clear()  # the request that it was to become has it, too
        if self._in_body:
            self.cycle.body = bytearray()
        self.pipeline.clear()
        self.scope = None  # type: ignore[assignment]
        self.headers = []
        self.parser = None  # type: ignore[assignment]  # as the library does where all is over
        self._in_header = False
        self._hold(0)
        self._expect_nothing()

    # --- deadlines ---

    def _expect_more(self) -> None:
        """What has begun must come to its end; a request that is answered now has no deadline."""
        if self._deadline is not None or self.transport.is_closing():
            return
        if self._in_body:
            self._expect(self._limits.body_seconds)
        elif not self._is_answering():
            self._expect_header()

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle
        return bool(self.pipeline) or (cycle is not None and not cycle.response_complete)

    def _expect_header(self) -> None:
        self._expect(self._limits.header_seconds)

    def _expect(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._late)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expect_reader(self) -> None:
        """Whoever takes no answer is cut off."""
        if self._writing is None:
            seconds = self._limits.answer_seconds
            self._writing = self.loop.call_later(seconds, self.transport.abort)

    def _expect_no_reader(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _late(self) -> None:
        if self._in_header or self._in_body:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:  # a word that nobody asked for would be taken for the answer to what comes next
            self._limits.count("http:silent")
            self.transport.close()

    # --- ends ---

    def _refuse(self, status: HTTPStatus) -> None:
        self._limits.count(f"http:{status.value}")
        own = not self._is_answering() or (self._in_body and not self.cycle.response_started)
        if self.pipeline or not own:
            self.give_way()  # a word now would be taken for another request's answer
        else:
            self._answer(status)

    def _answer(self, status: HTTPStatus) -> None:
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        self.transport.write(f"{head}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        self.transport.close()
        self._let_go()

    def _let_go(self) -> None:
        """Whoever leaves the last words unread is cut off in the end."""
        self._forget()
        self._expect_reader()


class _Server(uvicorn.Server):
    """A server without signal handling that starts and stops within a few milliseconds."""

    async def start(self, sock: socket.socket) -> None:
        """Starts the application and listens; RuntimeError when the application will not start."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        try:
            await self.startup(sockets=[sock])
        except SystemExit:
            raise RuntimeError("the application did not start; the log says why") from None
        self._ticking = asyncio.create_task(self.main_loop(), name="serving")

    async def main_loop(self) -> None:
        """Keep the date of answers right; the library's own loop wakes an idle host ten times."""
        while True:
            await self.on_tick(0)
            await asyncio.sleep(1)

    async def stop(self) -> None:
        """Closes all connections; every request must have ended."""
        self._ticking.cancel()
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks)
        await asyncio.gather(*(server.wait_closed() for server in self.servers))
        await self.lifespan.shutdown()


class _Stoppable:
    """Ends long polls and streams when the server stops, without a trace in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self._app(scope, receive, send)
            return
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        self._running.add(task)
        try:
            await self._app(scope, receive, noting)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            await _give_up(scope, receive, send, started=started)
        finally:
            self._running.discard(task)

    async def stop(self) -> None:
        """Lets short requests finish, then ends the others."""
        self._stopping = True
        if self._running:
            await asyncio.wait(set(self._running), timeout=_GRACE)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(set(self._running), timeout=_GRACE)


async def _give_up(scope: Scope, receive: Receive, send: Send, *, started: bool) -> None:
    if started:
        await cut(scope, receive)
        return
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def cut(scope: Scope, receive: Receive) -> None:
    """Cuts the connection of a request; it must be served by `serving`."""
    scope["extensions"][ABORT]["cut"]()
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def serving(
    app: ASGIApp, host: str = "127.0.0.1", port: int = 0, limits: HttpLimits | None = None
) -> AsyncIterator[str]:
    """Serves `app` while the context is open; yields its base URL, without a slash at the end.

    Port 0 takes a free one. Raises OSError when the port is taken.
    """
    sock = _listen(host, port)
    stoppable = _Stoppable(app)
    config = uvicorn.Config(
        stoppable,
        http=_protocol(limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
    )
    server = _Server(config)
    try:
        await server.start(sock)
        shown = f"[{host}]" if ":" in host else host
        try:
            yield f"http://{shown}:{sock.getsockname()[1]}"
        finally:
            await stoppable.stop()
            await server.stop()
    finally:
        sock.close()


def _protocol(limits: HttpLimits | None) -> type[asyncio.Protocol]:
    if limits is None:
        return _Protocol
    crowd = _Crowd(limits)

    def guarded(*given: Any, **named: Any) -> asyncio.Protocol:
        return _Guarded(crowd, *given, **named)

    return cast(type[asyncio.Protocol], guarded)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else no TCP_NODELAY
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock
