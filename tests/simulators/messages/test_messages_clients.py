"""The simulator as others' clients see it: the SDK's tool runner, and pydantic-ai."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from anthropic import beta_async_tool

from simulators.messages.script import scripted
from simulators.messages.threads import BETA
from simulators.messages.turns import Call, Cut, Think, turn
from tests.simulators.messages.conftest import Api

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.asyncio(loop_scope="module")
LONG = "An answer in pieces, word by word. " * 8


@beta_async_tool
async def weather(place: str) -> str:
    """The weather of a place."""
    return f"{place}: 12 degrees"


async def test_the_sdks_tool_runner_calls_tools_side_by_side_to_an_answer(api: Api) -> None:
    both = turn(Call("weather", {"place": "Oslo"}), Call("weather", {"place": "Rome"}))
    api.sim.script = scripted(both, "Cold in both.")
    runner = api.sdk.beta.messages.tool_runner(
        model="claude-sonnet-5-5",
        max_tokens=2000,
        tools=[weather],
        messages=[{"role": "user", "content": "Weather in Oslo and Rome?"}],
    )
    last = await runner.until_done()
    assert last.content[0].to_dict()["text"] == "Cold in both."
    sent = [r.body["messages"] for r in api.sim.records.all()]
    results = [b["content"] for b in sent[1][-1]["content"]]
    assert [r.body["thread"]["type"] for r in api.sim.records.all()] == ["create", "continue"]
    assert [len(messages) for messages in sent] == [1, 1]
    assert "Oslo: 12 degrees" in str(results)
    assert "Rome: 12 degrees" in str(results)


async def test_a_held_conversation_is_continued_once_and_lost_ones_are_named(
    api: Api, ask: Callable[..., Any]
) -> None:
    api.sim.script = scripted("Noted.", "Blue.", "Green.")
    beta = {"anthropic_beta": BETA}
    create = ask("My colour is blue.", system="Be short.", thread={"type": "create"})
    status, body, _ = await api.post(create)
    assert (status, body["error"]["message"]) == (400, "thread: Extra inputs are not permitted")
    _, first, _ = await api.post(create, **beta)
    follow = {"type": "continue", "previous_message_id": first["id"]}
    status, body, _ = await api.post(ask("Which?", system="No.", thread=follow), **beta)
    assert body["error"]["message"] == "system: cannot be specified when continuing a thread"
    status, second, _ = await api.post(ask("Which?", thread=follow), **beta)
    assert second["content"][0]["text"] == "Blue."
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]
    for wrong, code, said in (
        (follow, 409, "thread_already_continued"),
        (follow | {"previous_message_id": "msg_nope"}, 404, "thread_not_found"),
    ):
        status, body, _ = await api.post(ask("Again", thread=wrong), **beta)
        assert (status, body["error"]["details"]) == (code, {"error_code": said})


async def test_a_turn_that_was_cut_can_be_made_again(api: Api, ask: Callable[..., Any]) -> None:
    api.sim.script = scripted("One.", turn("Two.", fault=Cut(bytes=10)), "Two.")
    beta = {"anthropic_beta": BETA}
    _, first, _ = await api.post(ask("a", thread={"type": "create"}), **beta)
    follow = ask("b", thread={"type": "continue", "previous_message_id": first["id"]})
    with pytest.raises(aiohttp.ClientError):
        await api.post(follow, **beta)
    assert (await api.post(follow, **beta))[1]["content"][0]["text"] == "Two."


async def test_the_sdks_thread_starts_anew_when_the_server_lost_it(api: Api) -> None:
    api.sim.script = scripted("One.", "Two.")
    thread = api.sdk.beta.messages.thread(model="claude-sonnet-5-5", max_tokens=500)
    await thread.send({"role": "user", "content": "first"})
    api.sim.threads.clear()
    reply = await thread.send({"role": "user", "content": "second"})
    assert reply.content[0].to_dict()["text"] == "Two."
    kinds = [r.body["thread"]["type"] for r in api.sim.records.all()]
    assert kinds == ["create", "continue", "create"]
    assert len(api.sim.records.all()[-1].body["messages"]) == 3


async def test_the_sdks_tool_runner_streams(api: Api) -> None:
    api.sim.script = scripted(
        turn(Think("Which tool?"), "Let me look.", Call("weather", {"place": "Oslo"})),
        "12 degrees.",
    )
    runner = api.sdk.beta.messages.tool_runner(
        model="claude-sonnet-5-5",
        max_tokens=2000,
        tools=[weather],
        thinking={"type": "adaptive", "display": "summarized"},
        messages=[{"role": "user", "content": "Weather in Oslo?"}],
        stream=True,
    )
    kinds: list[str] = []
    texts: list[str] = []
    async for stream in runner:
        kinds += [event.type async for event in stream]
        message = await stream.get_final_message()
        texts += [b.text for b in message.content if b.type == "text"]
    assert texts == ["Let me look.", "12 degrees."]
    assert kinds.count("message_stop") == 2


async def test_a_tool_of_the_runner_that_fails_is_told_to_the_model(api: Api) -> None:
    @beta_async_tool
    async def broken(place: str) -> str:
        """Never works."""
        raise ValueError(f"no weather in {place}")

    api.sim.script = scripted(turn(Call("broken", {"place": "Oslo"})), "It is broken.")
    runner = api.sdk.beta.messages.tool_runner(
        model="claude-sonnet-5-5",
        max_tokens=2000,
        tools=[broken],
        messages=[{"role": "user", "content": "Weather?"}],
    )
    assert (await runner.until_done()).stop_reason == "end_turn"
    result = api.sim.records.all()[1].body["messages"][-1]["content"][0]
    assert result["is_error"]
    assert "no weather in Oslo" in str(result["content"])


def agent(api: Api, **more: Any) -> Any:
    """An agent of pydantic-ai; the test is skipped where that is not installed."""
    pytest.importorskip("pydantic_ai")
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    model = AnthropicModel(
        "claude-sonnet-5-5", provider=AnthropicProvider(anthropic_client=api.sdk)
    )
    return Agent(model, instructions="Be short.", **more)


async def test_pydantic_ai_runs_tools_to_an_answer(api: Api) -> None:
    one = agent(api)

    @one.tool_plain  # type: ignore[untyped-decorator]
    def roll(sides: int) -> int:
        """Roll a die."""
        return sides - 2

    api.sim.script = scripted(turn("Rolling.", Call("roll", {"sides": 6})), "A four.")
    result = await one.run("Roll a die")
    assert result.output == "A four."
    assert result.usage.input_tokens > 0
    assert "4" in str(api.sim.records.all()[1].body["messages"][-1]["content"])


async def test_pydantic_ai_streams_and_goes_on_with_its_history(api: Api) -> None:
    one = agent(api)
    api.sim.script = scripted(LONG, "Second.")
    async with one.run_stream("One") as streamed:
        pieces = [piece async for piece in streamed.stream_text(delta=True, debounce_by=None)]
        history = streamed.all_messages()
    assert len(pieces) > 1
    assert "".join(pieces) == LONG
    assert (await one.run("Two", message_history=history)).output == "Second."
    assert [m["role"] for m in api.sim.records.all()[-1].body["messages"]] == [
        "user",
        "assistant",
        "user",
    ]


async def test_pydantic_ai_gets_a_typed_answer(api: Api) -> None:
    from pydantic import BaseModel

    class City(BaseModel):
        name: str
        people: int

    one = agent(api, output_type=City)
    api.sim.script = scripted(turn(Call("final_result", {"name": "Oslo", "people": 700_000})))
    result = await one.run("The capital of Norway")
    assert result.output == City(name="Oslo", people=700_000)
