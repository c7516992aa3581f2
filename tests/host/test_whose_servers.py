"""Which servers an agent has, and where each of its settings is from, as /agent tells it."""

from __future__ import annotations

import json

from tests.host.stage import CLOCK_SERVER, Stage, until

SAID = {
    "nothing": ({}, True),
    "no endpoints": ({"mcpServerEndpoints": []}, False),
    "no servers": ({"mcpServers": []}, False),
    "the server": ({"mcpServers": ["time"]}, True),
    "the server, no endpoints": ({"mcpServerEndpoints": [], "mcpServers": ["time"]}, True),
}


async def test_an_agent_has_the_tops_servers_where_it_says_nothing_of_servers(
    stage: Stage,
) -> None:
    stage.agents["mcpServers"] = {"time": CLOCK_SERVER}
    ann = stage.person("Ann")
    bots = {}
    for number, (what, (fields, _)) in enumerate(SAID.items()):
        bots[what] = stage.bot(f"Bot{number}")
        definition = stage.agents["agents"][-1]
        del definition["mcpServerEndpoints"], definition["mcpServers"]
        definition |= fields
    stage.script.on("fine", again=True)
    async with stage.host() as host:
        await until(lambda: [one["state"] for one in host.report()["servers"]] == ["up"])
        for what, bot in bots.items():
            assert await stage.ask(ann, stage.world.private(ann, bot), bot, "hi") == "fine"
            tools = [tool["name"] for tool in stage.requests()[-1].get("tools", [])]
            assert ("time__get_current_time" in tools) == SAID[what][1], what


async def test_agent_shows_where_each_setting_is_from(stage: Stage) -> None:
    stage.agents["mcpServers"] = {"time": CLOCK_SERVER}
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ |= {"ADMINS": str(boss.id), "LLM__REASONINGEFFORT": "low"}
    stage.environ["AGENTS__0__ID"] = "echo"
    stage.environ["AGENTS__0__DESCRIPTION"] = "Repeats."
    agent = stage.agents["agents"][-1]
    del agent["mcpServerEndpoints"], agent["mcpServers"]
    agent["toolPolicy"] = {"disabledTools": ["convert_time"], "requireConfirmation": ["get_*"]}
    agent["costConfig"] = {"maxRequestsPerMinute": 7}
    agent["safetyConfig"] = {"maxIterations": 3}
    agent["skills"] = [
        {
            "name": "deals",
            "description": "Finds deals.",
            "inputSchema": {"type": "object", "properties": {}},
            "executionType": "webhook",
            "webhookUrl": "http://127.0.0.1:9/deals",
        }
    ]
    room = stage.world.private(boss, echo)
    async with stage.host() as host:
        await until(lambda: [one["state"] for one in host.report()["servers"]] == ["up"])
        page = await stage.ask(boss, room, echo, "/agent echo")
    lines = dict(
        line.removeprefix("• ").split(": ", 1) for line in page.splitlines() if ": " in line
    )
    assert lines["description"] == "Repeats. · AGENTS__0__DESCRIPTION"
    assert lines["model"] == "claude-haiku-5-5 · LLM__MODEL"
    assert lines["reasoningEffort"] == "low · LLM__REASONINGEFFORT"
    assert lines["maxTokens"] == "8000 · default"
    assert lines["whitelistPatterns"] == "– · default"
    assert lines["linkPreviews"] == "false · default"
    assert lines["servers"].startswith("time (stdio) · the top of ")
    assert "agents.json" in lines["servers"]
    policy, _, place = lines["toolPolicy"].rpartition(" · ")
    assert json.loads(policy) == agent["toolPolicy"]
    assert "agents.json:" in place
    assert lines["safetyConfig"].startswith('{"maxIterations": 3} · ')
    assert lines["costConfig"].startswith('{"maxRequestsPerMinute": 7} · ')
    assert lines["skills"].startswith("deals · ")
    assert "• mcp:time:get_current_time asks a person every time" in page
    assert "• skill:deals runs" in page
    assert "convert_time runs" not in page
