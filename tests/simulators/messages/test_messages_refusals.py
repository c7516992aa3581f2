"""Every wrong request is refused, with the type and the words of the API."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from tests.refusals.gallery import PICTURES

if TYPE_CHECKING:
    from tests.simulators.messages.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLASSIC = "2023-06-01"
TOOL = {"name": "look", "input_schema": {"type": "object"}}
SAY = {"role": "user", "content": "Hello"}
CALL = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}],
}
MARK = {"type": "ephemeral"}


def result(of: str = "toolu_1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": of, "content": "ok"} | more


def _data(picture: str) -> str:
    return base64.b64encode(PICTURES[picture]).decode()


def picture(name: str) -> dict[str, Any]:
    """A message with one of the pictures."""
    kind = f"image/{name.split()[1]}"
    source = {"type": "base64", "media_type": kind, "data": _data(name)}
    return {"messages": [user({"type": "image", "source": source})]}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words} | more


def tool(**more: Any) -> dict[str, Any]:
    return {"tools": [TOOL | more]}


def thinks(model: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"model": f"claude-{model}", "thinking": {"type": kind} | more}


def effort(model: str, level: str, **more: Any) -> dict[str, Any]:
    return {"model": f"claude-{model}", "output_config": {"effort": level}} | more


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": ...}, "model: Field required"),
    "no messages": ({"messages": ...}, "messages: Field required"),
    "no max_tokens": ({"max_tokens": ...}, "max_tokens: Field required"),
    "max_tokens 0": (
        {"max_tokens": 0},
        "max_tokens: Input should be greater than or equal to 1",
    ),
    "max_tokens text": ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
    "max_tokens too high": (
        {"max_tokens": 128_001},
        (
            "max_tokens: 128001 > 128000, which is the maximum allowed number of output tokens "
            "for claude-sonnet-5-5"
        ),
    ),
    "an unknown field": ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    "temperature": ({"temperature": 0.5}, "temperature: Extra inputs are not permitted"),
    "top_p": ({"top_p": 0.5}, "top_p: Extra inputs are not permitted"),
    "top_k": ({"top_k": 5}, "top_k: Extra inputs are not permitted"),
    "no message": ({"messages": []}, "messages: at least one message is required"),
    "messages no list": ({"messages": "Hello"}, "messages: Input should be a valid list"),
    "a wrong role": (
        {"messages": [{"role": "robot", "content": "x"}]},
        "messages.0.role: Input should be 'user', 'assistant' or 'system'",
    ),
    "the assistant first": (
        {"messages": [{"role": "assistant", "content": "Hi"}, SAY]},
        'messages: first message must use the "user" role',
    ),
    "empty content": (
        {"messages": [{"role": "user", "content": ""}]},
        "messages.0: user messages must have non-empty content",
    ),
    "an empty assistant": (
        {"messages": [SAY, {"role": "assistant", "content": []}, SAY]},
        (
            "messages.1: all messages must have non-empty content except for the optional final "
            "assistant message"
        ),
    ),
    "an empty text block": (
        {"messages": [user(text(""))]},
        "messages: text content blocks must be non-empty",
    ),
    "a blank text block": (
        {"messages": [user(text(" \n"))]},
        "messages: text content blocks must contain non-whitespace text",
    ),
    "an empty system block": (
        {"system": [text("")]},
        "system: text content blocks must be non-empty",
    ),
    "an unknown block": (
        {"messages": [user({"type": "smell"})]},
        "messages.0.content.0: Input tag 'smell' found using 'type' does not match any of",
    ),
    "an unknown field in a block": (
        {"messages": [user(text("x", colour="red"))]},
        "messages.0.content.0.text.colour: Extra inputs are not permitted",
    ),
    "a field beside role and content": (
        {"messages": [SAY | {"name": "Ida"}]},
        "messages.0.name: Extra inputs are not permitted",
    ),
    "prefill on a new model": (
        {"messages": [SAY, {"role": "assistant", "content": "I"}]},
        (
            "This model does not support assistant message prefill. The conversation must end with "
            "a user message."
        ),
    ),
    "prefill with trailing space": (
        {
            "model": "claude-haiku-4-5",
            "messages": [SAY, {"role": "assistant", "content": "I "}],
        },
        "messages: final assistant content cannot end with trailing whitespace",
    ),
    "a call without result": (
        {"messages": [SAY, CALL, SAY]},
        (
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: "
            "toolu_1. Each `tool_use` block must have a corresponding `tool_result` block in the "
            "next message."
        ),
    ),
    "a call at the end": (
        {"messages": [SAY, CALL]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after",
    ),
    "a result after text": (
        {"messages": [SAY, CALL, user(text("Well"), result())]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after",
    ),
    "a result without call": (
        {"messages": [user(result("toolu_9"))]},
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_9.",
    ),
    "two results for one call": (
        {"messages": [SAY, CALL, user(result(), result())]},
        "messages.2.content.1: each tool_use must have a single result.",
    ),
    "one id for two calls": (
        {"messages": [SAY, CALL, user(result()), CALL, user(result())]},
        "messages.3.content.0: `tool_use` ids must be unique",
    ),
    "a wrong call id": (
        {"messages": [SAY, CALL, user(result("a.b"))]},
        (
            "messages.2.content.0.tool_result.tool_use_id: String should match pattern "
            "'^[a-zA-Z0-9_-]+$'"
        ),
    ),
    "a call by the user": (
        {"messages": [{"role": "user", "content": CALL["content"]}]},
        "messages.0: `tool_use` blocks can only be in `assistant` messages",
    ),
    "a result by the assistant": (
        {"messages": [SAY, {"role": "assistant", "content": [result()]}]},
        "messages.1: `tool_result` blocks can only be in `user` messages",
    ),
    "a system message on an old model": (
        {
            "model": "claude-opus-4-7",
            "messages": [SAY, {"role": "system", "content": "Be kind."}],
        },
        "messages.1: role 'system' is not supported on this model",
    ),
    "a tool name with a dot": (
        tool(name="a.b"),
        "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    ),
    "a tool name of 129": (
        tool(name="a" * 129),
        "tools.0.custom.name: String should match pattern",
    ),
    "two tools of one name": (
        {"tools": [TOOL, TOOL]},
        "tools: Tool names must be unique.",
    ),
    "a tool without schema": (
        {"tools": [{"name": "look"}]},
        "tools.0.custom.input_schema: Field required",
    ),
    "a schema without type": (
        tool(input_schema={}),
        "tools.0.custom.input_schema.type: Field required",
    ),
    "a schema that is no object": (
        tool(input_schema={"type": "string"}),
        "tools.0.custom.input_schema.type: Input should be 'object'",
    ),
    "a schema with anyOf on top": (
        tool(input_schema={"type": "object", "anyOf": []}),
        (
            "tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at "
            "the top level"
        ),
    ),
    "a schema that is none": (
        tool(input_schema={"type": "object", "properties": {"a": {"type": "text"}}}),
        "tools.0.custom.input_schema: JSON schema is invalid.",
    ),
    "a property with a space": (
        tool(input_schema={"type": "object", "properties": {"a b": {}}}),
        "tools.0.custom.input_schema.properties: Property keys should match pattern",
    ),
    "a tool with annotations": (
        tool(annotations={}),
        "tools.0.custom.annotations: Extra inputs are not permitted",
    ),
    "a choice without tools": (
        {"tool_choice": {"type": "auto"}},
        "tool_choice may only be specified while providing tools.",
    ),
    "a forced tool": (
        tool() | {"tool_choice": {"type": "any"}},
        '"tool_choice.type.any" is not supported for this model.',
    ),
    "a choice of no tool": (
        tool() | {"model": "claude-opus-5", "tool_choice": {"type": "tool", "name": "see"}},
        "Tool 'see' not found in provided tools",
    ),
    "five cache marks": (
        {"messages": [user(*(text("x", cache_control=MARK) for _ in range(5)))]},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "an hour after five minutes": (
        {
            "system": [text("x", cache_control=MARK)],
            "messages": [user(text("x", cache_control=MARK | {"ttl": "1h"}))],
        },
        "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.",
    ),
    "a wrong cache lifetime": (
        {"system": [text("x", cache_control=MARK | {"ttl": "2h"})]},
        "system.0.text.cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
    ),
    "a budget on sonnet-5-5": (
        thinks("sonnet-5-5", "enabled", budget_tokens=1024),
        (
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" '
            'and "output_config.effort" to control thinking behavior.'
        ),
    ),
    "thinking off on opus-5-5": (
        thinks("opus-5-5", "disabled"),
        '"thinking.type.disabled" is not supported for this model.',
    ),
    "thinking off on sonnet-5-5": (
        thinks("sonnet-5-5", "disabled"),
        'To turn thinking off on this model, send "thinking": {"type": "between_tools"}.',
    ),
    "between_tools on haiku-5-5": (
        thinks("haiku-5-5", "between_tools"),
        '"thinking.type.between_tools" is not supported for this model.',
    ),
    "adaptive on haiku-4-5": (
        thinks("haiku-4-5", "adaptive"),
        "adaptive thinking is not supported on this model",
    ),
    "a small budget": (
        thinks("haiku-4-5", "enabled", budget_tokens=1023),
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    "a budget over max_tokens": (
        thinks("haiku-4-5", "enabled", budget_tokens=2000),
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
    ),
    "a beta control of thinking": (
        thinks("sonnet-5-5", "adaptive", block_binding={}),
        "thinking.adaptive.block_binding: Extra inputs are not permitted",
    ),
    "thinking null": ({"thinking": None}, "thinking: Input should be a valid dictionary"),
    "effort on haiku-4-5": (
        effort("haiku-4-5", "low"),
        "This model does not support the effort parameter.",
    ),
    "max on opus-4-5": (
        effort("opus-4-5", "max"),
        "This model does not support effort level 'max'. Supported levels: low, medium, high.",
    ),
    "xhigh on sonnet-4-6": (effort("sonnet-4-6", "xhigh"), "effort level 'xhigh'"),
    "an unknown effort": (
        effort("opus-5", "some"),
        "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
    ),
    "max with thinking off": (
        effort("haiku-5-5", "max", thinking={"type": "disabled"}),
        "output_config.effort 'max' is not supported with thinking turned off on this model.",
    ),
    "a blank stop sequence": (
        {"stop_sequences": [" "]},
        "stop_sequences: each stop sequence must contain non-whitespace",
    ),
    "metadata with a name": (
        {"metadata": {"name": "Ida"}},
        "metadata.name: Extra inputs are not permitted",
    ),
    "a server tool": (
        {"tools": [{"type": "web_search_20260318", "name": "web_search"}]},
        "tools.0: Input tag 'web_search_20260318'",
    ),
}


WRONG |= {
    name: (
        picture(name),
        "exceed max allowed size" if name.startswith("long") else "Could not process image",
    )
    for name in PICTURES
    if not name.startswith("fine")
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_request_is_a_400_with_the_apis_words(
    shared: Api, ask: Any, name: str
) -> None:
    fields, words = WRONG[name]
    status, body, headers = await shared.post(ask(**fields))
    assert (status, body["type"]) == (400, "error")
    assert body["error"]["type"] == "invalid_request_error"
    assert words in body["error"]["message"]
    assert body["request_id"] == headers["request-id"]


OLD: dict[str, tuple[dict[str, Any], str]] = {
    "a new model": (
        {"model": "claude-opus-4-7", "temperature": 0.2},
        "`temperature` is deprecated for this model.",
    ),
    "above 1": (
        {"model": "claude-sonnet-4-6", "temperature": 1.5},
        "temperature: Input should be less than or equal to 1",
    ),
    "both": (
        {"model": "claude-haiku-4-5", "temperature": 0.2, "top_p": 0.9},
        "`temperature` and `top_p` cannot both be specified for this model.",
    ),
    "with thinking": (
        {"model": "claude-sonnet-4-6", "temperature": 0.2, "thinking": {"type": "adaptive"}},
        "`temperature` may only be set to 1 when thinking is enabled.",
    ),
    "top_k with thinking": (
        {"model": "claude-sonnet-4-6", "top_k": 2, "thinking": {"type": "adaptive"}},
        "`top_k` must be unset when thinking is enabled.",
    ),
}


@pytest.mark.parametrize("name", OLD)
async def test_sampling_under_the_old_version_has_its_own_rules(
    shared: Api, ask: Any, name: str
) -> None:
    fields, words = OLD[name]
    status, body, _ = await shared.post(ask(**fields), version=CLASSIC)
    assert status == 400
    assert words in body["error"]["message"]


@pytest.mark.parametrize("model", ["sonnet-4-6", "opus-4-6", "haiku-4-5", "opus-4-5"])
async def test_older_models_take_a_temperature_under_the_old_version(
    shared: Api, ask: Any, model: str
) -> None:
    body = ask(model=f"claude-{model}", temperature=0.3)
    assert (await shared.post(body, version=CLASSIC))[0] == 200
    assert (await shared.post(body))[0] == 400


RIGHT = {
    "adaptive": thinks("sonnet-5-5", "adaptive", display="summarized"),
    "between tools": thinks("sonnet-5-5", "between_tools"),
    "off": thinks("haiku-5-5", "disabled"),
    "a budget": thinks("sonnet-4-6", "enabled", budget_tokens=1024),
    "max": effort("sonnet-4-6", "max"),
    "xhigh": effort("sonnet-5-5", "xhigh"),
    "max while thinking is off": effort("opus-4-8", "max", thinking={"type": "disabled"}),
    "a forced tool": tool() | {"model": "claude-opus-5", "tool_choice": {"type": "any"}},
    "a null cache mark": {"messages": [user(text("x", cache_control=None))]},
    "results before text": {"messages": [SAY, CALL, user(result(), text("And?"))]},
    "results and text in two messages": {"messages": [SAY, CALL, user(result()), SAY]},
    "two messages of one role": {"messages": [SAY, SAY]},
    "a system message": {"messages": [SAY, {"role": "system", "content": "Be kind."}]},
    "an empty system": {"system": ""},
    "prefill": {
        "model": "claude-haiku-4-5",
        "messages": [SAY, {"role": "assistant", "content": "I"}],
    },
    **{name: picture(name) for name in PICTURES if name.startswith("fine")},
}


@pytest.mark.parametrize("name", RIGHT)
async def test_a_right_request_passes(shared: Api, ask: Any, name: str) -> None:
    status, body, _ = await shared.post(ask(**RIGHT[name]))
    assert (status, body.get("type")) == (200, "message"), body


async def test_a_missing_or_unknown_key_is_a_401(
    shared: Api, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, body, _ = await shared.post(ask(), x_api_key=None)
    assert (status, body["error"]["type"]) == (401, "authentication_error")
    monkeypatch.setattr(shared.sim, "keys", {"sk-right"})
    status, body, _ = await shared.post(ask())
    assert (status, body["error"]["message"]) == (401, "invalid x-api-key")
    status, *_ = await shared.post(ask(), x_api_key=None, authorization="Bearer sk-right")
    assert status == 200


async def test_the_version_header_must_be_there_and_known(shared: Api, ask: Any) -> None:
    status, body, _ = await shared.post(ask(), anthropic_version=None)
    assert (status, body["error"]["message"]) == (400, "anthropic-version: header is required")
    status, body, _ = await shared.post(ask(), version="2020-01-01")
    assert (status, body["error"]["message"]) == (
        400,
        'anthropic-version: "2020-01-01" is not a valid version',
    )


async def test_an_unknown_model_is_a_404(shared: Api, ask: Any) -> None:
    status, body, _ = await shared.post(ask(model="claude-zebra-9"))
    assert (status, body["error"]) == (
        404,
        {"type": "not_found_error", "message": "model: claude-zebra-9"},
    )


async def test_a_body_that_is_no_json_object_is_a_400(shared: Api) -> None:
    for raw in (b"{", b"[]", b"\xff"):
        status, body, _ = await shared.post(raw)
        assert (status, body["error"]["type"]) == (400, "invalid_request_error")


async def test_a_prompt_over_the_context_window_is_refused_with_both_numbers(
    shared: Api, ask: Any
) -> None:
    body = ask("x" * 801_000, model="claude-haiku-4-5")
    status, answer, _ = await shared.post(body)
    assert status == 400
    assert answer["error"]["message"] == "prompt is too long: 200253 tokens > 200000 maximum"
    body["model"] = "claude-haiku-5-5"
    assert (await shared.post(body))[0] == 200


async def test_a_body_over_32_megabytes_is_a_413(shared: Api, ask: Any) -> None:
    status, body, _ = await shared.post(b" " * (32 * 1024 * 1024 + 1))
    assert (status, body["error"]["type"]) == (413, "request_too_large")
    assert shared.sim.records.all()[-1].body is None


async def test_an_unknown_route_is_a_404_in_the_apis_shape(shared: Api) -> None:
    status, body, _ = await shared.post({}, path="/v1/nothing")
    assert (status, body["error"]["type"]) == (404, "not_found_error")
