"""Topics of forums and pinned messages of a room; each change is announced in the room."""

from __future__ import annotations

from typing import Any

from simulators.telegram.journal import Journal
from simulators.telegram.messages import Messages, without_reply
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Message, Room

Json = dict[str, Any]

COLOUR = 7322096


class Topics:
    """Creates, renames, closes and deletes topics; pins and unpins messages."""

    def __init__(self, journal: Journal, messages: Messages) -> None:
        self._journal = journal
        self._messages = messages

    def create(self, room: Room, name: str, by: Person | Bot, *, colour: int = COLOUR) -> int:
        """A new topic; its id is that of its first message."""
        room.topics[room.next_id] = name
        created = {"name": name, "icon_color": colour}
        return self._announce(room, room.next_id, by, {"forum_topic_created": created})

    def rename(self, room: Room, topic: int, name: str, by: Person | Bot) -> None:
        """Gives a topic another name."""
        room.topics[topic] = name
        self._announce(room, topic, by, {"forum_topic_edited": {"name": name}})

    def set_closed(self, room: Room, topic: int, by: Person | Bot, *, closed: bool) -> None:
        """Closes a topic, so that only administrators may write in it, or reopens it."""
        room.closed = room.closed | {topic} if closed else room.closed - {topic}
        kind = "forum_topic_closed" if closed else "forum_topic_reopened"
        self._announce(room, topic, by, {kind: {}})

    def delete(self, room: Room, topic: int) -> None:
        """Deletes a topic with its messages."""
        del room.topics[topic]
        room.closed.discard(topic)
        for message in list(room.messages.values()):
            if message.body.get("message_thread_id") == topic:
                self._messages.remove(room, message)
        self._journal.save_room(room)

    def _announce(self, room: Room, topic: int, by: Person | Bot, content: Json) -> int:
        message = self._messages.post(room, by, content, topic=topic, service=True)
        self._journal.save_room(room)
        return message.id

    def pin(self, room: Room, message: Message, by: Person | Bot) -> None:
        """Puts a message on top of the room."""
        self.unpin(room, message.id)
        room.pinned.append(message.id)
        self._journal.save_room(room)
        pinned = {"pinned_message": without_reply(message.body)}
        self._messages.post(room, by, pinned, service=True)

    def unpin(self, room: Room, *numbers: int) -> None:
        """Unpins messages, silently."""
        room.pinned = [one for one in room.pinned if one not in numbers]
        self._journal.save_room(room)
