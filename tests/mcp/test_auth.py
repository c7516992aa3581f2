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
from bot.mcp.result import ConnectionState
from bot.mcp.server_spec import ServerSpec
from bot.mcp.transports.auth import NotAuthorized, TokenSource
from bot.mcp.transports.http import ServerHttpClient
from bot.ops.redaction import Secrets
from registry.definition import ClientCredentials
from simulators.http_server import serving
from tests.mcp.servers.granting import CLIENT, SECRET, Granting, granting
from tests.mcp.servers.starting import NamedPool, pool_of, spec_of

REFUSED = "HTTP 401: it does not accept the token from `auth`"


def credentials(server: Granting, **fields: Any) -> ClientCredentials:
    """As they are once references are expanded: a document must refer to its secret."""
    if "issuer" not in fields:
        fields.setdefault("token_url", f"{server.url}/token")
    secret = {"client_id": CLIENT, "client_secret": fields.pop("client_secret", SECRET)}
    written = ClientCredentials(client_id="x", client_secret="${X}", **fields)
    return written.model_copy(update=secret)


def docs(url: str, auth: ClientCredentials, *, internal_auth: bool = True) -> ServerSpec:
    return spec_of("docs", url=url, auth=auth, internal=True, internal_auth=internal_auth)


async def looked_up(pool: NamedPool, word: str) -> str:
    return (await pool.ask("docs", "look_up", {"word": word})).text


def why(pool: NamedPool) -> str:
    return pool.servers[0].reason


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


async def test_a_server_that_refuses_every_token_is_asked_twice_and_no_more() -> None:
    async with granting(gives=False) as (url, server):
        spec, state = docs(url, credentials(server)), ConnectionState()
        async with ServerHttpClient(spec, state) as client:
            assert (await client.post(url)).status_code == 401
        assert (server.tokens, state.trouble) == (2, REFUSED)
        assert not state.lost.is_set()
        async with pool_of(docs(url, credentials(server))) as pool:
            assert why(pool) == REFUSED
            with pytest.raises(ToolUnavailable):
                await looked_up(pool, "lane")


@pytest.mark.parametrize(("lasts", "good_for"), [(600, 530), (20, 9), (None, 3500)])
async def test_a_token_is_renewed_before_it_runs_out(lasts: float | None, good_for: float) -> None:
    now = 1000.0
    async with granting(lasts=lasts) as (url, server):
        tokens = TokenSource(docs(url, credentials(server)), now=lambda: now)
        first = await tokens.token()
        now += good_for
        assert await tokens.token() == first
        now += 75
        assert await tokens.token() != first
        assert server.tokens == 2


async def test_a_token_that_lasts_no_time_is_used_once() -> None:
    async with granting(lasts=0) as (url, server):
        tokens = TokenSource(docs(url, credentials(server)))
        assert await tokens.token() != await tokens.token()


async def test_a_token_that_was_fetched_is_a_secret_until_the_one_after_the_next() -> None:
    async with granting(lasts=0) as (url, server):
        secrets = Secrets()
        tokens = TokenSource(replace(docs(url, credentials(server)), secrets=secrets))
        first, second = await tokens.token(), await tokens.token()
        assert secrets.redact(f"{first} {second}") == "[secret] [secret]"
        assert secrets.redact(await tokens.token()) == "[secret]"
        assert secrets.redact(first) == first


async def test_calls_side_by_side_fetch_one_token() -> None:
    async with granting() as (url, server):
        tokens = TokenSource(docs(url, credentials(server)))
        await asyncio.gather(*(tokens.token() for _ in range(5)))
        assert server.tokens == 1


@pytest.mark.parametrize("in_body", [False, True])
@pytest.mark.parametrize("methods", [None, ["client_secret_post"]])
async def test_an_issuer_says_where_its_tokens_are_and_how_the_secret_goes_there(
    methods: list[str] | None, in_body: bool
) -> None:
    async with granting(methods=methods) as (url, server):
        method = "post" if in_body else "basic"
        auth = credentials(server, issuer=server.url, method=method)
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
        ({"endpoint": "file:///etc/passwd"}, {"issuer": ""}, "invalid token address"),
        (
            {"endpoint": "http://u:p@h.example/"},
            {"issuer": ""},
            "invalid token address",
        ),
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
        internal = fields.pop("internal", True)
        auth = credentials(server, **fields)
        async with pool_of(docs(url, auth, internal_auth=internal)) as pool:
            state, reason = pool.servers[0].state, pool.servers[0].reason
            with pytest.raises(ToolUnavailable):
                await looked_up(pool, "lane")
        assert server.tokens == 0
        assert server.words == []
    assert (state, words in reason) == ("down", True), reason
    for told in (reason, caplog.text, repr(auth), repr(docs(url, auth))):
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
        auth = ClientCredentials(client_id="c", client_secret="${SECRET}", token_url=url)
        tokens = TokenSource(docs(url, auth))
        with pytest.raises(NotAuthorized, match=words):
            await tokens.token()
