"""Messages and drafts of the rooms, and which bots get an update about them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from simulators.telegram.events import Events
from simulators.telegram.journal import Journal
from simulators.telegram.members import Members
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Draft, Message, Room

Json = dict[str, Any]

_COMMAND = re.compile(r"^/[A-Za-z0-9_]{1,64}(?:@([A-Za-z0-9_]+))?(?=\s|$)")


class Messages:
    """Posts, changes and deletes messages: each change becomes events, a record, and updates."""

    def __init__(
        self, now: Callable[[], float], journal: Journal, events: Events, members: Members
    ) -> None:
        self._now = now
        self._journal = journal
        self._events = events
        self._members = members

    def post(
        self,
        room: Room,
        sender: Person | Bot,
        content: Json,
        *,
        reply_to: Message | None = None,
        topic: int | None = None,
        screen: Json | None = None,
        service: bool = False,
    ) -> Message:
        """A new message in a room; a bot's message ends its drafts and its typing there."""
        body = self._head(room, sender)
        body |= _thread(room, reply_to, topic)
        if reply_to is not None:
            body["reply_to_message"] = without_reply(reply_to.body)
        message = Message(body | content, sender.id, screen, service)
        room.messages[message.id] = message
        if isinstance(sender, Bot):
            room.last_bot = sender.id
            room.typing.pop(sender.id, None)
            for key in [k for k in room.drafts if k[0] == sender.id]:
                self.show_draft(room, room.drafts.pop(key), gone=True)
        self._publish(room, message, "message")
        self._send_updates(room, message, "channel_post" if room.type == "channel" else "message")
        return message

    def _head(self, room: Room, sender: Person | Bot) -> Json:
        body: Json = {"message_id": room.take_id()}
        chat = self._members.chat(room)
        body |= {"sender_chat": chat} if room.type == "channel" else {"from": sender.user()}
        return body | {"chat": chat, "date": int(self._now())}

    def change(self, room: Room, message: Message, content: Json, *, silent: bool = False) -> None:
        """Replaces fields of a message; a value of None removes the field.

        `silent` leaves `edit_date` alone and sends no updates.
        """
        body = message.body | content
        message.body = {k: v for k, v in body.items() if v is not None}
        if not silent:
            message.body["edit_date"] = int(self._now())
        self._publish(room, message, "edit")
        if not silent:
            channel = room.type == "channel"
            self._send_updates(
                room, message, "edited_channel_post" if channel else "edited_message"
            )

    def remove(self, room: Room, message: Message) -> None:
        """Deletes a message; no bot gets an update of that."""
        room.messages.pop(message.id, None)
        if message.id in room.pinned:
            room.pinned.remove(message.id)
        self._journal.save_removal(room, message)
        self._events.emit("delete", {"message_id": message.id}, chat=room.key)

    def react(self, room: Room, message: Message, who: int, reaction: list[Json]) -> None:
        """Sets somebody's reaction to a message; an empty list removes it."""
        message.reactions[who] = reaction
        self._journal.save_message(room, message)
        data: Json = {"message_id": message.id, "new": reaction}
        bot = who if who in self._members.bots else None
        if bot is not None:
            data["bot"] = bot
        self._events.emit("reaction", data, chat=room.key, bot=bot)

    def drafts(self, room: Room) -> list[Draft]:
        """What is being written in a room now; a draft fades after 30 seconds."""
        for key in [k for k, d in room.drafts.items() if d.until <= self._now()]:
            del room.drafts[key]
        return list(room.drafts.values())

    def show_draft(self, room: Room, draft: Draft, **more: bool) -> None:
        """Emits the event of a draft that grew, was stopped or is gone."""
        self._events.emit("draft", draft.show() | more, chat=room.key, bot=draft.bot)

    def _publish(self, room: Room, message: Message, kind: str) -> None:
        self._journal.save_message(room, message)
        room.changed(message)
        data = {"message": message.body, "screen": message.screen}
        self._events.emit(kind, data, chat=room.key)

    def _send_updates(self, room: Room, message: Message, kind: str) -> None:
        for bot in self._members.bots_in(room):
            if reaches(bot, room, message):
                self._members.send_update(bot, kind, message.body)


def without_reply(body: Json) -> Json:
    """A message's body as another message carries it: one level deep."""
    return {k: v for k, v in body.items() if k != "reply_to_message"}


def _thread(room: Room, reply_to: Message | None, topic: int | None) -> Json:
    if topic is not None and topic in room.topics:
        return {"message_thread_id": topic, "is_topic_message": True}
    if reply_to is None or room.type != "supergroup" or room.forum:
        return {}
    return {"message_thread_id": reply_to.body.get("message_thread_id", reply_to.id)}


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
    replied = message.body.get("reply_to_message", {})
    if bot.id in (replied.get("from", {}).get("id"), message.body.get("via_bot", {}).get("id")):
        return True
    command = _COMMAND.match(message.text)
    if command is None:
        return _mentions(bot, message)
    if command[1] is None:
        return room.last_bot in (None, bot.id)
    return command[1].lower() == bot.username.lower()


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
