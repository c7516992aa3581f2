"""Methods by which a bot sets its own name, texts and picture, and a manager reads tokens."""

from __future__ import annotations

from typing import Any

from simulators.telegram.methods.call import Call
from simulators.telegram.people import Bot
from simulators.telegram.refusals import bad_request

Json = dict[str, Any]

_LONGEST = {"name": 64, "description": 512, "short_description": 120}
_JPEG = b"\xff\xd8\xff"


def set_my_name(call: Call) -> bool:
    """setMyName: 1 to 64 characters."""
    name = _text(call, "name").strip()
    if not name:
        raise bad_request("bot name must be non-empty")
    call.bot.name = name
    call.world.journal.save_bot(call.bot)
    return True


def get_my_name(call: Call) -> Json:
    """getMyName: the name that everybody sees."""
    return {"name": call.bot.name}


def set_my_description(call: Call) -> bool:
    """setMyDescription: what an empty chat with the bot shows."""
    call.bot.texts["description"] = _text(call, "description")
    call.world.journal.save_bot(call.bot)
    return True


def get_my_description(call: Call) -> Json:
    """getMyDescription: what an empty chat with the bot shows."""
    return {"description": call.bot.texts.get("description", "")}


def set_my_short_description(call: Call) -> bool:
    """setMyShortDescription: what the bot's profile shows."""
    call.bot.texts["short_description"] = _text(call, "short_description")
    call.world.journal.save_bot(call.bot)
    return True


def get_my_short_description(call: Call) -> Json:
    """getMyShortDescription: what the bot's profile shows."""
    return {"short_description": call.bot.texts.get("short_description", "")}


def set_my_profile_photo(call: Call) -> bool:
    """setMyProfilePhoto: a picture in JPEG, sent with the call itself."""
    given = call.params.json("photo", "InputProfilePhoto")
    if not isinstance(given, dict) or given.get("type") != "static":
        raise bad_request("can't parse InputProfilePhoto: Unsupported type specified")
    name = str(given.get("photo") or "").removeprefix("attach://")
    upload = call.params.files.get(name)
    if upload is None:
        raise bad_request("profile photo must be uploaded as a new file")
    if not upload.data.startswith(_JPEG):
        raise bad_request("IMAGE_PROCESS_FAILED")
    call.bot.photo = upload.data
    return True


def get_managed_bot_token(call: Call) -> str:
    """getManagedBotToken: the token of a bot that this one manages."""
    return _managed(call).token


def replace_managed_bot_token(call: Call) -> str:
    """replaceManagedBotToken: a new token in place of the present one."""
    return call.world.revoke(_managed(call))


def _managed(call: Call) -> Bot:
    number = call.params.integer("user_id")
    if number <= 0:
        raise bad_request("invalid user_id specified")
    bot = call.world.members.bots.get(number)
    if bot is None:
        raise bad_request("user not found")
    if bot.manager != call.bot.id:
        raise bad_request("BOT_ACCESS_FORBIDDEN")
    return bot


def _text(call: Call, field: str) -> str:
    text = call.params.text(field)
    if len(text) > _LONGEST[field]:
        raise bad_request(f"bot {field.replace('_', ' ')} is too long")
    return text
