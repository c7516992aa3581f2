"""The adapter against the sandbox's Messages API, which refuses what the real one refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.errors import BrokenStream, ModelBusy, ModelError, ModelRefused, StaleThinking
from bot.messages import Answer, ModelRequest, ToolChosen
from bot.model.client import MessagesModel
from bot.model.parameters import LEVELS
from bot.ops.tasks import SystemClock
from registry.models import known
from simulators.http_server import serving
from simulators.messages.models import MODELS
from simulators.messages.models import Model as SimModel
from simulators.messages.routes import app
from simulators.messages.script import Answer as Scene
from simulators.messages.script import scripted
from simulators.messages.sim import MessagesSim
from simulators.messages.turns import (
    Call,
    Cut,
    Drop,
    EndEarly,
    ErrorEvent,
    HttpError,
    Text,
    Think,
    Turn,
    turn,
)

KEY = "sk-test-of-the-sandbox"
WAIT = 20.0
ZONES = {"name": "now", "input_schema": {"type": "object"}}


@pytest.fixture
async def sim() -> MessagesSim:
    return MessagesSim(scripted("Good day", again=True), keys={KEY})


@pytest.fixture
async def model(sim: MessagesSim) -> AsyncIterator[MessagesModel]:
    async with serving(app(sim)) as url:
        model = MessagesModel(KEY, url, SystemClock())
        yield model
        await model.close()


def asked(model: str = "claude-sonnet-5-5", **settings: Any) -> ModelRequest:
    parts = {"system": [{"type": "text", "text": "Be brief."}], "tools": [ZONES]}
    talk = [{"role": "user", "content": "Hello"}]
    return ModelRequest(
        **{"model": model, "max_tokens": 40_000, "messages": talk, **parts, **settings}
    )


async def answered(model: MessagesModel, request: ModelRequest) -> Answer:
    async with asyncio.timeout(WAIT):
        pieces = [piece async for piece in model.stream(request)]
    answer = pieces[-1]
    assert isinstance(answer, Answer)
    return answer


async def complaint(model: MessagesModel, request: ModelRequest) -> str | None:
    try:
        await answered(model, request)
    except ModelError as error:
        return f"{request.model} {request.reasoning_effort} {request.temperature}: {error}"
    return None


def kinds(simulated: SimModel) -> set[str]:
    return {"budget" if kind == "enabled" else kind for kind in simulated.thinking}


@pytest.mark.parametrize("simulated", MODELS.values(), ids=lambda model: model.id)
def test_the_model_table_and_the_simulator_s_agree(simulated: SimModel) -> None:
    info = known(simulated.id)

    assert info is not None
    assert info.thinking == kinds(simulated)
    assert info.efforts == simulated.efforts
    assert (info.context, info.max_output) == (simulated.context, simulated.output)
    assert info.min_cacheable == simulated.cache_min
    assert info.temperature is simulated.sampling
    assert info.binds_thinking is simulated.binds
    assert info.thinks_by_default is simulated.thinks_by_default
    assert str(info.retires or "") == (simulated.retires or "")[:10]


async def test_no_setting_of_any_model_is_refused(sim: MessagesSim, model: MessagesModel) -> None:
    requests = [
        asked(id_, reasoning_effort=effort, temperature=temperature, max_tokens=max_tokens)
        for id_ in MODELS
        for effort in (None, "none", *LEVELS)
        for temperature, max_tokens in ((None, 40_000), (1.5, 2_000))
    ]

    complaints = [await complaint(model, request) for request in requests]

    assert [words for words in complaints if words] == []
    assert sim.records.total() == len(requests)


async def test_a_tool_loop_with_thinking_is_taken_back_and_cached(
    sim: MessagesSim, model: MessagesModel
) -> None:
    scenes: list[Scene] = [turn(Think("hm"), Call("now", {"n": n})) for n in range(12)]
    sim.script = scripted(*scenes, turn(Think("so"), "Noon"))
    system = [{"type": "text", "text": "Be brief. " * 2_000}]
    talk: list[dict[str, Any]] = [{"role": "user", "content": "What time is it?"}]
    reads = []

    while True:
        answer = await answered(model, asked(system=system, messages=talk, reasoning_effort="high"))
        reads.append(answer.usage.cache_read)
        if answer.stop != "tool_use":
            break
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": "12:00"}
            for block in answer.content
            if block["type"] == "tool_use"
        ]
        talk += [
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": results},
        ]

    assert [block["type"] for block in answer.content] == ["thinking", "text"]
    assert len(reads) == 13
    assert reads[0] == 0
    assert reads[1:] == sorted(reads[1:])
    assert reads[1] > 0


async def test_many_parallel_calls_do_not_lose_the_cache(
    sim: MessagesSim, model: MessagesModel
) -> None:
    sim.script = scripted(turn(*(Call("now", {"n": n}) for n in range(12))), "Noon")
    talk: list[dict[str, Any]] = [{"role": "user", "content": "What time is it? " * 1_000}]
    first = await answered(model, asked(messages=talk))
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "12:00"}
        for block in first.content
    ]
    talk += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": results},
    ]

    second = await answered(model, asked(messages=talk))

    assert second.usage.cache_read == first.usage.cache_write
    assert first.usage.cache_write > 1_000


async def test_a_thinking_block_under_another_prompt_is_stale(
    sim: MessagesSim, model: MessagesModel
) -> None:
    sim.script = scripted(turn(Think("hm"), Text("Yes")), "Never said")
    talk: list[dict[str, Any]] = [{"role": "user", "content": "Really?"}]
    first = await answered(model, asked(messages=talk, reasoning_effort="high"))
    talk += [{"role": "assistant", "content": first.content}, {"role": "user", "content": "Why?"}]

    with pytest.raises(StaleThinking):
        await answered(
            model,
            asked(
                messages=talk,
                system=[{"type": "text", "text": "Be long."}],
                reasoning_effort="high",
            ),
        )


@pytest.mark.parametrize(
    ("scene", "error"),
    [
        (turn("x", fault=Drop()), ModelBusy),
        (turn("x", fault=HttpError(529)), ModelBusy),
        (turn("x", fault=HttpError(403)), ModelRefused),
        (turn("x", fault=ErrorEvent(2)), ModelBusy),
        (turn("x", fault=Cut(events=3)), BrokenStream),
        (turn("x", fault=EndEarly()), BrokenStream),
        (turn(Call("now"), fault=Cut(bytes=700)), BrokenStream),
    ],
    ids=str,
)
async def test_what_goes_wrong_on_the_way_is_named(
    sim: MessagesSim, model: MessagesModel, scene: Turn, error: type[ModelError]
) -> None:
    sim.script = scripted(scene)

    with pytest.raises(error):
        await answered(model, asked())


async def test_the_time_to_wait_comes_from_the_wire(sim: MessagesSim, model: MessagesModel) -> None:
    sim.script = scripted(turn("x", fault=HttpError(429, retry_after=3)))

    with pytest.raises(ModelBusy) as busy:
        await answered(model, asked())
    assert busy.value.retry_after == 3.0


async def test_a_tool_call_cut_by_the_limit_ends_as_max_tokens(
    sim: MessagesSim, model: MessagesModel
) -> None:
    sim.script = scripted(turn("Wait", Call("now", {"zone": "Europe/Rome"}, cut=True)))

    async with asyncio.timeout(WAIT):
        pieces = [piece async for piece in model.stream(asked())]

    answer = pieces[-1]
    assert isinstance(answer, Answer)
    assert ToolChosen("now") in pieces
    assert answer.stop == "max_tokens"
    assert answer.content[-1]["input"] == {}


async def test_a_wrong_key_is_refused_with_the_cure(sim: MessagesSim) -> None:
    async with serving(app(sim)) as url:
        model = MessagesModel("sk-wrong", url, SystemClock())
        with pytest.raises(ModelRefused, match="check ANTHROPIC_API_KEY"):
            await answered(model, asked())
        await model.close()


async def test_an_unknown_model_is_refused_with_the_cure(model: MessagesModel) -> None:
    with pytest.raises(ModelRefused, match="check the model's name"):
        await answered(model, asked("claude-nova-1"))
