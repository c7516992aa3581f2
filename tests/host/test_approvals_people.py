"""Who may answer a question, in private and in groups, and who else has a say."""

from __future__ import annotations

import pytest

from bot.approvals.view import duration
from registry.policy import ToolPolicy
from tests.host.stage import Stage, until
from tests.host.tool_agent import ToolAgent, write


async def test_only_the_asker_may_answer_and_others_are_told_so(stage: Stage) -> None:
    agent, ann, ben = ToolAgent(stage), stage.person("Ann"), stage.person("Ben")
    room = stage.world.group("Team", [ann, ben, agent.bot])
    stage.script.on(write(), "ok")
    async with agent.host():
        stage.world.say(ann, room, f"@{agent.bot.username} write hello")
        question = await agent.question(room)
        word = await agent.answered(agent.press(ben, room, question, "Once"))
        assert word == "Only Ann may answer this."
        assert agent.done == []
        agent.press(ann, room, question, "Once")
        await agent.said(room, "ok")
    assert agent.done == ["write hello"]


async def test_admins_and_named_ids_may_answer_where_the_agent_says_so(stage: Stage) -> None:
    ann, ben, cid, dan = (stage.person(name) for name in ("Ann", "Ben", "Cid", "Dan"))
    agent = ToolAgent(stage, toolPolicy={"approvers": ["admins", cid.id]})
    room = stage.world.group("Team", [ben, ann, cid, dan, agent.bot])  # the first is the owner
    stage.script.on(write("1"), write("2"), "ok")
    async with agent.host():
        stage.world.say(ann, room, f"@{agent.bot.username} write")
        question = await agent.question(room)
        for other in (ann, dan):
            word = await agent.answered(agent.press(other, room, question, "Once"))
            assert word.startswith("Only the chat's admins or the person with the id")
        agent.press(ben, room, question, "Once")
        await agent.until(lambda: agent.done == ["write 1"])
        await agent.until(lambda: agent.asked(room)[-1:] not in ([], [question]))
        second = agent.asked(room)[-1]
        agent.press(cid, room, second, "Once")
        await agent.said(room, "ok")
    assert agent.done == ["write 1", "write 2"]


async def test_in_a_group_the_messages_of_others_wait_and_keep_their_order(stage: Stage) -> None:
    agent, ann, ben = ToolAgent(stage), stage.person("Ann"), stage.person("Ben")
    room = stage.world.group("Team", [ann, ben, agent.bot])
    stage.script.on(write(), "first", user="write hello")
    stage.script.on("second", user="two")
    stage.script.on("third", user="three")
    at = f"@{agent.bot.username}"
    async with agent.host() as host:
        stage.world.say(ann, room, f"{at} write hello")
        question = await agent.question(room)
        stage.world.say(ben, room, f"{at} two")
        stage.world.say(ben, room, f"{at} three")
        await until(lambda: host.counters["turns:suspended"] == 1)
        assert len(stage.requests()) == 1
        agent.press(ann, room, question, "Once")
        await agent.said(room, "third")
        said = [t for t in stage.texts(room, agent.bot.id) if t in ("first", "second", "third")]
    assert said == ["first", "second", "third"]


async def test_those_who_wait_for_an_answer_are_told_once_for_whose(stage: Stage) -> None:
    ann, ben, cid = (stage.person(name) for name in ("Ann", "Ben", "Cid"))
    agent = ToolAgent(stage)
    room = stage.world.group("Team", [ann, ben, cid, agent.bot])
    stage.script.on(write(), "first", user="write hello")
    stage.script.on("second", user="two")
    stage.script.on("third", user="three")
    stage.script.on("fourth", user="four")
    at = f"@{agent.bot.username}"
    async with agent.host() as host:
        stage.world.say(ann, room, f"{at} write hello")
        question = await agent.question(room)
        assert "Ann may answer within 60 minutes." in question.text
        two = stage.world.say(ben, room, f"{at} two")
        waiting = await agent.said(room, "I am waiting for an answer from Ann to my question above")
        shown = next(m for m in room.messages.values() if m.text == waiting)
        assert shown.body["reply_to_message"]["message_id"] == two.id
        stage.world.say(ben, room, f"{at} three")
        stage.world.say(cid, room, f"{at} four")
        await agent.until(lambda: stage.texts(room, agent.bot.id).count(waiting) == 2)
        await host.fleet.lines[0].idle()
        agent.press(ann, room, question, "Once")
        await agent.said(room, "fourth")
        said = stage.texts(room, agent.bot.id)
    assert said.count(waiting) == 2  # Ben and Cid, each once
    assert said[-4:] == ["first", "second", "third", "fourth"]


async def test_who_waited_is_answered_before_the_message_that_ended_the_wait(stage: Stage) -> None:
    agent, ann, ben = ToolAgent(stage), stage.person("Ann"), stage.person("Ben")
    room = stage.world.group("Team", [ann, ben, agent.bot])
    stage.script.on(write(), user="write hello")
    stage.script.on("second", user="two")
    stage.script.on("third", user="never mind")
    at = f"@{agent.bot.username}"
    async with agent.host():
        stage.world.say(ann, room, f"{at} write hello")
        await agent.question(room)
        stage.world.say(ben, room, f"{at} two")
        await agent.said(room, "I am waiting for an answer from Ann")
        stage.world.say(ann, room, f"{at} never mind")
        await agent.said(room, "third")
        said = [t for t in stage.texts(room, agent.bot.id) if t in ("second", "third")]
    assert said == ["second", "third"]
    assert agent.done == []


async def test_in_a_group_the_reason_is_a_reply_since_the_bot_takes_no_plain_message(
    stage: Stage,
) -> None:
    agent, ann = ToolAgent(stage), stage.person("Ann")
    room = stage.world.group("Team", [ann, agent.bot])
    stage.script.on(write(), "I see.")
    async with agent.host():
        stage.world.say(ann, room, f"@{agent.bot.username} write hello")
        question = await agent.question(room)
        agent.press(ann, room, question, "Deny")
        words = "You can reply to this message with the reason; I will continue in a minute."
        await agent.until(lambda: words in room.messages[question.id].text)
        stage.world.say(ann, room, "too early")  # goes to nobody
        stage.world.say(ann, room, "it is a draft", reply_to=question.id)
        await agent.said(room, "I see.")
        assert "Reason: it is a draft" in room.messages[question.id].text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (90, "90 seconds"),
        (60, "60 seconds"),
        (120, "2 minutes"),
        (3_600, "60 minutes"),
        (5_400, "90 minutes"),
        (7_200, "2 hours"),
        (86_400, "24 hours"),
        (7 * 86_400, "7 days"),
    ],
)
def test_how_long_people_have_is_said_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


async def test_whoever_may_approve_no_more_is_refused_and_whoever_may_now_is_not(
    stage: Stage,
) -> None:
    ann, ben, cid = (stage.person(name) for name in ("Ann", "Ben", "Cid"))
    agent = ToolAgent(stage, toolPolicy={"approvers": ["asker", ben.id]})
    room = stage.world.group("Team", [ann, ben, cid, agent.bot])
    stage.script.on(write(), "ok")
    async with agent.host() as host:
        stage.world.say(ann, room, f"@{agent.bot.username} write hello")
        question = await agent.question(room)
        policy = stage.agents["agents"][0]["toolPolicy"] = {"approvers": [cid.id]}
        stage.write_agents()
        now = ToolPolicy(approvers=(cid.id,))
        await host.catalog.until(lambda found: found.agents["clerk"].value.tool_policy == now)
        for one in (ann, ben):
            word = await agent.answered(agent.press(one, room, question, "Once"))
            assert word == f"Only the person with the id {policy['approvers'][0]} may answer this."
        assert agent.done == []
        assert await agent.answered(agent.press(cid, room, question, "Once")) == "Allowed once."
        await agent.said(room, "ok")
    assert agent.done == ["write hello"]


async def test_where_the_asker_has_left_the_group_the_others_need_not_wait(stage: Stage) -> None:
    agent, ann, ben = ToolAgent(stage), stage.person("Ann"), stage.person("Ben")
    room = stage.world.group("Team", [ben, ann, agent.bot])
    stage.script.on(write(), user="write hello")
    stage.script.on("second", user="two")
    at = f"@{agent.bot.username}"
    async with agent.host():
        stage.world.say(ann, room, f"{at} write hello")
        question = await agent.question(room)
        stage.world.leave(room, ann)
        stage.world.say(ben, room, f"{at} two")
        await agent.said(room, "second")
        assert "the conversation went on" in await agent.closed(room, question)
    assert agent.done == []


async def test_of_two_people_who_press_at_once_one_decides_and_the_other_is_told(
    stage: Stage,
) -> None:
    ann, ben = stage.person("Ann"), stage.person("Ben")
    agent = ToolAgent(stage, toolPolicy={"approvers": ["asker", ben.id]})
    room = stage.world.group("Team", [ann, ben, agent.bot])
    stage.script.on(write(), "done")
    async with agent.host():
        stage.world.say(ann, room, f"@{agent.bot.username} write hello")
        question = await agent.question(room)
        once, deny = (
            agent.press(ann, room, question, "Once"),
            agent.press(ben, room, question, "Deny"),
        )
        words = {await agent.answered(once), await agent.answered(deny)}
        if "Denied." in words:
            stage.world.say(ben, room, f"@{agent.bot.username} no")
        await agent.said(room, "done")
    assert len([word for word in words if word.startswith("Already answered: ")]) == 1
    assert agent.done == (["write hello"] if "Allowed once." in words else [])
