"""The fields of an update's objects, each checked for what the Bot API promises."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.messages import (
    ANONYMOUS_ADMIN,
    Address,
    Attachment,
    CallbackPress,
    ChatMigration,
    Command,
    Decoded,
    Ignored,
    IncomingMessage,
    Membership,
    QuotedMessage,
    Signal,
    User,
)

_ID_BITS: Final = 53
"""Ids have 52 bits at most, the Bot API says; what has more would be rounded by other programs."""
_LAST_MOMENT: Final = 2**32 - 1
"""The end of Unix time in 32 bits, in the year 2106: any calendar can show it."""


class MalformedUpdate(ValueError):
    """The update is not what the Bot API promises."""


def object_of(source: dict[str, Any], key: str) -> dict[str, Any]:
    """A field that is an object; raises OddError."""
    value = source.get(key)
    if not isinstance(value, dict):
        raise MalformedUpdate(key)
    return value


def int_of(source: dict[str, Any], key: str) -> int:
    """A field that is a whole number; raises OddError."""
    value = source.get(key)
    if type(value) is not int:
        raise MalformedUpdate(key)
    return value


def id_of(source: dict[str, Any], key: str) -> int:
    """A field that can be the id of something; raises OddError."""
    value = int_of(source, key)
    if value.bit_length() > _ID_BITS:
        raise MalformedUpdate(key)
    return value


def moment_of(source: dict[str, Any], key: str) -> int:
    """A field that is a moment, in seconds since 1970; an absurd one is moved into 1970 to 2106.

    Raises OddError.
    """
    value: Any = source.get(key)
    if type(value) not in (int, float) or value != value:  # no number is no time
        raise MalformedUpdate(key)
    return int(min(max(value, 0), _LAST_MOMENT))


def str_of(source: dict[str, Any], key: str) -> str:
    """A field that is a string; raises OddError."""
    value = source.get(key)
    if not isinstance(value, str):
        raise MalformedUpdate(key)
    return value


_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]{1,64}))?(?=\s|$)")
_AFTER_MENTION: Final = " \t\n,:"


@dataclass(frozen=True, slots=True)
class BotUser:
    """Which bot reads: its numeric id and its @username without the @."""

    id: int
    username: str


@dataclass(frozen=True, slots=True)
class ParsedText:
    """What was written: the text without a leading mention of us, and whom it speaks to."""

    text: str
    mentioned: bool
    command: Command | None = None
    foreign: bool = False


def parse_text(message: dict[str, Any], bot: BotUser, *, commands: bool) -> ParsedText:
    """A message's text or caption, read as a command only where those are wanted."""
    text, entities = _text(message)
    if "forward_origin" in message or "forward_date" in message:
        return ParsedText(text, mentioned=False)
    mentions = list(_mentions(text, entities, bot))
    text = _without_leading(text, mentions)
    match = _COMMAND.match(text) if commands else None
    if match is None:
        return ParsedText(text, bool(mentions))
    name, named = match.groups()
    if named is not None and named.casefold() != bot.username.casefold():
        return ParsedText(text, bool(mentions), foreign=True)
    command = Command(name.lower(), text[match.end() :].strip(), bool(named or mentions))
    return ParsedText(text, bool(mentions), command)


def _text(message: dict[str, Any]) -> tuple[str, list[Any]]:
    prefix = "" if isinstance(message.get("text"), str) else "caption_"
    text = message.get("caption" if prefix else "text", "")
    entities = message.get(f"{prefix}entities", [])
    if not isinstance(text, str):
        raise MalformedUpdate
    return text, entities if isinstance(entities, list) else []


def _mentions(text: str, entities: list[Any], bot: BotUser) -> Iterator[tuple[int, int]]:
    """Start and end of each mention of us, as UTF-16 offsets."""
    units = text.encode("utf-16-le", "surrogatepass") if entities else b""
    for entity in entities:
        if not isinstance(entity, dict):
            continue
        start, length, kind = entity.get("offset"), entity.get("length"), entity.get("type")
        if type(start) is not int or type(length) is not int or start < 0 or length <= 0:
            continue
        ours = False
        if kind == "mention" and length == len(bot.username) + 1:
            said = units[2 * start : 2 * (start + length)].decode("utf-16-le", "replace")
            ours = said.casefold() == f"@{bot.username}".casefold()
        user = entity.get("user")
        meant = kind == "text_mention" and isinstance(user, dict) and user.get("id") == bot.id
        if ours or meant:
            yield start, start + length


def _without_leading(text: str, mentions: list[tuple[int, int]]) -> str:
    end = next((end for start, end in mentions if start == 0), 0)
    units = text.encode("utf-16-le", "surrogatepass") if end else b""
    rest = units[2 * end :].decode("utf-16-le", "surrogatepass").lstrip(_AFTER_MENTION)
    return rest or text


def addressed(message: dict[str, Any], words: ParsedText, bot: BotUser) -> bool:
    """Whether a message of a group speaks to this bot."""
    if words.foreign:
        return False
    return words.mentioned or words.command is not None or _replies_to(message, bot)


def _replies_to(message: dict[str, Any], bot: BotUser) -> bool:
    """Whether the message answers one of ours; every message of a topic "answers" its first."""
    first = message.get("reply_to_message")
    if not isinstance(first, dict) or "forum_topic_created" in first:
        return False
    sender = first.get("from")
    return isinstance(sender, dict) and sender.get("id") == bot.id


def replied_to(message: Mapping[str, Any]) -> QuotedMessage | None:
    """The text and the file of the message replied to; what is odd in it counts as absent."""
    first = message.get("reply_to_message")
    if not isinstance(first, dict):
        return None
    text = first.get("text", first.get("caption"))
    return QuotedMessage(text if isinstance(text, str) else "", _file(first.get("document")))


def _file(document: Any) -> Attachment | None:
    if not isinstance(document, dict) or not isinstance(document.get("file_id"), str):
        return None
    name, size = document.get("file_name"), document.get("file_size")
    return Attachment(
        document["file_id"],
        name if isinstance(name, str) else "",
        size if type(size) is int else 0,
    )


ALLOWED_UPDATES: Final = (
    "message",
    "callback_query",
    "stopped_message_generation",
    "my_chat_member",
)
"""The kinds of updates to ask for; Telegram keeps the choice until the next one."""

_LEFT_ALONE: Final = {
    "edited_message": "edited",
    "channel_post": "channel",
    "edited_channel_post": "channel",
    "business_connection": "business",
    "business_message": "business",
    "edited_business_message": "business",
    "deleted_business_messages": "business",
    "message_reaction": "reaction",
    "message_reaction_count": "reaction",
    "chat_member": "membership",
    "chat_join_request": "membership",
    "inline_query": "inline",
    "chosen_inline_result": "inline",
    "nested": "nested",
}

# In this order: an animation is also sent as a document, a venue also as a location.
_UNSUPPORTED: Final = {
    "animation": "an animation",
    "audio": "an audio file",
    "live_photo": "a live photo",
    "photo": "a photo",
    "video": "a video",
    "video_note": "a video message",
    "voice": "a voice message",
    "sticker": "a sticker",
    "document": "a file",
    "contact": "a contact",
    "venue": "a venue",
    "location": "a location",
    "poll": "a poll",
    "dice": "a dice throw",
    "game": "a game",
    "story": "a story",
    "checklist": "a checklist",
    "paid_media": "paid media",
    "rich_message": "a rich message",
    "invoice": "an invoice",
    "giveaway": "a giveaway",
}


def decode(update: Any, bot: BotUser) -> Decoded:
    """The event that an update of this bot means, or `Ignored` with the rule that leaves it.

    A command's name is in lower case. A message with nothing but our mention keeps it as text.
    A `Signal` of the Stop button under a draft carries the draft's id as `draft`; a typed
    `/stop` carries none.
    """
    try:
        return _decode(update, bot)
    except MalformedUpdate:
        return Ignored("malformed")


def _decode(update: Any, bot: BotUser) -> Decoded:
    if not isinstance(update, dict):
        raise MalformedUpdate
    if "message" in update:
        return _message(object_of(update, "message"), bot)
    if "callback_query" in update:
        return _press(object_of(update, "callback_query"), bot)
    if "stopped_message_generation" in update:
        return _stopped(object_of(update, "stopped_message_generation"), bot)
    if "my_chat_member" in update:
        return _membership(object_of(update, "my_chat_member"), bot)
    return Ignored(next((_LEFT_ALONE[kind] for kind in _LEFT_ALONE if kind in update), "other"))


def _message(message: dict[str, Any], bot: BotUser) -> Decoded:
    chat, unsupported = object_of(message, "chat"), _unsupported(message)
    if moved := _moved(message, chat, bot):
        return moved
    rule = _rule(message, chat)
    if rule is None and unsupported is None and not isinstance(message.get("text"), str):
        rule = "service"
    words = parse_text(message, bot, commands=unsupported is None)
    if rule == "anonymous" and words.command is not None and _anonymous_admin(message, chat):
        rule = None
    if rule is not None:
        return Ignored(rule)
    address = _address(chat, message, bot)
    person = _person(object_of(message, "from"))
    number, sent_at = id_of(message, "message_id"), moment_of(message, "date")
    if words.command is not None and words.command.name == "stop":
        return Signal(address, "stop", person)
    return IncomingMessage(
        address=address,
        person=person,
        message=number,
        sent_at=sent_at,
        text=words.text,
        command=words.command,
        unsupported=unsupported,
        addressed=address.private or addressed(message, words, bot),
        quoted=replied_to(message) if words.command is not None else None,
        title=_title(chat),
    )


def _rule(message: dict[str, Any], chat: dict[str, Any]) -> str | None:
    """The rule that leaves a message alone for what its sender or its chat is."""
    if chat.get("type") == "channel":
        return "channel"
    if "sender_chat" in message:
        return "anonymous"
    if "business_connection_id" in message:
        return "business"
    if object_of(message, "from").get("is_bot") is True:
        return "bot"
    return "via" if "via_bot" in message else None


def _anonymous_admin(message: dict[str, Any], chat: dict[str, Any]) -> bool:
    """Whether an admin of this very group wrote in its name."""
    return object_of(message, "from").get("id") == ANONYMOUS_ADMIN and object_of(
        message, "sender_chat"
    ).get("id") == chat.get("id")


def _unsupported(message: dict[str, Any]) -> str | None:
    if isinstance(message.get("text"), str):
        return None
    return next((noun for kind, noun in _UNSUPPORTED.items() if kind in message), None)


def _press(query: dict[str, Any], bot: BotUser) -> Decoded:
    if "message" not in query:
        return Ignored("inline")
    if "data" not in query:
        return Ignored("other")
    message, person = object_of(query, "message"), object_of(query, "from")
    chat = object_of(message, "chat")
    if chat.get("type") == "channel":
        return Ignored("channel")
    if person.get("is_bot") is True:
        return Ignored("bot")
    return CallbackPress(
        address=_address(chat, message, bot),
        person=_person(person),
        query=str_of(query, "id"),
        data=str_of(query, "data"),
        message=id_of(message, "message_id") if _has_button(message, query["data"]) else None,
    )


def _membership(change: dict[str, Any], bot: BotUser) -> Decoded:
    chat = object_of(change, "chat")
    if chat.get("type") == "channel":
        return Ignored("channel")
    before, now = (_inside(object_of(change, f"{age}_chat_member")) for age in ("old", "new"))
    if before == now:
        return Ignored("membership")
    private = str_of(chat, "type") == "private"
    address = Address(bot.id, id_of(chat, "id"), private=private)
    return Membership(address, _person(object_of(change, "from")), now, _title(chat))


def _inside(member: dict[str, Any]) -> bool:
    """Whether somebody with this standing is in the chat."""
    status = str_of(member, "status")
    if status == "restricted":
        return member.get("is_member") is True
    return status in ("creator", "administrator", "member")


def _title(chat: dict[str, Any]) -> str:
    title = chat.get("title")
    return title if isinstance(title, str) else ""


def _moved(message: dict[str, Any], chat: dict[str, Any], bot: BotUser) -> ChatMigration | None:
    """A group's word that it is a supergroup from now on: the old one and the new one say it."""
    here = id_of(chat, "id")
    if "migrate_to_chat_id" in message:
        return ChatMigration(
            Address(bot.id, here, private=False), id_of(message, "migrate_to_chat_id")
        )
    if "migrate_from_chat_id" in message:
        return ChatMigration(
            Address(bot.id, id_of(message, "migrate_from_chat_id"), private=False), here
        )
    return None


def _has_button(message: dict[str, Any], data: Any) -> bool:
    """Whether a message has a button that says this: clients can send any data for any message."""
    markup = message.get("reply_markup")
    rows = markup.get("inline_keyboard") if isinstance(markup, dict) else None
    buttons = [one for row in rows or () if isinstance(row, list) for one in row]
    return any(isinstance(one, dict) and one.get("callback_data") == data for one in buttons)


def _stopped(stopped: dict[str, Any], bot: BotUser) -> Decoded:
    chat = object_of(stopped, "chat")
    topic = id_of(stopped, "message_thread_id") if "message_thread_id" in stopped else None
    private = str_of(chat, "type") == "private"
    return Signal(
        address=Address(bot.id, id_of(chat, "id"), topic, private),
        kind="stop",
        # A private chat has its person's id and names.
        person=_person(chat) if private else None,
        draft=id_of(stopped, "draft_id"),
    )


def _address(chat: dict[str, Any], message: dict[str, Any], bot: BotUser) -> Address:
    # Replies in plain groups carry a thread id as well; only a topic's is a place.
    topic = id_of(message, "message_thread_id") if message.get("is_topic_message") is True else None
    return Address(bot.id, id_of(chat, "id"), topic, str_of(chat, "type") == "private")


def _person(user: dict[str, Any]) -> User:
    number = id_of(user, "id")
    names = (user.get("first_name"), user.get("last_name"))
    name = " ".join(part for part in names if isinstance(part, str) and part)
    username, language = user.get("username"), user.get("language_code")
    return User(
        id=number,
        name=name or str(number),
        username=username if isinstance(username, str) else None,
        language=language if isinstance(language, str) else None,
    )
