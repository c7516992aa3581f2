"""The agents as a menu: gone through with a thumb, alive after a restart, deaf to others."""

from __future__ import annotations

from bot.menus.service import NOT_YOURS, OLD
from simulators.testing.valkey import Valkey
from tests.host.audit import audit_of
from tests.host.menus import MenuUser
from tests.host.stage import TIME_SERVER, Stage, until
from tests.host.test_versions import two_replicas


async def add(user: MenuUser, id: str, name: str, text: str = "You write.") -> None:
    document = f'{{"id": "{id}", "name": "{name}", "customInstructions": "{text}"}}'
    assert "Created agent" in await user.open(f"/addagent {document}")


async def test_an_admin_goes_through_the_agents_on_one_message(
    stage: Stage, valkey: Valkey
) -> None:
    bots = [stage.bot("One"), stage.bot("Two")]
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    stage.script.on("who are you?", system="You write.", again=True)
    here = MenuUser(stage, boss, bots[0])
    async with two_replicas(stage, valkey) as hosts:
        await add(here, "poet", "Poet")
        for number in range(9):
            await add(here, f"a{number}", f"Agent {number}")
        shown = await here.open("/agents")
        assert "12 agents in all." in shown
        assert len(here.labels) == 8 + 1 + 2
        message = here.number
        assert "Poet · poet" not in here.labels
        assert "• poet Poet · agent:definition:poet" in await here.tap("More (4)")
        assert "Poet · poet" in here.labels
        await here.tap("Search")
        assert here.text == "Send a word of the agent's id or name."
        found = await here.write("POET")
        assert here.number > message
        assert not here.room.messages[message].body.get("reply_markup")
        assert "poet Poet" in found
        assert here.labels == ["Poet · poet", "All agents", "Search", "New agent"]
        message = here.number

        shown = await here.tap("Poet")
        assert here.number == message
        assert shown.startswith("Poet (poet)")
        assert "No tools" in shown
        assert "Not used today (UTC)" in shown
        assert "Version 1, " in shown
        assert f"by tg:{boss.id}" in shown
        assert "Nothing is bound to it." in shown

        await here.tap("Bind")
        await here.tap("This chat")
        assert here.word == "poet answers in this chat now."
        assert await here.open("who are you?") is not None
        here.number = message
        await here.tap("Details")
        assert "customInstructions: You write. · agent:definition:poet" in here.text
        assert "1 model request" in await here.tap("‹ Back")

        await here.tap("Clone")
        assert here.labels == ["Name it poet-copy", "Cancel"]
        cloned = await here.write("poet-2")
        assert cloned.startswith("Poet (copy) (poet-2)")
        await until(lambda: "poet-2" in hosts[1].catalog.snapshot().agents)

        assert "answers nobody then" in await here.tap("Archive")
        assert here.labels == ["Archive", "Cancel"]
        await here.tap("Archive")
        assert here.word == "Archived poet-2."
        await until(lambda: "poet-2" not in hosts[1].catalog.snapshot().agents)
        await here.tap("Bring poet-2 back")
        assert here.word == "poet-2 is back."
        assert here.text.startswith("Poet (copy) (poet-2)")


async def test_stale_forged_and_others_buttons_get_a_word_and_do_nothing(stage: Stage) -> None:
    bot = stage.bot("One")
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = f"{boss.id}"
    team = stage.world.group("Team", [boss, ann, bot])
    async with stage.host() as host:
        user = MenuUser(stage, boss, bot, team)
        other = MenuUser(stage, ann, bot, team)
        await add(MenuUser(stage, boss, bot), "poet", "Poet")
        await user.open(f"/agents@{bot.username}")
        first = user.rows
        await user.tap("Poet")
        other.number = user.number
        assert await other.word_of("Archive") == NOT_YOURS
        old = first[0][0]["callback_data"]
        press = stage.world.press(bot, boss, team, user.message, old)
        assert await user.answered(press) == OLD
        data = next(b["callback_data"] for row in user.rows for b in row if b["text"] == "Archive")
        nonce = data.split(":")[1]
        for rest in (f"{nonce}:2:99", f"{nonce}:99:0", ":1:0", "x" * 60, nonce):
            forged = stage.world.press(bot, boss, team, user.message, f"mn:{rest}")
            assert await user.answered(forged) == OLD
        private = MenuUser(stage, boss, bot)
        await private.open("/agents")
        elsewhere = stage.world.press(bot, boss, private.room, private.message, data)
        assert await user.answered(elsewhere) == OLD
        assert "poet" in host.catalog.snapshot().agents
        await user.tap("Archive")
        await user.tap("Archive")
        assert "poet" not in host.catalog.snapshot().agents


async def test_a_menu_asks_for_the_role_at_each_press(stage: Stage) -> None:
    bot = stage.bot("One")
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = str(boss.id)
    async with stage.host() as host:
        admin, user = MenuUser(stage, boss, bot), MenuUser(stage, ann, bot)
        await add(admin, "poet", "Poet")
        assert "Only admins of this host" in await user.open("/agents")
        await admin.open(f"/roles grant {ann.id} instance_admin")
        await user.open("/agents")
        await user.tap("Poet")
        assert "Archive" not in user.labels
        await admin.open(f"/roles revoke {ann.id} instance_admin")
        refused = await user.word_of("Bind")
        assert refused.startswith("Only admins of this host")
        assert refused.endswith("may do this.")
        assert (await user.word_of("History")).startswith("Only admins of this host")
        assert "poet" in host.catalog.snapshot().agents
        refused = "refused: menu agents:bind"
        records = [one for one in await audit_of(host) if one.action == refused]
        assert [one.changed_by for one in records] == [f"tg:{ann.id}"]


async def test_a_menu_and_its_question_survive_a_killed_host(stage: Stage) -> None:
    bot = stage.bot("One")
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    user = MenuUser(stage, boss, bot)
    host = await stage.process()
    await add(user, "poet", "Poet")
    await user.open("/agents")
    await user.tap("Search")
    await host.kill()
    await stage.process()
    question = user.number
    await user.write("poet")
    assert not user.room.messages[question].body.get("reply_markup")
    assert "Poet · poet" in user.labels
    assert (await user.tap("Poet")).startswith("Poet (poet)")


async def test_in_a_group_only_a_reply_answers_a_menu_and_a_command_closes_its_question(
    stage: Stage,
) -> None:
    bot = stage.bot("One")
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = str(boss.id)
    team = stage.world.group("Team", [boss, ann, bot])
    stage.script.on("I am no menu.", user="poet", again=True)
    async with stage.host():
        user, other = MenuUser(stage, boss, bot, team), MenuUser(stage, ann, bot, team)
        await add(MenuUser(stage, boss, bot), "poet", "Poet")
        await user.open(f"/agents@{bot.username}")
        await user.tap("Search")
        question = user.number
        other.number = question
        assert await other.write("poet") == "I am no menu."
        assert await user.open(f"@{bot.username} poet") == "I am no menu."
        user.number = question
        assert "poet Poet" in await user.write("poet")
        other.number = question
        assert other.labels == []
        await user.tap("Search")
        question = user.number
        await user.open(f"/help@{bot.username}")
        user.number = question
        assert await user.write("poet") == "I am no menu."


async def test_what_is_bound_already_is_replaced_and_removed_only_as_it_was_shown(
    stage: Stage,
) -> None:
    bot = stage.add_bot("One")
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = f"{boss.id},{ann.id}"
    async with stage.host() as host:
        user, other = MenuUser(stage, boss, bot), MenuUser(stage, ann, bot)
        for id in ("poet", "clerk", "guard"):
            await add(user, id, id.title())
        await other.open("/bind clerk bot everywhere")
        await other.open("/bind clerk bot")
        await user.open("/agents poet")
        await user.tap("Poet")
        await user.tap("Bind")
        shown = await user.tap("All of")
        assert "clerk answers in that bot now. poet would take its place." in shown
        await other.open("/bind guard bot")
        shown = await user.tap("Take its place")
        assert "guard answers in that bot now." in shown
        await user.tap("Take its place")
        assert user.word == "poet answers in that bot now."
        await user.tap("Bind")
        removal = next(one for one in user.labels if one.startswith("✗"))
        assert "will no longer answer" in await user.tap(removal)
        await other.open("/bind clerk bot")
        shown = await user.tap("Remove the binding")
        assert "somebody else has just changed" in shown
        bound = [one.agent_id for one in host.catalog.snapshot().bindings if one.is_of_bot]
        assert "clerk" in bound


async def test_a_role_of_support_is_asked_why_and_sees_no_button_that_only_refuses(
    stage: Stage,
) -> None:
    bot = stage.bot("One")
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = str(boss.id)
    async with stage.host() as host:
        admin, user = MenuUser(stage, boss, bot), MenuUser(stage, ann, bot)
        await add(admin, "poet", "Poet")
        await admin.open(f"/roles grant {ann.id} spokestack_engineer")
        await user.open("/agents poet")
        assert user.labels == ["Poet · poet", "All agents", "Search"]
        await user.tap("Poet")
        assert user.labels == ["Bind", "History", "Details", "‹ Agents"]
        await user.tap("Bind")
        asked = await user.tap("This chat")
        assert asked.startswith("Why? Nothing was changed so far")
        done = await user.write("they asked for it #OPS-3")
        assert done.startswith("Poet (poet)")
        record = next(one for one in await audit_of(host) if one.action == "bind")
        assert (record.change_reason, record.ticket_reference) == (
            "they asked for it #OPS-3",
            "OPS-3",
        )


async def test_publish_puts_in_force_what_its_menu_showed(stage: Stage) -> None:
    bot = stage.bot("One")
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    async with stage.host() as host:
        user = MenuUser(stage, boss, bot)
        await add(user, "poet", "Poet")
        await user.open("/agents poet")
        await user.tap("Poet")
        await user.tap("Edit")
        await user.tap("Description")
        await user.write("A poet.")
        menu = user.number
        await user.open("/edit poet instructions Never shown.")
        user.number = menu
        shown = await user.tap("Publish")
        assert user.word == "Your draft has changed: look at it again."
        assert "Never shown." in shown
        await user.tap("Publish")
        agent = host.catalog.get_agent("poet")
        assert agent is not None
        assert agent.custom_instructions == "Never shown."


async def test_the_tools_of_an_agent_are_shown_before_anybody_talked_to_it(stage: Stage) -> None:
    stage.agents["mcpServers"]["time"] = TIME_SERVER
    bot = stage.add_bot("One")
    stage.bot("Down", mcpServerEndpoints=["http://127.0.0.1:9/mcp"])
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    async with stage.host() as host:
        user = MenuUser(stage, boss, bot)
        await user.open('/addagent {"id": "clock", "name": "Clock", "mcpServers": ["time"]}')
        await user.open("/tools clock")  # which connects its server
        await until(lambda: any(one["state"] == "up" for one in host.report()["servers"]))
        assert "get_current_time asks a person" in await user.open("/tools clock")
        await user.open("/agents clock")
        assert "2 tools: 2 ask first" in await user.tap("Clock")
        assert "it is not connected" in await user.open("/tools down")
        await user.open("/agents down")
        shown = await user.tap("Down")
        assert "Its tools are not known yet" in shown
        assert "⚠ server 127.0.0.1" in shown


async def test_a_replica_knows_the_bots_that_another_one_serves(
    stage: Stage, valkey: Valkey
) -> None:
    bots = [stage.bot("One"), stage.bot("Two")]
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    one, two = (f"@{bot.username}" for bot in bots)
    user = MenuUser(stage, boss, bots[0])
    async with two_replicas(stage, valkey) as hosts:
        await until(lambda: len(hosts[1].report()["bots"]) == 1)
        await hosts[1].known_bots.refresh()
        await hosts[0].known_bots.refresh()
        listed = await user.open("/bots")
        assert one in listed
        assert f"{two} " in listed
        assert "is served by another replica" in listed
        await user.open('/addagent {"id": "poet", "name": "Poet"}')
        await user.open("/agents poet")
        await user.tap("Poet")
        await user.tap("Bind")
        assert two in user.labels


async def test_instances_count_and_an_admin_of_an_account_binds_what_is_theirs(
    stage: Stage,
) -> None:
    echo, desk = stage.add_bot("Echo"), stage.add_bot("Desk")
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ |= {"ADMINS": str(boss.id), "BOTS__1__ACCOUNT": "acme"}
    async with stage.host() as host:
        admin, user = MenuUser(stage, boss, echo), MenuUser(stage, ann, desk)
        document = '{"id": "map_lib", "name": "Map\u200b Lib", "template": true}'
        assert "Created agent" in await admin.open(f"/addagent {document}")
        await admin.open("/newinstance acme/maps map_lib because we need it")
        await admin.open("/agents map_lib")
        card = await admin.tap("Map")
        assert card.startswith("Map⟨U+200B⟩ Lib (map_lib)")
        assert "This touches 1 instance." in await admin.tap("Archive")

        await admin.open(f"/roles grant {ann.id} instance_admin account acme because it is hers")
        await user.open("/agents nothing")
        assert user.text == "No agent matches."
        await user.open("/agents map_lib")
        await user.tap("Map")
        assert "Edit" not in user.labels
        await user.tap("Bind")
        assert user.labels == ["This chat", f"All of @{desk.username}", "‹ Back"]
        await user.tap("All of")
        assert user.word == "map_lib answers in that bot now."
        bound = host.catalog.snapshot().bindings.of_bot(host.fleet.lines[1].identity)
        assert bound is not None
        assert bound.agent_id == "map_lib"
