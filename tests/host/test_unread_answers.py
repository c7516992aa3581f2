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

from bot.mcp.server import Breaker
from simulators.messages.turns import Call, turn
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, staged, until
from tests.host.tool_agent import PATIENCE, buttons
from tests.mcp.servers.starting import HERE
from tests.mcp.servers.unread import BODIES, LOOSE, ODD, WRONG, Unread

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

DOORS = ("mcp", "stream", "messages", "stdio", "hook")
"""MCP over HTTP as JSON, as a stream, over the older transport and over stdio; a webhook."""
UNREAD = {
    "mcp": "html deep shape list empty cut torn huge zipped accepted nothing "
    "elsewhere broken both foreign",
    "stream": "deep shape empty cut both foreign",
    "messages": "deep shape cut both",
    "stdio": "deep shape cut huge both",
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
            skills=[self._skill(manner) for manner in BODIES if manner not in ODD],
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
        with pytest.MonkeyPatch.context() as patch:
            # All manners share one server: so many failures in a row leave none of them alone.
            patch.setattr(Breaker.__init__, "__defaults__", (1000, 20.0))
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


@pytest.mark.parametrize("door", ["mcp", "stream", "messages", "stdio"])
async def test_bytes_that_are_no_text_cost_a_result_two_characters(house: House, door: str) -> None:
    assert "\ufffd\ufffd" in await read_twice(house, door, "bytes")


@pytest.mark.parametrize(
    ("door", "manner"),
    [(door, manner) for manner in ODD for door in ("mcp", "stdio")]
    + [(door, "json_part") for door in ("stream", "messages")],
)
async def test_a_result_that_breaks_one_rule_is_read_part_by_part(
    house: House, door: str, manner: str
) -> None:
    told = await read_twice(house, door, manner)
    assert [words for words in ODD[manner][1] if words not in told] == []
    assert "'is_error': True" not in told


@pytest.mark.parametrize(
    ("door", "manner"),
    [(door, manner) for manner in LOOSE for door in ("mcp", "stdio")]
    + [("stream", "marked"), ("messages", "nan")],
)
async def test_a_result_in_loose_json_is_read_for_what_it_says(
    house: House, door: str, manner: str
) -> None:
    told = await read_twice(house, door, manner)
    assert LOOSE[manner] in told
    assert "'is_error': True" not in told


async def test_a_message_is_read_although_its_content_type_is_another(house: House) -> None:
    assert "x" in await read_twice(house, "mcp", "kind")


@pytest.mark.parametrize("manner", WRONG)
async def test_only_the_server_says_that_its_tool_failed(house: House, manner: str) -> None:
    assert "'is_error': True" in await read_twice(house, "stdio", manner)


async def read_twice(house: House, door: str, manner: str) -> str:
    """What the model read of a call that it made twice, and that nobody was asked about."""
    _, room = house.obeys(door, manner)

    def ended() -> bool:
        said = " ".join(house.stage.texts(room, house.bot.id))
        return "both done" in said or any(buttons(one) for one in room.messages.values())

    await house.stage.world.until(ended, PATIENCE)
    assert house.runs(door, manner) == 2, house.told(door, manner)
    return house.told(door, manner)
