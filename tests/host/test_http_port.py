"""The port that strangers reach: everything is bounded before a word of it is looked at."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bot.http.health import http_app
from bot.http.limits import HttpLimits
from bot.http.server import WebhookEndpoint, serving, webhook_routes
from bot.ops.logging import Counters
from tests.host.stage import until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HALF = b"GET / HTTP/1.1\r\nHost: x\r\n"
SOON = 0.2
LONG = 30.0


@dataclass
class Port:
    """A port with limits: how to reach it, and what it refused; `held` keeps requests open."""

    number: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    cut: int = 0
    talks: list[Talk] = field(default_factory=list)

    async def connect(self, source: str = "127.0.0.1") -> Talk:
        here = await asyncio.open_connection("127.0.0.1", self.number, local_addr=(source, 0))
        self.talks.append(Talk(*here))
        return self.talks[-1]

    async def hang_up(self) -> None:
        for talk in self.talks:
            talk.writer.transport.abort()
        await asyncio.sleep(0)

    async def say(self, *pieces: bytes, source: str = "127.0.0.1") -> bytes:
        """Everything that is answered, until the port closes the connection."""
        talk = await self.connect(source)
        for piece in pieces:
            talk.say(piece)
        return await talk.rest()

    async def is_open(self, talk: Talk) -> bool:
        talk.say(GET)
        return b" 200 " in await talk.line()


@dataclass
class Talk:
    """A client's end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, piece: bytes) -> None:
        self.writer.write(piece)

    async def line(self) -> bytes:
        """The next line; nothing where the connection is over."""
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.readline(), 30)
        return b""

    async def rest(self) -> bytes:
        """Everything up to the end; what came before a reset counts."""
        found = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(30):
                while piece := await self.reader.read(65536):
                    found += piece
        return found


@contextlib.asynccontextmanager
async def port(**limits: Any) -> AsyncIterator[Port]:
    """A port whose deadlines are far away where a test does not say otherwise."""
    found = Port()

    async def home(request: Request) -> Response:
        return PlainTextResponse("home")

    async def hold(request: Request) -> Response:
        await found.held.wait()
        return PlainTextResponse("held")

    async def take(request: Request) -> Response:
        try:
            return PlainTextResponse(f"{len(await request.body())} bytes")
        except ClientDisconnect:
            found.cut += 1
            return Response(status_code=400)

    async def much(request: Request) -> Response:
        return PlainTextResponse("m" * 20_000_000)

    routes = [
        Route("/", home),
        Route("/hold", hold),
        Route("/take", take, methods=["POST"]),
        Route("/much", much),
    ]
    far = HttpLimits(header_seconds=LONG, body_seconds=LONG, answer_seconds=LONG)
    given = replace(far, **limits, count=lambda name: found.refused.update([name]))
    async with serving(Starlette(routes=routes), limits=given) as url:
        found.number = int(url.rpartition(":")[2])
        try:
            yield found
        finally:
            await found.hang_up()


def fields(count: int, size: int) -> bytes:
    return b"".join(b"X-%d: %s\r\n" % (n, b"a" * size) for n in range(count))


def post(length: int, body: bytes = b"") -> bytes:
    return b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (length, body)


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        HALF + fields(40, 1000) + b"\r\n",
        HALF + b"X: " + b"a" * 33_000 + b"\r\n\r\n",
        HALF + b"X: " + b"a" * 33_000,
        HALF + b"x" * 33_000,
        HALF + fields(100, 1) + b"\r\n",
        HALF + fields(101, 1),
        b"GET /" + b"a" * 33_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 33_000,
    ],
    ids=["bytes", "line", "endless line", "endless name", "fields", "more fields", "path", "URL"],
)
async def test_a_header_of_more_than_32_kilobytes_or_100_fields_is_refused(head: bytes) -> None:
    async with port() as here:
        assert (await here.say(head)).startswith(b"HTTP/1.1 431 ")
        pieces = [head[start : start + 5000] for start in range(0, len(head), 5000)]
        assert (await here.say(*pieces)).startswith((b"HTTP/1.1 431 ", b""))
        assert here.refused == {"http:431": 2}


async def test_a_header_within_the_limits_is_answered_however_it_comes() -> None:
    close = b"Connection: close\r\n\r\n"
    async with port() as here:
        for head in (HALF + fields(98, 200), HALF + fields(30, 1000), HALF):
            for step in (7, 4000, len(head) + len(close)):
                whole = head + close
                pieces = [whole[start : start + step] for start in range(0, len(whole), step)]
                assert (await here.say(*pieces)).endswith(b"home"), (len(head), step)
        assert here.refused == {}


async def test_what_is_no_http_is_refused_without_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    chunked = b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    both = b"POST /take HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with port() as here:
        for odd in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            assert (await here.say(odd)).startswith(b"HTTP/1.1 400 ")
        for odd in (chunked, both, b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"):
            assert (await here.say(odd)).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 "))
        assert (await here.say(upgrade)).endswith(b"home")  # as if it had not asked for more
        heavy = upgrade[:-2] + fields(100, 1) + b"\r\n"
        assert (await here.say(heavy)).startswith(b"HTTP/1.1 431 ")
    assert caplog.records == []


# --- time -----------------------------------------------------------------------------------------


async def test_a_header_that_does_not_end_in_time_is_refused_and_silence_is_closed() -> None:
    async with port(header_seconds=SOON) as here:
        assert (await here.say(HALF)).startswith(b"HTTP/1.1 408 ")
        assert await here.say() == b""
        assert await here.say(b"\r\n\r\n") == b""
        assert here.refused == {"http:408": 1, "http:silent": 2}


async def test_a_dripping_header_gains_no_time_by_dripping() -> None:
    async with port(header_seconds=3 * SOON) as here:
        talk = await here.connect()
        began = asyncio.get_running_loop().time()
        answer = asyncio.create_task(talk.rest())
        for letter in HALF * 100:
            talk.say(bytes([letter]))
            if (await asyncio.wait({answer}, timeout=SOON / 4))[0]:
                break
        assert (await answer).startswith(b"HTTP/1.1 408 ")
        assert asyncio.get_running_loop().time() - began < 10 * SOON


async def test_the_second_request_of_a_connection_has_the_same_deadline() -> None:
    async with port(header_seconds=SOON) as here:
        talk = await here.connect()
        assert await here.is_open(talk)
        talk.say(HALF)
        assert b"HTTP/1.1 408 " in await talk.rest()


async def test_a_kept_connection_may_be_idle_for_longer_than_a_header() -> None:
    async with port(header_seconds=SOON) as here:
        talk = await here.connect()
        assert await here.is_open(talk)
        await talk.reader.readuntil(b"home")
        more = asyncio.ensure_future(talk.line())
        assert not (await asyncio.wait({more}, timeout=3 * SOON))[0]
        talk.say(GET)
        assert b" 200 " in await more


@pytest.mark.parametrize("come", [b"", b"abc"])
async def test_a_body_that_does_not_end_in_time_is_refused_and_its_request_cut(
    come: bytes,
) -> None:
    async with port(body_seconds=SOON) as here:
        assert (await here.say(post(5000, come))).startswith(b"HTTP/1.1 408 ")
        await until(lambda: here.cut == 1)
        assert here.refused == {"http:408": 1}


async def test_a_body_in_time_is_taken_whole_also_where_it_has_to_be_asked_for() -> None:
    async with port() as here:
        whole = post(700_000, b"b" * 700_000)
        talk = await here.connect()
        for start in range(0, len(whole), 50_000):
            talk.say(whole[start : start + 50_000])
        assert b" 200 " in await talk.line()
        asking = b"POST /take HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        await asyncio.wait_for(talk.reader.readuntil(b"700000 bytes"), 30)
        talk.say(asking)
        assert b" 100 " in await talk.line()
        talk.say(b"abc")
        await asyncio.wait_for(talk.reader.readuntil(b"3 bytes"), 30)


async def test_a_connection_whose_body_nobody_reads_is_closed_after_the_answer() -> None:
    async with port() as here:
        head = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n"
        assert (await here.say(head + b"b" * 1000)).endswith(b"home")


async def test_whoever_does_not_take_the_answer_is_cut_off() -> None:
    async with port(connections=1, reserve=0, answer_seconds=SOON) as here:
        talk = await here.connect()
        talk.say(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in await talk.line()
        # It is busy, and gives way to nobody: there is room again once it is gone.
        async with asyncio.timeout(30):
            while (await here.say(LAST)).startswith(b"HTTP/1.1 503 "):
                pass
        assert len(await talk.rest()) < 20_000_000


# --- number ---------------------------------------------------------------------------------------


async def test_with_too_many_connections_the_oldest_idle_one_gives_way() -> None:
    async with port(connections=3, reserve=0) as here:
        talks = [await here.connect() for _ in range(2)]
        busy = await here.connect()
        busy.say(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        talks[0].say(HALF)
        talks += [await here.connect() for _ in range(2)]
        assert [await here.is_open(talk) for talk in talks] == [False, False, True, True]
        here.held.set()
        assert b" 200 " in await busy.line()
        assert here.refused == {"http:gave_way": 2}


async def test_whoever_has_the_most_connections_loses_one_first() -> None:
    async with port(connections=4, reserve=0) as here:
        ours = await here.connect("127.0.0.3")
        theirs = [await here.connect("127.0.0.2") for _ in range(20)]
        assert await here.is_open(ours)
        assert [await here.is_open(talk) for talk in theirs] == [False] * 17 + [True] * 3


async def test_where_all_are_busy_a_stranger_is_refused_and_this_machine_gets_in() -> None:
    async with port(connections=2, reserve=1) as here:
        busy = [await here.connect("127.0.0.2") for _ in range(2)]
        for talk in busy:
            talk.say(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        async with asyncio.timeout(30):  # the requests are read in their own time
            while not answer.startswith(b"HTTP/1.1 503 "):
                answer = await here.say(GET, source="127.0.0.3")
        assert (await here.say(LAST)).endswith(b"home")
        here.held.set()
        for talk in busy:
            assert b" 200 " in await talk.line()


async def test_unfinished_headers_share_one_memory_and_the_oldest_gives_way() -> None:
    async with port(memory=100_000) as here:
        talks = []
        for _ in range(6):
            talks.append(await here.connect())
            talks[-1].say(HALF + b"X: " + b"a" * 30_000)
            await talks[-1].writer.drain()
        await until(lambda: here.refused["http:gave_way"] == 3)
        for talk in talks[3:]:
            talk.say(b"\r\n\r\n")
        assert [b" 200 " in await talk.line() for talk in talks] == [False] * 3 + [True] * 3


async def test_a_few_requests_may_be_sent_ahead_and_are_answered_in_order() -> None:
    async with port() as here:
        talk = await here.connect()
        talk.say(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n" + GET + post(2, b"ab") + GET)
        here.held.set()
        bodies = [b"held", b"home", b"2 bytes", b"home"]
        for body in bodies:
            await asyncio.wait_for(talk.reader.readuntil(b"\r\n\r\n" + body), 30)


async def test_a_flood_of_requests_sent_ahead_costs_their_sender_the_connection() -> None:
    async with port() as here:
        flood = b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n" * 5000
        assert await here.say(flood) == b""
        assert here.refused == {"http:429": 1}


# --- the host's own routes ------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["[", "]", "x:y:z", "\xff", "a b", "http://[::1", ""])
async def test_no_host_header_breaks_a_route(host: str, caplog: pytest.LogCaptureFixture) -> None:
    taken: list[bytes] = []

    async def take(raw: bytes) -> None:
        taken.append(raw)

    doors = {"/telegram/a": WebhookEndpoint("word", take)}
    app = http_app(
        lambda: {"status": "ok", "ready": True}, webhook_routes(lambda: doors, Counters())
    )
    head = "{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 0\r\n{}\r\n"
    said = "X-Telegram-Bot-Api-Secret-Token: word\r\n"
    async with serving(app, limits=HttpLimits()) as url:
        here = Port(int(url.rpartition(":")[2]))
        for path, more, status in (
            ("GET /health", "", b" 200 "),
            ("POST /telegram/a", "", b" 401 "),
            ("POST /telegram/b", "", b" 404 "),
            ("POST /telegram/a", said, b" 200 "),
        ):
            answer = await here.say(head.format(path, host, more).encode("latin-1"))
            assert status in answer.partition(b"\r\n")[0], (path, answer)
        await here.hang_up()
    assert taken == [b""]
    assert caplog.records == []
