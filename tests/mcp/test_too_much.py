"""The pool where an HTTP server answers with more than anybody should read, or with half of it."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from bot.errors import ToolFateUnknown
from tests.mcp.servers.starting import NamedPool, spec_of
from tests.mcp.test_http import free_port, serving, up

pytestmark = pytest.mark.asyncio(loop_scope="module")

HUGE = 50_000_000


@asynccontextmanager
async def _pool(script: str, path: str, how: str) -> AsyncIterator[NamedPool]:
    port, pool = free_port(), NamedPool()
    args = (port, how) if script == "sessions.py" else (how, port)
    try:
        async with serving(script, *args):
            url = f"http://127.0.0.1:{port}{path}"
            await pool.ensure([spec_of("web", url=url, internal=True)])
            await up(pool, 1)
            yield pool
    finally:
        await pool.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain() -> AsyncIterator[NamedPool]:
    """A hand-written server that answers with plain JSON."""
    async with _pool("sessions.py", "/mcp", "status") as pool:
        yield pool


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stream() -> AsyncIterator[NamedPool]:
    """The SDK's server over streamable HTTP: it answers with a stream of events."""
    async with _pool("workshop.py", "/mcp", "http") as pool:
        yield pool


async def _grown(call: asyncio.Task[object]) -> int:
    """How many bytes more were held at the worst moment of a call."""
    tracemalloc.start()
    try:
        await asyncio.wait({call})
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_a_huge_json_answer_is_an_error_that_costs_little_memory(plain: NamedPool) -> None:
    call = asyncio.ensure_future(plain.ask("web", "huge", {}))
    assert await _grown(call) < 30_000_000
    result = call.result()
    assert result.is_error
    assert (
        result.text == "The tool ran, but its answer of more than 8 MB is too large: ask for less."
    )
    assert plain.servers[0].connects == 1


async def test_a_huge_event_is_an_error_that_costs_little_memory(stream: NamedPool) -> None:
    call = asyncio.ensure_future(stream.ask("web", "big", {"characters": HUGE}))
    assert await _grown(call) < 60_000_000
    result = call.result()
    assert result.is_error
    assert (
        result.text == "The tool ran, but its answer of more than 8 MB is too large: ask for less."
    )
    assert stream.servers[0].connects == 1


@pytest.mark.parametrize("answer", ["half", "zipped"])
async def test_an_answer_that_breaks_off_or_is_packed_ends_no_other_call(
    plain: NamedPool, answer: str
) -> None:
    before = plain.servers[0].connects
    other = asyncio.create_task(plain.ask("web", "slow", {}))
    with pytest.raises(ToolFateUnknown):
        await plain.ask("web", answer, {})
    assert "slow" in (await other).text
    assert plain.servers[0].connects == before


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def events() -> AsyncIterator[NamedPool]:
    """The SDK's server over the older transport: one stream of events for all calls."""
    async with _pool("workshop.py", "/sse", "sse") as pool:
        yield pool


async def test_over_sse_too_large_an_answer_is_an_error_for_its_own_call(events: NamedPool) -> None:
    other = asyncio.create_task(events.ask("web", "count", {"word": "a", "seconds": 1}))
    call = asyncio.ensure_future(events.ask("web", "big", {"characters": HUGE}))
    assert await _grown(call) < 60_000_000
    result = call.result()
    assert result.is_error
    assert "too large: ask for less" in result.text
    assert not (await other).is_error
    assert events.servers[0].connects == 1


async def test_over_sse_an_answer_of_some_megabytes_comes_through(events: NamedPool) -> None:
    result = await events.ask("web", "big", {"characters": 6_000_000})
    assert not result.is_error
    assert len(result.text) > 100_000
    assert events.servers[0].connects == 1
