"""Thinking: where it appears, how it is signed, and when a replayed block is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from simulators.messages.turns import Call, Think, turn
from tests.simulators.messages.conftest import Api

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOK = {"name": "look", "input_schema": {"type": "object"}}
SHOWN = {"type": "adaptive", "display": "summarized"}
BOUND = "Invalid `signature` in `thinking` block. The block is bound to a different conversation"


def looks() -> Any:
    return turn(Think("I should look."), Call("look"))


async def looped(api: Api, ask: Any, **fields: Any) -> dict[str, Any]:
    """A request that goes on after a thinking answer with a call."""
    api.answers(looks(), looks(), "Fine.", again=True)
    body = ask(tools=[LOOK], system="Be kind.", thinking=SHOWN, **fields)
    first = await api.sdk.messages.create(**body)
    return await going_on(body, first)


async def going_on(body: dict[str, Any], message: Any) -> dict[str, Any]:
    said = [block.to_dict() for block in message.content]
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "a cat"}
        for block in said
        if block["type"] == "tool_use"
    ]
    more = [{"role": "assistant", "content": said}, {"role": "user", "content": results}]
    return body | {"messages": [*body["messages"], *more]}


async def refused(api: Api, body: dict[str, Any]) -> str:
    with pytest.raises(anthropic.BadRequestError) as raised:
        await api.sdk.messages.create(**body)
    return str(raised.value.body)


async def test_thinking_that_comes_back_unchanged_is_taken(api: Api, ask: Any) -> None:
    body = await looped(api, ask)
    second = await api.sdk.messages.create(**body)
    third = await api.sdk.messages.create(**await going_on(body, second))
    assert third.content[0].type == "text"


def new_system(body: dict[str, Any]) -> None:
    body["system"] = "Be brief."


def new_tools(body: dict[str, Any]) -> None:
    body["tools"] = [LOOK | {"description": "Looks."}]


def new_message(body: dict[str, Any]) -> None:
    body["messages"][0] = {"role": "user", "content": "Good evening"}


@pytest.mark.parametrize("change", [new_system, new_tools, new_message])
async def test_a_changed_prefix_is_refused_where_thinking_is_bound(
    api: Api, ask: Any, change: Callable[[dict[str, Any]], None]
) -> None:
    body = await looped(api, ask)
    change(body)
    message = await refused(api, body)
    assert f"messages.1.content.0: {BOUND}" in message
    del body["messages"][1]["content"][0]
    assert (await api.sdk.messages.create(**body)).stop_reason == "tool_use"


@pytest.mark.parametrize(
    "model", ["sonnet-5-5", "haiku-5-5", "opus-5-5", "fable-5-1", "mythos-5-2"]
)
async def test_these_models_bind_thinking(api: Api, ask: Any, model: str) -> None:
    body = await looped(api, ask, model=f"claude-{model}")
    new_system(body)
    assert BOUND in await refused(api, body)


@pytest.mark.parametrize("model", ["sonnet-5", "opus-5", "opus-4-8", "sonnet-4-6", "mythos-5-1"])
async def test_other_models_do_not_mind_a_changed_prefix(api: Api, ask: Any, model: str) -> None:
    body = await looped(api, ask, model=f"claude-{model}")
    new_system(body)
    await api.sdk.messages.create(**body)


async def test_cache_marks_and_other_forms_of_the_same_text_are_no_change(
    api: Api, ask: Any
) -> None:
    body = await looped(api, ask)
    mark = {"cache_control": {"type": "ephemeral"}}
    body["system"] = [{"type": "text", "text": "Be kind."} | mark]
    body["tools"] = [LOOK | mark]
    body["messages"][0]["content"] = [{"type": "text", "text": "Hello"} | mark]
    await api.sdk.messages.create(**body)


async def test_thinking_left_out_between_other_thinking_is_refused(api: Api, ask: Any) -> None:
    body = await looped(api, ask)
    body = await going_on(body, await api.sdk.messages.create(**body))
    api.answers(looks(), again=True)
    body = await going_on(body, await api.sdk.messages.create(**body))
    del body["messages"][3]["content"][0]
    assert f"messages.5.content.0: {BOUND}" in await refused(api, body)
    del body["messages"][1]["content"][0]
    await api.sdk.messages.create(**body)


async def test_a_forged_signature_is_refused_by_every_model(api: Api, ask: Any) -> None:
    for model in ("claude-sonnet-5-5", "claude-sonnet-4-6"):
        body = await looped(api, ask, model=model)
        body["messages"][1]["content"][0]["signature"] = "Zm9yZ2Vk"
        message = await refused(api, body)
        assert "messages.1.content.0: Invalid `signature` in `thinking` block" in message


async def test_the_last_turns_thinking_may_not_be_modified(api: Api, ask: Any) -> None:
    body = await looped(api, ask, model="claude-sonnet-4-6")
    body["messages"][1]["content"][0]["thinking"] = "I should not look."
    message = await refused(api, body)
    assert "blocks in the latest assistant message cannot be modified" in message


async def test_another_models_thinking_is_dropped_in_silence(api: Api, ask: Any) -> None:
    body = await looped(api, ask, model="claude-opus-5-5")
    new_system(body)
    body["model"] = "claude-sonnet-5-5"
    await api.sdk.messages.create(**body)


async def test_thinking_text_is_omitted_unless_it_is_asked_for(api: Api, ask: Any) -> None:
    api.answers(turn(Think("Hm."), "Yes."), again=True)
    silent = (await api.sdk.messages.create(**ask())).content[0]
    assert (silent.type, silent.thinking) == ("thinking", "")
    assert silent.signature
    shown = (await api.sdk.messages.create(**ask(thinking=SHOWN))).content[0]
    assert shown.thinking == "Hm."


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("haiku-5-5", {"type": "disabled"}),
        ("sonnet-5-5", {"type": "between_tools"}),
        ("opus-4-8", ...),
        ("haiku-4-5", ...),
    ],
)
async def test_no_thinking_comes_where_it_is_off(
    api: Api, ask: Any, model: str, thinking: Any
) -> None:
    api.answers(turn(Think("Hm."), "Yes."))
    message = await api.sdk.messages.create(**ask(model=f"claude-{model}", thinking=thinking))
    assert [block.type for block in message.content] == ["text"]


async def test_a_budget_always_thinks_and_wants_it_back_in_a_tool_loop(api: Api, ask: Any) -> None:
    api.answers(turn(Call("look")), "A cat.")
    budget = {"type": "enabled", "budget_tokens": 1024}
    body = ask(model="claude-haiku-4-5", tools=[LOOK], thinking=budget)
    first = await api.sdk.messages.create(**body)
    assert [block.type for block in first.content] == ["thinking", "tool_use"]
    body = await going_on(body, first)
    stripped = [body["messages"][1] | {"content": body["messages"][1]["content"][1:]}]
    bare = body | {"messages": [body["messages"][0], *stripped, body["messages"][2]]}
    assert "Expected `thinking` or `redacted_thinking`, but found `tool_use`" in await refused(
        api, bare
    )
    assert (await api.sdk.messages.create(**body)).stop_reason == "end_turn"
