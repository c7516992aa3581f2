"""Opens a server's transport, and watches its messages: pace, shape, end, and what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import (
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from bot.mcp.refusals import BREAKS_PROTOCOL
from bot.mcp.result import ConnectionState, current_request
from bot.mcp.server_spec import ServerSpec
from bot.mcp.transports.http import ServerHttpClient, sse_streams
from bot.mcp.transports.messages import cut_parts, rejected
from bot.mcp.transports.repair import readable_result, readable_tools
from bot.mcp.transports.stdio import stdio_streams
from bot.ops.line_reader import LINE_LIMIT

_WINDOW = 0.1
_MESSAGES_PER_WINDOW = 200
_LISTEN = "subscriptions/listen"
"""A request that is open for as long as the connection."""
_ENDS = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)

Streams = tuple[Any, Any]


@asynccontextmanager
async def open_transport(spec: ServerSpec, state: ConnectionState) -> AsyncIterator[Streams]:
    """The server's streams of messages, to read and to write; `state` is lost once it is gone."""
    async with AsyncExitStack() as stack:
        streams: AbstractAsyncContextManager[Streams]
        if spec.definition.transport == "stdio":
            streams = stdio_streams(spec, state)
        else:
            is_sse = spec.definition.transport == "sse"
            client = ServerHttpClient(spec, state, posts_are_vital=is_sse)
            await stack.enter_async_context(client)
            streams = (
                sse_streams(spec.url, client, state)
                if is_sse
                else streamable_http_client(
                    spec.url, http_client=client, max_sse_event_size=LINE_LIMIT
                )
            )
        read, write = await stack.enter_async_context(streams)
        requests = _OpenRequests()
        yield _Incoming(read, state, requests), _Outgoing(write, requests)


class _OpenRequests:
    """The requests that have no answer yet, and the answers that match none of them.

    An answer with an id that we never sent belongs to one of the requests that were open when it
    came: once no more of those are left than there are such answers, nobody waits for them.
    """

    def __init__(self) -> None:
        self._methods: dict[RequestId, str] = {}
        self._suspects: list[set[RequestId]] = []
        self._last = 0

    def sent(self, message: JSONRPCRequest | JSONRPCNotification) -> None:
        """Note a request, or that nobody waits for one now."""
        if isinstance(message, JSONRPCRequest):
            self._methods[_key(message.id)] = message.method
            self._last = max(self._last, message.id if isinstance(message.id, int) else 0)
        elif message.method == "notifications/cancelled":
            self._close(_key((message.params or {}).get("requestId")))

    def answered(self, message: JSONRPCResponse | JSONRPCError) -> str | None:
        """The method that a message answers, if any; one of ours that has no id is given it."""
        id = _key(message.id)
        if id in self._methods:
            return self._close(id)
        if isinstance(id, int) and 0 < id <= self._last:
            return None  # late, or said twice
        waiting = {key for key, method in self._methods.items() if method != _LISTEN}
        if len(waiting) == 1 and isinstance(message, JSONRPCError) and id is None:
            (message.id,) = waiting
            return self._close(message.id)
        if len(self._suspects) < len(waiting):
            self._suspects.append(waiting)
        return None

    def unanswerable(self) -> RequestId | None:
        """A request whose answer came under another id."""
        for waited in self._suspects:
            if sum(other <= waited for other in self._suspects) >= len(waited):
                self._suspects.remove(waited)
                id = next(iter(waited))
                self._close(id)
                return id
        return None

    def _close(self, id: Any) -> str | None:
        for waited in self._suspects:
            waited.discard(id)
        self._suspects = [one for one in self._suspects if one]
        return self._methods.pop(id, None)


def _key(id: Any) -> Any:
    """A request's id as the SDK compares it: "7" is 7."""
    return int(id) if isinstance(id, str) and id.isascii() and id.isdigit() else id


@dataclass
class _Incoming(ObjectReceiveStream[Any]):
    """Messages from the server; the connection is lost when they end."""

    _inner: Any
    _state: ConnectionState
    _requests: _OpenRequests
    _window_began: float = 0.0
    _received: int = 0

    @property
    def last_context(self) -> Any:
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Any:
        # A server that never stops talking would take the time of everything on this loop.
        now = asyncio.get_running_loop().time()
        if now - self._window_began >= _WINDOW:
            self._window_began, self._received = now, 0
        self._received += 1
        if self._received > _MESSAGES_PER_WINDOW:
            await asyncio.sleep(self._window_began + _WINDOW - now)
        if (id := self._requests.unanswerable()) is not None:
            return rejected(id, BREAKS_PROTOCOL)
        try:
            item = await self._inner.receive()
        except _ENDS:
            self._state.lose("the server closed the connection")
            raise
        self._repair(getattr(item, "message", None))
        return item

    def _repair(self, message: Any) -> None:
        """Bring an answer into a form that the SDK takes."""
        if not isinstance(message, JSONRPCResponse | JSONRPCError):
            return
        method = self._requests.answered(message)
        if isinstance(message, JSONRPCError):
            return
        if method == "tools/call":
            message.result = readable_result(message.result)
        else:
            cut_parts(message.result)
            readable_tools(message.result, self._state.notes)

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass
class _Outgoing(ObjectSendStream[SessionMessage]):
    """Messages to the server; records for each call whether it may have been sent."""

    _inner: Any
    _requests: _OpenRequests

    async def send(self, item: SessionMessage) -> None:
        if isinstance(item.message, JSONRPCRequest | JSONRPCNotification):
            self._requests.sent(item.message)
        request = current_request.get()
        if request is None or not isinstance(item.message, JSONRPCRequest):
            await self._inner.send(item)
            return
        request.sent = True
        try:
            await self._inner.send(item)
        except _ENDS:
            request.sent = False
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()
