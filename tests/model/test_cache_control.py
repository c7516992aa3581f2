from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bot.messages import Json
from bot.model.parameters import BLOCKS_BETWEEN_MARKS, Prompt, with_cache_marks, without_cache_marks

MARK = {"type": "ephemeral"}

Block = dict[str, Any]

texts = st.builds(
    lambda text: {"type": "text", "text": text}, st.sampled_from(["", " \n", "hello"])
)
thoughts = st.sampled_from(
    [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
    ]
)
calls = st.just({"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}})
results = st.just({"type": "tool_result", "tool_use_id": "t", "content": "ok"})
already = st.just({"type": "text", "text": "marked before", "cache_control": {"type": "ephemeral"}})
blocks = st.one_of(texts, thoughts, calls, results, already)
contents = st.one_of(st.sampled_from(["", "hi"]), st.lists(blocks, max_size=12))
messages = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, st.just("user"), contents),
    max_size=12,
)
tools = st.lists(
    st.builds(lambda n: {"name": f"t{n}", "input_schema": {"type": "object"}}, st.integers(0, 9)),
    max_size=4,
)
prompts = st.tuples(st.lists(texts, max_size=3), tools, messages)


def every_block(prompt: Prompt) -> list[Json]:
    said = [
        block
        for message in prompt.messages
        if not isinstance(message["content"], str)
        for block in message["content"]
    ]
    return [*prompt.tools, *prompt.system, *said]


def marks(prompt: Prompt) -> list[Json]:
    return [block for block in every_block(prompt) if "cache_control" in block]


def bare(system: Sequence[Json], tools: Sequence[Json], messages: Sequence[Json]) -> Prompt:
    prompt = without_cache_marks(system, tools, messages)
    return Prompt(prompt.system, prompt.tools, [in_blocks(message) for message in prompt.messages])


def in_blocks(message: Json) -> Json:
    if isinstance(message["content"], str):
        return {**message, "content": [{"type": "text", "text": message["content"]}]}
    return message


def talk(*contents: Any) -> list[Block]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": content} for n, content in enumerate(contents)]


@given(prompts)
def test_there_are_never_more_than_four_marks(
    parts: tuple[list[Block], list[Block], list[Block]],
) -> None:
    prompt = with_cache_marks(*parts)

    assert len(marks(prompt)) <= 4
    assert sum("cache_control" in tool for tool in prompt.tools) <= 1
    assert sum("cache_control" in block for block in prompt.system) <= 1


@given(prompts)
def test_the_given_prompt_is_left_as_it_is(
    parts: tuple[list[Block], list[Block], list[Block]],
) -> None:
    before = copy.deepcopy(parts)

    with_cache_marks(*parts)

    assert parts == before


@given(prompts)
def test_marks_are_all_that_changes(parts: tuple[list[Block], list[Block], list[Block]]) -> None:
    prompt = with_cache_marks(*parts)

    assert bare(prompt.system, prompt.tools, prompt.messages) == bare(*parts)


@given(prompts)
def test_thinking_and_blank_texts_are_never_marked(
    parts: tuple[list[Block], list[Block], list[Block]],
) -> None:
    for block in marks(with_cache_marks(*parts)):
        assert block.get("type") not in ("thinking", "redacted_thinking")
        assert block.get("type") != "text" or block["text"].strip()


def test_the_last_tool_the_last_system_block_and_the_last_block_are_marked() -> None:
    prompt = with_cache_marks(
        [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
        [{"name": "a"}, {"name": "b"}],
        talk("hi", [{"type": "text", "text": "yes?"}], [{"type": "text", "text": "do it"}]),
    )

    assert marks(prompt) == [
        {"name": "b", "cache_control": MARK},
        {"type": "text", "text": "two", "cache_control": MARK},
        {"type": "text", "text": "do it", "cache_control": MARK},
    ]


def test_a_plain_string_becomes_a_block_to_carry_its_mark() -> None:
    prompt = with_cache_marks([], [], talk("hi"))

    assert prompt.messages == talk([{"type": "text", "text": "hi", "cache_control": MARK}])


def test_a_mark_moves_forward_over_what_cannot_carry_it() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    prompt = with_cache_marks([{"type": "text", "text": " "}], [], talk("hi", [thinking]))

    assert marks(prompt) == [{"type": "text", "text": "hi", "cache_control": MARK}]


def test_a_long_tool_loop_gets_a_second_mark_about_fifteen_blocks_earlier() -> None:
    call = {"type": "tool_use", "id": "t", "name": "n", "input": {}}
    loop = talk(*([{**call, "id": str(n)}] for n in range(30)))

    placed = [block["id"] for block in marks(with_cache_marks([], [], loop))]

    assert placed == [str(29 - BLOCKS_BETWEEN_MARKS), "29"]


def test_a_short_conversation_has_one_mark() -> None:
    assert len(marks(with_cache_marks([], [], talk(*(["hi"] * BLOCKS_BETWEEN_MARKS))))) == 1
    assert len(marks(with_cache_marks([], [], talk(*(["hi"] * (BLOCKS_BETWEEN_MARKS + 1)))))) == 2


def test_an_empty_prompt_has_no_marks() -> None:
    assert with_cache_marks([], [], []) == Prompt([], [], [])
