"""What stands out in a room: topics of forums, and pinned messages."""

from __future__ import annotations

from typing import Any

from simulators.telegram import records
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Message, Room
from simulators.telegram.state import State, WorldError

Json = dict[str, Any]

COLOUR = 7322096


class Topics(State):
    """The part of the world that topics and pins belong to."""

    def topic(self, room: Room, name: str, by: Person | Bot, *, colour: int = COLOUR) -> int:
        """A new topic of a forum, or of a private chat with a bot that has topics; its id."""
        if not room.forum and not (room.bot is not None and self.bots[room.bot].topics):
            raise WorldError("this room has no topics")
        room.topics[room.next_id] = name
        created = {"name": name, "icon_color": colour}
        return self._announce(room, room.next_id, by, {"forum_topic_created": created})

    def rename_topic(self, room: Room, number: int, name: str, by: Person | Bot) -> None:
        """Another name for a topic; the topic says so."""
        room.topics[number] = name
        self._announce(room, number, by, {"forum_topic_edited": {"name": name}})

    def close_topic(self, room: Room, number: int, by: Person | Bot, *, closed: bool) -> None:
        """Only administrators write in a closed topic; the topic says so."""
        room.closed = room.closed | {number} if closed else room.closed - {number}
        kind = "forum_topic_closed" if closed else "forum_topic_reopened"
        self._announce(room, number, by, {kind: {}})

    def delete_topic(self, room: Room, number: int) -> None:
        """A topic goes with its messages."""
        del room.topics[number]
        room.closed.discard(number)
        said = [m for m in room.messages.values() if m.body.get("message_thread_id") == number]
        for message in said:
            self.remove(room, message)
        self.note("room", records.room_record(room))

    def _announce(self, room: Room, number: int, by: Person | Bot, content: Json) -> int:
        message = self.post(room, by, content, topic=number, service=True)
        self.note("room", records.room_record(room))
        return message.id

    def pin(self, room: Room, message: Message, by: Person | Bot) -> None:
        """A message on top of the room, which says so."""
        self.unpin(room, message.id)
        room.pinned.append(message.id)
        self.note("room", records.room_record(room))
        shown = {k: v for k, v in message.body.items() if k != "reply_to_message"}
        self.post(room, by, {"pinned_message": shown}, service=True)

    def unpin(self, room: Room, *numbers: int) -> None:
        """Takes pins away, silently."""
        room.pinned = [one for one in room.pinned if one not in numbers]
        self.note("room", records.room_record(room))
