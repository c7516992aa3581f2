"""Bots of an account: who may take them over, who answers in them, and who decides on that."""

from __future__ import annotations

import secrets
from urllib.parse import quote

from registry.bot_edits import MOST_BOTS
from registry.sealing import new_key
from registry.stored_bot import StoredBot
from tests.host.stage import Stage, command, until
from tests.host.test_bots_at_run_time import SOON, new_bot, removed, talk
from tests.http.api import OPERATOR, client_of

PLAIN = {"mcpServerEndpoints": [], "mcpServers": [], "customInstructions": "You answer."}


async def test_a_bot_is_taken_over_by_who_made_it_and_stays_with_its_account(stage: Stage) -> None:
    token = f"7000001:AA{secrets.token_hex(16)}"
    echo = stage.adopt(stage.world.bot(token, "Echo", "echo_bot", manages=True), "Echo")
    boss, dan = stage.person("Boss"), stage.person("Dan")
    stage.environ |= {"ADMINS": str(boss.id), "SECRETS_KEY": new_key()}
    room, say = talk(stage, boss, echo)
    theirs, dan_says = talk(stage, dan, echo)
    async with stage.host() as host:
        await say(f"/roles grant {dan.id} instance_admin account acme because he runs it")
        assert "Press the button" in await say("/newbot echo")
        made = stage.world.create_bot(boss, room, "Create a bot", username="made_bot")
        await made.updates.wait_until_polled(SOON)
        await removed(stage, boss, echo, f"/bots remove {made.id}")
        await until(lambda: not made.updates.polled, SOON)

        # What a tap makes the host do cannot be typed, not even by who has an offer open.
        for words in (f"/newbot created {made.id}", f"/newbot:created {made.id}"):
            for _ in range(2):
                assert "Added" not in await dan_says(words)
                assert "Press the button" in await dan_says("/newbot")
        # Nor does the bot of another account come back by its token.
        refused = await dan_says(f"/addbot {made.token}")
        assert refused.startswith(f"Bot {made.id} belonged to another account until it was removed")
        assert str(made.id) not in host.catalog.snapshot().document.bots

        # Who creates a bot without having asked for one here reads why it is not hosted.
        own = stage.world.create_bot(dan, theirs, "Create a bot", name="Own")
        await own.updates.wait_until_polled(SOON)
        assert host.catalog.snapshot().account_of_bot(own.id) == "acme"
        other = stage.world.create_bot(dan, theirs, "Create a bot", name="Two", username="two_bot")
        await stage.world.until(
            lambda: any("not by a button of mine" in text for text in stage.texts(theirs, echo.id))
        )
        assert not other.updates.polled


async def test_an_admin_of_an_account_decides_who_of_those_offered_answers_in_its_bots(
    stage: Stage,
) -> None:
    echo = stage.bot("Echo")
    stage.agents["agents"] += [
        {**PLAIN, "id": "clerk", "name": "Clerk", "template": True},
        {**PLAIN, "id": "hidden", "name": "Hidden"},
    ]
    stage.agents["defaultAgentId"] = "hidden"
    boss, dan = stage.person("Boss"), stage.person("Dan")
    stage.environ |= {"ADMINS": str(boss.id), "SECRETS_KEY": new_key(), **OPERATOR}
    stage.script.on("at your service", again=True)
    first, second = new_bot(stage, "First", 7_100_001), new_bot(stage, "Second", 7_100_002)
    _, say = talk(stage, boss, echo)
    _, at_echo = talk(stage, dan, echo)
    room, at_first = talk(stage, dan, first)
    async with stage.host() as host, client_of(host) as api:
        await say(f"/roles grant {dan.id} instance_admin account acme because he runs it")
        assert "hidden may not answer" in await at_echo(f"/addbot {first.token} hidden")
        assert "Added" in await at_echo(f"/addbot {first.token}")
        await first.updates.wait_until_polled(SOON)

        # The default agent is not offered to the account, so it does not answer there either.
        assert "no agent" in (await at_first("hello")).lower()
        for words in ("/bind hidden bot", "/bind hidden", f"/bind hidden user {dan.id}"):
            assert "hidden may not answer" in await at_first(words)
        assert "now answers for this whole bot" in await at_first("/bind clerk bot")
        assert await at_first("hello") == "at your service"
        assert "Removed the binding" in await at_first("/unbind bot")
        assert "Nothing is bound" in await at_first("/unbind bot")
        assert "now answers in this chat" in await at_first("/bind clerk")
        assert await at_first("hello") == "at your service"

        # What is not of their bot is not theirs to bind, nor to unbind.
        for words in (
            "/bind clerk everywhere",
            "/unbind everywhere",
            "/bind clerk chat 5 everywhere",
        ):
            assert "in account default" in await at_first(words)
        assert "You may not bind" in await at_echo("/bind clerk bot")
        assert "You may not unbind" in await at_echo("/unbind bot")

        # The same over HTTP: those of the account's bots are shown, changed and removed.
        key = await api.make_key(account="acme", role="instance_admin")
        at = "/api/v1/registry/bindings/"
        mine, others = f"{at}telegrambot:{first.id}", f"{at}{quote(f'chatid:{room.id}')}"
        assert (await api.ask("PUT", mine, key, json={"agentId": "clerk"})).status == 201
        refused = await api.ask("PUT", mine, key, json={"agentId": "hidden"})
        assert (refused.status, b"hidden may not answer" in refused.body) == (422, True)
        found = (await api.get(at.rstrip("/"), key)).json["bindings"]
        assert {one["slot"] for one in found} == {
            f"telegrambot:{first.id}",
            f"chatid:{room.id}:bot:{first.id}",
        }
        assert (await api.get(mine, key)).json["revision"] is not None
        assert (await api.get(f"{mine}/history", key)).status == 200
        assert (await api.ask("PUT", others, key, json={"agentId": "clerk"})).status == 403
        assert (await api.get(f"{at}telegrambot:{echo.id}", key)).status == 403
        assert (await api.ask("DELETE", mine, key)).status == 204

        # An agent that is no longer offered answers no more, by whichever rule.
        assert "Added" in await at_echo(f"/addbot {second.token} clerk")
        stage.agents["agents"][1]["template"] = False
        stage.write_agents()
        await host.catalog.reload()
        assert "no agent" in (await at_first("and now?")).lower()


async def test_a_bot_that_the_environment_sets_as_well_is_listed_once_and_goes_on(
    stage: Stage,
) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ |= {"ADMINS": str(boss.id), "SECRETS_KEY": new_key()}
    first = new_bot(stage, "First", 7_100_001)
    _, say = talk(stage, boss, echo)
    async with stage.host():
        assert "Added" in await say(f"/addbot {first.token} echo")
        assert "add bot 7100001" in await say("/audit bot @first_7100001_bot")
        assert "There is one version of bot 7100001" in await say("/diff bot @first_7100001_bot")
    async with stage.host(BOTS__1__TOKEN=first.token) as host:
        await first.updates.wait_until_polled(SOON)
        assert (await say("/bots")).count("7100001 ") == 1
        status, said = await command(
            stage.folder, stage.variables(BOTS__1__TOKEN=first.token), "bots", "list"
        )
        assert (status, said.count("7100001 ")) == (0, 1)
        assert "is set in BOTS__1__TOKEN and is changed only there" in await say(
            "/bots pause @first_7100001_bot"
        )
        asked, done = await removed(stage, boss, echo, "/bots remove @first_7100001_bot")
        for text in (asked, done):
            assert "BOTS__1__TOKEN sets its token as well. Take it out" in text
        assert "no longer answer" not in done
        assert first.updates.polled
        assert "7100001" not in host.catalog.snapshot().document.bots
        assert "take it out of BOTS__1__TOKEN" in await say("/forget 7100001")


async def test_an_account_has_a_hundred_bots_at_most(stage: Stage) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ |= {"ADMINS": str(boss.id), "SECRETS_KEY": new_key()}
    _, say = talk(stage, boss, echo)
    async with stage.host() as host:
        sealer = host.bot_edits.require_key()
        for number in range(7_300_001, 7_300_001 + MOST_BOTS):
            token = sealer.seal(f"{number}:AA{'x' * 33}", f"bot:{number}")
            bot = StoredBot(id=str(number), token=token, state="paused")
            await host.store.command("SET", f"agent:bot:{number}", bot.to_text())
        await host.catalog.reload()
        refused = await say(f"/addbot {new_bot(stage, 'Last', 7_100_001).token}")
        assert "account default has 100 bots already, which is the most; remove one" in refused
        # Nor by the way of a new token for a bot of another account.
        token, why = new_bot(stage, "Last", 7_100_001).token, "because we try it"
        assert "Added" in await say(f"/addbot {token} account acme {why}")
        renewed = token[:-4] + "wxyz"
        stage.world.members.tokens[renewed] = stage.world.members.bots[7_100_001]
        refused = await say(f"/addbot {renewed} account default {why}")
        assert "account default has 100 bots already, which is the most; remove one" in refused
