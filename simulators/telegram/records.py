"""Things as the journal writes them, and back."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

from simulators.telegram.files import Stored
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Message, Room

Json = dict[str, Any]

_ROOM = ("id", "type", "title", "username", "forum", "bot", "started", "migrated_to", "next_id")


def bot_record(bot: Bot) -> Json:
    """A bot with everything but its queue."""
    return {
        "token": bot.token,
        "name": bot.name,
        "username": bot.username,
        "privacy": bot.privacy,
        "topics": bot.topics,
        "webhook": asdict(bot.webhook),
        "commands": bot.commands,
        "allowed": sorted(bot.updates.allowed),
        "next_id": bot.updates.next_id,
    }


def person_record(person: Person) -> Json:
    """A person and whom they block."""
    return {
        "id": person.id,
        "name": person.name,
        "username": person.username,
        "language": person.language,
        "blocked": sorted(person.blocked),
    }


def room_record(room: Room) -> Json:
    """A room without its messages."""
    record: Json = {name: getattr(room, name) for name in _ROOM}
    return record | {
        "members": list(room.members.items()),
        "topics": list(room.topics.items()),
        "closed": sorted(room.closed),
        "pinned": room.pinned,
        "last_bot": room.last_bot,
    }


def room_of(record: Json) -> Room:
    """The room that was written."""
    room = Room(**{name: record[name] for name in _ROOM})
    room.members = dict(record["members"])
    room.topics = dict(record["topics"])
    room.closed = set(record.get("closed", ()))
    room.pinned = list(record.get("pinned", ()))
    room.last_bot = record["last_bot"]
    return room


def message_record(room: Room, message: Message) -> Json:
    """A message as it is now."""
    return {
        "room": room.key,
        "body": message.body,
        "author": message.author,
        "screen": message.screen,
        "service": message.service,
        "reactions": list(message.reactions.items()),
    }


def message_of(record: Json) -> Message:
    """The message that was written."""
    return Message(
        record["body"],
        record["author"],
        record["screen"],
        record["service"],
        dict(record["reactions"]),
    )


def file_record(stored: Stored) -> Json:
    """A file with its bytes in base64."""
    return asdict(stored) | {"data": base64.b64encode(stored.data).decode()}


def file_of(record: Json) -> Stored:
    """The file that was written."""
    return Stored(**(record | {"data": base64.b64decode(record["data"])}))
