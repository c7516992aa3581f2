"""The older transport over HTTP, byte by byte: what of a stream of events is a message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import anyio
import httpx2
import pytest
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCResponse

from bot.mcp.result import ConnectionState
from bot.mcp.transports.http import EventReader
from bot.ops.line_reader import LINE_LIMIT

URL = "http://desk.test:80/sse"
ENDPOINT = b"event: endpoint\r\ndata: /messages/?session_id=1\r\n\r\n"
ANSWER = b'{"jsonrpc":"2.0","id":7,"result":{}}'


class Chunks(httpx2.AsyncByteStream):
    """A body in these pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


async def heard(*pieces: bytes) -> tuple[str | None, list[object]]:
    """Where posts go, and the messages of a body in these pieces."""
    inbox, inbound = anyio.create_memory_object_stream[SessionMessage](100)
    events = EventReader(URL, inbox, ConnectionState())
    request = httpx2.Request("GET", URL)
    await events.read(httpx2.Response(200, stream=Chunks(iter(pieces)), request=request))
    with inbound:
        found = [item.message async for item in inbound]
    wrong = events.endpoint.exception()
    return (None if wrong else events.endpoint.result()), list(found)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_messages_are_found_wherever_the_stream_is_cut(end: bytes) -> None:
    body = ENDPOINT + b": ping\r\n\r\nevent: message\r\ndata: " + ANSWER + b"\r\n\r\n"
    body += b"data:" + ANSWER + b"\r\nid: 3\r\n\r\nevent: other\r\ndata: x\r\n\r\n"
    body = body.replace(b"\r\n", end)
    for size in (1, 2, 3, 7, len(body)):
        cut = [body[at : at + size] for at in range(0, len(body), size)]
        where, messages = await heard(*cut)
        assert where == "http://desk.test:80/messages/?session_id=1"
        assert [type(message) for message in messages] == [JSONRPCResponse] * 2


async def test_an_answer_in_many_lines_is_one_answer() -> None:
    lines = b"".join(b"data: " + part + b"\n" for part in (b"{", ANSWER[1:-1], b"}"))
    _, messages = await heard(ENDPOINT, lines + b"\n")
    assert [type(message) for message in messages] == [JSONRPCResponse]


@pytest.mark.parametrize("lines", [1, 3])
async def test_an_answer_over_the_limit_is_an_error_and_the_next_one_is_read(lines: int) -> None:
    huge = ANSWER[:-2] + b'"x":"' + b"x" * LINE_LIMIT + b'"}}'
    cut = len(huge) // lines + 1
    parts = [b"data: " + huge[at : at + cut] + b"\n" for at in range(0, len(huge), cut)]
    _, messages = await heard(ENDPOINT, *parts, b"\ndata: ", ANSWER, b"\n\n")
    kinds: list[type[object]] = [JSONRPCError, JSONRPCResponse]
    assert [type(message) for message in messages] == kinds


async def test_what_breaks_the_protocol_is_an_error_for_its_own_call() -> None:
    broken = b'{"jsonrpc":"2.0","id":7,"result":nothing}'
    _, messages = await heard(ENDPOINT, b"data: " + broken + b"\n\ndata: noise\n\n")
    assert [type(message) for message in messages] == [JSONRPCError]


@pytest.mark.parametrize(
    "where", [b"http://other.test/messages", b"//other.test/", b"http://[", b""]
)
async def test_posts_go_to_no_other_host(where: bytes) -> None:
    found, _ = await heard(b"event: endpoint\ndata: " + where + b"\n\n")
    assert found in (None, URL)


async def test_a_stream_that_ends_before_it_says_where_posts_go_is_no_connection() -> None:
    assert (await heard(b"data: " + ANSWER + b"\n\n"))[0] is None
