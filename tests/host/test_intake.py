"""What is taken in, what is left alone by a rule, and what is said about the rest."""

from __future__ import annotations

from simulators.telegram.refusals import RefusedError
from tests.host.chat import HostChat
from tests.host.stage import Stage, until


async def test_in_a_group_only_mentions_replies_and_commands_are_answered(stage: Stage) -> None:
    echo = stage.world.bot("7009999:AA" + "x" * 30, "Echo", "echo_open_bot", privacy=False)
    stage.adopt(echo, "Echo")
    ann = stage.person("Ann")
    room = stage.world.group("Team", [ann, echo])
    stage.script.on("you called", again=True)
    async with stage.host() as host:
        stage.world.say(ann, room, "just talking among ourselves")
        await until(lambda: host.counters["ignored:not addressed"] == 1)
        stage.world.say(ann, room, f"@{echo.username} are you there?")
        first = await stage.answer(room, echo)
        stage.world.say(ann, room, "and this?", reply_to=first.id)
        await stage.answer(room, echo, 2)
        assert "/new" in await stage.ask(ann, room, echo, f"/help@{echo.username}")
    assert len(stage.requests()) == 2
    text = stage.requests()[0]["messages"][0]["content"][0]["text"]
    assert text.endswith("by Ann]\nare you there?")


async def test_kinds_that_are_not_taken_yet_get_an_honest_sentence(chat: HostChat) -> None:
    chat.world.attach(chat.person, chat.room, "photo", b"not really a photo")
    assert "a photo" in (await chat.answer()).text
    chat.world.attach(chat.person, chat.room, "voice", b"hm")
    assert "a voice message" in (await chat.answer(2)).text
    assert chat.requests == []


async def test_edits_and_service_messages_are_left_alone_and_counted(stage: Stage) -> None:
    echo = stage.world.bot("7009998:AA" + "x" * 30, "Echo", "echo_open_bot", privacy=False)
    stage.adopt(echo, "Echo")
    ann, ben = stage.person("Ann"), stage.person("Ben")
    room = stage.world.group("Team", [ann, echo])
    stage.script.on("ok", again=True)
    async with stage.host() as host:
        stage.world.join(room, ben)
        await until(lambda: host.counters["ignored:service"] >= 1)
        message = stage.world.say(ann, room, f"@{echo.username} hi")
        await stage.answer(room, echo)
        stage.world.edit(ann, room, message.id, f"@{echo.username} hello")
        assert await stage.ask(ann, room, echo, f"@{echo.username} again") == "ok"
    assert len(stage.requests()) == 2


async def test_an_unknown_command_and_an_unbound_bot_are_told_kindly(stage: Stage) -> None:
    echo = stage.bot("Echo")
    stage.agents["agents"].append({"id": "poet", "name": "Poet"})
    stage.agents["bindings"].clear()
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    async with stage.host(ADMINS=""):
        assert "/help" in await stage.ask(ann, room, echo, "/frobnicate")
        assert await stage.ask(ann, room, echo, "hi") == "No agent answers here yet."
    async with stage.host(ADMINS=str(ann.id)):
        assert await stage.ask(ann, room, echo, "hi") == (
            "No agent answers here yet.\n\nSend /default echo to let it answer everywhere, or "
            "/bind echo for this chat; /agents lists the others."
        )
        shown = await stage.ask(ann, room, echo, "/status")
        cure = "send it /default echo, or /bind echo bot; /agents lists the others"
        assert f"✗ @{echo.username}: no agent answers in this bot; {cure}" in shown
        await stage.ask(ann, room, echo, "/bind poet")
        assert "✗" not in await stage.ask(ann, room, echo, "/status")


async def test_in_a_group_an_unknown_command_is_told_only_to_whoever_named_the_bot(
    chat: HostChat,
) -> None:
    team = chat.in_group()
    team.says("/frobnicate")
    said = await team.ask(f"/mend@{chat.bot.username}")
    assert said == "I don't know /mend. /help lists what I know."
    assert team.texts == [said]


async def test_an_update_that_is_offered_twice_is_answered_once(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("once", again=True)
    stage.world.say(ann, room, "hi")
    (update,) = echo.updates.waiting
    async with stage.host() as host:
        await stage.answer(room, echo)
        await host.fleet.lines[0].idle()
        echo.updates.restore(update)
        await until(lambda: not echo.updates.waiting)
    async with stage.host():
        echo.updates.restore(update)
        await until(lambda: not echo.updates.waiting)
    assert stage.texts(room, echo.id) == ["once"]


async def test_a_stranger_who_polls_the_same_token_is_named_and_survived(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("still here", again=True)
    async with stage.host() as host:
        other = "Conflict: terminated by other getUpdates request; make sure that only one bot"
        echo.updates.interrupt(RefusedError(409, other))
        await until(lambda: host.fleet.lines[0].state == "conflict")
        stage.world.say(ann, room, "there?")
        assert (await stage.answer(room, echo)).text == "still here"
        # It may take the next updates: the host is not well because one poll was.
        assert host.report()["status"] == "degraded"
        assert host.report()["bots"][0]["state"] == "contested"


async def test_a_webhook_that_was_left_behind_is_taken_away(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    stage.script.on("polled")
    async with stage.client() as client:
        await client("setWebhook", echo, url="https://old.example/hook")
    async with stage.host():
        assert await stage.ask(ann, stage.world.private(ann, echo), echo, "hi") == "polled"


async def test_a_host_without_bots_starts_and_says_so(stage: Stage) -> None:
    async with stage.host() as host:
        assert host.report()["status"] == "healthy"
        assert host.report()["bots"] == []
