"""What is left out of a request that was refused: always something, never this turn's message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import PromptTooLong, RequestRefused
from bot.store.journal import Record
from bot.turn.narrowing import MOST, narrowed
from bot.turn.transcript import ALL, Transcript, View

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
RESULTS = ["short", "long " * 500, [IMAGE], [{"type": "text", "text": "x" * 900}, IMAGE]]

places = st.none() | st.tuples(st.integers(0, 12), st.integers(0, 3))
errors = st.one_of(
    st.builds(RequestRefused, st.just("no"), places, about_images=st.booleans()),
    st.builds(PromptTooLong, st.just("too long"), places),
)
turns = st.lists(st.lists(st.integers(0, len(RESULTS) - 1), max_size=4), min_size=1, max_size=6)


def conversation(talk: list[list[int]]) -> Transcript:
    """Turns with one call for each number, which says what its result is; the last one is open."""
    transcript = Transcript()
    for at, results in enumerate(talk):
        head = {"turn": f"{at}-0", "content": [{"type": "text", "text": f"question {at}"}]}
        records = [Record("person", head, f"{at}")]
        for number, chosen in enumerate(results):
            call, body = f"call_{at}_{number}", {"turn": f"{at}-0", "prefix": "p"}
            use = {"type": "tool_use", "id": call, "name": "look", "input": {}}
            records.append(Record("model", body | {"content": [use], "stop": "tool_use"}))
            found = {"call": call, "content": RESULTS[chosen], "error": False}
            records.append(Record("result", body | found))
        if at + 1 < len(talk):
            end = {"turn": f"{at}-0", "outcome": "done", "text": ""}
            records.append(Record("end", end))
        transcript.load(records)
    return transcript


@given(turns, st.lists(errors, min_size=MOST + 1, max_size=MOST + 1))
def test_each_refusal_takes_something_away_and_soon_nothing_is_left_to_take(
    talk: list[list[int]], refusals: list[RequestRefused]
) -> None:
    transcript, view = conversation(talk), ALL
    for times, error in enumerate(refusals):
        sent = transcript.messages("p", view)
        next_view = narrowed(error, transcript, "p", view, times)
        if next_view is None:
            return
        found = transcript.messages("p", next_view)
        assert found != sent
        assert f"question {len(talk) - 1}" in str(found)
        calls = [b["id"] for m in found for b in m["content"] if b["type"] == "tool_use"]
        told = [b["tool_use_id"] for m in found for b in m["content"] if b["type"] == "tool_result"]
        assert calls == told
        view = next_view
    pytest.fail("a refusal without end")


def kept(view: View | None, transcript: Transcript) -> str:
    assert view is not None
    return str(transcript.messages("p", view))


def test_the_turn_that_is_named_goes_alone() -> None:
    transcript = conversation([[], [], []])
    refused = RequestRefused("no", (0, 1))  # all messages are one: nobody answered
    found = kept(narrowed(refused, transcript, "p", ALL, 0), transcript)
    assert ["question 0" in found, "question 1" in found, "question 2" in found] == [1, 0, 1]


def test_half_of_what_was_said_goes_where_it_is_too_long_however_uneven_it_is() -> None:
    transcript = conversation([[1, 1], [], [0], [0], []])
    found = kept(narrowed(PromptTooLong("no"), transcript, "p", ALL, 0), transcript)
    assert ["question 0" in found, "question 1" in found] == [False, True]


def test_pictures_go_before_the_results_of_a_turn_that_is_too_long_alone() -> None:
    transcript, too_long = conversation([[3, 1]]), PromptTooLong("no")
    first = narrowed(too_long, transcript, "p", ALL, 0)
    found = kept(first, transcript)
    assert "image" not in found
    assert "xxx" in found
    assert first is not None
    assert "long long" not in kept(narrowed(too_long, transcript, "p", first, 1), transcript)


@pytest.mark.parametrize("place", [(99, 0), (0, 99), (5, 0)])
def test_a_place_that_is_none_ends_in_this_turn_alone(place: tuple[int, int]) -> None:
    transcript = conversation([[0], [0], [0]])
    view = narrowed(RequestRefused("no", place), transcript, "p", ALL, 3)
    assert view is None or "question 0" not in kept(view, transcript)


def test_what_a_turn_that_is_set_aside_called_is_still_told() -> None:
    transcript = conversation([[0, 0], []])
    view: Any = View(omitted=frozenset({"turn:0-0"}))
    assert "these tools were called for it: look." in kept(view, transcript)
