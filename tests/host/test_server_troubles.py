"""What is wrong with a tool server is told in words, with a cure, and costs nobody else anything.

One host serves all; each trouble is a server, each conversation is somebody's own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bot.app import App
from tests.host.stage import Stage, staged, until
from tests.host.tool_caller import ToolCaller
from tests.mcp.servers.odd import ANSWERS
from tests.mcp.servers.saying import FOREIGN, Saying, saying
from tests.mcp.servers.starting import HERE
from tests.mcp.test_http import free_port

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

KEY = "canary-of-the-server-5b1d"
STDIO = (
    "renamed",
    "parted",
    "left",
    "undeclared",
    "none",
    "spread",
    "chatty",
    "dead",
    "dies_greeted",
    "long",
    *ANSWERS,
)
HTTP = ("locked", "barred", "elsewhere", "unwilling", "broken", "zipped", "long_http", *FOREIGN)
UP = {"renamed", "parted", "left", "undeclared", "none", "spread", "chatty", *ANSWERS}


class House(ToolCaller):
    """A bot whose agent has all the servers that answer, and one with all the others."""

    def __init__(self, stage: Stage, server: Saying) -> None:
        self.boss, self.port = stage.person("Boss"), free_port()
        stage.environ["ADMINS"] = str(self.boss.id)
        stage.environ["KEY"] = KEY
        servers: dict[str, Any] = {name: odd(name) for name in STDIO}
        for name in HTTP:
            manner = "long" if name == "long_http" else name
            servers[name] = {"url": f"{server.url}/{manner}/mcp"}
        servers["shapeless"] = {"url": f"{server.url}/shapeless/mcp"}
        servers["eventless"] = {"url": f"{server.url}/website/sse"}
        servers["nobody_there"] = {"url": f"http://127.0.0.1:{self.port}/mcp"}
        servers["no_stream_there"] = {"url": f"http://127.0.0.1:{self.port}/sse"}
        servers["tired"] = servers["locked"] | {"headers": {"Authorization": "Bearer ${KEY}"}}
        super().__init__(stage, servers, mcpServers=sorted(UP))
        stage.bot("Lost", mcpServers=sorted(set(servers) - UP))
        self.host: App

    def health(self, name: str) -> dict[str, Any]:
        servers: list[dict[str, Any]] = self.host.report()["servers"]
        return next(one for one in servers if one["names"] == [name])

    def why(self, name: str) -> str:
        return str(self.health(name)["why"])


def odd(manner: str) -> dict[str, Any]:
    """A server over stdio with this oddity."""
    args = ["-I", "-S", str(HERE / "odd.py"), manner]
    return {"command": sys.executable, "args": args, "env": {"KEY": "${KEY}"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with saying() as server, staged(tmp_path_factory.mktemp("troubles")) as stage:
        house = House(stage, server)
        async with stage.host(LIMITS__REQUESTSPERMINUTE="1000") as house.host:
            pool, count = house.host.pool, len(stage.agents["mcpServers"])
            await until(
                lambda: (
                    len(pool.servers) == count and all(s.settled.is_set() for s in pool.servers)
                ),
                45,
            )
            yield house


async def test_parameters_with_names_that_models_do_not_take_are_renamed_both_ways(
    house: House,
) -> None:
    said = await house.called(
        "renamed__search", top_2=3, ids=["x"], a_b="here", top=True, **{"$top": 4}
    )
    assert "called with" in said
    (tool,) = (
        one for one in house.stage.requests()[-1]["tools"] if one["name"] == "renamed__search"
    )
    schema = tool["input_schema"]
    shown = list(schema["properties"])
    assert len(shown) == 5
    assert all(len(name) <= 64 and "$" not in name and "[" not in name for name in shown)
    assert "top" in shown
    new = {schema["properties"][name]["type"]: name for name in shown}
    assert schema["required"] == [new["integer"], new["string"]]
    assert schema["dependentRequired"] == {new["integer"]: [new["array"]]}
    assert "$top" in schema["properties"][new["integer"]]["description"]
    said = await house.called(
        "renamed__search", **{new["integer"]: 3, new["array"]: ["x"], new["string"]: "here"}
    )
    own = json.dumps({"$top": 3, "ids[]": ["x"], "a b": "here"}, sort_keys=True)
    assert f"called with {own}" in said


@pytest.mark.parametrize(
    ("tool", "own"),
    [
        ("referring", {"$top": 3, "a b": "here", "ids[]": ["x"]}),
        ("either", {"kind": "a", "$top": 4}),
        ("either", {"kind": "b", "ids[]": [1]}),
    ],
)
async def test_parameters_that_only_a_part_of_the_schema_names_are_offered_and_renamed(
    house: House, tool: str, own: dict[str, Any]
) -> None:
    await house.called(f"parted__{tool}")
    schema = next(
        one["input_schema"]
        for one in house.stage.requests()[-1]["tools"]
        if one["name"] == f"parted__{tool}"
    )
    new = {"kind": "kind"}
    for name, one in schema["properties"].items():
        if (said := one.get("description", "")).startswith("("):
            new[said[1 : said.index(")")]] = name
    assert not {"$ref", "oneOf", "allOf", "anyOf"} & schema.keys()
    assert "$" not in "".join(schema["properties"])
    said = await house.called(f"parted__{tool}", **{new[name]: one for name, one in own.items()})
    assert f"called with {json.dumps(own, sort_keys=True)}" in said


async def test_tools_that_are_left_out_are_named_with_the_reason(house: House) -> None:
    notes = house.health("left")["notes"]
    names = ("hidden", "wrong", "huge", "odd", "refers", "away", "asks")
    for words in (*map(repr, names), "listed twice"):
        assert [note for note in notes if words in note], words
    assert [note for note in notes if "\n" in note] == []
    assert "notes" not in house.health("renamed")
    room = house.stage.world.private(house.boss, house.bot)
    said = await house.stage.ask(house.boss, room, house.bot, "/agent clerk")
    assert "'refers'" in said
    assert "'asks' is left out: it asks the model for a credential, 'api_key'" in said
    assert "'wrong'" in said
    assert "left" in said


async def test_an_agents_servers_are_shown_with_what_is_wrong_with_them(house: House) -> None:
    room = house.stage.world.private(house.boss, house.bot)
    said = await house.stage.ask(house.boss, room, house.bot, "/agent lost")
    assert "HTTP 401" in said
    assert "ModuleNotFoundError" in said


async def test_tools_are_asked_for_though_a_server_does_not_declare_them(house: House) -> None:
    assert "called with" in await house.called("undeclared__fine", n=1)
    assert house.health("none")["state"] == "up"
    assert any("no tools" in note for note in house.health("none")["notes"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("locked", ["HTTP 401", "headers", "auth"]),
        ("tired", ["HTTP 401", "Authorization"]),
        ("barred", ["HTTP 403"]),
        ("elsewhere", ["HTTP 404", "URL"]),
        ("unwilling", ["HTTP 400"]),
        ("broken", ["HTTP 500", "server's own log"]),
        ("zipped", ["gzip", "switch"]),
        ("website", ["text/html", "web page", "URL"]),
        ("poem", ["text/plain", "URL"]),
        ("api", ["not an MCP message", "URL"]),
        ("shapeless", ["breaks the protocol", "update"]),
        ("eventless", ["stream of events", "URL"]),
        ("nobody_there", ["ConnectError", "127.0.0.1:", "URL"]),
        ("no_stream_there", ["ConnectError", "127.0.0.1:", "URL"]),
        ("dead", ["code 3", "ModuleNotFoundError: no module 'acme'"]),
        ("dies_greeted", ["code 3", "ModuleNotFoundError: no module 'acme'"]),
        ("long", ["list of tools", "8 MB"]),
        ("long_http", ["list of tools", "8 MB"]),
    ],
)
async def test_why_a_server_is_down_is_told_with_a_cure(
    house: House, name: str, words: list[str]
) -> None:
    why = house.why(name)
    assert [word for word in words if word not in why] == [], why
    assert KEY not in why
    assert why.isprintable()
    assert "The tool ran" not in why


@pytest.mark.parametrize("name", ["spread", "chatty"])
async def test_messages_over_several_lines_or_beside_other_text_are_read(
    house: House, name: str
) -> None:
    given = {"text": 'a "} and\na {', "deep": {"a": [{"b": {}}]}}
    said = await house.called(f"{name}__fine", **given)
    assert repr(f"called with {json.dumps(given, sort_keys=True)}") in said


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_that_names_no_call_of_ours_does_not_cost_the_deadline(
    house: House, name: str
) -> None:
    began = time.monotonic()
    said = await house.called(f"{name}__fine")
    assert time.monotonic() - began < 20  # a call may take 60 seconds
    assert ("Cannot read it" if name == "nobody" else "Outcome unknown") in said, said


async def test_nor_does_it_where_several_calls_are_open(house: House) -> None:
    began = time.monotonic()
    orders = [house.orders("foreign__fine") for _ in range(3)]
    told = await asyncio.gather(*(house.told(*order) for order in orders))
    assert time.monotonic() - began < 30
    assert [one for one in told if "Outcome unknown" not in one] == []
