"""Limits of a turn: the host's, which are those of spec 5 unless set; an agent may only lower them.

One host for all of them, with everybody in a chat of their own.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.turn.results import OUT_OF_TIME, TOO_MANY_REQUESTS, TOO_MUCH_AT_ONCE
from simulators.messages.turns import Call, Text, Turn, turn
from simulators.telegram.people import Bot, Person
from tests.host.stage import Stage, staged

pytestmark = pytest.mark.asyncio(loop_scope="module")

DESK = Path(__file__).parents[1] / "mcp" / "servers" / "desk.py"
PATIENCE = 40.0
ONE_A_MINUTE = {"maxAgentRequestsPerMinute": 1}


class Scene:
    """A host with agents that want everything, or less than the host gives."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.log = stage.folder / "desk.log"
        self.log.touch()
        server = {
            "command": sys.executable,
            "args": [str(DESK)],
            "env": {"DESK_LOG": str(self.log)},
        }
        stage.agents["mcpServers"]["desk"] = server
        self.greedy = self.clerk(
            "Greedy",
            safetyConfig={
                "maxIterations": 500,
                "maxToolCallsPerTurn": 500,
                "maxSecondsPerTurn": 80_000,
            },
            costConfig={"maxTokensPerRequest": 100_000, "maxRequestsPerMinute": 5000},
            llmOverrides={"maxTokens": 64_000},
        )
        self.modest = self.clerk(
            "Modest",
            safetyConfig={"maxIterations": 4, "maxToolCallsPerTurn": 2},
            costConfig={"maxTokensPerRequest": 500},
        )
        self.seldom = self.clerk("Seldom", costConfig={"maxRequestsPerMinute": 2})
        self.hasty = self.clerk("Hasty", safetyConfig={"maxSecondsPerTurn": 1})
        self.careful = self.clerk("Careful", safetyConfig={"requireToolConfirmation": ["write"]})

    def clerk(self, name: str, **agent: Any) -> Bot:
        patterns = ["mcp:desk:*"]
        return self.stage.bot(name, mcpServers=["desk"], whitelistPatterns=patterns, **agent)

    async def asked(self, bot: Bot, text: str, person: Person | None = None) -> str:
        """The first answer to a text, of somebody new unless they are given."""
        ann = person or self.stage.person("Ann")
        room = self.stage.world.private(ann, bot)
        had = len(self.stage.texts(room, bot.id))
        self.stage.world.say(ann, room, text)
        return (await self.stage.answer(room, bot, had + 1, PATIENCE)).text

    def requests(self, text: str) -> list[dict[str, Any]]:
        """Model requests of the chats in which something was said."""
        return [r for r in self.stage.requests() if text in str(r["messages"])]

    def done(self, word: str) -> list[str]:
        """What was written at the desk, of what has a word in it."""
        return [line for line in self.log.read_text().splitlines() if word in line]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with staged(tmp_path_factory.mktemp("guardrails")) as stage:
        scene = Scene(stage)
        async with stage.host():
            yield scene


def write(text: str) -> Turn:
    return turn(Call("desk__write", {"text": text}))


def nothing(number: int) -> Turn:
    return turn(Call("desk__nothing", {"n": number}))


async def test_the_same_call_a_third_time_does_not_run(scene: Scene) -> None:
    scene.stage.script.on(*[write("same")] * 3, "I stop.", user="thrice")
    assert await scene.asked(scene.greedy, "thrice") == "I stop."
    assert scene.done("same") == ["write same"] * 2
    result = scene.requests("thrice")[-1]["messages"][-1]["content"][0]
    assert "goes round in circles" in result["content"]


async def test_the_same_call_three_times_at_once_runs_twice(scene: Scene) -> None:
    calls = [Call("desk__write", {"text": "at once"})] * 3
    scene.stage.script.on(turn(*calls), "I stop.", user="together")
    assert await scene.asked(scene.greedy, "together") == "I stop."
    assert scene.done("at once") == ["write at once"] * 2


async def test_two_calls_in_turns_do_not_run_for_ever(scene: Scene) -> None:
    scene.stage.script.on(*[write("ping"), write("pong")] * 2, "I stop.", user="in turns")
    assert await scene.asked(scene.greedy, "in turns") == "I stop."
    assert scene.done("p")[-3:] == ["write ping", "write pong", "write ping"]


async def test_who_goes_on_in_circles_must_answer(scene: Scene) -> None:
    scene.stage.script.on(*[write("again")] * 4, "I stop.", user="merry-go-round")
    assert await scene.asked(scene.greedy, "merry-go-round") == "I stop."
    choices = [r.get("tool_choice") for r in scene.requests("merry-go-round")]
    assert choices == [None] * 4 + [{"type": "none"}]


async def test_a_turn_makes_25_model_requests_and_no_agent_makes_more(scene: Scene) -> None:
    steps = [nothing(n) for n in range(24)]
    scene.stage.script.on(*steps, "That was all.", user="walk")
    assert await scene.asked(scene.greedy, "walk") == "That was all."
    made = scene.requests("walk")
    assert len(made) == 25
    assert [r.get("tool_choice") for r in made] == [None] * 24 + [{"type": "none"}]


async def test_an_agent_cannot_have_more_than_the_host_gives(scene: Scene) -> None:
    calls = [Call("desk__write", {"text": f"many {n}"}) for n in range(8)]
    more = [Call("desk__write", {"text": f"many {n}"}) for n in range(8, 16)]
    scene.stage.script.on(turn(*calls), turn(*more), "That was all.", user="sixteen")
    assert await scene.asked(scene.greedy, "sixteen") == "That was all."
    made = scene.requests("sixteen")
    assert len(scene.done("many")) == 10
    assert [r["max_tokens"] for r in made] == [8000] * 3
    assert made[-1]["tool_choice"] == {"type": "none"}
    results = [block["content"] for block in made[-1]["messages"][-1]["content"]]
    assert sum("used up its 10 tool calls" in str(one) for one in results) == 6


async def test_an_agent_may_have_fewer_calls_tokens_and_steps(scene: Scene) -> None:
    scene.stage.script.on(write("few a"), write("few b"), "That was all.", user="little")
    assert await scene.asked(scene.modest, "little") == "That was all."
    assert len(scene.done("few")) == 2
    assert [r["max_tokens"] for r in scene.requests("little")] == [500] * 3
    scene.stage.script.on(*[nothing(n) for n in range(3)], "Enough.", user="short walk")
    assert await scene.asked(scene.modest, "short walk") == "Enough."
    assert len(scene.requests("short walk")) == 4


async def test_60_requests_of_one_person_in_a_minute_are_the_most(scene: Scene) -> None:
    ann = scene.stage.person("Ann")
    for walk in ("busy one", "busy two"):
        scene.stage.script.on(*[nothing(n) for n in range(24)], "Done.", user=walk)
        assert await scene.asked(scene.greedy, walk, ann) == "Done."
    scene.stage.script.on(*[nothing(n) for n in range(24)], "Done.", user="busy three")
    assert await scene.asked(scene.greedy, "busy three", ann) == TOO_MANY_REQUESTS
    assert len(scene.requests("busy")) == 60


async def test_too_many_requests_of_one_person_get_a_word_and_others_do_not_notice(
    scene: Scene,
) -> None:
    ann = scene.stage.person("Ann")
    scene.stage.script.on("ok", user="please", again=True)
    told = [await scene.asked(scene.seldom, "please", ann) for _ in range(3)]
    assert told == ["ok", "ok", TOO_MANY_REQUESTS]
    assert await scene.asked(scene.seldom, "please") == "ok"


async def test_requests_of_an_agent_and_of_its_account_have_limits_of_their_own(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path) as stage:
        bots = [stage.bot("One"), stage.bot("Two"), stage.bot("Three", costConfig=ONE_A_MINUTE)]
        boss = stage.person("Boss")
        stage.environ["ADMINS"] = str(boss.id)
        stage.script.on("ok", again=True)
        limits = {"LIMITS__AGENTREQUESTSPERMINUTE": "2", "LIMITS__ACCOUNTREQUESTSPERMINUTE": "4"}

        async def asked(bot: Bot) -> str:
            ann = stage.person("Ann")
            return await stage.ask(ann, stage.world.private(ann, bot), bot, "hi")

        async with stage.host(**limits):
            one, two, three = bots
            office = stage.world.private(boss, one)
            assert await stage.ask(boss, office, one, "hi") == "ok"
            said = [await asked(one), await asked(one), await asked(one), await asked(three)]
            said += [await asked(three), await asked(two), await asked(two)]
            word = "agent one has used up its 2 requests of a minute"
            await stage.world.until(
                lambda: any(word in text for text in stage.texts(office, one.id))
            )
    busy = TOO_MUCH_AT_ONCE
    assert said == ["ok", busy, busy, "ok", busy, "ok", busy]
    assert len(stage.requests()) == 4


async def test_a_turn_ends_when_its_time_is_over_and_keeps_what_was_said(scene: Scene) -> None:
    gate = "never opened"
    scene.stage.script.on(
        turn(Text("I look."), Call("desk__write", {"text": "slowly"})), user="wait"
    )
    scene.stage.script.on(turn("too late", gate=gate), user="wait")
    said = await scene.asked(scene.hasty, "wait")
    assert said == f"I look.\n\n{OUT_OF_TIME}"
    assert scene.done("slowly") == ["write slowly"]


async def test_tools_named_by_the_safety_block_ask_every_time(scene: Scene) -> None:
    scene.stage.script.on(write("unasked"), user="write it")
    assert (await scene.asked(scene.careful, "write it")).startswith("May I do this?")
    assert scene.done("unasked") == []
