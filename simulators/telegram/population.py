"""Who and what there is: bots, persons and rooms come, change and go."""

from __future__ import annotations

from simulators.telegram import members, records
from simulators.telegram.people import TOKEN, Bot, Person
from simulators.telegram.refusals import unauthorized
from simulators.telegram.rooms import Room
from simulators.telegram.state import WorldError
from simulators.telegram.topics import Topics
from simulators.telegram.updates import Updates

_FIRST_PERSON = 5_000_001
_FIRST_GROUP = 4_100_000_001
_FIRST_SUPERGROUP = 1_000_000_000_000 + 2_000_000_001


class Settlement(Topics):
    """The part of the world that changes seldom."""

    def bot(
        self,
        token: str,
        name: str = "Bot",
        username: str | None = None,
        *,
        privacy: bool = True,
        topics: bool = False,
        first_update: int | None = None,
    ) -> Bot:
        """Registers a bot by its token "<id>:<secret>"; the same id again changes it."""
        if not TOKEN.match(token):
            raise WorldError("a bot's token looks like 123456:abcdef")
        number = int(token.split(":")[0])
        known = self.bots.get(number)
        updates = known.updates if known else Updates(self.now, first_update)
        bot = Bot(number, token, name, username or f"bot_{number}_bot", updates, privacy, topics)
        if known is not None:
            bot.webhook, bot.commands = known.webhook, known.commands
        self.enter_bot(bot)
        self.note("bot", records.bot_record(bot))
        return bot

    def enter_bot(self, bot: Bot) -> None:
        """Puts a bot into the tables, in place of one with the same id."""
        known = self.bots.get(bot.id)
        if known is not None:
            self.tokens.pop(known.token, None)
        self.bots[bot.id] = bot
        self.tokens[bot.token] = bot
        bot.updates.confirmed = lambda below: self.note(
            "confirmed", {"bot": bot.id, "below": below}
        )

    def person(
        self,
        name: str = "Ann",
        *,
        id: int | None = None,
        username: str | None = None,
        language: str | None = None,
    ) -> Person:
        """A new person, or the one with this id under another name."""
        number = id if id is not None else max([_FIRST_PERSON - 1, *self.persons]) + 1
        person = Person(number, name, username, language)
        if number in self.persons:
            person.blocked = self.persons[number].blocked
        self.persons[number] = person
        self.note("person", records.person_record(person))
        return person

    def private(self, person: Person, bot: Bot, *, started: bool = True) -> Room:
        """The chat of a person with a bot; unless `started`, the bot may not write first."""
        room = self.rooms.get(f"{bot.id}/{person.id}")
        if room is None:
            both = {person.id: "member", bot.id: "member"}
            room = Room(person.id, "private", bot=bot.id, started=started, members=both)
            self._enter(room)
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
        room = Room(self._next_id(kind), kind, title, username, forum)
        room.next_id = 2 if forum else 1  # number 1 is the General topic
        for party in parties:
            owner = isinstance(party, Person) and "creator" not in room.members.values()
            room.members[party.id] = "creator" if owner else "member"
        self._enter(room)
        return room

    def channel(self, title: str, owner: Person, bots: list[Bot]) -> Room:
        """A channel with its owner and the bots that govern it."""
        room = Room(self._next_id("channel"), "channel", title)
        room.members = {owner.id: "creator"} | {bot.id: "administrator" for bot in bots}
        self._enter(room)
        return room

    def _next_id(self, kind: str) -> int:
        first = _FIRST_GROUP if kind == "group" else _FIRST_SUPERGROUP
        taken = [-r.id for r in self.rooms.values() if (r.type == "group") == (kind == "group")]
        return -(max([first - 1, *(t for t in taken if t > 0)]) + 1)

    def _enter(self, room: Room) -> None:
        self.rooms[room.key] = room
        self.note("room", records.room_record(room))

    def join(self, room: Room, party: Person | Bot, *, status: str = "member") -> None:
        """Somebody comes into a group or becomes its administrator; the room says so."""
        old = room.members.get(party.id, "left")
        fresh = not room.is_member(party.id)
        self._place(room, party, old, status)
        if fresh and room.type != "channel":
            self.post(
                room,
                self._by(room, party),
                {"new_chat_members": [party.user()]},
                service=True,
            )

    def leave(self, room: Room, party: Person | Bot, *, status: str = "left") -> None:
        """Somebody goes (`left`) or is thrown out (`kicked`); the room says so."""
        old = room.members.get(party.id, "left")
        if room.type != "channel":
            gone = {"left_chat_member": party.user()}
            self.post(room, self._by(room, party), gone, service=True)
        self._place(room, party, old, status)

    def _place(self, room: Room, party: Person | Bot, old: str, new: str) -> None:
        room.members[party.id] = new
        self.note("room", records.room_record(room))
        kind = "my_chat_member" if isinstance(party, Bot) else "chat_member"
        by = self._by(room, party)
        channel = room.type == "channel"
        change = members.changed(
            self.chat(room),
            by.user(),
            int(self.now()),
            members.member(party.user(), old, channel=channel),
            members.member(party.user(), new, channel=channel),
        )
        told = [party] if isinstance(party, Bot) else self.bots_in(room)
        for bot in told:
            if kind == "my_chat_member" or room.is_admin(bot.id):
                self.queue(bot, kind, change)

    def _by(self, room: Room, party: Person | Bot) -> Person | Bot:
        """Who brings a bot in or throws it out: the room's first person; a person comes alone."""
        if isinstance(party, Person):
            return party
        return next((self.persons[i] for i in room.members if i in self.persons), party)

    def block(self, person: Person, bot: Bot) -> None:
        """A person blocks a bot; the bot is told and cannot write any more."""
        self._set_blocked(person, bot, blocked=True)

    def unblock(self, person: Person, bot: Bot) -> None:
        """A person takes a bot back."""
        self._set_blocked(person, bot, blocked=False)

    def _set_blocked(self, person: Person, bot: Bot, *, blocked: bool) -> None:
        if (bot.id in person.blocked) == blocked:
            return
        person.blocked ^= {bot.id}
        self.note("person", records.person_record(person))
        room = self.private(person, bot)
        old, new = ("member", "kicked") if blocked else ("kicked", "member")
        user = bot.user()
        change = members.changed(
            self.chat(room),
            person.user(),
            int(self.now()),
            members.member(user, old),
            members.member(user, new),
        )
        self.queue(bot, "my_chat_member", change)

    def migrate(self, room: Room) -> Room:
        """A group becomes a supergroup with another id; both rooms say so."""
        if room.type != "group" or room.migrated_to is not None:
            raise WorldError("only a group that was not upgraded yet can migrate")
        kept = Room(self._next_id("supergroup"), "supergroup", room.title)
        kept.members = dict(room.members)
        self._enter(kept)
        owner = next(self.persons[i] for i in room.members if i in self.persons)
        self.post(room, owner, {"migrate_to_chat_id": kept.id}, service=True)
        room.migrated_to = kept.id
        self.note("room", records.room_record(room))
        self.post(kept, owner, {"migrate_from_chat_id": room.id}, service=True)
        return kept

    def revoke(self, bot: Bot) -> str:
        """Takes a bot's token away; the new token."""
        self.tokens.pop(bot.token, None)
        bot.token = bot.fresh_token()
        self.tokens[bot.token] = bot
        bot.updates.interrupt(unauthorized())
        self.note("bot", records.bot_record(bot))
        return bot.token
