from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from simulators.http_server import serving


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def test_an_application_is_served_on_a_free_port_of_loopback() -> None:
    app = Starlette(routes=[Route("/", hello)])
    async with serving(app) as one, serving(app) as other, aiohttp.ClientSession() as http:
        assert one.startswith("http://127.0.0.1:")
        assert one != other
        async with http.get(one) as response:
            assert await response.text() == "hello"


async def test_a_port_that_is_taken_is_an_error() -> None:
    app = Starlette()
    async with serving(app) as url:
        with pytest.raises(OSError, match="in use"):
            async with serving(app, port=int(url.rpartition(":")[2])):
                pass


async def test_stopping_ends_hanging_requests_and_streams_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    started = asyncio.Semaphore(0)

    async def hang(request: Request) -> Response:
        started.release()
        await asyncio.Event().wait()
        return Response()

    async def lines() -> AsyncIterator[bytes]:
        yield b"one\n"
        started.release()
        await asyncio.Event().wait()

    async def stream(request: Request) -> Response:
        return StreamingResponse(lines())

    async def fetch(http: aiohttp.ClientSession, url: str) -> None:
        async with http.get(url) as response:
            response.raise_for_status()
            await response.read()

    app = Starlette(routes=[Route("/hang", hang), Route("/stream", stream)])
    async with aiohttp.ClientSession() as http:
        async with serving(app) as url:
            tasks = [asyncio.create_task(fetch(http, f"{url}/{p}")) for p in ("hang", "stream")]
            await started.acquire()
            await started.acquire()
            began = time.monotonic()
        assert time.monotonic() - began < 20  # without an end of them it would take forever
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(r, aiohttp.ClientError) for r in results)
    assert not caplog.records


async def test_a_short_request_is_finished_before_the_stop() -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        started.set()
        await go_on.wait()
        return PlainTextResponse("done")

    async def fetch(http: aiohttp.ClientSession, url: str) -> str:
        async with http.get(url) as response:
            return await response.text()

    async with aiohttp.ClientSession() as http:
        async with serving(Starlette(routes=[Route("/", slow)])) as url:
            task = asyncio.create_task(fetch(http, url))
            await started.wait()
            asyncio.get_running_loop().call_later(0.02, go_on.set)
        assert await task == "done"


async def test_an_application_that_does_not_start_is_an_error() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if not app.routes:
            raise ValueError("nothing to serve")
        yield

    with pytest.raises(RuntimeError, match="did not start"):
        async with serving(Starlette(lifespan=lifespan)):
            pass
