"""What waits for a question in a group goes on once nobody will answer that any more."""

from __future__ import annotations

import asyncio

import pytest

from bot.app import App
from bot.store import keys
from tests.host.desk import Desk, write
from tests.host.stage import Stage


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_waits_for_a_question_goes_on_when_the_asker_says_stop(
    stage: Stage, at_once: bool
) -> None:
    desk, ann, ben = Desk(stage), stage.person("Ann"), stage.person("Ben")
    room = stage.world.group("Team", [ann, ben, desk.bot])
    stage.script.on(write(), user="write hello")
    stage.script.on("hello Ben", user="and me")
    async with desk.host() as host:
        stage.world.say(ann, room, f"@{desk.bot.username} write hello")
        await desk.question(room)
        stage.world.say(ben, room, f"@{desk.bot.username} and me")
        if not at_once:
            await _parked(host)
        stage.world.say(ann, room, f"/stop@{desk.bot.username}")
        await desk.said(room, "Stopped.")
        await desk.said(room, "hello Ben")
    assert desk.done == []


async def _parked(host: App) -> None:
    """Until a message has been looked at and waits."""
    bot = host.fleet.lines[0]
    async with asyncio.timeout(30):
        while bot.backlog or not await host.store.command("XLEN", keys.inbox(bot.line)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
