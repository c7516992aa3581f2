"""An update's JSON as one of the frozen events of the house; pure, and never raises.

The rules, each counted under its name where an update is left alone:

- `edited`: an edit never asks again. `channel`: posts of channels, and presses under them.
- `anonymous`: sent in the name of a chat (anonymous admins, linked channels): no person, no rights.
  A command of a group's anonymous admin comes through all the same, under an id that nobody can
  be given rights by: so it is refused with a word where it needs some.
- `bot`: written by a bot. `via`: another bot's content, sent through a person.
- `service`: joins, pins, new titles and all else that says nothing to us. `business`: written to
  a person's own account. `membership`: a change after which the bot is in the chat as before.
  `reaction`, `inline`, `other`: kinds not asked for.
- `malformed`: not what the Bot API promises. `nested`: nested too deep to be read at all.

An absurd date is moved into the time that calendars have; nothing else that is odd is mended.
"""

from __future__ import annotations

from typing import Any, Final

from bot.events import (
    ANONYMOUS_ADMIN,
    Address,
    Decoded,
    Ignored,
    Incoming,
    Membership,
    Moved,
    Person,
    Press,
    Signal,
)
from bot.telegram.addressing import BotIdentity, addressed, words_of
from bot.telegram.fields import OddError, id_of, moment_of, object_of, str_of
from bot.telegram.quoting import quoted

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


def decode(update: Any, bot: BotIdentity) -> Decoded:
    """The event that an update of this bot means, or `Ignored` with the rule that leaves it.

    A command's name is in lower case. A message with nothing but our mention keeps it as text.
    A `Signal` of the Stop button under a draft carries the draft's id as `draft`; a typed
    `/stop` carries none.
    """
    try:
        return _decode(update, bot)
    except OddError:
        return Ignored("malformed")


def _decode(update: Any, bot: BotIdentity) -> Decoded:
    if not isinstance(update, dict):
        raise OddError
    if "message" in update:
        return _message(object_of(update, "message"), bot)
    if "callback_query" in update:
        return _press(object_of(update, "callback_query"), bot)
    if "stopped_message_generation" in update:
        return _stopped(object_of(update, "stopped_message_generation"), bot)
    if "my_chat_member" in update:
        return _membership(object_of(update, "my_chat_member"), bot)
    return Ignored(next((_LEFT_ALONE[kind] for kind in _LEFT_ALONE if kind in update), "other"))


def _message(message: dict[str, Any], bot: BotIdentity) -> Decoded:
    chat, unsupported = object_of(message, "chat"), _unsupported(message)
    if moved := _moved(message, chat, bot):
        return moved
    rule = _rule(message, chat)
    if rule is None and unsupported is None and not isinstance(message.get("text"), str):
        rule = "service"
    words = words_of(message, bot, commands=unsupported is None)
    if rule == "anonymous" and words.command is not None and _anonymous_admin(message, chat):
        rule = None
    if rule is not None:
        return Ignored(rule)
    address = _address(chat, message, bot)
    person = _person(object_of(message, "from"))
    number, sent_at = id_of(message, "message_id"), moment_of(message, "date")
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
        addressed=address.private or addressed(message, words, bot),
        quoted=quoted(message) if words.command is not None else None,
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


def _press(query: dict[str, Any], bot: BotIdentity) -> Decoded:
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
    return Press(
        address=_address(chat, message, bot),
        person=_person(person),
        query=str_of(query, "id"),
        data=str_of(query, "data"),
        message=id_of(message, "message_id") if _has_button(message, query["data"]) else None,
    )


def _membership(change: dict[str, Any], bot: BotIdentity) -> Decoded:
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


def _moved(message: dict[str, Any], chat: dict[str, Any], bot: BotIdentity) -> Moved | None:
    """A group's word that it is a supergroup from now on: the old one and the new one say it."""
    here = id_of(chat, "id")
    if "migrate_to_chat_id" in message:
        return Moved(Address(bot.id, here, private=False), id_of(message, "migrate_to_chat_id"))
    if "migrate_from_chat_id" in message:
        return Moved(Address(bot.id, id_of(message, "migrate_from_chat_id"), private=False), here)
    return None


def _has_button(message: dict[str, Any], data: Any) -> bool:
    """Whether a message has a button that says this: clients can send any data for any message."""
    markup = message.get("reply_markup")
    rows = markup.get("inline_keyboard") if isinstance(markup, dict) else None
    buttons = [one for row in rows or () if isinstance(row, list) for one in row]
    return any(isinstance(one, dict) and one.get("callback_data") == data for one in buttons)


def _stopped(stopped: dict[str, Any], bot: BotIdentity) -> Decoded:
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


def _address(chat: dict[str, Any], message: dict[str, Any], bot: BotIdentity) -> Address:
    # Replies in plain groups carry a thread id as well; only a topic's is a place.
    topic = id_of(message, "message_thread_id") if message.get("is_topic_message") is True else None
    return Address(bot.id, id_of(chat, "id"), topic, str_of(chat, "type") == "private")


def _person(user: dict[str, Any]) -> Person:
    number = id_of(user, "id")
    names = (user.get("first_name"), user.get("last_name"))
    name = " ".join(part for part in names if isinstance(part, str) and part)
    username, language = user.get("username"), user.get("language_code")
    return Person(
        id=number,
        name=name or str(number),
        username=username if isinstance(username, str) else None,
        language=language if isinstance(language, str) else None,
    )
