"""Presets in private chats: made, used, edited and taken back by their owners, on two replicas."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from bot.app import App
from registry.errors import Denied
from registry.preset_edits import MOST_CHANGES, change_preset, create_preset, set_default
from registry.roles import OPERATOR_ACTOR, Actor
from registry.snapshot import Snapshot
from simulators.messages.models import also_known
from simulators.testing.valkey import Valkey
from tests.host.menus import MenuUser
from tests.host.stage import Stage
from tests.host.test_versions import saying, two_replicas

Ask = Callable[[str], Awaitable[str]]
TEXT, APA = "You research thoroughly.", "Always cite sources in APA format."
RESEARCH: dict[str, Any] = {
    "id": "research_agent",
    "name": "Research",
    "customInstructions": TEXT,
    "mcpServerEndpoints": [],
    "template": True,
}
RACES = 50


def prepared(stage: Stage) -> None:
    """Agents that answer wherever no bot is bound, and models to choose from."""
    plain = {"id": "plain", "name": "Plain", "customInstructions": "You are Plain."}
    stage.agents["agents"] += [RESEARCH, {**plain, "mcpServerEndpoints": []}]
    stage.agents["defaultAgentId"] = "plain"
    stage.environ |= {"LLM__MODEL": "claude-sonnet-4-6", "MODELS__ALLOWED": "gpt-4"}
    stage.script.on("Answered.", again=True)


def asked(stage: Stage) -> tuple[str, str]:
    """The model and the agent's own text of the newest request."""
    request = stage.requests()[-1]
    return request["model"], request["system"][1]["text"]


async def test_a_preset_is_made_used_edited_and_deleted_in_a_chat(stage: Stage) -> None:
    bots = [stage.add_bot("Free"), stage.bot("Bound")]
    prepared(stage)
    ann, ben = stage.person("Ann"), stage.person("Ben")
    say, bound = [saying(stage, ann, stage.world.private(ann, bot), bot) for bot in bots]
    others = saying(stage, ben, stage.world.private(ben, bots[0]), bots[0])
    with also_known("gpt-4"):
        async with stage.host():
            listed = await say("/presets")
            assert listed.startswith("You have no presets yet.")
            assert listed.endswith("Agents that you can build on: research_agent.")
            made = await say(f"/presets new deep-researcher research_agent\n{APA}")
            assert made == (
                "Created preset Deep researcher (deep-researcher). "
                "/presets use deep-researcher lets it answer here."
            )
            again = await say("/presets new deep-researcher research_agent")
            assert again == "Nothing was changed: you have a preset 'deep-researcher' already."
            unknown = await say("/presets new other plain")
            assert "no agent 'plain' is offered for presets; use one of: research_agent" in unknown

            wrong = await say("/presets edit deep-researcher model gpt-5-secret")
            assert "the model 'gpt-5-secret' is not allowed here" in wrong
            assert "use one of: claude-sonnet-4-6, gpt-4" in wrong
            edited = await say("/presets edit deep-researcher model gpt-4")
            assert edited == "Changed Deep researcher (deep-researcher): model."
            await say("/presets edit deep-researcher title Deep Researcher")
            await say("/presets edit deep-researcher temperature 0.3")
            odd = await say("/presets edit deep-researcher temprature 0.3")
            assert "unknown field 'temprature'; did you mean 'temperature'?" in odd

            assert await say("hello") == "Answered."
            assert asked(stage)[1] == "You are Plain."
            used = await say("/presets use deep-researcher")
            assert used.startswith("Deep Researcher (deep-researcher) answers you here now.")
            assert await say("hello") == "Answered."
            model, text = asked(stage)
            assert (model, text.endswith(f"{TEXT}\n\n{APA}")) == ("gpt-4", True)
            line = "• deep-researcher Deep Researcher · research_agent · gpt-4 · in use here"
            assert line in await say("/presets")
            shown = await say("/presets deep-researcher")
            assert "• temperature: 0.3" in shown
            assert f"• append: {APA}" in shown

            assert await others("/presets deep-researcher") == (
                "You have no preset 'deep-researcher'; /presets lists yours."
            )
            await others("hello")
            assert asked(stage)[1] == "You are Plain."
            refused = await bound("/presets use deep-researcher")
            assert refused.startswith("This bot answers as bound, and your preset stands on")
            await bound("hello")
            assert asked(stage)[1] == "You are Bound."

            assert await say("/presets use none") == "The agent itself answers here now."
            await say("hello")
            assert asked(stage)[1] == "You are Plain."
            await say("/presets use deep-researcher")
            menu = MenuUser(stage, ann, bots[0])
            asks = await menu.open("/presets delete deep-researcher")
            assert asks.startswith("Delete Deep Researcher (deep-researcher)?")
            assert "deep-researcher" in await say("/presets")
            await menu.open("/presets delete deep-researcher")
            assert (await menu.tap("Delete it")).startswith("You have no presets yet.")
            assert menu.word == "Deleted. Its name is free."
            await say("hello")
            assert asked(stage)[1] == "You are Plain."
            assert (await say("/presets new deep-researcher research_agent")).startswith("Created")


async def test_model_and_style_change_the_preset_that_is_in_use_here(stage: Stage) -> None:
    bots = [stage.bot("Open", template=True), stage.bot("Closed")]
    prepared(stage)
    ann = stage.person("Ann")
    say, closed = [saying(stage, ann, stage.world.private(ann, bot), bot) for bot in bots]
    room = stage.world.group("Team", [ann, bots[0]])
    with also_known("gpt-4"):
        async with stage.host():
            models = await say("/model")
            assert models.startswith("The agent's own model answers you here: claude-sonnet-4-6.")
            assert "• claude-sonnet-4-6 · reads 1,000,000 tokens, writes" in models
            assert "• gpt-4\n" in models
            assert await say("/style") == (
                "You have no style here yet.\n\nWrite /style and how you want to be answered."
            )
            assert await say("/model default") == "You have changed no model here."
            assert await say("/model gpt-4") == "Changed your model, in preset My open (my-open)."
            assert await say("/style Be brief.") == (
                "Changed your style, in preset My open (my-open)."
            )
            await say("hello")
            assert asked(stage) == ("gpt-4", "You are Open.\n\nBe brief.")
            back = await say("/model default")
            assert back == "The agent's own model counts here again, in preset My open (my-open)."
            await say("/style none")
            await say("hello")
            assert asked(stage) == ("claude-sonnet-4-6", "You are Open.")
            refused = await closed("/model gpt-4")
            assert refused.startswith("The agent here is not offered for presets")
            stage.world.say(ann, room, f"/presets@{bots[0].username}")
            told = await stage.answer(room, bots[0])
            assert told.text == "Presets are your own: send this to me in our private chat."


def default_of(owner: str, name: str, snapshot: Snapshot) -> bool:
    held = snapshot.presets_of(owner)
    default = held.find(held.default) if held else None
    return default is not None and default.instance_name == name


async def test_a_choice_and_a_default_are_live_on_two_replicas_and_survive_a_restart(
    stage: Stage, valkey: Valkey
) -> None:
    bots = [stage.add_bot("One"), stage.add_bot("Two")]
    prepared(stage)
    ann = stage.person("Ann")
    here, there = [saying(stage, ann, stage.world.private(ann, bot), bot) for bot in bots]
    owner = f"tg:{ann.id}"
    with also_known("gpt-4"):
        async with two_replicas(stage, valkey) as hosts:
            await here("/presets new one research_agent\nBe one.")
            await here("/presets new two research_agent\nBe two.")
            said = await here("/presets default one")
            assert said == "One (one) is your default now: it answers where no agent is bound."
            async with asyncio.timeout(1):
                await hosts[1].catalog.until(partial(default_of, owner, "one"))
            await there("hello")
            assert asked(stage)[1].endswith("Be one.")
            await here("/presets use two")
            await here("hello")
            assert asked(stage)[1].endswith("Be two.")
            await there("hello")
            assert asked(stage)[1].endswith("Be one.")  # chosen in the other bot alone
            await race(hosts, owner)
            assert await here("/presets default none") == "You have no default preset now."
        async with two_replicas(stage, valkey):
            await here("hello")
            assert asked(stage)[1].endswith("Be two.")
            await there("hello")
            assert asked(stage)[1] == "You are Plain."


async def race(hosts: tuple[App, App], owner: str) -> None:
    """Two replicas switch the default at once, again and again: there is one each time."""
    actor = Actor(owner)
    one, two = hosts[0].catalog, hosts[1].catalog
    held = one.snapshot().presets_of(owner)
    assert held is not None
    first, second = [preset.id for preset in held.presets]
    for number in range(RACES):
        await set_default(one, actor, None, key=f"none{number}")
        await asyncio.gather(
            change_preset(one, actor, first, {"is_default": True}, key=f"a{number}"),
            set_default(two, actor, second, key=f"b{number}"),
        )
        text = await one.writable.text(f"agent:preset:{owner}")
        body = json.loads(text or "{}")
        assert body["default"] in (first, second)
        assert [preset["id"] for preset in body["presets"]] == [first, second]


async def test_a_base_that_is_narrowed_or_removed_is_felt_at_the_next_turn(stage: Stage) -> None:
    bot = stage.add_bot("Free")
    prepared(stage)
    ann, boss = stage.person("Ann"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    stage.agents["agents"].remove(RESEARCH)
    say = saying(stage, ann, stage.world.private(ann, bot), bot)
    admin = saying(stage, boss, stage.world.private(boss, bot), bot)
    async with stage.host() as host:
        await admin(f"/addagent {json.dumps(RESEARCH)}")
        await say(f"/presets new mine research_agent\n{APA}")
        await say("/presets use mine")
        await say("hello")
        assert asked(stage)[1].endswith(f"{TEXT}\n\n{APA}")
        changed = {**RESEARCH, "customInstructions": "You research quickly."}
        await admin(f"/addagent replace {json.dumps(changed)}")
        await say("hello")
        assert asked(stage)[1].endswith(f"You research quickly.\n\n{APA}")
        await admin(f"/addagent replace {json.dumps({**RESEARCH, 'template': False})}")
        told = await say("hello")
        assert told.startswith("The preset 'mine' cannot answer: its agent 'research_agent' is no")
        assert "· cannot answer" in await say("/presets")
        await admin("/deleteagent research_agent")
        told = await say("hello")
        assert told == (
            "The preset 'mine' cannot answer: its agent 'research_agent' was removed.\n\n"
            "Send /presets to choose another one, or /presets use none for the agent itself."
        )
        await say("/presets use none")
        assert await say("hello") == "Answered."
        audit = await host.history.host_audit(OPERATOR_ACTOR, count=100)
        records = [one for one in audit if one.kind == "preset"]
        assert [one.action for one in records] == ["use preset", "use preset", "create preset"]
        assert {(one.entity_id, one.old_value, one.new_value) for one in records} == {
            (f"tg:{ann.id}", "", "")
        }


async def test_a_repeated_change_is_made_once_whatever_came_between(stage: Stage) -> None:
    prepared(stage)
    stage.add_bot("Free")
    actor = Actor("tg:5")
    async with stage.host() as host:
        given = {"instance_name": "mine", "base_agent_name": "research_agent"}
        preset, _ = await create_preset(host.catalog, actor, given, key="k")
        change = {"display_name": "First"}
        await change_preset(host.catalog, actor, preset.id, change, key="c")
        await change_preset(host.catalog, actor, preset.id, {"display_name": "Second"}, key="d")
        same, held = await create_preset(host.catalog, actor, given, key="k")
        assert (same.id, len(held.presets)) == (preset.id, 1)
        kept, _ = await change_preset(host.catalog, actor, preset.id, change, key="c")
        assert kept.display_name == "Second"


async def test_nobody_changes_their_presets_without_end(stage: Stage) -> None:
    prepared(stage)
    stage.add_bot("Free")
    actor, other = Actor("tg:5"), Actor("tg:6")
    async with stage.host() as host:
        given = {"instance_name": "mine", "base_agent_name": "research_agent"}
        preset, _ = await create_preset(host.catalog, actor, given, key="k")
        ids = (preset.id, None)
        for number in range(MOST_CHANGES - 1):
            await set_default(host.catalog, actor, ids[number % 2], key=f"d{number}")
        with pytest.raises(Denied, match="200 times within an hour: wait a while"):
            await set_default(host.catalog, actor, ids[(MOST_CHANGES - 1) % 2], key="last")
        await create_preset(host.catalog, other, given, key="other")
