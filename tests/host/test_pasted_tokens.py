"""Tokens that people paste anywhere: deleted with a word, and used where a bot is being added."""

from __future__ import annotations

from pathlib import Path

from registry.sealing import new_key
from simulators.telegram.people import Bot
from simulators.telegram.rooms import Room
from tests.host.menus import MenuUser
from tests.host.stage import Stage, until
from tests.host.test_bots_at_run_time import SOON, everything_in, new_bot, talk

DELETED = "There was the token of a bot in your message, so I deleted it."
BOTFATHER = (
    "Done! Congratulations on your new bot. You will find it at t.me/{}. Use this token to access "
    "the HTTP API:\n{}\nKeep your token secure and store it safely."
)
FORWARD = {
    "forward_date": 1,
    "forward_origin": {
        "type": "user",
        "date": 1,
        "sender_user": {"id": 93372553, "is_bot": True, "first_name": "BotFather"},
    },
}


def shown(room: Room) -> str:
    return str([message.body for message in room.messages.values()])


async def told(stage: Stage, room: Room, bot: Bot, before: int) -> str:
    """What the bot says after that many texts."""
    await stage.world.until(lambda: len(stage.texts(room, bot.id)) > before)
    return stage.texts(room, bot.id)[before]


async def test_a_token_that_is_pasted_anywhere_goes_with_a_word_and_no_model_reads_it(
    stage: Stage,
) -> None:
    echo, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    stage.environ |= {"ADMINS": str(boss.id), "SECRETS_KEY": new_key()}
    stage.script.on("hello there", again=True)
    bot = new_bot(stage, "First", 7_100_001)
    number, _, secret = bot.token.partition(":")
    room, ask = talk(stage, ann, echo)
    async with stage.host() as host:
        for text in (
            BOTFATHER.format(bot.username, bot.token),
            f"https://api.telegram.org/bot{bot.token}/getMe",
            f"is {number} : {secret} a token?",
            f"/bind {bot.token}",
        ):
            assert (await ask(text)).startswith(DELETED), text
            assert secret not in shown(room)
        for content in (
            {"text": BOTFATHER.format(bot.username, bot.token), **FORWARD},
            {"photo": [], "caption": f"here: {bot.token}"},
        ):
            before = len(stage.texts(room, echo.id))
            stage.world.send(ann, room, content)
            assert (await told(stage, room, echo, before)).startswith(DELETED)
            assert secret not in shown(room)

        # An edit that brings a token in counts as well.
        before = len(stage.texts(room, echo.id))
        message = stage.world.say(ann, room, "hello")
        assert await told(stage, room, echo, before) == "hello there"
        stage.world.edit(ann, room, message.body["message_id"], "hello again")
        stage.world.edit(ann, room, message.body["message_id"], bot.token + " is it")
        assert (await told(stage, room, echo, before + 1)).startswith(DELETED)
        assert secret not in shown(room)

        # In a group the bot may delete it only where it is an administrator.
        group = stage.world.group("Team", [ann, echo])
        said = await stage.ask(ann, group, echo, f"@{echo.username} here is {bot.token}")
        assert said.startswith("There is the token of a bot in your message, and I could not")
        assert "/revoke to @BotFather" in said
        stage.world.join(group, echo, status="administrator")
        before = len(stage.texts(group, echo.id))
        number_ = stage.world.say(ann, group, f"@{echo.username} or {bot.token}").body["message_id"]
        assert (await told(stage, group, echo, before)).startswith(DELETED)
        assert number_ not in group.messages
        assert host.catalog.snapshot().document.bots == {}
        assert len(stage.requests()) == 1
    left = everything_in(Path(stage.folder)) + str(stage.requests()).encode()
    assert secret.encode() not in left


async def test_a_stranger_in_a_private_bot_is_warned_as_well(stage: Stage) -> None:
    echo, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    stage.environ |= {"ADMINS": str(boss.id), "ACCESS": "listed", "SECRETS_KEY": new_key()}
    bot = new_bot(stage, "First", 7_100_001)
    room, ask = talk(stage, ann, echo)
    async with stage.host():
        assert (await ask(f"my token is {bot.token}")).startswith(DELETED)
        assert bot.token not in shown(room)


async def test_where_a_bot_is_being_added_the_one_token_is_found_in_whatever_is_sent(
    stage: Stage,
) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ |= {"ADMINS": str(boss.id), "SECRETS_KEY": new_key()}
    room, say = talk(stage, boss, echo)
    numbers = iter(range(7_100_001, 7_100_100))

    def fresh() -> Bot:
        return new_bot(stage, "New", next(numbers))

    async with stage.host() as host:

        def answering(bot: Bot) -> str | None:
            snapshot = host.catalog.snapshot()
            assert str(bot.id) in snapshot.document.bots
            entry = snapshot.document.bindings.get(f"telegrambot:{bot.id}")
            return entry.value.agent_id if entry else None

        # By the command, or alone.
        for text, agent in (
            ('/addbot "{}"', None),
            ("/addbot `{}` echo", "echo"),
            ("/addbot <{}> echo because we try it", "echo"),
            ("/addbot here it is: {}", None),
            ("/addbot please let {} echo do it", "echo"),
            ("/addbot https://api.telegram.org/bot{}/getMe echo", "echo"),
            ("{} echo", "echo"),
            ("'{}'", None),
        ):
            bot = fresh()
            assert "Added" in await say(text.format(bot.token)), text
            assert answering(bot) == agent, text
        spaced = fresh()
        assert "Added" in await say(f"/addbot {spaced.token.replace(':', ' : ')} echo")
        assert answering(spaced) == "echo"

        # By the menu's question, to which a text without a token is no answer.
        for text, agent in (("here it is: {}", None), ("{} echo", "echo"), (BOTFATHER, None)):
            bot, menu = fresh(), MenuUser(stage, boss, echo)
            await menu.open("/bots")
            await menu.tap("Add a bot by its token")
            assert "I see no token in that." in await menu.write("which one?")
            said = await menu.write(text.format(*([bot.username] * (text is BOTFATHER)), bot.token))
            assert f"Added @{bot.username}" in said
            assert answering(bot) == agent
        menu, bot = MenuUser(stage, boss, echo), fresh()
        await menu.open("/bots")
        await menu.tap("Add a bot by its token")
        before = len(stage.texts(room, echo.id))
        text = BOTFATHER.format(bot.username, bot.token)
        stage.world.send(boss, room, {"text": text, **FORWARD})
        assert "Added" in await told(stage, room, echo, before)
        await bot.updates.wait_until_polled(SOON)

        # Two tokens are one too many; another question does not swallow one, and stays open.
        one, two = fresh(), fresh()
        assert "several tokens" in await say(f"/addbot {one.token} {two.token}")
        await menu.open("/bots")
        await menu.tap("More")
        await menu.tap(f"@{bot.username}")
        await menu.tap("Rename")
        assert (await say(f"call it {one.token}")).startswith(DELETED)
        assert "Renamed" not in shown(room)
        await menu.write("Another name")
        await until(lambda: bot.name == "Another name")
        assert one.token.partition(":")[2] not in shown(room)
        assert two.token.partition(":")[2] not in shown(room)
