"""The simulator as two independent clients see it; whatever they cannot read, they refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
import telegram
from telegram import error as ptb_errors

from simulators.telegram.faults import Fault
from simulators.telegram.flood import Budget
from tests.lazily import Lazily
from tests.simulators.telegram.conftest import Api

if TYPE_CHECKING:
    import aiogram
    from aiogram import exceptions as aiogram_errors
    from aiogram import types
    from aiogram.client import telegram as addresses
    from aiogram.client.session import aiohttp as sessions
else:
    aiogram, aiogram_errors = Lazily("aiogram"), Lazily("aiogram.exceptions")
    types, addresses = Lazily("aiogram.types"), Lazily("aiogram.client.telegram")
    sessions = Lazily("aiogram.client.session.aiohttp")


@pytest.fixture
async def gram(api: Api) -> AsyncIterator[aiogram.Bot]:
    session = sessions.AiohttpSession(api=addresses.TelegramAPIServer.from_base(api.url))
    yield aiogram.Bot(api.token, session)
    await (await session.create_session()).close()  # its own close sleeps for TLS


@pytest.fixture
async def ptb(api: Api) -> AsyncIterator[telegram.Bot]:
    bot = telegram.Bot(api.token, base_url=f"{api.url}/bot", base_file_url=f"{api.url}/file/bot")
    async with bot:
        yield bot


def keyboard() -> types.InlineKeyboardMarkup:
    button = types.InlineKeyboardButton(text="Yes", callback_data="yes")
    return types.InlineKeyboardMarkup(inline_keyboard=[[button]])


def plain(value: types.TelegramObject | None) -> dict[str, Any]:
    return value.model_dump(exclude_none=True) if value is not None else {}


async def test_aiogram_reads_who_it_is(api: Api, gram: aiogram.Bot) -> None:
    me = await gram.get_me()
    assert (me.id, me.username, me.can_read_all_group_messages) == (7001, "first_bot", False)


async def test_aiogram_reads_a_message_with_a_command(api: Api, gram: aiogram.Bot) -> None:
    api.world.say(api.ann, api.chat, "/start now")
    update = (await gram.get_updates())[0]
    assert update.message is not None
    assert update.message.from_user is not None
    assert update.message.entities is not None
    assert update.message.entities[0].type == "bot_command"
    assert update.message.from_user.username == "ann"


@pytest.mark.parametrize("kind", ["photo", "document", "voice", "audio", "video", "animation"])
async def test_aiogram_reads_and_downloads_each_kind_of_file(
    api: Api, gram: aiogram.Bot, kind: str
) -> None:
    api.world.attach(api.ann, api.chat, kind, b"bytes of it", name="x.bin", caption="see")
    message = (await gram.get_updates())[0].message
    assert message is not None
    assert message.caption == "see"
    content = getattr(message, kind)
    content = content[-1] if kind == "photo" else content
    stored = await gram.get_file(content.file_id)
    assert stored.file_path is not None
    data = await gram.download_file(stored.file_path)
    assert data is not None
    assert data.read() == b"bytes of it"


@pytest.mark.parametrize("kind", ["sticker", "video_note"])
async def test_aiogram_reads_kinds_without_caption(api: Api, gram: aiogram.Bot, kind: str) -> None:
    api.world.attach(api.ann, api.chat, kind, b"x")
    message = (await gram.get_updates())[0].message
    assert message is not None
    assert message.content_type == kind


async def test_aiogram_sends_html_and_gets_entities_back(api: Api, gram: aiogram.Bot) -> None:
    sent = await gram.send_message(api.ann.id, "<b>a</b> <code>b</code>", parse_mode="HTML")
    assert sent.html_text == "<b>a</b> <code>b</code>"


async def test_aiogram_sends_entities(api: Api, gram: aiogram.Bot) -> None:
    entity = types.MessageEntity(type="text_link", offset=0, length=1, url="https://e.org/")
    sent = await gram.send_message(api.ann.id, "a", entities=[entity])
    assert sent.entities is not None
    assert plain(sent.entities[0]) == plain(entity)


async def test_aiogram_edits_with_a_keyboard_and_without(api: Api, gram: aiogram.Bot) -> None:
    sent = await gram.send_message(api.ann.id, "a", reply_markup=keyboard())
    assert plain(sent.reply_markup) == plain(keyboard())
    edited = await gram.edit_message_text("b", chat_id=api.ann.id, message_id=sent.message_id)
    assert isinstance(edited, types.Message)
    assert (edited.text, edited.reply_markup) == ("b", None)
    assert edited.edit_date


async def test_aiogram_answers_a_press(api: Api, gram: aiogram.Bot) -> None:
    sent = await gram.send_message(api.ann.id, "sure?", reply_markup=keyboard())
    pressed = api.world.press_button(api.ann, api.chat, sent.message_id, "Yes")
    query = (await gram.get_updates())[0].callback_query
    assert query is not None
    assert (query.data, query.id) == ("yes", pressed.id)
    assert await gram.answer_callback_query(query.id, "done", show_alert=True)
    assert pressed.answer == {"text": "done", "show_alert": True}
    with pytest.raises(aiogram_errors.TelegramBadRequest, match="query is too old"):
        await gram.answer_callback_query(query.id)


async def test_aiogram_streams_a_draft_that_a_person_stops(api: Api, gram: aiogram.Bot) -> None:
    assert await gram.send_message_draft(api.ann.id, 5, text="thinking", can_stop=True)
    assert [d.text for d in api.world.drafts(api.chat)] == ["thinking"]
    api.world.stop(api.ann, api.chat)
    stopped = (await gram.get_updates())[0].stopped_message_generation
    assert stopped is not None
    assert (stopped.chat.id, stopped.draft_id) == (api.ann.id, 5)


async def test_aiogram_uploads_a_document(api: Api, gram: aiogram.Bot) -> None:
    upload = types.BufferedInputFile(b"a,b\n1,2\n", "table.csv")
    sent = await gram.send_document(api.ann.id, upload, caption="*here*", parse_mode="MarkdownV2")
    assert sent.document is not None
    assert (sent.document.file_name, sent.document.mime_type) == ("table.csv", "text/csv")
    again = await gram.send_document(api.ann.id, sent.document.file_id)
    assert again.document is not None
    data = await gram.download(again.document.file_id)
    assert data is not None
    assert data.read() == b"a,b\n1,2\n"


async def test_aiogram_copies_reacts_types_and_deletes(api: Api, gram: aiogram.Bot) -> None:
    sent = await gram.send_message(api.ann.id, "a")
    copied = await gram.copy_message(api.ann.id, api.ann.id, sent.message_id)
    assert copied.message_id > sent.message_id
    heart = types.ReactionTypeEmoji(emoji="❤")
    assert await gram.set_message_reaction(api.ann.id, sent.message_id, [heart])
    assert await gram.send_chat_action(api.ann.id, "typing")
    assert await gram.delete_message(api.ann.id, sent.message_id)
    assert await gram.delete_messages(api.ann.id, [copied.message_id, 999])
    assert not api.chat.messages


async def test_aiogram_sets_and_reads_commands_by_scope(api: Api, gram: aiogram.Bot) -> None:
    commands = [types.BotCommand(command="new", description="Start over")]
    scope = types.BotCommandScopeChat(chat_id=api.ann.id)
    assert await gram.set_my_commands(commands, scope)
    assert plain((await gram.get_my_commands(scope))[0]) == plain(commands[0])
    assert await gram.get_my_commands() == []
    assert await gram.delete_my_commands(scope)
    assert await gram.get_my_commands(scope) == []


async def test_aiogram_reads_chats_and_members(api: Api, gram: aiogram.Bot) -> None:
    group = api.world.group("Team", [api.ann, api.bot], supergroup=True)
    api.world.join(group, api.bot, status="administrator")
    assert (await gram.get_chat(group.id)).title == "Team"
    assert (await gram.get_chat(api.ann.id)).first_name == "Ann"
    owner = await gram.get_chat_member(group.id, api.ann.id)
    assert owner.status == "creator"
    admins = await gram.get_chat_administrators(group.id)
    assert {a.user.id for a in admins} == {api.ann.id, api.bot.id}
    assert await gram.get_chat_member_count(group.id) == 2
    with pytest.raises(aiogram_errors.TelegramBadRequest, match="user not found"):
        await gram.get_chat_member(group.id, 31337)


async def test_aiogram_reads_service_messages_and_memberships(api: Api, gram: aiogram.Bot) -> None:
    group = api.world.group("Team", [api.ann])
    api.world.join(group, api.bot)
    bob = api.world.person("Bob")
    api.world.join(group, bob)
    api.world.leave(group, bob)
    updates = await gram.get_updates()
    assert updates[0].my_chat_member is not None
    assert updates[0].my_chat_member.new_chat_member.status == "member"
    came, bobs, gone = (u.message for u in updates[1:])
    assert came is not None
    assert came.new_chat_members is not None
    assert came.new_chat_members[0].id == api.bot.id
    assert bobs is not None
    assert bobs.new_chat_members is not None
    assert gone is not None
    assert gone.left_chat_member is not None


async def test_aiogram_reads_topics(api: Api, gram: aiogram.Bot) -> None:
    forum = api.world.group("Forum", [api.ann, api.bot], forum=True)
    topic = api.world.topic(forum, "Plans", api.ann)
    api.world.say(api.ann, forum, "@first_bot hi", topic=topic)
    updates = await gram.get_updates()
    assert updates[0].message is not None
    assert updates[0].message.forum_topic_created is not None
    message = updates[1].message
    assert message is not None
    assert (message.message_thread_id, message.is_topic_message) == (topic, True)
    sent = await gram.send_message(forum.id, "hello", message_thread_id=topic)
    assert sent.message_thread_id == topic
    with pytest.raises(aiogram_errors.TelegramBadRequest, match="message thread not found"):
        await gram.send_message(forum.id, "lost", message_thread_id=999)


async def test_aiogram_raises_its_migration_error(api: Api, gram: aiogram.Bot) -> None:
    group = api.world.group("Team", [api.ann, api.bot])
    kept = api.world.migrate(group)
    with pytest.raises(aiogram_errors.TelegramMigrateToChat) as moved:
        await gram.send_message(group.id, "hi")
    assert moved.value.migrate_to_chat_id == kept.id
    assert (await gram.send_message(kept.id, "hi")).chat.type == "supergroup"


async def test_aiogram_raises_retry_after(api: Api, gram: aiogram.Bot) -> None:
    api.world.flood.private = Budget(1, 60, penalty=7)
    await gram.send_message(api.ann.id, "a")
    with pytest.raises(aiogram_errors.TelegramRetryAfter) as flood:
        await gram.send_message(api.ann.id, "b")
    assert flood.value.retry_after == 7


async def test_aiogram_raises_forbidden_for_a_block(api: Api, gram: aiogram.Bot) -> None:
    api.world.block(api.ann, api.bot)
    with pytest.raises(aiogram_errors.TelegramForbiddenError, match="bot was blocked by the user"):
        await gram.send_message(api.ann.id, "hi")


async def test_aiogram_raises_server_and_network_errors(api: Api, gram: aiogram.Bot) -> None:
    api.world.faults.add(Fault("answer", "sendMessage", status=500))
    with pytest.raises(aiogram_errors.TelegramServerError):
        await gram.send_message(api.ann.id, "a")
    api.world.faults.add(Fault("drop", "sendMessage"))
    with pytest.raises(aiogram_errors.TelegramNetworkError):
        await gram.send_message(api.ann.id, "b")
    assert not api.chat.messages


async def test_aiogram_raises_conflict_and_unauthorized(api: Api, gram: aiogram.Bot) -> None:
    await gram.set_webhook("http://127.0.0.1:9/hook", secret_token="shh", allowed_updates=["poll"])
    info = await gram.get_webhook_info()
    assert (info.url, info.allowed_updates) == ("http://127.0.0.1:9/hook", ["poll"])
    with pytest.raises(aiogram_errors.TelegramConflictError):
        await gram.get_updates()
    await gram.delete_webhook(drop_pending_updates=True)
    api.world.revoke(api.bot)
    with pytest.raises(aiogram_errors.TelegramUnauthorizedError):
        await gram.get_me()


async def test_aiogram_polls_a_dispatcher_to_an_answer(api: Api, gram: aiogram.Bot) -> None:
    dispatcher = aiogram.Dispatcher()

    @dispatcher.message()
    async def echo(message: types.Message) -> None:
        await message.reply(f"you said {message.text}")

    polling = asyncio.create_task(
        dispatcher.start_polling(gram, handle_signals=False, close_bot_session=False)
    )
    api.world.say(api.ann, api.chat, "hello")
    answer = await api.chat.wait_for_text("you said hello", 10)
    assert answer.body["reply_to_message"]["text"] == "hello"
    api.bot.updates.clear()
    await dispatcher.stop_polling()
    await polling


Try = Callable[[telegram.Bot, int], Awaitable[Any]]

REFUSALS: dict[str, tuple[Try, type[Exception], str]] = {
    "an unknown chat": (
        lambda b, _: b.send_message(1, "x"), ptb_errors.BadRequest, "Chat not found",
    ),
    "an empty text": (
        lambda b, c: b.send_message(c, ""), ptb_errors.BadRequest, "Message text is empty",
    ),
    "a blank text": (
        lambda b, c: b.send_message(c, " "), ptb_errors.BadRequest, "Text must be non-empty",
    ),
    "a long text": (
        lambda b, c: b.send_message(c, "x" * 4097), ptb_errors.BadRequest, "Message is too long",
    ),
    "wrong html": (
        lambda b, c: b.send_message(c, "<b>x", parse_mode="HTML"), ptb_errors.BadRequest,
        "Can't parse entities: can't find end tag",
    ),
    "a missing message to edit": (
        lambda b, c: b.edit_message_text("x", c, 99), ptb_errors.BadRequest,
        "Message to edit not found",
    ),
    "another's message to edit": (
        lambda b, c: b.edit_message_text("x", c, 1), ptb_errors.BadRequest,
        "Message can't be edited",
    ),
    "an unchanged message": (
        lambda b, c: b.edit_message_text("fixed", c, 2), ptb_errors.BadRequest,
        "Message is not modified: specified new message content and reply markup are exactly",
    ),
    "a missing message to delete": (
        lambda b, c: b.delete_message(c, 99), ptb_errors.BadRequest, "Message to delete not found",
    ),
    "a missing message to answer": (
        lambda b, c: b.send_message(c, "x", reply_to_message_id=99), ptb_errors.BadRequest,
        "Message to be replied not found",
    ),
    "a missing message to copy": (
        lambda b, c: b.copy_message(c, c, 99), ptb_errors.BadRequest, "Message to copy not found",
    ),
    "long callback data": (
        lambda b, c: b.send_message(
            c, "x", reply_markup=telegram.InlineKeyboardMarkup(
                [[telegram.InlineKeyboardButton("x", callback_data="é" * 33)]]
            ),
        ),
        ptb_errors.BadRequest, "Button_data_invalid",
    ),
    "an unknown query": (
        lambda b, _: b.answer_callback_query("12345"), ptb_errors.BadRequest,
        "Query is too old and response timeout expired or query id is invalid",
    ),
    "an unknown file": (lambda b, _: b.get_file("nope"), ptb_errors.BadRequest, "Invalid file_id"),
    "an unknown action": (
        lambda b, c: b.send_chat_action(c, "juggling"), ptb_errors.BadRequest,
        "Wrong parameter action in request",
    ),
    "a wrong command": (
        lambda b, _: b.set_my_commands([("Big", "x")]), ptb_errors.BadRequest,
        "Bot_command_invalid",
    ),
    "a reaction that is none": (
        lambda b, c: b.set_message_reaction(c, 2, "🧅"), ptb_errors.BadRequest, "Reaction_invalid",
    ),
    "a zero draft": (
        lambda b, c: b.send_message_draft(c, 0, "x"), ptb_errors.BadRequest, "Random_id_invalid",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
async def test_python_telegram_bot_is_refused_in_the_services_words(
    api: Api, ptb: telegram.Bot, what: str
) -> None:
    api.world.say(api.ann, api.chat, "by a person")
    await ptb.send_message(api.ann.id, "fixed")
    attempt, kind, words = REFUSALS[what]
    with pytest.raises(kind) as refusal:
        await attempt(ptb, api.ann.id)
    assert str(refusal.value).lower().startswith(words.lower())


async def test_python_telegram_bot_reads_updates_and_sends(api: Api, ptb: telegram.Bot) -> None:
    api.world.say(api.ann, api.chat, "/help @first_bot")
    update = (await ptb.get_updates())[0]
    assert update.effective_message is not None
    assert list(update.effective_message.parse_entities().values()) == ["/help", "@first_bot"]
    sent = await ptb.send_message(api.ann.id, "*x*", parse_mode="MarkdownV2")
    assert sent.text_markdown_v2 == "*x*"


async def test_python_telegram_bot_reads_edits_and_reactions(api: Api, ptb: telegram.Bot) -> None:
    await ptb.get_updates(allowed_updates=["edited_message", "message_reaction"])
    said = api.world.say(api.ann, api.chat, "tpyo")
    api.world.edit(api.ann, api.chat, said.id, "typo")
    api.world.react(api.ann, api.chat, said.id, "👍")
    edited, reacted = await ptb.get_updates()
    assert edited.edited_message is not None
    assert (edited.edited_message.text, bool(edited.edited_message.edit_date)) == ("typo", True)
    assert reacted.message_reaction is not None
    assert reacted.message_reaction.new_reaction[0].to_dict()["emoji"] == "👍"


async def test_python_telegram_bot_downloads_a_document(api: Api, ptb: telegram.Bot) -> None:
    api.world.attach(api.ann, api.chat, "document", b"hello", name="notes.txt", mime="text/plain")
    message = (await ptb.get_updates())[0].effective_message
    assert message is not None
    assert message.document is not None
    assert (message.document.file_name, message.document.mime_type) == ("notes.txt", "text/plain")
    stored = await message.document.get_file()
    assert bytes(await stored.download_as_bytearray()) == b"hello"


async def test_python_telegram_bot_uploads_a_photo(api: Api, ptb: telegram.Bot) -> None:
    sent = await ptb.send_photo(api.ann.id, b"\xff\xd8\xff jpeg", caption="look")
    assert sent.photo[-1].file_size == 8
    assert api.chat.messages[sent.message_id].text == "look"


async def test_python_telegram_bot_reads_channel_posts(api: Api, ptb: telegram.Bot) -> None:
    channel = api.world.channel("News", api.ann, [api.bot])
    api.world.say(api.ann, channel, "breaking")
    update = (await ptb.get_updates())[0]
    assert update.channel_post is not None
    assert update.channel_post.sender_chat is not None
    assert (update.channel_post.text, update.channel_post.sender_chat.title) == ("breaking", "News")


async def test_python_telegram_bot_raises_retry_after_and_migration(
    api: Api, ptb: telegram.Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")
    group = api.world.group("Team", [api.ann, api.bot])
    api.world.flood.freeze(api.bot.id, group.id, 12)
    with pytest.raises(ptb_errors.RetryAfter, match="0:00:12"):
        await ptb.send_message(group.id, "x")
    api.world.flood.clear()
    kept = api.world.migrate(group)
    with pytest.raises(ptb_errors.ChatMigrated) as moved:
        await ptb.send_message(group.id, "x")
    assert moved.value.new_chat_id == kept.id


async def test_python_telegram_bot_raises_conflict_forbidden_and_invalid_token(
    api: Api, ptb: telegram.Bot
) -> None:
    api.world.block(api.ann, api.bot)
    with pytest.raises(ptb_errors.Forbidden, match="bot was blocked by the user"):
        await ptb.send_message(api.ann.id, "x")
    await ptb.set_webhook("http://127.0.0.1:9/x")
    with pytest.raises(ptb_errors.Conflict):
        await ptb.get_updates()
    api.world.revoke(api.bot)
    with pytest.raises(ptb_errors.InvalidToken):
        await ptb.get_me()
