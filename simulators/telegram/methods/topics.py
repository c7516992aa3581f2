"""Methods for the topics of a forum and the pinned messages of a room."""

from __future__ import annotations

from typing import Any

from simulators.telegram.methods.call import Call
from simulators.telegram.refusals import bad_request
from simulators.telegram.rooms import Room

Json = dict[str, Any]

_MOST_NAME = 128
_COLOURS = frozenset({7322096, 16766590, 13338331, 9367192, 16749490, 16478047})


def create_forum_topic(call: Call) -> Json:
    """createForumTopic: a topic with a name and a colour; its id is that of its first message."""
    room = _forum(call, "create a topic")
    name = _name(call)
    colour = call.params.integer("icon_color", 7322096)
    if colour not in _COLOURS:
        raise bad_request("invalid icon color specified")
    number = call.world.topics.create(room, name, call.bot, colour=colour)
    return {"message_thread_id": number, "name": name, "icon_color": colour}


def edit_forum_topic(call: Call) -> bool:
    """editForumTopic: another name."""
    room = _forum(call, "edit the topic")
    number = _number(call, room)
    name = _name(call) if call.params.text("name") else room.topics[number]
    if name == room.topics[number]:
        raise bad_request("TOPIC_NOT_MODIFIED")
    call.world.topics.rename(room, number, name, call.bot)
    return True


def close_forum_topic(call: Call) -> bool:
    """closeForumTopic: only administrators may write there from now on."""
    return _toggle(call, closed=True)


def reopen_forum_topic(call: Call) -> bool:
    """reopenForumTopic: everybody may write there again."""
    return _toggle(call, closed=False)


def delete_forum_topic(call: Call) -> bool:
    """deleteForumTopic: a topic goes, with everything said in it."""
    room = _forum(call, "delete the topic")
    call.world.topics.delete(room, _number(call, room))
    return True


def _toggle(call: Call, *, closed: bool) -> bool:
    room = _forum(call, "edit the topic")
    number = _number(call, room)
    if (number in room.closed) == closed:
        raise bad_request("TOPIC_NOT_MODIFIED")
    call.world.topics.set_closed(room, number, call.bot, closed=closed)
    return True


def _forum(call: Call, to_do: str) -> Room:
    room = call.room(write=True)
    if not room.forum and not (room.private and call.bot.topics):
        raise bad_request("the chat is not a forum")
    if not room.private and not room.is_admin(call.bot.id):
        raise bad_request(f"not enough rights to {to_do}")
    return room


def _number(call: Call, room: Room) -> int:
    number = call.params.integer("message_thread_id")
    if number not in room.topics:
        raise bad_request("TOPIC_ID_INVALID")
    return number


def _name(call: Call) -> str:
    name = " ".join(call.params.text("name").split())[:_MOST_NAME]
    if not name:
        raise bad_request("title must be non-empty")
    return name


def pin_chat_message(call: Call) -> bool:
    """pinChatMessage: one more message on top; the room says so."""
    room = _pinnable(call)
    call.world.topics.pin(room, call.message(room, "pin"), call.bot)
    return True


def unpin_chat_message(call: Call) -> bool:
    """unpinChatMessage: the named message, or the one pinned last."""
    room = _pinnable(call)
    if call.params.integer("message_id"):
        number = call.message(room, "unpin").id
    elif room.pinned:
        number = room.pinned[-1]
    else:
        raise bad_request("message to unpin not found")
    call.world.topics.unpin(room, number)
    return True


def unpin_all_chat_messages(call: Call) -> bool:
    """unpinAllChatMessages: unpins everything."""
    room = _pinnable(call)
    call.world.topics.unpin(room, *room.pinned)
    return True


def _pinnable(call: Call) -> Room:
    room = call.room(write=True)
    if not room.private and not room.is_admin(call.bot.id):
        raise bad_request("not enough rights to manage pinned messages in the chat")
    return room
