"""One admin's evening: an agent made, tried, published, bound, edited and taken back by thumb."""

from __future__ import annotations

from bot.app import App
from simulators.messages.turns import Call
from simulators.testing.valkey import Valkey
from tests.host.menus import MenuUser
from tests.host.stage import TIME_SERVER, Stage, until
from tests.host.test_versions import two_replicas

MOST_TAPS = 12
FORMAL = "I keep the time, Sir."


def instructions(host: App) -> str:
    agent = host.catalog.get_agent("time-keeper")
    return (agent.custom_instructions or "") if agent else ""


async def test_an_agent_with_a_tool_is_made_tried_published_bound_edited_and_taken_back_in_a_chat(
    stage: Stage, valkey: Valkey
) -> None:
    stage.agents["mcpServers"]["time"] = TIME_SERVER
    bots = [stage.bot("One"), stage.bot("Two")]
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = str(boss.id)
    keeper = "You keep the time."
    stage.script.on(Call("mcp__time__get_current_time"), "It is noon.", user="what time")
    stage.script.on(FORMAL, system="You are formal.", again=True)
    stage.script.on("I keep the time.", system=keeper, user="who are you", again=True)
    team = stage.world.group("Team", [boss, ann, bots[1]])
    boss_here = MenuUser(stage, boss, bots[0])
    async with two_replicas(stage, valkey) as (_, other):
        # Made.
        asked = await boss_here.open("/newagent Time Keeper")
        assert "Your draft is time-keeper." in asked
        assert "1 of 7: Who is it?" in asked
        first = boss_here.message
        assert "2 of 7: What is its main job?" in await boss_here.write(keeper)
        assert not boss_here.room.messages[first.id].body.get("reply_markup")
        await boss_here.tap("That is enough")
        await boss_here.tap("– time")
        assert "✓ time" in boss_here.labels
        await boss_here.tap("Tools")
        await boss_here.tap("? mcp:time:get_current_time")
        assert "✓ mcp:time:get_current_time" in boss_here.labels

        # Tried: nobody but its author notices.
        await boss_here.tap("Test")
        menu = boss_here.number
        answered = await boss_here.open("what time is it?")
        assert answered == "It is noon.\n\nDraft of Time Keeper, not published"
        assert "time-keeper" not in other.catalog.snapshot().agents

        # Published, and bound to a group of the other replica.
        boss_here.number = menu
        await boss_here.tap("Publish")
        assert boss_here.word == "Published version 1."
        await until(lambda: "time-keeper" in other.catalog.snapshot().agents)
        group = MenuUser(stage, boss, bots[1], team)
        assert "now answers in this whole group" in await group.open("/bind time-keeper")
        ann_there = MenuUser(stage, ann, bots[1], team)
        assert await ann_there.open(f"@{bots[1].username} who are you?") == "I keep the time."

        # Edited, compared, and taken back.
        await boss_here.tap("Edit")
        await boss_here.tap("Instructions")
        shown = await boss_here.write("You are formal. You keep the time.")
        assert "You are formal." in shown
        assert "This touches 1 chat." in shown
        await boss_here.tap("Publish")
        assert boss_here.word == "Published version 2."
        await until(lambda: "formal" in instructions(other))
        assert await ann_there.open(f"@{bots[1].username} who are you now?") == FORMAL
        await boss_here.tap("History")
        await boss_here.tap("Version 1")
        assert "This touches 1 chat." in boss_here.text
        await boss_here.tap("Go back")
        assert boss_here.word == "Version 1 is in force again, as version 3."
        await until(lambda: instructions(other) == keeper)
        assert await ann_there.open(f"@{bots[1].username} who are you?") == "I keep the time."
        assert boss_here.taps <= MOST_TAPS


async def test_of_two_admins_who_edit_one_agent_the_later_one_sees_what_changed_and_keeps_the_text(
    stage: Stage, valkey: Valkey
) -> None:
    bots = [stage.bot("One"), stage.bot("Two")]
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = f"{boss.id},{ann.id}"
    one, other = MenuUser(stage, boss, bots[0]), MenuUser(stage, ann, bots[1])
    async with two_replicas(stage, valkey) as hosts:
        await one.open(
            '/addagent {"id": "time-keeper", "name": "Jack", "customInstructions": "Hi."}'
        )
        await until(lambda: "time-keeper" in hosts[1].catalog.snapshot().agents)
        for user, text in ((one, "You are brief."), (other, "You are kind.")):
            await user.open("/agents")
            await user.tap("Jack")
            await user.tap("Edit")
            await user.tap("Instructions")
            assert text in await user.write(text)
        await one.tap("Publish")
        assert one.word == "Published version 2."
        await until(lambda: instructions(hosts[1]) == "You are brief.")
        shown = await other.tap("Publish")
        assert other.word == "Nothing was published: somebody was faster."
        assert f"by tg:{boss.id}" in shown
        assert "You both changed customInstructions." in shown
        assert "kind" in shown
        assert instructions(hosts[0]) == "You are brief."
        await other.tap("Put my changes on the newest version")
        await other.tap("Publish")
        assert other.word == "Published version 3."
        await until(lambda: instructions(hosts[0]) == "You are kind.")
