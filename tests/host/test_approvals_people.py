"""Who may answer a question, in private and in groups, and who else has a say."""

from __future__ import annotations

from registry.policy import ToolPolicy
from tests.host.desk import Desk, write
from tests.host.stage import Stage, until


async def test_only_the_asker_may_answer_and_others_are_told_so(stage: Stage) -> None:
    desk, ann, ben = Desk(stage), stage.person("Ann"), stage.person("Ben")
    room = stage.world.group("Team", [ann, ben, desk.bot])
    stage.script.on(write(), "ok")
    async with desk.host():
        stage.world.say(ann, room, f"@{desk.bot.username} write hello")
        question = await desk.question(room)
        word = await desk.answered(desk.press(ben, room, question, "Once"))
        assert word == "Only Ann may answer this."
        assert desk.done == []
        desk.press(ann, room, question, "Once")
        await desk.said(room, "ok")
    assert desk.done == ["write hello"]


async def test_admins_and_named_ids_may_answer_where_the_agent_says_so(stage: Stage) -> None:
    ann, ben, cid, dan = (stage.person(name) for name in ("Ann", "Ben", "Cid", "Dan"))
    desk = Desk(stage, toolPolicy={"approvers": ["admins", cid.id]})
    room = stage.world.group("Team", [ben, ann, cid, dan, desk.bot])  # the first is the owner
    stage.script.on(write("1"), write("2"), "ok")
    async with desk.host():
        stage.world.say(ann, room, f"@{desk.bot.username} write")
        question = await desk.question(room)
        for other in (ann, dan):
            word = await desk.answered(desk.press(other, room, question, "Once"))
            assert word.startswith("Only the chat's admins or whoever has the id")
        desk.press(ben, room, question, "Once")
        await desk.until(lambda: desk.done == ["write 1"])
        await desk.until(lambda: desk.asked(room)[-1:] not in ([], [question]))
        second = desk.asked(room)[-1]
        desk.press(cid, room, second, "Once")
        await desk.said(room, "ok")
    assert desk.done == ["write 1", "write 2"]


async def test_in_a_group_the_messages_of_others_wait_and_keep_their_order(stage: Stage) -> None:
    desk, ann, ben = Desk(stage), stage.person("Ann"), stage.person("Ben")
    room = stage.world.group("Team", [ann, ben, desk.bot])
    stage.script.on(write(), "first", user="write hello")
    stage.script.on("second", user="two")
    stage.script.on("third", user="three")
    at = f"@{desk.bot.username}"
    async with desk.host() as host:
        stage.world.say(ann, room, f"{at} write hello")
        question = await desk.question(room)
        stage.world.say(ben, room, f"{at} two")
        stage.world.say(ben, room, f"{at} three")
        await until(lambda: host.counters["turns:suspended"] == 1)
        assert len(stage.requests()) == 1
        desk.press(ann, room, question, "Once")
        await desk.said(room, "third")
        said = [t for t in stage.texts(room, desk.bot.id) if t in ("first", "second", "third")]
    assert said == ["first", "second", "third"]


async def test_whoever_may_approve_no_more_is_refused_and_whoever_may_now_is_not(
    stage: Stage,
) -> None:
    ann, ben, cid = (stage.person(name) for name in ("Ann", "Ben", "Cid"))
    desk = Desk(stage, toolPolicy={"approvers": ["asker", ben.id]})
    room = stage.world.group("Team", [ann, ben, cid, desk.bot])
    stage.script.on(write(), "ok")
    async with desk.host() as host:
        stage.world.say(ann, room, f"@{desk.bot.username} write hello")
        question = await desk.question(room)
        policy = stage.agents["agents"][0]["toolPolicy"] = {"approvers": [cid.id]}
        stage.write_agents()
        now = ToolPolicy(approvers=(cid.id,))
        await host.catalog.until(lambda found: found.agents["clerk"].value.tool_policy == now)
        for one in (ann, ben):
            word = await desk.answered(desk.press(one, room, question, "Once"))
            assert word == f"Only whoever has the id {policy['approvers'][0]} may answer this."
        assert desk.done == []
        assert await desk.answered(desk.press(cid, room, question, "Once")) == "Allowed once."
        await desk.said(room, "ok")
    assert desk.done == ["write hello"]


async def test_where_the_asker_has_left_the_group_the_others_need_not_wait(stage: Stage) -> None:
    desk, ann, ben = Desk(stage), stage.person("Ann"), stage.person("Ben")
    room = stage.world.group("Team", [ben, ann, desk.bot])
    stage.script.on(write(), user="write hello")
    stage.script.on("second", user="two")
    at = f"@{desk.bot.username}"
    async with desk.host():
        stage.world.say(ann, room, f"{at} write hello")
        question = await desk.question(room)
        stage.world.leave(room, ann)
        stage.world.say(ben, room, f"{at} two")
        await desk.said(room, "second")
        assert "the conversation went on" in await desk.closed(room, question)
    assert desk.done == []


async def test_of_two_people_who_press_at_once_one_decides_and_the_other_is_told(
    stage: Stage,
) -> None:
    ann, ben = stage.person("Ann"), stage.person("Ben")
    desk = Desk(stage, toolPolicy={"approvers": ["asker", ben.id]})
    room = stage.world.group("Team", [ann, ben, desk.bot])
    stage.script.on(write(), "done")
    async with desk.host():
        stage.world.say(ann, room, f"@{desk.bot.username} write hello")
        question = await desk.question(room)
        once, deny = (
            desk.press(ann, room, question, "Once"),
            desk.press(ben, room, question, "Deny"),
        )
        words = {await desk.answered(once), await desk.answered(deny)}
        if "Denied." in words:
            stage.world.say(ben, room, f"@{desk.bot.username} no")
        await desk.said(room, "done")
    assert len([word for word in words if word.startswith("Answered already: ")]) == 1
    assert desk.done == (["write hello"] if "Allowed once." in words else [])
