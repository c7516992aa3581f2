"""Opens a server's transport, and watches its messages: pace, shape, end, and what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import structlog
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, JSONRPCResponse

from bot.mcp.result import ConnectionState, current_request
from bot.mcp.server_spec import ServerSpec
from bot.mcp.tool_spec import TOOLS_LIMIT
from bot.mcp.transports.http import ServerHttpClient, sse_streams
from bot.mcp.transports.messages import PARTS_LIMIT, cut_parts
from bot.mcp.transports.stdio import stdio_streams
from bot.ops.line_reader import LINE_LIMIT
from bot.safety.text_safety import printable

log = structlog.get_logger("mcp")

_WINDOW = 0.1
_MESSAGES_PER_WINDOW = 200
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
        yield _Incoming(read, state), _Outgoing(write)


@dataclass
class _Incoming(ObjectReceiveStream[Any]):
    """Messages from the server; the connection is lost when they end."""

    _inner: Any
    _state: ConnectionState
    _window_began: float = 0.0
    _received: int = 0

    @property
    def last_context(self) -> Any:
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Any:
        # A server that talks without an end would take the time of all who share this loop.
        now = asyncio.get_running_loop().time()
        if now - self._window_began >= _WINDOW:
            self._window_began, self._received = now, 0
        self._received += 1
        if self._received > _MESSAGES_PER_WINDOW:
            await asyncio.sleep(self._window_began + _WINDOW - now)
        try:
            return _repaired(await self._inner.receive())
        except _ENDS:
            self._state.lose("the server closed the connection")
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass
class _Outgoing(ObjectSendStream[SessionMessage]):
    """Messages to the server; records for each call whether it may have been sent."""

    _inner: Any

    async def send(self, item: SessionMessage) -> None:
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


def _repaired(item: Any) -> Any:
    """A message that the SDK can read: one odd tool would cost its server the whole list."""
    message = getattr(item, "message", None)
    if isinstance(message, JSONRPCResponse):
        cut_parts(message.result)
        if isinstance(tools := message.result.get("tools"), list):
            message.result["tools"] = [
                repaired
                for tool in tools[: TOOLS_LIMIT + PARTS_LIMIT]
                if isinstance(tool, dict) and isinstance(tool.get("name"), str)
                if _can_be_listed(repaired := _repaired_tool(tool))
            ]
    return item


def _can_be_listed(tool: dict[str, Any]) -> bool:
    """Whether the SDK takes a tool's schema; it checks the types of some keywords, and no more."""
    schema = tool["inputSchema"]
    properties, required = schema.get("properties"), schema.get("required")
    fits = {
        "$schema": isinstance(schema.get("$schema"), str | None),
        "properties": isinstance(properties, dict | None)
        and all(isinstance(one, dict | bool) for one in (properties or {}).values()),
        "required": isinstance(required, list | None)
        and all(isinstance(name, str) for name in required or ()),
    }
    if wrong := next((keyword for keyword, well in fits.items() if not well), None):
        name = printable(tool["name"][:80])
        why = f"its input schema is not a JSON Schema, at $.{wrong}"
        log.warning("tool list", note=f"tool {name!r} is left out: {why}")
    return wrong is None


def _repaired_tool(tool: dict[str, Any]) -> dict[str, Any]:
    # Without an output schema no result is checked against a server's own patterns on our loop.
    repaired = {key: tool[key] for key in ("name", "description") if isinstance(tool.get(key), str)}
    if isinstance(hints := tool.get("annotations"), dict):
        repaired["annotations"] = {hint: on for hint, on in hints.items() if isinstance(on, bool)}
    schema = tool.get("inputSchema")
    repaired["inputSchema"] = (schema if isinstance(schema, dict) else {}) | {"type": "object"}
    return repaired
