"""The same cases by two independent clients, aiogram and python-telegram-bot.

What is refused is refused in the service's words; what works is read by the libraries' own types.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import telegram
from telegram.request import HTTPXRequest

from simulators.http_server import serving
from simulators.telegram.faults import Fault
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Message, Room
from simulators.telegram.routes import application
from simulators.telegram.world import World
from tests.lazily import Lazily
from tests.simulators.telegram.cases import BUTTON, REFUSED, WORKS
from tests.simulators.telegram.clients import Client, Gram, Ptb, Refused

if TYPE_CHECKING:
    import aiogram
    from aiogram.client import telegram as addresses
    from aiogram.client.session import aiohttp as sessions
else:
    aiogram, sessions = Lazily("aiogram"), Lazily("aiogram.client.session.aiohttp")
    addresses = Lazily("aiogram.client.telegram")

pytestmark = pytest.mark.asyncio(loop_scope="module")
_NUMBERS = itertools.count(7_100)


@dataclass
class Served:
    """One simulator for all cases, and what the two libraries share between bots."""

    world: World
    url: str
    session: sessions.AiohttpSession
    request: HTTPXRequest

    def client(self, library: str, token: str) -> Client:
        if library == "aiogram":
            return Gram(aiogram.Bot(token, self.session))
        base, files = f"{self.url}/bot", f"{self.url}/file/bot"
        given: Any = {"request": self.request, "get_updates_request": self.request}
        return Ptb(telegram.Bot(token, base_url=base, base_file_url=files, **given))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Served]:
    world = World()
    async with serving(application(world)) as url:
        session = sessions.AiohttpSession(api=addresses.TelegramAPIServer.from_base(url))
        request = HTTPXRequest()
        await request.initialize()
        yield Served(world, url, session, request)
        await request.shutdown()
        await (await session.create_session()).close()  # its own close sleeps for TLS
    world.close()


class Stage:
    """A bot of its own for every case, with everything around it that cases name."""

    def __init__(self, world: World) -> None:
        number = next(_NUMBERS)
        self.world = world
        self.bot = world.bot(f"{number}:secret", "Echo", f"echo_{number}_bot")
        self.rival = world.bot(f"{next(_NUMBERS)}:secret", "Rival")
        self.ann = world.person("Ann", username="ann")
        self.chat = world.private(self.ann, self.bot)
        self._private()
        self._groups()
        self.bot.updates.clear()

    def _private(self) -> None:
        world, bot = self.world, self.bot
        self.hers = world.say(self.ann, self.chat, "by a person").id
        self.mine = world.messages.post(self.chat, bot, {"text": "fixed"}).id
        stored = world.files.store("photo", "p.jpg", b"bytes")
        self.file = stored.id
        self.photo = world.messages.post(self.chat, bot, {"photo": stored.content()}).id
        kept = {"text": "kept", "has_protected_content": True}
        self.secret = world.messages.post(self.chat, bot, kept).id
        self.blocker, self.stranger = world.person("Bob"), world.person("Cy")
        world.private(self.blocker, bot)
        world.block(self.blocker, bot)
        world.private(self.stranger, bot, started=False)

    def _groups(self) -> None:
        world, ann, bot = self.world, self.ann, self.bot
        self.group = self._room(ann, bot, supergroup=True, admin=True)
        self.club = self._room(ann, bot, supergroup=True)
        world.say(ann, self.club, "by a person")
        self.forum = self._room(ann, bot, forum=True, admin=True)
        self.topic = world.topic(self.forum, "Plans", ann)
        self.service = self.topic
        self.ruled = self._room(ann, bot, forum=True)
        self.shut = world.topic(self.ruled, "Shut", ann)
        world.topics.set_closed(self.ruled, self.shut, ann, closed=True)
        self.lost, self.left = self._room(ann, bot), self._room(ann, bot, supergroup=True)
        world.leave(self.lost, bot, status="kicked")
        world.leave(self.left, bot)
        self.news = world.channel("News", ann, [bot])
        world.say(ann, self.news, "breaking")
        self.other_news = world.channel("Other news", ann, [])
        self.other_news.members[bot.id] = "member"

    def _room(
        self,
        ann: Person,
        bot: Bot,
        *,
        admin: bool = False,
        supergroup: bool = False,
        forum: bool = False,
    ) -> Room:
        room = self.world.group("Team", [ann, bot], supergroup=supergroup, forum=forum)
        if admin:
            room.members[bot.id] = "administrator"
        return room

    def given(self, value: Any) -> Any:
        """A case's value, with what it asks of the stage."""
        if callable(value):
            return value(self)
        if isinstance(value, dict):
            return {name: self.given(one) for name, one in value.items()}
        return [self.given(one) for one in value] if isinstance(value, list) else value

    def said(self, number: int) -> Message:
        return self.chat.messages[number]


@pytest.fixture(params=["aiogram", "python-telegram-bot"])
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stage(served: Served) -> Stage:
    return Stage(served.world)


@pytest.fixture
def client(served: Served, stage: Stage, library: str) -> Client:
    return served.client(library, stage.bot.token)


def same(wanted: Any, found: Any) -> bool:
    """Whether everything that is wanted is in what was found."""
    if isinstance(wanted, dict):
        return all(name in found and same(one, found[name]) for name, one in wanted.items())
    if isinstance(wanted, list):
        return len(wanted) == len(found) and all(map(same, wanted, found))
    return bool(wanted == found)


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_refused_is_refused_in_the_services_words(
    stage: Stage, client: Client, what: str
) -> None:
    method, params, status, words = REFUSED[what]
    with pytest.raises(Refused) as refusal:
        await client.call(method, **stage.given(params))
    assert refusal.value.words.casefold().startswith(words.casefold())
    assert refusal.value.status == status


@pytest.mark.parametrize("what", WORKS)
async def test_what_works_comes_back_as_it_was_meant(
    stage: Stage, client: Client, what: str
) -> None:
    method, params, wanted = WORKS[what]
    found = await client.call(method, **stage.given(params))
    assert same(wanted, found), found


async def test_there_are_enough_cases_and_most_are_refusals() -> None:
    assert len(REFUSED) >= 80
    assert len(REFUSED) + len(WORKS) >= 140


async def test_a_message_with_a_command_comes_as_an_update(stage: Stage, client: Client) -> None:
    stage.world.say(stage.ann, stage.chat, "/start now")
    (update,) = await client.call("getUpdates")
    wanted = {"text": "/start now", "from": {"username": "ann"}}
    assert same(wanted | {"entities": [{"type": "bot_command"}]}, update["message"])
    assert await client.call("getUpdates", offset=update["update_id"] + 1) == []


async def test_an_edit_comes_as_an_update(stage: Stage, client: Client) -> None:
    said = stage.world.say(stage.ann, stage.chat, "tpyo")
    stage.world.edit(stage.ann, stage.chat, said.id, "typo")
    edited = (await client.call("getUpdates"))[1]["edited_message"]
    assert same({"message_id": said.id, "text": "typo"}, edited)
    assert edited["edit_date"]


async def test_a_press_is_answered_once(stage: Stage, client: Client) -> None:
    sent = await client.call("sendMessage", chat_id=stage.ann.id, text="sure?", reply_markup=BUTTON)
    stage.world.press_button(stage.ann, stage.chat, sent["message_id"], "Go")
    query = (await client.call("getUpdates"))[0]["callback_query"]
    assert query["data"] == "go"
    answer = {"callback_query_id": query["id"], "text": "done", "show_alert": True}
    assert await client.call("answerCallbackQuery", **answer)
    with pytest.raises(Refused, match=r"(?i)query is too old"):
        await client.call("answerCallbackQuery", **answer)


async def test_a_reaction_comes_to_those_who_ask(stage: Stage, client: Client) -> None:
    await client.call("getUpdates", allowed_updates=["message_reaction"])
    stage.world.react(stage.ann, stage.chat, stage.mine, "👍")
    reacted = (await client.call("getUpdates"))[0]["message_reaction"]
    assert same({"message_id": stage.mine, "new_reaction": [{"emoji": "👍"}]}, reacted)


async def test_coming_and_going_is_told(stage: Stage, client: Client) -> None:
    room = stage.world.group("Den", [stage.ann])
    stage.world.join(room, stage.bot)
    bob = stage.world.person("Bob")
    stage.world.join(room, bob)
    stage.world.leave(room, bob)
    placed, came, bobs, gone = await client.call("getUpdates")
    assert placed["my_chat_member"]["new_chat_member"]["status"] == "member"
    assert came["message"]["new_chat_members"][0]["id"] == stage.bot.id
    assert bobs["message"]["new_chat_members"][0]["id"] == bob.id
    assert gone["message"]["left_chat_member"]["id"] == bob.id


async def test_a_group_brings_only_what_is_for_the_bot(stage: Stage, client: Client) -> None:
    for text in ("chatter", f"hey @{stage.bot.username}", f"/new@{stage.bot.username}"):
        stage.world.say(stage.ann, stage.club, text)
    said = [u["message"]["text"] for u in await client.call("getUpdates")]
    assert said == [f"hey @{stage.bot.username}", f"/new@{stage.bot.username}"]


async def test_topics_and_pins_are_told_by_their_service_messages(
    stage: Stage, client: Client
) -> None:
    world, ann, forum = stage.world, stage.ann, stage.forum
    number = world.topic(forum, "Trips", ann)
    world.topics.rename(forum, number, "Tours", ann)
    world.topics.set_closed(forum, number, ann, closed=True)
    world.topics.set_closed(forum, number, ann, closed=False)
    world.topics.pin(stage.chat, stage.said(stage.hers), ann)
    made, named, closed, opened, pinned = [u["message"] for u in await client.call("getUpdates")]
    assert made["forum_topic_created"]["name"] == "Trips"
    assert named["forum_topic_edited"]["name"] == "Tours"
    assert "forum_topic_closed" in closed
    assert "forum_topic_reopened" in opened
    assert {m["message_thread_id"] for m in (made, named, closed, opened)} == {number}
    assert pinned["pinned_message"]["text"] == "by a person"
    full = await client.call("getChat", chat_id=stage.ann.id)
    assert full["pinned_message"]["message_id"] == stage.hers


@pytest.mark.parametrize("kind", ["photo", "document", "voice", "audio", "video", "animation"])
async def test_a_file_is_read_and_downloaded(stage: Stage, client: Client, kind: str) -> None:
    stage.world.attach(stage.ann, stage.chat, kind, b"its bytes", name="x.bin", caption="see")
    message = (await client.call("getUpdates"))[0]["message"]
    assert message["caption"] == "see"
    content = message[kind][-1] if kind == "photo" else message[kind]
    assert await client.download(content["file_id"]) == b"its bytes"


async def test_the_last_pin_is_taken_away_first(stage: Stage, client: Client) -> None:
    for number in (stage.hers, stage.mine):
        await client.call("pinChatMessage", chat_id=stage.ann.id, message_id=number)
    await client.call("unpinChatMessage", chat_id=stage.ann.id)
    assert stage.chat.pinned == [stage.hers]


async def test_a_deleted_topic_takes_its_messages_along(stage: Stage, client: Client) -> None:
    forum = {"chat_id": stage.forum.id, "message_thread_id": stage.topic}
    await client.call("sendMessage", text="there", **forum)
    await client.call("deleteForumTopic", **forum)
    assert stage.topic not in stage.forum.topics
    assert not stage.forum.messages
    with pytest.raises(Refused, match=r"(?i)message thread not found"):
        await client.call("sendMessage", text="gone", **forum)


async def test_a_group_that_moved_names_its_new_id(stage: Stage, client: Client) -> None:
    old = stage.world.group("Den", [stage.ann, stage.bot])
    kept = stage.world.migrate(old)
    with pytest.raises(Refused) as moved:
        await client.call("sendMessage", chat_id=old.id, text="x")
    assert moved.value.more["migrate_to_chat_id"] == kept.id
    assert (await client.call("sendMessage", chat_id=kept.id, text="x"))["text"] == "x"


async def test_a_flood_names_the_seconds(
    stage: Stage, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")
    stage.world.flood.freeze(stage.bot.id, stage.ann.id, 12)
    with pytest.raises(Refused) as flood:
        await client.call("sendMessage", chat_id=stage.ann.id, text="x")
    assert (flood.value.status, flood.value.more["retry_after"]) == (429, 12)


async def test_new_tokens_are_let_in_slowly_when_that_is_asked(
    served: Served, stage: Stage, client: Client, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")
    served.world.new_tokens.limit(1)
    try:
        assert (await client.call("getMe"))["is_bot"]
        late = served.client(library, stage.rival.token)
        with pytest.raises(Refused) as flood:
            await late.call("getMe")
        assert flood.value.status == 429
        assert 55 <= flood.value.more["retry_after"] <= 60
        assert (await client.call("getMe"))["is_bot"]
    finally:
        served.world.new_tokens.limit(None)
    assert (await late.call("getMe"))["id"] == stage.rival.id


async def test_two_polls_collide_and_the_older_one_loses(stage: Stage, client: Client) -> None:
    older = asyncio.create_task(client.call("getUpdates", timeout=30))
    await stage.bot.updates.wait_until_polled()
    newer = asyncio.create_task(client.call("getUpdates", timeout=30))
    with pytest.raises(Refused) as refusal:
        await asyncio.wait_for(older, 30)
    assert refusal.value.status == 409
    assert refusal.value.words.casefold().startswith("terminated by other getupdates request")
    stage.world.say(stage.ann, stage.chat, "for the newer")
    assert (await asyncio.wait_for(newer, 30))[0]["message"]["text"] == "for the newer"


async def test_polling_beside_a_webhook_is_a_conflict(stage: Stage, client: Client) -> None:
    await client.call("setWebhook", url="http://127.0.0.1:9/x")
    with pytest.raises(Refused) as refusal:
        await client.call("getUpdates")
    assert refusal.value.status == 409
    assert refusal.value.words.casefold().startswith("can't use getupdates method while webhook is")
    assert await client.call("deleteWebhook")
    assert await client.call("getUpdates") == []


async def test_a_revoked_token_is_unauthorized(stage: Stage, client: Client) -> None:
    stage.world.revoke(stage.bot)
    with pytest.raises(Refused) as refusal:
        await client.call("getMe")
    assert refusal.value.status == 401


async def test_a_dropped_and_a_broken_answer_are_errors(stage: Stage, client: Client) -> None:
    for fault in (
        Fault("answer", "sendMessage", bot=stage.bot.id, status=500),
        Fault("drop", "sendMessage", bot=stage.bot.id),
        Fault("html", "sendMessage", bot=stage.bot.id),
    ):
        stage.world.faults.add(fault)
        with pytest.raises(Refused):
            await client.call("sendMessage", chat_id=stage.ann.id, text="x")
    assert len(stage.chat.messages) == 4


async def test_a_draft_is_stopped_and_replaced_by_the_message(stage: Stage, client: Client) -> None:
    draft = {"chat_id": stage.ann.id, "draft_id": 5, "text": "thinking"}
    assert await client.call("sendMessageDraft", **draft)
    assert [d.text for d in stage.world.drafts(stage.chat)] == ["thinking"]
    await client.call("sendMessage", chat_id=stage.ann.id, text="thought")
    assert stage.world.drafts(stage.chat) == []


async def test_a_rich_draft_shows_its_words_and_its_blocks(stage: Stage, client: Client) -> None:
    given = {"markdown": "# Half\n\nway **there**"}
    await client.call("sendRichMessageDraft", chat_id=stage.ann.id, draft_id=9, rich_message=given)
    (draft,) = stage.world.drafts(stage.chat)
    assert draft.text == "Half\nway there\n"
    assert draft.show()["rich_message"]["blocks"][0]["type"] == "heading"


async def test_a_rich_message_is_edited_into_a_text_and_back(stage: Stage, client: Client) -> None:
    sent = await client.call(
        "sendRichMessage", chat_id=stage.ann.id, rich_message={"html": "<p>one</p>"}
    )
    where = {"chat_id": stage.ann.id, "message_id": sent["message_id"]}
    assert (await client.call("editMessageText", text="two", **where))["text"] == "two"
    assert "rich_message" not in stage.said(sent["message_id"]).body
