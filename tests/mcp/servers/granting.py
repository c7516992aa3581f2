"""An OAuth server that gives tokens to one client, and an MCP server that takes only its tokens."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from simulators.http_server import serving

CLIENT, SECRET = "gateway: one", "the-very:secret of the client"


@dataclass
class Granting:
    """What the OAuth server gives, and what it was asked for."""

    lasts: float | None = 3600
    gives: bool = True
    issuer: str | None = None
    endpoint: str | None = None
    methods: list[str] | None = None
    url: str = ""
    good: set[str] = field(default_factory=set)
    asked: list[dict[str, str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """How many tokens were given."""
        return len([one for one in self.asked if one["shown"] == f"{CLIENT}/{SECRET}"])

    async def token(self, request: Request) -> Response:
        """The token endpoint."""
        form = {name: str(value) for name, value in (await request.form()).items()}
        how, _, basic = request.headers.get("authorization", "").partition(" ")
        if how == "Basic":
            client, _, secret = base64.b64decode(basic).decode().partition(":")
            shown = f"{unquote(client)}/{unquote(secret)}"
        else:
            shown = f"{form.pop('client_id', '')}/{form.pop('client_secret', '')}"
        self.asked.append({**form, "shown": shown, "how": how or "body"})
        if shown != f"{CLIENT}/{SECRET}":
            told = f"no client {shown}"
            return JSONResponse({"error": "invalid_client", "error_description": told}, 401)
        token = f"token-number-{len(self.asked)}"
        if self.gives:
            self.good.add(token)
        body: dict[str, Any] = {"access_token": token, "token_type": "Bearer"}
        return JSONResponse(body | ({} if self.lasts is None else {"expires_in": self.lasts}))

    async def metadata(self, _request: Request) -> Response:
        """The issuer's metadata."""
        said = {
            "issuer": self.issuer or self.url,
            "token_endpoint": self.endpoint or f"{self.url}/token",
            "token_endpoint_auth_methods_supported": self.methods,
        }
        return JSONResponse({name: value for name, value in said.items() if value})

    def app(self) -> Starlette:
        """Both, as an application."""
        known = "/.well-known/oauth-authorization-server"
        token = Route("/token", self.token, methods=["POST"])
        return Starlette(routes=[token, Route(known, self.metadata)])

    def gate(self, app: ASGIApp) -> ASGIApp:
        """Lets in only who shows a good token."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                shown = dict(scope["headers"]).get(b"authorization", b"").decode()
                if shown.removeprefix("Bearer ") not in self.good:
                    await Response("no", 401)(scope, receive, send)
                    return
                # The SDK's server takes no host name but its own.
                rest = [pair for pair in scope["headers"] if pair[0] != b"host"]
                scope = {**scope, "headers": [*rest, (b"host", b"127.0.0.1:80")]}
            await app(scope, receive, send)

        return guarded


@asynccontextmanager
async def granting(transport: str = "http", **how: Any) -> AsyncIterator[tuple[str, Granting]]:
    """The guarded MCP server's address, and the OAuth server."""
    made, server = Granting(**how), MCPServer("docs", log_level="ERROR")

    @server.tool(structured_output=False)
    async def look_up(word: str) -> str:
        """Look a word up."""
        made.words.append(word)
        return f"{word} is in the docs"

    inner = server.sse_app() if transport == "sse" else server.streamable_http_app()
    async with serving(made.app()) as made.url, serving(made.gate(inner)) as url:
        yield f"{url}/{'sse' if transport == 'sse' else 'mcp'}", made
