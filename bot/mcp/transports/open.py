"""Opens a server's transport, and watches its messages: pace, shape, end, and what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import anyio
import structlog
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
    async with _streams(spec, state) as (read, write):
        yield _Incoming(read, state), _Outgoing(write)


def _streams(spec: ServerSpec, state: ConnectionState) -> AbstractAsyncContextManager[Streams]:
    if spec.definition.transport == "stdio":
        return stdio_streams(spec, state)
    if spec.definition.transport == "sse":
        return sse_streams(spec.url, ServerHttpClient(spec, state, posts_are_vital=True), state)
    return _http_streams(spec, state)


@asynccontextmanager
async def _http_streams(spec: ServerSpec, state: ConnectionState) -> AsyncIterator[Streams]:
    async with (
        ServerHttpClient(spec, state) as client,
        streamable_http_client(
            spec.url, http_client=client, max_sse_event_size=LINE_LIMIT
        ) as streams,
    ):
        yield streams


@dataclass(slots=True)
class _Stream:
    """What both directions of a watched connection share."""

    _inner: Any

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Any:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        suppressed: bool | None = await self._inner.__aexit__(kind, error, trace)
        return suppressed


@dataclass(slots=True)
class _Incoming(_Stream):
    """Messages from the server; the connection is lost when they end."""

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

    def __aiter__(self) -> _Incoming:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _Outgoing(_Stream):
    """Messages to the server; records for each call whether it may have been sent."""

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


def _repaired(item: Any) -> Any:
    """A message that the SDK can read: one odd tool would cost its server the whole list."""
    message = getattr(item, "message", None)
    if isinstance(message, JSONRPCResponse):
        cut_parts(message.result)
        if isinstance(tools := message.result.get("tools"), list):
            offered = [
                tool
                for tool in tools[: TOOLS_LIMIT + PARTS_LIMIT]
                if isinstance(tool, dict) and isinstance(tool.get("name"), str)
            ]
            repaired = [_repaired_tool(tool) for tool in offered]
            message.result["tools"] = [tool for tool in repaired if _can_be_listed(tool)]
    return item


def _can_be_listed(tool: dict[str, Any]) -> bool:
    """Whether the SDK takes a tool's schema; it checks the types of some keywords, and no more."""
    schema = tool["inputSchema"]
    properties, required = schema.get("properties"), schema.get("required")
    fits = {
        "$schema": isinstance(schema.get("$schema"), str | None),
        "properties": properties is None
        or (
            isinstance(properties, dict)
            and all(isinstance(one, dict | bool) for one in properties.values())
        ),
        "required": required is None
        or (isinstance(required, list) and all(isinstance(name, str) for name in required)),
    }
    if wrong := next((keyword for keyword, well in fits.items() if not well), None):
        name = printable(tool["name"][:80])
        why = f"its input schema is not a JSON Schema, at $.{wrong}"
        log.warning("tool list", note=f"tool {name!r} is left out: {why}")
    return wrong is None


def _repaired_tool(tool: dict[str, Any]) -> dict[str, Any]:
    # Without an output schema no result is checked against a server's own patterns on our loop.
    repaired: dict[str, Any] = {"name": tool["name"]}
    if isinstance(hints := tool.get("annotations"), dict):
        repaired["annotations"] = {hint: on for hint, on in hints.items() if isinstance(on, bool)}
    schema = tool.get("inputSchema")
    repaired["inputSchema"] = dict(schema) if isinstance(schema, dict) else {}
    if repaired["inputSchema"].get("type") != "object":
        repaired["inputSchema"]["type"] = "object"
    if isinstance(tool.get("description"), str):
        repaired["description"] = tool["description"]
    return repaired
