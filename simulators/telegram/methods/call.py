"""One call of one bot, with the look-ups that every method shares and their refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulators.telegram.params import Params
from simulators.telegram.people import Bot
from simulators.telegram.refusals import RefusedError, bad_request, forbidden
from simulators.telegram.rooms import Message, Room
from simulators.telegram.updates import Disconnected
from simulators.telegram.world import World

Json = dict[str, Any]

_NAMES = {"group": "group chat", "supergroup": "supergroup chat", "channel": "channel chat"}


@dataclass(frozen=True, slots=True)
class Call:
    """One call; `disconnected` returns when the caller has closed the connection."""

    world: World
    bot: Bot
    params: Params
    disconnected: Disconnected | None = None

    def room(self, field: str = "chat_id", *, write: bool = False) -> Room:
        """The room that a parameter names; refused like the service where the bot may not go."""
        given = self.params.text(field)
        if not given:
            raise bad_request(f"{field} is empty")
        if given.startswith("@"):
            room = self.world.rooms.public(given[1:])
        else:
            room = self.world.rooms.of_bot(self.bot.id, self.params.integer(field))
        if room is None:
            raise self._no_room(self.params.integer(field))
        self._check(room, write=write)
        return room

    def _no_room(self, number: int) -> RefusedError:
        if number in self.world.members.bots and number != self.bot.id:
            return forbidden("bots can't send messages to bots")
        return bad_request("chat not found")

    def _check(self, room: Room, *, write: bool) -> None:
        if room.private:
            if write:
                self._check_private(room)
            return
        if room.migrated_to is not None and write:
            raise bad_request(
                "group chat was upgraded to a supergroup chat", migrate_to_chat_id=room.migrated_to
            )
        status = room.members.get(self.bot.id)
        if status == "kicked":
            raise forbidden(f"bot was kicked from the {_NAMES[room.type]}")
        if not room.is_member(self.bot.id) and not (room.username and not write):
            raise forbidden(f"bot is not a member of the {_NAMES[room.type]}")
        if write and room.type == "channel" and not room.is_admin(self.bot.id):
            raise bad_request("need administrator rights in the channel chat")

    def _check_private(self, room: Room) -> None:
        if self.bot.id in self.world.members.persons[room.id].blocked:
            raise forbidden("bot was blocked by the user")
        if not room.started:
            raise forbidden("bot can't initiate conversation with a user")

    def topic(self, room: Room) -> int | None:
        """The topic that the call names, None for none; refused when the room has no such one."""
        number = self.params.integer("message_thread_id")
        if number <= 0 or not (room.forum or room.private):
            return None
        if number not in room.topics:
            raise bad_request("message thread not found")
        if number in room.closed and not room.is_admin(self.bot.id):
            raise bad_request("TOPIC_CLOSED")
        return number

    def message(self, room: Room, what: str) -> Message:
        """The message that the call names; "message to … not found" where there is none."""
        message = room.messages.get(self.params.integer("message_id"))
        if message is None:
            raise bad_request(f"message to {what} not found")
        return message

    def reply(self, room: Room) -> tuple[Message | None, Json]:
        """The message that is answered, and the quote as a field of the new message."""
        given = self.params.json("reply_parameters", "reply parameters")
        if given is None:
            number = self.params.integer("reply_to_message_id")
            given = {"message_id": number} if number > 0 else {}
            given["allow_sending_without_reply"] = self.params.flag("allow_sending_without_reply")
        if not isinstance(given, dict):
            raise bad_request("object expected as reply parameters")
        number = int(given.get("message_id") or 0)
        if number <= 0:
            return None, {}
        message = room.messages.get(number)
        if message is None:
            if given.get("allow_sending_without_reply"):
                return None, {}
            raise bad_request("message to be replied not found")
        return message, _quote(message, given.get("quote"))


def _quote(message: Message, quote: Any) -> Json:
    if not quote:
        return {}
    at = message.text.find(str(quote))
    if at < 0:
        raise bad_request("QUOTE_TEXT_INVALID")
    return {"quote": {"text": str(quote), "position": at, "is_manual": True}}
