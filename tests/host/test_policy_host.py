"""The written rule in a running host: what is hidden, what is refused, and that it is read live."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from registry.policy import ToolPolicy
from simulators.messages.turns import Call, turn
from simulators.telegram.people import Bot
from tests.host.stage import Stage

DESK = Path(__file__).parents[1] / "mcp" / "servers" / "desk.py"


def clerk(stage: Stage, **agent: Any) -> tuple[Bot, Path]:
    """A bot whose agent may do everything at the desk, and the log of what it did there."""
    log = stage.folder / "desk.log"
    log.touch()
    env = {"DESK_LOG": str(log)}
    stage.agents["mcpServers"]["desk"] = {
        "command": sys.executable,
        "args": [str(DESK)],
        "env": env,
    }
    return stage.bot("Clerk", mcpServers=["desk"], whitelistPatterns=["mcp:desk:*"], **agent), log


def tools(stage: Stage, request: int = -1) -> list[str]:
    names = [tool["name"] for tool in stage.requests()[request].get("tools", [])]
    return [name for name in names if name != "read_more"]


def told(stage: Stage) -> list[str]:
    blocks = stage.requests()[-1]["messages"][-1]["content"]
    found = [block["content"] for block in blocks if block["type"] == "tool_result"]
    return [one if isinstance(one, str) else one[0]["text"] for one in found]


async def test_a_disabled_tool_is_neither_shown_nor_run(stage: Stage) -> None:
    bot, log = clerk(stage, toolPolicy={"disabledTools": ["WRITE"]})
    ann = stage.person("Ann")
    stage.script.on(turn(Call("desk__write", {"text": "x"})), "no")
    async with stage.host():
        assert await stage.ask(ann, stage.world.private(ann, bot), bot, "go") == "no"
    assert tools(stage) == ["desk__delete_note", "desk__look", "desk__slow"]
    assert told(stage) == ['{"error": "Unknown tool: desk__write"}']
    assert log.read_text() == ""


async def test_only_allowed_tools_are_shown(stage: Stage) -> None:
    policy = {
        "toolsets": {"reading": ["mcp:desk:look"]},
        "allowedToolsets": ["reading"],
        "allowedIndividualTools": ["slow"],
    }
    bot, _ = clerk(stage, toolPolicy=policy)
    ann = stage.person("Ann")
    stage.script.on("hi")
    async with stage.host():
        await stage.ask(ann, stage.world.private(ann, bot), bot, "go")
    assert tools(stage) == ["desk__look", "desk__slow"]


async def test_an_empty_list_of_allowed_tools_leaves_none(stage: Stage) -> None:
    bot, _ = clerk(stage, toolPolicy={"allowedIndividualTools": []})
    ann = stage.person("Ann")
    stage.script.on("hi")
    async with stage.host():
        await stage.ask(ann, stage.world.private(ann, bot), bot, "go")
    assert tools(stage) == []


async def test_a_tool_for_admins_is_there_for_admins_alone(stage: Stage) -> None:
    condition = {"tools": ["write"], "roles": ["admin"]}
    bot, log = clerk(stage, toolPolicy={"conditions": [condition]})
    ann, ben = stage.person("Ann"), stage.person("Ben")
    stage.script.on(turn(Call("desk__write", {"text": "by ann"})), "done", user="ann here")
    stage.script.on(turn(Call("desk__write", {"text": "by ben"})), "no", user="ben here")
    async with stage.host(ADMINS=str(ann.id)):
        await stage.ask(ann, stage.world.private(ann, bot), bot, "ann here")
        await stage.ask(ben, stage.world.private(ben, bot), bot, "ben here")
    assert log.read_text() == "write by ann\n"
    assert "desk__write" not in tools(stage)


async def test_a_condition_as_text_decides_by_role_flag_chat_and_person(stage: Stage) -> None:
    ann, ben = stage.person("Ann"), stage.person("Ben")
    when = f'role in ["admin", "manager"] and "ai" in features and person == {ann.id}'
    conditions = [
        {"tools": ["write"], "when": when},
        {"tools": ["slow"], "when": 'chat == "group"'},
    ]
    bot, log = clerk(stage, toolPolicy={"conditions": conditions, "features": ["ai"]})
    stage.script.on(turn(Call("desk__write", {"text": "by ann"})), "done", user="ann here")
    stage.script.on(turn(Call("desk__write", {"text": "by ben"})), "no", user="ben here")
    async with stage.host(ADMINS=f"{ann.id},{ben.id}"):
        await stage.ask(ann, stage.world.private(ann, bot), bot, "ann here")
        assert tools(stage) == ["desk__delete_note", "desk__look", "desk__write"]
        await stage.ask(ben, stage.world.private(ben, bot), bot, "ben here")
    assert tools(stage) == ["desk__delete_note", "desk__look"]
    assert log.read_text() == "write by ann\n"


async def test_the_rule_is_read_at_each_call_of_a_running_turn(stage: Stage) -> None:
    bot, log = clerk(stage)
    ann = stage.person("Ann")
    call = Call("desk__write", {"text": "x"})
    stage.script.on(turn(call), turn(call, gate="held"), "then not")
    async with stage.host() as host:
        room = stage.world.private(ann, bot)
        stage.world.say(ann, room, "go")
        await stage.sim.gates.reached("held")
        stage.agents["agents"][0]["toolPolicy"] = {"disabledTools": ["mcp:desk:write"]}
        stage.write_agents()
        now = ToolPolicy(disabled_tools=("mcp:desk:write",))
        await host.catalog.until(lambda s: s.agents["clerk"].value.tool_policy == now)
        stage.sim.gates.open("held")
        assert (await stage.answer(room, bot)).text == "then not"
    assert log.read_text() == "write x\n"
    assert "not available to you" in told(stage)[0]
    assert tools(stage, 0) == tools(stage, 2)  # what is rendered is frozen, what is allowed is not
