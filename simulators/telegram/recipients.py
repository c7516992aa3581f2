"""Which bots get to see what is said in a room."""

from __future__ import annotations

import re

from simulators.telegram.people import Bot
from simulators.telegram.rooms import Message, Room

_COMMAND = re.compile(r"^/[A-Za-z0-9_]{1,64}(?:@([A-Za-z0-9_]+))?(?=\s|$)")


def reaches(bot: Bot, room: Room, message: Message) -> bool:
    """Whether an update about this message goes to this bot, which is in the room.

    With privacy on, a group brings service messages, commands for the bot, mentions and replies
    to it. A command without a bot's name is for the bot that spoke last, or for all before any has.
    """
    if message.author == bot.id:
        return False
    if room.type in {"private", "channel"} or message.service:
        return True
    # An anonymous admin writes through a bot of Telegram's own, and is heard.
    if message.body.get("from", {}).get("is_bot") and "sender_chat" not in message.body:
        return False
    if not bot.privacy or room.is_admin(bot.id):
        return True
    return _addressed(bot, room, message)


def _addressed(bot: Bot, room: Room, message: Message) -> bool:
    replied = message.body.get("reply_to_message", {})
    if replied.get("from", {}).get("id") == bot.id:
        return True
    if message.body.get("via_bot", {}).get("id") == bot.id:
        return True
    command = _COMMAND.match(message.text)
    if command is not None:
        name = command[1]
        if name is None:
            return room.last_bot in (None, bot.id)
        return name.lower() == bot.username.lower()
    return _mentions(bot, message)


def _mentions(bot: Bot, message: Message) -> bool:
    entities = message.body.get("entities") or message.body.get("caption_entities") or []
    raw = message.text.encode("utf-16-le")
    for entity in entities:
        if entity["type"] == "text_mention" and entity["user"]["id"] == bot.id:
            return True
        start, stop = entity["offset"] * 2, (entity["offset"] + entity["length"]) * 2
        part = raw[start:stop].decode("utf-16-le").lower()
        if entity["type"] in {"mention", "bot_command"} and part.endswith(
            f"@{bot.username.lower()}"
        ):
            return True
    return False
