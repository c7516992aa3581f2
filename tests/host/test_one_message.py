"""The whole way of one message, through both simulators over HTTP."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

import pytest

from simulators.messages.turns import Call, turn
from tests.host.chat import CLOCK, HostChat
from tests.host.stage import CLOCK_SERVER, TIME_SERVER, Stage


async def test_a_message_is_answered_by_the_agent_of_its_bot(chat: HostChat) -> None:
    chat.script.on("Hello **Ann**", system="You are Echo.")
    assert await chat.ask("hi") == "Hello Ann"


async def test_two_bots_in_one_process_answer_as_two_agents_with_two_models(stage: Stage) -> None:
    one = stage.bot("One", llmOverrides={"model": "claude-sonnet-5-5"})
    two = stage.bot("Two")
    ann = stage.person("Ann")
    stage.script.on("from one", system="You are One.", model="claude-sonnet-5-5")
    stage.script.on("from two", system="You are Two.", model="claude-haiku-5-5")
    async with stage.host():
        assert await stage.ask(ann, stage.world.private(ann, one), one, "hi") == "from one"
        assert await stage.ask(ann, stage.world.private(ann, two), two, "hi") == "from two"


@pytest.mark.chat(
    name="Clock",
    servers={"time": TIME_SERVER},
    mcpServers=["time"],
    whitelistPatterns=["mcp:time:*"],
)
async def test_a_tool_of_a_real_server_is_called(chat: HostChat) -> None:
    call = Call("time__get_current_time", {"timezone": "Asia/Tokyo"})
    chat.script.on(turn("Let me look.", call), "It is late in Tokyo.")
    said = await chat.ask("what time is it in Tokyo?")
    assert said == "Let me look.\n\nIt is late in Tokyo."
    result = chat.requests[-1]["messages"][-1]["content"][0]
    assert result["type"] == "tool_result"
    assert "Asia/Tokyo" in str(result["content"])
    assert "is_error" not in result


@pytest.mark.chat(name="Clock", servers={"time": CLOCK_SERVER}, mcpServers=["time"])
async def test_a_tool_that_no_pattern_allows_asks_a_person_and_the_turn_waits(
    chat: HostChat,
) -> None:
    call = Call("time__get_current_time", {"timezone": "Asia/Tokyo"})
    chat.script.on(turn(call))
    said = await chat.ask("time?")
    assert said.startswith("May I do this?\nget_current_time of time\ntimezone: Asia/Tokyo")
    assert len(chat.requests) == 1


@CLOCK
async def test_calls_of_one_answer_are_all_answered_in_one_message(chat: HostChat) -> None:
    calls = (
        Call("time__get_current_time", {"timezone": "Asia/Tokyo"}),
        Call("time__convert_time", {"source_timezone": "UTC"}),
        Call("no_such_tool", {}),
        Call("time__get_current_time", {"timezone": "Europe/Rome"}),
    )
    chat.script.on(turn(*calls), "Done.")
    assert await chat.ask("go") == "Done."
    results = chat.requests[-1]["messages"][-1]["content"]
    assert [block["type"] for block in results] == ["tool_result"] * 4
    assert [block.get("is_error", False) for block in results] == [False, True, True, False]


async def test_the_conversation_is_remembered_and_slash_new_forgets_it(chat: HostChat) -> None:
    chat.script.on("one", "two", "three")
    await chat.ask("first")
    await chat.ask("second")
    assert "new conversation" in await chat.ask("/new")
    await chat.ask("third")
    second, third = chat.requests[1:]
    assert [m["role"] for m in second["messages"]] == ["user", "assistant", "user"]
    assert [m["role"] for m in third["messages"]] == ["user"]


async def test_a_turn_without_tools_costs_four_round_trips_to_the_store(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("ok", again=True)
    async with stage.host(LEASE_SECONDS="60") as host:
        await stage.ask(ann, room, echo, "warm")
        await host.fleet.lines[0].idle()
        trips = [host.store.round_trips]
        for number in range(5):
            await stage.ask(ann, room, echo, f"message {number}")
            await host.fleet.lines[0].idle()
            trips.append(host.store.round_trips)
    # On a busy machine the host's heartbeat comes in between once.
    assert median(after - before for before, after in pairwise(trips)) == 4
