"""Updates as Telegram writes them, and as it never would."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages import (
    Address,
    Attachment,
    CallbackPress,
    Command,
    Decoded,
    Excerpt,
    Ignored,
    IncomingMessage,
    Membership,
    QuotedMessage,
    Signal,
    User,
)
from bot.telegram.decode import ALLOWED_UPDATES, BotUser, decode

BOT = BotUser(id=100, username="Our_bot")
ANNA: dict[str, Any] = {
    "id": 7,
    "is_bot": False,
    "first_name": "Anna",
    "last_name": "Bell",
    "username": "anna",
    "language_code": "de",
}
PRIVATE: dict[str, Any] = {"id": 7, "type": "private", "first_name": "Anna", "username": "anna"}
GROUP: dict[str, Any] = {"id": -100200, "type": "supergroup", "title": "Team"}
OURS: dict[str, Any] = {"message_id": 3, "from": {"id": 100, "is_bot": True}, "text": "hi"}


def message(chat: dict[str, Any] = PRIVATE, **fields: Any) -> dict[str, Any]:
    return {"message_id": 11, "date": 1_790_000_000, "chat": chat, "from": ANNA, **fields}


def decoded(chat: dict[str, Any] = PRIVATE, **fields: Any) -> Decoded:
    return decode({"update_id": 1, "message": message(chat, **fields)}, BOT)


def incoming(chat: dict[str, Any] = PRIVATE, **fields: Any) -> IncomingMessage:
    event = decoded(chat, **fields)
    assert isinstance(event, IncomingMessage)
    return event


def mention(text: str, of: str = "@our_bot", kind: str = "mention", **more: Any) -> dict[str, Any]:
    start = len(text[: text.index(of)].encode("utf-16-le")) // 2
    return {"type": kind, "offset": start, "length": len(of), **more}


# --- messages -------------------------------------------------------------------------------------


def test_a_private_message_is_incoming_with_its_person_and_place() -> None:
    assert decoded(text="hello") == IncomingMessage(
        address=Address(bot=100, chat=7, topic=None, private=True),
        person=User(id=7, name="Anna Bell", username="anna", language="de"),
        message=11,
        sent_at=1_790_000_000,
        text="hello",
    )


def test_a_person_without_names_is_called_by_the_id() -> None:
    event = decode(
        {"message": {**message(text="x"), "from": {"id": 9, "is_bot": False, "first_name": ""}}},
        BOT,
    )
    assert isinstance(event, IncomingMessage)
    assert event.person == User(id=9, name="9")


def test_only_a_message_in_a_topic_has_a_topic() -> None:
    in_topic = incoming(GROUP, text="x", message_thread_id=5, is_topic_message=True)
    in_reply = incoming(GROUP, text="x", message_thread_id=5)
    assert (in_topic.address.topic, in_reply.address.topic) == (5, None)
    assert in_topic.address.conversation == "-100200:5"


@pytest.mark.parametrize(
    ("fields", "noun"),
    [
        ({"photo": [{}], "caption": "look"}, "a photo"),
        ({"voice": {}}, "a voice message"),
        ({"video": {}}, "a video"),
        ({"document": {}}, "a file"),
        ({"animation": {}, "document": {}}, "an animation"),
        ({"sticker": {}}, "a sticker"),
        ({"venue": {}, "location": {}}, "a venue"),
        ({"location": {}}, "a location"),
        ({"contact": {}}, "a contact"),
        ({"poll": {}}, "a poll"),
        ({"dice": {}}, "a dice throw"),
    ],
)
def test_a_kind_that_we_do_not_take_is_named_and_keeps_its_caption(
    fields: dict[str, Any], noun: str
) -> None:
    event = incoming(**fields)
    assert event.unsupported == noun
    assert event.text == fields.get("caption", "")


# --- commands and signals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/new", Command("new")),
        ("/New", Command("new")),
        ("/agent  edit x\nline two ", Command("agent", "edit x\nline two")),
        ("/agent@OUR_BOT edit", Command("agent", "edit", named=True)),
        ("@our_bot /new", Command("new", named=True)),
        ("/usr/bin/env is missing", None),
        ("/agent@other_bot edit", Command("agent", "edit", other="other_bot")),
        ("see /new", None),
        ("/", None),
    ],
)
def test_a_command_is_what_begins_with_a_slash_and_is_ours(
    text: str, command: Command | None
) -> None:
    entities = [mention(text)] if text.startswith("@") else []
    assert incoming(text=text, entities=entities).command == command


@pytest.mark.parametrize(
    ("first", "person"),
    [
        ({"from": {"id": 7, "is_bot": False}}, 7),
        ({"from": {"id": 7, "is_bot": True}}, None),
        ({"from": {"id": 7}}, None),
        ({"from": {"id": "7", "is_bot": False}}, None),
        ({"from": {"id": 7, "is_bot": False}, "sender_chat": {"id": -1}}, None),
        ({"from": {"id": 1087968824, "is_bot": True}, "sender_chat": {"id": -1}}, None),
        ({}, None),
    ],
)
def test_the_author_of_a_message_that_a_command_replies_to_is_a_person_or_nobody(
    first: dict[str, Any], person: int | None
) -> None:
    event = incoming(text="/roles grant instance_manager", reply_to_message=first)
    assert event.quoted is not None
    assert event.quoted.person == person


def test_only_addagent_may_be_a_caption_and_only_of_a_file_that_is_not_forwarded() -> None:
    file = {"file_id": "x", "file_name": "jack.json", "file_size": 5}
    event = incoming(document=file, caption="/addagent replace")
    assert event.command == Command("addagent", "replace")
    assert event.quoted == QuotedMessage(file=Attachment("x", "jack.json", 5))
    assert incoming(document=file, caption="/delete all").command is None
    assert incoming(photo=[{}], caption="/addagent").command is None
    assert incoming(document=file, animation=file, caption="/addagent").command is None
    assert incoming(document=file, caption="/addagent", forward_origin={}).command is None


@pytest.mark.parametrize("mark", ["forward_origin", "forward_date"])
def test_forwarded_text_is_never_a_command_a_signal_or_a_mention(mark: str) -> None:
    assert incoming(text="/delete all", **{mark: {}}).command is None
    assert isinstance(decoded(text="/stop", **{mark: {}}), IncomingMessage)
    text = "@our_bot hello"
    event = incoming(GROUP, text=text, entities=[mention(text)], **{mark: {}})
    assert (event.text, event.addressed) == ("", False)
    assert event.excerpts == (Excerpt("forward", "", text),)


@pytest.mark.parametrize("text", ["/stop", "/stop@our_bot", "/STOP now"])
def test_stop_is_a_signal(text: str) -> None:
    event = decoded(GROUP, text=text)
    assert isinstance(event, Signal)
    assert (event.kind, event.address.chat, event.draft) == ("stop", -100200, None)
    assert event.person is not None
    assert event.person.id == 7


def test_stop_for_another_bot_is_no_signal() -> None:
    event = incoming(GROUP, text="/stop@other_bot")
    assert not event.addressed
    assert event.command is None
    assert incoming(text="/stop@other_bot").command == Command("stop", other="other_bot")


def test_the_stop_button_under_a_draft_is_a_signal_with_the_drafts_id() -> None:
    stopped = {"chat": PRIVATE, "draft_id": 55, "message_thread_id": 4}
    event = decode({"update_id": 1, "stopped_message_generation": stopped}, BOT)
    person = User(id=7, name="Anna", username="anna")
    assert event == Signal(Address(100, 7, 4, private=True), "stop", person, draft=55)


# --- groups ---------------------------------------------------------------------------------------


def test_a_group_message_for_nobody_is_not_addressed() -> None:
    assert not incoming(GROUP, text="lunch?").addressed


@pytest.mark.parametrize("text", ["@our_bot hi", "😀😀 hey @OUR_BOT", "é @our_bot"])
def test_a_mention_of_our_name_addresses_us(text: str) -> None:
    name = "@OUR_BOT" if "@OUR_BOT" in text else "@our_bot"
    assert incoming(GROUP, text=text, entities=[mention(text, name)]).addressed


def test_a_mention_that_is_no_entity_does_not_address_us() -> None:
    assert not incoming(GROUP, text="`@our_bot` is its name").addressed


def test_a_mention_of_a_longer_name_does_not_address_us() -> None:
    text = "@our_bot2 hi"
    assert not incoming(GROUP, text=text, entities=[mention(text, "@our_bot2")]).addressed


def test_a_mention_in_a_caption_addresses_us() -> None:
    text = "what is this, @our_bot?"
    event = incoming(GROUP, photo=[{}], caption=text, caption_entities=[mention(text)])
    assert event.addressed


def test_a_text_mention_addresses_only_its_own_user() -> None:
    text = "Helper, hi"
    for user, addressed in ((100, True), (101, False)):
        entity = mention(text, "Helper", "text_mention", user={"id": user})
        assert incoming(GROUP, text=text, entities=[entity]).addressed is addressed


def test_a_reply_to_us_addresses_us_and_a_reply_to_others_does_not() -> None:
    theirs = {**OURS, "from": {"id": 8, "is_bot": False}}
    assert incoming(GROUP, text="yes", reply_to_message=OURS).addressed
    assert not incoming(GROUP, text="yes", reply_to_message=theirs).addressed


def test_a_topic_that_we_opened_does_not_make_every_message_in_it_a_reply() -> None:
    first = {**OURS, "forum_topic_created": {"name": "Builds"}}
    event = incoming(
        GROUP, text="hm", reply_to_message=first, message_thread_id=3, is_topic_message=True
    )
    assert not event.addressed


@pytest.mark.parametrize(
    ("text", "addressed"),
    [("/new", True), ("/new@our_bot", True), ("/new@other_bot", False)],
)
def test_a_command_addresses_us_unless_it_names_another_bot(text: str, addressed: bool) -> None:
    assert incoming(GROUP, text=text).addressed is addressed


def test_a_command_for_another_bot_is_not_ours_even_as_a_reply_to_us() -> None:
    assert not incoming(GROUP, text="/new@other_bot", reply_to_message=OURS).addressed


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("@our_bot, what now?", "what now?"),
        ("@our_bot: 😀", "😀"),
        ("ask @our_bot now", "ask @our_bot now"),
        ("@our_bot", "@our_bot"),
    ],
)
def test_only_a_leading_mention_is_taken_off(text: str, left: str) -> None:
    assert incoming(GROUP, text=text, entities=[mention(text)]).text == left


# --- presses --------------------------------------------------------------------------------------


def press(**fields: Any) -> dict[str, Any]:
    keyboard = {"inline_keyboard": [[{"text": "A", "callback_data": "a:x"}]]}
    shown = {**OURS, "chat": GROUP, "reply_markup": keyboard}
    query = {"id": "42", "from": ANNA, "data": "a:x", "message": shown}
    return {"update_id": 1, "callback_query": {**query, **fields}}


def test_a_press_carries_its_data_and_the_message_it_stood_under() -> None:
    assert decode(press(), BOT) == CallbackPress(
        address=Address(100, -100200, None, private=False),
        person=User(7, "Anna Bell", "anna", "de"),
        query="42",
        data="a:x",
        message=3,
    )


@pytest.mark.parametrize("markup", [None, {}, {"inline_keyboard": [[{"text": "B"}], 7]}, "x"])
def test_a_press_is_tied_to_no_message_that_has_no_such_button(markup: Any) -> None:
    event = decode(press(message={**OURS, "chat": GROUP, "reply_markup": markup}), BOT)
    assert isinstance(event, CallbackPress)
    assert (event.data, event.message) == ("a:x", None)


def test_a_press_under_a_message_too_old_to_be_shown_still_counts() -> None:
    old = {"chat": PRIVATE, "message_id": 3, "date": 0}
    event = decode(press(message=old), BOT)
    assert isinstance(event, CallbackPress)
    assert event.address.private


def test_presses_that_are_not_under_a_message_of_a_chat_are_left_alone() -> None:
    inline, game = press(), press()
    del inline["callback_query"]["message"]
    del game["callback_query"]["data"]
    in_channel = press(message={**OURS, "chat": {"id": -5, "type": "channel"}})
    rules = [decode(update, BOT) for update in (inline, game, in_channel)]
    assert rules == [Ignored("inline"), Ignored("other"), Ignored("channel")]


# --- left alone -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"from": {"id": 5, "is_bot": True}}, "bot"),
        ({"from": {"id": 136817688, "is_bot": True}, "sender_chat": {"id": -9}}, "anonymous"),
        ({"from": {"id": 777000, "is_bot": False}, "sender_chat": {"id": -9}}, "anonymous"),
        ({"business_connection_id": "b"}, "business"),
        ({"chat": {"id": -5, "type": "channel"}}, "channel"),
    ],
)
def test_what_no_person_wrote_to_us_is_left_alone(fields: dict[str, Any], rule: str) -> None:
    assert decode({"message": {**message(GROUP, text="/delete all"), **fields}}, BOT) == Ignored(
        rule
    )


def test_of_an_anonymous_admin_only_a_command_comes_through_under_nobodys_id() -> None:
    sender = {"from": {"id": 1087968824, "is_bot": True, "first_name": "Group"}}
    sent = {**sender, "sender_chat": GROUP}
    command = decode({"message": {**message(GROUP, text="/bind poet"), **sent}}, BOT)
    assert isinstance(command, IncomingMessage)
    assert command.person.id == 1087968824
    talk = decode({"message": {**message(GROUP, text="hello"), **sent}}, BOT)
    assert talk == Ignored("anonymous")


@pytest.mark.parametrize(
    "fields",
    [
        {"new_chat_members": [{}]},
        {"pinned_message": {}},
        {"forum_topic_created": {}},
        {"a_kind_of_next_year": {}},
    ],
)
def test_a_service_message_is_left_alone(fields: dict[str, Any]) -> None:
    assert decoded(GROUP, **fields) == Ignored("service")


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("edited_message", "edited"),
        ("channel_post", "channel"),
        ("edited_channel_post", "channel"),
        ("message_reaction", "reaction"),
        ("inline_query", "inline"),
        ("business_message", "business"),
        ("next_years_kind", "other"),
    ],
)
def test_kinds_that_ask_for_nothing_are_left_alone(kind: str, rule: str) -> None:
    assert decode({"update_id": 1, kind: message(text="/delete all")}, BOT) == Ignored(rule)


# --- where the bot is ----------------------------------------------------------------------------


def moved_from(old: Any, new: Any, chat: dict[str, Any] = GROUP) -> Decoded:
    """What we read of a change of our own membership."""
    members = {"old_chat_member": old, "new_chat_member": new}
    return decode({"my_chat_member": {"chat": chat, "from": ANNA, "date": 1, **members}}, BOT)


def member(status: str, **more: Any) -> dict[str, Any]:
    return {"user": {"id": BOT.id, "is_bot": True}, "status": status, **more}


@pytest.mark.parametrize(
    ("old", "new", "inside"),
    [
        (member("left"), member("member"), True),
        (member("kicked"), member("administrator"), True),
        (member("left"), member("restricted", is_member=True), True),
        (member("member"), member("kicked"), False),
        (member("administrator"), member("left"), False),
        (member("restricted", is_member=True), member("restricted", is_member=False), False),
    ],
)
def test_that_we_came_into_a_group_or_left_it_is_read_with_who_did_it(
    old: Any, new: Any, inside: bool
) -> None:
    place = Address(BOT.id, -100200, private=False)
    anna = User(7, "Anna Bell", "anna", "de")
    assert moved_from(old, new) == Membership(place, anna, inside, "Team")


def test_a_block_in_a_private_chat_is_read() -> None:
    event = moved_from(member("member"), member("kicked"), PRIVATE)
    assert isinstance(event, Membership)
    assert (event.address, event.inside) == (Address(BOT.id, 7), False)


@pytest.mark.parametrize(
    ("old", "new", "chat", "rule"),
    [
        (member("member"), member("administrator"), GROUP, "membership"),
        (member("left"), member("kicked"), GROUP, "membership"),
        (member("left"), member("administrator"), {"id": -1, "type": "channel"}, "channel"),
        (member("left"), {"status": 5}, GROUP, "malformed"),
        (None, member("member"), GROUP, "malformed"),
        (member("left"), member("member"), {"id": "-1", "type": "group"}, "malformed"),
    ],
)
def test_changes_that_leave_us_where_we_were_and_odd_ones_are_left_alone(
    old: Any, new: Any, chat: dict[str, Any], rule: str
) -> None:
    assert moved_from(old, new, chat) == Ignored(rule)


def test_we_ask_for_the_kinds_that_we_read() -> None:
    asked = (
        "message",
        "edited_message",
        "callback_query",
        "stopped_message_generation",
        "my_chat_member",
    )
    assert (*asked, "managed_bot") == ALLOWED_UPDATES
    assert orjson.loads(orjson.dumps(ALLOWED_UPDATES)) == list(ALLOWED_UPDATES)


# --- odd input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "update",
    [
        None,
        [],
        "message",
        {"message": None},
        {"message": {}},
        {"message": {"chat": {"id": "7", "type": "private"}, "from": ANNA, "text": "x"}},
        {"message": message(text="x") | {"date": True}},
        {"message": message(photo=[{}], caption=5)},
        {"callback_query": {"id": 1, "message": {}, "data": "x", "from": ANNA}},
        {"stopped_message_generation": {"chat": PRIVATE}},
    ],
)
def test_what_telegram_never_sends_is_malformed(update: Any) -> None:
    assert decode(update, BOT) == Ignored("malformed")


@pytest.mark.parametrize(
    "entity",
    [
        None,
        {},
        {"type": "mention", "offset": -1, "length": 3},
        {"type": "mention", "offset": 0, "length": 10**9},
        {"type": "mention", "offset": 10**30, "length": 10**30},
        {"type": "text_mention", "offset": 0, "length": 1, "user": "us"},
        {"type": "mention", "offset": 1, "length": 1},
    ],
)
def test_an_odd_entity_does_not_cost_the_message(entity: Any) -> None:
    assert incoming(GROUP, text="😀@our_bot", entities=[entity]).text == "😀@our_bot"


KEYS = [
    "message",
    "callback_query",
    "stopped_message_generation",
    "chat",
    "from",
    "id",
    "type",
    "text",
    "caption",
    "entities",
    "caption_entities",
    "offset",
    "length",
    "user",
    "date",
    "message_id",
    "message_thread_id",
    "is_topic_message",
    "reply_to_message",
    "forward_origin",
    "sender_chat",
    "data",
    "draft_id",
    "photo",
]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["private", "supergroup", "channel", "mention", "@our_bot", "/stop", "\ud83d"]
    )
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_json_is_decoded_without_an_error(update: Any) -> None:
    assert isinstance(decode(update, BOT), get_args(Decoded))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4), st.booleans())
def test_a_message_with_any_odd_field_is_decoded_without_an_error(
    fields: dict[str, Any], group: bool
) -> None:
    update = {"message": {**message(GROUP if group else PRIVATE, text="@our_bot hi"), **fields}}
    event = decode(update, BOT)
    assert isinstance(event, get_args(Decoded))
    if isinstance(event, IncomingMessage):
        assert 1970 <= datetime.fromtimestamp(event.sent_at, UTC).year <= 2106
        numbers = (
            event.message,
            event.person.telegram_id,
            event.address.chat,
            event.address.topic or 0,
        )
        assert max(map(abs, numbers)) < 2**53


@pytest.mark.parametrize(
    ("date", "year"), [(10**18, 2106), (-(10**18), 1970), (1e30, 2106), (-1e300, 1970), (0, 1970)]
)
def test_an_absurd_date_is_moved_into_the_calendar(date: float, year: int) -> None:
    assert datetime.fromtimestamp(incoming(text="x", date=date).sent_at, UTC).year == year
