"""A server that no longer knows its session, and says so in words of its own.

One host serves all; each manner of saying it is a server, each conversation is somebody's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bot.app import App
from tests.host.stage import Stage, staged, until
from tests.host.tool_agent import PATIENCE
from tests.host.tool_caller import ToolCaller
from tests.mcp.servers.saying import FORGOTTEN, Saying, saying

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

WELL = "well"
"""A server that this test does not let forget anything but its manners."""
BALKY = "balky"
"""One that refuses to list its tools for a while."""


class House(ToolCaller):
    """A bot whose agent has all the servers."""

    def __init__(self, stage: Stage, server: Saying) -> None:
        servers = {
            name: {"url": f"{server.url}/{name}/{'sse' if name.startswith('older') else 'mcp'}"}
            for name in (*FORGOTTEN, WELL, BALKY)
        }
        super().__init__(stage, servers)
        self.server = server
        self.host: App

    def connects(self, manner: str) -> int:
        server = next(one for one in self.host.pool.servers if one.names == [manner])
        return server.connects


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with saying() as server, staged(tmp_path_factory.mktemp("sessions")) as stage:
        house = House(stage, server)
        async with stage.host(LIMITS__REQUESTSPERMINUTE="1000") as house.host:
            states = house.host.pool
            count = len(FORGOTTEN) + 2
            await until(lambda: sum(bool(one.connection) for one in states.servers) == count, 45)
            yield house


@pytest.mark.parametrize("manner", FORGOTTEN)
async def test_a_forgotten_session_is_renewed_and_the_call_runs_once(
    house: House, manner: str
) -> None:
    assert "ran 1" in await house.called(f"{manner}__work")
    house.server.forget(manner)
    assert "ran 2" in await house.called(f"{manner}__work")
    assert house.server.ran[manner, "work"] == 2
    assert house.server.asked[manner, "tools/call"] == 3
    assert house.connects(manner) == 2
    assert "ran 3" in await house.called(f"{manner}__work")
    assert house.connects(manner) == 2


@pytest.mark.parametrize("manner", ["sdk", "text"])
async def test_many_calls_that_meet_a_forgotten_session_run_once_each_on_one_new_session(
    house: House, manner: str
) -> None:
    ran, connects = house.server.ran[manner, "work"], house.connects(manner)
    house.server.forget(manner)
    orders = [house.orders(f"{manner}__work") for _ in range(6)]
    told = await asyncio.gather(*(house.told(*order) for order in orders))
    assert [one for one in told if "ran" not in one] == []
    assert house.server.ran[manner, "work"] == ran + 6
    assert house.connects(manner) == connects + 1


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("picky", "The server refused the call: Wrong word"),
        ("moody", "The server refused the call: The session with the shop was not found"),
        ("wordy", "The server refused the call: No such customer"),
        ("curt", "did not run: HTTP 400"),
        ("barred", "did not run: HTTP 403"),
    ],
)
async def test_a_call_that_a_living_session_refuses_costs_no_other_call(
    house: House, tool: str, words: str
) -> None:
    house.server.go_on.clear()
    ran = house.server.ran[WELL, "slow"]
    order = house.orders(f"{WELL}__slow")
    await until(lambda: house.server.ran[WELL, "slow"] == ran + 1, PATIENCE)
    assert words in await house.called(f"{WELL}__{tool}")
    assert house.server.ran[WELL, tool] == (tool in {"moody", "wordy"})
    house.server.go_on.set()
    assert f"ran {ran + 1}" in await house.told(*order)
    assert house.connects(WELL) == 1


async def test_a_tools_own_refusals_in_a_row_cost_few_lists(house: House) -> None:
    before = house.server.asked[WELL, "tools/list"]
    orders = [house.orders(f"{WELL}__wordy") for _ in range(6)]
    told = await asyncio.gather(*(house.told(*order) for order in orders))
    assert [one for one in told if "refused the call: No such customer" not in one] == []
    assert house.server.asked[WELL, "tools/list"] - before < 6
    assert house.connects(WELL) == 1


async def test_a_refusal_in_other_words_than_that_of_the_list_is_not_called_again(
    house: House,
) -> None:
    (server,) = (one for one in house.host.pool.servers if one.names == [BALKY])
    house.server.spoilt.add(BALKY)
    said = await house.called(f"{BALKY}__wordy")
    assert "Outcome unknown" in said
    assert "No such customer" in said
    assert house.server.ran[BALKY, "wordy"] == 1
    await until(lambda: "No catalogue today" in server.reason, PATIENCE)
    assert "see its own log" in server.reason
    assert "did not run" in await house.called(f"{BALKY}__work")
    house.server.spoilt.clear()
    await until(lambda: server.connection is not None, PATIENCE)
    assert "ran 1" in await house.called(f"{BALKY}__work")
