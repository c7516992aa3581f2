"""The whole way of one message, through both simulators over HTTP."""

from __future__ import annotations

from simulators.messages.turns import Call, turn
from tests.host.stage import TIME_SERVER, Stage


async def test_a_message_is_answered_by_the_agent_of_its_bot(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("Hello **Ann**", system="You are Echo.")
    async with stage.host():
        assert await stage.ask(ann, room, echo, "hi") == "Hello Ann"


async def test_two_bots_in_one_process_answer_as_two_agents_with_two_models(stage: Stage) -> None:
    one = stage.bot("One", llmOverrides={"model": "claude-sonnet-5-5"})
    two = stage.bot("Two")
    ann = stage.person("Ann")
    stage.script.on("from one", system="You are One.", model="claude-sonnet-5-5")
    stage.script.on("from two", system="You are Two.", model="claude-haiku-5-5")
    async with stage.host():
        assert await stage.ask(ann, stage.world.private(ann, one), one, "hi") == "from one"
        assert await stage.ask(ann, stage.world.private(ann, two), two, "hi") == "from two"


async def test_a_tool_of_a_real_server_is_called(stage: Stage) -> None:
    stage.agents["mcpServers"] = {"time": TIME_SERVER}
    clock = stage.bot("Clock", mcpServers=["time"], whitelistPatterns=["mcp:time:*"])
    ann = stage.person("Ann")
    room = stage.world.private(ann, clock)
    call = Call("time__get_current_time", {"timezone": "Asia/Tokyo"})
    stage.script.on(turn("Let me look.", call), "It is late in Tokyo.")
    async with stage.host():
        said = await stage.ask(ann, room, clock, "what time is it in Tokyo?")
    assert said == "Let me look.\n\nIt is late in Tokyo."
    result = stage.requests()[-1]["messages"][-1]["content"][0]
    assert result["type"] == "tool_result"
    assert "Asia/Tokyo" in str(result["content"])
    assert "is_error" not in result


async def test_a_tool_that_no_pattern_allows_asks_a_person_and_the_turn_waits(
    stage: Stage,
) -> None:
    stage.agents["mcpServers"] = {"time": TIME_SERVER}
    clock = stage.bot("Clock", mcpServers=["time"])
    ann = stage.person("Ann")
    call = Call("time__get_current_time", {"timezone": "Asia/Tokyo"})
    stage.script.on(turn(call))
    async with stage.host():
        said = await stage.ask(ann, stage.world.private(ann, clock), clock, "time?")
    assert said.startswith("May I do this?\nget_current_time of time\ntimezone: Asia/Tokyo")
    assert len(stage.requests()) == 1


async def test_calls_of_one_answer_are_all_answered_in_one_message(stage: Stage) -> None:
    stage.agents["mcpServers"] = {"time": TIME_SERVER}
    clock = stage.bot("Clock", mcpServers=["time"], whitelistPatterns=["mcp:time:*"])
    ann = stage.person("Ann")
    calls = (
        Call("time__get_current_time", {"timezone": "Asia/Tokyo"}),
        Call("time__convert_time", {"source_timezone": "UTC"}),
        Call("no_such_tool", {}),
        Call("time__get_current_time", {"timezone": "Europe/Rome"}),
    )
    stage.script.on(turn(*calls), "Done.")
    async with stage.host():
        assert await stage.ask(ann, stage.world.private(ann, clock), clock, "go") == "Done."
    results = stage.requests()[-1]["messages"][-1]["content"]
    assert [block["type"] for block in results] == ["tool_result"] * 4
    assert [block.get("is_error", False) for block in results] == [False, True, True, False]


async def test_the_conversation_is_remembered_and_slash_new_forgets_it(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("one", "two", "three")
    async with stage.host():
        await stage.ask(ann, room, echo, "first")
        await stage.ask(ann, room, echo, "second")
        assert "new conversation" in await stage.ask(ann, room, echo, "/new")
        await stage.ask(ann, room, echo, "third")
    second, third = stage.requests()[1:]
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
        before = host.store.round_trips
        for number in range(5):
            await stage.ask(ann, room, echo, f"message {number}")
        await host.fleet.lines[0].idle()
        assert host.store.round_trips - before == 4 * 5
