"""Answers as the SDK reads them: whole, in events, cut off, stalled, ended in every way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import pytest

from simulators.messages.demo_script import STORY
from simulators.messages.stream import pieces
from simulators.messages.turns import (
    Call,
    Cut,
    Drop,
    EndEarly,
    ErrorEvent,
    HttpError,
    Stall,
    Text,
    Think,
    Turn,
    refuse,
    turn,
)
from tests.simulators.messages.conftest import Api

if TYPE_CHECKING:
    from tests.simulators.messages.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "One two three, four five six, seven eight nine."
LOOK = {"name": "look", "input_schema": {"type": "object"}}


async def read(api: Api, body: dict[str, Any], seen: list[Any] | None = None) -> list[Any]:
    """All events of an answer; `seen` has them even if the stream breaks."""
    found = [] if seen is None else seen
    async for event in await api.sdk.messages.create(**body, stream=True):
        found.append(event)
    return found


def blocks(message: Any) -> list[dict[str, Any]]:
    return [block.to_dict() for block in message.content]


async def test_a_stream_has_the_events_of_the_api_in_their_order(api: Api, ask: Any) -> None:
    api.answers(turn(Think("Hm, well."), LONG, Call("look", {"where": "under the table"})))
    body = ask(tools=[LOOK], thinking={"type": "adaptive", "display": "summarized"})
    events = await read(api, body)
    kinds = [getattr(getattr(event, "delta", event), "type", event.type) for event in events]
    shown = [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]
    assert shown == [
        "message_start",
        "content_block_start",
        "thinking_delta",
        "signature_delta",
        "content_block_stop",
        "content_block_start",
        "text_delta",
        "content_block_stop",
        "content_block_start",
        "input_json_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert kinds.count("text_delta") > 2
    assert kinds.count("input_json_delta") > 2
    start, delta = events[0].message, events[-2]
    assert (start.content, start.stop_reason, start.usage.output_tokens) == ([], None, 1)
    assert start.usage.input_tokens == delta.usage.input_tokens > 0
    assert delta.delta.stop_reason == "tool_use"
    assert delta.usage.output_tokens > delta.usage.output_tokens_details.thinking_tokens > 0


async def test_the_wire_has_a_ping_after_the_first_block_start(api: Api, ask: Any) -> None:
    async with api.http.post(
        f"{api.url}/v1/messages",
        json=ask(stream=True),
        headers={"x-api-key": "k", "anthropic-version": "2026-10-21"},
    ) as response:
        raw = await response.text()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["request-id"].startswith("req_")
    names = [line[7:] for line in raw.splitlines() if line.startswith("event: ")]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert names[-2:] == ["message_delta", "message_stop"]


async def test_streamed_and_whole_answers_say_the_same(api: Api, ask: Any) -> None:
    calls = (Call("look", {"at": "a"}), Call("look", {"at": "b", "n": [1, {"x": "é"}]}))
    api.answers(turn("Let me see.", *calls), again=True)
    async with api.sdk.messages.stream(**ask(tools=[LOOK])) as stream:
        streamed = await stream.get_final_message()
    whole = await api.sdk.messages.create(**ask(tools=[LOOK]))
    for message in (streamed, whole):
        assert [block["type"] for block in blocks(message)] == ["text", "tool_use", "tool_use"]
        assert blocks(message)[2]["input"] == {"at": "b", "n": [1, {"x": "é"}]}
        assert message.stop_reason == "tool_use"
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert blocks(streamed)[1]["id"] != blocks(whole)[1]["id"]


@pytest.mark.parametrize("text", [LONG, STORY, "", " ", "x" * 5000, "\n\n# Hi\n\n  é 漢字\n"])
async def test_pieces_put_together_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


ENDINGS = {
    "end_turn": turn("Fine."),
    "pause_turn": turn("One moment.", stop="pause_turn"),
    "refusal": refuse("I", category="cyber"),
    "model_context_window_exceeded": turn("No r", stop="model_context_window_exceeded"),
    "max_tokens": turn("And th", stop="max_tokens"),
    "stop_sequence": turn("One END two"),
}


@pytest.mark.parametrize("reason", ENDINGS)
@pytest.mark.parametrize("streamed", [True, False])
async def test_every_stop_reason_reaches_the_client(
    api: Api, ask: Any, reason: str, streamed: bool
) -> None:
    api.answers(ENDINGS[reason])
    body = ask(stop_sequences=["END"])
    if streamed:
        async with api.sdk.messages.stream(**body) as stream:
            message = await stream.get_final_message()
    else:
        message = await api.sdk.messages.create(**body)
    assert message.stop_reason == reason
    assert message.stop_sequence == ("END" if reason == "stop_sequence" else None)
    if reason == "refusal":
        assert message.stop_details is not None
        assert message.stop_details.category == "cyber"
    if reason == "stop_sequence":
        assert blocks(message)[0]["text"] == "One "


async def test_the_output_limit_cuts_a_text(api: Api, ask: Any) -> None:
    api.answers("word " * 100)
    message = await api.sdk.messages.create(**ask(max_tokens=5))
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 5)
    assert blocks(message) == [{"type": "text", "text": "word word word word "}]


@pytest.mark.parametrize("limit", [2000, 30])
async def test_the_output_limit_inside_a_call_leaves_an_empty_input(
    api: Api, ask: Any, limit: int
) -> None:
    api.answers(turn(Call("look", {"where": "behind the " * 20}, cut=limit == 2000)), again=True)
    events = await read(api, ask(tools=[LOOK], max_tokens=limit))
    partial = "".join(getattr(getattr(e, "delta", None), "partial_json", "") for e in events)
    assert partial.startswith('{"where"')
    assert not partial.endswith("}")
    async with api.sdk.messages.stream(**ask(tools=[LOOK], max_tokens=limit)) as stream:
        message = await stream.get_final_message()
    whole = await api.sdk.messages.create(**ask(tools=[LOOK], max_tokens=limit))
    for one in (message, whole):
        assert one.stop_reason == "max_tokens"
        assert blocks(one)[0]["input"] == {}


async def test_a_paused_turn_is_continued_by_sending_it_back(api: Api, ask: Any) -> None:
    api.answers(turn("One moment.", stop="pause_turn"), "Here it is.")
    first = await api.sdk.messages.create(**ask())
    content = blocks(first)
    said = {"role": "assistant", "content": content}
    second = await api.sdk.messages.create(**ask(messages=[*ask()["messages"], said]))
    assert second.stop_reason == "end_turn"
    content[0]["text"] = "Something else."
    with pytest.raises(anthropic.BadRequestError, match="prefill"):
        await api.sdk.messages.create(**ask(messages=[*ask()["messages"], said]))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, anthropic.AuthenticationError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ],
)
async def test_http_errors_are_the_sdks_own_exceptions(
    api: Api, ask: Any, status: int, kind: type[anthropic.APIStatusError]
) -> None:
    api.answers(turn(fault=HttpError(status, retry_after=7)))
    with pytest.raises(kind) as raised:
        await read(api, ask())
    assert raised.value.status_code == status
    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.request_id
    assert raised.value.request_id.startswith("req_")
    assert api.sim.records.all()[0].status == status


async def test_a_dropped_connection_sends_no_header(api: Api, ask: Any) -> None:
    api.answers(turn("Never", fault=Drop()))
    with pytest.raises(anthropic.APIConnectionError):
        await read(api, ask())
    assert await api.sim.records.all()[0].ended() == "dropped"
    api.answers("Fine.")
    assert (await read(api, ask()))[-1].type == "message_stop"


@pytest.mark.parametrize("fault", [Cut(events=0), Cut(events=4), Cut(bytes=10), Cut(bytes=700)])
async def test_a_cut_stream_is_a_protocol_error(api: Api, ask: Any, fault: Cut) -> None:
    api.answers(turn(LONG, fault=fault))
    seen: list[Any] = []
    with pytest.raises(httpx2.RemoteProtocolError):
        await read(api, ask(), seen)
    assert "message_stop" not in [event.type for event in seen]
    assert fault.events is None or len(seen) == {0: 0, 4: 3}[fault.events]
    assert await api.sim.records.all()[0].ended() == "dropped"


async def test_a_cut_answer_without_a_stream_fails_too(api: Api, ask: Any) -> None:
    api.answers(turn(LONG, fault=Cut(bytes=20)))
    with pytest.raises((anthropic.APIConnectionError, httpx2.RemoteProtocolError)):
        await api.sdk.messages.create(**ask())


@pytest.mark.parametrize("fault", [EndEarly(), EndEarly(events=3)])
async def test_a_stream_that_ends_early_has_no_stop_reason(
    api: Api, ask: Any, fault: EndEarly
) -> None:
    api.answers(turn(LONG, fault=fault))
    kinds = [event.type for event in await read(api, ask())]
    assert "message_delta" not in kinds
    assert "message_stop" not in kinds


async def test_an_error_event_breaks_the_stream_with_status_200(api: Api, ask: Any) -> None:
    api.answers(turn(LONG, fault=ErrorEvent(events=4)))
    with pytest.raises(anthropic.APIStatusError) as raised:
        await read(api, ask())
    assert raised.value.status_code == 200
    assert "Overloaded" in str(raised.value)


async def test_an_error_event_without_a_stream_is_an_http_error(api: Api, ask: Any) -> None:
    api.answers(turn(LONG, fault=ErrorEvent()))
    with pytest.raises(anthropic.APIStatusError) as raised:
        await api.sdk.messages.create(**ask())
    assert raised.value.status_code == 529


async def test_a_stalled_stream_goes_on_when_its_gate_opens(api: Api, ask: Any) -> None:
    api.answers(turn(LONG, fault=Stall(events=4, gate="pause")))
    stream = await api.sdk.messages.create(**ask(), stream=True)
    seen = [await anext(stream) for _ in range(3)]
    await api.sim.gates.reached("pause")
    assert [event.type for event in seen][-1] == "content_block_delta"
    api.sim.gates.open("pause")
    assert [event.type async for event in stream][-1] == "message_stop"


async def test_a_stall_that_nobody_ends_is_a_read_timeout(api: Api, ask: Any) -> None:
    api.answers(turn(LONG, fault=Stall()))
    with pytest.raises(httpx2.ReadTimeout):
        await read(api, ask(timeout=httpx2.Timeout(5, read=0.2)))
    assert await api.sim.records.all()[0].ended() == "left"


async def test_a_gate_holds_the_answer_before_its_first_byte(api: Api, ask: Any) -> None:
    gate = asyncio.Event()
    api.answers(turn("Now.", gate=gate))
    waiting = asyncio.create_task(api.sdk.messages.create(**ask()))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.1)
    gate.set()
    assert (await asyncio.wait_for(waiting, 30)).stop_reason == "end_turn"


async def test_a_client_that_leaves_at_a_gate_is_noticed(api: Api, ask: Any) -> None:
    api.answers(turn("Never.", gate="door"))
    waiting = asyncio.create_task(read(api, ask()))
    await api.sim.gates.reached("door")
    waiting.cancel()
    assert await api.sim.records.all()[0].ended() == "left"
    assert api.sim.gates.waiting() == {}


async def test_a_pace_spreads_the_answer_over_time(api: Api, ask: Any) -> None:
    api.answers(Turn((Text("word " * 40),), pace=500.0))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    first = None
    async for event in await api.sdk.messages.create(**ask(), stream=True):
        if event.type == "content_block_delta":
            first = first or loop.time() - begun
    assert first is not None
    assert first < 0.09 < loop.time() - begun < 2
