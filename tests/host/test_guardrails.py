"""Limits of a turn: the host's, lowered by an agent, never raised."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bot.sandbox.messages.turns import Call, Say, Turn, turn
from bot.sandbox.telegram.people import Bot
from tests.host.stage import Stage

DESK = Path(__file__).parents[1] / "tools" / "servers" / "desk.py"


def clerk(stage: Stage, **agent: Any) -> tuple[Bot, Path]:
    """A bot whose agent may do everything at the desk, and the log of what it did there."""
    log = stage.folder / "desk.log"
    log.touch()
    server = {"command": sys.executable, "args": [str(DESK)], "env": {"DESK_LOG": str(log)}}
    stage.agents["mcpServers"]["desk"] = server
    return stage.bot("Clerk", mcpServers=["desk"], whitelistPatterns=["mcp:desk:*"], **agent), log


def write(text: str) -> Turn:
    return turn(Call("desk__write", {"text": text}))


async def asked(stage: Stage, bot: Bot, **variables: str) -> str:
    ann = stage.person("Ann")
    async with stage.host(**variables):
        room = stage.world.private(ann, bot)
        stage.world.say(ann, room, "go")
        return (await stage.answer(room, bot, seconds=30)).text


async def test_the_same_call_a_third_time_does_not_run(stage: Stage) -> None:
    bot, log = clerk(stage)
    stage.script.on(write("a"), write("a"), write("a"), "I stop.")
    assert await asked(stage, bot) == "I stop."
    assert log.read_text().splitlines() == ["write a", "write a"]
    result = stage.requests()[-1]["messages"][-1]["content"][0]
    assert "goes round in circles" in result["content"]


async def test_two_calls_in_turns_do_not_run_for_ever(stage: Stage) -> None:
    bot, log = clerk(stage)
    stage.script.on(*[write("a"), write("b")] * 2, "I stop.")
    assert await asked(stage, bot) == "I stop."
    assert log.read_text().splitlines() == ["write a", "write b", "write a"]


async def test_who_goes_on_in_circles_must_answer(stage: Stage) -> None:
    bot, _ = clerk(stage)
    stage.script.on(*[write("a")] * 4, "I stop.")
    assert await asked(stage, bot) == "I stop."
    assert [r.get("tool_choice") for r in stage.requests()] == [None] * 4 + [{"type": "none"}]


async def test_an_agent_may_have_fewer_calls_and_steps(stage: Stage) -> None:
    bot, log = clerk(stage, safetyConfig={"maxToolCallsPerTurn": 2})
    stage.script.on(write("a"), write("b"), "That was all.")
    assert await asked(stage, bot) == "That was all."
    assert stage.requests()[-1]["tool_choice"] == {"type": "none"}
    assert len(log.read_text().splitlines()) == 2


async def test_an_agent_cannot_have_more_than_the_host_gives(stage: Stage) -> None:
    bot, _ = clerk(
        stage,
        safetyConfig={"maxIterations": 500},
        costConfig={"maxTokensPerRequest": 100_000},
        llmOverrides={"maxTokens": 64_000},
    )
    stage.script.on(write("a"), write("b"), "That was all.")
    limits = {"LIMITS__ITERATIONS": "2", "LIMITS__TOKENSPERREQUEST": "1000"}
    assert await asked(stage, bot, **limits) == "That was all."
    assert [r["max_tokens"] for r in stage.requests()] == [1000] * 3
    assert stage.requests()[2]["tool_choice"] == {"type": "none"}


async def test_too_many_requests_of_one_person_get_a_word_and_others_do_not_notice(
    stage: Stage,
) -> None:
    bot, _ = clerk(stage, costConfig={"maxRequestsPerMinute": 2})
    ann, ben = stage.person("Ann"), stage.person("Ben")
    stage.script.on("ok", again=True)
    async with stage.host():
        room, other = stage.world.private(ann, bot), stage.world.private(ben, bot)
        assert await stage.ask(ann, room, bot, "one") == "ok"
        assert await stage.ask(ann, room, bot, "two") == "ok"
        assert "many requests in one minute" in await stage.ask(ann, room, bot, "three")
        assert await stage.ask(ben, other, bot, "one") == "ok"
    assert len(stage.requests()) == 3


async def test_tools_named_by_the_safety_block_ask_every_time(stage: Stage) -> None:
    bot, log = clerk(stage, safetyConfig={"requireToolConfirmation": ["write"]})
    stage.script.on(write("a"))
    assert (await asked(stage, bot)).startswith("May I do this?")
    assert log.read_text() == ""


async def test_personal_data_is_taken_out_of_answers_and_never_seen_in_previews(
    stage: Stage,
) -> None:
    words = " ".join(f"word{n}" for n in range(40))
    secret = "ann.smith@example.org"
    bot = stage.bot("Echo", safetyConfig={})
    ann = stage.person("Ann")
    room = stage.world.private(ann, bot)
    stage.script.on(Turn((Say(f"{words} {secret} {words}"),), pace=60.0))
    async with stage.host():
        said = await stage.ask(ann, room, bot, "tell me")
    assert said == f"{words} [e-mail address removed] {words}"
    calls = stage.world.calls.of(bot=bot.id)
    assert [c for c in calls if c.method == "sendMessageDraft"]
    assert not [c for c in calls if "smith" in str(c.params)]


async def test_a_blocked_topic_is_not_told_and_the_model_is_warned(stage: Stage) -> None:
    bot = stage.bot("Echo", safetyConfig={"blockedTopics": ["secret sauce"]})
    ann = stage.person("Ann")
    stage.script.on("The secret sauce is soy.")
    async with stage.host():
        said = await stage.ask(ann, stage.world.private(ann, bot), bot, "recipe?")
    assert said == "I can't talk about that here."
    assert "secret sauce" in str(stage.requests()[0]["system"])
