"""The HTTP client of one MCP server: signs requests, bounds answers, answers for failed posts."""

from __future__ import annotations

from typing import Any

import httpx2

from bot.mcp.connection_state import ConnectionState, current_request
from bot.mcp.server_spec import ServerSpec
from bot.mcp.transports.auth import NotAuthorized, TokenSource
from bot.mcp.transports.messages import bounded_body
from bot.safety.guarded_http import CONNECT_SECONDS, GuardedHttpClient, failure_text

_REFUSALS = frozenset({401, 403, 404})
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, NotAuthorized)


class ServerHttpClient(GuardedHttpClient):
    """Turns a failed post into an answer, so that one of them does not end the connection.

    Where `posts_are_vital` the transport never tells which request a failed post was: there it
    does end the connection.
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
        self._tokens = TokenSource(spec) if spec.definition.auth else None
        self._connection = state
        self._posts_are_vital = posts_are_vital

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """The response; a post that failed is answered with a 503 of our own."""
        if request.method != "POST":
            return await bounded_body(await self._send_signed(request, options))
        try:
            response = await bounded_body(await self._send_signed(request, options))
            failure = f"HTTP {response.status_code}"
        except httpx2.TransportError as error:
            if isinstance(error, _NEVER_SENT):
                _mark_unsent()
            response, failure = httpx2.Response(503, request=request), failure_text(error)
        if response.status_code in _REFUSALS:
            _mark_unsent()
        if response.is_error:
            self._connection.note(failure)
            if self._posts_are_vital:
                self._connection.lose(failure)
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
        if response.status_code != 401:
            return response
        await response.aclose()
        token = await self._tokens.token(unlike=token)
        request.headers["Authorization"] = f"Bearer {token}"
        return await super().send(request, **options)


def _mark_unsent() -> None:
    if (request := current_request.get()) is not None:
        request.sent = False
