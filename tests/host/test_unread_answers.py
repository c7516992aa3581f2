"""A call that left and came back as nobody can read it: no second run without a person.

One host serves them all; each manner of an answer is a tool, each test has a chat of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from simulators.messages.turns import Call, turn
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, staged, until
from tests.host.tool_agent import PATIENCE, buttons
from tests.mcp.servers.starting import HERE
from tests.mcp.servers.unread import BODIES, Unread

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

DOORS = ("mcp", "stream", "messages", "stdio", "hook")
"""MCP over HTTP as JSON, as a stream, over the older transport and over stdio; a webhook."""
UNREAD = {
    "mcp": "html deep shape list empty bytes cut torn huge zipped kind words accepted nothing "
    "elsewhere broken nan endless both foreign",
    "stream": "deep shape empty cut words nan endless both foreign",
    "messages": "deep shape bytes cut words nan endless both",
    "stdio": "deep shape bytes cut words huge nan endless both",
    "hook": "html deep empty bytes cut torn huge zipped nan endless nothing elsewhere broken",
}
SAID_OTHERWISE = {("hook", "torn"), ("hook", "elsewhere"), ("hook", "broken")}
"""Where the specification of skills has its own shape for what went wrong."""


class House:
    """One agent with all these servers and skills, all of which may run unasked."""

    def __init__(self, stage: Stage, server: Unread) -> None:
        self.stage = stage
        self.server = server
        self.log = stage.folder / "runs"
        self.log.touch()
        program = {"command": sys.executable, "args": ["-I", "-S", str(HERE / "unread.py")]}
        stage.agents["mcpServers"] = {
            "mcp": {"url": f"{server.url}/mcp"},
            "stream": {"url": f"{server.url}/stream"},
            "messages": {"url": f"{server.url}/sse"},
            "stdio": program | {"env": {"LOG": str(self.log)}},
        }
        self.bot: Bot = stage.bot(
            "Clerk",
            mcpServers=[door for door in DOORS if door != "hook"],
            skills=[self._skill(manner) for manner in BODIES],
            whitelistPatterns=["mcp:*:*", "skill:*"],
        )

    def _skill(self, manner: str) -> dict[str, Any]:
        said = {"name": f"hook_{manner}", "description": "Do.", "inputSchema": {"type": "object"}}
        return said | {"webhookUrl": f"{self.server.url}/hook/{manner}"}

    def runs(self, door: str, manner: str) -> int:
        known = [*self.server.runs, *self.log.read_text().splitlines()]
        return known.count(f"{door} {manner}")

    def obeys(self, door: str, manner: str) -> tuple[Person, Room]:
        """Somebody wants a call; the model makes it, and then makes the same once more."""
        tool = f"skill__hook_{manner}" if door == "hook" else f"{door}__{manner}"
        call, order = Call(tool, {"n": 1}), f"do {door} {manner}."
        self.stage.script.on(turn(call), turn("Again!", call), "both done", user=order)
        person = self.stage.person(f"{door} {manner}")
        room = self.stage.world.private(person, self.bot)
        self.stage.world.say(person, room, order)
        return person, room

    def told(self, door: str, manner: str) -> str:
        """What the model read of the call."""
        order = f"do {door} {manner}."
        asked = [one for one in self.stage.requests() if order in json.dumps(one["messages"])]
        blocks = asked[-1]["messages"][-1]["content"]
        return " ".join(str(block) for block in blocks if block["type"] == "tool_result")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    server = Unread()
    await server.start()
    try:
        async with staged(tmp_path_factory.mktemp("unread")) as stage:
            house = House(stage, server)
            async with stage.host(LIMITS__REQUESTSPERMINUTE="1000") as host:
                await until(lambda: all(one.state == "up" for one in host.pool.servers), 45)
                yield house
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("door", "manner"), [(door, manner) for door in DOORS for manner in UNREAD[door].split()]
)
async def test_a_call_that_ran_and_cannot_be_read_runs_again_only_where_a_person_says_so(
    house: House, door: str, manner: str
) -> None:
    _, room = house.obeys(door, manner)

    def asked() -> bool:
        return any(buttons(message) for message in room.messages.values())

    await house.stage.world.until(asked, PATIENCE)
    assert house.runs(door, manner) == 1
    assert "Outcome unknown" in house.told(door, manner) or (door, manner) in SAID_OTHERWISE


@pytest.mark.parametrize("door", DOORS)
async def test_half_a_surrogate_pair_costs_a_result_one_character(house: House, door: str) -> None:
    _, room = house.obeys(door, "half")
    await house.stage.world.until(
        lambda: "both done" in " ".join(house.stage.texts(room, house.bot.id)), PATIENCE
    )
    assert house.runs(door, "half") == 2
    assert "half \ufffd end" in house.told(door, "half")
