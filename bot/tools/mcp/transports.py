"""How a server is reached: one function for each transport, all watched in the same way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

import anyio
import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, JSONRPCResponse

from bot.tools.mcp.fate import Ears, departure_of_call
from bot.tools.mcp.lines import LINE_LIMIT
from bot.tools.mcp.servers import ServerSpec
from bot.tools.mcp.stdio import stdio_streams

_CONNECT_SECONDS = 15.0
_REFUSALS = frozenset({401, 403, 404})
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_GONE = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)

Streams = tuple[Any, Any]


@asynccontextmanager
async def open_transport(spec: ServerSpec, ears: Ears) -> AsyncIterator[Streams]:
    """The server's two streams of messages; `ears` are told once the server is gone."""
    async with _OPENERS[spec.transport](spec, ears) as (read, write):
        yield _Watched(read, ears), _Departing(write)


def _stdio(spec: ServerSpec, ears: Ears) -> AbstractAsyncContextManager[Streams]:
    return stdio_streams(spec, ears)


@asynccontextmanager
async def _http(spec: ServerSpec, ears: Ears) -> AsyncIterator[Streams]:
    async with (
        _Courier(spec, ears) as client,
        streamable_http_client(
            spec.url or "", http_client=client, max_sse_event_size=LINE_LIMIT
        ) as streams,
    ):
        yield streams


def _sse(spec: ServerSpec, ears: Ears) -> AbstractAsyncContextManager[Streams]:
    def courier(
        headers: dict[str, str] | None = None,  # noqa: ARG001 - the spec's are all there are
        timeout: httpx2.Timeout | None = None,  # noqa: ARG001
        auth: httpx2.Auth | None = None,  # noqa: ARG001
    ) -> httpx2.AsyncClient:
        return _Courier(spec, ears, posts_are_vital=True)

    return sse_client(spec.url or "", httpx_client_factory=courier)


_OPENERS: dict[str, Callable[[ServerSpec, Ears], AbstractAsyncContextManager[Streams]]] = {
    "stdio": _stdio,
    "http": _http,
    "sse": _sse,
}


class _Courier(httpx2.AsyncClient):
    """An HTTP client whose failed posts are answers, so that one of them ends no connection.

    Where `posts_are_vital` the transport never tells which request a failed post was: there it
    does end the connection.
    """

    def __init__(self, spec: ServerSpec, ears: Ears, *, posts_are_vital: bool = False) -> None:
        super().__init__(
            headers=dict(spec.headers), timeout=httpx2.Timeout(_CONNECT_SECONDS, read=None)
        )
        self._ears = ears
        self._posts_are_vital = posts_are_vital

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """The response; a post that failed is answered with a 503 of our own."""
        if request.method != "POST":
            return await super().send(request, **options)
        response, trouble = await self._post(request, options)
        if response.status_code in _REFUSALS:
            _never_left()
        if response.is_error:
            self._ears.note(trouble)
            if self._posts_are_vital:
                self._ears.lose(trouble)
        return response

    async def _post(
        self, request: httpx2.Request, options: dict[str, Any]
    ) -> tuple[httpx2.Response, str]:
        try:
            response = await super().send(request, **options)
        except httpx2.TransportError as error:
            if isinstance(error, _NEVER_SENT):
                _never_left()
            return httpx2.Response(503, request=request), type(error).__name__
        return response, f"HTTP {response.status_code}"


def _never_left() -> None:
    if (departure := departure_of_call.get()) is not None:
        departure.left = False


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

    def __init__(self, inner: Any, ears: Ears) -> None:
        super().__init__(inner)
        self._ears = ears

    @property
    def last_context(self) -> Any:
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Any:
        try:
            return _mended(await self._inner.receive())
        except _GONE:
            self._ears.lose("the server closed the connection")
            raise

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
    if isinstance(message, JSONRPCResponse) and isinstance(message.result.get("tools"), list):
        offered = [tool for tool in message.result["tools"] if _is_named(tool)]
        message.result["tools"] = [_mended_tool(tool) for tool in offered]
    return item


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
