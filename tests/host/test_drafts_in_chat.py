"""Drafts of agents from a chat: edited, compared, tried by one person, published, discarded."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from statistics import median

from registry.draft_edits import Drafts
from registry.roles import HOST_ADMIN, Actor
from simulators.telegram.people import Person
from simulators.testing.valkey import Valkey
from tests.host.audit import audit_of
from tests.host.stage import Stage
from tests.host.test_versions import saying, two_replicas
from tests.host.tool_agent import ToolAgent, write

PIRATE = "You are Jack, a pirate."
FORMAL = "You are Jack.\nBe formal, because guests expect it."
JACK = f'{{"id": "jack", "name": "Jack", "customInstructions": "{PIRATE}"}}'
MARK = "\n\nDraft of Jack, not published"


def with_jack(stage: Stage) -> None:
    """What the model says as the pirate, and as the formal one."""
    stage.script.on("Arr!", system=PIRATE, again=True)
    stage.script.on("Good day.", system="Be formal", again=True)


async def test_a_draft_answers_its_author_in_one_chat_and_all_once_it_is_published(
    stage: Stage, valkey: Valkey
) -> None:
    bots = [stage.bot("One"), stage.bot("Two")]
    ann, ben = stage.person("Ann"), stage.person("Ben")
    stage.environ["ADMINS"] = f"{ann.id},{ben.id}"
    with_jack(stage)
    world, bot = stage.world, bots[0]
    team = world.group("Team", [ann, ben, bot])
    here = saying(stage, ann, world.private(ann, bot), bot)
    there = saying(stage, ann, world.private(ann, bots[1]), bots[1])
    name = f"@{bot.username}"

    async def in_team(person: Person, text: str) -> str:
        return await stage.ask(person, team, bot, text)

    async with two_replicas(stage, valkey) as hosts:
        await here(f'/addagent {{"id": "jack", "name": "Jack", "customInstructions": "{PIRATE}"}}')
        await here("/bind jack")
        await there("/bind jack")
        await in_team(ann, f"/bind{name} jack")
        edited = await here(f"/edit jack instructions {FORMAL}")
        assert edited.startswith("Your draft of Jack (jack):\n\nTexts\n• customInstructions: ")
        assert "Be formal, a pirate" in edited
        assert "because guests expect it" in edited
        assert edited.endswith(
            "/test jack tries it. /publish jack puts it in force, /discard jack drops it."
        )
        assert await here("hello") == "Arr!"

        tested = await in_team(ann, f"/test{name} jack")
        assert "now answers you in this chat, and only here. Nobody else here notices." in tested
        assert await in_team(ann, f"{name} hello") == f"Good day.{MARK}"
        assert await in_team(ben, f"{name} hello") == "Arr!"
        assert await here("hello") == "Arr!"
        assert await there("hello") == "Arr!"
        await there("/edit jack temperature 0.5")
        listed = await in_team(ben, f"/drafts{name}")
        assert listed == f"• Jack (jack) by tg:{ann.id}, just now · on test"
        assert await here("/drafts") == "• Jack (jack) yours, just now · on test"

        shown = await here("/edit jack")
        assert "llmOverrides" in shown
        done = await there("/publish jack because guests complained #OPS-7")
        assert done.startswith("Published agent Jack (jack), version 2.")
        async with asyncio.timeout(1):
            for app in hosts:
                await app.catalog.until(
                    lambda s: s.agents["jack"].value.custom_instructions == FORMAL and not s.drafts
                )
        assert await in_team(ann, f"{name} hello") == "Good day."
        assert await here("hello") == "Good day."
        assert "no draft of agent" in await here("/publish jack")
        assert "because guests complained #OPS-7" in await here("/versions jack")


async def test_two_admins_edit_one_agent_at_once_and_the_second_keeps_the_text(
    stage: Stage,
) -> None:
    echo, ann, ben = stage.bot("Echo"), stage.person("Ann"), stage.person("Ben")
    stage.environ["ADMINS"] = f"{ann.id},{ben.id}"
    ann_says = saying(stage, ann, stage.world.private(ann, echo), echo)
    ben_says = saying(stage, ben, stage.world.private(ben, echo), echo)
    async with stage.host() as host:
        await ann_says(
            f'/addagent {{"id": "jack", "name": "Jack", "customInstructions": "{PIRATE}"}}'
        )
        await asyncio.gather(
            ann_says(f"/edit jack instructions {FORMAL}"),
            ben_says("/edit jack instructions You are Jack, a sailor."),
        )
        answers = await asyncio.gather(ann_says("/publish jack"), ben_says("/publish jack"))
        won = [answer.startswith("Published") for answer in answers]
        assert sorted(won) == [False, True]
        lost, says = (answers[0], ann_says) if won[1] else (answers[1], ben_says)
        winner = ben if won[1] else ann
        assert lost.startswith(
            f"Nothing was published: tg:{winner.id} changed agent 'jack' since your draft was made"
        )
        assert "your draft is kept" in lost
        assert (
            f"by tg:{winner.id}: customInstructions. You both changed customInstructions." in lost
        )
        updated = await says("/edit jack update")
        assert updated.startswith("Your changes are on the newest version now.\n\nOf customInst")
        assert (await says("/publish jack")).startswith("Published agent Jack (jack), version 3.")
        found = host.catalog.get_agent("jack")
        assert found is not None
        assert found.custom_instructions == (FORMAL if won[1] else "You are Jack, a sailor.")
        actions = [record.action for record in await audit_of(host)]
        assert actions.count("publish a draft") == 2


async def test_a_test_ends_with_the_draft_with_off_and_with_the_role(stage: Stage) -> None:
    echo, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = str(boss.id)
    with_jack(stage)
    stage.script.on("echo", system="You are Echo.", again=True)
    boss_says = saying(stage, boss, stage.world.private(boss, echo), echo)
    says = saying(stage, ann, stage.world.private(ann, echo), echo)
    formal = "You are Jack. Be formal."
    async with stage.host():
        assert (await says("/edit new jack")).startswith("Only admins of this host")
        await boss_says(f"/roles grant {ann.id} spokestack_engineer host")
        assert "There is no agent jack" in await says(f"/edit jack prompt {formal}")
        begun = await says(f"/edit new jack prompt {formal}")
        assert begun.startswith("Your draft of a new agent, Jack (jack):")
        assert "must be at most 2" in await says("/edit jack temperature 9")
        await says("/test jack")
        assert await says("hello") == f"Good day.{MARK}"
        assert "You are testing your draft of Jack (jack) here." in await says("/test")
        assert "your draft is kept" in await says("/test off")
        assert await says("hello") == "echo"
        await says("/test jack")
        await boss_says(f"/roles revoke {ann.id} spokestack_engineer host")
        assert await says("hello") == "echo"
        assert "no draft of agent 'jack'" in await boss_says("/discard jack")
        await boss_says(f"/roles grant {ann.id} spokestack_engineer host")
        assert await says("hello") == "echo"  # the role is back, the test is not
        assert "Your draft of Jack (jack) now answers" in await says("/test jack")
        assert await says("hello") == f"Good day.{MARK}"
        assert (await says("/discard jack")).startswith("Dropped your draft of agent jack")
        assert await says("hello") == "echo"
        assert await says("/drafts") == "No drafts."


async def test_what_a_draft_asks_to_do_is_void_once_it_is_no_longer_on_test(stage: Stage) -> None:
    clerk = ToolAgent(stage)
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    room = clerk.room(boss)
    says = saying(stage, boss, room, clerk.bot)
    draft = '{"id": "scribe", "name": "Scribe", "mcpServers": ["desk"]}'
    async with clerk.host() as host:
        await says(f"/edit scribe {draft}")
        await says("/test scribe")
        stage.script.on(write())
        stage.world.say(boss, room, "write hello")
        question = await clerk.question(room)
        actor = Actor(f"tg:{boss.id}", HOST_ADMIN)
        await Drafts(host.history).discard(actor, "scribe", key="gone")
        clerk.press(boss, room, question, "Once")
        said = await clerk.said(room, "no longer on test")
        assert said == "The draft that asked this is no longer on test, so nothing was done."
        assert clerk.done == []
        stage.script.on("I am the clerk.")
        assert await says("hello") == "I am the clerk."


async def test_a_text_is_taken_from_a_reply_and_a_whole_agent_from_json_or_yaml(
    stage: Stage,
) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    room = stage.world.private(boss, echo)
    says = saying(stage, boss, room, echo)
    async with stage.host() as host:
        await says(f"/addagent {JACK}")
        await says("/edit jack description For guests.")
        text = stage.world.say(boss, room, "/id because it is short, and has many words")
        await stage.answer(room, echo, 3)
        count = len(stage.texts(room, echo.id))
        stage.world.say(boss, room, "/edit jack instructions", reply_to=text.id)
        said = (await stage.answer(room, echo, count + 1)).text
        assert "customInstructions" in said
        found = host.catalog.snapshot().draft("jack", f"tg:{boss.id}")
        assert found is not None
        assert found.definition.custom_instructions == text.text
        assert found.definition.description == "For guests."
        said = await says("/edit jack id: jack\nname: Sir Jack\nmcpServers: []\n")
        assert "name: Sir Jack" in said
        assert "its id is 'jim'" in await says('/edit jack {"id": "jim", "name": "Jim"}')
        assert "did you mean 'llmOverrides.temperature'" in await says("/edit jack temprature 0.1")
        assert (await says("/edit jack")).startswith("Your draft of Sir Jack (jack):")
        assert "after /edit ID" in await says("/edit")
        assert "Write /publish ID" in await says("/publish")
        assert await says("/drafts jim") == "There is no draft of agent 'jim'."


async def test_an_answer_of_a_draft_costs_the_store_no_more_than_any_other(stage: Stage) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    with_jack(stage)
    says = saying(stage, boss, stage.world.private(boss, echo), echo)
    async with stage.host(LEASE_SECONDS="60") as host:
        await says("/edit new jack prompt You are Jack. Be formal.")
        await says("/test jack")
        await says("warm")
        await host.fleet.lines[0].idle()
        trips = [host.store.round_trips]
        for number in range(5):
            assert await says(f"message {number}") == f"Good day.{MARK}"
            await host.fleet.lines[0].idle()
            trips.append(host.store.round_trips)
    assert median(after - before for before, after in pairwise(trips)) == 4
