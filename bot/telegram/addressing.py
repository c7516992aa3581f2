"""What a message says, and whom it speaks to: mentions, commands, and answers to what we wrote.

Forwarded text is never a command and never a mention: it is not what the person says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bot.events import Command
from bot.telegram.fields import OddError

_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]{1,64}))?(?=\s|$)")
_AFTER_MENTION: Final = " \t\n,:"


@dataclass(frozen=True, slots=True)
class BotIdentity:
    """Which bot reads: its numeric id and its @username without the @."""

    id: int
    username: str


@dataclass(frozen=True, slots=True)
class Words:
    """What was written: the text without a leading mention of us, and whom it speaks to."""

    text: str
    mentioned: bool
    command: Command | None = None
    foreign: bool = False


def words_of(message: dict[str, Any], bot: BotIdentity, *, commands: bool) -> Words:
    """A message's text or caption, read as a command only where those are wanted."""
    text, entities = _text(message)
    if "forward_origin" in message or "forward_date" in message:
        return Words(text, mentioned=False)
    mentions = list(_mentions(text, entities, bot))
    text = _without_leading(text, mentions)
    match = _COMMAND.match(text) if commands else None
    if match is None:
        return Words(text, bool(mentions))
    name, named = match.groups()
    if named is not None and named.casefold() != bot.username.casefold():
        return Words(text, bool(mentions), foreign=True)
    command = Command(name.lower(), text[match.end() :].strip(), bool(named or mentions))
    return Words(text, bool(mentions), command)


def _text(message: dict[str, Any]) -> tuple[str, list[Any]]:
    prefix = "" if isinstance(message.get("text"), str) else "caption_"
    text = message.get("caption" if prefix else "text", "")
    entities = message.get(f"{prefix}entities", [])
    if not isinstance(text, str):
        raise OddError
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


def addressed(message: dict[str, Any], words: Words, bot: BotIdentity) -> bool:
    """Whether a message of a group speaks to this bot."""
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
