"""What a request holds: an agent's settings as its model supports them, and cache marks.

The marks go after the tools, the system prompt and the conversation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from bot.messages import Json, ModelRequest
from registry.definition import LlmConfiguration
from registry.models import EFFORTS, ModelInfo, known, table, wire_id

DEFAULT_URL = "https://api.anthropic.com"

# The newer API version has no sampling settings, for any model.
SAMPLING_VERSION: Mapping[str, str] = MappingProxyType({"anthropic-version": "2023-06-01"})

LEVELS: tuple[str, ...] = ("minimal", *EFFORTS)
BUDGETS: Mapping[str, int] = MappingProxyType(
    dict(zip(LEVELS, (1_024, 2_048, 8_192, 16_384, 32_000, 32_000), strict=True))
)
"""Tokens of thinking at each level, for models that take a budget."""
MIN_ANSWER_TOKENS = 1_024
ADAPTIVE: Mapping[str, str] = MappingProxyType({"type": "adaptive", "display": "summarized"})
"""Without summaries a chat would go silent between tools."""


# The cache looks back 20 blocks from a mark; a step with many parallel calls adds more than that.
BLOCKS_BETWEEN_MARKS = 15
UNMARKED_KINDS = frozenset({"thinking", "redacted_thinking"})


def is_native(base_url: str) -> bool:
    """Whether this is the Messages API that the model table describes."""
    return base_url.rstrip("/") == DEFAULT_URL


@dataclass(frozen=True, slots=True)
class Parameters:
    """The settings part of a request; `dropped` says in sentences what was changed or left out."""

    body: Mapping[str, Any]
    extra_body: Mapping[str, Any]
    extra_headers: Mapping[str, str]
    dropped: tuple[str, ...] = ()


def parameters(request: ModelRequest, base_url: str = DEFAULT_URL) -> Parameters:
    """The request's settings as its model supports them; an unknown model gets the minimum."""
    info = known(request.model)
    notes: list[str] = []
    body: dict[str, Any] = {"model": wire_id(request.model), "max_tokens": request.max_tokens}
    if info is None:
        extra_body = _unknown_model_extras(request, base_url, notes)
    else:
        if request.max_tokens > info.max_output:
            body["max_tokens"] = info.max_output
            notes.append(
                f"{request.model} writes at most {info.max_output} tokens: "
                f"maxTokens {request.max_tokens} is lowered to it"
            )
        body |= _reasoning(request, info, body["max_tokens"], notes)
        extra_body = _temperature(request, info, body, notes)
    headers = SAMPLING_VERSION if extra_body else {}
    return Parameters(body, extra_body, headers, tuple(notes))


def advice(llm: LlmConfiguration, base_url: str = DEFAULT_URL) -> list[str]:
    """Sentences for an admin on these settings; none where they are all sent as they are."""
    model, sentences = llm.model or "", list[str]()
    info = known(model)
    if info is None and (is_native(base_url) or model.startswith("claude-")):
        close = get_close_matches(model, list(table()), n=1, cutoff=0.8)
        hint = f"; did you mean {close[0]}?" if close else ""
        sentences.append(f"{model} is not a model we know{hint}")
    if info is not None and info.retires is not None:
        sentences.append(f"{model} retires on {info.retires}: use {info.successor} instead")
    limit = llm.max_tokens or (info.max_output if info else 1)
    request = ModelRequest(model, limit, (), (), (), llm.temperature, llm.reasoning_effort)
    return [*sentences, *parameters(request, base_url).dropped]


def _unknown_model_extras(
    request: ModelRequest, base_url: str, notes: list[str]
) -> Mapping[str, Any]:
    if request.reasoning_effort is not None and _effort(request, notes) not in (None, "none"):
        notes.append(f"{request.model} is not a model we know: reasoningEffort is dropped")
    if request.temperature is None:
        return {}
    if is_native(base_url):
        notes.append(f"{request.model} is not a model we know: temperature is dropped")
        return {}
    return {"temperature": request.temperature}


def _reasoning(
    request: ModelRequest, info: ModelInfo, max_tokens: int, notes: list[str]
) -> dict[str, Any]:
    effort = _effort(request, notes)
    if effort == "none":
        if "disabled" in info.thinking:
            return {"thinking": {"type": "disabled"}}
        if "between_tools" in info.thinking:
            notes.append(
                f"{request.model} cannot turn thinking off: it still thinks between tool calls"
            )
            return {"thinking": {"type": "between_tools"}}
        if "adaptive" in info.thinking:
            lowest = info.efforts[0]
            notes.append(f"{request.model} always thinks: reasoningEffort none is sent as {lowest}")
            return {"thinking": ADAPTIVE, "output_config": {"effort": lowest}}
        return {}
    if effort is None:
        return {"thinking": ADAPTIVE} if info.thinks_by_default else {}
    level = _clamped(request.model, info, effort, notes)
    parts: dict[str, Any] = {"output_config": {"effort": level}} if info.efforts else {}
    if "adaptive" in info.thinking:
        return {"thinking": ADAPTIVE, **parts}
    if "budget" in info.thinking and _is_unthinking_loop(request.messages):
        return parts
    if "budget" in info.thinking:
        return _budget(request.model, level, max_tokens, notes) | parts
    notes.append(f"{request.model} does not support reasoningEffort: it is dropped")
    return parts


def _is_unthinking_loop(messages: Sequence[Json]) -> bool:
    """Whether a loop of calls continues without its thinking: the API insists on both or neither.

    That is so where another model, or another conversation, answered before.
    """
    if len(messages) < 2:
        return False
    before, last = messages[-2]["content"], messages[-1]["content"]
    goes_on = not isinstance(last, str) and last[0]["type"] == "tool_result"
    return goes_on and before[0]["type"] not in UNMARKED_KINDS


def _effort(request: ModelRequest, notes: list[str]) -> str | None:
    if request.reasoning_effort is None:
        return None
    effort = request.reasoning_effort.strip().lower()
    if effort == "none" or effort in LEVELS:
        return effort
    notes.append(
        f"reasoningEffort {request.reasoning_effort!r} is dropped: use one of none, "
        f"{', '.join(LEVELS)}"
    )
    return None


def _clamped(model: str, info: ModelInfo, effort: str, notes: list[str]) -> str:
    if not info.efforts or effort in info.efforts:
        return effort
    below = [level for level in info.efforts if LEVELS.index(level) < LEVELS.index(effort)]
    level = below[-1] if below else info.efforts[0]
    notes.append(f"{model} has no reasoningEffort {effort}: {level} is sent")
    return level


def _budget(model: str, level: str, max_tokens: int, notes: list[str]) -> dict[str, Any]:
    budget = BUDGETS[level]
    if budget + MIN_ANSWER_TOKENS > max_tokens:
        notes.append(
            f"{model} thinks with {budget} tokens at reasoningEffort {level}: "
            f"thinking is left off, as maxTokens {max_tokens} is below {budget + MIN_ANSWER_TOKENS}"
        )
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget, "display": "summarized"}}


def _temperature(
    request: ModelRequest, info: ModelInfo, body: Mapping[str, Any], notes: list[str]
) -> Mapping[str, Any]:
    if request.temperature is None:
        return {}
    if not info.temperature:
        notes.append(f"{request.model} does not support temperature: it is dropped")
        return {}
    if body.get("thinking", {"type": "disabled"})["type"] != "disabled":
        notes.append(f"{request.model} does not support temperature while it thinks: it is dropped")
        return {}
    temperature = min(max(request.temperature, 0.0), 1.0)
    if temperature != request.temperature:
        notes.append(f"temperature {request.temperature} is outside 0 to 1: {temperature} is sent")
    return {"temperature": temperature}


@dataclass(frozen=True, slots=True)
class Prompt:
    """The three parts of a prompt as the Messages API takes them."""

    system: list[Json]
    tools: list[Json]
    messages: list[Json]


def with_cache_marks(
    system: Sequence[Json],
    tools: Sequence[Json],
    messages: Sequence[Json],
    passing: int = 0,
) -> Prompt:
    """The prompt with at most four cache marks; changes nothing that it is given.

    The last `passing` blocks, which the next request does not have, are not marked.
    """
    prompt = without_cache_marks(system, tools, messages)
    _mark_last(prompt.tools)
    _mark_last(prompt.system)
    _mark_conversation(prompt.messages, passing)
    return prompt


def without_cache_marks(
    system: Sequence[Json], tools: Sequence[Json], messages: Sequence[Json]
) -> Prompt:
    """The prompt without any cache marks; blocks that have none are shared, not copied."""
    return Prompt(
        [_without_mark(block) for block in system],
        [_without_mark(tool) for tool in tools],
        [_without_marks(message) for message in messages],
    )


def _without_mark(block: Json) -> Json:
    if "cache_control" not in block:
        return block
    return {key: value for key, value in block.items() if key != "cache_control"}


def _without_marks(message: Json) -> Json:
    content = message["content"]
    if not isinstance(content, str):
        for block in content:  # each request does this for all of its history
            if "cache_control" in block:
                return {**message, "content": [_without_mark(block) for block in content]}
    return message


def _mark_last(blocks: list[Json]) -> None:
    for place in reversed(range(len(blocks))):
        if _can_be_marked(blocks[place]):
            blocks[place] = _mark(blocks[place])
            return


def _mark_conversation(messages: list[Json], passing: int) -> None:
    """Mark the last block that can be marked, and the next one at least 15 blocks before it."""
    marks, distance, due = 0, -passing, 0
    for index in reversed(range(len(messages))):
        content = _blocks(messages[index])
        for place in reversed(range(len(content))):
            if distance >= due and _can_be_marked(content[place]):
                content[place] = _mark(content[place])
                messages[index] = {**messages[index], "content": content}
                due, marks = distance + BLOCKS_BETWEEN_MARKS, marks + 1
                if marks == 2:
                    return
            distance += 1


def _blocks(message: Json) -> list[Json]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else [*content]


def _can_be_marked(block: Json) -> bool:
    kind = block.get("type")
    return kind not in UNMARKED_KINDS and not (kind == "text" and not block.get("text", "").strip())


def _mark(block: Json) -> Json:
    return {**block, "cache_control": {"type": "ephemeral"}}
