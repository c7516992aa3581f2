"""Methods that tell of bots, rooms, members and files, and set the bot's commands."""

from __future__ import annotations

import re
from typing import Any

from simulators.telegram.files import DOWNLOAD_LIMIT
from simulators.telegram.members import chat_member
from simulators.telegram.methods.call import Call
from simulators.telegram.params import Params
from simulators.telegram.refusals import bad_request
from simulators.telegram.rooms import Room

Json = dict[str, Any]

_COMMAND = re.compile(r"^[a-z0-9_]{1,32}$")
_LANGUAGE = re.compile(r"^(?:[a-z]{2})?$")
_MOST_COMMANDS = 100
_WIDE = frozenset({"default", "all_private_chats", "all_group_chats", "all_chat_administrators"})
_NARROW = frozenset({"chat", "chat_administrators", "chat_member"})
_GIFTS = {
    "unlimited_gifts": False, "limited_gifts": False, "unique_gifts": False,
    "premium_subscription": False, "gifts_from_channels": False,
}  # fmt: skip


def get_me(call: Call) -> Json:
    """getMe: the bot itself."""
    return call.bot.me()


def get_chat(call: Call) -> Json:
    """getChat: a room in full."""
    room = call.room()
    full = call.world.members.chat(room) | {"accent_color_id": 0, "max_reaction_count": 11}
    if room.pinned:
        full["pinned_message"] = room.messages[room.pinned[-1]].body
    return full | {"accepted_gift_types": _GIFTS}


def get_chat_member(call: Call) -> Json:
    """getChatMember: one person or bot in a room."""
    number = call.params.integer("user_id")
    if number <= 0:
        raise bad_request("invalid user_id specified")
    room = call.room()
    user = call.world.members.user(number)
    if user is None:
        raise bad_request("user not found")
    return chat_member(user, room.members.get(number, "left"), channel=room.type == "channel")


def get_chat_administrators(call: Call) -> list[Json]:
    """getChatAdministrators: the administrators of a room, without other bots."""
    room = call.room()
    if room.private:
        raise bad_request("there are no administrators in the private chat")
    return [_admin(call, room, who) for who in room.members if _is_shown(call, room, who)]


def _is_shown(call: Call, room: Room, who: int) -> bool:
    return room.is_admin(who) and (who in call.world.members.persons or who == call.bot.id)


def _admin(call: Call, room: Room, who: int) -> Json:
    user = call.world.members.user(who) or {}
    return chat_member(user, room.members[who], channel=room.type == "channel")


def get_chat_member_count(call: Call) -> int:
    """getChatMemberCount: how many are in a room."""
    room = call.room()
    return sum(room.is_member(who) for who in room.members)


def get_file(call: Call) -> Json:
    """getFile: where to download a file of at most 20 MB."""
    number = call.params.text("file_id")
    if not number:
        raise bad_request("file_id not specified")
    stored = call.world.files.by_id(number)
    if stored is None:
        raise bad_request("invalid file_id")
    if len(stored.data) > DOWNLOAD_LIMIT:
        raise bad_request("file is too big")
    return stored.show()


def set_my_commands(call: Call) -> bool:
    """setMyCommands: the commands of one scope and language."""
    given = call.params.json("commands", "commands")
    if given is None:
        given = []
    if not isinstance(given, list):
        raise bad_request("expected an Array of BotCommand")
    commands = [_command(raw) for raw in given]
    if len(commands) > _MOST_COMMANDS:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    key = _scope(call)
    if commands:
        call.bot.commands[key] = commands
    else:
        call.bot.commands.pop(key, None)
    call.world.journal.save_bot(call.bot)
    return True


def get_my_commands(call: Call) -> list[Json]:
    """getMyCommands: the commands of exactly this scope and language."""
    return call.bot.commands.get(_scope(call), [])


def delete_my_commands(call: Call) -> bool:
    """deleteMyCommands: wider scopes count again."""
    call.bot.commands.pop(_scope(call), None)
    call.world.journal.save_bot(call.bot)
    return True


def _command(raw: Any) -> Json:
    if not isinstance(raw, dict):
        raise bad_request("can't parse BotCommand: expected an Object")
    for name in ("command", "description"):
        if not isinstance(raw.get(name), str):
            raise bad_request(f"can't parse BotCommand: Can't find field \"{name}\"")
    command = raw["command"].strip().removeprefix("/")
    description = raw["description"].strip()
    if not command:
        raise bad_request("command must be non-empty")
    if len(command) > 32:
        raise bad_request("command length must not exceed 32")
    if not description:
        raise bad_request("command description must be non-empty")
    if len(description) > 256:
        raise bad_request("command description length must not exceed 256")
    if not _COMMAND.match(command):
        raise bad_request("BOT_COMMAND_INVALID")
    shown: Json = {"command": command, "description": description}
    return shown | {"is_ephemeral": True} if raw.get("is_ephemeral") else shown


def _scope(call: Call) -> str:
    language = call.params.text("language_code")
    if not _LANGUAGE.match(language):
        raise bad_request("invalid language code specified")
    scope = call.params.json("scope", "BotCommandScope")
    scope = {"type": "default"} if scope is None else scope
    if not isinstance(scope, dict):
        raise _no_scope("BotCommandScope must be an Object")
    kind = scope.get("type")
    if kind in _WIDE:
        return f"{kind}:{language}"
    if kind not in _NARROW:
        raise _no_scope("Unsupported type specified")
    if not scope.get("chat_id"):
        raise _no_scope("Empty chat_id specified")
    room = Call(call.world, call.bot, Params(scope, {})).room()
    user = scope.get("user_id", 0) if kind == "chat_member" else 0
    if kind == "chat_member" and not (isinstance(user, int) and user > 0):
        raise _no_scope("Invalid user_id specified")
    return f"{kind}:{room.id}:{user}:{language}"


def _no_scope(words: str) -> Exception:
    return bad_request(f"can't parse BotCommandScope: {words}")
