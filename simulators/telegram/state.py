"""The state of the world, and what follows from a change of it: updates, happenings, the journal.

Knows nothing of HTTP and of methods. A room is always looked at by one bot, because a private
chat's id is the person's.
"""

from __future__ import annotations

import secrets
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulators.telegram import recipients, records
from simulators.telegram.calls import Calls
from simulators.telegram.events import Happenings
from simulators.telegram.faults import Faults
from simulators.telegram.files import Files
from simulators.telegram.flood import Flood, Newcomers
from simulators.telegram.people import Bot, Person
from simulators.telegram.previews import Fetches
from simulators.telegram.refusals import STALE_QUERY, RefusedError
from simulators.telegram.rooms import Message, Room

Json = dict[str, Any]

QUERY_SECONDS = 60.0


class WorldError(ValueError):
    """Somebody tried what a person cannot do in Telegram."""


@dataclass(slots=True)
class Pressed:
    """A press on an inline button that waits for answerCallbackQuery."""

    id: str
    at: float
    bot: int
    person: int
    room: str
    message: int
    answer: Json | None = None


class State:
    """Bots, persons, rooms, files, and the queues between them; `now` is seconds since 1970."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.bots: dict[int, Bot] = {}
        self.tokens: dict[str, Bot] = {}
        self.persons: dict[int, Person] = {}
        self.rooms: dict[str, Room] = {}
        self.presses: dict[str, Pressed] = {}
        self.files = Files()
        self.happenings = Happenings()
        self.calls = Calls()
        self.fetches = Fetches()
        self.faults = Faults()
        self.flood = Flood(now)
        self.newcomers = Newcomers(now)
        self.pace = False
        self.webhooks_changed: Callable[[Bot], None] = lambda _bot: None
        self.note: Callable[[str, Json], None] = lambda _kind, _record: None

    def room(self, bot: Bot, chat_id: int) -> Room | None:
        """The room that this bot knows under this id."""
        if chat_id > 0:
            return self.rooms.get(f"{bot.id}/{chat_id}")
        room = self.rooms.get(str(chat_id))
        return room if room is not None and bot.id in room.members else None

    def named_room(self, username: str) -> Room | None:
        """The public room with this username, without the @."""
        wanted = username.lower()
        return next(
            (r for r in self.rooms.values() if r.username and r.username.lower() == wanted), None
        )

    def user(self, who: int) -> Json | None:
        """The User object of a person or bot, None for a stranger."""
        party = self.persons.get(who) or self.bots.get(who)
        return party.user() if party is not None else None

    def chat(self, room: Room) -> Json:
        """The Chat object of a room, as its messages carry it."""
        if not room.private:
            return room.show()
        user = self.persons[room.id].user()
        chat = {k: v for k, v in user.items() if k in {"id", "first_name", "username"}}
        return chat | {"type": "private"}

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
        """A new message in a room: kept, told, and queued for the bots that may see it."""
        body = self._head(room, sender)
        body |= _place(room, reply_to, topic)
        if reply_to is not None:
            body["reply_to_message"] = _without_reply(reply_to.body)
        message = Message(body | content, sender.id, screen, service)
        room.messages[message.id] = message
        if isinstance(sender, Bot):
            room.last_bot = sender.id
            room.typing.pop(sender.id, None)
            self._drop_drafts(room, sender.id)
        self.keep(room, message)
        self._tell(room, message, "message")
        self._queue(room, message, "channel_post" if room.type == "channel" else "message")
        return message

    def _head(self, room: Room, sender: Person | Bot) -> Json:
        body: Json = {"message_id": room.take_id()}
        chat = self.chat(room)
        body |= {"sender_chat": chat} if room.type == "channel" else {"from": sender.user()}
        return body | {"chat": chat, "date": int(self.now())}

    def change(self, room: Room, message: Message, content: Json, *, silent: bool = False) -> None:
        """Another content for a message: `content` replaces text, entities and the like.

        A value of None takes the field away; `silent` leaves `edit_date` alone.
        """
        body = message.body | content
        message.body = {k: v for k, v in body.items() if v is not None}
        if not silent:
            message.body["edit_date"] = int(self.now())
        self.keep(room, message)
        self._tell(room, message, "edit")
        kind = "edited_channel_post" if room.type == "channel" else "edited_message"
        if not silent:
            self._queue(room, message, kind)

    def remove(self, room: Room, message: Message) -> None:
        """Takes a message away; no bot is told of that."""
        room.messages.pop(message.id, None)
        if message.id in room.pinned:
            room.pinned.remove(message.id)
        self.note("gone", {"room": room.key, "id": message.id})
        self.happenings.tell("delete", {"message_id": message.id}, chat=room.key)

    def keep(self, room: Room, message: Message) -> None:
        """Writes a message into the journal as it is now."""
        self.note("message", records.message_record(room, message))

    def _tell(self, room: Room, message: Message, kind: str) -> None:
        room.changed(message)
        data = {"message": message.body, "screen": message.screen}
        self.happenings.tell(kind, data, chat=room.key)

    def _queue(self, room: Room, message: Message, kind: str) -> None:
        for bot in self.bots_in(room):
            if recipients.reaches(bot, room, message):
                self.queue(bot, kind, message.body)

    def bots_in(self, room: Room) -> list[Bot]:
        """The bots that are in a room now."""
        if room.bot is not None:
            return [self.bots[room.bot]]
        return [self.bots[i] for i in room.members if i in self.bots and room.is_member(i)]

    def queue(self, bot: Bot, kind: str, content: Json) -> None:
        """One update for one bot, if it asked for this kind."""
        update = bot.updates.add(kind, content)
        if update is None:
            return
        record = {"bot": bot.id, "id": update.id, "at": update.at, "kind": kind}
        self.note("update", record | {"content": content})
        self.happenings.tell("update", update.body, bot=bot.id)

    def press(self, bot: Bot, person: Person, room: Room, message: Message, data: str) -> Pressed:
        """A press on a button of a bot's message; the query may be answered for a minute."""
        pressed = Pressed(
            str(secrets.randbelow(9 * 10**17) + 10**17),
            self.now(),
            bot.id,
            person.id,
            room.key,
            message.id,
        )
        self._forget_presses()
        self.presses[pressed.id] = pressed
        query = {"id": pressed.id, "from": person.user(), "message": message.body}
        chat_instance = str(zlib.crc32(f"{bot.id} {room.key}".encode()))
        self.queue(bot, "callback_query", query | {"chat_instance": chat_instance, "data": data})
        return pressed

    def answerable(self, query: str, bot: Bot) -> Pressed:
        """The press behind a callback query id; 400 when it is old, answered or another bot's."""
        self._forget_presses()
        pressed = self.presses.get(query)
        if pressed is None or pressed.bot != bot.id or pressed.answer is not None:
            raise RefusedError(400, f"Bad Request: {STALE_QUERY}")
        return pressed

    def answer(self, pressed: Pressed, answer: Json) -> None:
        """What the bot says to a press."""
        pressed.answer = answer
        data = {"id": pressed.id, "message_id": pressed.message, "person": pressed.person}
        self.happenings.tell("callback", data | answer, chat=pressed.room, bot=pressed.bot)

    def _forget_presses(self) -> None:
        oldest = self.now() - QUERY_SECONDS
        for key in [k for k, p in self.presses.items() if p.at < oldest]:
            del self.presses[key]

    def _drop_drafts(self, room: Room, bot: int) -> None:
        for key in [k for k in room.drafts if k[0] == bot]:
            draft = room.drafts.pop(key)
            self.tell_draft(room, draft.show() | {"gone": True})

    def tell_draft(self, room: Room, shown: Json) -> None:
        """Tells listeners of a draft that grew or went."""
        self.happenings.tell("draft", shown, chat=room.key, bot=shown["bot"])


def _place(room: Room, reply_to: Message | None, topic: int | None) -> Json:
    if topic is not None and topic in room.topics:
        return {"message_thread_id": topic, "is_topic_message": True}
    if reply_to is None or room.type != "supergroup" or room.forum:
        return {}
    return {"message_thread_id": reply_to.body.get("message_thread_id", reply_to.id)}


def _without_reply(body: Json) -> Json:
    return {k: v for k, v in body.items() if k != "reply_to_message"}
