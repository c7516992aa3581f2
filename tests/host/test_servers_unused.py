"""A tool server that no agent has any more is let go: hosts live for weeks, agents change daily."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from bot import app
from simulators.messages.turns import Call, turn
from tests.host.desk import PATIENCE, Desk
from tests.host.stage import Stage, until


async def test_a_server_that_no_agent_names_any_more_is_closed_and_one_that_stays_is_not(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "UNUSED_S", 0.05)
    desk, ann = Desk(stage, whitelistPatterns=["*"]), stage.person("Ann")
    room = desk.room(ann)
    one = stage.agents["mcpServers"]["desk"]
    stage.agents["mcpServers"]["old"] = one | {"args": [*one["args"], "-"]}
    stage.agents["agents"][0]["mcpServers"] = ["desk", "old"]
    stage.script.on(turn(Call("desk__write", {"text": "hello"})), "written")
    async with desk.host() as host:
        assert _at_work(desk) == 2
        stage.agents["agents"][0]["mcpServers"] = ["desk"]
        stage.write_agents()
        await until(lambda: [one.names for one in host.pool.servers] == [["desk"]], PATIENCE)
        await until(lambda: _at_work(desk) == 1, PATIENCE)
        assert await stage.ask(ann, room, desk.bot, "write hello") == "written"
    assert desk.done == ["write hello"]


def _at_work(desk: Desk) -> int:
    """How many server processes of this desk there are."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            count += f"DESK_LOG={desk.log}".encode() in (entry / "environ").read_bytes()
    return count
