"""MCP over HTTP: the client of one server, and its older transport, one stream of events.

The client signs requests, bounds answers, and answers for failed posts. The SDK's own reader of
events ends the connection, and with it the calls of all who share it, for one answer of more than
a megabyte; here such an answer is an error for its own call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2
import structlog
from anyio.abc import ObjectSendStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared._httpx_utils import request_within_origin, stream_within_origin
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCResponse

from bot.mcp.refusals import FORGOTTEN, NOT_RUN, UnusableAnswer, failure, status_text
from bot.mcp.result import ConnectionState, current_request
from bot.mcp.server_spec import ServerSpec
from bot.mcp.transports.auth import NotAuthorized, TokenSource
from bot.mcp.transports.messages import (
    bounded_body,
    is_request,
    message_or_error,
    too_long_message,
)
from bot.ops.line_reader import LINE_LIMIT, LineSplitter, LineTooLong, answered_request
from bot.safety.ssrf_guard import CONNECT_SECONDS, GuardedHttpClient

_TOLD_SECONDS = 10.0
"""For the answer to a post that is not a request: the SDK posts nothing else until then."""
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, NotAuthorized)

log = structlog.get_logger("mcp")
_EVENTS = "text/event-stream"
_JSON = "application/json"
_SESSION = "mcp-session-id"
_NO_EVENTS = (
    'it answers without a stream of events: fix its URL, or leave out "type": "sse" if it '
    "uses the newer transport"
)
_HEADERS = {"Accept": _EVENTS, "Cache-Control": "no-store"}


class ServerHttpClient(GuardedHttpClient):
    """Turns a failed post into an answer, so that one of them does not end the connection.

    With `posts_are_vital` the transport cannot say which request a failed post was, so it does end
    the connection.
    """

    def __init__(
        self, spec: ServerSpec, state: ConnectionState, *, posts_are_vital: bool = False
    ) -> None:
        super().__init__(
            spec.url,
            internal=spec.internal,
            proxied=spec.proxied,
            headers=spec.definition.headers,
            timeout=httpx2.Timeout(CONNECT_SECONDS, read=None),
        )
        self._spec = spec
        self._tokens = TokenSource(spec) if spec.definition.auth else None
        self._connection = state
        self._posts_are_vital = posts_are_vital
        self._has_answered = False
        self._has_stream = False

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """The response; a post that failed is answered with a 503 of our own."""
        if request.method == "GET":
            return await self._open_stream(request, options)
        if not (self._posts_are_vital or is_request(request)):
            request.extensions["timeout"] |= {"read": _TOLD_SECONDS}
        if request.method != "POST":
            return await bounded_body(await self._send_signed(request, options))
        return await self._post(request, options)

    async def _post(self, request: httpx2.Request, options: dict[str, Any]) -> httpx2.Response:
        """The response to a message.

        A server that cannot be reached at first ends the connection: the SDK would take our 503
        for the word of a server of an older protocol, which reports no changes.
        """
        never_sent, why = self._connection.lost.is_set(), ""
        try:
            if never_sent:
                raise UnusableAnswer(self._connection.reason, request=request)
            response = await bounded_body(await self._send_signed(request, options))
            self._has_answered = True
        except httpx2.TransportError as error:
            never_sent = never_sent or isinstance(error, _NEVER_SENT)
            response, why = httpx2.Response(503, request=request), failure(error)
            if not self._has_answered:
                self._connection.lose(why)
        status, asked = response.status_code, current_request.get()
        if response.is_error and asked is not None and is_request(request):
            in_session = self._posts_are_vital or _SESSION in request.headers
            asked.failure = why or f"HTTP {status}"
            asked.status = 0 if why else status
            asked.refused = status in NOT_RUN or (in_session and status in FORGOTTEN)
            if asked.refused or never_sent:
                asked.sent = False
        if response.is_error:
            why = why or status_text(status, self._spec)
            if self._posts_are_vital:
                self._connection.lose(why)
        self._connection.trouble = why
        return response

    async def _open_stream(
        self, request: httpx2.Request, options: dict[str, Any]
    ) -> httpx2.Response:
        """The response with the stream of what the server says by itself, if it has one.

        If it cannot be opened again, the server has probably died or been restarted.
        """
        try:
            response = await bounded_body(await self._send_signed(request, options))
        except httpx2.TransportError:
            self._connection.changed.set()
            raise
        if response.is_error and self._has_stream:
            self._connection.changed.set()
        if response.is_error and self._posts_are_vital:
            self._connection.trouble = status_text(response.status_code, self._spec)
        self._has_stream = self._has_stream or not response.is_error
        return response

    async def _send_signed(
        self, request: httpx2.Request, options: dict[str, Any]
    ) -> httpx2.Response:
        """The response to a request with a token, sent once more where that was refused."""
        if self._tokens is None:
            return await super().send(request, **options)
        token = await self._tokens.token()
        request.headers["Authorization"] = f"Bearer {token}"
        response = await super().send(request, **options)
        if response.status_code == 401:
            await response.aclose()
            token = await self._tokens.token(unlike=token)
            request.headers["Authorization"] = f"Bearer {token}"
            response = await super().send(request, **options)
        return response


@dataclass
class Posts(ObjectSendStream[SessionMessage]):
    """Messages to the server, each posted by its sender."""

    client: httpx2.AsyncClient
    url: str
    state: ConnectionState
    received: MemoryObjectSendStream[SessionMessage]

    async def send(self, item: SessionMessage) -> None:
        """Post a message; a post that fails ends the connection.

        Answers should come in the stream; some servers send them, or errors, to the post.
        """
        body = item.message.model_dump(by_alias=True, mode="json", exclude_unset=True)
        response = await request_within_origin(self.client, "POST", self.url, json=body)
        if response.is_redirect:  # the client reports every other failure
            self.state.lose("a post was redirected to another host")
        elif response.headers.get("content-type", "").lower().startswith(_JSON):
            answer = message_or_error(response.content)
            if answer and isinstance(answer.message, JSONRPCResponse | JSONRPCError):
                await self.received.send(answer)

    async def aclose(self) -> None:
        """Nothing to close."""


Streams = tuple[MemoryObjectReceiveStream[SessionMessage], Posts]


@asynccontextmanager
async def sse_streams(
    url: str, client: httpx2.AsyncClient, state: ConnectionState
) -> AsyncIterator[Streams]:
    """The server's streams of messages; raises httpx2.HTTPError where it has none."""
    async with stream_within_origin(client, "GET", url, headers=_HEADERS) as response:
        response.raise_for_status()
        if not response.headers.get("content-type", "").lower().startswith(_EVENTS):
            raise UnusableAnswer(_NO_EVENTS, request=response.request)
        received, incoming = anyio.create_memory_object_stream[SessionMessage](0)
        events = EventReader(url, received, state)
        reading = asyncio.create_task(events.read(response))
        try:
            yield incoming, Posts(client, await events.endpoint, state, received)
        finally:
            incoming.close()
            reading.cancel()
            await asyncio.wait({reading})
            received.close()


class EventReader:
    """Reads messages from a stream of events; `endpoint` is where posts go, once it is known."""

    def __init__(
        self, url: str, received: MemoryObjectSendStream[SessionMessage], state: ConnectionState
    ) -> None:
        self._url = url
        self._received = received
        self._state = state
        self._lines = LineSplitter()
        self.endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._begin_event()

    def _begin_event(self) -> None:
        self._event = b"message"
        self._data: list[bytes] = []
        self._size = 0
        self._request: int | None = None

    async def read(self, response: httpx2.Response) -> None:
        """Read until the end."""
        ended = httpx2.RemoteProtocolError("the stream ended", request=response.request)
        try:
            async with self._received:
                async for chunk in response.aiter_raw():
                    for line in self._lines.feed(chunk):
                        await self._read_line(line)
                    if self._lines.is_endless:
                        self._state.lose("the server sends an event without an end")
                        break
        except (httpx2.HTTPError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            self._state.trouble = type(error).__name__
        finally:
            if not self.endpoint.done():
                self.endpoint.set_exception(ended)

    async def _read_line(self, line: bytes | LineTooLong) -> None:
        if isinstance(line, LineTooLong):
            self._size += line.size
            self._request = line.request if self._request is None else self._request
        elif field := line.rstrip(b"\r"):
            name, _, value = field.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"event":
                self._event = value
            elif name == b"data":
                self._size += len(value)
                if self._size <= LINE_LIMIT:
                    self._data.append(value)
        else:
            data = b"\n".join(self._data)
            if self._event == b"endpoint":
                self._set_endpoint(data)
            elif self._event == b"message" and (message := self._message(data)) is not None:
                await self._received.send(message)
            self._begin_event()

    def _message(self, data: bytes) -> SessionMessage | None:
        if self._size > LINE_LIMIT:
            request = answered_request(data) if self._request is None else self._request
            log.warning("a message is too large", bytes=self._size, request=request)
            return too_long_message(request, self._size)
        return message_or_error(data) if data else None

    def _set_endpoint(self, data: bytes) -> None:
        """Where posts go: only to the host that the stream comes from."""
        if self.endpoint.done():
            return
        try:
            url = urljoin(self._url, data.decode(errors="replace").strip())
            if _origin(url) == _origin(self._url):
                self.endpoint.set_result(url)
                return
        except ValueError:
            pass
        text = "the server wants posts to go to another host"
        self.endpoint.set_exception(httpx2.RemoteProtocolError(text))


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
