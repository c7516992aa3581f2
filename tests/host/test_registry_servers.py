"""MCP servers over HTTP, by both transports, with headers from the host's environment."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from mcp.server.mcpserver import MCPServer
from starlette.types import ASGIApp, Receive, Scope, Send

from simulators.http_server import serving
from simulators.messages.turns import Call, turn
from tests.host.stage import Stage

SECRET = "a-long-secret-of-the-docs-server"


class HeaderCheck:
    """Lets nobody in without the header; keeps the paths that were asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.paths.append(scope["path"])
            if dict(scope["headers"]).get(b"authorization") != f"Bearer {SECRET}".encode():
                await send({"type": "http.response.start", "status": 401, "headers": []})
                await send({"type": "http.response.body", "body": b"no"})
                return
        await self._app(scope, receive, send)


@asynccontextmanager
async def docs_server(transport: str) -> AsyncIterator[tuple[str, HeaderCheck]]:
    """A real server behind the gate; its address and the gate."""
    server = MCPServer("docs", log_level="ERROR")

    @server.tool(structured_output=False)
    async def look_up(word: str) -> str:
        """Look a word up."""
        return f"{word} is in the docs"

    gate = HeaderCheck(server.sse_app() if transport == "sse" else server.streamable_http_app())
    async with serving(gate) as url:
        yield f"{url}/{'sse' if transport == 'sse' else 'mcp'}", gate


@pytest.mark.parametrize("transport", ["http", "sse"])
@pytest.mark.parametrize("said", [True, False], ids=["by type", "by path"])
async def test_a_server_over_http_is_called_with_its_header_from_the_environment(
    stage: Stage, transport: str, said: bool
) -> None:
    stage.environ["DOCS_TOKEN"] = SECRET
    async with docs_server(transport) as (url, gate):
        config = {"url": url, "headers": {"Authorization": "Bearer ${DOCS_TOKEN}"}}
        stage.agents["mcpServers"] = {"docs": config | ({"type": transport} if said else {})}
        echo = stage.bot("Echo", mcpServers=["docs"], whitelistPatterns=["mcp:docs:*"])
        ann = stage.person("Ann")
        stage.script.on(turn(Call("docs__look_up", {"word": "lane"})), "Found it.")
        async with stage.host() as host:
            room = stage.world.private(ann, echo)
            assert await stage.ask(ann, room, echo, "what is a lane?") == "Found it."
            (server,) = host.report()["servers"]
            assert (server["transport"], server["state"]) == (transport, "up")
            assert SECRET not in json.dumps(host.report())
    result = stage.requests()[-1]["messages"][-1]["content"][0]
    assert "lane is in the docs" in str(result["content"])
    assert gate.paths
    assert SECRET not in json.dumps(stage.requests())


async def test_an_agent_from_a_chat_may_use_only_the_secrets_and_hosts_that_are_listed(
    stage: Stage,
) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    room = stage.world.private(boss, echo)
    stage.environ |= {"ADMINS": str(boss.id), "DOCS_TOKEN": SECRET}
    async with docs_server("http") as (url, _):
        docs = {"url": url, "headers": {"Authorization": "Bearer ${DOCS_TOKEN}"}}
        agent = {"id": "reader", "name": "Reader", "mcpServers": {"docs": docs}}
        add = f"/addagent {json.dumps(agent | {'whitelistPatterns': ['mcp:docs:*']})}"
        async with stage.host():
            said = await stage.ask(boss, room, echo, add)
            assert "list the name in AGENT_SECRETS" in said
            assert "list the host in INTERNAL_HOSTS" in said
        stage.script.on(turn(Call("docs__look_up", {"word": "line"})), "Found it.")
        listed = {"AGENT_SECRETS": "DOCS_TOKEN", "INTERNAL_HOSTS": "127.0.0.1"}
        async with stage.host(**listed):
            assert "Created agent" in await stage.ask(boss, room, echo, add)
            await stage.ask(boss, room, echo, "/bind reader")
            assert await stage.ask(boss, room, echo, "what is a line?") == "Found it."
            page = await stage.ask(boss, room, echo, "/agent reader")
            assert "docs (http)" in page
            assert SECRET not in page
