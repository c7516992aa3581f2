"""A tool server that no agent has any more is let go: hosts live for weeks, agents change daily."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from bot import app
from simulators.messages.turns import Call, turn
from tests.host.stage import Stage, until
from tests.host.tool_agent import PATIENCE, ToolAgent


async def test_a_server_that_no_agent_names_any_more_is_closed_and_one_that_stays_is_not(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "UNUSED_S", 0.05)
    agent, ann = ToolAgent(stage, whitelistPatterns=["*"]), stage.person("Ann")
    room = agent.room(ann)
    one = stage.agents["mcpServers"]["desk"]
    stage.agents["mcpServers"]["old"] = one | {"args": [*one["args"], "-"]}
    stage.agents["agents"][0]["mcpServers"] = ["desk", "old"]
    stage.script.on(turn(Call("desk__write", {"text": "hello"})), "written")
    async with agent.host() as host:
        assert _at_work(agent) == 2
        stage.agents["agents"][0]["mcpServers"] = ["desk"]
        stage.write_agents()
        await until(lambda: [one.names for one in host.pool.servers] == [["desk"]], PATIENCE)
        await until(lambda: _at_work(agent) == 1, PATIENCE)
        assert await stage.ask(ann, room, agent.bot, "write hello") == "written"
    assert agent.done == ["write hello"]


def _at_work(agent: ToolAgent) -> int:
    """How many server processes of this desk there are."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            count += f"DESK_LOG={agent.log}".encode() in (entry / "environ").read_bytes()
    return count
