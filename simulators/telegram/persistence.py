"""Loads a world from its journal, and lets the journal follow it from then on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from simulators.telegram import journal
from simulators.telegram.people import Bot, Person, Webhook
from simulators.telegram.updates import Update, Updates
from simulators.telegram.world import World

Json = dict[str, Any]


def persist(world: World, path: Path) -> None:
    """Takes over what the journal at `path` holds, and writes every change there from now on.

    Raises NotAJournal for a file that is not a journal.
    """
    for kind, record in journal.read(path):
        _REPLAY[kind](world, record)
    world.journal.open(path, _present(world))


def _present(world: World) -> Iterator[journal.Line]:
    """The world now, as the shortest list of lines that gives it."""
    for person in world.members.persons.values():
        yield "person", journal.person_record(person)
    for bot in world.members.bots.values():
        yield "bot", journal.bot_record(bot)
    for room in world.rooms.by_key.values():
        yield "room", journal.room_record(room)
        for message in room.messages.values():
            yield "message", journal.message_record(room, message)
    for stored in world.files.all():
        yield "file", journal.file_record(stored)
    for bot in world.members.bots.values():
        for update in bot.updates.waiting:
            yield "update", journal.update_record(bot, update)


def _bot(world: World, record: Json) -> None:
    number = int(record["token"].split(":")[0])
    known = world.members.bots.get(number)
    updates = known.updates if known else Updates(world.now, record["next_id"])
    updates.allowed = frozenset(record["allowed"])
    world.members.add_bot(
        Bot(
            number,
            record["token"],
            record["name"],
            record["username"],
            updates,
            record["privacy"],
            record["topics"],
            Webhook(**record["webhook"]),
            record["commands"],
            record.get("manages", False),
            record.get("manager"),
            record.get("texts", {}),
        )
    )


def _person(world: World, record: Json) -> None:
    blocked = set(record["blocked"])
    world.members.persons[record["id"]] = Person(
        record["id"], record["name"], record["username"], record["language"], blocked
    )


def _room(world: World, record: Json) -> None:
    room = journal.room_of(record)
    known = world.rooms.by_key.get(room.key)
    if known is not None:
        room.messages = known.messages
        room.next_id = max(room.next_id, known.next_id)
    world.rooms.add(room)


def _message(world: World, record: Json) -> None:
    room = world.rooms.by_key[record["room"]]
    message = journal.message_of(record)
    room.messages[message.id] = message
    room.next_id = max(room.next_id, message.id + 1)
    if message.author in world.members.bots:
        room.last_bot = message.author


def _removal(world: World, record: Json) -> None:
    room = world.rooms.by_key[record["room"]]
    room.messages.pop(record["id"], None)
    if record["id"] in room.pinned:
        room.pinned.remove(record["id"])


def _file(world: World, record: Json) -> None:
    world.files.put(journal.file_of(record))


def _update(world: World, record: Json) -> None:
    updates = world.members.bots[record["bot"]].updates
    body = {"update_id": record["id"], record["kind"]: record["content"]}
    update = Update(record["id"], record["at"], record["kind"], body, orjson.dumps(body))
    updates.restore(update)
    updates.next_id = max(updates.next_id, update.id + 1)


def _confirmed(world: World, record: Json) -> None:
    waiting = world.members.bots[record["bot"]].updates.waiting
    while waiting and waiting[0].id < record["below"]:
        waiting.popleft()


_REPLAY = {
    "bot": _bot,
    "person": _person,
    "room": _room,
    "message": _message,
    "gone": _removal,
    "file": _file,
    "update": _update,
    "confirmed": _confirmed,
}
