"""Keeps the world in a file, so that a restarted world is the same world.

Each line is `[kind, record]` and says how one thing is from now on; reading the lines in order
gives the present. On opening, the file is rewritten with the present only.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import orjson

from simulators.telegram.files import StoredFile
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Message, Room
from simulators.telegram.updates import Update

Json = dict[str, Any]
Line = tuple[str, Json]

_ROOM = ("id", "type", "title", "username", "forum", "bot", "started", "migrated_to", "next_id")


class NotAJournal(ValueError):
    """A file that holds something else; the message says where and how to fix it."""


class Journal:
    """Writes each change to a file, flushed line by line; writes nothing until it is opened."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None

    def open(self, path: Path, present: Iterable[Line]) -> None:
        """Rewrites the file with the present, and appends to it from now on."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.new")
        with fresh.open("wb") as file:
            file.writelines(_line(kind, record) for kind, record in present)
        fresh.replace(path)
        self._file = path.open("ab")

    def close(self) -> None:
        """Closes the file; what changes afterwards is not written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def save_bot(self, bot: Bot) -> None:
        """Writes a bot without its updates."""
        self._write("bot", bot_record, bot)

    def save_person(self, person: Person) -> None:
        """Writes a person and whom they block."""
        self._write("person", person_record, person)

    def save_room(self, room: Room) -> None:
        """Writes a room without its messages."""
        self._write("room", room_record, room)

    def save_message(self, room: Room, message: Message) -> None:
        """Writes a message as it is now."""
        self._write("message", message_record, room, message)

    def save_removal(self, room: Room, message: Message) -> None:
        """Writes that a message is deleted."""
        self._write("gone", lambda: {"room": room.key, "id": message.id})

    def save_file(self, stored: StoredFile) -> None:
        """Writes a file with its bytes."""
        self._write("file", file_record, stored)

    def save_update(self, bot: Bot, update: Update) -> None:
        """Writes an update that waits for a bot."""
        self._write("update", update_record, bot, update)

    def save_confirmed(self, bot: Bot, below: int) -> None:
        """Writes that the updates of a bot below an id are confirmed."""
        self._write("confirmed", lambda: {"bot": bot.id, "below": below})

    def _write(self, kind: str, record: Any, *values: Any) -> None:
        if self._file is not None:
            self._file.write(_line(kind, record(*values)))
            self._file.flush()


def _line(kind: str, record: Json) -> bytes:
    return orjson.dumps([kind, record], option=orjson.OPT_APPEND_NEWLINE)


def read(path: Path) -> Iterator[Line]:
    """The lines of a journal; a last line that was cut short is left out.

    Raises NotAJournal for a file that is not a journal.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                kind, record = orjson.loads(line)
            except ValueError:
                raise NotAJournal(
                    f"{path}, line {number}: not a line of a sandbox journal; "
                    "move the file away to start with an empty sandbox"
                ) from None
            yield kind, record


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
        "manages": bot.manages,
        "manager": bot.manager,
        "texts": bot.texts,
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


def file_record(stored: StoredFile) -> Json:
    """A file with its bytes in base64."""
    return asdict(stored) | {"data": base64.b64encode(stored.data).decode()}


def update_record(bot: Bot, update: Update) -> Json:
    """An update of a bot."""
    record = {"bot": bot.id, "id": update.id, "at": update.at, "kind": update.kind}
    return record | {"content": update.body[update.kind]}


def room_of(record: Json) -> Room:
    """The room of a record."""
    room = Room(**{name: record[name] for name in _ROOM})
    room.members = dict(record["members"])
    room.topics = dict(record["topics"])
    room.closed = set(record.get("closed", ()))
    room.pinned = list(record.get("pinned", ()))
    room.last_bot = record["last_bot"]
    return room


def message_of(record: Json) -> Message:
    """The message of a record."""
    return Message(
        record["body"],
        record["author"],
        record["screen"],
        record["service"],
        dict(record["reactions"]),
    )


def file_of(record: Json) -> StoredFile:
    """The file of a record."""
    return StoredFile(**(record | {"data": base64.b64decode(record["data"])}))
