"""The world as its people see it: they write, press, stop, block, join; bots only react."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any

from simulators.telegram import files, richtext
from simulators.telegram.calls import Calls
from simulators.telegram.entities import units
from simulators.telegram.events import Events
from simulators.telegram.faults import Faults
from simulators.telegram.flood import Flood, NewTokenLimit
from simulators.telegram.journal import Journal
from simulators.telegram.members import Members
from simulators.telegram.messages import Messages
from simulators.telegram.people import TOKEN, Bot, Person
from simulators.telegram.presses import Press, Presses
from simulators.telegram.previews import PreviewFetches
from simulators.telegram.refusals import unauthorized
from simulators.telegram.rooms import Draft, Message, Room, Rooms
from simulators.telegram.topics import Topics
from simulators.telegram.updates import Updates

Json = dict[str, Any]

_FIRST_PERSON = 5_000_001
_FIRST_MANAGED = 8_000_001


class WorldError(ValueError):
    """Something that a person cannot do in Telegram."""


class World:
    """One Telegram, with as many bots, persons and rooms as wanted; `now` is seconds since 1970.

    The methods are what people do. The parts hold what there is, and what bots act on: `members`,
    `rooms`, `messages`, `topics`, `presses`, `files`. `events` reports every change, `calls` every
    call of a bot; `faults`, `flood` and `new_tokens` let calls fail.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.events = Events()
        self.journal = Journal()
        self.members = Members(now, self.journal, self.events)
        self.rooms = Rooms()
        self.messages = Messages(now, self.journal, self.events, self.members)
        self.topics = Topics(self.journal, self.messages)
        self.presses = Presses(now, self.events, self.members)
        self.files = files.Files()
        self.calls = Calls()
        self.fetches = PreviewFetches()
        self.faults = Faults()
        self.flood = Flood(now)
        self.new_tokens = NewTokenLimit(now)
        self.slows_hasty_polls = False
        self.webhooks_changed: Callable[[Bot], None] = lambda _bot: None

    def close(self) -> None:
        """Ends all listeners and the journal."""
        self.events.close()
        self.journal.close()

    # --- who there is ---

    def bot(
        self,
        token: str,
        name: str = "Bot",
        username: str | None = None,
        *,
        privacy: bool = True,
        topics: bool = False,
        manages: bool = False,
        first_update: int | None = None,
    ) -> Bot:
        """Registers a bot by its token "<id>:<secret>"; the same id again changes it."""
        if not TOKEN.match(token):
            raise WorldError("a bot's token looks like 123456:abcdef")
        number = int(token.split(":")[0])
        known = self.members.bots.get(number)
        updates = known.updates if known else Updates(self.now, first_update)
        bot = Bot(number, token, name, username or f"bot_{number}_bot", updates, privacy, topics)
        if known is not None:
            bot.webhook, bot.commands = known.webhook, known.commands
            bot.texts, bot.photo, bot.manager = known.texts, known.photo, known.manager
        bot.manages = manages
        self.members.add_bot(bot)
        self.journal.save_bot(bot)
        return bot

    def revoke(self, bot: Bot) -> str:
        """Revokes a bot's token; returns the new one."""
        self.members.tokens.pop(bot.token, None)
        bot.token = bot.fresh_token()
        self.members.tokens[bot.token] = bot
        bot.updates.interrupt(unauthorized())
        self.journal.save_bot(bot)
        return bot.token

    def person(
        self,
        name: str = "Ann",
        *,
        id: int | None = None,
        username: str | None = None,
        language: str | None = None,
    ) -> Person:
        """A new person, or the one with this id under another name."""
        persons = self.members.persons
        number = id if id is not None else max([_FIRST_PERSON - 1, *persons]) + 1
        person = Person(number, name, username, language)
        if number in persons:
            person.blocked = persons[number].blocked
        persons[number] = person
        self.journal.save_person(person)
        return person

    def private(self, person: Person, bot: Bot, *, started: bool = True) -> Room:
        """The chat of a person with a bot; unless `started`, the bot may not write first."""
        room = self.rooms.of_bot(bot.id, person.id)
        if room is None:
            both = {person.id: "member", bot.id: "member"}
            room = Room(person.id, "private", bot=bot.id, started=started, members=both)
            self._add(room)
        return room

    def group(
        self,
        title: str,
        parties: list[Person | Bot],
        *,
        supergroup: bool = False,
        forum: bool = False,
        username: str | None = None,
    ) -> Room:
        """A group whose first person owns it; a forum is always a supergroup."""
        kind = "supergroup" if supergroup or forum else "group"
        room = Room(self.rooms.next_id(kind), kind, title, username, forum)
        room.next_id = 2 if forum else 1  # number 1 is the General topic
        for party in parties:
            owner = isinstance(party, Person) and "creator" not in room.members.values()
            room.members[party.id] = "creator" if owner else "member"
        return self._add(room)

    def channel(self, title: str, owner: Person, bots: list[Bot]) -> Room:
        """A channel with its owner and the bots that are its administrators."""
        room = Room(self.rooms.next_id("channel"), "channel", title)
        room.members = {owner.id: "creator"} | {bot.id: "administrator" for bot in bots}
        return self._add(room)

    def topic(self, room: Room, name: str, by: Person | Bot) -> int:
        """A new topic of a forum, or of a private chat with a bot that has topics; its id."""
        if not room.forum and not (room.bot is not None and self.members.bots[room.bot].topics):
            raise WorldError("this room has no topics")
        return self.topics.create(room, name, by)

    def _add(self, room: Room) -> Room:
        self.journal.save_room(room)
        return self.rooms.add(room)

    # --- who comes and goes ---

    def join(self, room: Room, party: Person | Bot, *, status: str = "member") -> None:
        """Somebody joins a group or becomes its administrator; a message in the room says so."""
        was_member = room.is_member(party.id)
        self._set_status(room, party, status)
        if not was_member and room.type != "channel":
            joined = {"new_chat_members": [party.user()]}
            self.messages.post(room, self._inviter(room, party), joined, service=True)

    def leave(self, room: Room, party: Person | Bot, *, status: str = "left") -> None:
        """Somebody leaves (`left`) or is thrown out (`kicked`); a message in the room says so."""
        if room.type != "channel":
            left = {"left_chat_member": party.user()}
            self.messages.post(room, self._inviter(room, party), left, service=True)
        self._set_status(room, party, status)

    def _set_status(self, room: Room, party: Person | Bot, status: str) -> None:
        old = room.members.get(party.id, "left")
        room.members[party.id] = status
        self.journal.save_room(room)
        self.members.send_membership(room, party, self._inviter(room, party), old, status)

    def _inviter(self, room: Room, party: Person | Bot) -> Person | Bot:
        """Who adds or removes a bot: the room's first person; a person comes alone."""
        if isinstance(party, Person):
            return party
        persons = self.members.persons
        return next((persons[who] for who in room.members if who in persons), party)

    def block(self, person: Person, bot: Bot) -> None:
        """A person blocks a bot; the bot gets an update and can no longer write."""
        self._set_blocked(person, bot, blocked=True)

    def unblock(self, person: Person, bot: Bot) -> None:
        """A person unblocks a bot."""
        self._set_blocked(person, bot, blocked=False)

    def _set_blocked(self, person: Person, bot: Bot, *, blocked: bool) -> None:
        if (bot.id in person.blocked) == blocked:
            return
        person.blocked ^= {bot.id}
        self.journal.save_person(person)
        old, new = ("member", "kicked") if blocked else ("kicked", "member")
        self.members.send_membership(self.private(person, bot), bot, person, old, new)

    def migrate(self, room: Room) -> Room:
        """Upgrades a group to a supergroup with another id; a message in both rooms says so."""
        if room.type != "group" or room.migrated_to is not None:
            raise WorldError("only a group that was not upgraded yet can migrate")
        upgraded = Room(self.rooms.next_id("supergroup"), "supergroup", room.title)
        upgraded.members = dict(room.members)
        self._add(upgraded)
        persons = self.members.persons
        owner = next(persons[who] for who in room.members if who in persons)
        self.messages.post(room, owner, {"migrate_to_chat_id": upgraded.id}, service=True)
        room.migrated_to = upgraded.id
        self.journal.save_room(room)
        self.messages.post(upgraded, owner, {"migrate_from_chat_id": room.id}, service=True)
        return upgraded

    # --- what people do ---

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
        rich = richtext.finish(text, richtext.read_entities(entities))
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
        self.journal.save_file(stored)
        content: Json = {kind: stored.content()}
        if kind == "animation":
            content["document"] = stored.content()
        if caption:
            rich = richtext.finish(caption, [])
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
            self.unblock(person, self.members.bots[room.bot])
        if not room.started:
            room.started = True
            self.journal.save_room(room)
        replied = self._message(room, reply_to) if reply_to is not None else None
        return self.messages.post(room, person, content, reply_to=replied, topic=topic)

    def _message(self, room: Room, number: int) -> Message:
        message = room.messages.get(number)
        if message is None:
            raise WorldError(f"no message {number} in room {room.key}")
        return message

    def edit(self, person: Person, room: Room, number: int, text: str) -> Message:
        """A person edits their own text."""
        message = self._message(room, number)
        if message.author != person.id or "text" not in message.body:
            raise WorldError("one can edit only a text of one's own")
        rich = richtext.finish(text, [])
        content = {"text": rich.text, "entities": rich.entities or None}
        self.messages.change(room, message, content)
        return message

    def react(self, person: Person, room: Room, number: int, emoji: str | None) -> None:
        """A person reacts to a message, or removes the reaction with None."""
        message = self._message(room, number)
        old = message.reactions.get(person.id, [])
        new = [{"type": "emoji", "emoji": emoji}] if emoji else []
        self.messages.react(room, message, person.id, new)
        update = {"chat": self.members.chat(room), "message_id": number, "user": person.user()}
        update |= {"date": int(self.now()), "old_reaction": old, "new_reaction": new}
        for bot in self.members.bots_in(room):
            if room.private or room.is_admin(bot.id):
                self.members.send_update(bot, "message_reaction", update)

    def press(self, bot: Bot, person: Person, room: Room, message: Message, data: str) -> Press:
        """A person presses a button with any data, as an altered client can."""
        return self.presses.add(bot, person, room, message, data)

    def press_button(self, person: Person, room: Room, number: int, button: str) -> Press:
        """A person presses the inline button with this data or this text."""
        message = self._message(room, number)
        rows = message.body.get("reply_markup", {}).get("inline_keyboard", [])
        for pressed in (b for row in rows for b in row):
            data = pressed.get("callback_data")
            if data is not None and button in (data, pressed["text"]):
                bot = self.members.bots[message.author]
                return self.presses.add(bot, person, room, message, data)
        raise WorldError(f"message {number} in room {room.key} has no button {button!r}")

    def create_bot(
        self,
        person: Person,
        room: Room,
        button: str,
        *,
        name: str | None = None,
        username: str | None = None,
    ) -> Bot:
        """A person presses the button of the phone's keyboard that creates a bot, and confirms.

        Name and username are those that the button suggests, where the person gives none.
        """
        asked = self._button_for_bot(room, button)
        manager = self.members.bots[room.bot or 0]
        number = max([_FIRST_MANAGED - 1, *self.members.bots]) + 1
        chosen = username or asked.get("suggested_username") or f"made_{number}_bot"
        if not chosen.lower().endswith("bot"):
            raise WorldError("the username of a bot ends in bot")
        if any(bot.username.lower() == chosen.lower() for bot in self.members.bots.values()):
            raise WorldError(f"the username {chosen} is occupied")
        token = f"{number}:{secrets.token_urlsafe(26)}"
        made = self.bot(token, name or asked.get("suggested_name") or "New bot", chosen)
        made.manager = manager.id
        self.journal.save_bot(made)
        told = {"user": person.user(), "bot": made.user()}
        self.members.send_update(manager, "managed_bot", told)
        self.messages.post(room, person, {"managed_bot_created": {"bot": made.user()}})
        return made

    def _button_for_bot(self, room: Room, button: str) -> Json:
        """What a button of the newest keyboard asks for."""
        for message in reversed(room.messages.values()):
            rows = (message.screen or {}).get("keyboard", [])
            for key in (key for row in rows for key in row if isinstance(key, dict)):
                if key["text"] == button and "request_managed_bot" in key:
                    return dict(key["request_managed_bot"])
        raise WorldError(f"room {room.key} has no button {button!r} that creates a bot")

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
        self.messages.show_draft(room, draft, stopped=True, gone=not draft.keep_on_stop)
        content: Json = {"chat": self.members.chat(room), "draft_id": draft.id}
        if draft.topic is not None:
            content["message_thread_id"] = draft.topic
        bot = self.members.bots[draft.bot]
        self.members.send_update(bot, "stopped_message_generation", content)

    # --- what can be seen ---

    def drafts(self, room: Room) -> list[Draft]:
        """What is being written in a room now; a draft disappears after 30 seconds."""
        return self.messages.drafts(room)

    async def until(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Returns once a condition holds, checked after each event; else TimeoutError."""
        with self.events.listen() as listener:
            if condition():
                return
            async with asyncio.timeout(timeout):
                async for _ in listener:
                    if condition():
                        return
