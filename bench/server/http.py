"""The leanest HTTP server that speaks what the clients need: keep-alive, JSON, held answers.

It exists so that the servers of a run are never its bottleneck: one request costs it some 30
microseconds, where a web framework takes several hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LAST = b"0\r\n\r\n"


class Request:
    """One request, answered once, now or later."""

    __slots__ = ("_connection", "body", "path")

    def __init__(self, connection: Connection, path: str, body: bytes) -> None:
        self._connection = connection
        self.path = path
        self.body = body

    @property
    def gone(self) -> bool:
        """Whether the client has hung up."""
        return self._connection.transport.is_closing()

    def json(self, content: bytes) -> None:
        """The whole answer."""
        self._connection.write(HEAD % len(content) + content)

    def stream(self, content: bytes, *, first: bool = False, last: bool = False) -> None:
        """A piece of a streamed answer."""
        chunk = b"%x\r\n%b\r\n" % (len(content), content) if content else b""
        self._connection.write((STREAM_HEAD if first else b"") + chunk + (LAST if last else b""))


Handler = Callable[[Request], None]


class Connection(asyncio.Protocol):
    """One client connection."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self._url, self._body = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._handler(Request(self, self._url.decode(), b"".join(self._body)))

    def write(self, data: bytes) -> None:
        """To the client, if it is still there."""
        if not self.transport.is_closing():
            self.transport.write(data)


async def listening(handler: Handler) -> tuple[asyncio.Server, str]:
    """A server on a free port of loopback, and its address."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(handler), "127.0.0.1", 0, backlog=4096)
    host, port = server.sockets[0].getsockname()[:2]
    return server, f"http://{host}:{port}"
