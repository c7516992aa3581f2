"""How a server is reached: one function for each transport, all watched in the same way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

import anyio
import structlog
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, JSONRPCResponse

from bot.mcp.call_outcome import TransportCallbacks, departure_of_call
from bot.mcp.server_spec import ServerSpec
from bot.mcp.tool_spec import TOOLS_LIMIT
from bot.mcp.transports.auth import tokens_of
from bot.mcp.transports.http import GuardedHttpClient
from bot.mcp.transports.shortening import PARTS, cut
from bot.mcp.transports.sse import sse_streams
from bot.mcp.transports.stdio import stdio_streams
from bot.ops.line_reader import LINE_LIMIT
from bot.safety.text_safety import printable

log = structlog.get_logger("mcp")

_WINDOW = 0.1
_MESSAGES_A_WINDOW = 200
_GONE = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)

Streams = tuple[Any, Any]


@asynccontextmanager
async def open_transport(spec: ServerSpec, ears: TransportCallbacks) -> AsyncIterator[Streams]:
    """The server's two streams of messages; `ears` are told once the server is gone."""
    async with _OPENERS[spec.transport](spec, ears) as (read, write):
        yield _Watched(read, ears), _Departing(write)


def _stdio(spec: ServerSpec, ears: TransportCallbacks) -> AbstractAsyncContextManager[Streams]:
    return stdio_streams(spec, ears)


@asynccontextmanager
async def _http(spec: ServerSpec, ears: TransportCallbacks) -> AsyncIterator[Streams]:
    async with (
        GuardedHttpClient(spec, ears, tokens=tokens_of(spec)) as client,
        streamable_http_client(
            spec.url or "", http_client=client, max_sse_event_size=LINE_LIMIT
        ) as streams,
    ):
        yield streams


def _sse(spec: ServerSpec, ears: TransportCallbacks) -> AbstractAsyncContextManager[Streams]:
    courier = GuardedHttpClient(spec, ears, posts_are_vital=True, tokens=tokens_of(spec))
    return sse_streams(spec.url or "", courier, ears)


_OPENERS: dict[
    str, Callable[[ServerSpec, TransportCallbacks], AbstractAsyncContextManager[Streams]]
] = {
    "stdio": _stdio,
    "http": _http,
    "sse": _sse,
}


class _Stream:
    """What both halves of a watched connection share."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

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
        left: bool | None = await self._inner.__aexit__(kind, error, trace)
        return left


class _Watched(_Stream):
    """Messages from the server; tells when they end."""

    def __init__(self, inner: Any, ears: TransportCallbacks) -> None:
        super().__init__(inner)
        self._ears = ears
        self._since = 0.0
        self._taken = 0

    @property
    def last_context(self) -> Any:
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Any:
        await self._pace()
        try:
            return _mended(await self._inner.receive())
        except _GONE:
            self._ears.lose("the server closed the connection")
            raise

    async def _pace(self) -> None:
        # A server that talks without an end would take the time of all who share this loop.
        now = asyncio.get_running_loop().time()
        if now - self._since >= _WINDOW:
            self._since, self._taken = now, 0
        self._taken += 1
        if self._taken > _MESSAGES_A_WINDOW:
            await asyncio.sleep(self._since + _WINDOW - now)

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _Departing(_Stream):
    """Messages to the server; notes for each call whether it may have left."""

    async def send(self, item: SessionMessage) -> None:
        departure = departure_of_call.get()
        if departure is None or not isinstance(item.message, JSONRPCRequest):
            await self._inner.send(item)
            return
        departure.left = True
        try:
            await self._inner.send(item)
        except _GONE:
            departure.left = False
            raise


def _mended(item: Any) -> Any:
    # One tool without a proper schema would cost its server the whole list.
    message = getattr(item, "message", None)
    if isinstance(message, JSONRPCResponse):
        cut(message.result)
        if isinstance(tools := message.result.get("tools"), list):
            offered = [tool for tool in tools[: TOOLS_LIMIT + PARTS] if _is_named(tool)]
            mended = [_mended_tool(tool) for tool in offered]
            message.result["tools"] = [tool for tool in mended if _can_be_listed(tool)]
    return item


def _can_be_listed(tool: dict[str, Any]) -> bool:
    """Whether the SDK takes a tool's schema; it judges the kinds of some keywords, and no more."""
    schema = tool["inputSchema"]
    named, wanted = schema.get("properties"), schema.get("required")
    fits = {
        "$schema": isinstance(schema.get("$schema"), str | None),
        "properties": named is None
        or (isinstance(named, dict) and all(isinstance(p, dict | bool) for p in named.values())),
        "required": wanted is None
        or (isinstance(wanted, list) and all(isinstance(name, str) for name in wanted)),
    }
    if wrong := next((keyword for keyword, well in fits.items() if not well), None):
        name = printable(tool["name"][:80])
        told = f"tool {name!r} is left out: its input schema is no JSON Schema, at $.{wrong}"
        log.warning("tool list", note=told)
    return wrong is None


def _is_named(tool: Any) -> bool:
    return isinstance(tool, dict) and isinstance(tool.get("name"), str)


def _mended_tool(tool: dict[str, Any]) -> dict[str, Any]:
    # Without an output schema nobody checks results by a server's own patterns on our loop.
    kept: dict[str, Any] = {"name": tool["name"]}
    if isinstance(hints := tool.get("annotations"), dict):
        kept["annotations"] = {hint: said for hint, said in hints.items() if isinstance(said, bool)}
    schema = tool.get("inputSchema")
    kept["inputSchema"] = dict(schema) if isinstance(schema, dict) else {}
    if kept["inputSchema"].get("type") != "object":
        kept["inputSchema"]["type"] = "object"
    if isinstance(tool.get("description"), str):
        kept["description"] = tool["description"]
    return kept
