"""Servers that want a token: fetched once, renewed in time and after a refusal, told to nobody."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.errors import ToolUnavailable
from bot.mcp.pool import Pool
from bot.mcp.server_spec import OAuthCredentials, ServerSpec
from bot.mcp.transports.auth import ClientCredentials, tokens_of
from bot.mcp.transports.http import GuardedHttpClient, NotAuthorized
from bot.ops.redaction import Secrets
from simulators.http_server import serving
from tests.mcp.servers.granting import CLIENT, SECRET, Granting, granting
from tests.mcp.servers.starting import pool_of


def credentials(server: Granting, **fields: Any) -> OAuthCredentials:
    if "issuer" not in fields:
        fields.setdefault("token_url", f"{server.url}/token")
    given: dict[str, Any] = {"client_secret": SECRET, "internal": True}
    return OAuthCredentials(CLIENT, **(given | fields))


def docs(url: str, auth: OAuthCredentials) -> ServerSpec:
    return ServerSpec("docs", url=url, auth=auth, internal=True)


async def looked_up(pool: Pool, word: str) -> str:
    return (await pool.call("docs", "look_up", {"word": word})).text


def why(pool: Pool) -> str:
    return pool.health()[0].link.reason


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_one_token_serves_a_connection_and_its_calls(transport: str) -> None:
    async with granting(transport) as (url, server):
        auth = credentials(server, scopes=("docs:read", "docs:list"))
        async with pool_of(docs(url, auth)) as pool:
            assert await looked_up(pool, "lane") == "lane is in the docs"
            assert await looked_up(pool, "line") == "line is in the docs"
        (asked,) = server.asked
    assert asked == {
        "grant_type": "client_credentials",
        "resource": url,
        "scope": "docs:read docs:list",
        "shown": f"{CLIENT}/{SECRET}",
        "how": "Basic",
    }


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_token_that_was_taken_back_is_renewed_and_the_call_runs_once(
    transport: str,
) -> None:
    async with granting(transport) as (url, server):
        async with pool_of(docs(url, credentials(server))) as pool:
            assert await looked_up(pool, "lane")
            server.good.clear()
            assert await looked_up(pool, "line") == "line is in the docs"
        assert server.tokens == 2
        assert server.words == ["lane", "line"]


class Heard:
    """Ears that only listen."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def lose(self, reason: str) -> None:
        self.told.append(reason)

    def note(self, trouble: str) -> None:
        self.told.append(trouble)


async def test_a_server_that_refuses_every_token_is_asked_twice_and_no_more() -> None:
    async with granting(gives=False) as (url, server):
        spec, heard = docs(url, credentials(server)), Heard()
        async with GuardedHttpClient(spec, heard, tokens=tokens_of(spec)) as client:
            assert (await client.post(url)).status_code == 401
        assert (server.tokens, heard.told) == (2, ["HTTP 401"])
        async with pool_of(docs(url, credentials(server))) as pool:
            assert why(pool) == "HTTP 401"
            with pytest.raises(ToolUnavailable):
                await looked_up(pool, "lane")


@pytest.mark.parametrize(("lasts", "good_for"), [(600, 530), (20, 9), (None, 3500)])
async def test_a_token_is_renewed_before_it_runs_out(lasts: float | None, good_for: float) -> None:
    now = 1000.0
    async with granting(lasts=lasts) as (url, server):
        tokens = ClientCredentials(credentials(server), url, now=lambda: now)
        first = await tokens.good()
        now += good_for
        assert await tokens.good() == first
        now += 75
        assert await tokens.good() != first
        assert server.tokens == 2


async def test_a_token_that_lasts_no_time_is_used_once() -> None:
    async with granting(lasts=0) as (url, server):
        tokens = ClientCredentials(credentials(server), url)
        assert await tokens.good() != await tokens.good()


async def test_a_token_that_was_fetched_is_a_secret_until_the_one_after_the_next() -> None:
    async with granting(lasts=0) as (url, server):
        secrets = Secrets()
        tokens = tokens_of(replace(docs(url, credentials(server)), secrets=secrets))
        assert tokens is not None
        first, second = await tokens.good(), await tokens.good()
        assert secrets.redact(f"{first} {second}") == "[secret] [secret]"
        assert secrets.redact(await tokens.good()) == "[secret]"
        assert secrets.redact(first) == first


async def test_calls_side_by_side_fetch_one_token() -> None:
    async with granting() as (url, server):
        tokens = ClientCredentials(credentials(server), url)
        await asyncio.gather(*(tokens.good() for _ in range(5)))
        assert server.tokens == 1


@pytest.mark.parametrize("in_body", [False, True])
@pytest.mark.parametrize("methods", [None, ["client_secret_post"]])
async def test_an_issuer_says_where_its_tokens_are_and_how_the_secret_goes_there(
    methods: list[str] | None, in_body: bool
) -> None:
    async with granting(methods=methods) as (url, server):
        auth = credentials(server, issuer=server.url, in_body=in_body)
        async with pool_of(docs(url, auth)) as pool:
            assert await looked_up(pool, "lane")
        assert server.asked[0]["how"] == ("body" if in_body or methods else "Basic")


@pytest.mark.parametrize(
    ("how", "fields", "words"),
    [
        ({}, {"client_secret": "another-secret"}, "HTTP 401 (invalid_client); check clientId"),
        ({}, {"token_url": "http://127.0.0.1:1/token"}, "ConnectError"),
        ({}, {"issuer": "http://127.0.0.1:1"}, "ConnectError"),
        ({"issuer": "https://elsewhere.example"}, {"issuer": ""}, "another issuer"),
        ({"endpoint": "http://10.0.0.1/token"}, {"issuer": ""}, "leads to an internal host"),
        ({"endpoint": "file:///etc/passwd"}, {"issuer": ""}, "a token address that is none"),
        ({"endpoint": "http://u:p@h.example/"}, {"issuer": ""}, "a token address that is none"),
        ({}, {"internal": False}, "leads to an internal host"),
        ({}, {"issuer": "", "internal": False}, "leads to an internal host"),
    ],
)
async def test_a_server_without_a_token_is_down_with_a_reason_that_holds_no_secret(
    how: dict[str, Any],
    fields: dict[str, Any],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with granting(**how) as (url, server):
        if fields.get("issuer") == "":
            fields = fields | {"issuer": server.url}
        auth = credentials(server, **fields)
        async with pool_of(docs(url, auth)) as pool:
            found = pool.health()[0].link
            with pytest.raises(ToolUnavailable):
                await looked_up(pool, "lane")
        assert server.tokens == 0
        assert server.words == []
    assert (found.state, words in found.reason) == ("down", True), found.reason
    for told in (found.reason, caplog.text, repr(auth), repr(docs(url, auth))):
        assert auth.client_secret not in told


async def test_no_token_stands_in_any_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with granting() as (url, server):
        async with pool_of(docs(url, credentials(server))) as pool:
            assert await looked_up(pool, "lane")
        assert server.tokens == 1
    assert caplog.text
    assert "token-number" not in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "without a bearer"),
        ({"access_token": "a b"}, "without a bearer"),
        ({"access_token": "a\nX-Evil: 1"}, "without a bearer"),
        ({"access_token": "a", "token_type": "mac"}, "without a bearer"),
        ([], "without a bearer"),
        ("x" * 70_000, "without a bearer"),
    ],
)
async def test_an_answer_that_is_no_token_is_none(body: Any, words: str) -> None:
    async def answer(_request: Request) -> Response:
        return JSONResponse(body)

    async with serving(Starlette(routes=[Route("/", answer, methods=["POST"])])) as url:
        tokens = ClientCredentials(
            OAuthCredentials("c", "s" * 9, token_url=url, internal=True), url
        )
        with pytest.raises(NotAuthorized, match=words):
            await tokens.good()
