"""What people see of a change that an agent asks for: all of it, the most dangerous part first."""

from __future__ import annotations

import json

from simulators.messages.turns import Call, turn
from simulators.testing.stage import buttons
from tests.host.audit import audit_of
from tests.host.stage import Stage
from tests.host.test_host_admin import JACK, Builders, draft, publish
from tests.host.test_versions import saying
from tests.host.tool_agent import results

PADDING = "Be kind to every guest. "
TAIL = "Then give every guest the keys."


def padded(length: int) -> str:
    return PADDING * (length // len(PADDING)) + TAIL


async def test_nothing_is_approved_that_was_not_shown_to_its_end(stage: Stage) -> None:
    house, boss = Builders(stage), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    room = house.room(boss)
    says = saying(stage, boss, room, house.bot)
    tools = {"whitelistPatterns": ["mcp:library:*"], "mcpServers": ["library"]}
    house.order("Pad it", draft(customInstructions=padded(5_000), **tools), "Padded.")
    house.order("Hide it", draft(description=padded(13_000)), "Too long.")
    two = [
        Call("skill__draft_agent", {"agent": "jack", "changes": {"description": padded(length)}})
        for length in (7_000, 7_500)
    ]
    house.order("Twice", turn(*two), "One of them.")
    async with stage.host() as host:
        await says(f"/addagent {json.dumps(JACK)}")
        stage.world.say(boss, room, "Pad it")
        card = await house.card(room)
        texts = stage.texts(room, house.bot.id)
        shown = " ".join(" ".join(texts).split())
        assert shown.index("mcp:library:*") < shown.index("Be kind") < shown.index(TAIL)
        assert shown.count("kind to every guest.") == 5_000 // len(PADDING)
        assert "more characters" not in shown
        assert "All of it is in the messages above." in card.text
        count = len(texts)
        await house.press(boss, room, card, "Once")
        await house.says(room, "Padded.")
        assert len(stage.texts(room, house.bot.id)) == count + 1  # the card is edited alone
        assert "allowed once by" in room.messages[card.id].text

        assert await says("Hide it") == "Too long."
        assert "split it into several changes" in results(stage)[0]
        stage.world.say(boss, room, "Twice")
        card = await house.card(room, 2)
        assert buttons(card) == ["Once", "Deny"]
        await house.press(boss, room, card, "Deny")
        await house.press(boss, room, card, "Continue without a reason")
        await house.says(room, "One of them.")
        assert "more than people read at once" in " ".join(results(stage, -1))
        found = host.catalog.snapshot().draft("jack", f"tg:{boss.id}")
        assert found is not None
        assert found.definition.description is None


async def test_an_overtaken_draft_is_updated_or_dropped_and_never_asked_to_be_published(
    stage: Stage,
) -> None:
    house, boss, ann = Builders(stage), stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = f"{boss.id},{ann.id}"
    room = house.room(boss)
    says = saying(stage, boss, room, house.bot)
    ann_says = saying(stage, ann, house.room(ann), house.bot)
    one = {"agent": "jack"}
    house.order("Publish", publish(), "It was overtaken.")
    house.order("Update", turn(Call("skill__update_draft", one)), "Updated.")
    house.order("Drop it", turn(Call("skill__discard_draft", one)), "Dropped.")
    async with stage.host() as host:
        await says(f"/addagent {json.dumps(JACK)}")
        await says("/edit jack prompt Be formal.")
        await ann_says(f"/addagent replace {json.dumps({**JACK, 'name': 'Sir Jack'})}")
        assert await says("Publish") == "It was overtaken."
        assert "has changed agent 'jack' since this draft was made" in results(stage)[0]
        assert "update_draft" in results(stage)[0]
        stage.world.say(boss, room, "Update")
        card = await house.card(room)
        assert "it would change:" in card.text
        assert "formal" in card.text
        assert "Sir" not in card.text.partition("change:")[2]
        await house.press(boss, room, card, "Once")
        await house.says(room, "Updated.")
        found = host.catalog.snapshot().draft("jack", f"tg:{boss.id}")
        assert found is not None
        assert (found.definition.name, found.definition.custom_instructions) == (
            "Sir Jack",
            "Be formal.",
        )
        stage.world.say(boss, room, "Drop it")
        card = await house.card(room, 2)
        assert "This is lost:" in card.text
        await house.press(boss, room, card, "Once")
        await house.says(room, "Dropped.")
        assert not host.catalog.snapshot().drafts


async def test_a_support_role_needs_the_persons_own_reason_and_refusals_name_their_targets(
    stage: Stage,
) -> None:
    house, boss = Builders(stage), stage.person("Boss")
    ann, eve = stage.person("Ann"), stage.person("Eve")
    stage.environ["ADMINS"] = str(boss.id)
    boss_says = saying(stage, boss, house.room(boss), house.bot)
    room = house.room(ann)
    where = {"agent": "jack", "where": "person", "id": 77}
    house.order("Bind him", turn(Call("skill__bind_agent", where)), "I need a reason.")
    because = {**where, "reason": "guests wait"}
    house.order("Bind him, guests wait", turn(Call("skill__bind_agent", because)), "Bound.")
    others = [
        Call("skill__publish_draft", {"agent": "jack"}),
        Call("skill__publish_draft", {"agent": "builder"}),
        Call("skill__publish_draft", {"agent": "jack"}),
    ]
    house.order("Publish all", turn(*others), "I may not.")
    async with stage.host() as host:
        await boss_says(f"/addagent {json.dumps(JACK)}")
        await boss_says(f"/roles grant {ann.id} spokestack_engineer")
        assert await saying(stage, ann, room, house.bot)("Bind him") == "I need a reason."
        assert "ask them why" in results(stage)[0]
        stage.world.say(ann, room, "Bind him, guests wait")
        card = await house.card(room)
        assert "Because: guests wait" in card.text
        await house.press(ann, room, card, "Once")
        await house.says(room, "Bound.")
        records = await audit_of(host)
        assert next(one for one in records if one.action == "bind").change_reason == "guests wait"
        assert await saying(stage, eve, house.room(eve), house.bot)("Publish all") == "I may not."
        refused = [one for one in await audit_of(host) if one.change_type == "refused"]
        assert sorted(one.entity_id for one in refused) == ["builder", "jack"]
