"""Bots and persons by their ids, and memberships as the Bot API shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulators.telegram.events import Events
from simulators.telegram.journal import Journal
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room

Json = dict[str, Any]

_RIGHTS = (
    "can_manage_chat", "can_delete_messages", "can_manage_video_chats", "can_restrict_members",
    "can_promote_members", "can_change_info", "can_invite_users", "can_post_stories",
    "can_edit_stories", "can_delete_stories", "can_send_welcome_messages",
)  # fmt: skip
_GROUP_RIGHTS = ("can_pin_messages", "can_manage_topics", "can_manage_tags")
_CHANNEL_RIGHTS = ("can_post_messages", "can_edit_messages", "can_manage_direct_messages")


def chat_member(user: Json, status: str, *, channel: bool = False) -> Json:
    """A ChatMember object; `status` is creator, administrator, member, left or kicked."""
    shown: Json = {"user": user, "status": status}
    if status == "creator":
        return shown | {"is_anonymous": False}
    if status == "kicked":
        return shown | {"until_date": 0}
    if status != "administrator":
        return shown
    rights = _RIGHTS + (_CHANNEL_RIGHTS if channel else _GROUP_RIGHTS)
    return shown | {"can_be_edited": False, "is_anonymous": False} | dict.fromkeys(rights, True)


class Members:
    """Everybody with a Telegram account, and the updates that bots are sent."""

    def __init__(self, now: Callable[[], float], journal: Journal, events: Events) -> None:
        self._now = now
        self._journal = journal
        self._events = events
        self.bots: dict[int, Bot] = {}
        self.tokens: dict[str, Bot] = {}
        self.persons: dict[int, Person] = {}

    def add_bot(self, bot: Bot) -> None:
        """Adds a bot, in place of one with the same id."""
        known = self.bots.get(bot.id)
        if known is not None:
            self.tokens.pop(known.token, None)
        self.bots[bot.id] = bot
        self.tokens[bot.token] = bot
        bot.updates.confirmed = lambda below: self._journal.save_confirmed(bot, below)

    def get(self, who: int) -> Person | Bot | None:
        """The person or bot with this id."""
        return self.persons.get(who) or self.bots.get(who)

    def user(self, who: int) -> Json | None:
        """The User object of a person or bot, None for an unknown id."""
        party = self.get(who)
        return party.user() if party is not None else None

    def bots_in(self, room: Room) -> list[Bot]:
        """The bots that are in a room now."""
        if room.bot is not None:
            return [self.bots[room.bot]]
        return [self.bots[i] for i in room.members if i in self.bots and room.is_member(i)]

    def chat(self, room: Room) -> Json:
        """The Chat object of a room, as its messages carry it."""
        if not room.private:
            return room.show()
        user = self.persons[room.id].user()
        chat = {k: v for k, v in user.items() if k in {"id", "first_name", "username"}}
        return chat | {"type": "private"}

    def send_update(self, bot: Bot, kind: str, content: Json) -> None:
        """Queues an update for a bot, if the bot asked for this kind."""
        update = bot.updates.add(kind, content)
        if update is None:
            return
        self._journal.save_update(bot, update)
        self._events.emit("update", update.body, bot=bot.id)

    def send_membership(
        self, room: Room, party: Person | Bot, by: Person | Bot, old: str, new: str
    ) -> None:
        """Queues the updates about a changed status: a bot's own for it, others for admins."""
        channel = room.type == "channel"
        change = {
            "chat": self.chat(room),
            "from": by.user(),
            "date": int(self._now()),
            "old_chat_member": chat_member(party.user(), old, channel=channel),
            "new_chat_member": chat_member(party.user(), new, channel=channel),
        }
        if isinstance(party, Bot):
            self.send_update(party, "my_chat_member", change)
            return
        for bot in self.bots_in(room):
            if room.is_admin(bot.id):
                self.send_update(bot, "chat_member", change)
