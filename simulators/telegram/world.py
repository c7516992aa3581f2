"""The world as its people see it: they write, press, stop, block, join; bots only react."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulators.telegram import files, journal, records, richtext
from simulators.telegram.entities import units
from simulators.telegram.people import Person
from simulators.telegram.population import Settlement
from simulators.telegram.rooms import Draft, Message, Room
from simulators.telegram.state import Pressed, WorldError

Json = dict[str, Any]


class World(Settlement):
    """One Telegram, with as many bots, persons and rooms as wanted."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        super().__init__(now)
        self._journal: journal.Journal | None = None

    def persist(self, path: Path) -> None:
        """Takes over what the journal at `path` tells, and writes on in it from now on."""
        for kind, record in journal.read(path):
            journal.replay(self, kind, record)
        self._journal = journal.Journal(path, journal.snapshot(self))
        self.note = self._journal.write

    def close(self) -> None:
        """Ends all listeners and the journal."""
        self.happenings.close()
        if self._journal is not None:
            self._journal.close()
            self._journal = None
            self.note = lambda _kind, _record: None

    def say(
        self,
        person: Person,
        room: Room,
        text: str,
        *,
        reply_to: int | None = None,
        topic: int | None = None,
        entities: list[Json] | None = None,
    ) -> Message:
        """A person writes a text of 1..4096 UTF-16 units."""
        rich = richtext.finished(text, richtext.explicit(entities))
        if units(rich.text) > richtext.TEXT_LIMIT:
            raise WorldError("a client cuts texts over 4096 characters into several messages")
        content: Json = {"text": rich.text}
        if rich.entities:
            content["entities"] = rich.entities
        return self.send(person, room, content, reply_to=reply_to, topic=topic)

    def attach(
        self,
        person: Person,
        room: Room,
        kind: str,
        data: bytes,
        *,
        name: str = "",
        mime: str | None = None,
        caption: str = "",
        reply_to: int | None = None,
        topic: int | None = None,
    ) -> Message:
        """A person sends a file of one of `files.KINDS`, with a caption where it can have one."""
        if kind not in files.KINDS:
            raise WorldError(f"no such kind of file; take one of {', '.join(sorted(files.KINDS))}")
        stored = self.files.store(kind, name, data, mime)
        self.note("file", records.file_record(stored))
        content: Json = {kind: stored.content()}
        if kind == "animation":
            content["document"] = stored.content()
        if caption:
            rich = richtext.finished(caption, [])
            content |= {"caption": rich.text}
            content |= {"caption_entities": rich.entities} if rich.entities else {}
        return self.send(person, room, content, reply_to=reply_to, topic=topic)

    def send(
        self,
        person: Person,
        room: Room,
        content: Json,
        *,
        reply_to: int | None = None,
        topic: int | None = None,
    ) -> Message:
        """A person sends any content, as the fields of the Bot API's Message."""
        if not room.is_member(person.id) or room.migrated_to is not None:
            raise WorldError(f"{person.name} cannot write in room {room.key}")
        if topic in room.closed and not room.is_admin(person.id):
            raise WorldError(f"topic {topic} of room {room.key} is closed")
        if room.bot is not None and room.bot in person.blocked:
            self.unblock(person, self.bots[room.bot])
        if not room.started:
            room.started = True
            self.note("room", records.room_record(room))
        replied = self._message(room, reply_to) if reply_to is not None else None
        return self.post(room, person, content, reply_to=replied, topic=topic)

    def _message(self, room: Room, number: int) -> Message:
        message = room.messages.get(number)
        if message is None:
            raise WorldError(f"no message {number} in room {room.key}")
        return message

    def edit(self, person: Person, room: Room, number: int, text: str) -> Message:
        """A person edits a text of theirs."""
        message = self._message(room, number)
        if message.author != person.id or "text" not in message.body:
            raise WorldError("one can edit only a text of one's own")
        rich = richtext.finished(text, [])
        self.change(room, message, {"text": rich.text, "entities": rich.entities or None})
        return message

    def react(self, person: Person, room: Room, number: int, emoji: str | None) -> None:
        """A person puts a reaction under a message, or takes theirs away with None."""
        message = self._message(room, number)
        old = message.reactions.get(person.id, [])
        new = [{"type": "emoji", "emoji": emoji}] if emoji else []
        message.reactions[person.id] = new
        self.keep(room, message)
        self.happenings.tell("reaction", {"message_id": number, "new": new}, chat=room.key)
        update = {"chat": self.chat(room), "message_id": number, "user": person.user()}
        update |= {"date": int(self.now()), "old_reaction": old, "new_reaction": new}
        for bot in self.bots_in(room):
            if room.private or room.is_admin(bot.id):
                self.queue(bot, "message_reaction", update)

    def press_button(self, person: Person, room: Room, number: int, button: str) -> Pressed:
        """A person presses the inline button with this data or this text."""
        message = self._message(room, number)
        rows = message.body.get("reply_markup", {}).get("inline_keyboard", [])
        for pressed in (b for row in rows for b in row):
            data = pressed.get("callback_data")
            if data is not None and button in (data, pressed["text"]):
                return self.press(self.bots[message.author], person, room, message, data)
        raise WorldError(f"message {number} in room {room.key} has no button {button!r}")

    def stop(self, person: Person, room: Room, draft_id: int | None = None) -> None:
        """A person presses Stop on a draft (the only one when no id is given)."""
        if not room.is_member(person.id):
            raise WorldError(f"{person.name} is not in room {room.key}")
        drafts = [d for d in self.drafts(room) if d.can_stop and draft_id in (None, d.id)]
        if not drafts:
            raise WorldError(f"no draft with a Stop button in room {room.key}")
        draft = drafts[0]
        draft.can_stop = False
        if not draft.keep_on_stop:
            room.drafts.pop((draft.bot, draft.id))
        self.tell_draft(room, draft.show() | {"stopped": True, "gone": not draft.keep_on_stop})
        content: Json = {"chat": self.chat(room), "draft_id": draft.id}
        if draft.topic is not None:
            content["message_thread_id"] = draft.topic
        self.queue(self.bots[draft.bot], "stopped_message_generation", content)

    def drafts(self, room: Room) -> list[Draft]:
        """What is being written in a room now; a draft of 30 seconds ago is gone."""
        for key in [k for k, d in room.drafts.items() if d.until <= self.now()]:
            del room.drafts[key]
        return list(room.drafts.values())

    async def until(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        """Returns once a condition holds, looked at after each happening; else TimeoutError."""
        with self.happenings.listen() as listener:
            if condition():
                return
            async with asyncio.timeout(timeout):
                async for _ in listener:
                    if condition():
                        return
