"""MCP over one stream of events, with a post for each message: the older of its ways over HTTP.

The SDK's own reader ends the connection, and with it the calls of all who share it, for one answer
of more than a megabyte; here such an answer is an error for its own call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared._httpx_utils import request_within_origin, stream_within_origin
from mcp.shared.message import SessionMessage

from bot.tools.mcp.fate import Ears
from bot.tools.mcp.lines import LINE_LIMIT, LineSplitter, TooLong, request_of
from bot.tools.mcp.messages import error, parsed, too_long
from bot.tools.mcp.slim import BROKEN

_EVENTS = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
_KIND = "text/event-stream"

log = structlog.get_logger("mcp")


class Posts:
    """The way to the server; each message is posted by whoever sends it."""

    def __init__(self, client: httpx2.AsyncClient, url: str, ears: Ears) -> None:
        self._client = client
        self._ears = ears
        self._url = url

    async def send(self, item: SessionMessage) -> None:
        """Post a message; a post that fails ends the connection, and the client tells of it."""
        body = item.message.model_dump(by_alias=True, mode="json", exclude_unset=True)
        response = await request_within_origin(self._client, "POST", self._url, json=body)
        if response.is_redirect:  # the client tells of every other failure
            self._ears.lose("a post was led to another host")

    async def aclose(self) -> None:
        """Nothing to close."""

    async def __aenter__(self) -> Posts:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


Streams = tuple[MemoryObjectReceiveStream[SessionMessage], Posts]


@asynccontextmanager
async def sse_streams(url: str, client: httpx2.AsyncClient, ears: Ears) -> AsyncIterator[Streams]:
    """The server's two streams of messages; raises httpx2.HTTPError where it has none."""
    async with client, stream_within_origin(client, "GET", url, headers=_EVENTS) as response:
        response.raise_for_status()
        if not response.headers.get("content-type", "").lower().startswith(_KIND):
            raise httpx2.RemoteProtocolError("no stream of events", request=response.request)
        inbox, inbound = anyio.create_memory_object_stream[SessionMessage](0)
        reader = Events(url, inbox, ears)
        pump = asyncio.create_task(reader.pump(response))
        try:
            yield inbound, Posts(client, await reader.endpoint, ears)
        finally:
            inbound.close()
            pump.cancel()
            await asyncio.wait({pump})
            inbox.close()


class Events:
    """Takes messages from a stream of events; `endpoint` is where posts go, once it is told."""

    def __init__(self, url: str, inbox: MemoryObjectSendStream[SessionMessage], ears: Ears) -> None:
        self._url = url
        self._inbox = inbox
        self._ears = ears
        self._lines = LineSplitter()
        self.endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._event = b""
        self._data: list[bytes] = []
        self._size = 0
        self._request: int | None = None
        self._begin()

    async def pump(self, response: httpx2.Response) -> None:
        """Read until the end."""
        trouble = httpx2.RemoteProtocolError("the stream ended", request=response.request)
        try:
            async with self._inbox:
                async for chunk in response.aiter_raw():
                    await self._take(chunk)
                    if self._lines.is_endless:
                        self._ears.lose("the server sends an event without an end")
                        break
        except (httpx2.HTTPError, anyio.BrokenResourceError, anyio.ClosedResourceError) as broke:
            self._ears.note(type(broke).__name__)
        finally:
            if not self.endpoint.done():
                self.endpoint.set_exception(trouble)

    async def _take(self, chunk: bytes) -> None:
        for line in self._lines.feed(chunk):
            if isinstance(line, TooLong):
                self._size += line.size
                self._request = line.request if self._request is None else self._request
            elif field := line.rstrip(b"\r"):
                self._add(field)
            else:
                await self._happened()
                self._begin()

    def _begin(self) -> None:
        self._event, self._data = b"message", []
        self._size, self._request = 0, None

    def _add(self, field: bytes) -> None:
        name, _, value = field.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._event = value
        elif name == b"data":
            self._size += len(value)
            if self._size <= LINE_LIMIT:
                self._data.append(value)

    async def _happened(self) -> None:
        data = b"\n".join(self._data)
        if self._event == b"endpoint":
            self._told(data)
        elif self._event == b"message" and (message := self._message(data)) is not None:
            await self._inbox.send(message)

    def _message(self, data: bytes) -> SessionMessage | None:
        if self._size > LINE_LIMIT:
            request = request_of(data) if self._request is None else self._request
            log.warning("a message is too large", bytes=self._size, request=request)
            return None if request is None else too_long(request, self._size)
        if not data:
            return None
        try:
            return SessionMessage(parsed(data))
        except ValueError:
            request = request_of(data)
            return None if request is None else error(request, BROKEN)

    def _told(self, data: bytes) -> None:
        """Where posts go: only to where the stream comes from."""
        if self.endpoint.done():
            return
        try:
            url = urljoin(self._url, data.decode(errors="replace").strip())
            ours = _origin(url) == _origin(self._url)
        except ValueError:
            url, ours = "", False
        if ours:
            self.endpoint.set_result(url)
        else:
            words = "the server wants posts to go to another host"
            self.endpoint.set_exception(httpx2.RemoteProtocolError(words))


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
