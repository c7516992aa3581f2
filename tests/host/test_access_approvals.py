"""Who may approve: in each mode, in private and in groups, by each setting of an agent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulators.messages.turns import Call, Turn, turn
from simulators.messages.validate import ModelRequest
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Message, Room
from tests.host.stage import Stage, until
from tests.host.tool_agent import PATIENCE, ToolAgent, buttons

MODES = ("open", "request", "listed")
SETTINGS = ("unsaid", "asker", "admins", "named", "hostAdmins")
CHATS = ("group", "private", "private of a host admin")
PEOPLE = ("asker", "member", "named", "chat admin", "host admin", "stranger", "blocked")

# Who may approve, by chat and by what the agent's `approvers` say. Where the agent does not say, it
# is who asked; where the bot is open to everybody, the host's admins.
MAY: dict[str, dict[str, str | None]] = {
    "group": {
        "asker": "asker",
        "admins": "chat admin",
        "named": "named",
        "hostAdmins": "host admin",
    },
    # Nobody else is in a private chat: a question to others waits there until its time is over.
    "private": {"asker": "asker", "admins": "asker", "named": None, "hostAdmins": None},
    "private of a host admin": {
        "asker": "host admin",
        "admins": "host admin",
        "named": None,
        "hostAdmins": "host admin",
    },
}


@dataclass(frozen=True)
class Row:
    """One chat of one bot."""

    mode: str
    setting: str
    chat: str
    bot: Bot
    room: Room

    @property
    def may(self) -> str | None:
        unsaid = "hostAdmins" if self.mode == "open" else "asker"
        return MAY[self.chat][unsaid if self.setting == "unsaid" else self.setting]

    @property
    def asker(self) -> str:
        return "host admin" if self.chat == "private of a host admin" else "asker"

    def __str__(self) -> str:
        return f"{self.mode}, approvers {self.setting}, {self.chat}"


class Table:
    """A bot for each mode and setting with its chats, and the people of all of them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.world = stage.world
        self.agent = ToolAgent(stage)
        self.people = {name: stage.person(name.title()) for name in PEOPLE}
        self.rows = list(self._rows())
        teams = [str(row.room.id) for row in self.rows if row.chat == "group"]
        stage.environ |= {
            "PEOPLE": f"{self.people['asker'].id},{self.people['blocked'].id}",
            "CHATS": ",".join(teams),
            "ADMINS": str(self.people["host admin"].id),
        }
        stage.script.on(_writes, again=True)

    def _rows(self) -> Iterator[Row]:
        for mode in MODES:
            for setting in SETTINGS:
                bot = self._bot(mode, setting)
                for chat in CHATS:
                    yield Row(mode, setting, chat, bot, self._room(bot, chat))

    def _bot(self, mode: str, setting: str) -> Bot:
        number, stage = len(self.stage.bots), self.stage
        stage.environ[f"BOTS__{number}__ACCESS"] = mode
        approver = self.people["named"].id if setting == "named" else setting
        bot = stage.bot(f"B{number}", mcpServers=["desk"], toolPolicy={"approvers": [approver]})
        if setting == "unsaid":
            del stage.agents["agents"][-1]["toolPolicy"]
        return bot

    def _room(self, bot: Bot, chat: str) -> Room:
        if chat == "private":
            return self.world.private(self.people["asker"], bot)
        if chat == "private of a host admin":
            return self.world.private(self.people["host admin"], bot)
        members = [one for name, one in self.people.items() if name != "stranger"]
        owner = self.people["chat admin"]
        return self.world.group(chat, [owner, *(one for one in members if one is not owner), bot])

    def ask(self, row: Row) -> None:
        at = f"@{row.bot.username} " if row.chat == "group" else ""
        asker, number = self.people[row.asker], self.rows.index(row)
        self.world.say(asker, row.room, f"{at}write row{number}")

    def question(self, row: Row) -> Message | None:
        """The open question of a chat, if there is one."""
        return next((m for m in row.room.messages.values() if "Once" in buttons(m)), None)

    def press(self, row: Row, who: str) -> Any:
        """Once, pressed in this chat; by whoever is not in it from their own, with its data."""
        question = self.question(row)
        assert question is not None, str(row)
        person = self.people[who]
        data = question.body["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
        if row.room.is_member(person.id):
            return self.world.press(row.bot, person, row.room, question, data)
        own = self.world.private(person, row.bot)
        forged = Message({**question.body, "chat": self.world.members.chat(own)}, question.author)
        return self.world.press(row.bot, person, own, forged, data)


def _writes(asked: ModelRequest) -> Turn:
    word = asked.user_text.split()[-1]
    return turn("done") if asked.results else turn(Call("desk__write", {"text": word}))


async def test_the_table_of_who_may_approve(stage: Stage) -> None:
    table = Table(stage)
    rows, people = table.rows, table.people
    async with table.agent.host() as host:
        await _block(stage, table.agent.bot, people["host admin"], people["blocked"])
        for row in rows:
            table.ask(row)
        await stage.world.until(lambda: all(map(table.question, rows)), PATIENCE)
        wrong = [(row, who) for row in rows for who in PEOPLE if who != row.may]
        for row, who in wrong:
            table.press(row, who)
        kinds = ("refused:approval", "refused:stranger", "refused:blocked")
        await until(lambda: sum(host.counters[kind] for kind in kinds) == len(wrong), PATIENCE)
        assert [str(row) for row in rows if table.question(row) is None] == []
        assert table.agent.done == []
        able = [row for row in rows if row.may is not None]
        right = {str(row): table.press(row, row.may) for row in able if row.may}
        await stage.world.until(lambda: all(p.answer for p in right.values()), PATIENCE)
        said = {row: pressed.answer["text"] for row, pressed in right.items()}
        assert {row: word for row, word in said.items() if word != "Allowed once."} == {}
        await until(lambda: len(table.agent.done) == len(right), PATIENCE)
        assert host.counters["dead_letters"] == 0
    assert len(rows) == len(MODES) * len(SETTINGS) * len(CHATS) == 45
    assert sorted(table.agent.done) == sorted(f"write row{rows.index(row)}" for row in able)


async def _block(stage: Stage, bot: Bot, boss: Person, who: Person) -> None:
    office = stage.world.private(boss, bot)
    said = await stage.ask(boss, office, bot, f"/people block {who.id} everywhere")
    assert said == f"{who.id} is blocked in all bots now."


async def test_what_an_admin_allowed_for_good_is_void_once_they_are_no_admin_any_more(
    stage: Stage,
) -> None:
    agent, boss, cat = ToolAgent(stage), stage.person("Boss"), stage.person("Cat")
    del stage.agents["agents"][0]["toolPolicy"]
    stage.environ["ADMINS"] = str(boss.id)
    office, hers = agent.room(boss), agent.room(cat)
    stage.script.on(_writes, again=True)
    async with agent.host():
        await stage.ask(boss, office, agent.bot, f"/people admin {cat.id}")
        await stage.answer(hers, agent.bot)
        stage.world.say(cat, hers, "write one")
        pressed = agent.press(cat, hers, await agent.question(hers), "Always for this chat")
        assert await agent.answered(pressed) == "Allowed here from now on."
        await agent.until(lambda: agent.done == ["write one"])
        stage.world.say(cat, hers, "write two")
        await agent.until(lambda: agent.done == ["write one", "write two"])
        await stage.ask(boss, office, agent.bot, f"/people remove {cat.id}")
        stage.world.say(cat, hers, "write three")
        question = await agent.question(hers)
        word = await agent.answered(agent.press(cat, hers, question, "Once"))
        assert word == "Only the admins of this host may answer this."
    assert agent.done == ["write one", "write two"]
