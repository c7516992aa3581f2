"""The world as JSON, for the page and for tests in other processes; tokens stay inside."""

from __future__ import annotations

from typing import Any

from simulators.telegram.people import Bot
from simulators.telegram.rooms import Message, Room
from simulators.telegram.world import World

Json = dict[str, Any]


def world_state(world: World) -> Json:
    """Everything there is, without messages."""
    return {
        "bots": [bot_state(bot) for bot in world.members.bots.values()],
        "persons": [
            person.user() | {"blocked": sorted(person.blocked)}
            for person in world.members.persons.values()
        ],
        "rooms": [room_state(world, room) for room in world.rooms.by_key.values()],
        "calls": world.calls.total,
    }


def bot_state(bot: Bot) -> Json:
    """A bot and how much waits for it."""
    return bot.user() | {
        "privacy": bot.privacy,
        "waiting": len(bot.updates.waiting),
        "webhook": bot.webhook.url,
        "commands": bot.commands,
    }


def room_state(world: World, room: Room) -> Json:
    """A room, who is in it, and what is going on there now."""
    now = world.now()
    typing = {who: action for who, (action, until) in room.typing.items() if until > now}
    return {
        "key": room.key,
        "chat": world.members.chat(room),
        "bot": room.bot,
        "members": [
            (world.members.user(who) or {"id": who}) | {"status": status}
            for who, status in room.members.items()
        ],
        "topics": [
            {"id": number, "name": name, "closed": number in room.closed}
            for number, name in room.topics.items()
        ],
        "pinned": room.pinned,
        "drafts": [draft.show() for draft in world.drafts(room)],
        "typing": [{"bot": who, "action": action} for who, action in typing.items()],
        "last": room.next_id - 1,
    }


def message_state(message: Message) -> Json:
    """A message with what lies outside the Bot API's own object."""
    return {
        "message": message.body,
        "screen": message.screen,
        "reactions": [
            {"from": who, "reaction": chosen} for who, chosen in message.reactions.items() if chosen
        ],
    }


def room_messages(room: Room, after: int = 0) -> list[Json]:
    """The messages of a room with an id over `after`."""
    return [message_state(m) for m in room.messages.values() if m.id > after]
