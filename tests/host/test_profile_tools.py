"""The tool policy of a profile, as document 4 prints it, seen in the model's requests."""

from __future__ import annotations

import pytest

from simulators.messages.turns import Call, turn
from tests.host.profiled import POLICY, housed
from tests.host.stage import CLOCK_SERVER

SERVERS = dict.fromkeys(("planning_tools", "other_tools"), CLOCK_SERVER)
TOOLS = {
    "mcpServers": [*SERVERS],
    "whitelistPatterns": ["mcp:*:*"],
    "toolPolicy": {"toolsets": {"monitoring_tools": ["mcp:other_tools:convert_time"]}},
}


async def test_only_the_tools_that_a_profile_allows_are_shown_and_run(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    agents = [("Planner", POLICY, TOOLS), ("Free", "type: none", TOOLS)]
    folder = tmp_path_factory.mktemp("policy")
    async with housed(folder, *agents, servers=SERVERS) as house:
        agent, free = house["Planner"], house["Free"]
        hidden = Call("other_tools__get_current_time", {"timezone": "UTC"})
        shown = Call("planning_tools__get_current_time", {"timezone": "UTC"})
        agent.script(turn(hidden), turn(shown), "done")
        free.script(turn(hidden), "done")
        assert (await agent.ask(), await free.ask()) == ("done", "done")
        names = [tool["name"] for tool in agent.requests[0]["tools"] if "__" in tool["name"]]
        assert sorted(names) == [
            "other_tools__convert_time",
            "planning_tools__convert_time",
            "planning_tools__get_current_time",
        ]
        assert len(free.requests[0]["tools"]) == len(agent.requests[0]["tools"]) + 1
        found = [body["error"] for body in await house.records(agent, "result")]
        assert found == [True, False]
        assert "Unknown tool" in str((await house.records(agent, "result"))[0]["content"])
        assert [body["error"] for body in await house.records(free, "result")] == [False]
