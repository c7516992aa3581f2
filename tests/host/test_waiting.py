"""What waits for a question in a group goes on once nobody will answer that any more."""

from __future__ import annotations

import asyncio

import pytest

from bot.app import App
from bot.store import keys
from tests.host.stage import Stage
from tests.host.tool_agent import ToolAgent, write


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_waits_for_a_question_goes_on_when_the_asker_says_stop(
    stage: Stage, at_once: bool
) -> None:
    agent, ann, ben = ToolAgent(stage), stage.person("Ann"), stage.person("Ben")
    room = stage.world.group("Team", [ann, ben, agent.bot])
    stage.script.on(write(), user="write hello")
    stage.script.on("hello Ben", user="and me")
    async with agent.host() as host:
        stage.world.say(ann, room, f"@{agent.bot.username} write hello")
        await agent.question(room)
        stage.world.say(ben, room, f"@{agent.bot.username} and me")
        if not at_once:
            await _deferred(host)
        stage.world.say(ann, room, f"/stop@{agent.bot.username}")
        await agent.said(room, "Stopped.")
        await agent.said(room, "hello Ben")
    assert agent.done == []


@pytest.mark.parametrize("at_once", [True, False])
async def test_new_drops_what_waits_for_a_question(stage: Stage, at_once: bool) -> None:
    agent, ann, chl = ToolAgent(stage), stage.person("Ann"), stage.person("Chl")
    room = stage.world.group("Team", [ann, chl, agent.bot])
    at = f"@{agent.bot.username}"
    stage.script.on(write(), user="write hello")
    stage.script.on("an old answer", user="the old one")
    stage.script.on("a new answer", user="the new one")
    async with agent.host() as host:
        stage.world.say(ann, room, f"{at} write hello")
        await agent.question(room)
        stage.world.say(chl, room, f"{at} the old one")
        if not at_once:
            await _deferred(host)
        stage.world.say(chl, room, f"/new{at}")
        await agent.said(room, "A new conversation begins here")
        stage.world.say(chl, room, f"{at} the new one")
        await agent.said(room, "a new answer")
        await host.fleet.lines[0].idle()
        assert await host.store.command("XLEN", keys.inbox(host.fleet.lines[0].line)) == 0
    assert "the old one" not in str(stage.requests()[-1]["messages"])
    assert "an old answer" not in " ".join(stage.texts(room, agent.bot.id))
    assert agent.done == []


async def _deferred(host: App) -> None:
    """Until a message has been looked at and waits."""
    bot = host.fleet.lines[0]
    async with asyncio.timeout(30):
        while bot.backlog or not await host.store.command("XLEN", keys.inbox(bot.line)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
