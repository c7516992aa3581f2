"""What a request has cost, from what was heard of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.messages import Meter, ModelRequest, Usage
from bot.store.journal import Record
from bot.usage.budgets import SpendLimit, lowest_limits, spend_limit
from bot.usage.pricing import (
    Charge,
    KnownPrompt,
    Priced,
    estimate_interrupted,
    known_prompt,
    worst_case_cost,
)


def asked(meter: Meter, text: str = "hello " * 50) -> ModelRequest:
    return ModelRequest("m", 50, [], [], [{"role": "user", "content": text}], meter=meter)


def free(_model: str, _usage: Usage) -> Priced:
    return Priced(0, "own")


def test_a_request_that_never_left_or_was_refused_has_cost_nothing() -> None:
    assert estimate_interrupted(asked(Meter())) is None


def test_a_request_without_an_answer_is_a_guess_by_its_size() -> None:
    charge = estimate_interrupted(asked(Meter(sent=True)))
    assert charge is not None
    assert (charge.count, charge.message) == ("guessed", "")
    assert 75 <= charge.usage.input <= 150


def test_what_went_in_is_as_told_and_what_came_out_is_reckoned_from_what_had_come() -> None:
    meter = Meter(True, True, message="msg_1", model="m-1", usage=Usage(9, 1, 8, 7), streamed=300)
    charge = estimate_interrupted(asked(meter))
    assert charge == Charge(Usage(9, 100, 8, 7), "estimated", "m-1", "m", "msg_1")


def test_a_stream_that_broke_after_its_count_is_told_whole() -> None:
    meter = Meter(True, True, True, "msg_1", "m-1", Usage(9, 33), streamed=3000)
    charge = estimate_interrupted(asked(meter))
    assert charge is not None
    assert (charge.count, charge.tokens) == ("told", 42)


def test_an_earlier_attempt_asked_as_much_and_at_the_dearest() -> None:
    charge = Charge(Usage(9, 33, 100, 10), "told", "m-1", "m", "msg_1")
    before = charge.of_earlier_attempt()
    assert before.tokens == charge.tokens
    assert before == Charge(Usage(9, 33, 0, 110), "guessed", "m-1", "m", "")


def test_an_image_is_no_million_tokens() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "A" * 4_000_000}}
    result = {"type": "tool_result", "tool_use_id": "1", "content": [image]}
    request = asked(Meter())
    cost, _ = worst_case_cost(
        replace(request, messages=[{"role": "user", "content": [result]}]), free
    )
    assert 5_000 < cost.tokens < 6_000


HOSTILE = "\U00012000" * 1000  # cuneiform: a tokenizer may need a token for each byte


def person(text: str) -> Record:
    return Record("person", {"content": [{"type": "text", "text": text}]})


def answer(*usage: int, head: str = "h", **more: object) -> Record:
    said = [{"type": "text", "text": "yes"}]
    return Record("model", {"usage": usage, "head": head, "content": said, **more})


def most(records: list[Record], known: KnownPrompt, tools: str = "") -> int:
    """The most tokens that go in, for these messages."""
    messages = [{"role": "user", "content": record.body["content"]} for record in records]
    request = ModelRequest("m", 0, [], [{"name": tools}] if tools else [], messages)
    return worst_case_cost(request, free, known)[0].tokens


def test_no_text_of_people_has_more_tokens_than_were_set_aside_for_it() -> None:
    assert most([person(HOSTILE)], KnownPrompt()) >= 4000


def test_after_an_answer_only_what_is_new_is_reckoned() -> None:
    records = [person("word " * 10_000), answer(12_000, 30, 500, 40), person("and now?")]
    known = known_prompt(reversed(records), "h")
    assert (known.tokens, known.same) == (12_570, True)
    assert 12_570 < most(records, known, "x" * 90_000) < 12_800
    records.append(person(HOSTILE))
    assert most(records, known_prompt(reversed(records), "h")) >= 12_570 + 4000


def test_under_another_prompt_or_model_what_was_counted_is_the_least_of_the_history() -> None:
    records = [person(HOSTILE), answer(4_000, 30, 0, 0), person("and now?")]
    known = known_prompt(reversed(records), "another")
    assert (known.tokens, known.same) == (4_030, False)
    assert most(records, known, "x" * 2_000) >= 4_030 + 1_000


def test_an_answer_of_which_little_was_told_tells_nothing() -> None:
    cut, blind = answer(0, 9, 0, 0, partial=True), answer(0, 0, 0, 0)
    assert known_prompt([cut, blind, person("hi")], "h") == KnownPrompt()
    assert known_prompt([cut, person("hi"), answer(7, 3, 0, 0)], "h").tokens == 10
    assert known_prompt([cut, person("hi"), answer(7, 3, 0, 0)], "h").added > 40


def test_the_lower_of_two_limits_counts_for_tokens_and_dollars_alike() -> None:
    host = {"person": SpendLimit(100, 5), "host": SpendLimit(9)}
    agent = {"person": SpendLimit(200, 3), "agent": SpendLimit(None, 7)}
    assert lowest_limits(host, agent) == {
        "person": SpendLimit(100, 3),
        "agent": SpendLimit(None, 7),
        "host": SpendLimit(9),
    }


@pytest.mark.parametrize(("dollars", "micros"), [(0.0000001, 1), (1.5, 1_500_000)])
def test_a_budget_of_less_than_a_millionth_is_not_none_at_all(dollars: float, micros: int) -> None:
    assert spend_limit(None, dollars).micros == micros
