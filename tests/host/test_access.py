"""Who may talk: strangers ask, admins press a button, and nobody else gets through."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import orjson
import pytest
import structlog

from bot.app import App
from bot.store import keys
from registry.roles import OPERATOR_ACTOR, RoleGrant
from simulators.telegram.people import Person
from simulators.telegram.rooms import Message, Room
from tests.host.audit import audit_of
from tests.host.stage import Stage, until
from tests.host.tool_agent import PATIENCE, buttons, data

STRANGER = "This bot is private; only its admins can let you in (your id is {})."
STRANGE_GROUP = "This bot is private; only its admins can let this group in (its id is {})."
WELCOME = "You have been let in. Just write to me."


class Private:
    """A bot that is private, its admin, a stranger, and their chats."""

    def __init__(self, stage: Stage, access: str = "request") -> None:
        self.stage = stage
        self.world = stage.world
        self.bot = stage.bot("Echo")
        self.boss, self.ann = stage.person("Boss"), stage.person("Ann")
        self.room = self.world.private(self.ann, self.bot)
        self.office = self.world.private(self.boss, self.bot)
        stage.environ |= {"ACCESS": access, "ADMINS": str(self.boss.id)}
        stage.script.on("from Echo", again=True)
        self.line = f"bot:{self.bot.id}"

    @contextlib.asynccontextmanager
    async def host(self, **more: str) -> AsyncIterator[App]:
        """A host whose admin has written before."""
        async with self.stage.host(**more) as host:
            await self.quiet()
            yield host

    def texts(self, room: Room) -> list[str]:
        return self.stage.texts(room, self.bot.id)

    async def card(self, office: Room | None = None, count: int = 1) -> Message:
        """The count-th card of an admin, once it is there."""
        office = office or self.office
        await self.world.until(lambda: len(self.cards(office)) >= count, PATIENCE)
        return self.cards(office)[count - 1]

    def cards(self, office: Room) -> list[Message]:
        mine = [m for m in office.messages.values() if m.author == self.bot.id]
        return [m for m in mine if m.text.startswith("May this ")]

    def is_answered(self, room: Room, card: Message) -> bool:
        """Whether a card has no buttons any more."""
        return not buttons(room.messages[card.id])

    async def press(self, person: Person, room: Room, card: Message, button: str) -> str | None:
        """The word that is shown to whoever pressed; None where there is none."""
        pressed = self.world.press_button(person, room, card.id, button)
        await self.world.until(lambda: pressed.answer is not None, PATIENCE)
        return str((pressed.answer or {})["text"])

    async def quiet(self) -> None:
        """All that was said so far has had its outcome: the admin's next message is answered."""
        had = self.texts(self.office).count("from Echo")
        self.world.say(self.boss, self.office, "quiet?")
        await self.world.until(lambda: self.texts(self.office).count("from Echo") > had, PATIENCE)


@pytest.fixture
def private(stage: Stage) -> Private:
    return Private(stage)


async def test_a_stranger_gets_one_sentence_and_the_admin_one_card_however_much_is_written(
    private: Private, stage: Stage
) -> None:
    async with private.host() as host:
        asked = len(stage.requests())
        for text in ("hello", "/start", "/help", "/new", "/bind echo", "/status", "/stop", "x"):
            stage.world.say(private.ann, private.room, text)
        card = await private.card()
        await until(lambda: host.counters["refused:stranger"] == 8)
        await private.quiet()
        assert private.texts(private.room) == [STRANGER.format(private.ann.id)]
        assert len(private.cards(private.office)) == 1
        assert len(stage.requests()) == asked + 1
    assert f"Ann (id {private.ann.id}) wrote to it." in card.text
    assert buttons(card) == ["Allow", "Block"]


async def test_a_press_lets_the_stranger_in_and_the_card_says_who_pressed(
    private: Private, stage: Stage
) -> None:
    async with private.host() as host:
        stage.world.say(private.ann, private.room, "hello")
        card = await private.card()
        assert await private.press(private.boss, private.office, card, "Allow") == "Let in."
        await stage.world.until(lambda: WELCOME in private.texts(private.room), PATIENCE)
        await stage.world.until(lambda: not buttons(private.office.messages[card.id]), PATIENCE)
        assert private.office.messages[card.id].text.endswith("✓ let in by Boss")
        assert await stage.ask(private.ann, private.room, private.bot, "hello") == "from Echo"
        (entry,) = await audit_of(host)
        assert (entry.changed_by, entry.action, entry.kind, entry.entity_id) == (
            f"tg:{private.boss.id}",
            "let in",
            "access",
            f"person:{private.ann.id}@{private.bot.id}",
        )
        assert (entry.account, entry.tier, entry.via) == ("default", "instance", "chat")
    async with private.stage.host():
        assert await stage.ask(private.ann, private.room, private.bot, "again") == "from Echo"


async def test_whoever_is_blocked_hears_nothing_and_costs_nothing(
    private: Private, stage: Stage
) -> None:
    async with private.host() as host:
        stage.world.say(private.ann, private.room, "hello")
        card = await private.card()
        assert await private.press(private.boss, private.office, card, "Block") == "Blocked."
        assert (await stage.answer(private.room, private.bot)).text.startswith("This bot is")
        asked = len(stage.requests())
        for text in ("please", "/id", "/claim ABCD", "/stop", "/start"):
            stage.world.say(private.ann, private.room, text)
        await until(lambda: host.counters["refused:blocked"] == 5)
        await host.store.command("DEL", keys.told(private.line, private.ann.id))
        stage.world.say(private.ann, private.room, "an hour later")
        await until(lambda: host.counters["refused:blocked"] == 6)
        await private.quiet()
        assert len(private.texts(private.room)) == 1
        assert len(private.cards(private.office)) == 1
        assert len(stage.requests()) == asked + 1
    assert private.office.messages[card.id].text.endswith("✗ blocked by Boss")


async def test_the_sentence_comes_once_an_hour_also_after_a_restart(
    private: Private, stage: Stage
) -> None:
    mark = keys.told(private.line, private.ann.id)
    for life in range(2):
        async with private.host() as host:
            for text in ("hello", "anybody?"):
                stage.world.say(private.ann, private.room, text)
            await until(lambda: host.counters["refused:stranger"] == 2)
            await private.quiet()
            assert len(private.texts(private.room)) == 1
            assert 3500 < await host.store.command("TTL", mark) <= 3600
            if life:
                await host.store.command("DEL", mark)
                await stage.ask(private.ann, private.room, private.bot, "an hour later")
    assert private.texts(private.room) == [STRANGER.format(private.ann.id)] * 2
    assert len(private.cards(private.office)) == 1


async def test_listed_asks_nobody(stage: Stage) -> None:
    private = Private(stage, "listed")
    team = stage.world.group("Team", [private.ann])
    async with private.host():
        said = await stage.ask(private.ann, private.room, private.bot, "hello")
        assert said == STRANGER.format(private.ann.id)
        stage.world.join(team, private.bot)
        told = (await stage.answer(team, private.bot)).text
        assert told == STRANGE_GROUP.format(team.id)
        await private.quiet()
        assert private.cards(private.office) == []


async def test_an_open_bot_says_nothing_about_it_in_chats_and_all_about_it_in_the_log(
    stage: Stage,
) -> None:
    private = Private(stage, "open")
    team = stage.world.group("Team", [private.ann])
    with structlog.testing.capture_logs() as logs:
        async with private.host() as host:
            stage.world.join(team, private.bot)
            await until(lambda: host.counters["joined:group"] == 1)
            assert await stage.ask(private.ann, private.room, private.bot, "hello") == "from Echo"
            await private.quiet()
            assert private.texts(team) == []
            assert private.cards(private.office) == []
    said = str(logs)
    assert f"ACCESS: bot {private.bot.id} is open to everybody" in said
    assert "a bot is open to everybody, and no budget is set" in said


async def test_lists_in_the_environment_let_in_and_modes_are_each_bots_own(stage: Stage) -> None:
    private = Private(stage, "listed")
    ben, cid = stage.person("Ben"), stage.person("Cid")
    opened, own = stage.bot("Open"), stage.bot("Own")
    team = stage.world.group("Team", [ben, cid, private.bot])
    more = {
        "PEOPLE": f"{private.ann.id}",
        "CHATS": f"{team.id}",
        "BOTS__1__ACCESS": "open",
        "BOTS__2__PEOPLE": f"{ben.id}, {cid.id}",
    }
    stage.agents["agents"][1]["customInstructions"] = "open"
    async with private.host(**more):

        async def says(person: Person, bot: Any) -> str:
            return await stage.ask(person, stage.world.private(person, bot), bot, "hello")

        assert await says(private.ann, private.bot) == "from Echo"
        assert await says(private.ann, own) == "from Echo"
        assert await says(ben, own) == "from Echo"
        assert await says(ben, private.bot) == STRANGER.format(ben.id)
        assert await says(stage.person("Dan"), opened) == "from Echo"
        assert await stage.ask(cid, team, private.bot, f"@{private.bot.username} hi") == "from Echo"


async def test_nobody_but_an_admin_decides_on_a_card_wherever_they_press(
    private: Private, stage: Stage
) -> None:
    """Clients may send any data for any message of a bot."""
    member = stage.person("Mia")
    theirs = stage.world.private(member, private.bot)
    async with private.host(PEOPLE=str(member.id)) as host:
        assert await stage.ask(member, theirs, private.bot, "hi") == "from Echo"
        stage.world.say(private.ann, private.room, "hello")
        card = await private.card()
        await stage.answer(private.room, private.bot)
        allow = data(card)[0]
        for person, room in ((private.ann, private.room), (member, theirs)):
            message = [m for m in room.messages.values() if m.author == private.bot.id][-1]
            stage.world.press(private.bot, person, room, message, allow)
        await until(lambda: host.counters["refused:card"] == 2)
        team = stage.world.group("Team", [private.boss, private.bot])
        hello = stage.world.say(private.boss, team, f"@{private.bot.username} hi")
        await stage.answer(team, private.bot)
        shown = [m for m in team.messages.values() if m.id != hello.id][-1]
        for choice in (allow, "ac:nothing:a", "ac:x", f"{allow}:more"):
            stage.world.press(private.bot, private.boss, team, shown, choice)
        await until(lambda: host.counters["refused:card"] == 6)
        assert host.grants.access.grants == {}
        assert buttons(private.office.messages[card.id]) == ["Allow", "Block"]
        assert await private.press(private.boss, private.office, card, "Allow") == "Let in."


async def test_the_first_of_two_admins_decides_and_both_cards_say_so(
    private: Private, stage: Stage
) -> None:
    cat = stage.person("Cat")
    hers = stage.world.private(cat, private.bot)
    stage.environ["ADMINS"] += f",{cat.id}"
    async with private.host():
        await stage.ask(cat, hers, private.bot, "hi")
        stage.world.say(private.ann, private.room, "hello")
        mine, other = await private.card(), await private.card(hers)
        presses = [
            stage.world.press_button(private.boss, private.office, mine.id, "Block"),
            stage.world.press_button(cat, hers, other.id, "Allow"),
        ]
        await stage.world.until(
            lambda: all(press.answer is not None for press in presses), PATIENCE
        )
        words = sorted(str((press.answer or {})["text"]) for press in presses)
        assert words in (
            ["Already answered: blocked by Boss.", "Blocked."],
            ["Already answered: let in by Cat.", "Let in."],
        )
        for room, card in ((private.office, mine), (hers, other)):
            await stage.world.until(partial(private.is_answered, room, card), PATIENCE)
        said = {private.office.messages[mine.id].text, hers.messages[other.id].text}
        assert len(said) == 1


async def test_whoever_is_no_admin_any_more_decides_nothing_by_the_card_that_they_have(
    private: Private, stage: Stage
) -> None:
    cat = stage.person("Cat")
    hers = stage.world.private(cat, private.bot)
    async with private.host() as host:
        await stage.ask(private.boss, private.office, private.bot, f"/people admin {cat.id}")
        await stage.answer(hers, private.bot)
        await stage.ask(cat, hers, private.bot, "hi")
        stage.world.say(private.ann, private.room, "hello")
        card = await private.card(hers)
        await private.card()
        await stage.ask(private.boss, private.office, private.bot, f"/people remove {cat.id}")
        stage.world.press_button(cat, hers, card.id, "Allow")
        await until(lambda: host.counters["refused:card"] == 1)
        await private.quiet()
        assert host.grants.access.grants == {}


async def test_a_card_waits_for_an_admin_who_has_not_written_yet(
    private: Private, stage: Stage
) -> None:
    async with stage.host() as host:
        stage.world.say(private.ann, private.room, "hello")
        await stage.answer(private.room, private.bot)
        assert private.cards(private.office) == []
    async with stage.host() as host:
        await private.quiet()
        card = await private.card()
        assert await private.press(private.boss, private.office, card, "Allow") == "Let in."
        assert await stage.ask(private.ann, private.room, private.bot, "hello")
        assert host.counters["access:cards"] == 1


async def test_a_card_that_cannot_be_delivered_comes_over_another_bot_or_later(
    private: Private, stage: Stage
) -> None:
    """The admin has blocked the bot that they once wrote to."""
    other = stage.bot("Other")
    far = stage.world.private(private.boss, other)
    async with private.host() as host:
        await stage.ask(private.boss, far, other, "hi")
        private.boss.blocked.add(private.bot.id)
        stage.world.say(private.ann, private.room, "hello")
        await stage.world.until(
            lambda: any("May this" in text for text in stage.texts(far, other.id)), PATIENCE
        )
        private.boss.blocked.add(other.id)
        ben = stage.person("Ben")
        stage.world.say(ben, stage.world.private(ben, private.bot), "hello")
        await until(lambda: host.counters["send:unreachable"] == 2)
        private.boss.blocked.clear()
        await stage.ask(private.boss, private.office, private.bot, "here I am")
        card = await private.card()
        assert "Ben" in card.text
        assert await private.press(private.boss, private.office, card, "Block") == "Blocked."


async def test_a_name_in_a_card_formats_and_links_nothing(private: Private, stage: Stage) -> None:
    eve = stage.world.person("**[Boss](https://evil.example)**\n✓ let in by Boss\u202e")
    async with private.host():
        stage.world.say(eve, stage.world.private(eve, private.bot), "hello")
        card = await private.card()
    kinds = {one["type"] for one in card.body.get("entities", [])}
    assert kinds <= {"bold", "code", "mention", "url"}
    assert "\u202e" not in card.text
    assert len(card.text.splitlines()) == 2


async def test_a_crowd_of_strangers_does_not_flood_the_admin(
    private: Private, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.access.store.REQUESTS_AN_HOUR", 3)
    crowd = [stage.person(f"P{n}") for n in range(6)]
    async with private.host() as host:
        for one in crowd:
            stage.world.say(one, stage.world.private(one, private.bot), "hello")
        await until(lambda: host.counters["refused:stranger"] == 6)
        await private.card(count=3)
        await private.quiet()
        assert len(private.cards(private.office)) == 3
        assert host.counters["access:too_many"] == 3


# --- groups ---------------------------------------------------------------------------------------


async def test_a_bot_that_is_brought_into_a_group_asks_and_is_silent_until_it_is_let_in(
    private: Private, stage: Stage
) -> None:
    ben = stage.person("Ben")
    team = stage.world.group("The Team", [private.ann, ben])
    at = f"@{private.bot.username}"
    async with private.host() as host:
        asked = len(stage.requests())
        stage.world.join(team, private.bot)
        card = await private.card()
        told = (await stage.answer(team, private.bot)).text
        assert told == STRANGE_GROUP.format(team.id)
        for text in ("nobody is meant", "/status", f"{at} hello", f"/start{at}", f"/stop{at}"):
            stage.world.say(ben, team, text)
        await until(lambda: host.counters["refused:stranger"] >= 3)
        await private.quiet()
        assert private.texts(team) == [told]
        assert len(stage.requests()) == asked + 1
        assert await private.press(private.boss, private.office, card, "Allow") == "Let in."
        await stage.world.until(lambda: len(private.texts(team)) == 2, PATIENCE)
        assert private.texts(team)[1].startswith("This group has been let in")
        assert await stage.ask(ben, team, private.bot, f"{at} hello") == "from Echo"
        assert await stage.ask(private.ann, team, private.bot, f"{at} hi") == "from Echo"
        stage.world.say(private.ann, private.room, "and in private?")
        said = (await stage.answer(private.room, private.bot)).text
        assert said == STRANGER.format(private.ann.id)
    assert f"The Team (id {team.id}): Ann (id {private.ann.id}) added {at} to it." in card.text


async def test_a_group_that_the_bot_was_in_before_asks_when_the_bot_is_spoken_to(
    private: Private, stage: Stage
) -> None:
    team = stage.world.group("Old Team", [private.ann, private.bot])
    async with private.host() as host:
        stage.world.say(private.ann, team, "/help")  # which may be meant for another bot
        await until(lambda: host.counters["refused:stranger"] == 1)
        await private.quiet()
        assert private.texts(team) == []
        assert private.cards(private.office) == []
        said = await stage.ask(private.ann, team, private.bot, f"@{private.bot.username} hi")
        card = await private.card()
        assert await private.press(private.boss, private.office, card, "Block") == "Blocked."
        stage.world.say(private.ann, team, f"@{private.bot.username} hi")
        await until(lambda: host.counters["refused:blocked"] == 1)
        await private.quiet()
        assert private.texts(team) == [said] == [STRANGE_GROUP.format(team.id)]
    assert f"Old Team (id {team.id}): Ann (id {private.ann.id}) wrote to" in card.text


async def test_an_admin_lets_a_group_in_by_a_command_in_it(private: Private, stage: Stage) -> None:
    team = stage.world.group("Team", [private.ann, private.boss, private.bot])
    at = f"@{private.bot.username}"
    async with private.host() as host:
        said = await stage.ask(private.boss, team, private.bot, f"/people{at} allow")
        assert said == f"{team.id} may talk to this bot now."
        assert await stage.ask(private.ann, team, private.bot, f"{at} hello") == "from Echo"
        stage.world.say(private.ann, team, f"/people{at} block {private.boss.id}")
        await until(lambda: host.counters["refused:admin"] == 1)


async def test_what_was_granted_to_a_group_goes_along_when_it_becomes_a_supergroup(
    private: Private, stage: Stage
) -> None:
    team = stage.world.group("Team", [private.ann, private.bot])
    at = f"@{private.bot.username}"
    async with private.host():
        await stage.ask(private.boss, private.office, private.bot, f"/people allow {team.id}")
        assert await stage.ask(private.ann, team, private.bot, f"{at} hello") == "from Echo"
        after = stage.world.migrate(team)
        assert await stage.ask(private.ann, after, private.bot, f"{at} hello") == "from Echo"


async def test_being_thrown_out_or_blocked_is_noticed(private: Private, stage: Stage) -> None:
    team = stage.world.group("Team", [private.ann, private.bot])
    async with private.host() as host:
        stage.world.leave(team, private.bot, status="kicked")
        stage.world.block(private.ann, private.bot)
        stage.world.unblock(private.ann, private.bot)
        await until(lambda: host.counters["joined:private"] == 1)
        assert host.counters["left:group"] == host.counters["left:private"] == 1
        await private.quiet()
        assert private.cards(private.office) == []


# --- ids and the first admin ----------------------------------------------------------------------


async def test_anybody_learns_their_id_and_the_groups_but_not_without_end(
    private: Private, stage: Stage
) -> None:
    team = stage.world.group("Team", [private.ann, private.bot])
    async with private.host() as host:
        said = await stage.ask(private.ann, private.room, private.bot, "/id")
        assert said == f"Your id is {private.ann.id}."
        said = await stage.ask(private.ann, team, private.bot, f"/id@{private.bot.username}")
        assert said == f"The id of this group is {team.id}. Yours is {private.ann.id}."
        for _ in range(20):
            stage.world.say(private.ann, private.room, "/id")
        await private.quiet()
        await host.fleet.lines[0].idle()
        assert len(private.texts(private.room)) <= 5
        assert private.cards(private.office) == []


def code_in(text: str) -> str:
    """The newest claim code that a host has printed."""
    return text.rpartition("/claim ")[2].split()[0]


async def test_the_code_makes_one_admin_once_and_their_commands_and_menu_work_at_once(
    private: Private, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.environ["ADMINS"] = ""
    ben = stage.person("Ben")
    his = stage.world.private(ben, private.bot)
    async with stage.host() as host:
        code = code_in(capsys.readouterr().err)
        assert len(code.replace("-", "")) * 4.9 > 60
        stored = await host.store.command("GET", keys.CLAIM)
        assert code.replace("-", "").encode() not in stored
        said = await stage.ask(private.ann, private.room, private.bot, "hello")
        assert said == (
            f"{STRANGER.format(private.ann.id)} If it is yours, send /claim and the code from its "
            "terminal."
        )
        said = await stage.ask(private.ann, private.room, private.bot, f"/claim {code.lower()}")
        assert said.startswith("You are an admin of this host now;")
        own = f"chat:{private.ann.id}:0:"
        await until(lambda: own in private.bot.commands)
        assert "private" not in await stage.ask(private.ann, private.room, private.bot, "/status")
        wrong = await stage.ask(ben, his, private.bot, f"/claim {code}")
        assert wrong.startswith("This code is not valid")
        (entry, *_) = await audit_of(host)
        assert (entry.changed_by, entry.action) == ("host", "grant role")
        assert (entry.kind, entry.entity_id) == ("role", f"tg:{private.ann.id}")
        assert "claimed" in entry.change_reason
        stage.world.say(ben, his, "hello")
        await private.card(private.room)
    async with stage.host():
        assert "/claim" not in capsys.readouterr().err
        assert "1 bot" in await stage.ask(private.ann, private.room, private.bot, "/status")


async def test_the_code_is_printed_for_people_whatever_the_log_is_for(
    private: Private, stage: Stage
) -> None:
    host = await stage.process(ADMINS="", LOG_FORMAT="json", LOG_LEVEL="ERROR")
    try:
        printed = host.log.read_text()
        assert "This host has no admin yet." in printed
        claim = f"/claim {code_in(printed)}"
        said = await stage.ask(private.ann, private.room, private.bot, claim)
        assert said.startswith("You are an admin of this host now;")
    finally:
        await host.end()


async def test_wrong_codes_are_few_and_a_code_of_an_earlier_start_is_wrong(
    private: Private, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.environ["ADMINS"] = ""
    async with stage.host():
        first = code_in(capsys.readouterr().err)
    async with stage.host() as host:
        second = code_in(capsys.readouterr().err)
        assert first != second
        team = stage.world.group("Team", [private.ann, private.bot])
        said = await stage.ask(private.ann, team, private.bot, f"/claim@{private.bot.username} x")
        assert "in a private chat. The code is public now; restart the host" in said
        for _ in range(2):
            said = await stage.ask(private.ann, private.room, private.bot, f"/claim {first}")
            assert "This code is not valid. The host prints a new one" in said
        await host.store.command("SET", keys.claim_tries(private.ann.id), 5, "EX", 3600)
        said = await stage.ask(private.ann, private.room, private.bot, f"/claim {second}")
        assert said == "Too many attempts. Please wait an hour."
        assert host.grants.access.admins == frozenset()
        ben = stage.person("Ben")
        his = stage.world.private(ben, private.bot)
        assert "admin" in await stage.ask(ben, his, private.bot, f"/claim {second}")
        assert host.grants.access.admins == {ben.id}


# --- the command ----------------------------------------------------------------------------------


async def test_admins_list_let_in_block_make_admins_and_take_it_all_back(
    private: Private, stage: Stage
) -> None:
    cat = stage.person("Cat")
    hers = stage.world.private(cat, private.bot)
    ann = private.ann.id
    async with private.host() as host:

        async def say(text: str) -> str:
            return await stage.ask(private.boss, private.office, private.bot, text)

        stage.world.say(private.ann, private.room, "hello")
        await private.card()
        listed = await say("/people")
        assert f"@{private.bot.username} is private; strangers may ask to be let in." in listed
        assert f"Waiting:\n• {ann} Ann" in listed
        assert await say(f"/people allow {ann}") == f"{ann} may talk to this bot now."
        await stage.world.until(lambda: WELCOME in private.texts(private.room), PATIENCE)
        assert (await private.card()).text.endswith("✓ let in by Boss")
        listed = await say("/people")
        assert f"Admins:\n• {private.boss.id} · ADMINS\n" in listed
        assert f"Let in:\n• {ann} · by {private.boss.id}" in listed
        assert "Waiting" not in listed
        assert await say(f"/people admin {cat.id}") == f"{cat.id} is an admin of this host now."
        assert (await stage.answer(hers, private.bot)).text.startswith("You are an admin of this")
        assert "1 bot" in await stage.ask(cat, hers, private.bot, "/status")
        assert "is an admin" in await say(f"/people block {cat.id}")
        assert "Removed what" in await say(f"/people remove {cat.id}")
        await until(lambda: f"chat:{cat.id}:0:" not in private.bot.commands)
        assert await stage.ask(cat, hers, private.bot, "/status") == STRANGER.format(cat.id)
        assert "is blocked in all bots" in await say(f"/people block {ann} everywhere")
        assert "is blocked in all bots; " in await say(f"/people allow {ann}")
        assert "Removed what" in await say(f"/people remove {ann}")
        assert "nothing to remove" in await say(f"/people remove {ann}")
        assert "listed in ADMINS" in await say(f"/people remove {private.boss.id}")
        for odd in (
            "allow",
            "allow Ann",
            "allow 1.5",
            "allow true",
            "shout 5",
            "admin -5",
            "x y z",
        ):
            assert (await say(f"/people {odd}")).startswith("Write /people")
        assert host.grants.access.grants == {}
        actions = [one.action for one in reversed(await audit_of(host))]
        took = ["grant role", "revoke role", "block", "take back"]
        assert actions == ["let in", *took, "take back"]


async def test_the_last_admin_stays(
    private: Private, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.environ["ADMINS"] = ""
    async with stage.host():
        code = code_in(capsys.readouterr().err)
        await stage.ask(private.ann, private.room, private.bot, f"/claim {code}")
        own = f"/people remove {private.ann.id}"
        said = await stage.ask(private.ann, private.room, private.bot, own)
        assert said.startswith("You are the only admin.")


# --- the documents --------------------------------------------------------------------------------


async def test_what_admins_decide_has_revisions_that_name_them_and_can_be_restored(
    private: Private, stage: Stage
) -> None:
    """A block, its end, and the block again: nothing of it is written for access alone."""
    ann, at = private.ann.id, f"person:{private.ann.id}@{private.bot.id}"
    async with private.host(PEOPLE=str(ann)) as host:

        async def say(text: str) -> str:
            return await stage.ask(private.boss, private.office, private.bot, text)

        assert await stage.ask(private.ann, private.room, private.bot, "hello") == "from Echo"
        assert "is blocked in" in await say(f"/people block {ann}")
        stage.world.say(private.ann, private.room, "please")
        await until(lambda: host.counters["refused:blocked"] == 1)
        assert "Removed what" in await say(f"/people remove {ann}")
        assert await stage.ask(private.ann, private.room, private.bot, "hello") == "from Echo"

        history, boss = host.history, host.grants.access.actor(private.boss.id)
        revisions = await history.revisions(boss, "access", at)
        shown = [(one.number, one.by, one.value and one.value["level"]) for one in revisions]
        assert shown == [(2, boss.id, None), (1, boss.id, "blocked")]
        changed = {
            change.field for change in (await history.diff(boss, "access", at, 2, 1)).changes
        }
        assert "level" in changed
        assert await history.restore(boss, "access", at, 1, key="back") == 3
        stage.world.say(private.ann, private.room, "please")
        await until(lambda: host.counters["refused:blocked"] == 2)
        (newest, *_) = await audit_of(host)
        assert (newest.entity_id, newest.revision) == (at, 3)
        assert (newest.changed_by, newest.change_reason) == (boss.id, "restore of revision 1")
        assert (await history.verify(OPERATOR_ACTOR))[1] is None
        await private.quiet()
    assert private.texts(private.room) == ["from Echo"] * 2


async def test_a_document_that_somebody_writes_into_the_store_counts_at_once(
    private: Private, stage: Stage
) -> None:
    ann, at = private.ann.id, f"person:{private.ann.id}@*"
    async with private.host() as host:
        text = f'{{"subject": "{at}", "level": "member"}}'
        await host.store.command("SET", f"agent:access:{at}", text)
        await until(lambda: at in host.grants.access.grants)
        assert await stage.ask(private.ann, private.room, private.bot, "hello") == "from Echo"
        await host.store.command("SET", f"agent:access:{at}", text.replace("member", "blocked"))
        await until(lambda: host.grants.access.is_blocked("person", ann, private.bot.id))
        await host.store.command("DEL", f"agent:access:{at}")
        await until(lambda: at not in host.grants.access.grants)
        said = await stage.ask(private.ann, private.room, private.bot, "hello")
        assert said == STRANGER.format(ann)


async def test_an_admin_of_the_account_lets_in_and_blocks_but_makes_no_admins(
    private: Private, stage: Stage
) -> None:
    cat, ben = stage.person("Cat"), stage.person("Ben")
    hers = stage.world.private(cat, private.bot)
    async with private.host(PEOPLE=str(cat.id)) as host:

        async def say(text: str) -> str:
            return await stage.ask(cat, hers, private.bot, text)

        assert (await say("/people")).startswith("Only admins")
        boss = host.grants.access.actor(private.boss.id)
        role = RoleGrant(role="instance_admin")
        await host.catalog.grant_role(boss, f"tg:{cat.id}", role, key="cat")
        assert await say("hello") == "from Echo"
        stage.world.say(private.ann, private.room, "hello")
        card = await private.card(hers)
        block = data(card)[1]
        assert await private.press(cat, hers, card, "Allow") == "Let in."
        assert await stage.ask(private.ann, private.room, private.bot, "hello") == "from Echo"
        assert "is blocked in" in await say(f"/people block {ben.id}")
        before = host.grants.access.grants
        for text in (f"/people admin {ben.id}", f"/people block {private.boss.id}"):
            assert "admin" in await say(text)
        assert host.grants.access.admins == {private.boss.id}
        assert host.grants.access.grants == before
        by = {record.changed_by for record in await audit_of(host) if record.kind == "access"}
        assert by == {f"tg:{cat.id}"}
        await host.catalog.revoke_role(boss, f"tg:{cat.id}", role, key="no more")
        stage.world.press(private.bot, cat, hers, hers.messages[card.id], block)
        await until(lambda: host.counters["refused:card"] == 1)
        assert host.grants.access.grants == before


async def test_a_stranger_with_a_name_like_a_secret_can_be_blocked(
    private: Private, stage: Stage
) -> None:
    eve = stage.world.person("sk-ant-api03-" + "a" * 40)
    async with private.host() as host:
        stage.world.say(eve, stage.world.private(eve, private.bot), "hello")
        card = await private.card()
        assert await private.press(private.boss, private.office, card, "Block") == "Blocked."
        assert host.grants.access.is_blocked("person", eve.id, private.bot.id)


async def test_a_host_of_this_version_knows_whom_the_version_before_let_in(
    private: Private, stage: Stage
) -> None:
    """The store is as the older version left it: one hash, and its version."""
    stage.environ["ADMINS"] = ""
    boss, ann, bot = private.boss, private.ann, private.bot
    old = {
        f"person:{boss.id}@*": {"role": "spokestack_engineer", "by": boss.id, "at": 1, "name": "B"},
        f"person:{ann.id}@{bot.id}": {"role": "member", "by": boss.id, "at": 2, "name": "Ann"},
    }
    async with stage.host() as host:
        for name, body in old.items():
            await host.store.command("HSET", keys.OLD_GRANTS, name, orjson.dumps(body))
        await host.store.command("SET", keys.OLD_GRANTS_VERSION, 2)
    async with stage.host() as host:
        assert await stage.ask(ann, private.room, bot, "hello") == "from Echo"
        listed = await stage.ask(boss, private.office, bot, "/people")
        assert f"Admins:\n• {boss.id}" in listed
        assert f"Let in:\n• {ann.id} Ann · by {boss.id}" in listed
        assert {record.changed_by for record in await audit_of(host)} == {"upgrade"}
        assert await host.store.command("EXISTS", keys.OLD_GRANTS) == 0
        assert await host.store.command("EXISTS", keys.CLAIM) == 0
