"""Turns under a preset that wait or break off: each goes on with the preset that it began with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bot.app import App
from registry.preset import BARE, Preset
from registry.preset_edits import change_preset, create_preset, delete_preset, use_preset
from registry.roles import Actor
from simulators.messages.models import also_known
from simulators.messages.turns import Stall, Text, Turn
from simulators.telegram.people import Person
from simulators.telegram.rooms import Message, Room
from tests.host.stage import Stage
from tests.host.test_ledger import ledger
from tests.host.tool_agent import PATIENCE, ToolAgent, results, write


@dataclass
class Waiting:
    """Ann's agent has asked her under her preset."""

    agent: ToolAgent
    host: App
    actor: Actor
    preset: Preset
    ann: Person
    room: Room
    question: Message

    @property
    def asked(self) -> list[str]:
        """The models that were asked so far."""
        return [request["model"] for request in self.agent.stage.requests()]

    def press(self, button: str) -> None:
        self.agent.press(self.ann, self.room, self.question, button)


@asynccontextmanager
async def waiting(stage: Stage, *script: Any) -> AsyncIterator[Waiting]:
    """A turn under a preset that waits for an approval."""
    agent = ToolAgent(stage, template=True)
    stage.environ |= {"MODELS__ALLOWED": "gpt-4", "LLM__MODEL": "claude-sonnet-4-6"}
    stage.script.on(write(), *script)
    ann = stage.person("Ann")
    actor, room = Actor(f"tg:{ann.id}"), agent.room(ann)
    given = {
        "instance_name": "mine",
        "base_agent_name": "clerk",
        "primary_model": "gpt-4",
        "system_prompt_append": "Be brisk.",
    }
    with also_known("gpt-4"):
        async with agent.host() as host:
            bot = agent.bot.id
            preset, _ = await create_preset(host.catalog, actor, given, key="make", bot=bot)
            stage.world.say(ann, room, "write hello")
            question = await agent.question(room)
            yield Waiting(agent, host, actor, preset, ann, room, question)


async def test_a_turn_that_waited_resumes_with_its_own_preset_though_another_is_in_use(
    stage: Stage,
) -> None:
    async with waiting(stage, "It is written.") as it:
        bot = it.agent.bot.id
        await use_preset(it.host.catalog, it.actor, bot, BARE, key="bare")
        it.press("Once")
        await it.agent.said(it.room, "It is written.")
        lines = await ledger(it.host)
        owner = it.actor.id
        assert {line["preset"] for line in lines} == {f"{owner}/{it.preset.id}"}
        stage.script.on("bare again")
        await stage.ask(it.ann, it.room, it.agent.bot, "and now?")
        assert it.asked == ["gpt-4", "gpt-4", "claude-sonnet-4-6"]
        assert (await ledger(it.host))[-1]["preset"] is None
        told = str(stage.requests()[-1]["messages"])
        assert "It is written." in told  # the conversation is that of the agent
    assert it.agent.done == ["write hello"]


async def test_a_turn_whose_preset_was_deleted_meanwhile_ends_with_a_sentence(
    stage: Stage,
) -> None:
    async with waiting(stage, "never") as it:
        await delete_preset(it.host.catalog, it.actor, it.preset.id, key="delete")
        it.press("Once")
        await it.agent.said(it.room, "The preset with which this was asked is gone")
        assert it.asked == ["gpt-4"]
    assert it.agent.done == []


async def test_a_tool_that_the_preset_gave_up_meanwhile_does_not_run_though_it_was_approved(
    stage: Stage,
) -> None:
    async with waiting(stage, "I may not.") as it:
        change = {"config_overrides": {"allowed_tools": ["read"]}}
        await change_preset(it.host.catalog, it.actor, it.preset.id, change, key="narrow")
        it.press("Once")
        await it.agent.said(it.room, "I may not.")
    assert it.agent.done == []
    assert "not available to you" in results(stage)[0]


async def test_a_turn_that_broke_off_goes_on_with_its_preset_after_a_restart(
    stage: Stage,
) -> None:
    bot, ann = stage.bot("Clerk", template=True), stage.person("Ann")
    stage.environ |= {"MODELS__ALLOWED": "gpt-4", "LLM__MODEL": "claude-sonnet-4-6"}
    stage.script.on(Turn((Text("one two three four five " * 9),), fault=Stall(events=12)))
    room, actor = stage.world.private(ann, bot), Actor(f"tg:{ann.id}")
    with also_known("gpt-4"):
        async with stage.host(DRAIN_SECONDS="0.1") as host:
            await stage.ask(ann, room, bot, "/model gpt-4")
            stage.world.say(ann, room, "hello")
            await stage.world.until(lambda: bool(stage.world.drafts(room)), PATIENCE)
            await use_preset(host.catalog, actor, bot.id, BARE, key="bare")
        assert [request["model"] for request in stage.requests()] == ["gpt-4"]
        stage.script.on("Done at last.")
        async with stage.host():
            await stage.world.until(
                lambda: any("Done at last." in text for text in stage.texts(room, bot.id)),
                PATIENCE,
            )
    assert [request["model"] for request in stage.requests()] == ["gpt-4", "gpt-4"]
