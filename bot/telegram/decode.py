"""An update's JSON as one of the frozen events of the house; pure, and never raises.

The rules, each counted under its name where an update is left alone:

- `edited`: an edit never asks again. `channel`: posts of channels, and presses under them.
- `anonymous`: sent in the name of a chat (anonymous admins, linked channels): no person, no rights.
  A command of a group's anonymous admin comes through all the same, under an id that nobody can
  be given rights by: so it is refused with a word where it needs some.
- `bot`: written by a bot. `via`: another bot's content, sent through a person.
- `service`: joins, pins, new titles and all else that says nothing to us. `business`: written to
  a person's own account. `reaction`, `membership`, `inline`, `other`: kinds not asked for.
- `malformed`: not what the Bot API promises.

Forwarded text is never a command and never a mention: it is not what the person says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bot.events import (
    ANONYMOUS_ADMIN,
    Address,
    Command,
    Decoded,
    Ignored,
    Incoming,
    Person,
    Press,
    Signal,
)
from bot.telegram.quoting import quoted

ALLOWED_UPDATES: Final = ("message", "callback_query", "stopped_message_generation")
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
    "my_chat_member": "membership",
    "chat_member": "membership",
    "chat_join_request": "membership",
    "inline_query": "inline",
    "chosen_inline_result": "inline",
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

_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]{1,64}))?(?=\s|$)")
_AFTER_MENTION: Final = " \t\n,:"


@dataclass(frozen=True, slots=True)
class BotIdentity:
    """Which bot reads: its numeric id and its @username without the @."""

    id: int
    username: str


class _OddError(ValueError):
    """The update is not what the Bot API promises."""


@dataclass(frozen=True, slots=True)
class _Words:
    """What was written: the text without a leading mention of us, and whom it speaks to."""

    text: str
    mentioned: bool
    command: Command | None = None
    foreign: bool = False


def decode(update: Any, bot: BotIdentity) -> Decoded:
    """The event that an update of this bot means, or `Ignored` with the rule that leaves it.

    A command's name is in lower case. A message with nothing but our mention keeps it as text.
    A `Signal` of the Stop button under a draft carries the draft's id as `draft`; a typed
    `/stop` carries none.
    """
    try:
        return _decode(update, bot)
    except _OddError:
        return Ignored("malformed")


def _decode(update: Any, bot: BotIdentity) -> Decoded:
    if not isinstance(update, dict):
        raise _OddError
    if "message" in update:
        return _message(_object(update, "message"), bot)
    if "callback_query" in update:
        return _press(_object(update, "callback_query"), bot)
    if "stopped_message_generation" in update:
        return _stopped(_object(update, "stopped_message_generation"), bot)
    return Ignored(next((_LEFT_ALONE[kind] for kind in _LEFT_ALONE if kind in update), "other"))


def _message(message: dict[str, Any], bot: BotIdentity) -> Decoded:
    chat, unsupported = _object(message, "chat"), _unsupported(message)
    rule = _rule(message, chat)
    if rule is None and unsupported is None and not isinstance(message.get("text"), str):
        rule = "service"
    words = _words(message, bot, commands=unsupported is None)
    if rule == "anonymous" and words.command is not None and _anonymous_admin(message, chat):
        rule = None
    if rule is not None:
        return Ignored(rule)
    address = _address(chat, message, bot)
    person = _person(_object(message, "from"))
    number, sent_at = _int(message, "message_id"), _int(message, "date")
    if words.command is not None and words.command.name == "stop":
        return Signal(address, "stop", person)
    return Incoming(
        address=address,
        person=person,
        message=number,
        sent_at=sent_at,
        text=words.text,
        command=words.command,
        unsupported=unsupported,
        addressed=address.private or _addressed(message, words, bot),
        quoted=quoted(message) if words.command is not None else None,
    )


def _rule(message: dict[str, Any], chat: dict[str, Any]) -> str | None:
    """The rule that leaves a message alone for what its sender or its chat is."""
    if chat.get("type") == "channel":
        return "channel"
    if "sender_chat" in message:
        return "anonymous"
    if "business_connection_id" in message:
        return "business"
    if _object(message, "from").get("is_bot") is True:
        return "bot"
    return "via" if "via_bot" in message else None


def _anonymous_admin(message: dict[str, Any], chat: dict[str, Any]) -> bool:
    """Whether an admin of this very group wrote in its name."""
    return _object(message, "from").get("id") == ANONYMOUS_ADMIN and _object(
        message, "sender_chat"
    ).get("id") == chat.get("id")


def _unsupported(message: dict[str, Any]) -> str | None:
    if isinstance(message.get("text"), str):
        return None
    return next((noun for kind, noun in _UNSUPPORTED.items() if kind in message), None)


def _words(message: dict[str, Any], bot: BotIdentity, *, commands: bool) -> _Words:
    text, entities = _text(message)
    if "forward_origin" in message or "forward_date" in message:
        return _Words(text, mentioned=False)
    mentions = list(_mentions(text, entities, bot))
    text = _without_leading(text, mentions)
    match = _COMMAND.match(text) if commands else None
    if match is None:
        return _Words(text, bool(mentions))
    name, named = match.groups()
    if named is not None and named.casefold() != bot.username.casefold():
        return _Words(text, bool(mentions), foreign=True)
    return _Words(text, bool(mentions), Command(name.lower(), text[match.end() :].strip()))


def _text(message: dict[str, Any]) -> tuple[str, list[Any]]:
    prefix = "" if isinstance(message.get("text"), str) else "caption_"
    text = message.get("caption" if prefix else "text", "")
    entities = message.get(f"{prefix}entities", [])
    if not isinstance(text, str):
        raise _OddError
    return text, entities if isinstance(entities, list) else []


def _mentions(text: str, entities: list[Any], bot: BotIdentity) -> Iterator[tuple[int, int]]:
    """Start and end of each mention of us, as UTF-16 offsets."""
    units = text.encode("utf-16-le", "surrogatepass") if entities else b""
    for entity in entities:
        if not isinstance(entity, dict):
            continue
        start, length, kind = entity.get("offset"), entity.get("length"), entity.get("type")
        if type(start) is not int or type(length) is not int or start < 0 or length <= 0:
            continue
        said = units[2 * start : 2 * (start + length)].decode("utf-16-le", "replace")
        ours = kind == "mention" and said.casefold() == f"@{bot.username}".casefold()
        user = entity.get("user")
        meant = kind == "text_mention" and isinstance(user, dict) and user.get("id") == bot.id
        if ours or meant:
            yield start, start + length


def _without_leading(text: str, mentions: list[tuple[int, int]]) -> str:
    end = next((end for start, end in mentions if start == 0), 0)
    units = text.encode("utf-16-le", "surrogatepass") if end else b""
    rest = units[2 * end :].decode("utf-16-le", "surrogatepass").lstrip(_AFTER_MENTION)
    return rest or text


def _addressed(message: dict[str, Any], words: _Words, bot: BotIdentity) -> bool:
    if words.foreign:
        return False
    return words.mentioned or words.command is not None or _replies_to(message, bot)


def _replies_to(message: dict[str, Any], bot: BotIdentity) -> bool:
    """Whether the message answers one of ours; every message of a topic "answers" its first."""
    first = message.get("reply_to_message")
    if not isinstance(first, dict) or "forum_topic_created" in first:
        return False
    sender = first.get("from")
    return isinstance(sender, dict) and sender.get("id") == bot.id


def _press(query: dict[str, Any], bot: BotIdentity) -> Decoded:
    if "message" not in query:
        return Ignored("inline")
    if "data" not in query:
        return Ignored("other")
    message, person = _object(query, "message"), _object(query, "from")
    chat = _object(message, "chat")
    if chat.get("type") == "channel":
        return Ignored("channel")
    if person.get("is_bot") is True:
        return Ignored("bot")
    return Press(
        address=_address(chat, message, bot),
        person=_person(person),
        query=_str(query, "id"),
        data=_str(query, "data"),
        message=_int(message, "message_id"),
    )


def _stopped(stopped: dict[str, Any], bot: BotIdentity) -> Decoded:
    chat = _object(stopped, "chat")
    topic = _int(stopped, "message_thread_id") if "message_thread_id" in stopped else None
    private = _str(chat, "type") == "private"
    return Signal(
        address=Address(bot.id, _int(chat, "id"), topic, private),
        kind="stop",
        # A private chat has its person's id and names.
        person=_person(chat) if private else None,
        draft=_int(stopped, "draft_id"),
    )


def _address(chat: dict[str, Any], message: dict[str, Any], bot: BotIdentity) -> Address:
    # Replies in plain groups carry a thread id as well; only a topic's is a place.
    topic = _int(message, "message_thread_id") if message.get("is_topic_message") is True else None
    return Address(bot.id, _int(chat, "id"), topic, _str(chat, "type") == "private")


def _person(user: dict[str, Any]) -> Person:
    number = _int(user, "id")
    names = (user.get("first_name"), user.get("last_name"))
    name = " ".join(part for part in names if isinstance(part, str) and part)
    username, language = user.get("username"), user.get("language_code")
    return Person(
        id=number,
        name=name or str(number),
        username=username if isinstance(username, str) else None,
        language=language if isinstance(language, str) else None,
    )


def _object(source: dict[str, Any], key: str) -> dict[str, Any]:
    value = source.get(key)
    if not isinstance(value, dict):
        raise _OddError(key)
    return value


def _int(source: dict[str, Any], key: str) -> int:
    value = source.get(key)
    if type(value) is not int:
        raise _OddError(key)
    return value


def _str(source: dict[str, Any], key: str) -> str:
    value = source.get(key)
    if not isinstance(value, str):
        raise _OddError(key)
    return value
