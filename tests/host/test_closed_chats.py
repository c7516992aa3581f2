"""Groups in which the bot may not write: answers are kept, and sent when it may again."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bot.store import outbox
from simulators.messages.turns import turn
from simulators.telegram.faults import Fault
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, until
from tests.host.test_refused_answers import FOR_EVER, letters, sends

MOST = 3
WORDS = {
    "closed": "Bad Request: TOPIC_CLOSED",  # the simulator's own rule
    "muted": "Bad Request: not enough rights to send text messages to the chat",
    "silent": "Forbidden: CHAT_WRITE_FORBIDDEN",
    "peer": "Bad Request: PEER_ID_INVALID",
}


def close(stage: Stage, name: str, boss: Person, echo: Bot) -> tuple[Room, int | None]:
    """A group in which the bot may not write, and the topic in which people talk there."""
    group = stage.world.group(name.title(), [boss, echo], forum=name == "closed")
    if name == "closed":
        topic = stage.world.topic(group, "Trip", boss)
        stage.world.topics.set_closed(group, topic, boss, closed=True)
        return group, topic
    status = 403 if "Forbidden" in WORDS[name] else 400
    fault: dict[str, Any] = {
        "chat": group.id,
        "status": status,
        "description": WORDS[name],
        "times": FOR_EVER,
    }
    stage.world.faults.add(Fault("answer", "send*", **fault))
    return group, None


async def test_answers_to_groups_in_which_the_bot_may_not_write_are_kept_and_sent_once_it_may(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_OF_CLOSED", MOST)
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ |= {"ADMINS": str(boss.id), "SWEEP_SECONDS": "0.2"}
    office = stage.world.private(boss, echo)
    stage.script.on("hello", again=True, user="hello")
    places = {name: close(stage, name, boss, echo) for name in WORDS}
    for name in WORDS:
        for number in range(MOST + 2):
            stage.script.on(f"{name} {number}", user=f"{name} question {number}")
        stage.script.on("I know.", user=f"{name} again")
    async with stage.host() as host:
        await stage.ask(boss, office, echo, "hello")
        for number in range(MOST + 2):
            for name, (group, topic) in places.items():
                text = f"@{echo.username} {name} question {number}"
                stage.world.say(boss, group, text, topic=topic)
            count = len(WORDS) * (number + 1)
            await until(lambda: host.counters["dead_letters"] == count, 20)  # noqa: B023
        assert await stage.ask(boss, office, echo, "hello") == "hello"
        kept = await letters(stage)
        for name, (group, _) in places.items():
            assert len(sends(stage, group)) == MOST + 2, name
            assert len([one for one in kept if f"chat {group.id} " in one]) == MOST
            notices = [t for t in stage.texts(office, echo.id) if str(group.id) in t]
            assert len(notices) == 1, name
            assert WORDS[name] in notices[0]
        assert len(kept) == MOST * len(WORDS)
        stage.world.faults.clear()
        closed, topic = places["closed"]
        assert topic
        stage.world.topics.set_closed(closed, topic, boss, closed=False)
        for name, (group, topic) in places.items():
            text = f"@{echo.username} {name} again"
            stage.world.say(boss, group, text, topic=topic)
            await stage.answer(group, echo)
            assert "was not delivered" in str(stage.requests()[-1]["messages"]), name
        assert len(await letters(stage, "replay")) == MOST * len(WORDS)
        for name, (group, _) in places.items():
            await stage.answer(group, echo, MOST + 1)
            found = [re.sub(r"\D", "", text) for text in stage.texts(group, echo.id)[1:]]
            assert found == [str(number) for number in range(2, MOST + 2)], name
        assert await letters(stage) == ["no dead letters"]


async def test_history_no_longer_says_that_an_answer_was_not_delivered_once_it_was(
    stage: Stage,
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("first", again=True, user="one")
    stage.script.on(turn("held", gate="held"), user="hold")
    stage.script.on("fine", again=True, user="and?")
    said: dict[str, Any] = {"chat": room.id, "says": "first", "times": FOR_EVER}
    no = Fault("answer", "sendMessage", status=400, description="Bad Request: no", **said)

    async def history() -> str:
        assert await stage.ask(ann, room, echo, "and?") == "fine"
        return str(stage.requests()[-1]["messages"])

    async def told(times: int) -> None:
        def is_told() -> bool:
            said = stage.texts(room, echo.id)
            return sum("could not be delivered" in text for text in said) == times

        await stage.world.until(is_told, 20)

    async with stage.host(SWEEP_SECONDS="0.2"):
        stage.world.faults.add(no)
        stage.world.say(ann, room, "one")
        await told(1)
        assert "was not delivered" in await history()
        await letters(stage, "replay")  # refused once more
        await told(2)
        assert (await history()).count("was not delivered") == 1
        stage.world.faults.clear()
        await letters(stage, "replay")
        await stage.world.until(lambda: "first" in stage.texts(room, echo.id), 20)
        await history()  # this answer comes after the receipt of the late one
        assert "was not delivered" not in await history()
        stage.world.faults.add(no)
        stage.world.say(ann, room, "one")
        await told(3)
        stage.world.faults.clear()
        stage.world.say(ann, room, "hold")
        await stage.sim.gates.reached("held")
        await letters(stage, "replay")  # delivered while another turn runs
        await stage.world.until(lambda: stage.texts(room, echo.id).count("first") == 2, 20)
        stage.sim.gates.open("held")
        await stage.world.until(lambda: "held" in stage.texts(room, echo.id), 20)
        await history()  # this answer comes after the receipt of the late one
        assert "was not delivered" not in await history()
    async with stage.host():
        assert "was not delivered" not in await history()
