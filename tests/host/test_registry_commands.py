"""Agents managed from a chat: by admins alone, known by their numeric id."""

from __future__ import annotations

import json
from typing import Any

from bot.app import App
from simulators.telegram.faults import Fault
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, until

POET: dict[str, Any] = {
    "id": "poet",
    "name": "Poet",
    "mcpServerEndpoints": [],
    "customInstructions": "You are Poet.",
    "llmOverrides": {"model": "claude-haiku-5-5", "temperature": 1.5},
}
ANONYMOUS = {
    "id": 1087968824,
    "is_bot": True,
    "first_name": "Group",
    "username": "GroupAnonymousBot",
}


def scene(stage: Stage) -> tuple[Bot, Person, Room]:
    """A bot with its agent, its admin, and their chat."""
    echo = stage.bot("Echo")
    boss = stage.world.person("Boss", username="boss")
    stage.environ["ADMINS"] = str(boss.id)
    stage.script.on("from Echo", system="You are Echo.", again=True)
    stage.script.on("from Poet", system="You are Poet.", again=True)
    return echo, boss, stage.world.private(boss, echo)


async def audited(host: App) -> list[tuple[str, str, str]]:
    """The audit as (who, what, whom), oldest first."""
    entries = await host.catalog.audit()
    return [(e["actor"], e["action"], e["target"]) for e in reversed(entries)]


async def test_an_admin_adds_binds_meets_unbinds_and_deletes_an_agent(stage: Stage) -> None:
    echo, boss, room = scene(stage)

    async def say(text: str) -> str:
        return await stage.ask(boss, room, echo, text)

    async with stage.host() as host:
        added = await say(f"/addagent\n```json\n{json.dumps(POET, indent=1)}\n```")
        assert "Created agent Poet (poet)." in added
        assert "/bind poet" in added
        assert "claude-haiku-5-5 does not support temperature" in added
        assert await say("/bind poet") == "poet now answers in this chat."
        assert await say("hello") == "from Poet"
        page = await say("/agent")
        assert "model: claude-haiku-5-5 · agent:definition:poet" in page
        assert "maxTokens: 8000 · default" in page
        assert "reasoningEffort: – · default" in page
        assert f"• chat {boss.id} in @{echo.username}" in page
        assert "poet Poet · agent:definition:poet" in await say("/agents")
        removed = "Removed the binding in this chat.\n\nHere, echo answers: bound to this bot."
        assert await say("/unbind") == removed
        assert await say("hello") == "from Echo"
        assert "Deleted agent poet." in await say("/deleteagent poet")
        assert "no agent poet" in await say("/deleteagent poet")
        slot = f"chatid:{boss.id}:bot:{echo.id}"
        assert await audited(host) == [
            (str(boss.id), "create agent", "poet"),
            (str(boss.id), "bind", slot),
            (str(boss.id), "unbind", slot),
            (str(boss.id), "delete agent", "poet"),
        ]


async def test_an_agent_comes_from_a_file_or_a_message_that_is_replied_to(stage: Stage) -> None:
    echo, boss, room = scene(stage)
    async with stage.host() as host:
        content = json.dumps(POET).encode()
        file = stage.world.attach(boss, room, "document", content, name="poet.json")
        await stage.answer(room, echo)
        stage.world.say(boss, room, "/addagent", reply_to=file.id)
        assert "Created agent Poet" in (await stage.answer(room, echo, 2)).text
        text = stage.world.say(boss, room, json.dumps(POET | {"id": "bard", "name": "Bard"}))
        await stage.answer(room, echo, 3)
        stage.world.say(boss, room, "/addagent", reply_to=text.id)
        assert "Created agent Bard (bard)." in (await stage.answer(room, echo, 4)).text
        assert {"poet", "bard"} <= set(host.catalog.snapshot().agents)


async def test_a_file_that_is_too_large_or_no_text_is_refused_with_the_reason(
    stage: Stage,
) -> None:
    echo, boss, room = scene(stage)
    async with stage.host() as host:
        for count, (content, words) in enumerate(
            [
                (b" " * 300_000, "over 256 KB"),
                (b"\xff\xfe{", "not UTF-8"),
                (b'{\n"id": 5}', "bad.json, line 2"),
            ]
        ):
            file = stage.world.attach(boss, room, "document", content, name="bad.json")
            await stage.answer(room, echo, 2 * count + 1)
            stage.world.say(boss, room, "/addagent", reply_to=file.id)
            assert words in (await stage.answer(room, echo, 2 * count + 2)).text
        assert sorted(host.catalog.snapshot().agents) == ["echo"]


async def test_what_a_chat_may_not_say_is_refused_by_line_and_never_repeated(
    stage: Stage,
) -> None:
    echo, boss, room = scene(stage)
    secret = "sk-ant-api03-abcdefghijklmnopqrstuv"
    command: dict[str, Any] = {"mcpServers": {"x": {"command": "rm"}}}
    inside: dict[str, Any] = {"mcpServers": {"x": {"url": "http://169.254.169.254/latest"}}}
    async with stage.host() as host:
        for extra, words in [
            ({"customInstructions": f"use {secret}"}, "replace the secret"),
            (command, "only from the file or the environment"),
            (inside, "internal host"),
            ({"id": "echo"}, "is changed only there"),
        ]:
            said = await stage.ask(boss, room, echo, f"/addagent {json.dumps(POET | extra)}")
            assert "Nothing was changed" in said
            assert words in said
            assert secret not in said
        assert sorted(host.catalog.snapshot().agents) == ["echo"]
        assert "There is no agent" not in await stage.ask(boss, room, echo, "/agent echo")


async def test_non_admins_and_lookalikes_are_refused_and_the_audit_tells_it(stage: Stage) -> None:
    echo, boss, _ = scene(stage)
    eve = stage.world.person("Boss", username="boss")
    room = stage.world.private(eve, echo)
    async with stage.host() as host:
        for command in ("/agents", f"/addagent {json.dumps(POET)}", "/bind echo", "/status"):
            stage.world.say(eve, room, command)
        assert "Only admins" in (await stage.answer(room, echo)).text
        await until(lambda: host.counters["refused:admin"] == 4)
        await host.fleet.lines[0].idle()
        assert sorted(host.catalog.snapshot().agents) == ["echo"]
        who = {(actor, action) for actor, action, _ in await audited(host)}
        assert who == {
            (str(eve.id), f"refused: {name}")
            for name in ("/agents", "/addagent", "/bind", "/status")
        }
        assert "/addagent" not in await stage.ask(eve, room, echo, "/help")
    assert eve.id != boss.id


async def test_anonymous_forwarded_edited_and_channel_commands_never_count(stage: Stage) -> None:
    echo, boss, private = scene(stage)
    group = stage.world.group("Team", [boss, echo], supergroup=True)
    channel = stage.world.channel("News", boss, [echo])
    add = f"/addagent@{echo.username} {json.dumps(POET)}"
    async with stage.host() as host:
        entity = {"type": "bot_command", "offset": 0, "length": len(add.split()[0])}
        hidden = {"from": ANONYMOUS, "sender_chat": {"id": group.id, "type": "supergroup"}}
        stage.world.send(boss, group, {"text": add, "entities": [entity]} | hidden)
        assert "Only admins" in (await stage.answer(group, echo)).text
        stage.world.send(boss, channel, {"text": add, "entities": [entity]})
        mine = stage.world.say(boss, private, "hello")
        await stage.answer(private, echo)
        stage.world.edit(boss, private, mine.id, add)
        origin = {"type": "user", "date": 1, "sender_user": boss.user()}
        stage.world.send(boss, private, {"text": add, "forward_origin": origin})
        assert (await stage.answer(private, echo, 2)).text == "from Echo"
        assert sorted(host.catalog.snapshot().agents) == ["echo"]
        refused = [(actor, action) for actor, action, _ in await audited(host)]
        assert refused == [("1087968824", "refused: /addagent")]
        stage.world.say(boss, group, add)
        assert "Created agent Poet" in (await stage.answer(group, echo, 2)).text


async def test_bots_chats_and_persons_are_bound_where_they_are_told(stage: Stage) -> None:
    echo, boss, room = scene(stage)
    ann = stage.person("Ann")
    hers = stage.world.private(ann, echo)
    async with stage.host() as host:

        async def say(text: str) -> str:
            return await stage.ask(boss, room, echo, text)

        await say(f"/addagent {json.dumps(POET)}")
        assert "is set in" in await say("/bind poet bot")
        await say(f"/bind poet user {ann.id}")
        assert await stage.ask(ann, hers, echo, "hi") == "from Poet"
        await say(f"/unbind user {ann.id}")
        assert await stage.ask(ann, hers, echo, "hi") == "from Echo"
        await say(f"/bind poet chat {ann.id} everywhere")
        assert f"chatid:{ann.id}" in {b.slot for b in host.catalog.snapshot().bindings}
        missing = "There is no agent poett. Did you mean poet? Nothing was changed."
        assert await say("/bind poett") == missing
        assert await say("/default poett") == missing
        assert "Did you mean poet?" in await say("/agent poett")
        assert "There is no agent nobody. /agents lists them." in await say("/bind nobody")
        assert await say("hello") == "from Echo"
        assert "is not valid" in await say("/bind UP!CASE")
        assert "Write /bind AGENT" in await say("/bind poet somewhere else")
        assert "Write /bind AGENT" in await say("/bind")
        assert "Nothing is bound in chat 4711 of this bot." in await say("/unbind chat 4711")
        everywhere = await say(f"/bind poet chat {boss.id} everywhere")
        assert everywhere == (
            "poet now answers in this chat in every bot.\n\nHere, echo answers: bound to this bot."
        )
        other = await say("/bind poet user 4711")
        assert other.startswith("poet now answers person 4711 in this bot.")
        assert await say("/bind poet user ben") == "user takes a numeric id; /id shows it."
        assert await say("/unbind chat @team") == "chat takes a numeric id; /id shows it."
        await say("/unbind user 4711")
        await say("/unbind everywhere")
        assert await say("/default") == "There is no default agent."
        assert "no agent nix" in await say("/default nix")
        assert "poet answers wherever no other agent is bound" in await say("/default poet")
        assert host.catalog.snapshot().default == "poet"
        assert "no longer a default agent" in await say("/default none")
        assert host.catalog.snapshot().default is None


async def test_the_host_tells_of_its_bots_its_state_and_its_last_changes(stage: Stage) -> None:
    echo, boss, room = scene(stage)
    lost = stage.bot("Lost")
    stage.agents["bindings"].pop()
    async with stage.host():

        async def say(text: str) -> str:
            return await stage.ask(boss, room, echo, text)

        await say(f"/addagent {json.dumps(POET)}")
        bots = await say("/bots")
        assert f"@{echo.username} {echo.id} is working · echo answers (bound to this bot)\n" in bots
        assert f"@{lost.username} {lost.id} " in bots
        assert "no agent answers" in bots
        status = await say("/status")
        assert ": 2 bots · 3 agents · 1 binding\n" in status
        assert f"{boss.id}: create agent poet" in status
        stage.agents["agents"][1]["name"] = "Found"
        stage.write_agents()
        assert "Reloaded: 3 agents, 1 binding." in await say("/reload")
        assert "lost Found" in await say("/agents")
        assert "poet" not in await say("/agents found")


async def test_each_menu_is_set_in_its_own_scope_and_only_when_it_changed(stage: Stage) -> None:
    echo, boss, room = scene(stage)
    everybody = {
        "command": "new",
        "description": "start a new conversation; the old one is set aside",
    }

    def sets() -> int:
        return len(stage.world.calls.of(method="setMyCommands"))

    async with stage.host():
        await until(lambda: sets() == 2)
        await stage.ask(boss, room, echo, "/help")
        async with stage.client() as call:
            shown = (await call("getMyCommands", echo))["result"]
            own = {"type": "chat", "chat_id": boss.id}
            admins = (await call("getMyCommands", echo, scope=own))["result"]
    assert everybody in shown
    assert "bind" not in {row["command"] for row in shown}
    assert {"bind", "agents", "new", "stop"} <= {row["command"] for row in admins}
    before = len(stage.world.calls.of(method="getMyCommands"))
    async with stage.host():
        await until(lambda: len(stage.world.calls.of(method="getMyCommands")) >= before + 2)
        await stage.ask(boss, room, echo, "/help")
    assert sets() == 2


async def test_whoever_is_no_admin_any_more_sees_everybodys_menu_after_a_restart(
    stage: Stage,
) -> None:
    echo, boss, _ = scene(stage)
    own = f"chat:{boss.id}:0:"
    async with stage.host():
        await until(lambda: own in echo.commands)
    async with stage.host(ADMINS=str(stage.person("Successor").id)):
        await until(lambda: own not in echo.commands)
    assert any(key.startswith("default") for key in echo.commands)


async def test_a_menu_that_cannot_be_set_holds_nothing_up(stage: Stage) -> None:
    echo, boss, _ = scene(stage)
    stage.world.rooms.by_key.clear()
    stage.world.faults.add(Fault("answer", "setMyCommands"))
    async with stage.host() as host:
        ann = stage.person("Ann")
        assert await stage.ask(ann, stage.world.private(ann, echo), echo, "hi") == "from Echo"
        assert host.fleet.lines[0].state == "polling"
        room = stage.world.private(boss, echo)
        await stage.ask(boss, room, echo, "/start")
        own = f"chat:{boss.id}:0:"
        await until(lambda: own in echo.commands)
