"""Agents that cannot be used when the host starts: health, notices and replies say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.app import App
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, health, until
from tests.host.test_health import statuses
from tests.host.test_registry_commands import POET


def scene(stage: Stage) -> tuple[Bot, Person, Room]:
    """A bot without an agent, its admin, and their chat."""
    bot, boss = stage.add_bot("Jack"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    return bot, boss, stage.world.private(boss, bot)


async def degraded(host: App) -> None:
    """Return once a host with a bot is degraded, with updates still taken in."""
    await until(lambda: host.report()["status"] == "degraded")
    assert await statuses(host.url) == [200, 200, 200]


@pytest.mark.parametrize("text", ['{"agents": [', None], ids=["broken", "missing"])
async def test_a_file_of_agents_that_cannot_be_used_at_the_start_is_named_to_the_admin(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    path = stage.folder / "agents.json"

    def as_it_is() -> Path:
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        return path

    monkeypatch.setattr(stage, "write_agents", as_it_is)
    bot, boss, room = scene(stage)
    stage.script.on("from Poet", again=True)
    problem = f"{path}:1" if text else f"{path}: the file is missing"
    async with stage.host() as host:
        await degraded(host)
        for said in ("hi", "/start"):
            reply = await stage.ask(boss, room, bot, said)
            assert "no agent could be read. Correct this first:" in reply
            assert problem in reply
            assert "/addagent" not in reply
        shown = await stage.ask(boss, room, bot, "/status")
        assert "The host is degraded" in shown
        assert problem in shown
        assert f"no agent answers in this bot; correct {path}" in shown

        # What breaks while nothing of the file is in force is not said to be kept.
        path.write_text(json.dumps({"agents": [POET]}))
        await until(lambda: host.report()["status"] == "healthy")
        assert await stage.ask(boss, room, bot, "hello") == "from Poet"
        path.write_text('{"agents": 5}')
        await stage.world.until(lambda: any("stays in force" in t for t in texts(stage, room, bot)))
        await degraded(host)
        assert await stage.ask(boss, room, bot, "still?") == "from Poet"


async def test_the_notice_of_a_file_that_was_never_good_promises_no_last_good_version(
    stage: Stage,
) -> None:
    bot, boss, room = scene(stage)
    async with stage.host() as host:
        await stage.ask(boss, room, bot, "/start")
        assert host.report()["status"] == "healthy"
    stage.agents["agents"] = 5
    async with stage.host():
        await stage.world.until(lambda: any("have a problem" in t for t in texts(stage, room, bot)))
    (told,) = [text for text in texts(stage, room, bot) if "have a problem" in text]
    assert "None of its agents and bindings is in force" in told
    assert "last good version" not in told


async def test_a_host_whose_bot_has_no_agent_is_degraded_until_it_has_one(stage: Stage) -> None:
    bot, boss, room = scene(stage)
    stage.agents["agents"] = [{"id": "a", "name": "A"}, {"id": "b", "name": "B"}]
    stage.script.on("from A", again=True)
    async with stage.host() as host:
        await degraded(host)
        assert "no agent answers in this bot" in str((await health(host.url))[1]["problems"])
        assert "/default a" in await stage.ask(boss, room, bot, "hi")
        await stage.ask(boss, room, bot, "/default a")
        assert host.report()["status"] == "healthy"
        assert await stage.ask(boss, room, bot, "hi") == "from A"


def texts(stage: Stage, room: Room, bot: Bot) -> list[str]:
    return stage.texts(room, bot.id)
