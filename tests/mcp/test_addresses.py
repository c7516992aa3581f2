"""Addresses that a server from a chat or from the store must not have, and how they are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpcore2
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bot.safety.ssrf_guard import InternalAddress, SsrfGuardBackend, SsrfGuardTransport
from simulators.http_server import serving
from tests.mcp.servers.starting import NamedPool, pool_of, spec_of

PUBLIC, OTHER = "9.9.9.9", "2606:4700::6810"


class Wire(httpcore2.AsyncNetworkBackend):
    """A network that takes nobody; keeps where connections were to go."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.asked.append(host)
        raise httpcore2.ConnectError("nobody there")


class Resolver:
    """Answers in turn; the last answer stays."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@pytest.fixture
async def visited() -> AsyncIterator[tuple[str, list[str]]]:
    """A service on loopback that only keeps what it is asked for."""
    paths: list[str] = []

    async def seen(request: Request) -> Response:
        paths.append(request.url.path)
        return Response(status_code=404)

    app = Starlette(routes=[Route("/{path:path}", seen, methods=["GET", "POST"])])
    async with serving(app) as url:
        yield url, paths


def redirecting(to: str) -> Starlette:
    async def away(_request: Request) -> Response:
        return RedirectResponse(to, 307)

    return Starlette(routes=[Route("/{path:path}", away, methods=["GET", "POST"])])


def state(pool: NamedPool) -> tuple[str, str]:
    (server,) = pool.servers
    return server.state, server.reason


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "LOCALHOST.", "2130706433", "0x7f000001", "0177.0.0.1"),
        *("127.1", "169.254.169.254", "10.0.0.1", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::"),
        *("::127.0.0.1", "2600::5efe:7f00:1", "fd00::1", "fe80::1", "metadata.internal"),
        *("fd00::5efe:808:808", "fe80::200:5efe:808:808", "fe80::5efe:808:808%eth0"),
    ],
)
async def test_no_connection_goes_to_an_internal_address_however_it_is_written(host: str) -> None:
    wire, resolver = Wire(), Resolver([PUBLIC])
    with pytest.raises(InternalAddress):
        await SsrfGuardBackend(resolver, wire).connect_tcp(host, 80)
    assert (wire.asked, resolver.asked) == ([], 0)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0"])
async def test_a_name_with_one_internal_address_among_others_is_refused(address: str) -> None:
    wire = Wire()
    with pytest.raises(InternalAddress):
        await SsrfGuardBackend(Resolver([PUBLIC, address]), wire).connect_tcp("docs.example", 80)
    assert wire.asked == []


async def test_a_name_that_leads_elsewhere_a_moment_later_gains_nothing() -> None:
    wire, resolver = Wire(), Resolver([OTHER, PUBLIC], ["127.0.0.1"])
    transport = SsrfGuardTransport(SsrfGuardBackend(resolver, wire))
    async with httpx2.AsyncClient(transport=transport) as client:
        with pytest.raises(httpx2.ConnectError, match="nobody there"):
            await client.get("http://docs.example/mcp")
        assert wire.asked == [OTHER, PUBLIC]  # the addresses that were judged, not the name
        with pytest.raises(httpx2.ConnectError, match="refused"):
            await client.get("http://docs.example/mcp")
    assert (wire.asked, resolver.asked) == ([OTHER, PUBLIC], 2)


async def test_a_redirect_is_judged_like_the_first_address() -> None:
    away = b"HTTP/1.1 307 Away\r\nLocation: http://2130706433:1/\r\nContent-Length: 0\r\n\r\n"
    backend = SsrfGuardBackend(Resolver([PUBLIC]), httpcore2.AsyncMockBackend([away]))
    transport = SsrfGuardTransport(backend)
    async with httpx2.AsyncClient(transport=transport, follow_redirects=True) as client:
        with pytest.raises(httpx2.ConnectError, match="refused"):
            await client.get("http://docs.example/mcp")


@pytest.mark.parametrize("path", ["mcp", "sse"])
async def test_a_server_at_an_internal_address_is_down_with_the_reason(
    visited: tuple[str, list[str]], path: str
) -> None:
    url, paths = visited
    async with pool_of(spec_of("web", url=f"{url}/{path}")) as pool:
        found, why = state(pool)
    assert found == "down"
    assert "refused: the address leads to an internal host" in why
    assert paths == []


@pytest.mark.parametrize("path", ["mcp", "sse"])
async def test_no_redirect_leads_a_server_to_another_host_not_even_the_operators(
    visited: tuple[str, list[str]], path: str
) -> None:
    url, paths = visited
    async with (
        serving(redirecting(f"{url}/{path}")) as first,
        pool_of(spec_of("web", url=f"{first}/{path}", internal=True)) as pool,
    ):
        found, why = state(pool)
    assert found == "down"
    assert "redirect" in why.lower()
    assert paths == []


def test_one_url_is_two_connections_where_only_one_may_be_internal() -> None:
    ours, theirs = (spec_of("a", url="http://h/mcp", internal=own) for own in (True, False))
    assert ours.share_key != theirs.share_key
