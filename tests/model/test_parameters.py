from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
from anthropic.types import OutputConfigParam
from hypothesis import given
from hypothesis import strategies as st

from bot.messages import ModelRequest
from bot.model import parameters as parameters_module
from bot.model.parameters import (
    BUDGETS,
    DEFAULT_URL,
    LEVELS,
    SAMPLING_VERSION,
    Parameters,
    is_native,
    parameters,
)
from registry.definition import LlmConfiguration
from registry.models import EFFORTS, known, table

ADAPTIVE = {"type": "adaptive", "display": "summarized"}
OFF = {"type": "disabled"}
ELSEWHERE = "https://models.example/anthropic"


def asked(
    model: str,
    effort: str | None = None,
    temperature: float | None = None,
    max_tokens: int = 40_000,
    provider: str = DEFAULT_URL,
) -> Parameters:
    request = ModelRequest(model, max_tokens, (), (), (), temperature, effort)
    return parameters(request, provider)


def advice(model: str, provider: str = DEFAULT_URL, **llm: Any) -> list[str]:
    return parameters_module.advice(LlmConfiguration(model=model, **llm), provider)


def settings(result: Parameters) -> dict[str, Any]:
    return {k: v for k, v in result.body.items() if k not in ("model", "max_tokens")}


def budget(tokens: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": tokens, "display": "summarized"}


def level(effort: str) -> dict[str, Any]:
    return {"effort": effort}


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "output_config"),
    [
        # on by default: summaries are asked for, with or without an effort
        ("claude-sonnet-5-5", None, ADAPTIVE, None),
        ("claude-sonnet-5-5", "minimal", ADAPTIVE, level("low")),
        ("claude-sonnet-5-5", "xhigh", ADAPTIVE, level("xhigh")),
        ("claude-sonnet-5-5", "max", ADAPTIVE, level("max")),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None),
        ("claude-sonnet-5", "none", OFF, None),
        ("claude-opus-5", None, ADAPTIVE, None),
        ("claude-opus-5", "none", OFF, None),
        ("claude-haiku-5-5", "none", OFF, None),
        ("claude-haiku-5-5", "medium", ADAPTIVE, level("medium")),
        # cannot be turned off
        ("claude-opus-5-5", "none", ADAPTIVE, level("low")),
        ("claude-fable-5", "none", ADAPTIVE, level("low")),
        ("claude-fable-5-2", "none", ADAPTIVE, level("low")),
        ("claude-mythos-5-1", "none", ADAPTIVE, level("low")),
        ("claude-mythos-preview", "high", ADAPTIVE, level("high")),
        # off by default
        ("claude-opus-4-8", None, None, None),
        ("claude-opus-4-8", "xhigh", ADAPTIVE, level("xhigh")),
        ("claude-opus-4-7", "none", OFF, None),
        ("claude-opus-4-6", None, None, None),
        ("claude-opus-4-6", "xhigh", ADAPTIVE, level("high")),
        ("claude-sonnet-4-6", "max", ADAPTIVE, level("max")),
        # a budget in place of adaptive thinking
        ("claude-opus-4-5", None, None, None),
        ("claude-opus-4-5", "max", budget(16_384), level("high")),
        ("claude-opus-4-5-20251101", "low", budget(2_048), level("low")),
        ("claude-sonnet-4-5", "high", budget(16_384), None),
        ("claude-haiku-4-5-20251001", "minimal", budget(1_024), None),
        ("claude-haiku-4-5", "max", budget(32_000), None),
        ("claude-haiku-4-5", "none", OFF, None),
        # neither
        ("claude-3-5-haiku-20241022", "high", None, None),
        ("claude-3-5-haiku-20241022", "none", None, None),
        # strangers get the minimum
        ("deepseek-chat", "high", None, None),
        ("deepseek-chat", None, None, None),
    ],
)
def test_an_effort_becomes_what_the_model_takes(
    model: str,
    effort: str | None,
    thinking: dict[str, Any] | None,
    output_config: dict[str, Any] | None,
) -> None:
    both = {"thinking": thinking, "output_config": output_config}
    wanted = {name: value for name, value in both.items() if value is not None}

    assert settings(asked(model, effort)) == wanted


@pytest.mark.parametrize(
    ("model", "effort", "words"),
    [
        ("claude-sonnet-5-5", "minimal", "has no reasoningEffort minimal: low is sent"),
        ("claude-sonnet-5-5", "none", "still thinks between tool calls"),
        ("claude-opus-5-5", "none", "always thinks: reasoningEffort none is sent as low"),
        ("claude-opus-4-6", "xhigh", "has no reasoningEffort xhigh: high is sent"),
        ("claude-3-5-haiku-latest", "low", "does not support reasoningEffort: it is dropped"),
        ("deepseek-chat", "low", "is not a model we know: reasoningEffort is dropped"),
    ],
)
def test_what_is_changed_is_said(model: str, effort: str, words: str) -> None:
    (sentence,) = asked(model, effort, max_tokens=4_000, provider=ELSEWHERE).dropped

    assert sentence.startswith(model)
    assert sentence.endswith(words)


def test_a_plain_setting_is_nothing_to_talk_about() -> None:
    assert asked("claude-sonnet-5-5", "high").dropped == ()
    assert asked("claude-sonnet-4-5", "high").dropped == ()
    assert asked("claude-haiku-4-5", temperature=0.5).dropped == ()
    assert asked("deepseek-chat", "none", 0.5, provider=ELSEWHERE).dropped == ()


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "deepseek-chat"])
def test_an_effort_that_does_not_exist_is_dropped_by_name(model: str) -> None:
    result = asked(model, "enormous")

    assert "output_config" not in result.body
    assert "'enormous'" in result.dropped[0]
    assert "xhigh" in result.dropped[0]


def test_the_case_of_an_effort_does_not_matter() -> None:
    assert settings(asked("claude-opus-5", " High ")) == settings(asked("claude-opus-5", "high"))


@pytest.mark.parametrize(("max_tokens", "thinks"), [(9_215, False), (9_216, True)])
def test_a_budget_leaves_room_to_answer_or_is_left_off(max_tokens: int, thinks: bool) -> None:
    result = asked("claude-sonnet-4-5", "medium", max_tokens=max_tokens)

    assert ("thinking" in result.body) is thinks
    assert bool(result.dropped) is not thinks
    assert thinks or "maxTokens 9215 is below 9216" in result.dropped[0]


@pytest.mark.parametrize(
    ("before", "thinks"),
    [
        ([{"type": "thinking", "thinking": "hm", "signature": "s"}], True),
        ([{"type": "redacted_thinking", "data": "d"}], True),
        ([], False),
        ([{"type": "text", "text": "Wait"}], False),
    ],
)
def test_a_loop_whose_thinking_is_gone_goes_on_without(before: list[Any], thinks: bool) -> None:
    call = {"type": "tool_use", "id": "t", "name": "n", "input": {}}
    loop = [
        {"role": "user", "content": [{"type": "text", "text": "go"}]},
        {"role": "assistant", "content": [*before, call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
    ]
    request = ModelRequest("claude-haiku-4-5", 9_000, (), (), loop, None, "low")

    assert ("thinking" in settings(parameters(request))) is thinks


def test_an_effort_stays_where_its_budget_is_left_off() -> None:
    result = asked("claude-opus-4-5", "high", max_tokens=4_000)

    assert settings(result) == {"output_config": level("high")}


@pytest.mark.parametrize("model", ["claude-sonnet-4-6", "claude-opus-4-6", "claude-haiku-4-5"])
def test_an_older_model_gets_its_temperature_with_the_older_version(model: str) -> None:
    result = asked(model, temperature=0.3)

    assert result.extra_body == {"temperature": 0.3}
    assert result.extra_headers == {"anthropic-version": "2023-06-01"}
    assert "temperature" not in result.body


@pytest.mark.parametrize(
    "model", [id_ for id_, info in table().items() if not info.temperature], ids=str
)
def test_a_newer_model_gets_no_temperature(model: str) -> None:
    result = asked(model, temperature=0.3)

    assert result.extra_body == {}
    assert result.extra_headers == {}
    assert f"{model} does not support temperature: it is dropped" in result.dropped


@pytest.mark.parametrize("model", ["claude-sonnet-4-6", "claude-sonnet-4-5"])
def test_temperature_and_thinking_do_not_go_together(model: str) -> None:
    result = asked(model, "high", temperature=0.3)

    assert "thinking" in result.body
    assert result.extra_body == {}
    assert result.dropped == (
        f"{model} does not support temperature while it thinks: it is dropped",
    )


def test_temperature_goes_with_thinking_switched_off() -> None:
    assert asked("claude-sonnet-4-6", "none", 0.3).extra_body == {"temperature": 0.3}
    assert asked("claude-sonnet-4-5", "high", 0.3, max_tokens=1_000).extra_body


def test_a_temperature_outside_the_range_is_brought_into_it() -> None:
    result = asked("claude-haiku-4-5", temperature=1.7)

    assert result.extra_body == {"temperature": 1.0}
    assert result.dropped == ("temperature 1.7 is outside 0 to 1: 1.0 is sent",)


def test_another_provider_gets_its_temperature_as_it_is() -> None:
    assert asked("deepseek-chat", temperature=1.7, provider=ELSEWHERE).extra_body == {
        "temperature": 1.7
    }


def test_a_stranger_at_the_default_address_gets_no_temperature() -> None:
    result = asked("claude-nova-1", temperature=0.5)

    assert result.extra_body == {}
    assert result.dropped == ("claude-nova-1 is not a model we know: temperature is dropped",)


def test_max_tokens_is_lowered_to_what_the_model_writes() -> None:
    result = asked("claude-sonnet-4-5", max_tokens=100_000)

    assert result.body["max_tokens"] == 64_000
    assert "at most 64000 tokens" in result.dropped[0]
    assert asked("deepseek-chat", max_tokens=10**6).body["max_tokens"] == 10**6


def test_an_alias_is_sent_as_its_wire_id() -> None:
    assert asked("sonnet").body["model"] == "claude-sonnet-5-5"


def test_the_addresses_of_a_provider() -> None:
    assert is_native("https://api.anthropic.com/")
    assert not is_native(ELSEWHERE)


def test_our_levels_are_those_of_the_client_library() -> None:
    effort = get_type_hints(OutputConfigParam)["effort"]

    assert get_args(get_args(effort)[0]) == EFFORTS
    assert set(BUDGETS) == set(LEVELS)


@given(
    model=st.sampled_from([*table(), "deepseek-chat"]),
    effort=st.sampled_from([None, "none", *LEVELS]),
    temperature=st.none() | st.floats(0, 1),
    max_tokens=st.integers(1, 200_000),
    native=st.booleans(),
)
def test_no_request_holds_what_the_api_refuses(
    model: str, effort: str | None, temperature: float | None, max_tokens: int, native: bool
) -> None:
    provider = DEFAULT_URL if native else ELSEWHERE
    result = asked(model, effort, temperature, max_tokens, provider)
    info = known(model)
    thinking = result.body.get("thinking", {"type": None})
    sent_effort = result.body.get("output_config", {}).get("effort")

    if info is None:
        assert settings(result) == {}
        return
    kind = {"enabled": "budget"}.get(thinking["type"], thinking["type"])
    assert kind is None or kind in info.thinking
    assert sent_effort is None or sent_effort in info.efforts
    assert 1 <= result.body["max_tokens"] <= info.max_output
    if kind == "budget":
        assert 1_024 <= thinking["budget_tokens"] <= result.body["max_tokens"] - 1_024
    if kind in ("disabled", "between_tools"):
        assert sent_effort is None
    if result.extra_body:
        assert info.temperature
        assert kind in (None, "disabled")
        assert result.extra_headers == SAMPLING_VERSION


def test_advice_says_what_a_request_would_drop() -> None:
    assert advice("claude-sonnet-5-5", temperature=0.2, reasoning_effort="none") == [
        "claude-sonnet-5-5 cannot turn thinking off: it still thinks between tool calls",
        "claude-sonnet-5-5 does not support temperature: it is dropped",
    ]
    assert advice("claude-sonnet-5-5", max_tokens=8_000, reasoning_effort="high") == []
    assert advice("claude-sonnet-4-6") == []


def test_advice_names_a_retirement_date_and_what_to_take_instead() -> None:
    assert advice("claude-sonnet-4-5") == [
        "claude-sonnet-4-5 retires on 2026-11-30: use claude-sonnet-5-5 instead"
    ]


def test_advice_asks_after_a_name_that_is_nearly_right() -> None:
    (sentence,) = advice("claude-sonet-5-5")

    assert sentence.endswith("did you mean claude-sonnet-5-5?")


def test_a_model_of_another_provider_needs_no_advice() -> None:
    assert advice("deepseek-chat", temperature=0.5, provider=ELSEWHERE) == []
    assert len(advice("deepseek-chat")) == 1


def test_every_thinking_kind_is_covered_by_a_model() -> None:
    assert {kind for info in table().values() for kind in info.thinking} == {
        "adaptive",
        "budget",
        "disabled",
        "between_tools",
    }
