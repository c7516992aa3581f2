"""What commands say: of bots and their cures, of problems by their weight, of who can do what."""

from __future__ import annotations

from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import CLOCK_SERVER, Stage, until


def scene(stage: Stage, **agent: object) -> tuple[Bot, Person, Room]:
    """A bot with its agent, its admin, and their chat."""
    echo, boss = stage.bot("Echo", **agent), stage.world.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    stage.script.on("fine", again=True)
    return echo, boss, stage.world.private(boss, echo)


async def test_bots_says_what_each_bot_needs_and_does_not_count_the_question(
    stage: Stage,
) -> None:
    echo, boss, room = scene(stage)
    lost = stage.bot("Lost")
    async with stage.host() as host:
        await until(lambda: all(line.state == "polling" for line in host.fleet.lines))
        stage.world.revoke(lost)
        await until(lambda: host.fleet.lines[1].state == "quarantined")
        shown = await stage.ask(boss, room, echo, "/bots")
    mine, theirs = shown.splitlines()
    assert mine == f"• @{echo.username} {echo.id} is working · echo answers (bound to this bot)"
    assert theirs == (
        f"• @{lost.username} {lost.id} has a token that Telegram does not know: set BOTS__1__TOKEN "
        "to a new one from @BotFather and restart the host"
    )


async def test_a_dead_token_is_told_to_admins_once_and_shown_with_its_variable(
    stage: Stage,
) -> None:
    lost = stage.bot("Lost")
    echo, boss, room = scene(stage)
    theirs = stage.world.private(boss, lost)
    async with stage.host() as host:
        await stage.ask(boss, theirs, lost, "hi")  # its line comes first, and cannot tell
        await stage.ask(boss, room, echo, "hi")
        stage.world.revoke(lost)
        told = await stage.answer(room, echo, 2)
        shown = await stage.ask(boss, room, echo, "/status")
        (dead, _) = host.report()["bots"]
    cure = "get a new one from @BotFather, set BOTS__0__TOKEN to it, and restart the host"
    problem = f"BOTS__0__TOKEN: Telegram no longer accepts the token of @{lost.username}; {cure}"
    assert told.text == f"A bot has stopped working.\n\n{problem}."
    assert f"✗ {problem}" in shown
    assert dead["why"] == "Telegram does not know this token (401)"
    assert sum("stopped working" in text for text in stage.texts(room, echo.id)) == 1
    assert not any("stopped working" in text for text in stage.texts(theirs, lost.id))


async def test_status_marks_notes_warnings_and_errors_each_by_its_sign(stage: Stage) -> None:
    echo, boss, room = scene(stage)
    stage.agents["bindings"].append({"agentId": "gone", "type": "ChatId", "bindingKey": "5"})
    async with stage.host() as host:
        shown = await stage.ask(boss, room, echo, "/status")
        levels = set(host.report()["levels"])
    assert levels == {"warning"}
    assert "✗" not in shown
    assert "⚠" in shown
    assert "agent 'gone' does not exist" in shown


async def test_the_note_on_a_single_agent_is_no_error_in_status(stage: Stage) -> None:
    echo, boss = stage.add_bot(), stage.person("Boss")
    room = stage.world.private(boss, echo)
    async with stage.host(NAME="Jack", ADMINS=str(boss.id)):
        shown = await stage.ask(boss, room, echo, "/status")
    assert "· NAME: no agents are configured" in shown
    assert "✗" not in shown


async def test_start_without_an_agent_says_so_and_tells_an_admin_how_to_make_one(
    stage: Stage,
) -> None:
    bot, boss, ann = stage.add_bot(), stage.person("Boss"), stage.person("Ann")
    stage.bot("Other")  # where an agent is described, no bot gets a plain one
    async with stage.host(ADMINS=str(boss.id)):
        hers = await stage.ask(ann, stage.world.private(ann, bot), bot, "/start")
        mine = await stage.ask(boss, stage.world.private(boss, bot), bot, "/start")
    assert hers == "Hello Ann! No agent answers here yet. An admin has to set one up first."
    assert "/addagent" in mine
    assert '{"id": "jack", "name": "Jack"}' in mine
    assert "There is one agent, other: send /default other." in mine


async def test_help_says_who_answers_what_it_can_do_and_only_commands_of_this_person(
    stage: Stage,
) -> None:
    stage.agents["mcpServers"] = {"time": CLOCK_SERVER}
    echo, boss, room = scene(
        stage,
        description="Knows the time.",
        mcpServers=["time"],
        whitelistPatterns=["mcp:time:get_current_time"],
    )
    ann = stage.person("Ann")
    async with stage.host() as host:
        await until(lambda: [one["state"] for one in host.report()["servers"]] == ["up"])
        hers = await stage.ask(ann, stage.world.private(ann, echo), echo, "/help")
        mine = await stage.ask(boss, room, echo, "/help")
    assert hers.startswith(
        "I am Echo. Knows the time.\n\n"
        "Without asking, I can: get current time.\n"
        "With a person's approval, I can: convert time.\n\n"
    )
    assert "/new – " in hers
    assert "/bots" not in hers
    assert "/bots [" in mine


async def test_a_command_for_another_bot_is_explained_in_private_and_left_alone_in_a_group(
    stage: Stage,
) -> None:
    echo, boss, room = scene(stage)
    group = stage.world.group("Team", [boss, echo])
    async with stage.host():
        said = await stage.ask(boss, room, echo, "/agents@other_bot")
        assert said == (
            f"/agents@other_bot is a command for @other_bot, and I am @{echo.username}. "
            "Send it there, or send me /agents."
        )
        stage.world.say(boss, group, "/agents@other_bot")
        answer = await stage.ask(boss, group, echo, f"/id@{echo.username}")
        assert str(group.id) in answer
    assert stage.requests() == []


async def test_bind_in_a_group_says_that_the_whole_group_is_meant(stage: Stage) -> None:
    echo, boss, _ = scene(stage)
    group = stage.world.group("Team", [boss, echo])
    forum = stage.world.group("Forum", [boss, echo], forum=True)
    topic = stage.world.topic(forum, "Plans", boss)
    async with stage.host():
        said = await stage.ask(boss, group, echo, f"/bind@{echo.username} echo")
        stage.world.say(boss, forum, f"/bind@{echo.username} echo", topic=topic)
        there = await stage.answer(forum, echo)
    assert said == "echo now answers in this whole group."
    assert there.text == "echo now answers in this whole group, in every topic."


async def test_an_admin_who_claims_is_told_that_they_are_one(stage: Stage) -> None:
    echo, boss, room = scene(stage)
    async with stage.host():
        said = await stage.ask(boss, room, echo, "/claim ABCD-EFGH-JKLM-NPQR")
    assert said == "You are an admin of this host already; /help lists your commands."


async def test_unbind_says_once_who_answers_from_now_on(stage: Stage) -> None:
    echo, boss, room = scene(stage)
    stage.agents["bindings"].clear()
    stage.agents["agents"].append({"id": "other", "name": "Other"})
    stage.agents["defaultAgentId"] = "other"
    team = stage.world.group("Team", [boss, echo])
    default = "other answers: the default agent."
    async with stage.host():
        await stage.ask(boss, room, echo, "/bind echo bot")
        said = await stage.ask(boss, room, echo, "/unbind bot")
        assert said == f"Removed the binding for this whole bot.\n\nIn this bot, {default}"
        await stage.ask(boss, room, echo, f"/bind echo chat {team.id}")
        said = await stage.ask(boss, room, echo, f"/unbind chat {team.id}")
        where = f"in chat {team.id} of this bot"
        assert said == f"Removed the binding {where}.\n\nThere and here, {default}"
        await stage.ask(boss, room, echo, "/bind echo")
        await stage.ask(boss, room, echo, "/bind echo bot")
        said = await stage.ask(boss, room, echo, "/unbind bot")
        here = "Here, echo answers: bound to this chat in this bot."
        assert said.endswith(f"for this whole bot.\n\nIn this bot, {default}\n\n{here}")
