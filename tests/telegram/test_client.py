"""The wire against real servers on loopback, well-behaved and not."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import SecretStr

from bot.errors import ConfigError
from bot.telegram import client as wire_module
from bot.telegram.client import TelegramClient, new_session
from bot.telegram.errors import (
    BadRequest,
    CannotParse,
    ChatClosed,
    ChatMigrated,
    Conflict,
    FateUnknown,
    MessageGone,
    NotModified,
    NotSent,
    ServerFault,
    TelegramError,
    TooLong,
    TooManyRequests,
    TopicGone,
    Unauthorized,
    UnknownMethod,
    Unreachable,
)

TOKEN = "123456:canary-AAbbCC_dd"
BOUND = 5.0
SLOW = 0.2

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with new_session() as opened:
        yield opened


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """A real web server for every path; gives its base URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[str]:
    """A bare TCP server that treats each connection as told; gives its host and port."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


def answering(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(
            body=orjson.dumps(document),
            status=status,
            headers=headers,
            content_type="application/json",
        )

    return handler


def refusing(
    status: int,
    description: str,
    parameters: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> Handler:
    document: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if parameters is not None:
        document["parameters"] = parameters
    return answering(document, status, headers)


def to(session: aiohttp.ClientSession, base: str) -> TelegramClient:
    return TelegramClient(session, base, SecretStr(TOKEN))


async def failure(wire: TelegramClient, timeout: float = BOUND) -> TelegramError:
    with pytest.raises(TelegramError) as caught:
        await asyncio.wait_for(wire.call("sendMessage", {"chat_id": 1}, timeout=timeout), BOUND)
    shows_no_token(caught.value)
    return caught.value


def shows_no_token(error: BaseException) -> None:
    written = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert "canary" not in written
    assert error.__cause__ is None
    assert error.__context__ is None


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    return await reader.readexactly(length)


# --- success --------------------------------------------------------------------------------------


async def test_a_call_posts_json_under_the_token_and_returns_the_result(
    session: aiohttp.ClientSession,
) -> None:
    seen: list[tuple[str, str, str, Any]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(
            (
                request.method,
                request.path,
                request.content_type,
                orjson.loads(await request.read()),
            )
        )
        return web.json_response({"ok": True, "result": {"message_id": 7}})

    async with served(handler) as base:
        result = await to(session, f"{base}/").call(
            "sendMessage", {"chat_id": 5, "text": "héllo", "entities": ({"a": 1},)}, timeout=BOUND
        )
    assert result == {"message_id": 7}
    body = {"chat_id": 5, "text": "héllo", "entities": [{"a": 1}]}
    assert seen == [("POST", f"/bot{TOKEN}/sendMessage", "application/json", body)]


async def test_half_a_surrogate_pair_in_a_text_does_not_stop_the_call(
    session: aiohttp.ClientSession,
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "result": orjson.loads(await request.read())})

    async with served(handler) as base:
        result = await to(session, base).call("sendMessage", {"text": "a\ud83d"}, timeout=BOUND)
    assert result == {"text": "a?"}


async def test_an_answer_in_another_content_type_is_still_read(
    session: aiohttp.ClientSession,
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text='{"ok":true,"result":true}', content_type="text/plain")

    async with served(handler) as base:
        assert await to(session, base).call("sendChatAction", {}, timeout=BOUND) is True


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (400, "Bad Request: can't parse entities: Unsupported start tag", CannotParse),
        (400, "Bad Request: ENTITY_BOUNDS_INVALID", CannotParse),
        (400, "Bad Request: message is not modified: specified new message content", NotModified),
        (400, "Bad Request: message to edit not found", MessageGone),
        (400, "Bad Request: message to delete not found", MessageGone),
        (400, "Bad Request: message can't be edited", MessageGone),
        (400, "Bad Request: MESSAGE_ID_INVALID", MessageGone),
        (400, "Bad Request: message is too long", TooLong),
        (400, "Bad Request: MESSAGE_TOO_LONG", TooLong),
        (400, "Bad Request: message caption is too long", TooLong),
        (413, "Request Entity Too Large", TooLong),
        (400, "Bad Request: chat not found", Unreachable),
        (400, "Bad Request: not enough rights to send text messages to the chat", ChatClosed),
        (400, "Bad Request: have no rights to send a message", ChatClosed),
        (403, "Forbidden: not enough rights to send text messages to the chat", ChatClosed),
        (400, "Bad Request: need administrator rights in the channel chat", ChatClosed),
        (400, "Bad Request: CHAT_ADMIN_REQUIRED", ChatClosed),
        (400, "Bad Request: CHAT_RESTRICTED", ChatClosed),
        (403, "Forbidden: CHAT_WRITE_FORBIDDEN", ChatClosed),
        (403, "Forbidden: CHAT_SEND_PLAIN_FORBIDDEN", ChatClosed),
        (403, "Forbidden: CHAT_GUEST_SEND_FORBIDDEN", ChatClosed),
        (400, "Bad Request: PEER_ID_INVALID", ChatClosed),
        (400, "Bad Request: message thread not found", TopicGone),
        (400, "Bad Request: TOPIC_DELETED", TopicGone),
        (400, "Bad Request: TOPIC_CLOSED", ChatClosed),
        (400, "[Error]: Bad Request: user is deactivated", Unreachable),
        (400, "Bad Request: group is deactivated", Unreachable),
        (400, "Bad Request: USER_IS_BLOCKED", Unreachable),
        (400, "Bad Request: CHANNEL_PRIVATE", Unreachable),
        (403, "Forbidden: bot is not a member of the supergroup chat", Unreachable),
        (420, "FLOOD_WAIT_35", TooManyRequests),
        (400, "Bad Request: SLOWMODE_WAIT_9", TooManyRequests),
        (403, "Forbidden: bot was blocked by the user", Unreachable),
        (403, "Forbidden: bot was kicked from the supergroup chat", Unreachable),
        (400, "Bad Request: message text is empty", BadRequest),
        (400, "Bad Request: message to be replied not found", BadRequest),
        (400, "Bad Request: query is too old and response timeout expired", BadRequest),
        (401, "Unauthorized", Unauthorized),
        (404, "Not Found: method not found", UnknownMethod),
        (409, "Conflict: terminated by other getUpdates request", Conflict),
        (500, "Internal Server Error: restart", ServerFault),
        (502, "Bad Gateway", ServerFault),
    ],
)
async def test_a_refusal_becomes_the_error_that_its_words_mean(
    session: aiohttp.ClientSession, status: int, words: str, kind: type[TelegramError]
) -> None:
    async with served(refusing(status, words)) as base:
        error = await failure(to(session, base))
    assert type(error) is kind
    assert (error.method, error.description) == ("sendMessage", words)


async def test_a_migrated_group_tells_its_new_id(session: aiohttp.ClientSession) -> None:
    words = "Bad Request: group chat was upgraded to a supergroup chat"
    async with served(refusing(400, words, {"migrate_to_chat_id": -1007})) as base:
        error = await failure(to(session, base))
    assert isinstance(error, ChatMigrated)
    assert error.to == -1007


@pytest.mark.parametrize(
    ("parameters", "headers", "seconds"),
    [
        ({"retry_after": 17}, {"Retry-After": "3"}, 17.0),
        (None, {"Retry-After": "3"}, 3.0),
        (None, {"Retry-After": "Fri, 20 Nov 2026 10:00:00 GMT"}, 5.0),
        ({"retry_after": "soon"}, None, 5.0),
        ("retry after 35", None, 35.0),
        ("FLOOD_WAIT_36", None, 36.0),
        (None, None, 5.0),
    ],
)
async def test_a_flood_refusal_tells_how_long_to_wait(
    session: aiohttp.ClientSession,
    parameters: dict[str, Any] | str | None,
    headers: dict[str, str] | None,
    seconds: float,
) -> None:
    words = "Too Many Requests"
    if isinstance(parameters, str):  # in words alone, as earlier servers say it
        words, parameters = f"{words}: {parameters}", None
    async with served(refusing(429, words, parameters, headers)) as base:
        error = await failure(to(session, base))
    assert isinstance(error, TooManyRequests)
    assert error.retry_after == seconds


async def test_a_server_that_repeats_the_url_does_not_make_us_repeat_the_token(
    session: aiohttp.ClientSession,
) -> None:
    async def handler(request: web.Request) -> web.Response:
        words = f"no such path {request.path} {TOKEN.replace(':', '%3A')}"
        return web.json_response({"ok": False, "error_code": 404, "description": words}, status=404)

    async with served(handler) as base:
        error = await failure(to(session, base))
    assert "/bot<token>/sendMessage <token>" in error.description


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (502, ServerFault),
        (503, ServerFault),
        (401, ServerFault),
        (403, ServerFault),
        (404, ServerFault),
        (429, TooManyRequests),
        (413, TooLong),
        (400, BadRequest),
        (200, FateUnknown),
        (302, FateUnknown),
    ],
)
async def test_html_from_something_on_the_way_never_judges_token_or_chat(
    session: aiohttp.ClientSession, status: int, kind: type[TelegramError]
) -> None:
    calls: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        calls.append(request.path)
        return web.Response(
            text="<html>gateway</html>",
            status=status,
            content_type="text/html",
            headers={"Location": "/elsewhere"} if status == 302 else None,
        )

    async with served(handler) as base:
        error = await failure(to(session, base))
    assert type(error) is kind
    assert len(calls) == 1


@pytest.mark.parametrize("document", [[], "text", None, {"ok": True}, {"ok": "yes", "result": 1}])
async def test_json_of_another_shape_is_never_a_result(
    session: aiohttp.ClientSession, document: Any
) -> None:
    async with served(answering(document)) as base:
        assert isinstance(await failure(to(session, base)), TelegramError)


# --- what did not leave ---------------------------------------------------------------------------


async def test_a_refused_connection_was_surely_not_sent(session: aiohttp.ClientSession) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        error = await failure(to(session, f"http://127.0.0.1:{port}"))
    assert isinstance(error, NotSent)
    assert f"127.0.0.1:{port}" in error.description


class _NoNames(AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise OSError(-2, "Name or service not known")

    async def close(self) -> None:
        pass


async def test_an_unknown_name_was_surely_not_sent() -> None:
    connector = aiohttp.TCPConnector(resolver=_NoNames())
    async with aiohttp.ClientSession(connector=connector) as session:
        error = await failure(to(session, "https://api.test"))
    assert isinstance(error, NotSent)
    assert "name" in error.description


async def test_a_failed_tls_handshake_was_surely_not_sent(session: aiohttp.ClientSession) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with talking(talk) as place:
        error = await failure(to(session, f"https://{place}"))
    assert isinstance(error, NotSent)


async def test_a_connection_that_never_gets_ready_was_surely_not_sent(
    session: aiohttp.ClientSession,
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with talking(talk) as place:
        error = await failure(to(session, f"https://{place}"), timeout=SLOW)
    assert isinstance(error, NotSent)
    assert "timed out" in error.description


async def test_a_closed_session_sends_nothing() -> None:
    session = new_session()
    await session.close()
    assert isinstance(await failure(to(session, "http://127.0.0.1:9")), NotSent)


# --- what may have arrived ------------------------------------------------------------------------


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close before anything is read."""


async def read_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)


async def read_and_stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    await reader.read()


async def send_half_a_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{"ok":true,"res')
    await writer.drain()


async def send_half_a_json(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"ok":true,"res')
    await writer.drain()


async def stall_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{"ok":true,"res')
    await reader.read()


async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"220 mail.example ESMTP\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    "talk",
    [
        hang_up,
        read_and_hang_up,
        read_and_stall,
        send_half_a_body,
        send_half_a_json,
        stall_in_the_body,
        talk_nonsense,
    ],
)
async def test_a_call_whose_answer_is_lost_has_an_unknown_fate(
    session: aiohttp.ClientSession, talk: Talk
) -> None:
    async with talking(talk) as place:
        error = await failure(to(session, f"http://{place}"), timeout=SLOW)
    assert type(error) is FateUnknown


async def test_a_kept_connection_that_breaks_has_an_unknown_fate_and_is_not_tried_again(
    session: aiohttp.ClientSession,
) -> None:
    requests = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await read_request(reader)
        requests += 1
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{"ok":true,"result":true}')
        await read_request(reader)
        requests += 1

    async with talking(talk) as place:
        wire = to(session, f"http://{place}")
        assert await wire.call("sendMessage", {}, timeout=BOUND) is True
        error = await failure(wire)
    assert type(error) is FateUnknown
    assert requests == 2


async def test_a_cancelled_call_stays_cancelled(session: aiohttp.ClientSession) -> None:
    arrived = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await reader.read()

    async with talking(talk) as place:
        wire = to(session, f"http://{place}")
        task = asyncio.create_task(wire.call("sendMessage", {}, timeout=BOUND))
        await asyncio.wait_for(arrived.wait(), BOUND)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# --- polls ----------------------------------------------------------------------------------------


async def test_a_poll_returns_each_update_as_its_own_json(session: aiohttp.ClientSession) -> None:
    asked: list[Any] = []
    updates = [
        {"update_id": 9, "message": {"text": "Ünïcode 😀", "date": 2**53 + 1}},
        {"update_id": 4, "callback_query": {"id": "7"}},
    ]

    async def handler(request: web.Request) -> web.Response:
        asked.append((request.path.rsplit("/")[-1], orjson.loads(await request.read())))
        return web.json_response({"ok": True, "result": updates})

    async with served(handler) as base:
        wire = to(session, base)
        got = await wire.updates(None, 100, 0, ("message", "callback_query"))
        await wire.updates(10, 1, 50, ["message"])
    assert [number for number, _ in got] == [9, 4]
    assert [orjson.loads(raw) for _, raw in got] == updates
    first = {"limit": 100, "timeout": 0, "allowed_updates": ["message", "callback_query"]}
    second = {"limit": 1, "timeout": 50, "allowed_updates": ["message"], "offset": 10}
    assert asked == [("getUpdates", first), ("getUpdates", second)]


async def test_half_a_surrogate_pair_in_one_update_does_not_stop_the_intake(
    session: aiohttp.ClientSession,
) -> None:
    async def handler(request: web.Request) -> web.Response:
        body = rb'{"ok":true,"result":[{"update_id":1,"m":"\ud83d"},{"update_id":2,"m":"\u00e9"}]}'
        return web.Response(body=body, content_type="application/json")

    async with served(handler) as base:
        got = await to(session, base).updates(None, 100, 0, ())
    assert [(number, orjson.loads(raw)["m"]) for number, raw in got] == [(1, "?"), (2, "é")]


async def test_an_update_that_nobody_can_read_is_named_and_those_beside_it_come(
    session: aiohttp.ClientSession,
) -> None:
    deep = b'{"update_id":2,"m":' + b"[" * 5000 + b"]" * 5000 + b"}"
    waiting = {1: b'{"update_id":1}', 2: deep, 3: b'{"update_id":3}'}

    async def handler(request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        batch = [raw for number, raw in waiting.items() if number >= asked.get("offset", 0)]
        body = b'{"ok":true,"result":[' + b",".join(batch[: asked["limit"]]) + b"]}"
        return web.Response(body=body, content_type="application/json")

    got: list[tuple[int, Any]] = []
    async with served(handler) as base:
        for _ in range(3):
            found = await to(session, base).updates(got[-1][0] + 1 if got else None, 100, 0, ())
            got += [(number, orjson.loads(raw)) for number, raw in found]
    nested = (2, {"update_id": 2, "nested": True})
    assert got == [(1, {"update_id": 1}), nested, (3, {"update_id": 3})]


async def test_what_is_no_update_in_a_batch_costs_only_itself(
    session: aiohttp.ClientSession,
) -> None:
    batch = [7, {"update_id": 1}, {"update_id": True}, {"update_id": "2"}, {}, None]
    async with served(answering({"ok": True, "result": batch})) as base:
        got = await to(session, base).updates(None, 100, 0, ())
    assert [number for number, _ in got] == [1]


@pytest.mark.parametrize("result", [True, 7, {"a": 1}, [{}], [{"update_id": "1"}], [7]])
async def test_a_poll_that_brings_no_updates_is_a_fault_of_the_server(
    session: aiohttp.ClientSession, result: Any
) -> None:
    async with served(answering({"ok": True, "result": result})) as base:
        with pytest.raises(ServerFault):
            await to(session, base).updates(None, 100, 0, ())


async def test_a_poll_that_the_server_forgets_ends_after_its_margin(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wire_module.POLL_MARGIN == 10
    monkeypatch.setattr(wire_module, "POLL_MARGIN", SLOW)
    async with talking(read_and_stall) as place:
        wire = to(session, f"http://{place}")
        with pytest.raises(FateUnknown):
            await asyncio.wait_for(wire.updates(None, 100, 0, ()), BOUND)


# --- the shared session ---------------------------------------------------------------------------


async def test_many_polls_at_once_do_not_starve_each_other(session: aiohttp.ClientSession) -> None:
    waiting, everybody = 0, asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        nonlocal waiting
        waiting += 1
        if waiting == 130:
            everybody.set()
        await everybody.wait()
        return web.json_response({"ok": True, "result": []})

    async with served(handler) as base:
        wire = to(session, base)
        polls = [wire.updates(None, 1, 0, ()) for _ in range(130)]
        assert await asyncio.wait_for(asyncio.gather(*polls), BOUND) == [[]] * 130


async def test_the_session_keeps_no_cookies_and_reads_no_proxy_from_the_environment(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    cookies: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.json_response({"ok": True, "result": 1}, headers={"Set-Cookie": "a=b"})

    async with served(handler) as base:
        for _ in range(2):
            await to(session, base).call("getMe", {}, timeout=BOUND)
    assert cookies == [None, None]


async def test_a_wire_shows_its_host_and_not_its_token(session: aiohttp.ClientSession) -> None:
    assert (
        repr(to(session, "https://user:pass@api.test/prefix/")) == "TelegramClient(api.test/prefix)"
    )


async def test_a_base_url_without_a_scheme_is_refused_with_the_cure(
    session: aiohttp.ClientSession,
) -> None:
    with pytest.raises(ConfigError, match=r"http\(s\)://"):
        to(session, "api.telegram.org")
