"""Methods that pin messages and take pins away."""

from __future__ import annotations

from simulators.telegram.methods.call import Call
from simulators.telegram.refusals import bad_request
from simulators.telegram.rooms import Room


def pin_chat_message(call: Call) -> bool:
    """pinChatMessage: one more message on top; the room says so."""
    room = _pinnable(call)
    call.world.pin(room, call.message(room, "pin"), call.bot)
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
    call.world.unpin(room, number)
    return True


def unpin_all_chat_messages(call: Call) -> bool:
    """unpinAllChatMessages: nothing is pinned any more."""
    room = _pinnable(call)
    call.world.unpin(room, *room.pinned)
    return True


def _pinnable(call: Call) -> Room:
    room = call.room(write=True)
    if not room.private and not room.is_admin(call.bot.id):
        raise bad_request("not enough rights to manage pinned messages in the chat")
    return room
