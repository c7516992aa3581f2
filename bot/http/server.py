"""A web application on a socket, inside the running event loop, and the route of webhooks."""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.errors import StoreUnavailable
from bot.http.limits import CONNECTION, HttpLimits, limited_protocol
from bot.ops.logging import Counters
from bot.ops.network import bound

_GRACE_SECONDS = 0.2
_KEEP_ALIVE_SECONDS = 75

log = structlog.get_logger("webhooks")
SECRET_HEADER = "x-telegram-bot-api-secret-token"  # noqa: S105 a header's name
BODY_LIMIT = 1024 * 1024


class _Server(uvicorn.Server):
    """A server without signal handling that starts and stops within a few milliseconds."""

    async def start(self, sock: socket.socket) -> None:
        """Start the application and listen; RuntimeError where the application does not start."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        try:
            await self.startup(sockets=[sock])
        except SystemExit:
            raise RuntimeError("the application did not start; the log says why") from None
        self._ticking = asyncio.create_task(self.main_loop(), name="serving")

    async def main_loop(self) -> None:
        """Update the date of answers each second; the library's loop does it ten times as often."""
        while True:
            await self.on_tick(0)
            await asyncio.sleep(1)

    async def stop(self) -> None:
        """Close all connections; every request must have ended."""
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
    """An application whose requests end when the server stops, without a trace in the log."""

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
            await _end(scope, receive, send, started=started)
        finally:
            self._running.discard(task)

    async def stop(self) -> None:
        """Let short requests finish, then end the others."""
        self._stopping = True
        if self._running:
            await asyncio.wait(set(self._running), timeout=_GRACE_SECONDS)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(set(self._running), timeout=_GRACE_SECONDS)


async def _end(scope: Scope, receive: Receive, send: Send, *, started: bool) -> None:
    """Answer with 503, or cut the connection of an answer that has begun."""
    if not started:
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    scope["extensions"][CONNECTION]["cut"]()
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def serving(
    app: ASGIApp, host: str = "127.0.0.1", port: int = 0, limits: HttpLimits | None = None
) -> AsyncIterator[str]:
    """Serve `app` while the context is open; yields its base URL, without a slash at the end.

    Port 0 takes a free one. Raises OSError where the port is taken.
    """
    stoppable = _Stoppable(app)
    config = uvicorn.Config(
        stoppable,
        http=limited_protocol(limits or HttpLimits()),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    server = _Server(config)
    with bound(host, port) as sock:
        sock.listen(2048)
        sock.setblocking(False)
        await server.start(sock)
        shown = f"[{host}]" if ":" in host else host
        try:
            yield f"http://{shown}:{sock.getsockname()[1]}"
        finally:
            await stoppable.stop()
            await server.stop()


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """The webhook of one bot: the secret that Telegram must send, and what stores an update's JSON.

    `take` returns once the update is stored; it raises ValueError if that is not an update, and
    StoreUnavailable if it cannot be stored now.
    """

    secret: str
    take: Callable[[bytes], Awaitable[None]]


def webhook_routes(
    endpoints: Callable[[], Mapping[str, WebhookEndpoint] | None], counters: Counters
) -> list[Route]:
    """One route for all endpoints, by path; None while the host starts or stops.

    Telegram repeats what is not answered with 200.
    """

    async def receive(request: Request) -> Response:
        there = endpoints()
        status = 503 if there is None else await _outcome(request, there.get(request.scope["path"]))
        counters.add(f"webhook:{status}")
        # An unread body must not be taken for the next request of this connection.
        headers = {} if status == 200 else {"Connection": "close"}
        return Response(status_code=status, headers=headers)

    return [Route("/telegram/{opaque}", receive, methods=["POST"])]


async def _outcome(request: Request, endpoint: WebhookEndpoint | None) -> int:
    """The status to answer with; the secret is checked before a byte of the body is read."""
    if endpoint is None:
        return 404
    given = request.headers.get(SECRET_HEADER, "")
    if not hmac.compare_digest(given.encode(), endpoint.secret.encode()):
        return 401
    try:
        body = await _body(request)
        if body is None:
            return 413
        await endpoint.take(body)
    except ClientDisconnect:  # also where it was too slow for the port
        return 408
    except ValueError:
        return 400
    except StoreUnavailable as error:
        log.warning("webhook.store_unavailable", error=str(error))
        return 503
    return 200


async def _body(request: Request) -> bytes | None:
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_LIMIT:
        return None
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_LIMIT:
            return None
    return bytes(body)
