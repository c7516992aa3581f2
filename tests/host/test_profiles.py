"""Profiles at work, seen in the requests of the model: reflection, the Partner, and their trace."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from simulators.messages.turns import Call, turn
from tests.host.profiled import OBSERVER, PARTNER, House, housed

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIME = {"mcpServers": ["time"], "whitelistPatterns": ["mcp:time:*"]}
NOW = Call("time__get_current_time", {"timezone": "UTC"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    agents = [
        ("Thinker", OBSERVER, TIME),
        ("Partner", PARTNER, TIME),
        ("Asking", OBSERVER + PARTNER, TIME),
    ]
    async with housed(tmp_path_factory.mktemp("profiles"), *agents) as house:
        yield house


async def test_an_answer_without_a_tool_is_reflected_on_once_and_the_words_are_gone_then(
    house: House,
) -> None:
    agent = house["Thinker"]
    agent.script("a first thought", "the whole answer", "and more", "more at last")
    assert await agent.ask("what is it?") == "the whole answer"
    first, second = agent.requests
    assert "Reflect" not in str(first)
    assert [m["role"] for m in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][1]["content"][0]["text"] == "a first thought"
    assert len(agent.asked()) == 1
    assert agent.asked()[0].startswith("Reflect")
    assert await agent.ask("go on") == "more at last"
    third = agent.requests[2]
    assert "Reflect" not in str(third["messages"])
    drafts = third["messages"][1]
    assert [b["text"] for b in drafts["content"]] == ["a first thought", "the whole answer"]
    assert agent.texts == ["the whole answer", "more at last"]
