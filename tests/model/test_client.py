from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from bot.errors import BrokenStream, ConfigError, ModelBusy, ModelError, ModelRefused, StaleThinking
from bot.messages import Answer, Model, ModelRequest, Piece, TextDelta, ToolChosen, Usage
from bot.model.client import MessagesModel, body
from bot.model.parameters import DEFAULT_URL, parameters
from bot.ops.logging import QUIET

KEY = "sk-test-4f1d-not-a-real-key"
WAIT = 5.0

Event = dict[str, Any]
Handler = Callable[[web.Request, web.StreamResponse], Awaitable[None]]

BEGIN: Event = {
    "type": "message_start",
    "message": {"model": "claude-sonnet-5-5", "usage": {"input_tokens": 3, "output_tokens": 1}},
}
TEXT: list[Event] = [
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "Good day"},
    },
    {"type": "content_block_stop", "index": 0},
]
END: list[Event] = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]
WHOLE = [BEGIN, *TEXT, *END]


class StillClock:
    """A clock whose wall time is given."""

    def wall(self) -> float:
        return 1_700_000_000.0

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Api:
    """A server that says what a test wrote for it, and remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, str, dict[str, str], dict[str, Any]]] = []
        self.peers: set[object] = set()
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = speak(WHOLE)
        self.opened = asyncio.Event()
        self.left = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else {}
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        self.requests.append((request.method, request.path, dict(request.headers), body))
        try:
            return await self.answer(request)
        finally:
            if request.protocol.transport is None:
                self.left.set()

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.requests[-1][2].items()}

    @property
    def body(self) -> dict[str, Any]:
        return self.requests[-1][3]


def wire(event: Event) -> bytes:
    return f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n".encode()


def speak(
    events: list[Event], then: Handler | None = None, kind: str = "text/event-stream"
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": kind})
        await response.prepare(request)
        for event in events:
            await response.write(wire(event))
        if then is not None:
            await then(request, response)
        return response

    return answer


def refuse(
    status: int, kind: str = "some_error", message: str = "because", **headers: str
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        body = {"type": "error", "error": {"type": kind, "message": message}}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(body, status=status, headers=names)

    return answer


async def cut(request: web.Request, _: web.StreamResponse) -> None:
    assert request.transport is not None
    request.transport.abort()


async def stall(request: web.Request, _: web.StreamResponse) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield api
    await runner.cleanup()


@asynccontextmanager
async def model_at(url: str, key: str = KEY, silence: float = WAIT) -> AsyncIterator[MessagesModel]:
    model = MessagesModel(key, url, StillClock(), connect_seconds=WAIT, silence_seconds=silence)
    try:
        yield model
    finally:
        await model.close()


@pytest.fixture
async def model(api: Api) -> AsyncIterator[MessagesModel]:
    async with model_at(api.url) as model:
        yield model


def request_for(model: str = "claude-sonnet-5-5", **settings: Any) -> ModelRequest:
    return ModelRequest(
        **{
            "model": model,
            "max_tokens": 1_000,
            "system": [{"type": "text", "text": "Be brief."}],
            "tools": [],
            "messages": [{"role": "user", "content": "Hello"}],
            **settings,
        }
    )


async def said(model: Model, request: ModelRequest | None = None) -> list[Piece]:
    async with asyncio.timeout(WAIT):
        return [piece async for piece in model.stream(request or request_for())]


async def test_an_answer_streams_in_pieces(api: Api, model: MessagesModel) -> None:
    assert await said(model) == [
        TextDelta("Good day"),
        Answer(
            [{"type": "text", "text": "Good day"}],
            "end_turn",
            Usage(input=3, output=9),
            "claude-sonnet-5-5",
        ),
    ]


async def test_a_piece_is_there_before_the_answer_ends(api: Api, model: MessagesModel) -> None:
    go_on = asyncio.Event()

    async def finish(_: web.Request, response: web.StreamResponse) -> None:
        await go_on.wait()
        for event in END:
            await response.write(wire(event))

    api.answer = speak([BEGIN, *TEXT], finish)
    async with asyncio.timeout(WAIT), aclosing(model.stream(request_for())) as pieces:
        assert await anext(pieces) == TextDelta("Good day")
        go_on.set()
        assert isinstance(await anext(pieces), Answer)


async def test_one_post_is_all_that_is_asked(api: Api, model: MessagesModel) -> None:
    await model.warm()
    assert api.requests == []

    await said(model, request_for(reasoning_effort="high"))

    assert [(method, path) for method, path, _, _ in api.requests] == [("POST", "/v1/messages")]
    assert api.body == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 1_000,
        "stream": True,
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": "high"},
        "system": [
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        ],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}},
                ],
            }
        ],
    }


async def test_the_key_goes_in_both_headers_to_an_address_of_one_s_own(
    api: Api, model: MessagesModel
) -> None:
    await said(model)

    assert api.headers["authorization"] == f"Bearer {KEY}"
    assert api.headers["x-api-key"] == KEY
    assert api.headers["anthropic-version"] > "2026"


async def test_the_default_address_needs_no_second_header() -> None:
    model = MessagesModel(KEY, "", StillClock())
    await model.warm()

    assert model.base_url == DEFAULT_URL
    assert model._client is not None
    assert str(model._client.base_url) == "https://api.anthropic.com"
    assert "x-api-key" not in model._client.default_headers
    await model.close()


async def test_a_path_in_the_address_is_kept(api: Api) -> None:
    async with model_at(f"{api.url}/anthropic/") as model:
        await said(model)

    assert api.requests[-1][1] == "/anthropic/v1/messages"


async def test_a_temperature_travels_with_the_older_version(api: Api, model: MessagesModel) -> None:
    await said(model, request_for("claude-sonnet-4-6", temperature=0.4))

    assert api.body["temperature"] == 0.4
    assert api.headers["anthropic-version"] == "2023-06-01"


async def test_an_unknown_model_gets_the_minimum(api: Api, model: MessagesModel) -> None:
    tool = {"name": "now", "input_schema": {"type": "object"}}
    await said(model, request_for("deepseek-chat", tools=[tool], system=[], temperature=0.4))

    assert api.body == {
        "model": "deepseek-chat",
        "max_tokens": 1_000,
        "stream": True,
        "temperature": 0.4,
        "tools": [tool],
        "messages": [{"role": "user", "content": "Hello"}],
    }


async def test_the_environment_is_not_asked_for_credentials(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE"):
        monkeypatch.setenv(name, "someone-else")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv(
        "ANTHROPIC_CUSTOM_HEADERS", "authorization: Bearer someone-else\nx-more: someone-else"
    )
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with model_at(api.url) as model:
        await said(model)

    assert "someone-else" not in str(api.requests)
    assert api.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", ["", "  ", "sk one", "sk-\u00fc", "sk-a\nb"])
async def test_a_missing_or_mangled_key_is_refused_with_the_cure(api: Api, key: str) -> None:
    async with model_at(api.url, key) as model:
        await model.warm()
        with pytest.raises(ModelRefused, match=r"set ANTHROPIC_API_KEY|set it again") as refused:
            await said(model)

    assert api.requests == []
    assert not key.strip() or key not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["api.example", "ftp://x", "http://", "http://h:99999", "https://u:p@h", "https://h/?k=1"],
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="ANTHROPIC_BASE_URL"):
        MessagesModel(KEY, url, StillClock())


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "invalid_request_error", ModelRefused),
        (401, "authentication_error", ModelRefused),
        (402, "billing_error", ModelRefused),
        (403, "permission_error", ModelRefused),
        (404, "not_found_error", ModelRefused),
        (408, "timeout_error", ModelBusy),
        (409, "conflict_error", ModelBusy),
        (413, "request_too_large", ModelRefused),
        (422, "odd", ModelRefused),
        (429, "rate_limit_error", ModelBusy),
        (500, "api_error", ModelBusy),
        (503, "odd", ModelBusy),
        (529, "overloaded_error", ModelBusy),
    ],
)
async def test_a_refusal_becomes_an_error_of_ours_after_one_try(
    api: Api, model: MessagesModel, status: int, kind: str, error: type[ModelError]
) -> None:
    api.answer = refuse(status, kind)

    with pytest.raises(error, match=f"answered {status}: {kind}: because"):
        await said(model)
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"retry_after": "17"}, 17.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "250", "retry_after": "17"}, 0.25),
        ({"retry_after": formatdate(1_700_000_060, usegmt=True)}, 60.0),
        ({"retry_after": formatdate(1_600_000_000, usegmt=True)}, 0.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-3"}, None),
        ({"retry_after": "nan"}, None),
        ({}, None),
    ],
)
async def test_the_time_to_wait_is_passed_on(
    api: Api, model: MessagesModel, header: dict[str, str], seconds: float | None
) -> None:
    api.answer = refuse(429, "rate_limit_error", **header)

    with pytest.raises(ModelBusy) as busy:
        await said(model)
    assert busy.value.retry_after == seconds


async def test_a_stale_thinking_block_has_an_error_of_its_own(
    api: Api, model: MessagesModel
) -> None:
    words = "messages.1.content.0: Invalid `signature` in `thinking` block"
    api.answer = refuse(400, "invalid_request_error", words)

    with pytest.raises(StaleThinking, match="signature"):
        await said(model)


@pytest.mark.parametrize("where", ["body", "middle of a long body", "event"])
async def test_an_error_never_tells_the_key(api: Api, model: MessagesModel, where: str) -> None:
    words = f"{'x' * 480 if 'long' in where else ''} the key {KEY} is bad"
    event = {"type": "error", "error": {"type": "authentication_error", "message": words}}
    api.answer = speak([BEGIN, event]) if where == "event" else refuse(401, "odd", words)

    with pytest.raises(ModelRefused) as refused:
        await said(model)
    told = "".join(traceback.format_exception(refused.value))
    assert KEY[:12] not in told
    assert refused.value.__context__ is None


async def test_nothing_that_is_logged_tells_the_key(
    api: Api, model: MessagesModel, caplog: pytest.LogCaptureFixture
) -> None:
    for loud in ("", *QUIET):  # whatever a test before this one has made silent
        caplog.set_level(logging.DEBUG, loud)
    await said(model)
    api.answer = refuse(401)
    with pytest.raises(ModelRefused):
        await said(model)

    assert caplog.records
    assert KEY not in caplog.text


async def test_a_page_in_place_of_an_error_is_told_in_short(api: Api, model: MessagesModel) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(status=502, text="<html>" + "bad gateway " * 1_000)

    api.answer = page
    with pytest.raises(ModelBusy, match="answered 502") as busy:
        await said(model)
    assert len(str(busy.value)) < 600


async def test_a_redirect_is_refused_and_not_followed(api: Api, model: MessagesModel) -> None:
    async def elsewhere(_: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"location": "/elsewhere"})

    api.answer = elsewhere
    with pytest.raises(ModelRefused, match="ANTHROPIC_BASE_URL"):
        await said(model)
    assert len(api.requests) == 1


async def test_an_address_that_speaks_no_stream_is_refused(api: Api, model: MessagesModel) -> None:
    api.answer = speak([], kind="text/html")

    with pytest.raises(ModelRefused, match="text/html instead of a stream"):
        await said(model)


async def test_nobody_at_the_address_is_busy(unused_tcp_port: int) -> None:
    async with model_at(f"http://127.0.0.1:{unused_tcp_port}") as model:
        with pytest.raises(ModelBusy, match=f"127.0.0.1:{unused_tcp_port} cannot be reached"):
            await said(model)


async def test_a_connection_cut_before_an_answer_is_busy(api: Api, model: MessagesModel) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    api.answer = hang_up
    with pytest.raises(ModelBusy, match="cannot be reached"):
        await said(model)


async def test_a_stream_cut_before_its_first_event_is_busy(api: Api, model: MessagesModel) -> None:
    api.answer = speak([], cut)

    with pytest.raises(ModelBusy, match="cut the stream"):
        await said(model)


@pytest.mark.parametrize("kept", range(1, len(WHOLE)))
async def test_a_stream_cut_after_an_event_is_broken(
    api: Api, model: MessagesModel, kept: int
) -> None:
    api.answer = speak(WHOLE[:kept], cut)

    with pytest.raises(BrokenStream, match="cut the stream"):
        await said(model)


async def test_a_stream_that_ends_politely_but_early_is_broken(
    api: Api, model: MessagesModel
) -> None:
    api.answer = speak(WHOLE[:-1])

    with pytest.raises(BrokenStream, match="without message_stop"):
        await said(model)


@pytest.mark.parametrize(("events", "error"), [([], ModelBusy), ([BEGIN, *TEXT], BrokenStream)])
async def test_silence_ends_the_wait(
    api: Api, events: list[Event], error: type[ModelError]
) -> None:
    api.answer = speak(events, stall)
    async with model_at(api.url, silence=0.3) as model:
        with pytest.raises(error, match=r"silent for 0\.3 s"):
            await said(model)


async def test_a_silent_server_is_busy(api: Api) -> None:
    async def nothing(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    api.answer = nothing
    async with model_at(api.url, silence=0.3) as model:
        with pytest.raises(ModelBusy, match="did not answer in time"):
            await said(model)


@pytest.mark.parametrize(
    "garbage", [b"data: {broken\n\n", b"data: [1]\n\n", b"data: \xff\xfe\n\n", b'data: {"a":1}\n\n']
)
async def test_garbage_in_a_stream_breaks_it(
    api: Api, model: MessagesModel, garbage: bytes
) -> None:
    async def rave(_: web.Request, response: web.StreamResponse) -> None:
        await response.write(garbage)

    api.answer = speak([BEGIN], rave)
    with pytest.raises(BrokenStream):
        await said(model)


async def test_a_broken_stream_is_hung_up_at_once(api: Api, model: MessagesModel) -> None:
    async def rave(request: web.Request, response: web.StreamResponse) -> None:
        await response.write(b"data: {broken\n\n")
        await stall(request, response)

    api.answer = speak([BEGIN], rave)
    with pytest.raises(BrokenStream) as broken:
        await said(model)

    async with asyncio.timeout(WAIT):
        await api.left.wait()
    assert broken.value.__traceback__ is not None


async def test_an_error_event_in_a_stream_is_busy(api: Api, model: MessagesModel) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    api.answer = speak([BEGIN, *TEXT, error])

    with pytest.raises(ModelBusy, match="overloaded_error: Overloaded"):
        await said(model)


async def test_pings_and_comments_are_left_out(api: Api, model: MessagesModel) -> None:
    async def rest(_: web.Request, response: web.StreamResponse) -> None:
        await response.write(b": still here\n\n")
        await response.write(wire({"type": "ping"}))
        for event in [*TEXT, *END]:
            await response.write(wire(event))
        await response.write(b"data: [DONE]\n\n")

    api.answer = speak([BEGIN], rest)

    assert len(await said(model)) == 2


async def test_a_tool_call_is_announced(api: Api, model: MessagesModel) -> None:
    start = {"type": "tool_use", "id": "t1", "name": "now", "input": {}}
    delta = {"type": "input_json_delta", "partial_json": '{"zone":"UTC"}'}
    end = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}}
    api.answer = speak(
        [
            BEGIN,
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            end,
            END[-1],
        ]
    )

    chosen, answer = await said(model)

    assert chosen == ToolChosen("now")
    assert isinstance(answer, Answer)
    assert answer.content == [{**start, "input": {"zone": "UTC"}}]


async def test_a_cancelled_consumer_closes_the_stream_at_once(
    api: Api, model: MessagesModel
) -> None:
    first = asyncio.Event()

    async def consume() -> None:
        async with aclosing(model.stream(request_for())) as pieces:
            async for _ in pieces:
                first.set()

    api.answer = speak([BEGIN, *TEXT], stall)
    consumer = asyncio.create_task(consume())
    async with asyncio.timeout(WAIT):
        await first.wait()
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer
        await api.left.wait()


async def test_a_consumer_cancelled_before_the_first_byte_hangs_up(
    api: Api, model: MessagesModel
) -> None:
    async def nothing(_: web.Request) -> web.StreamResponse:
        api.opened.set()
        await asyncio.Event().wait()
        raise AssertionError

    api.answer = nothing
    consumer = asyncio.create_task(said(model))
    async with asyncio.timeout(WAIT):
        await api.opened.wait()
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer
        await api.left.wait()


async def test_a_consumer_that_walks_away_closes_the_stream(api: Api, model: MessagesModel) -> None:
    api.answer = speak([BEGIN, *TEXT], stall)
    async with asyncio.timeout(WAIT):
        async with aclosing(model.stream(request_for())) as pieces:
            await anext(pieces)
        await api.left.wait()


async def test_a_connection_serves_again(api: Api, model: MessagesModel) -> None:
    for _ in range(4):
        await said(model)

    assert len(api.peers) == 1


async def test_a_server_that_does_not_hang_up_keeps_nobody_waiting(
    api: Api, model: MessagesModel
) -> None:
    api.answer = speak(WHOLE, stall)

    assert isinstance((await said(model))[-1], Answer)


async def test_many_streams_run_side_by_side(api: Api, model: MessagesModel) -> None:
    many, all_here, waiting = 150, asyncio.Event(), 0

    async def gather(_: web.Request, response: web.StreamResponse) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == many:
            all_here.set()
        await all_here.wait()
        for event in END:
            await response.write(wire(event))

    api.answer = speak([BEGIN, *TEXT], gather)
    await model.warm()
    async with asyncio.timeout(3 * WAIT), asyncio.TaskGroup() as group:
        for _ in range(many):
            group.create_task(_exhaust(model))

    assert len(api.peers) == many


async def _exhaust(model: MessagesModel) -> None:
    async for _ in model.stream(request_for()):
        pass


async def test_a_retiring_model_warns_nobody_at_run_time(api: Api, model: MessagesModel) -> None:
    assert isinstance((await said(model, request_for("claude-sonnet-4-5")))[-1], Answer)


async def test_a_closed_model_connects_anew(api: Api, model: MessagesModel) -> None:
    await said(model)
    await model.close()

    assert len(await said(model)) == 2


def test_the_prompt_given_is_left_as_it_is() -> None:
    request = request_for(tools=[{"name": "now"}])
    before = json.dumps([list(request.system), list(request.tools), list(request.messages)])

    body(request, parameters(request))

    assert before == json.dumps([list(request.system), list(request.tools), list(request.messages)])


def test_the_client_library_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys; from bot.model.client import MessagesModel; "
        "MessagesModel('k', '', None); print('anthropic' in sys.modules, 'httpx2' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )

    assert told.stdout.split() == ["False", "False"]
