"""What an update of a bot means: each field is checked for what the Bot API promises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

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
from bot.ops.bot_tokens import COMMAND, HAD_TOKEN, SEEN
from bot.telegram.excerpts import (
    FILE,
    Object,
    as_text,
    excerpts_of,
    full_name,
    is_anothers,
    media_noun,
    with_links,
)

_IGNORED: Final = {
    "channel": ("channel_post", "edited_channel_post"),
    "business": (
        *("business_connection", "business_message"),
        *("edited_business_message", "deleted_business_messages"),
    ),
    "reaction": ("message_reaction", "message_reaction_count"),
    "membership": ("chat_member", "chat_join_request"),
    "inline": ("inline_query", "chosen_inline_result"),
    "nested": ("nested",),
}

FILE_COMMANDS: Final = frozenset(
    {"addagent", "edit", "newinstance", "editinstance", "addprofile", "newbot"}
)
"""Commands that may be the caption of a file."""
BOT_CREATED: Final = "newbot:created"
"""The command that a `managed_bot` stands for: nobody can type its name."""
_ID_BITS: Final = 53
"""The Bot API says that ids have 52 bits at most; other programs would round longer ones."""
_LATEST_TIME: Final = 2**32 - 1
"""The end of Unix time in 32 bits, in the year 2106: any calendar can show it."""
_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]{1,64}))?(?=\s|$)")
_AFTER_MENTION: Final = " \t\n,:"

T = TypeVar("T")


class MalformedUpdate(ValueError):
    """The update is not what the Bot API promises."""


@dataclass(frozen=True, slots=True)
class BotUser:
    """Which bot reads: its numeric id and its @username without the @."""

    id: int
    username: str


@dataclass(frozen=True, slots=True)
class ParsedText:
    """What was written, without a leading mention of us.

    `foreign`: it is a command for another bot.
    """

    text: str
    mentioned: bool
    command: Command | None = None
    foreign: bool = False


def decode(update: Any, bot: BotUser) -> Decoded:
    """The event that an update of this bot means, or `Ignored` with the rule that ignores it.

    A command's name is in lower case. A message with nothing but our mention keeps it as text.
    A `Signal` of the Stop button under a draft carries the draft's id as `draft`; a typed
    `/stop` carries none.
    """
    try:
        if not isinstance(update, dict):
            raise MalformedUpdate
        for kind, meaning in _MEANINGS.items():
            if kind in update:
                return meaning(_get(update, kind, dict), bot)
    except MalformedUpdate:
        return Ignored("malformed")
    rules = (rule for rule, kinds in _IGNORED.items() if not update.keys().isdisjoint(kinds))
    return Ignored(next(rules, "other"))


def _message(message: Object, bot: BotUser) -> Decoded:
    chat, is_text = _get(message, "chat", dict), isinstance(message.get("text"), str)
    unsupported = None if is_text else media_noun(message)
    if migration := _migration(message, chat, bot):
        return migration
    rule = _ignoring_rule(message, chat)
    if rule is None and unsupported is None and not is_text:
        rule = "service"
    written = parse_text(message, bot, commands=unsupported is None)
    if unsupported == FILE:
        written = _with_file_command(parse_text(message, bot, commands=True), written)
    own = written.command is not None and not written.foreign
    if rule == "anonymous" and own and _is_anonymous_admin(message, chat):
        rule = None
    if rule is not None:
        return Ignored(rule)
    address = _address(chat, message, bot)
    person = _person(_get(message, "from", dict))
    number, sent_at = _id(message, "message_id"), _time(message, "date")
    command = written.command
    if written.foreign and not address.private:
        command = None
    noted = message.get(HAD_TOKEN)
    if noted and not (command and command.name == COMMAND and not command.other):
        command = Command(SEEN, written.text, named=True)
    if command is not None and command.name == "stop" and not command.other:
        return Signal(address, "stop", person)
    return IncomingMessage(
        address=address,
        person=person,
        message=number,
        sent_at=sent_at,
        text="" if is_anothers(message) and not noted else written.text,
        command=command,
        unsupported=unsupported,
        addressed=address.private or _is_addressed(message, written, bot),
        quoted=_quoted(message) if command is not None else None,
        excerpts=() if command is not None else excerpts_of(message, bot.id),
        title=as_text(chat.get("title")),
        album=as_text(message.get("media_group_id")),
        had_token=bool(noted),
        token=as_text(noted),
    )


def _edited(message: Object, bot: BotUser) -> Decoded:
    """An edit is ignored, also as a command; but a token that it brings in is seen."""
    found = _message(message, bot) if message.get(HAD_TOKEN) else None
    if not isinstance(found, IncomingMessage):
        return Ignored("edited")
    return replace(found, command=Command(SEEN, found.text, named=True))


def _with_file_command(read: ParsedText, plain: ParsedText) -> ParsedText:
    """The caption of a file as a command, if it is one that takes a file; else as plain text."""
    return read if read.command and read.command.name in FILE_COMMANDS else plain


def _ignoring_rule(message: Object, chat: Object) -> str | None:
    """The rule that ignores a message for what its sender or its chat is."""
    if chat.get("type") == "channel":
        return "channel"
    if "sender_chat" in message:
        return "anonymous"
    if "business_connection_id" in message:
        return "business"
    return "bot" if _get(message, "from", dict).get("is_bot") is True else None


def _is_anonymous_admin(message: Object, chat: Object) -> bool:
    """Whether an admin of this very group wrote in its name."""
    sender, name = _get(message, "from", dict), _get(message, "sender_chat", dict)
    return sender.get("id") == ANONYMOUS_ADMIN and name.get("id") == chat.get("id")


def _migration(message: Object, chat: Object, bot: BotUser) -> ChatMigration | None:
    """That a group is a supergroup from now on: both the old and the new one announce it."""
    here = _id(chat, "id")
    if "migrate_to_chat_id" in message:
        before, now = here, _id(message, "migrate_to_chat_id")
    elif "migrate_from_chat_id" in message:
        before, now = _id(message, "migrate_from_chat_id"), here
    else:
        return None
    return ChatMigration(Address(bot.id, before, private=False), now)


def _press(query: Object, bot: BotUser) -> Decoded:
    if "message" not in query:
        return Ignored("inline")
    if "data" not in query:
        return Ignored("other")
    message, person = _get(query, "message", dict), _get(query, "from", dict)
    chat = _get(message, "chat", dict)
    if chat.get("type") == "channel":
        return Ignored("channel")
    if person.get("is_bot") is True:
        return Ignored("bot")
    return CallbackPress(
        address=_address(chat, message, bot),
        person=_person(person),
        query=_get(query, "id", str),
        data=_get(query, "data", str),
        message=_id(message, "message_id") if _has_button(message, query["data"]) else None,
    )


def _has_button(message: Object, data: Any) -> bool:
    """Whether a message has a button that says this: clients can send any data for any message."""
    markup = message.get("reply_markup")
    rows = markup.get("inline_keyboard") if isinstance(markup, dict) else None
    buttons = [button for row in rows or () if isinstance(row, list) for button in row]
    return any(isinstance(one, dict) and one.get("callback_data") == data for one in buttons)


def _stopped(stopped: Object, bot: BotUser) -> Decoded:
    chat = _get(stopped, "chat", dict)
    topic = _id(stopped, "message_thread_id") if "message_thread_id" in stopped else None
    private = _get(chat, "type", str) == "private"
    return Signal(
        address=Address(bot.id, _id(chat, "id"), topic, private),
        kind="stop",
        # A private chat has its person's id and names.
        person=_person(chat) if private else None,
        draft=_id(stopped, "draft_id"),
    )


def _membership(change: Object, bot: BotUser) -> Decoded:
    chat = _get(change, "chat", dict)
    if chat.get("type") == "channel":
        return Ignored("channel")
    before, now = (_is_inside(_get(change, f"{age}_chat_member", dict)) for age in ("old", "new"))
    if before == now:
        return Ignored("membership")
    private = _get(chat, "type", str) == "private"
    address = Address(bot.id, _id(chat, "id"), private=private)
    person = _person(_get(change, "from", dict))
    return Membership(address, person, now, as_text(chat.get("title")))


def _managed_bot(created: Object, bot: BotUser) -> Decoded:
    """A person created a bot by our button, or changed its token: as the command that takes it."""
    person, new = _person(_get(created, "user", dict)), _get(created, "bot", dict)
    command = Command(BOT_CREATED, str(_id(new, "id")), named=True)
    address = Address(bot.id, person.telegram_id, private=True)
    return IncomingMessage(address, person, message=0, sent_at=0, text="", command=command)


def _is_inside(member: Object) -> bool:
    status = _get(member, "status", str)
    if status == "restricted":
        return member.get("is_member") is True
    return status in ("creator", "administrator", "member")


_MEANINGS: Final = {
    "message": _message,
    "edited_message": _edited,
    "callback_query": _press,
    "stopped_message_generation": _stopped,
    "my_chat_member": _membership,
    "managed_bot": _managed_bot,
}
ALLOWED_UPDATES: Final = tuple(_MEANINGS)
"""The kinds of updates to ask for; Telegram keeps the choice until the next one."""


# --- texts ---


def parse_text(message: Object, bot: BotUser, *, commands: bool) -> ParsedText:
    """A message's text or caption, read as a command only where those are wanted."""
    text, entities = _text(message)
    if is_anothers(message):
        return ParsedText(text, mentioned=False)
    mentions = list(_mentions(text, entities, bot))
    end = next((end for start, end in mentions if start == 0), 0)
    units = text.encode("utf-16-le", "surrogatepass") if end else b""
    rest = units[2 * end :].decode("utf-16-le", "surrogatepass").lstrip(_AFTER_MENTION)
    whole, text = text, rest or text
    match = _COMMAND.match(text) if commands else None
    if match is None:
        shown = with_links(whole, entities)  # a link never begins before the end of a mention
        return ParsedText(shown[len(whole) - len(text) :], bool(mentions))
    name, named = match.groups()
    if named is not None and named.casefold() != bot.username.casefold():
        other = Command(name.lower(), text[match.end() :].strip(), other=named)
        return ParsedText(text, bool(mentions), other, foreign=True)
    command = Command(name.lower(), text[match.end() :].strip(), bool(named or mentions))
    return ParsedText(text, bool(mentions), command)


def _text(message: Object) -> tuple[str, list[Any]]:
    is_text = isinstance(message.get("text"), str)
    text = message.get("text" if is_text else "caption", "")
    entities = message.get("entities" if is_text else "caption_entities")
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
        if kind == "text_mention" and isinstance(user, dict):
            ours = user.get("id") == bot.id
        if ours:
            yield start, start + length


def _is_addressed(message: Object, written: ParsedText, bot: BotUser) -> bool:
    """Whether a message of a group speaks to this bot, or answers one of its messages."""
    if written.foreign:
        return False
    if written.mentioned or written.command is not None:
        return True
    first = message.get("reply_to_message")
    if not isinstance(first, dict) or "forum_topic_created" in first:
        return False  # every message of a topic "answers" its first
    sender = first.get("from")
    return isinstance(sender, dict) and sender.get("id") == bot.id


def _quoted(message: Object) -> QuotedMessage | None:
    """The file of a command, or text and file of the message that it replies to.

    What is malformed in them counts as absent.
    """
    if own := _file(message.get("document")):
        return QuotedMessage(file=own)
    first = message.get("reply_to_message")
    if not isinstance(first, dict):
        return None
    text = first.get("text", first.get("caption"))
    return QuotedMessage(as_text(text), _file(first.get("document")), _author(first))


def _author(message: Object) -> int | None:
    """The id of the person who wrote a message; None unless a person did."""
    sender = message.get("from")
    if (
        not isinstance(sender, dict)
        or "sender_chat" in message
        or sender.get("is_bot") is not False
    ):
        return None
    number = sender.get("id")
    return number if type(number) is int and number > 0 else None


def _file(document: Any) -> Attachment | None:
    if not isinstance(document, dict) or not isinstance(document.get("file_id"), str):
        return None
    name, size = as_text(document.get("file_name")), document.get("file_size")
    return Attachment(document["file_id"], name, size if type(size) is int else 0)


# --- fields ---


def _address(chat: Object, message: Object, bot: BotUser) -> Address:
    # Replies in plain groups carry a thread id as well, which names no topic.
    topic = _id(message, "message_thread_id") if message.get("is_topic_message") is True else None
    return Address(bot.id, _id(chat, "id"), topic, _get(chat, "type", str) == "private")


def _person(user: Object) -> User:
    number = _id(user, "id")
    name = full_name(user)
    username, language = (as_text(user.get(key)) for key in ("username", "language_code"))
    return User(number, name or str(number), username or None, language or None)


def _get(source: Object, key: str, kind: type[T]) -> T:
    """A field of exactly this kind; raises MalformedUpdate."""
    value = source.get(key)
    if type(value) is not kind:
        raise MalformedUpdate(key)
    return value


def _id(source: Object, key: str) -> int:
    """A field that can be an id; raises MalformedUpdate."""
    value = _get(source, key, int)
    if value.bit_length() > _ID_BITS:
        raise MalformedUpdate(key)
    return value


def _time(source: Object, key: str) -> int:
    """A time in seconds since 1970; one outside of 1970 to 2106 becomes the nearer end.

    Raises MalformedUpdate.
    """
    value: Any = source.get(key)
    if type(value) not in (int, float) or value != value:  # NaN is not a time
        raise MalformedUpdate(key)
    return int(min(max(value, 0), _LATEST_TIME))
