"""Changes of agents that could slip through: unseen, unreviewed, without a reason, on test."""

from __future__ import annotations

import json
import re

from simulators.testing.stage import PATIENCE
from tests.host.audit import audit_of
from tests.host.stage import Stage
from tests.host.test_drafts_in_chat import FORMAL, JACK, MARK, with_jack
from tests.host.test_versions import saying

TAGS = "\U000e0042\U000e0045"
WHOLE = {"id": "jack", "name": "Jack"}
HIDDEN = f"You are Jack.{TAGS} Be\u200b formal\u202e."


async def test_hidden_characters_are_written_out_wherever_a_change_is_shown(stage: Stage) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    says = saying(stage, boss, stage.world.private(boss, echo), echo)
    async with stage.host():
        await says(f"/addagent {JACK}")
        seen = ("⟨U+E0042⟩", "⟨U+200B⟩", "⟨U+202E⟩")
        edited = await says(f"/edit jack {json.dumps({**WHOLE, 'customInstructions': HIDDEN})}")
        assert all(one in edited for one in seen)
        assert "Not what it looks like" in edited
        published = await says("/publish jack")
        assert "'customInstructions' has hidden characters, which the model reads" in published
        assert "U+200B" in published
        for command in ("/diff jack", "/agent jack"):
            shown = await says(command)
            assert all(one in shown for one in seen), command
        assert "⟨U+E0042⟩" in await says("/audit jack")
        assert "Ja⟨U+200B⟩ck" in await says("/edit jack name Ja\u200bck")
        edited = await says("/edit jack description A clerk\ufe01 ❤️")
        assert "clerk⟨U+FE01⟩ ❤️" in edited


async def test_a_draft_names_only_models_that_an_agent_from_a_chat_may_name(stage: Stage) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ |= {"ADMINS": str(boss.id), "LLM__MODEL": "claude-sonnet-4-6"}
    stage.environ["MODELS__ALLOWED"] = "claude-haiku-4-5"
    says = saying(stage, boss, stage.world.private(boss, echo), echo)
    async with stage.host() as host:
        await says(f"/addagent {JACK}")
        refused = await says("/edit jack model claude-opus-4-8")
        assert "the model 'claude-opus-4-8' is not allowed here" in refused
        assert "claude-haiku-4-5" in refused
        whole = '{"id": "jack", "name": "Jack", "llmOverrides": {"fallbackModel": "gpt-9"}}'
        assert "'gpt-9' is not allowed here" in await says(f"/edit jack {whole}")
        assert not host.catalog.snapshot().drafts
        assert "Your draft" in await says("/edit jack model claude-haiku-4-5")


async def test_a_sentence_of_the_program_is_no_reason_of_a_support_role(stage: Stage) -> None:
    echo, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = str(boss.id)
    boss_says = saying(stage, boss, stage.world.private(boss, echo), echo)
    says = saying(stage, ann, stage.world.private(ann, echo), echo)
    async with stage.host() as host:
        await boss_says(f"/addagent {JACK}")
        await boss_says("/bind jack")
        await boss_says(f"/roles grant {ann.id} spokestack_engineer")
        number = next(one.number for one in await audit_of(host) if one.action == "bind")
        (slot,) = [one.slot for one in host.catalog.snapshot().bindings if one.agent_id == "jack"]
        assert "say why" in await says(f"/rollback {number}")
        assert "say why" in await says(f"/restore binding {slot} 1")
        assert any(one.agent_id == "jack" for one in host.catalog.snapshot().bindings)
        assert "Took back" in await says(f"/rollback {number} because of #OPS-9")
        newest = (await audit_of(host))[0]
        assert (newest.ticket_reference, newest.support) == ("OPS-9", True)
        assert "Write /rollback N" in await says("/rollback jack")


async def test_a_test_ends_another_one_only_once_it_can_begin_and_says_so(stage: Stage) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    with_jack(stage)
    world = stage.world
    team = world.group("Team", [boss, echo])
    says = saying(stage, boss, world.private(boss, echo), echo)
    in_team = saying(stage, boss, team, echo)
    async with stage.host() as host:
        await says(f"/addagent {JACK}")
        await says(f"/edit jack prompt {FORMAL}")
        await says("/edit new jim prompt You are Jim.")
        await says("/test jack")
        assert "no draft of agent 'nobody'" in await says("/test nobody")
        assert await says("hello") == f"Good day.{MARK}"
        assert "The test of Jack (jack) here is over." in await says("/test jim")
        await says("/test jack")
        moved = await in_team(f"/test@{echo.username} jack")
        assert "Its test in the other chat is over." in moved
        assert "a new name is needed" in await says("/edit jim name none")
        long = await says(f"/edit jim name {'x' * 200}")
        assert "is longer than 128 characters" in long
        assert "agent jim: " in long
        edits = [one for one in await audit_of(host) if one.action == "edit a draft"]
        assert not [one for one in edits if one.field_changed == "at"]


async def test_a_role_that_is_lost_ends_a_test_for_good(stage: Stage) -> None:
    echo, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = str(boss.id)
    with_jack(stage)
    stage.script.on("echo", system="You are Echo.", again=True)
    boss_says = saying(stage, boss, stage.world.private(boss, echo), echo)
    says = saying(stage, ann, stage.world.private(ann, echo), echo)
    async with stage.host() as host:
        await boss_says(f"/addagent {JACK}")
        await boss_says(f"/roles grant {ann.id} spokestack_engineer host")
        await says(f"/edit jack prompt {FORMAL}")
        await says("/test jack")
        await boss_says(f"/roles revoke {ann.id} spokestack_engineer host")
        await boss_says(f"/roles grant {ann.id} spokestack_engineer host")
        await host.catalog.until(lambda snapshot: not snapshot.on_test)
        assert await says("hello") == "echo"
        assert "yours" in await says("/drafts")
        await says("/test jack")
        assert await says("hello") == f"Good day.{MARK}"


def agent(text: str) -> str:
    return f'{{"id": "jack", "name": "Jack", "customInstructions": "{text}"}}'


async def test_a_review_is_shown_to_its_end_and_is_not_replaced_by_somebody_else(
    stage: Stage,
) -> None:
    echo, ann, ben = stage.bot("Echo"), stage.person("Ann"), stage.person("Ben")
    world = stage.world
    office, desk = world.private(ann, echo), world.private(ben, echo)
    ann_says, ben_says = saying(stage, ann, office, echo), saying(stage, ben, desk, echo)
    tail = "Give every guest the keys."
    long = "Be kind to every guest. " * 600 + tail
    async with stage.host(ADMINS=f"{ann.id},{ben.id}", REVIEW__CORE="two") as host:
        await ann_says(f"/roles grant {ben.id} spokestack_engineer host qa security")
        await ann_says(f"/addagent {agent('Be brief.')}")
        listed = await ben_says("/reviews")
        assert f"by tg:{ann.id}" in listed
        assert "by by" not in listed
        (mark,) = re.findall(r"\b[0-9a-f]{8}\b", listed)
        refused = await ben_says(f"/addagent {agent('Be mine.')}")
        assert f"a change of agent 'jack' by tg:{ann.id} waits for a second person" in refused
        assert mark in await ben_says("/reviews")
        count = len(stage.texts(office, echo.id))
        content = agent(long).encode()
        world.attach(ann, office, "document", content, caption="/addagent")
        again = (await stage.answer(office, echo, count + 1)).text
        assert "your earlier change that waited is dropped" in again
        listed = await ben_says("/reviews")
        assert "/reviews jack shows it to its end" in listed
        assert not re.findall(r"\b[0-9a-f]{8}\b", listed)
        pages, page = "", 1
        while tail not in pages:
            assert not re.findall(r"\b[0-9a-f]{8}\b", pages)
            count = len(stage.texts(desk, echo.id))
            world.say(ben, desk, f"/reviews jack {page}")
            ends = ("It goes on", "That is all of it")

            def is_whole(count: int = count, ends: tuple[str, ...] = ends) -> bool:
                texts = stage.texts(desk, echo.id)
                return len(texts) > count and any(one in texts[-1] for one in ends)

            await world.until(is_whole, PATIENCE)
            pages += " " + " ".join(stage.texts(desk, echo.id)[count:])
            page += 1
        assert page > 2
        plain = re.sub(r"It goes on: \S+ \S+ \d+\s+jack .* of \d+:", " ", pages)
        assert " ".join(plain.split()).count("kind to every guest.") == 600
        (mark,) = re.findall(r"\b[0-9a-f]{8}\b", pages)
        assert "is in force" in await ben_says(f"/reviews approve jack {mark}")
        found = host.catalog.get_agent("jack")
        assert found is not None
        assert found.custom_instructions == long


async def test_an_approved_draft_is_gone_and_one_that_says_more_stands_on_what_was_approved(
    stage: Stage,
) -> None:
    echo, ann, ben = stage.bot("Echo"), stage.person("Ann"), stage.person("Ben")
    world = stage.world
    ann_says = saying(stage, ann, world.private(ann, echo), echo)
    ben_says = saying(stage, ben, world.private(ben, echo), echo)

    async def approve() -> None:
        (mark,) = re.findall(r"\b[0-9a-f]{8}\b", await ben_says("/reviews"))
        assert "is in force" in await ben_says(f"/reviews approve jack {mark}")

    async with stage.host(ADMINS=f"{ann.id},{ben.id}", REVIEW__CORE="two") as host:
        await ann_says(f"/roles grant {ben.id} spokestack_engineer host qa security")
        await ann_says("/edit new jack prompt Be formal.")
        assert "Kept, not yet in force" in await ann_says("/publish jack")
        await approve()
        await host.catalog.until(lambda snapshot: not snapshot.drafts)
        await ann_says("/edit jack prompt Be kind.")
        await ann_says("/publish jack")
        await ann_says("/edit jack description For guests.")
        await approve()
        shown = await ann_says("/edit jack")
        assert "description: For guests." in shown
        assert "changed" not in shown
        assert "Be kind" not in shown
        # Archived meanwhile: what publishing brings back is named.
        await ann_says("/bind jack")
        await ben_says("/deleteagent jack")
        shown = await ann_says("/edit jack")
        assert "Once it is published, it answers again where it is still bound:" in shown
        assert f"chat {ann.id}" in shown
