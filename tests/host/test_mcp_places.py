"""Where a host's MCP servers may be, and how it shows itself to those that want a token."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import structlog

from simulators.messages.turns import Call, turn
from tests.host.stage import Stage, health, until
from tests.mcp.servers.granting import CLIENT, SECRET, Granting, granting

NAME = "docs.example.org"


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public name that leads to this machine, as its owner may have it at any moment."""
    real = socket.getaddrinfo

    def found(host: Any, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host in (NAME, NAME.encode()) else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", found)


@asynccontextmanager
async def docs(stage: Stage) -> AsyncIterator[tuple[str, dict[str, Any], Granting]]:
    """A server with tokens: its address, the auth of a definition, and what it was asked."""
    stage.environ["DOCS_SECRET"] = SECRET
    async with granting() as (url, server):
        auth = {"clientId": CLIENT.replace(" ", ""), "clientSecret": "${DOCS_SECRET}"}
        yield url, auth | {"tokenUrl": f"{server.url}/token"}, server


async def test_a_server_is_called_with_a_token_that_the_secret_of_the_environment_gets(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.mcp.servers.granting.CLIENT", "gateway:one")
    async with docs(stage) as (url, auth, server):
        stage.agents["mcpServers"] = {"docs": {"url": url, "auth": auth}}
        echo = stage.bot("Echo", mcpServers=["docs"], whitelistPatterns=["mcp:docs:*"])
        ann = stage.person("Ann")
        stage.script.on(turn(Call("docs__look_up", {"word": "lane"})), "Found it.")
        with structlog.testing.capture_logs() as logs:
            async with stage.host() as host:
                room = stage.world.private(ann, echo)
                assert await stage.ask(ann, room, echo, "what is a lane?") == "Found it."
                told = json.dumps((await health(host.url))[1])
        assert (server.words, server.tokens) == (["lane"], 1)
    for text in (told, repr(logs), json.dumps(stage.requests())):
        assert SECRET not in text
        assert "token-number" not in text


async def test_auth_from_a_chat_needs_a_listed_secret_and_addresses_it_may_reach(
    stage: Stage,
) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    room = stage.world.private(boss, echo)
    stage.environ |= {"ADMINS": str(boss.id)}
    async with docs(stage) as (url, auth, server), stage.host():

        async def adding(**fields: Any) -> str:
            place = {"url": url, "auth": auth | fields}
            agent = {"id": "reader", "name": "Reader", "mcpServers": {"docs": place}}
            return await stage.ask(boss, room, echo, f"/addagent {json.dumps(agent)}")

        said = await adding()
        assert "list the name in AGENT_SECRETS" in said
        assert "auth.tokenUrl' leads to an internal host" in said
        said = await adding(clientSecret="hunter2-in-clear")
        assert "is written in plain text" in said
        assert "hunter2" not in said
        assert "did you mean 'tokenUrl'?" in await adding(tokenUri="https://h.example/")
        assert server.asked == []


async def test_a_name_that_leads_inside_is_open_to_the_files_agent_and_closed_to_the_stores(
    stage: Stage, named: None
) -> None:
    boss = stage.person("Boss")
    stage.environ |= {"ADMINS": str(boss.id)}
    async with granting() as (url, server):
        server.good.add("known")
        there = f"http://{NAME}:{urlsplit(url).port}/mcp"
        ours = {"docs": {"url": there, "headers": {"Authorization": "Bearer ${DOCS_TOKEN}"}}}
        stage.environ |= {"DOCS_TOKEN": "known", "AGENT_SECRETS": "DOCS_TOKEN"}
        echo = stage.bot("Echo", mcpServers=ours, whitelistPatterns=["mcp:docs:*"])
        room = stage.world.private(boss, echo)
        theirs = {"id": "spy", "name": "Spy", "mcpServers": ours}
        stage.script.on(turn(Call("docs__look_up", {"word": "lane"})), "Found it.")
        async with stage.host() as host:
            await host.store.redis.set("agent:definition:spy", json.dumps(theirs))
            await host.catalog.until(lambda snapshot: "spy" in snapshot.agents)
            assert await stage.ask(boss, room, echo, "what is a lane?") == "Found it."
            await stage.ask(boss, room, echo, "/bind spy")
            stage.script.on("Nothing to see.")
            assert await stage.ask(boss, room, echo, "and here?") == "Nothing to see."
            assert [t["name"] for t in stage.requests()[-1].get("tools", [])] == []
            await until(lambda: len(host.report()["servers"]) == 2)
            _, told = await health(host.url)
            status = await stage.ask(boss, room, echo, "/status")
    up, down = told["servers"]
    assert (up["state"], down["state"]) == ("up", "down")
    assert "refused: the address leads to an internal host" in down["why"]
    assert "leads to an internal host" in status
    assert server.words == ["lane"]
