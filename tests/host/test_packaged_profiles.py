"""The profiles that come with the host: a Partner that asks back, a Researcher that reflects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from simulators.messages.turns import Call, Text, turn
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import CLOCK_SERVER, Stage, staged, until
from tests.host.tool_agent import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKS = "Does this message ask for something that depends on a date?"
REFLECTS = "Reflect on your last answer: no tool was used for it, and it gives no address."
DATED = "A table for two on 12 March is booked."


@dataclass
class Pair:
    """A host with one bot of each profile, and a person of its own for each test."""

    stage: Stage
    partner: Bot
    researcher: Bot

    def room(self, bot: Bot) -> tuple[Person, Room]:
        person = self.stage.person("Ann")
        return person, self.stage.world.private(person, bot)

    async def answered(self, whom: tuple[Person, Room], bot: Bot, text: str, *, own: str) -> str:
        """Say something that has words of its own, and wait for the one answer to it."""
        person, room = whom
        had = len(self.stage.texts(room, bot.id))
        self.stage.world.say(person, room, f"{text} {own}")
        found = await self.stage.answer(room, bot, had + 1, PATIENCE)
        return found.text

    def requests(self, own: str) -> list[dict[str, Any]]:
        """The requests of the turn for a message with these words."""
        return [one for one in self.stage.requests() if own in str(one["messages"])]


def newest(request: dict[str, Any]) -> list[str]:
    """The texts of the message that a request ends with."""
    last = request["messages"][-1]
    assert last["role"] == "user"
    return [one["text"] for one in last["content"] if one["type"] == "text"]


def system(request: dict[str, Any]) -> str:
    return "\n".join(block["text"] for block in request["system"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    async with staged(tmp_path_factory.mktemp("packaged")) as stage:
        stage.agents["mcpServers"]["clock"] = CLOCK_SERVER
        partner = stage.bot("Concierge", profile="Partner")
        researcher = stage.bot(
            "Almanac",
            profile="Researcher",
            mcpServers=["clock"],
            whitelistPatterns=["mcp:clock:*"],
        )
        async with stage.host() as host:
            await until(lambda: {one.state for one in host.pool.servers} == {"up"}, PATIENCE)
            yield Pair(stage, partner, researcher)


@pytest.fixture(autouse=True)
def _fresh(pair: Pair) -> Iterator[None]:
    """No test is given what another one left to be said."""
    pair.stage.script.rules.clear()
    yield
    assert pair.stage.script.unanswered == []


async def test_the_partner_is_reminded_of_the_date_once_for_each_message_and_then_waits(
    pair: Pair,
) -> None:
    whom = pair.room(pair.partner)
    pair.stage.script.on("For which date?", DATED)
    first = await pair.answered(whom, pair.partner, "Book a table for two.", own="table-1")
    second = await pair.answered(whom, pair.partner, "12 March", own="day-1")
    assert (first, second) == ("For which date?", DATED)
    asked, told = pair.requests("table-1")
    assert "table-1" in newest(asked)[0]
    assert newest(asked)[-1].startswith(ASKS)
    assert newest(told)[-1].startswith(ASKS)
    assert str(told["messages"]).count(ASKS) == 1
    for request in (asked, told):
        assert ASKS not in system(request)
        assert "Never guess one." in system(request)
        assert "You are Concierge." in system(request)
    assert system(asked) == system(told)


async def test_the_researcher_reflects_before_it_answers_without_a_source_and_shows_no_draft(
    pair: Pair,
) -> None:
    whom = pair.room(pair.researcher)
    pair.stage.script.on("The tide is high.", "The tide is high.\n\nSource: tide tables")
    found = await pair.answered(whom, pair.researcher, "Is the tide high", own="tide-2")
    assert found.endswith("Source: tide tables")
    assert len(pair.stage.texts(whom[1], pair.researcher.id)) == 1
    first, second = pair.requests("tide-2")
    assert REFLECTS not in str(first)
    assert newest(second)[-1].startswith(REFLECTS)
    assert second["messages"][-2]["role"] == "assistant"
    assert "The tide is high." in str(second["messages"][-2])
    pair.stage.script.on("It is low.\n\nSource: https://tides.example/x")
    await pair.answered(whom, pair.researcher, "And now", own="tide-3")
    (third,) = pair.requests("tide-3")
    assert REFLECTS not in str(third)


async def test_the_researcher_reflects_once_though_it_calls_a_tool_and_still_has_no_source(
    pair: Pair,
) -> None:
    whom = pair.room(pair.researcher)
    call = Call("clock__get_current_time", {"timezone": "Europe/Paris"})
    pair.stage.script.on("From memory: noon.", turn(call), "It is noon in Paris.")
    found = await pair.answered(whom, pair.researcher, "What time is it in Paris", own="noon-4")
    assert found == "It is noon in Paris."
    requests = pair.requests("noon-4")
    assert len(requests) == 3
    assert [newest(one)[-1].startswith(REFLECTS) for one in requests if newest(one)] == [
        *(False, True)
    ]


@pytest.mark.parametrize(
    "answer",
    [
        "Open Source software began in 1998.",
        "High tide? At noon.",
        "Flut ist um zwölf.\n\nQuelle: Tidenkalender",
        "It is in the file:// scheme.",
    ],
)
async def test_the_researcher_reflects_on_what_only_looks_as_if_it_had_a_source(
    pair: Pair, answer: str
) -> None:
    whom, own = pair.room(pair.researcher), f"looks-{len(answer)}"
    pair.stage.script.on(answer, answer)
    assert await pair.answered(whom, pair.researcher, "Tell me", own=own) == answer
    first, second = pair.requests(own)
    assert REFLECTS not in str(first)
    (said,) = newest(second)
    assert said.startswith(REFLECTS)
    assert "a question back to the person or a greeting, simply repeat it" in said


async def test_an_address_or_a_tool_that_was_used_is_a_source_in_any_language(pair: Pair) -> None:
    whom = pair.room(pair.researcher)
    call = Call("clock__get_current_time", {"timezone": "Europe/Paris"})
    pair.stage.script.on("Hoch, laut https://tides.example/x.", turn(call), "Zwölf Uhr.")
    await pair.answered(whom, pair.researcher, "Is the tide high", own="which-5")
    await pair.answered(whom, pair.researcher, "What time is it", own="hour-5")
    assert len(pair.requests("which-5")) == 3
    assert REFLECTS not in str(pair.requests("which-5"))


async def test_the_researcher_is_told_its_tools_by_the_names_that_it_calls(pair: Pair) -> None:
    whom = pair.room(pair.researcher)
    pair.stage.script.on(Text("Hello!"), again=True)
    await pair.answered(whom, pair.researcher, "hello", own="tools-6")
    request = pair.requests("tools-6")[0]
    assert "You look things up with these tools:" in system(request)
    for tool in request["tools"]:
        assert str(tool["name"]) in system(request)
