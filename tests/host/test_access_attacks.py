"""Ways around a list of who may talk, as they broke other hosts: none leads to the agent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from bot.telegram.poller import update_of
from tests.host.audit import audit_of
from tests.host.stage import Stage, until
from tests.host.test_access import Private
from tests.host.tool_agent import PATIENCE, ToolAgent, write

Update = tuple[str, dict[str, Any]]
ANONYMOUS = {"id": 1087968824, "is_bot": True, "first_name": "Group"}


class House(Private):
    """Mia and her team are let in; Eve and her group are not."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        world = stage.world
        self.boss = world.person("Boss", id=self.boss.id, username="boss")
        self.mia = world.person("Mia", username="mia")
        self.eve = world.person("Eve")
        self.team = world.group("Team", [self.eve, self.mia, self.bot])  # Eve owns it
        self.den = world.group("Den", [self.eve, self.mia, self.bot])
        stage.environ |= {"PEOPLE": str(self.mia.id), "CHATS": str(self.team.id)}
        self.number = 9000

    def message(self, sender: Any, chat: Any, text: str = "hello", **more: Any) -> dict[str, Any]:
        """A message as Telegram shows it, or as it never would."""
        self.number += 1
        at = f"@{self.bot.username}"
        words = text.replace("@bot", at)
        start = words.find(at)
        mention = {"type": "mention", "offset": start, "length": len(at)}
        entities = {"entities": [mention]} if start >= 0 else {}
        head = {"message_id": self.number, "date": 1_790_000_000, "from": sender, "chat": chat}
        return {**head, "text": words, **entities, **more}

    def attacks(self) -> Iterator[tuple[str, Update]]:
        """Each with what it tries; all of them by people who may not."""
        private = {"id": self.eve.id, "type": "private", "first_name": "Eve"}
        den = {"id": self.den.id, "type": "group", "title": "Den"}
        team = {"id": self.team.id, "type": "group", "title": "Team"}
        eve, mia, boss = self.eve.user(), self.mia.user(), self.boss.user()

        def said(sender: Any, chat: Any, *text: str, **more: Any) -> Update:
            return "message", self.message(sender, chat, *text, **more)

        # Lists of persons and of groups are not mixed.
        yield "let in in private, in a group that is not", said(mia, den, "@bot hello")
        yield "a member of a group that is let in, in private", said(eve, private)
        yield "a group with a person's id", said(eve, den | {"id": self.mia.id}, "@bot hello")
        yield "a channel with a group's id", said(eve, team | {"type": "channel"}, "@bot hello")
        # Names can be chosen by anybody.
        yield "the admin's username", said(eve | {"username": "boss"}, private)
        yield "a member's name", said(eve | {"first_name": "Mia", "last_name": "(admin)"}, private)
        yield "the team's title", said(eve, den | {"title": "Team"}, "@bot hello")
        # An id counts only as what it is.
        for odd in (str(self.mia.id), float(self.mia.id), True, [self.mia.id], None):
            yield f"the id as {type(odd).__name__}", said(mia | {"id": odd}, private)
        yield "in somebody else's private chat", said(eve, private | {"id": self.mia.id})
        yield "a person's chat without its person", said(mia, private)
        yield "a bot", said(mia | {"is_bot": True}, private | {"id": self.mia.id})
        # Who stands behind a message does not speak by it.
        origin = {"type": "user", "date": 1, "sender_user": boss}
        yield "forwarded from the admin", said(eve, private, forward_origin=origin)
        yield (
            "answers the admin",
            said(eve, private, reply_to_message=self.message(boss, private, "x")),
        )
        yield "through a bot", said(eve, private, via_bot=ANONYMOUS)
        yield "in a channel's name", said(eve, den, "@bot hello", sender_chat=team)
        yield "an anonymous admin", said(ANONYMOUS, den, "/status@bot", sender_chat=den)
        yield "a channel's post", ("channel_post", self.message(boss, team | {"type": "channel"}))
        # Whoever governs a group governs nothing here, and members are no admins.
        for command in ("/people@bot admin", "/bind@bot echo", "/people@bot allow 5"):
            yield f"the group's owner: {command}", said(eve, team, command)
            yield f"a member: {command}", said(mia, team, command)
        yield "an anonymous owner", said(ANONYMOUS, team, "/people@bot allow 5", sender_chat=team)
        # Whatever else reaches a bot.
        yield "an edit", ("edited_message", self.message(eve, private))
        yield "an edit in the group", ("edited_message", self.message(eve, den, "@bot hello"))
        liked = {
            "user": eve,
            "old_reaction": [],
            "new_reaction": [{"type": "emoji", "emoji": "👍"}],
        }
        yield "a reaction", ("message_reaction", self.message(eve, private) | liked)
        inline = {"id": "1", "from": eve, "query": "hello", "offset": ""}
        yield "an inline query", ("inline_query", inline)
        yield "a guest's summons", ("guest_message", self.message(eve, den, "@bot hello"))
        business = self.message(eve, private, business_connection_id="b")
        yield "to a business account", ("business_message", business)
        yield "the same as a message", ("message", business)
        shown = self.message(self.bot.user(), den, "a question")
        for data in ("again:1-0", "ap:x:0:o", "ac:x:a", "whatever"):
            press = {"id": f"{data}1", "from": eve, "chat_instance": "1", "data": data}
            yield f"a press: {data}", ("callback_query", press | {"message": shown})
        draft = {"chat": private, "draft_id": 7}
        yield "a stop", ("stopped_message_generation", draft)


async def test_no_way_around_the_lists_reaches_the_agent(stage: Stage) -> None:
    house = House(stage)
    async with house.host() as host:
        allowed = house.world.private(house.mia, house.bot)
        assert await stage.ask(house.mia, allowed, house.bot, "hi") == "from Echo"
        said = await stage.ask(house.mia, house.team, house.bot, f"@{house.bot.username} hi")
        assert said == "from Echo"
        grants, through = host.grants.access.grants, []
        for number, (name, (kind, body)) in enumerate(house.attacks()):
            before = len(stage.requests())
            update = {"update_id": 9_000_000 + number, kind: body}
            pushed = update_of(orjson.dumps(update))  # also kinds that we do not ask for
            await host.fleet.lines[0].accept(pushed)
            await house.quiet()
            if len(stage.requests()) != before + 1 or host.grants.access.grants != grants:
                through.append(name)
        assert through == []
        assert host.counters["dead_letters"] == 0
        actions = {(one.changed_by, one.action) for one in await audit_of(host)}
        tried = [(f"tg:{one.id}", "refused: /bind") for one in (house.eve, house.mia)]
        assert set(tried) <= actions
        assert not [action for _, action in actions if not action.startswith("refused: ")]


async def test_refused_commands_are_answered_once_a_minute_and_count_as_requests(
    stage: Stage,
) -> None:
    private = Private(stage, "open")
    more = {"LIMITS__REQUESTSPERMINUTE": "5"}
    refused = ("/status", "/agents", "/profiles", "/audit", "/roles", "/drafts")
    async with private.host(**more) as host:
        for number in range(30):
            word = refused[number // 2 % len(refused)] if number % 2 else "/mend"
            stage.world.say(private.ann, private.room, word)
        await until(lambda: host.counters["refused:admin"] == 15)
        await host.fleet.lines[0].idle()
        stage.world.say(private.ann, private.room, "hello")
        await stage.world.until(lambda: len(private.texts(private.room)) == 6, PATIENCE)
        *refusals, spent = private.texts(private.room)
        assert refusals.count(HELP) == 1
        assert all("may send this" in one for one in refusals if one != HELP)
        assert "too many requests in one minute" in spent
        assert len(await audit_of(host)) == len(refused)
        await private.quiet()


HELP = "I don't know /mend. /help lists what I know."


@pytest.mark.parametrize("access", ["open", "request"])
async def test_a_block_holds_in_private_and_in_groups_and_against_the_lists(
    stage: Stage, access: str
) -> None:
    private = Private(stage, access)
    team = stage.world.group("Team", [private.ann, private.bot])
    lists = {"PEOPLE": str(private.ann.id), "CHATS": str(team.id)}
    async with private.host(**lists) as host:
        for room, text in ((private.room, "hi"), (team, f"@{private.bot.username} hi")):
            assert await stage.ask(private.ann, room, private.bot, text) == "from Echo"
        block = f"/people block {private.ann.id}"
        await stage.ask(private.boss, private.office, private.bot, block)
        for room, text in ((private.room, "hi"), (team, f"@{private.bot.username} hi")):
            stage.world.say(private.ann, room, text)
        await until(lambda: host.counters["refused:blocked"] == 2)
        await private.quiet()
        assert private.texts(private.room) == private.texts(team) == ["from Echo"]


async def test_a_question_of_somebody_who_was_blocked_meanwhile_goes_no_further(
    stage: Stage,
) -> None:
    """Ben may answer it; the agent must not go on for Ann."""
    ann, ben, boss = (stage.person(name) for name in ("Ann", "Ben", "Boss"))
    agent = ToolAgent(stage, toolPolicy={"approvers": [ben.id]})
    room = stage.world.group("Team", [ann, ben, agent.bot])
    office = stage.world.private(boss, agent.bot)
    stage.environ |= {"ADMINS": str(boss.id)}
    stage.script.on(write(), "never", user="write")
    async with agent.host():
        stage.world.say(ann, room, f"@{agent.bot.username} write")
        question = await agent.question(room)
        await stage.ask(boss, office, agent.bot, f"/people block {ann.id}")
        agent.press(ben, room, question, "Once")
        await agent.closed(room, question)
        asked = len(stage.requests())
        stage.script.on("and now", user="hello")
        assert await stage.ask(ben, room, agent.bot, f"@{agent.bot.username} hello") == "and now"
        assert len(stage.requests()) == asked + 1
    assert agent.done == []
