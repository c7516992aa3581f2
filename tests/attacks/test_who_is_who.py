"""People who would be somebody else: one host, one admin, and everybody who is not.

Each message carries a command that only the admin may send. Nothing of it may be done, and what is
refused is in the audit under the id of whoever sent it.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from bot.app import App
from simulators.telegram.people import Bot
from tests.attacks.talk import asked
from tests.attacks.test_updates import given
from tests.host.audit import audit_of
from tests.host.stage import Stage, staged, until
from tests.host.tool_agent import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGENT = {"id": "planted", "name": "Planted", "mcpServerEndpoints": []}
ADD = f"/addagent {json.dumps(AGENT)}"
ANONYMOUS = 1087968824


class Scene:
    """An admin, somebody else, a group of both, and their bot."""

    def __init__(self, stage: Stage, host: App, bot: Bot) -> None:
        self.stage, self.host, self.bot = stage, host, bot
        self.boss = stage.world.person("Boss", username="boss")
        self.eve = stage.world.person("Eve", username="eve")
        self.group = stage.world.group("Team", [self.boss, self.eve, bot], supergroup=True)
        self.before = 0
        stage.script.on("from the model", again=True)

    def send(self, fields: Mapping[str, Any], kind: str = "message") -> None:
        """The admin's command in their private chat comes as an update, with these fields."""
        chat = {"id": self.boss.id, "type": "private", "first_name": "Boss"}
        head = {"message_id": 900, "date": int(time.time()), "from": self.boss.user()}
        body = {**head, "chat": chat, "text": ADD, **fields}
        given(self.bot, json.dumps({"update_id": self.bot.updates.next_id, kind: body}))

    async def nothing_was_planted(self) -> None:
        """All that came before has been handled, and the agents are those of the file."""
        room = self.stage.world.private(self.eve, self.bot)
        said = await asked(self.stage, self.eve, room, self.bot, "are you there?")
        assert said == "from the model"
        await self.host.fleet.lines[0].idle()
        assert sorted(self.host.catalog.snapshot().agents) == ["echo"]

    async def refused(self) -> list[str]:
        """Who was refused so far, by the audit; nobody has changed anything since `before`."""
        entries = [one for one in await audit_of(self.host) if one.number > self.before]
        assert {entry.action for entry in entries} <= {"refused: /addagent"}
        return [entry.changed_by.removeprefix("tg:") for entry in reversed(entries)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with staged(tmp_path_factory.mktemp("who")) as stage:
        bot = stage.bot("Echo")
        probe = stage.world.person("Probe")
        stage.environ["ADMINS"] = str(probe.id + 1)
        async with stage.host() as host:
            scene = Scene(stage, host, bot)
            assert scene.boss.id == probe.id + 1
            yield scene


async def test_the_admin_s_own_command_is_done_or_these_tests_show_nothing(scene: Scene) -> None:
    scene.send({})
    await until(lambda: "planted" in scene.host.catalog.snapshot().agents, PATIENCE)
    scene.send({"text": "/deleteagent planted"})
    await until(lambda: "planted" not in scene.host.catalog.snapshot().agents, PATIENCE)
    scene.before = (await audit_of(scene.host))[0].number


async def test_an_id_counts_as_a_whole_number_alone(scene: Scene) -> None:
    boss = scene.boss
    forms: list[Any] = [str(boss.id), float(boss.id), f"{boss.id} ", True, [boss.id], None]
    for form in forms:
        scene.send({"from": boss.user() | {"id": form}})
    await scene.nothing_was_planted()


async def test_what_others_wrote_in_the_admin_s_name_is_left_alone(scene: Scene) -> None:
    boss = scene.boss
    forms: list[dict[str, Any]] = [
        {"from": boss.user() | {"is_bot": True}},
        {"via_bot": {"id": 5, "is_bot": True, "first_name": "Other", "username": "other_bot"}},
        {"sender_chat": {"id": boss.id, "type": "private"}},
        {"sender_chat": {"id": -100, "type": "channel", "title": "News"}},
        {"business_connection_id": "b"},
        {"chat": {"id": -100, "type": "channel", "title": "News"}},
    ]
    for form in forms:
        scene.send(form)
    await scene.nothing_was_planted()


async def test_kinds_of_updates_that_are_no_new_message_are_no_command(scene: Scene) -> None:
    kinds = ["edited_message", "channel_post", "edited_channel_post", "business_message"]
    kinds += ["edited_business_message", "inline_query", "guest_message", "message_of_next_year"]
    for kind in kinds:
        scene.send({}, kind)
    await scene.nothing_was_planted()


async def test_a_stranger_is_refused_whatever_name_reply_or_forward_lends_them_the_admin_s(
    scene: Scene,
) -> None:
    world, boss, had = scene.stage.world, scene.boss, len(await scene.refused())
    twin, other = world.person("Boss", username="boss"), world.person("Mallory")
    theirs = {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}, "text": ADD}
    origin = {"type": "user", "date": 1, "sender_user": boss.user()}
    ways: list[tuple[Any, dict[str, Any]]] = [
        (twin, {}),
        (other, {"reply_to_message": theirs | {"from": boss.user()}}),
    ]
    for person, fields in ways:
        chat = {"id": person.id, "type": "private", "first_name": person.name}
        room = world.private(person, scene.bot)
        mine = {"chat": chat, "from": person.user()}
        scene.send(mine | {"forward_origin": origin})
        assert (await scene.stage.answer(room, scene.bot, 1, PATIENCE)).text == "from the model"
        scene.send(mine | fields)
        assert "Only admins" in (await scene.stage.answer(room, scene.bot, 2, PATIENCE)).text
    assert (await scene.refused())[had:] == [str(twin.id), str(other.id)]
    await scene.nothing_was_planted()


async def test_the_anonymous_admin_of_a_group_is_nobody_s_admin(scene: Scene) -> None:
    had = len(await scene.refused())
    chat = {"id": scene.group.id, "type": "supergroup", "title": "Team"}
    user = {"id": ANONYMOUS, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
    text = ADD.replace("/addagent", f"/addagent@{scene.bot.username}")
    scene.send({"chat": chat, "sender_chat": chat, "text": text, "from": user})
    assert "Only admins" in (await scene.stage.answer(scene.group, scene.bot, 1, PATIENCE)).text
    assert (await scene.refused())[had:] == [str(ANONYMOUS)]
    await scene.nothing_was_planted()


async def test_a_command_that_is_hidden_in_a_text_is_a_text(scene: Scene) -> None:
    origin = {"type": "user", "date": 1, "sender_user": scene.eve.user()}
    texts: list[dict[str, Any]] = [
        {"text": f"look\n{ADD}"},
        {"text": f"\u200b{ADD}"},
        {"text": f"\u202e{ADD}"},
        {"text": ADD.replace("/", "\uff0f", 1)},
        {"text": ADD.replace("a", "\u0430", 1)},
        {"text": f"\x00{ADD}"},
        {"text": ADD.replace("/addagent", "/add\x00agent")},
        {"text": f"`{ADD}`"},
        {"text": ADD, "forward_origin": origin},
        {"text": ADD.replace("/addagent", "/addagent@somebody_else_bot")},
    ]
    room = scene.stage.world.private(scene.boss, scene.bot)
    had = len(scene.stage.texts(room, scene.bot.id))
    for fields in texts:
        scene.send(fields)
    scene.send({"text": None, "photo": [{"file_id": "x"}], "caption": ADD})
    await scene.stage.answer(room, scene.bot, had + len(texts) + 1, PATIENCE)
    said = scene.stage.texts(room, scene.bot.id)[had:]
    assert said.count("from the model") == len(texts) - 1, said  # the last is for another bot
    await scene.nothing_was_planted()


async def test_another_bot_is_not_talked_with(scene: Scene) -> None:
    asked = len(scene.stage.requests())
    other = {"id": 77, "is_bot": True, "first_name": "Other", "username": "other_bot"}
    group = {"id": scene.group.id, "type": "supergroup", "title": "Team"}
    text = f"@{scene.bot.username} hello"
    entities = [{"type": "mention", "offset": 0, "length": len(scene.bot.username) + 1}]
    scene.send({"text": text, "entities": entities, "chat": group, "from": other})
    scene.send({"text": "hello", "from": other})
    await scene.nothing_was_planted()
    assert len(scene.stage.requests()) == asked + 1  # of the question whether all is handled
