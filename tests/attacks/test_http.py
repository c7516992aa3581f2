"""Requests that no client would send, to the HTTP port of a host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.attacks.raw import exchanged, status_of
from tests.host.stage import staged
from tests.host.tool_agent import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEXT = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""A second request, which a server that misreads the first would answer as well."""
PUSH = b"POST /telegram/x HTTP/1.1\r\nHost: localhost\r\n"
ASK = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"

AMBIGUOUS = {
    "length and chunks": PUSH
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + NEXT,
    "two lengths": PUSH + b"Content-Length: 0\r\nContent-Length: 48\r\n\r\n" + NEXT,
    "a list of lengths": PUSH + b"Content-Length: 0, 48\r\n\r\n" + NEXT,
    "a negative length": PUSH + b"Content-Length: -1\r\n\r\n" + NEXT,
    "a length with a sign": PUSH + b"Content-Length: +48\r\n\r\n" + NEXT,
    "a blank before the colon": PUSH + b"Content-Length : 48\r\n\r\n" + NEXT,
    "an unknown encoding": PUSH + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + NEXT,
    "two encodings": PUSH
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    + NEXT,
    "a chunk of 2^68 bytes": PUSH + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
    "bare line feeds": b"GET /health/live HTTP/1.1\nHost: localhost\n\n",
    "a folded header": ASK + b"X: a\r\n Host: evil.example\r\n\r\n",
    "NUL in the path": b"GET /health/live\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in a header": ASK + b"X: a\x00b\r\n\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where a host answers that has no bots."""
    async with staged(tmp_path_factory.mktemp("http")) as stage:
        stage.bot("Echo")
        async with stage.host() as host:
            yield host.url


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_a_request_that_can_be_read_in_two_ways_is_read_in_none(url: str, name: str) -> None:
    answer = await asyncio.wait_for(exchanged(url, AMBIGUOUS[name], whole=True), PATIENCE)
    assert answer.split(b" ")[1] == b"400"
    assert b"connection: close" in answer.lower()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert await status_of(url, NEXT) == 200


async def told(url: str, head: bytes) -> bytes:
    """What a request for the health of the host brings, head and body."""
    request = b"GET /health " + head + b"Connection: close\r\n\r\n"
    return await asyncio.wait_for(exchanged(url, request, whole=True), PATIENCE)


async def test_who_names_the_host_as_the_world_does_or_not_at_all_learns_little(url: str) -> None:
    near = [b"HTTP/1.1\r\nHost: localhost\r\n", b"HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"]
    strange = [
        b"HTTP/1.1\r\nHost: bots.example.org\r\n",
        b"HTTP/1.1\r\nHost: 8.8.8.8\r\n",
        b"HTTP/1.1\r\nHost: 127.0.0.1.nip.example\r\n",
        b"HTTP/1.1\r\nHost: localhost.evil.example\r\n",
        b"HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n",
        b"HTTP/1.1\r\nHost: [::1\r\n",
        b"HTTP/1.1\r\nHost:\r\n",
        b"HTTP/1.1\r\n",
        b"HTTP/1.0\r\n",
        b"HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n",
        b"HTTP/1.1\r\nHost: localhost\r\nForwarded: for=127.0.0.1\r\n",
        b"HTTP/1.1\r\nHost: localhost\r\nVia: 1.1 proxy\r\n",
    ]
    for head in near:
        assert b'"counters"' in await told(url, head), head
    for head in strange:
        found = await told(url, head)
        assert b'"status"' in found, head
        assert [word for word in (b'"counters"', b'"agents"', b'"bots":[') if word in found] == []
