"""A model that refuses everybody: admins read the cure, people a true word, health does not lie."""

from __future__ import annotations

import re

import pytest

from bot.turn.results import BROKEN
from simulators.messages.turns import HttpError, Turn
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, health, until
from tests.host.test_health import get

NO_CREDIT = "Your credit balance is too low to access the Anthropic API. Please go to Plans"
REFUSALS = {
    "a wrong key": (HttpError(401, "invalid x-api-key"), "ANTHROPIC_API_KEY", "refuses this key"),
    "an unknown model": (
        HttpError(404, "model: claude-haiku-5-5"),
        "model claude-haiku-5-5",
        "write another in LLM__MODEL",
    ),
    "no credit": (HttpError(400, NO_CREDIT), "ANTHROPIC_API_KEY", "has no credit left"),
    "no right": (HttpError(403, "not allowed"), "ANTHROPIC_API_KEY", "use another key, or another"),
    "no such path": (HttpError(404, "Not Found"), "ANTHROPIC_BASE_URL", "of a Messages API"),
}


def scene(stage: Stage) -> tuple[Bot, Person, Room]:
    """A bot, its admin, and their chat."""
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    return echo, boss, stage.world.private(boss, echo)


def notices(stage: Stage, office: Room, bot: Bot) -> list[str]:
    return [
        text for text in stage.texts(office, bot.id) if text.startswith("The model cannot be used")
    ]


async def test_an_address_that_wants_a_key_is_not_said_to_refuse_one_that_is_not_set(
    stage: Stage,
) -> None:
    echo, boss, office = scene(stage)
    stage.script.on(Turn(fault=HttpError(401, "x-api-key header is required")), again=True)
    async with stage.host(ANTHROPIC_API_KEY=""):
        assert await stage.ask(boss, office, echo, "hello") == BROKEN
        shown = await stage.ask(boss, office, echo, "/status")
    assert "ANTHROPIC_API_KEY: it is not set, and the Messages API at 127.0.0.1" in shown
    assert "wants one; set it to one that it takes and restart the host" in shown
    assert "refuses this key" not in shown


@pytest.mark.parametrize("manner", REFUSALS)
async def test_a_model_that_refuses_is_told_once_with_its_cure_and_heals_with_its_next_answer(
    stage: Stage, manner: str
) -> None:
    fault, place, cure = REFUSALS[manner]
    echo, boss, office = scene(stage)
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    refused = Turn(fault=fault)
    stage.script.on("fine", refused, refused, "fine", refused, "fine", again=True)
    async with stage.host() as host:
        assert await stage.ask(boss, office, echo, "hello") == "fine"
        assert "The model answers; the last answer came" in await stage.ask(
            boss, office, echo, "/status"
        )
        assert await stage.ask(ann, room, echo, "hello?") == BROKEN
        await stage.world.until(lambda: bool(notices(stage, office, echo)))
        assert await stage.ask(ann, room, echo, "hello??") == BROKEN
        (notice,) = notices(stage, office, echo)
        assert place in notice
        assert cure in notice
        shown = await stage.ask(boss, office, echo, "/status")
        assert "The host is degraded" in shown
        assert f"✗ {place}" in shown
        assert cure in shown

        status, body = await health(host.url)
        assert (status, body["status"], body["checks"]["model"]) == (200, "degraded", False)
        assert cure in body["model"]["problems"][0]
        assert (await get(host.url, "/health/ready"))[0] == 503
        assert (await get(host.url, "/health/ready?for=intake"))[0] == 200

        assert len(stage.requests()) == 3  # nobody asks the model but people
        assert await stage.ask(ann, room, echo, "and now?") == "fine"
        assert (await health(host.url))[1]["status"] == "healthy"
        assert (await get(host.url, "/health/ready"))[0] == 200
        assert "The model answers; the last answer came" in await stage.ask(
            boss, office, echo, "/status"
        )
        assert len(notices(stage, office, echo)) == 1

        assert await stage.ask(ann, room, echo, "and again?") == BROKEN
        await stage.world.until(lambda: len(notices(stage, office, echo)) == 2)


async def test_a_host_without_a_key_says_so_from_its_start_and_asks_nobody(stage: Stage) -> None:
    echo, boss, office = scene(stage)
    stranger = stage.person("Ann")
    room = stage.world.private(stranger, echo)
    missing = {"ANTHROPIC_API_KEY": "", "ANTHROPIC_BASE_URL": ""}
    async with stage.host(**missing) as host:
        await until(lambda: host.report()["status"] == "degraded")
        _, body = await health(host.url)
        assert (body["ready"], body["checks"]["model"]) == (False, False)
        assert "ANTHROPIC_API_KEY: it is not set" in body["model"]["problems"][0]
        assert await stage.ask(stranger, room, echo, "hello?") == BROKEN
        shown = await stage.ask(boss, office, echo, "/status")
        assert "✗ ANTHROPIC_API_KEY: it is not set, so no agent can answer" in shown
        await stage.world.until(lambda: bool(notices(stage, office, echo)))
        (notice,) = notices(stage, office, echo)
        assert "set it to a key from https://platform.claude.com/settings/keys" in notice
    async with stage.host(**missing):  # the same fault after a restart is the same notice
        assert await stage.ask(stranger, room, echo, "still there?") == BROKEN
        await stage.ask(boss, office, echo, "/status")
    assert len(notices(stage, office, echo)) == 1


async def test_whoever_becomes_the_admin_of_a_host_without_a_key_is_told(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    async with stage.host(ANTHROPIC_API_KEY="", ANTHROPIC_BASE_URL="", ADMINS=""):
        claim = re.findall(r"/claim [A-Z0-9]+-[A-Z0-9-]+", capsys.readouterr().err)[-1]
        await stage.ask(ann, room, echo, claim)
        await stage.world.until(lambda: bool(notices(stage, room, echo)))
    assert "ANTHROPIC_API_KEY: it is not set" in notices(stage, room, echo)[0]


async def test_one_agent_with_a_wrong_model_makes_no_host_unready_and_is_named(
    stage: Stage,
) -> None:
    echo, boss, office = scene(stage)
    wrong = stage.bot("Wrong", llmOverrides={"model": "claude-haiku-5.5"})
    desk = stage.world.private(boss, wrong)
    fault = Turn(fault=HttpError(404, "model: claude-haiku-5.5"))
    stage.script.on(fault, again=True, system="You are Wrong.")
    stage.script.on("fine", again=True)
    async with stage.host() as host:
        assert await stage.ask(boss, office, echo, "hello") == "fine"
        assert await stage.ask(boss, desk, wrong, "hello") == BROKEN
        await until(lambda: host.report()["status"] == "degraded")
        assert host.report()["ready"]
        (problem,) = host.report()["model"]["problems"]
        assert "model claude-haiku-5.5" in problem
        assert "llmOverrides of agent wrong (" in problem
        ann = stage.person("Ann")
        assert await stage.ask(ann, stage.world.private(ann, echo), echo, "hello") == "fine"
        assert host.report()["status"] == "degraded"
        stage.agents["agents"][1]["llmOverrides"]["model"] = "claude-haiku-5-5"
        stage.write_agents()
        await until(lambda: host.report()["status"] == "healthy")
