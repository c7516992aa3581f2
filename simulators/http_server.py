"""A web application on a loopback socket, inside the running event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ABORT = "switchboard.abort"
_GRACE = 0.2


class _Protocol(HttpToolsProtocol):
    """HTTP whose requests may cut their own connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"cut": self.transport.abort}}


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
    await until_disconnected(receive)


async def until_disconnected(receive: Receive) -> None:
    """Returns when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def serving(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serves `app` while the context is open; yields its base URL, without a slash at the end.

    Port 0 takes a free one. Raises OSError when the port is taken.
    """
    sock = _listen(host, port)
    stoppable = _Stoppable(app)
    config = uvicorn.Config(
        stoppable,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
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
