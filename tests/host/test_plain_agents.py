"""A bot for which nobody has described an agent: a plain one of its own name answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.sandbox import demo
from registry.sources.json_yaml import load_document
from tests.host.stage import ROOT, Stage
from tests.host.test_registry_commands import POET

PLAIN = "no agent is configured, so each bot gets a plain agent with the bot's name"
IGNORED = "NAME has no effect here, because"


def shipped(stage: Stage) -> None:
    """The agents file of this repository."""
    stage.agents = json.loads((ROOT / "agents.json").read_text("utf-8"))


def said(logs: Sequence[Mapping[str, object]]) -> str:
    return "\n".join(str(entry.get("problem")) for entry in logs)


async def test_each_bot_has_an_agent_of_its_own_name_that_yields_to_any_other(
    stage: Stage,
) -> None:
    shipped(stage)
    jack, lena = stage.add_bot("Jack"), stage.add_bot("Lena 🌸")
    boss = stage.person("Boss")
    room, other = stage.world.private(boss, jack), stage.world.private(boss, lena)
    stage.script.on("from Poet", system="You are Poet.", again=True)
    stage.script.on("from a plain one", again=True)
    with capture_logs() as logs:
        async with stage.host(ADMINS=str(boss.id)) as host:
            assert await stage.ask(boss, room, jack, "hi") == "from a plain one"
            assert await stage.ask(boss, other, lena, "hi") == "from a plain one"
            agents = host.catalog.snapshot().agents
            assert {id: one.value.name for id, one in agents.items()} == {
                "jack": "Jack",
                "lena": "Lena 🌸",
            }
            shown = await stage.ask(boss, room, jack, "/agent")
            place = host.settings.agents_path
            assert f"servers: time (stdio) · the top of {place}" in shown
            assert f"• every chat of @{jack.username}" in shown
            assert "jack Jack · the bot's own name" in await stage.ask(boss, room, jack, "/agents")
            await stage.ask(boss, room, jack, f"/addagent {json.dumps(POET)}")
            assert await stage.ask(boss, room, jack, "still you?") == "from a plain one"
            await stage.ask(boss, room, jack, "/bind poet")
            assert await stage.ask(boss, room, jack, "and now?") == "from Poet"
    assert said(logs).count(PLAIN) == 1


async def test_the_only_agent_of_the_file_answers_every_bot_until_a_default_is_named(
    stage: Stage,
) -> None:
    stage.agents["agents"] = [{"id": "guide", "name": "Guide", "customInstructions": "Guide."}]
    jack, lena, boss = stage.add_bot("Jack"), stage.add_bot("Lena"), stage.person("Boss")
    room, other = stage.world.private(boss, jack), stage.world.private(boss, lena)
    stage.script.on("from Guide", system="Guide.", again=True)
    stage.script.on("from Poet", system="You are Poet.", again=True)
    async with stage.host(ADMINS=str(boss.id)):

        async def said(command: str) -> str:
            return await stage.ask(boss, room, jack, command)

        assert await said("hi") == "from Guide"
        assert await stage.ask(boss, other, lena, "hi") == "from Guide"
        assert "(it is the only agent, and so the default)" in await said("/agent")
        assert await said("/default") == "The default agent is guide, because it is the only one."
        assert "✗" not in await said("/status")
        await said(f"/addagent {json.dumps(POET)}")
        await said("/bind poet")
        assert await said("and here?") == "from Poet"
        assert await stage.ask(boss, other, lena, "and there?") == "from Guide"
        await said("/default poet")
        assert await stage.ask(boss, other, lena, "and now?") == "from Poet"
        assert await said("/default none") == (
            "guide is the default agent now, because it is the only one."
        )


@pytest.mark.parametrize("agents", [True, False])
async def test_a_name_is_the_agents_or_is_said_to_be_ignored(stage: Stage, agents: bool) -> None:
    shipped(stage)
    bot = stage.bot("Echo") if agents else stage.add_bot("Echo")
    ann = stage.person("Ann")
    stage.script.on("hello", again=True)
    with capture_logs() as logs:
        async with stage.host(NAME="Jack") as host:
            await stage.ask(ann, stage.world.private(ann, bot), bot, "hi")
            assert list(host.catalog.snapshot().agents) == (["echo"] if agents else ["jack"])
    assert (IGNORED in said(logs)) is agents
    assert PLAIN not in said(logs)


def test_the_shipped_file_has_no_agents_and_the_demo_has_its_own() -> None:
    def ids(path: Path) -> list[str]:
        return list(load_document(path.read_text("utf-8"), str(path)).agents)

    assert ids(ROOT / "agents.json") == []
    assert ids(Path(demo.__file__).with_name("agents.json")) == [
        *("meridian", "quill", "operator", "concierge", "almanac"),
    ]
