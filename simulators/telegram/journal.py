"""What happened, line by line in a file, so that a restarted world is the same world.

Each line is `[kind, record]` and tells one thing as it is from now on; reading them in order gives
the present. On opening, the file is written anew with the present only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from simulators.telegram import records
from simulators.telegram.people import Bot, Person, Webhook
from simulators.telegram.population import Settlement
from simulators.telegram.updates import Update, Updates

Json = dict[str, Any]


class NotAJournal(ValueError):
    """A file that holds something else; the message names the place and the cure."""


Line = tuple[str, Json]


def read(path: Path) -> Iterator[Line]:
    """The lines of a journal; a last line that was cut short is left out.

    Raises NotAJournal for a file that is no journal.
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


class Journal:
    """The file, open for appending; it starts with `present` and is flushed line by line."""

    def __init__(self, path: Path, present: Iterable[Line]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.new")
        with fresh.open("wb") as file:
            file.writelines(_line(kind, record) for kind, record in present)
        fresh.replace(path)
        self._file = path.open("ab")

    def write(self, kind: str, record: Json) -> None:
        """Appends one line."""
        self._file.write(_line(kind, record))
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _line(kind: str, record: Json) -> bytes:
    return orjson.dumps([kind, record], option=orjson.OPT_APPEND_NEWLINE)


def snapshot(world: Settlement) -> Iterator[Line]:
    """The present, as the shortest list of lines that gives it."""
    for person in world.persons.values():
        yield "person", records.person_record(person)
    for bot in world.bots.values():
        yield "bot", records.bot_record(bot)
    for room in world.rooms.values():
        yield "room", records.room_record(room)
        for message in room.messages.values():
            yield "message", records.message_record(room, message)
    for stored in world.files.all():
        yield "file", records.file_record(stored)
    for bot in world.bots.values():
        for update in bot.updates.waiting:
            content = update.body[update.kind]
            yield "update", update_record(bot, update) | {"content": content}


def update_record(bot: Bot, update: Update) -> Json:
    """An update without its content."""
    return {"bot": bot.id, "id": update.id, "at": update.at, "kind": update.kind}


def replay(world: Settlement, kind: str, record: Json) -> None:
    """Makes one line true in a world."""
    _REPLAY[kind](world, record)


def _bot(world: Settlement, record: Json) -> None:
    number = int(record["token"].split(":")[0])
    known = world.bots.get(number)
    updates = known.updates if known else Updates(world.now, record["next_id"])
    updates.allowed = frozenset(record["allowed"])
    world.enter_bot(
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
        )
    )


def _person(world: Settlement, record: Json) -> None:
    blocked = set(record["blocked"])
    world.persons[record["id"]] = Person(
        record["id"], record["name"], record["username"], record["language"], blocked
    )


def _room(world: Settlement, record: Json) -> None:
    room = records.room_of(record)
    known = world.rooms.get(room.key)
    if known is not None:
        room.messages = known.messages
        room.next_id = max(room.next_id, known.next_id)
    world.rooms[room.key] = room


def _message(world: Settlement, record: Json) -> None:
    room = world.rooms[record["room"]]
    message = records.message_of(record)
    room.messages[message.id] = message
    room.next_id = max(room.next_id, message.id + 1)
    if message.author in world.bots:
        room.last_bot = message.author


def _gone(world: Settlement, record: Json) -> None:
    room = world.rooms[record["room"]]
    room.messages.pop(record["id"], None)
    if record["id"] in room.pinned:
        room.pinned.remove(record["id"])


def _file(world: Settlement, record: Json) -> None:
    world.files.put(records.file_of(record))


def _update(world: Settlement, record: Json) -> None:
    updates = world.bots[record["bot"]].updates
    body = {"update_id": record["id"], record["kind"]: record["content"]}
    update = Update(record["id"], record["at"], record["kind"], body, orjson.dumps(body))
    updates.restore(update)
    updates.next_id = max(updates.next_id, update.id + 1)


def _confirmed(world: Settlement, record: Json) -> None:
    waiting = world.bots[record["bot"]].updates.waiting
    while waiting and waiting[0].id < record["below"]:
        waiting.popleft()


_REPLAY = {
    "bot": _bot,
    "person": _person,
    "room": _room,
    "message": _message,
    "gone": _gone,
    "file": _file,
    "update": _update,
    "confirmed": _confirmed,
}
