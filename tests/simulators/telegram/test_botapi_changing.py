from __future__ import annotations

import asyncio
from typing import Any

import pytest

from simulators.telegram.world import WorldError
from tests.simulators.telegram.conftest import Api

YES = {"inline_keyboard": [[{"text": "Yes", "callback_data": "yes"}]]}
SAME = (
    "Bad Request: message is not modified: specified new message content and reply markup are "
    "exactly the same as a current content and reply markup of the message"
)


async def sent(api: Api, text: str = "hi", **more: Any) -> int:
    message = await api.call("sendMessage", chat_id=api.ann.id, text=text, **more)
    return int(message["message_id"])


async def test_an_edit_without_a_keyboard_takes_the_keyboard_away(api: Api) -> None:
    number = await sent(api, reply_markup=YES)
    same = {"chat_id": api.ann.id, "message_id": number, "text": "hi"}
    assert await api.refused("editMessageText", **same, reply_markup=YES) == SAME
    edited = await api.call("editMessageText", **same)
    assert "reply_markup" not in edited
    assert await api.refused("editMessageText", **same) == SAME


async def test_an_edit_of_the_keyboard_alone_leaves_no_edit_date(api: Api) -> None:
    number = await sent(api)
    place = {"chat_id": api.ann.id, "message_id": number}
    edited = await api.call("editMessageReplyMarkup", **place, reply_markup=YES)
    assert edited["reply_markup"] == YES
    assert "edit_date" not in edited
    assert await api.refused("editMessageReplyMarkup", **place, reply_markup=YES) == SAME


async def test_other_entities_are_a_change(api: Api) -> None:
    number = await sent(api)
    place = {"chat_id": api.ann.id, "message_id": number}
    edited = await api.call("editMessageText", **place, text="<b>hi</b>", parse_mode="HTML")
    assert edited["entities"] == [{"type": "bold", "offset": 0, "length": 2}]


async def test_a_caption_can_be_edited_but_not_as_a_text(api: Api) -> None:
    first = api.world.attach(api.ann, api.chat, "document", b"x", name="x.txt")
    file_id = first.body["document"]["file_id"]
    message = await api.call("sendDocument", chat_id=api.ann.id, document=file_id, caption="a")
    place = {"chat_id": api.ann.id, "message_id": message["message_id"]}
    edited = await api.call("editMessageCaption", **place, caption="b")
    assert edited["caption"] == "b"
    refused = await api.refused("editMessageText", **place, text="b")
    assert refused == "Bad Request: there is no text in the message to edit"


async def test_deleting_follows_age_and_rights(api: Api) -> None:
    group = api.world.group("Team", [api.ann, api.bot])
    theirs = api.world.say(api.ann, group, "mine")
    place = {"chat_id": group.id, "message_id": theirs.id}
    assert await api.refused("deleteMessage", **place) == "Bad Request: message can't be deleted"
    api.world.join(group, api.bot, status="administrator")
    assert await api.call("deleteMessage", **place) is True
    refused = await api.refused("deleteMessage", **place)
    assert refused == "Bad Request: message to delete not found"
    number = await sent(api)
    api.clock.now += 48 * 3600 + 1
    refused = await api.refused("deleteMessage", chat_id=api.ann.id, message_id=number)
    assert refused == "Bad Request: message can't be deleted"


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("{", "can't parse reply keyboard markup JSON object"),
        ("[]", "object expected as reply markup"),
        (
            {"inline_keyboard": [{"text": "x"}]},
            'field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays',
        ),
        (
            {"inline_keyboard": [[{"text": "x"}]]},
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
        ),
        (
            {"inline_keyboard": [[{"text": " ", "callback_data": "x"}]]},
            "inline keyboard button text must be non-empty",
        ),
        ({"inline_keyboard": [[{"text": "x", "callback_data": "x" * 65}]]}, "BUTTON_DATA_INVALID"),
        (
            {"inline_keyboard": [[{"text": "x", "url": "nowhere"}]]},
            "inline keyboard button URL 'nowhere' is invalid: Wrong HTTP URL",
        ),
        (
            {"inline_keyboard": [[{"text": "x", "callback_data": "y"}]] * 101},
            "reply markup is too long",
        ),
    ],
)
async def test_wrong_keyboards_are_refused(api: Api, markup: Any, words: str) -> None:
    refused = await api.refused("sendMessage", chat_id=api.ann.id, text="x", reply_markup=markup)
    assert refused == f"Bad Request: {words}"
    assert not api.chat.messages


async def test_64_bytes_of_callback_data_pass_and_a_screen_keyboard_is_not_shown(api: Api) -> None:
    await sent(api, reply_markup={"inline_keyboard": [[{"text": "x", "callback_data": "é" * 32}]]})
    number = await sent(api, reply_markup={"keyboard": [["A", "B"]]})
    message = api.chat.messages[number]
    assert "reply_markup" not in message.body
    assert message.screen == {"keyboard": [[{"text": "A"}, {"text": "B"}]]}


async def test_a_press_can_be_answered_once_within_a_minute_by_its_own_bot(api: Api) -> None:
    number = await sent(api, reply_markup=YES)
    stale = "Bad Request: query is too old and response timeout expired or query ID is invalid"
    pressed = api.world.press_button(api.ann, api.chat, number, "yes")
    other = api.world.bot("7002:secret-of-another", "Second")
    refused = await api.refused(
        "answerCallbackQuery", token=other.token, callback_query_id=pressed.id
    )
    assert refused == stale
    assert await api.call("answerCallbackQuery", callback_query_id=pressed.id, text="ok") is True
    assert await api.refused("answerCallbackQuery", callback_query_id=pressed.id) == stale
    late = api.world.press_button(api.ann, api.chat, number, "yes")
    api.clock.now += 61
    assert await api.refused("answerCallbackQuery", callback_query_id=late.id) == stale


async def test_a_press_shows_the_message_as_it_was(api: Api) -> None:
    number = await sent(api, reply_markup=YES)
    api.world.press_button(api.ann, api.chat, number, "yes")
    query = (await api.updates())[0]["callback_query"]
    assert query["message"]["reply_markup"] == YES
    assert (query["data"], query["from"]["id"]) == ("yes", api.ann.id)
    assert query["chat_instance"]


async def test_a_draft_grows_fades_and_vanishes_with_the_message(api: Api) -> None:
    draft = {"chat_id": api.ann.id, "draft_id": 9}
    await api.call("sendMessageDraft", **draft, text="Once")
    await api.call("sendMessageDraft", **draft, text="Once <b>upon</b>", parse_mode="HTML")
    assert [d.text for d in api.world.drafts(api.chat)] == ["Once upon"]
    api.clock.now += 31
    assert api.world.drafts(api.chat) == []
    await api.call("sendMessageDraft", **draft, text="Once")
    await sent(api, "Once upon a time")
    assert api.world.drafts(api.chat) == []
    assert await api.call("getUpdates") == []


async def test_a_stop_reaches_the_bot_once_and_only_where_it_is_offered(api: Api) -> None:
    draft = {"chat_id": api.ann.id, "draft_id": 9, "text": "…"}
    await api.call("sendMessageDraft", **draft)
    with pytest.raises(WorldError):
        api.world.stop(api.ann, api.chat)
    await api.call("sendMessageDraft", **draft, can_stop=True, keep_on_stop=True)
    api.world.stop(api.ann, api.chat, 9)
    assert [u["stopped_message_generation"]["draft_id"] for u in await api.updates()] == [9]
    assert [d.id for d in api.world.drafts(api.chat)] == [9]
    with pytest.raises(WorldError):
        api.world.stop(api.ann, api.chat, 9)


async def test_drafts_are_for_private_chats(api: Api) -> None:
    group = api.world.group("Team", [api.ann, api.bot])
    refused = await api.refused("sendMessageDraft", chat_id=group.id, draft_id=1, text="x")
    assert refused == "Bad Request: TEXTDRAFT_PEER_INVALID"


async def test_typing_lasts_until_the_message(api: Api) -> None:
    assert await api.call("sendChatAction", chat_id=api.ann.id, action="typing") is True
    assert api.bot.id in api.chat.typing
    await sent(api)
    assert api.bot.id not in api.chat.typing


async def test_a_reply_shows_what_it_answers_and_a_quote_must_be_in_it(api: Api) -> None:
    said = api.world.say(api.ann, api.chat, "to be or not")
    place = {"chat_id": api.ann.id, "text": "x"}
    reply = {"message_id": said.id, "quote": "or not"}
    message = await api.call("sendMessage", **place, reply_parameters=reply)
    assert message["reply_to_message"]["text"] == "to be or not"
    assert message["quote"] == {"text": "or not", "position": 6, "is_manual": True}
    refused = await api.refused("sendMessage", **place, reply_parameters=reply | {"quote": "?"})
    assert refused == "Bad Request: QUOTE_TEXT_INVALID"
    lenient = {"message_id": 99, "allow_sending_without_reply": True}
    assert "reply_to_message" not in await api.call(
        "sendMessage", **place, reply_parameters=lenient
    )


async def test_a_person_edits_and_the_bot_is_told(api: Api) -> None:
    said = api.world.say(api.ann, api.chat, "tpyo")
    api.world.edit(api.ann, api.chat, said.id, "typo")
    updates = await api.updates()
    assert updates[0]["message"]["text"] == "tpyo"
    assert updates[1]["edited_message"]["text"] == "typo"
    assert updates[1]["edited_message"]["edit_date"]


async def test_waiting_for_a_message_sees_edits_and_names_the_room_when_late(api: Api) -> None:
    number = await sent(api, "draft")
    waiting = asyncio.create_task(api.chat.wait_for_text("final"))
    await api.call("editMessageText", chat_id=api.ann.id, message_id=number, text="final")
    assert (await waiting).id == number
    with pytest.raises(TimeoutError, match=f"room 7001/{api.ann.id}"):
        await api.chat.wait_for_text("never", 0.01)


async def test_every_call_is_on_record_without_the_token(api: Api) -> None:
    await sent(api, "on record")
    record = api.world.calls.of(bot=api.bot.id, method="sendmessage")[-1]
    assert (record.method, record.status) == ("sendMessage", 200)
    assert record.params["text"] == "on record"
    assert api.token not in repr(list(api.world.calls))
