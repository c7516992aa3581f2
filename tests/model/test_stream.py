from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import BrokenStream, ModelBusy, ModelError, ModelRefused, StaleThinking
from bot.messages import (
    INVALID_INPUT,
    Answer,
    Meter,
    Piece,
    TextDelta,
    ThinkingDelta,
    ToolChosen,
    Usage,
)
from bot.model.stream import VALUES_LIMIT, StreamAccumulator

Event = dict[str, Any]

BEGIN: Event = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [],
        "stop_reason": None,
        "usage": {
            "input_tokens": 12,
            "output_tokens": 1,
            "cache_read_input_tokens": 900,
            "cache_creation_input_tokens": 30,
        },
    },
}
STOP: Event = {"type": "message_stop"}
PING: Event = {"type": "ping"}


def end(reason: str | None = "end_turn", output: int = 40) -> Event:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None},
        "usage": {"output_tokens": output},
    }


def block(index: int, start: Event, *deltas: Event) -> list[Event]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *words: str) -> list[Event]:
    start = {"type": "text", "text": "", "citations": None}
    return block(index, start, *({"type": "text_delta", "text": word} for word in words))


def call(index: int, *json_parts: str, name: str = "clock") -> list[Event]:
    start = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
    deltas = ({"type": "input_json_delta", "partial_json": part} for part in json_parts)
    return block(index, start, *deltas)


def gather(*events: Event) -> tuple[list[Piece], Answer]:
    accumulator = StreamAccumulator(Meter())
    pieces = [piece for event in events for piece in accumulator.add(event)]
    return pieces, accumulator.answer()


def test_a_text_comes_in_pieces_and_then_whole() -> None:
    pieces, answer = gather(BEGIN, PING, *text(0, "Good ", "", "day"), end(), STOP)

    assert pieces == [TextDelta("Good "), TextDelta("day")]
    assert answer == Answer(
        content=[{"type": "text", "text": "Good day"}],
        stop="end_turn",
        usage=Usage(input=12, output=40, cache_read=900, cache_write=30),
        model="claude-sonnet-5-5",
    )


def test_thinking_keeps_its_signature_and_redacted_thinking_its_data() -> None:
    thinking = block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Let me "},
        {"type": "thinking_delta", "thinking": "see"},
        {"type": "signature_delta", "signature": "c2ln"},
    )
    redacted = block(1, {"type": "redacted_thinking", "data": "b64"})

    pieces, answer = gather(BEGIN, *thinking, *redacted, *text(2, "Yes"), end(), STOP)

    assert pieces == [ThinkingDelta("Let me "), ThinkingDelta("see"), TextDelta("Yes")]
    assert answer.content == [
        {"type": "thinking", "thinking": "Let me see", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "b64"},
        {"type": "text", "text": "Yes"},
    ]


def test_tool_calls_are_announced_and_their_input_is_parsed() -> None:
    calls = [*call(1, "", '{"zone": ', '"Europe/', 'Rome"}'), *call(2, name="now")]

    pieces, answer = gather(BEGIN, *text(0, "Wait"), *calls, end("tool_use"), STOP)

    assert pieces == [TextDelta("Wait"), ToolChosen("clock"), ToolChosen("now")]
    assert answer.stop == "tool_use"
    assert answer.content[1:] == [
        {"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {"zone": "Europe/Rome"}},
        {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
    ]


def test_blocks_may_grow_side_by_side() -> None:
    first, second = text(0, "a", "b"), text(1, "c", "d")
    mixed = [event for pair in zip(first, second, strict=True) for event in pair]

    _, answer = gather(BEGIN, *mixed, end(), STOP)

    assert [part["text"] for part in answer.content] == ["ab", "cd"]


def test_a_tool_call_cut_by_max_tokens_has_no_input_and_says_so_by_its_stop() -> None:
    _, answer = gather(BEGIN, *call(0, '{"zone": "Eur'), end("max_tokens"), STOP)

    assert answer.stop == "max_tokens"
    assert answer.content == [
        {"type": "tool_use", "id": "toolu_0", "name": "clock", "input": {}},
    ]


@pytest.mark.parametrize("written", ['{"zone": "Eur', "[1]", "null", "3", "{} {}"])
@pytest.mark.parametrize("reason", ["tool_use", "end_turn"])
def test_a_tool_call_whose_input_is_no_object_is_noted_as_such(written: str, reason: str) -> None:
    _, answer = gather(BEGIN, *call(0, written), end(reason), STOP)

    assert answer.stop == "tool_use"
    assert answer.content[0]["input"] == {}
    assert "not a JSON object" in answer.content[0][INVALID_INPUT]


def test_an_index_that_begins_twice_is_a_broken_stream_until_it_has_ended() -> None:
    first, second = text(0, "a"), call(0, "{}")
    with pytest.raises(BrokenStream, match="begins twice"):
        gather(BEGIN, *first[:-1], *second, end(), STOP)

    _, answer = gather(BEGIN, *first, *second, end(), STOP)
    assert [part["type"] for part in answer.content] == ["text", "tool_use"]


def test_an_unknown_block_is_kept_whole() -> None:
    start = {"type": "hologram", "layers": [1, 2], "note": None}
    delta = {"type": "hologram_delta", "angle": 90}

    _, answer = gather(BEGIN, *block(0, start, delta), end(), STOP)

    assert answer.content == [{"type": "hologram", "layers": [1, 2], "note": None, "angle": 90}]


def test_citations_are_collected() -> None:
    deltas = ({"type": "citations_delta", "citation": {"cited_text": str(n)}} for n in range(2))
    start = {"type": "text", "text": "", "citations": None}

    _, answer = gather(
        BEGIN, *block(0, start, {"type": "text_delta", "text": "so"}, *deltas), end(), STOP
    )

    assert answer.content == [
        {"type": "text", "text": "so", "citations": [{"cited_text": "0"}, {"cited_text": "1"}]}
    ]


def test_a_blank_text_is_not_sent_back() -> None:
    _, answer = gather(BEGIN, *text(0, "\n\n"), *call(1, "{}"), end("tool_use"), STOP)

    assert [part["type"] for part in answer.content] == ["tool_use"]


@pytest.mark.parametrize(
    "reason",
    ["end_turn", "stop_sequence", "refusal", "pause_turn", "model_context_window_exceeded", "new"],
)
def test_every_stop_reason_is_passed_on(reason: str) -> None:
    assert gather(BEGIN, *text(0, "x"), end(reason), STOP)[1].stop == reason


def test_later_usage_replaces_earlier_usage() -> None:
    late = end()
    late["usage"] = {"output_tokens": 7, "input_tokens": 15, "cache_read_input_tokens": None}

    _, answer = gather(BEGIN, end(output=3), late, STOP)

    assert answer.usage == Usage(input=15, output=7, cache_read=900, cache_write=30)


def test_a_provider_that_counts_nothing_is_taken_as_it_is() -> None:
    begin = {"type": "message_start", "message": {"role": "assistant"}}
    quiet_end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}

    _, answer = gather(begin, *text(0, "x"), quiet_end, STOP)

    assert answer.usage == Usage()
    assert answer.model == ""


WHOLE = [BEGIN, *text(0, "Good ", "day"), *call(1, '{"a":', "1}"), end("tool_use"), STOP]


@pytest.mark.parametrize("kept", range(len(WHOLE) - 1))
def test_a_stream_cut_before_its_stop_reason_is_broken(kept: int) -> None:
    with pytest.raises(BrokenStream, match="without message_stop"):
        gather(*WHOLE[:kept])


def test_a_stream_without_a_stop_reason_is_broken() -> None:
    with pytest.raises(BrokenStream, match="without a stop reason"):
        gather(BEGIN, *text(0, "x"), STOP)
    with pytest.raises(BrokenStream, match="without a stop reason"):
        gather(BEGIN, *text(0, "x"), end(None), STOP)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_start", "index": 0, "content_block": {"text": "no type"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
        {"type": "content_block_start", "index": 0, "content_block": None},
        {"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "index": 9, "delta": {"type": "new_delta", "x": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}},
        {"type": "message_start", "message": {"usage": {"input_tokens": "many"}}},
        {"type": "message_start", "message": {"usage": 5}},
        {"type": "message_start"},
        {"type": "message_delta", "delta": {"stop_reason": 5}},
        {"type": "message_delta"},
    ],
)
def test_a_malformed_event_breaks_the_stream(event: Event) -> None:
    accumulator = StreamAccumulator(Meter())
    for opening in (BEGIN, *text(0, "x")):
        accumulator.add(opening)

    with pytest.raises(BrokenStream, match="malformed"):
        accumulator.add(event)


NUMBERS = f'{{"a":[{",".join("0" * VALUES_LIMIT)}]}}'
TEXTS = '{"a":"' + ",[{" * VALUES_LIMIT + '"}'


@pytest.mark.parametrize(
    ("written", "told"), [(NUMBERS, "more than 20000 values"), (TEXTS, None)], ids=["many", "text"]
)
def test_a_call_with_very_many_values_is_given_back_and_a_long_text_is_not(
    written: str, told: str | None
) -> None:
    _, answer = gather(BEGIN, *call(0, written), end("tool_use"), STOP)

    assert (told or "") in str(answer.content[0].get(INVALID_INPUT))
    assert bool(answer.content[0]["input"]) is (told is None)


def test_the_values_of_all_calls_of_an_answer_count_together() -> None:
    half = f'{{"a":[{",".join("0" * (VALUES_LIMIT // 2 + 9))}]}}'
    _, answer = gather(BEGIN, *call(0, half), *call(1, half), end("tool_use"), STOP)

    assert [INVALID_INPUT in block for block in answer.content] == [False, True]


def refusal(kind: str, message: str = "because") -> Event:
    return {"type": "error", "error": {"type": kind, "message": message}}


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded_error", ModelBusy),
        ("api_error", ModelBusy),
        ("rate_limit_error", ModelBusy),
        ("timeout_error", ModelBusy),
        ("unheard_of_error", ModelBusy),
        ("invalid_request_error", ModelRefused),
        ("authentication_error", ModelRefused),
    ],
)
def test_an_error_event_is_raised_as_ours(kind: str, error: type[ModelError]) -> None:
    with pytest.raises(error, match=f"{kind}: because"):
        gather(BEGIN, *text(0, "x"), refusal(kind))


def test_an_error_event_about_a_bound_thinking_block_says_so() -> None:
    with pytest.raises(StaleThinking):
        gather(refusal("invalid_request_error", "Invalid `signature` in `thinking` block"))


@given(
    st.lists(
        st.sampled_from([*WHOLE, PING, end(None), {}, {"type": "content_block_stop"}]), max_size=25
    )
)
def test_events_in_any_order_end_in_an_answer_or_in_an_error_of_ours(events: list[Event]) -> None:
    try:
        _, answer = gather(*events)
    except ModelError:
        return
    assert answer.stop
    assert answer.stop in [event.get("delta", {}).get("stop_reason") for event in events]


@given(
    st.lists(st.text(min_size=1), max_size=20),
    st.dictionaries(st.text(), st.integers(-(2**63), 2**64 - 1)),
)
def test_what_was_said_is_what_is_kept(words: list[str], wanted: dict[str, int]) -> None:
    written = json.dumps(wanted)
    halves = (written[: len(written) // 2], written[len(written) // 2 :])

    pieces, answer = gather(BEGIN, *text(0, "!", *words), *call(1, *halves), end("tool_use"), STOP)

    spoken = "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))
    assert spoken == answer.content[0]["text"] == "!" + "".join(words)
    assert answer.content[1]["input"] == wanted


def test_a_pair_that_is_parted_by_two_pieces_is_one_character_again() -> None:
    words = ("smile \ud83d", "\ude00 and half \ud83d", ".")
    _, answer = gather(BEGIN, *text(0, *words), end(), STOP)
    assert answer.content[0]["text"] == "smile 😀 and half \ufffd."


HALF = "half \ud83d."


@pytest.mark.parametrize(
    "events",
    [
        [BEGIN, *text(0, HALF), end()],
        [BEGIN, *block(0, {"type": "thinking", "thinking": HALF, "signature": "s"}), end()],
        [BEGIN, *block(0, {"type": "text", "text": "so", "citations": [{"t": HALF}]}), end()],
        [BEGIN, *block(0, {"type": "server_thing", HALF: 1}), end()],
        [BEGIN, *call(0, "{}", name=HALF), end()],
        [BEGIN | {"message": {"model": HALF, "id": HALF}}, *text(0, "half \ufffd."), end()],
        [BEGIN, *text(0, "half \ufffd."), end(HALF)],
    ],
    ids=["text", "thinking", "citation", "name of a field", "name", "model", "stop"],
)
def test_half_a_surrogate_pair_costs_a_character_wherever_it_is(events: list[Event]) -> None:
    _, answer = gather(*events, STOP)

    assert "half \ufffd." in json.dumps([answer.content, answer.model], ensure_ascii=False)
    json.dumps([answer.content, answer.model, answer.stop], ensure_ascii=False).encode()


def test_an_answer_that_no_journal_can_hold_is_a_broken_stream() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = {"a": deep}
    said = block(0, {"type": "server_thing", "data": deep})
    with pytest.raises(BrokenStream, match="cannot be stored"):
        gather(BEGIN, *said, end(), STOP)


@pytest.mark.parametrize(
    ("written", "kept", "why"),
    [
        (f'{{"n": {10**30}}}', {"n": str(10**30)}, "a whole number of more than 64 bits"),
        (f'{{"a": [{{"n": -{2**64}}}]}}', {"a": [{"n": str(-(2**64))}]}, "more than 64 bits"),
        ('{"n": 1e400}', {}, "a number that is too large"),
        ('{"n": NaN}', {}, "NaN, which is not a number"),
        (f'{{"n": {"9" * 5_000}}}', {}, "a number that is too large"),
        ('{"q": "cut \\ud83d"}', {"q": "cut \ufffd"}, "half of a surrogate pair"),
        ('{"a":' * 300 + "1" + "}" * 300, {}, "it is nested too deep"),
        (f'{{"a": "{"x" * 600_000}"}}', {}, "more than 500000 characters"),
    ],
)
def test_an_input_that_cannot_be_passed_on_is_noted_as_such(
    written: str, kept: Any, why: str
) -> None:
    parts = [written[at : at + 70_000] for at in range(0, len(written), 70_000)]
    _, answer = gather(BEGIN, *call(0, *parts), end("tool_use"), STOP)
    assert answer.content[0]["input"] == kept
    assert why in answer.content[0]["unfit"]


def test_an_input_that_came_whole_is_judged_as_well() -> None:
    start = {"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {"n": 10**25}}
    _, answer = gather(BEGIN, *block(0, start), end("tool_use"), STOP)
    assert "more than 64 bits" in answer.content[0]["unfit"]


def test_pieces_of_a_text_never_hold_half_of_a_pair() -> None:
    pieces, _ = gather(BEGIN, *text(0, "a\ud83d", "\ude00b\ud83d", "c"), end(), STOP)
    assert pieces == [TextDelta("a"), TextDelta("😀b"), TextDelta("\ufffdc")]


def test_an_answer_without_an_end_is_a_broken_stream() -> None:
    words = ("x" * 1_000_000 for _ in range(5))
    with pytest.raises(BrokenStream, match="more than 4000000 characters"):
        gather(BEGIN, *text(0, *words), end(), STOP)
