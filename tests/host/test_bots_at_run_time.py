"""Bots that come and go while hosts run: by token, by a tap, paused, moved, removed, rotated."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bot.app import App
from registry.bot_edits import NewBot
from registry.errors import AlreadyThere, Unrestorable
from registry.roles import OPERATOR_ACTOR
from registry.sealing import SealingKey, new_key
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from simulators.testing.valkey import Valkey
from tests.host.audit import audit_of
from tests.host.menus import MenuUser
from tests.host.replicas import Replica, shared_evenly
from tests.host.stage import Stage, command, until
from tests.host.test_ledger import ledger
from tests.host.test_versions import saying
from tests.host.test_webhooks import pushed_to

SOON = 3.0
"""Seconds within which a new bot is polled."""
JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 20


def new_bot(stage: Stage, name: str, number: int) -> Bot:
    """A bot of BotFather's, whose token no host knows."""
    token = f"{number}:AA{secrets.token_hex(17)[:33]}"
    return stage.world.bot(token, name, f"{name.lower()}_{number}_bot")


@contextlib.asynccontextmanager
async def replicas(stage: Stage, valkey: Valkey) -> AsyncIterator[tuple[App, App]]:
    """Two hosts with the same bots and the same key."""
    shared = {"REDIS_URL": valkey.url}
    folder = str(stage.folder / "other")
    one = stage.host(**shared, REPLICA_NAME="a")
    two = stage.host(**shared, REPLICA_NAME="b", DATA_DIR=folder)
    async with one as first, two as second:
        yield first, second


def everything_in(*folders: Path) -> bytes:
    """Every byte of every file below these folders."""
    files = (file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file())
    return b"\n".join(file.read_bytes() for file in files)


def talk(stage: Stage, person: Person, bot: Bot) -> tuple[Room, Callable[[str], Awaitable[str]]]:
    room = stage.world.private(person, bot)
    return room, saying(stage, person, room, bot)


async def removed(stage: Stage, person: Person, bot: Bot, words: str) -> tuple[str, str]:
    """A person sends a command that asks once, and confirms: the question, and what comes of it."""
    menu = MenuUser(stage, person, bot)
    asked = await menu.open(words)
    return asked, await menu.tap(menu.labels[0])


async def test_a_bot_by_token_and_one_by_a_tap_are_polled_at_once_and_their_tokens_are_nowhere(
    stage: Stage, valkey: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    echo = stage.adopt(
        stage.world.bot(f"7000001:AA{secrets.token_hex(16)}", "Echo", "echo_bot", manages=True),
        "Echo",
    )
    poet = {"id": "poet", "name": "Poet", "mcpServerEndpoints": [], "description": "Writes verse."}
    stage.agents["agents"].append({**poet, "customInstructions": "You are Poet."})
    stage.script.on("a rhyme", system="You are Poet.", again=True)
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ |= {"ADMINS": str(boss.id), "SECRETS_KEY": new_key()}
    first = new_bot(stage, "First", 7_100_001)
    room, say = talk(stage, boss, echo)
    async with replicas(stage, valkey) as hosts:
        # By token: the message is gone at once, and the bot answers.
        assert "Added @first_7100001_bot. poet answers there." in await say(
            f"/addbot {first.token} poet because we need one"
        )
        await first.updates.wait_until_polled(SOON)
        assert not any(first.token in str(m.body) for m in room.messages.values())
        assert not any("/addbot" in m.text for m in room.messages.values())
        _, ask = talk(stage, ann, first)
        assert await ask("write") == "a rhyme"
        again = await say(f"/addbot {first.token}")
        assert again == "Nothing was changed: @first_7100001_bot is hosted already."

        # By a tap: the button, the new bot, its description and its picture.
        stage.world.attach(boss, room, "document", JPEG, name="face.jpg", caption="/newbot poet")
        await stage.world.until(
            lambda: any("Press the button" in text for text in stage.texts(room, echo.id))
        )
        made = stage.world.create_bot(boss, room, "Create a bot")
        assert made.name == "Poet"
        assert made.username == "poet_bot"
        await made.updates.wait_until_polled(SOON)
        await stage.world.until(
            lambda: any("Added @poet_bot. poet answers" in t for t in stage.texts(room, echo.id))
        )
        assert made.texts == {"description": "Writes verse.", "short_description": "Writes verse."}
        assert made.photo == JPEG
        assert made.commands
        _, ask = talk(stage, ann, made)
        assert await ask("write") == "a rhyme"

        listed = await say("/bots")
        assert "• @first_7100001_bot 7100001" in listed
        assert f"• @poet_bot {made.id}" in listed

        # Removed: its poll ends, and what was said stays.
        words = "/bots remove @first_7100001_bot because it is old"
        asked, done = await removed(stage, boss, echo, words)
        assert "Remove @first_7100001_bot? Nobody answers in it any more, in 1 chat." in asked
        assert "1 binding will bind nothing: telegrambot:7100001." in asked
        assert done.startswith("Removed @first_7100001_bot: I no longer answer in it.")
        await until(lambda: not first.updates.polled, SOON)
        await until(
            lambda: all(one.identity.id != first.id for host in hosts for one in host.fleet.lines),
            SOON,
        )
        for host in (*hosts, hosts[0]):  # each has seen then what the other says of itself
            await host.known_bots.refresh()
        assert "7100001" not in await say("/bots")
        client = valkey.client()
        kept = [key async for key in client.scan_iter(match="{bot:7100001}*")]
        await client.aclose()
        assert any(key.endswith(b":poet:log") for key in kept)
        records = await audit_of(hosts[0])
        made_of = {(one.action, one.entity_id) for one in records}
        assert ("add bot", "7100001") in made_of
        assert ("add bot", str(made.id)) in made_of
        assert ("remove bot", "7100001") in made_of
        with pytest.raises(Unrestorable):
            await hosts[0].history.restore(OPERATOR_ACTOR, "bot", "7100001", 1, key="once")
        reports = [str(host.report()) for host in hosts]
    left = everything_in(valkey.folder, stage.folder) + capsys.readouterr().out.encode()
    left += "".join([*map(str, records), *reports]).encode()
    for token in (first.token, made.token):
        assert token.encode() not in left
        assert token.partition(":")[2].encode() not in left
    assert b"sealed with key" in left


async def test_a_bot_is_paused_renamed_moved_and_removed_with_a_thumb(stage: Stage) -> None:
    echo, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    stage.environ |= {"ADMINS": str(boss.id), "SECRETS_KEY": new_key()}
    stage.environ |= {"BUDGETS__CHAT__TOKENS": "99999"}
    first = new_bot(stage, "First", 7_100_001)
    _, say = talk(stage, boss, echo)
    stage.script.on("here I am", again=True)
    async with stage.host() as host:
        assert "Added @first_7100001_bot." in await say(f"/addbot {first.token} echo")
        await first.updates.wait_until_polled(SOON)
        menu = MenuUser(stage, boss, echo)
        assert "• @first_7100001_bot 7100001 " in await menu.open("/bots")
        assert "Create a bot" not in menu.labels
        assert "account default. Added by tg:" in await menu.tap("@first_7100001_bot")

        assert "is paused" in await menu.tap("Pause")
        assert menu.word == "Paused."
        await until(lambda: not first.updates.polled, SOON)
        room, _ = talk(stage, ann, first)
        stage.world.say(ann, room, "are you there?")
        await until(lambda: "paused" in [one["state"] for one in host.report()["bots"]])
        assert host.report()["checks"]["bots"]
        await menu.tap("Resume")
        assert (await stage.answer(room, first)).text == "here I am"

        await menu.tap("Rename")
        await menu.write("  The   First ")
        assert first.name == "The First"
        assert menu.text.startswith("The First")
        await menu.tap("Move")
        assert "No Such Account" in await menu.write("No Such Account!")
        moved = await menu.write("acme because it is theirs #OPS-7")
        assert "It belongs to account acme." in moved
        await menu.tap("Remove")
        assert "Remove @first_7100001_bot? Nobody answers in it any more, in 1 chat" in menu.text
        assert "1 binding will bind nothing: telegrambot:7100001." in menu.text
        await menu.tap("Keep")
        await menu.tap("Remove")
        assert "Why?" in await menu.tap("Remove")  # it is another account's by now
        assert first.updates.polled
        gone = await menu.write("it is old #OPS-8")
        assert "Removed @first_7100001_bot: I no longer answer in it." in gone
        await until(lambda: not first.updates.polled, SOON)

        # What was said in it goes when an admin of the host says so, and not before it is removed.
        budgets = await host.store.command("KEYS", "budget:chat:bot:7100001:*")
        assert budgets
        asked, deleted = await removed(stage, boss, echo, "/forget @first_7100001_bot")
        assert "Delete what was said in bot 7100001, in 1 chat?" in asked
        assert deleted.startswith("Deleted what was said in bot 7100001: ")
        assert await host.store.command("KEYS", "budget:chat:bot:7100001:*") == []
        assert "Nothing of bot 7100001 is left" in await say("/forget 7100001")
        for words in ("/forget 7199999", "/bots forget 7199999", "/forget @nobody_bot"):
            assert "There never was a bot" in await say(words)
        assert await host.store.command("KEYS", "{bot:7100001}*") == [b"{bot:7100001}:fence"]
        assert "is still hosted" in await say(f"/bots forget {echo.id}")
        actions = [record.action for record in await audit_of(host)]
        assert actions[:1] == ["delete the data of bot"]
        (record,) = [one for one in await audit_of(host) if one.action == "remove bot"]
        assert (record.change_reason, record.ticket_reference) == ("it is old #OPS-8", "OPS-8")

        # The history, the differences and the audit of a bot are found by its number.
        assert "Versions of bot 7100001, newest first:" in await say("/versions bot 7100001")
        assert "bot 7100001, from version" in await say("/diff bot 7100001")
        assert "remove bot 7100001" in await say("/audit bot 7100001")
        assert "There never was bot 7199999" in await say("/versions bot 7199999")
        assert "a bot is not brought back by its versions" in await say("/restore bot 7100001 1")
        wanted = ["remove bot", "move bot", "rename bot", "resume bot", "pause bot", "bind"]
        assert [one for one in actions if one in wanted] == wanted


async def test_without_a_key_or_a_role_no_bot_is_added_and_the_message_is_gone(
    stage: Stage, valkey: Valkey
) -> None:
    echo, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    stage.environ |= {"ADMINS": str(boss.id), "REDIS_URL": valkey.url}
    first, second = new_bot(stage, "First", 7_100_001), new_bot(stage, "Second", 7_100_002)
    room, say = talk(stage, boss, echo)
    theirs, ask = talk(stage, ann, echo)
    async with stage.host() as host:
        refused = await say(f"/addbot {first.token}")
        assert "✗ SECRETS_KEY: it is not set, and without it no token is stored" in refused
        assert "make a key with `switchboard secrets new-key`" in refused
        assert refused == await say(first.token)
        assert "✗ SECRETS_KEY" in await say("/newbot")
        refused = await ask(f"/addbot {second.token}")
        assert "Only admins of this host" in refused
        assert "send /revoke to @BotFather" in refused
        for one in (room, theirs):
            assert [m.text for m in one.messages.values() if "7100" in m.text] == []
        assert "refused: /addbot" in [record.action for record in await audit_of(host)]

        # In a group it is masked as well, and where it cannot be deleted, that is said.
        group = stage.world.group("Team", [boss, ann, echo])
        said = await stage.ask(boss, group, echo, f"/addbot {second.token}")
        assert said.startswith("I could not delete your message with the token. Delete it yourself")

        # Any other message with a token is deleted as well, and no model reads it.
        said = await ask(f"my token is\n{second.token}, is it good?")
        assert said.startswith("There was the token of a bot in your message, so I deleted it.")
        assert "/addbot" not in said
        assert not any("7100002" in m.text for m in theirs.messages.values())
        assert stage.requests() == []
    left = everything_in(valkey.folder, stage.folder)
    for token in (first.token, second.token):
        assert token.partition(":")[2].encode() not in left


async def test_what_telegram_or_the_host_refuses_is_said_in_words(stage: Stage) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ |= {"ADMINS": str(boss.id), "SECRETS_KEY": new_key()}
    first = new_bot(stage, "First", 7_100_001)
    room, say = talk(stage, boss, echo)
    async with stage.host():
        unknown = f"7100009:{'A' * 35}"
        assert "Telegram does not know this token; copy the whole token again" in await say(
            f"/addbot {unknown}"
        )
        taken = await say(f"/addbot {echo.token}")
        assert taken.endswith("is hosted already: BOTS__0__TOKEN sets its token.")
        assert "there is no agent 'poet'" in (await say(f"/addbot {first.token} poet")).lower()
        assert "I may not create bots." in await say("/newbot")
        assert "Bot Management Mode" in await say("/newbot")
        assert (await say("/addbot 12 34")).startswith("Write /addbot TOKEN [AGENT]")
        own = await say(f"/bots pause {echo.id}")
        assert "is set in BOTS__0__TOKEN and is changed only there." in own
        assert "There is no bot 'x'" in await say("/bots pause x")

        # A new token of the same bot takes the place of the old one.
        assert "Added" in await say(f"/addbot {first.token}")
        await first.updates.wait_until_polled(SOON)
        fresh = stage.world.revoke(first)
        stage.world.say(boss, room, f"/addbot {fresh}")
        await stage.world.until(
            lambda: "Changed the token of @first_7100001_bot" in str(stage.texts(room, echo.id))
        )
        await first.updates.wait_until_polled(SOON)


async def test_a_wrong_key_stops_only_the_bot_that_it_cannot_read_until_the_key_is_rotated(
    stage: Stage, valkey: Valkey
) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    old, new = new_key(), new_key()
    stage.environ |= {"ADMINS": str(boss.id), "REDIS_URL": valkey.url}
    bots = [new_bot(stage, name, 7_100_001 + n) for n, name in enumerate(("First", "Second"))]
    room, say = talk(stage, boss, echo)
    async with stage.host(SECRETS_KEY=old):
        for bot in bots:
            await say(f"/addbot {bot.token} echo")
            await bot.updates.wait_until_polled(SOON)
        await say("/bots move 7100002 acme because it is theirs")  # takes a reason from now on
    # Without the key the cure names it: a new one would open nothing.
    sealed_with = SealingKey.parse(old).id
    status, said = await command(stage.folder, stage.variables(), "bots", "list")
    assert f"the key that sealed the tokens in the store, whose key id is {sealed_with}" in said
    assert "new-key" not in said
    async with stage.host(SECRETS_KEY=new) as host:
        await stage.world.until(
            lambda: any("cannot be read" in text for text in stage.texts(room, echo.id))
        )
        states = {one["id"]: one["state"] for one in host.report()["bots"]}
        assert [states[bot.id] for bot in bots] == ["unreadable", "unreadable"]
        await until(lambda: host.report()["status"] == "degraded")
        (problem, _) = [one for one in host.report()["problems"] if "cannot be read" in one]
        assert "sealed with another key" in problem
        assert "switchboard secrets rotate" in problem
        assert "@first_7100001_bot 7100001 cannot run" in await say("/bots")
        assert "cannot be read" in await say("/status")
        assert not any(bot.updates.polled for bot in bots)

        # The rotation is felt by the host that runs, and says what it did.
        environ = stage.variables(SECRETS_KEY=new)
        status, said = await command(stage.folder, environ, "secrets", "rotate")
        assert (status, "failed: 2" in said) == (1, True)
        (stage.folder / "wrong").write_text(new_key())
        wrong = ("secrets", "rotate", "--old-file", str(stage.folder / "wrong"))
        status, said = await command(stage.folder, environ, *wrong)
        assert status == 1
        assert f"give the key with the id {sealed_with}" in said

        # One bot that fails, here as its token was tampered with, keeps no other from it.
        (stage.folder / "old").write_text(old)
        held = (await host.store.command("GET", "agent:bot:7100001")).decode()
        sealed = host.catalog.snapshot().document.bots["7100001"].value.token
        torn = sealed[:-6] + ("AAAAAA" if sealed[-6:] != "AAAAAA" else "BBBBBB")
        await host.store.command("SET", "agent:bot:7100001", held.replace(sealed, torn))
        words = ("secrets", "rotate", "--old-file", str(stage.folder / "old"))
        status, said = await command(stage.folder, environ, *words)
        assert (status, "sealed anew: 1; done before: 0\nfailed: 1" in said) == (1, True)
        assert "bot 7100001: the token of @first_7100001_bot cannot be read" in said
        assert f"set SECRETS_KEY to the key with the id {sealed_with}" in said
        await bots[1].updates.wait_until_polled(SOON)
        await host.store.command("SET", "agent:bot:7100001", held)
        status, said = await command(stage.folder, environ, *words, "--reason", "it leaked")
        assert (status, said.strip()) == (0, "sealed anew: 1; done before: 1")
        for bot in bots:
            await bot.updates.wait_until_polled(SOON)
        status, said = await command(stage.folder, environ, *words)
        assert (status, said.strip()) == (0, "sealed anew: 0; done before: 2")
        records = [one for one in await audit_of(host) if one.action == "seal the token of bot"]
        assert [one.field_changed for one in records] == ["token", "token"]
        assert records[0].old_value != records[0].new_value
        assert [one.change_reason for one in records] == [
            "it leaked",
            "the key of the tokens was changed",
        ]

        # A token among the words of the command line is not said again.
        token = new_bot(stage, "Third", 7_100_003).token
        for typed in (f"bots add {token}", f"bots {token}", f"bots pause {token}", token):
            status, said = await command(stage.folder, environ, *typed.split())
            assert status != 0
            assert token.partition(":")[2] not in said, said


async def serves_all(replica: Replica, stage: Stage, bots: list[Bot]) -> None:
    """Waits until a replica polls every bot."""
    wanted = {bot.id for bot in [*stage.bots, *bots]}
    async with asyncio.timeout(20):
        while await replica.serves() != wanted:  # noqa: ASYNC110 its health page is asked
            await asyncio.sleep(0.1)


async def test_bots_of_the_store_move_to_another_replica_when_theirs_is_killed(
    stage: Stage, valkey: Valkey
) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ |= {
        "ADMINS": str(boss.id),
        "REDIS_URL": valkey.url,
        "SECRETS_KEY": new_key(),
        "LEASE_SECONDS": "1",
    }
    bots = [new_bot(stage, f"N{n}", 7_100_001 + n) for n in range(3)]
    _, say = talk(stage, boss, echo)
    async with Replica(stage, "one").running() as one, Replica(stage, "two").running() as two:
        for bot in bots:
            assert "Added" in await say(f"/addbot {bot.token} echo")
            await bot.updates.wait_until_polled(SOON)
        spread = await shared_evenly([one, two], 4)
        assert set().union(*spread) == {echo.id, *(bot.id for bot in bots)}
        await one.kill()
        await serves_all(two, stage, bots)
        await two.kill()
    # A host that starts anew finds them in the store.
    async with Replica(stage, "three").running() as three:
        await serves_all(three, stage, bots)
        assert "Paused @n0" in await say("/bots pause 7100001")
        await until(lambda: not bots[0].updates.polled, SOON)
    logs = b"".join(file.read_bytes() for file in stage.folder.glob("*.log"))
    assert b"bot.added" in logs
    for bot in bots:
        assert bot.token.partition(":")[2].encode() not in logs


async def test_a_bot_works_for_its_account_and_only_its_own_people_see_it(stage: Stage) -> None:
    echo, desk = stage.bot("Echo"), stage.bot("Desk")
    stage.agents["agents"][1]["template"] = True
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ |= {
        "ADMINS": str(boss.id),
        "SECRETS_KEY": new_key(),
        "BOTS__1__ACCOUNT": "acme",
        "LLM__MODEL": "claude-sonnet-4-6",
    }
    stage.script.on("at your service", again=True)
    first = new_bot(stage, "First", 7_100_001)
    _, say = talk(stage, boss, echo)
    _, at_desk = talk(stage, ann, desk)
    _, boss_at_desk = talk(stage, boss, desk)
    async with stage.host() as host:
        # What the bot of an account spends counts there.
        assert await at_desk("hello") == "at your service"
        (line,) = await ledger(host)
        assert (line["account"], line["agent"]) == ("acme", "desk")
        assert any(scope.startswith("account:acme:") for scope in line["scopes"])

        # An instance of another account answers there to nobody.
        for id in ("nike/runner", "acme/shop"):
            await say(f"/newinstance {id} sales_agent because we try it")
        refused = await boss_at_desk("/bind nike/runner bot because we try it")
        assert "the bot belongs to account acme, where nike/runner may not answer" in refused

        # An admin of the account adds a bot for it, lets its own agents answer, and sees no other.
        await say(f"/roles grant {ann.id} instance_admin account acme because she runs it")
        added = await at_desk(f"/addbot {first.token} shop")
        assert added == "Added @first_7100001_bot to account acme. acme/shop answers there."
        await first.updates.wait_until_polled(SOON)
        _, at_first = talk(stage, ann, first)
        assert await at_first("hello") == "at your service"
        assert [one["account"] for one in await ledger(host)] == ["acme", "acme"]
        listed = await at_desk("/bots")
        assert "7100001 account acme" in listed
        assert str(echo.id) not in listed
        other = new_bot(stage, "Other", 7_100_003)
        await say(f"/addbot {other.token}")
        await other.updates.wait_until_polled(SOON)
        moved = await at_desk("/bots move 7100001 default")
        assert moved.startswith("You may not move a bot: it takes the role")
        for words in ("pause", "remove"):  # one of another account is not there for them
            said = await at_desk(f"/bots {words} 7100003")
            assert said.startswith("There is no bot '7100003' that was added at run time")
        assert host.catalog.snapshot().account_of_bot(7_100_001) == "acme"
        assert other.updates.polled
        second = new_bot(stage, "Second", 7_100_002)
        denied = await at_desk(f"/addbot {second.token} account default")
        assert "You may not add a bot: it takes the role" in denied
        assert not second.updates.polled
        said = await at_desk(f"/addbot {second.token} echo")
        assert "the bot belongs to account acme, where echo may not answer" in said

        # Moved to another account, it leaves that account's instance behind, and says so.
        moved = await say("/bots move 7100001 nike because it changed hands")
        assert moved == "@first_7100001_bot belongs to account nike now."
        assert "no agent" in (await at_first("still there?")).lower()
        assert "is of another account than this bot, which is of nike" in await say("/bots")
        assert any("no agent answers in this bot" in one for one in host.report()["problems"])


async def test_the_budget_of_an_account_ends_its_bots_alone(stage: Stage) -> None:
    short = {"maxTokensPerRequest": 500}
    echo, desk = stage.bot("Echo", costConfig=short), stage.bot("Desk", costConfig=short)
    ann = stage.person("Ann")
    stage.environ |= {"BOTS__1__ACCOUNT": "acme", "BUDGETS__ACCOUNT__TOKENS": "2500"}
    stage.script.on("word " * 400, again=True)
    _, at_desk = talk(stage, ann, desk)
    _, at_echo = talk(stage, ann, echo)
    async with stage.host() as host:
        said = ""
        while "all agents here together have used up" not in said:
            said = await at_desk("go on")
        assert {one["account"] for one in await ledger(host)} == {"acme"}
        assert (await at_echo("go on")).startswith("word word")


async def test_a_new_bot_is_pushed_to_where_the_others_are_and_no_more_once_it_is_removed(
    stage: Stage,
) -> None:
    echo, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    stage.environ |= {"ADMINS": str(boss.id), "SECRETS_KEY": new_key()}
    stage.script.on("pushed", again=True)
    first = new_bot(stage, "First", 7_100_001)
    _, say = talk(stage, boss, echo)
    room, ask = talk(stage, ann, first)
    async with pushed_to(stage) as host:
        hidden = await say(f"/addbot {first.token} echo")
        assert hidden.startswith("Added @first_7100001_bot")
        await until(lambda: bool(first.webhook.url), SOON)
        assert await ask("hello") == "pushed"
        await say("/bots pause 7100001")
        await until(lambda: not first.webhook.url, SOON)
        stage.world.say(ann, room, "are you there?")
        await say("/bots resume 7100001")
        assert (await stage.answer(room, first, 2)).text == "pushed"
        await removed(stage, boss, echo, "/bots remove 7100001")
        await until(lambda: not first.webhook.url, SOON)
        entries = await host.store.command("XRANGE", f"{{bot:{echo.id}}}:inbox", "-", "+")
    assert first.token.partition(":")[2] not in str(entries)


async def test_what_was_begun_before_a_crash_is_done_once(stage: Stage) -> None:
    stage.bot("Echo")
    stage.environ |= {"SECRETS_KEY": new_key()}
    first = new_bot(stage, "First", 7_100_001)
    async with stage.host() as host:
        edits, wanted = host.bot_edits, NewBot(first.token, agent="echo")
        for _ in range(2):  # the second time as after a crash between the two changes
            added = await edits.add(OPERATOR_ACTOR, wanted, key="added")
            assert (added.is_new, added.agent) == (True, "echo")
        with pytest.raises(AlreadyThere, match="is hosted already"):
            await edits.add(OPERATOR_ACTOR, wanted, key="another")
        for _ in range(2):
            await edits.set_status(OPERATOR_ACTOR, first.username, "paused", key="paused")
        for _ in range(2):
            assert (await edits.remove(OPERATOR_ACTOR, "7100001", key="removed")).id == "7100001"
        actions = [one.action for one in await audit_of(host)]
        assert [actions.count(one) for one in ("add bot", "pause bot", "remove bot")] == [1, 1, 1]


async def test_a_host_with_a_key_needs_no_bot_of_its_own(stage: Stage) -> None:
    stage.environ |= {"SECRETS_KEY": new_key()}
    first = new_bot(stage, "First", 7_100_001)
    async with stage.host() as host:
        await host.bot_edits.add(OPERATOR_ACTOR, NewBot(first.token), key="added")
        await first.updates.wait_until_polled(SOON)
    process = await stage.process()
    try:
        await first.updates.wait_until_polled(20)
    finally:
        await process.kill()
    assert first.token.partition(":")[2].encode() not in everything_in(stage.folder)
