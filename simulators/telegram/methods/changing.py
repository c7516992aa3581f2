"""Methods that change or remove what is in a room."""

from __future__ import annotations

from typing import Any

from simulators.telegram import keyboards, previews, richtext
from simulators.telegram.methods import rich
from simulators.telegram.methods.call import Call
from simulators.telegram.refusals import NOT_MODIFIED, RefusedError, bad_request
from simulators.telegram.rooms import Message, Room

Json = dict[str, Any]

_DELETABLE_SECONDS = 48 * 3600
_MOST_DELETED = 100
_FACES = "🥰😁🤔🤯😱🤬😢🤩🤮🤡🥱🥴😍🤣🤨😐😈😴😭🤓😇😨🤗🫡🤪😘😎😡"
_HANDS = "👍👎👏🙏👌🖕🤝✍💅🤷"
_THINGS = "❤🔥🎉💩🕊🐳🌚🌭💯⚡🍌🏆💔🍓🍾💋👻👀🎃🙈🎅🎄☃🗿🆒💘🙉🦄💊🙊👾"
_JOINED = {"❤\u200d🔥", "👨\u200d💻", "🤷\u200d♂", "🤷\u200d♀"}
_EMOJI = frozenset(_FACES + _HANDS + _THINGS) | _JOINED


def edit_message_text(call: Call) -> Json:
    """editMessageText: another text, and another inline keyboard (none when it is left out).

    What a message was sent with says nothing of its preview from now on: the edit itself does.
    """
    if call.params.has("rich_message"):
        return _edit_rich(call)
    text = richtext.message_text(call.params, call.world.members.user)
    shown = previews.options(call.params)
    room, message, inline = _target(call)
    if not {"text", "rich_message"} & message.body.keys():
        raise bad_request("there is no text in the message to edit")
    content = {"text": text.text, "entities": text.entities or None, "reply_markup": inline}
    content |= {"rich_message": None, "link_preview_options": shown or None}
    body = _change(call, room, message, content)
    call.world.fetches.record(room, message)
    return body


def _edit_rich(call: Call) -> Json:
    shown = rich.read(call)
    room, message, inline = _target(call)
    if not {"text", "rich_message"} & message.body.keys():
        raise bad_request("there is no text in the message to edit")
    content = {"rich_message": shown, "text": None, "entities": None, "reply_markup": inline}
    return _change(call, room, message, content)


def edit_message_caption(call: Call) -> Json:
    """editMessageCaption: another caption under a file."""
    caption = richtext.caption(call.params, call.world.members.user) or richtext.Rich("", [])
    room, message, inline = _target(call)
    if "text" in message.body or message.service:
        raise bad_request("there is no caption in the message to edit")
    content = {"caption": caption.text or None, "caption_entities": caption.entities or None}
    return _change(call, room, message, content | {"reply_markup": inline})


def edit_message_reply_markup(call: Call) -> Json:
    """editMessageReplyMarkup: only another inline keyboard."""
    room, message, inline = _target(call)
    return _change(call, room, message, {"reply_markup": inline}, silent=True)


def _target(call: Call) -> tuple[Room, Message, Json | None]:
    params = call.params
    if not params.text("chat_id") and not params.integer("message_id"):
        if not params.text("inline_message_id"):
            raise bad_request("message identifier is not specified")
        raise bad_request("MESSAGE_ID_INVALID")
    markup = keyboards.markup(params, private=params.integer("chat_id") > 0)
    room = call.room(write=True)
    message = call.message(room, "edit")
    if message.author != call.bot.id or message.service:
        raise bad_request("message can't be edited")
    if markup.screen is not None:
        raise bad_request("inline keyboard expected")
    return room, message, markup.inline


def _change(
    call: Call, room: Room, message: Message, content: Json, *, silent: bool = False
) -> Json:
    if all(message.body.get(name) == value for name, value in content.items()):
        raise RefusedError(400, f"Bad Request: {NOT_MODIFIED}")
    call.world.messages.change(room, message, content, silent=silent)
    return message.body


def delete_message(call: Call) -> bool:
    """deleteMessage: one message of the last 48 hours that the bot may delete."""
    if not call.params.text("chat_id"):
        raise bad_request("chat identifier is not specified")
    if not call.params.integer("message_id"):
        raise bad_request("message identifier is not specified")
    room = call.room(write=True)
    message = call.message(room, "delete")
    if not _may_delete(call, room, message):
        raise bad_request("message can't be deleted")
    call.world.messages.remove(room, message)
    return True


def delete_messages(call: Call) -> bool:
    """deleteMessages: up to 100 at once; those that are not there are passed over."""
    numbers = call.params.json("message_ids", "message_ids")
    if not numbers:
        raise bad_request("message identifiers are not specified")
    if not isinstance(numbers, list):
        raise bad_request("expected an Array of message identifiers")
    if len(numbers) > _MOST_DELETED:
        raise bad_request("too many message identifiers specified")
    room = call.room(write=True)
    messages = [room.messages[n] for n in numbers if n in room.messages]
    if not all(_may_delete(call, room, m) for m in messages):
        raise bad_request("message can't be deleted")
    for message in messages:
        call.world.messages.remove(room, message)
    return True


def _may_delete(call: Call, room: Room, message: Message) -> bool:
    if room.is_admin(call.bot.id):
        return True
    if call.world.now() - message.body["date"] > _DELETABLE_SECONDS:
        return False
    return room.private or message.author == call.bot.id


def set_message_reaction(call: Call) -> bool:
    """setMessageReaction: one reaction of the bot, or none."""
    given = call.params.json("reaction", "reaction types") or []
    if not isinstance(given, list):
        raise bad_request("expected an Array of ReactionType")
    chosen = [_reaction(raw) for raw in given]
    room = call.room()
    message = call.message(room, "react")
    if len(chosen) > 1:
        raise bad_request("REACTIONS_TOO_MANY")
    call.world.messages.react(room, message, call.bot.id, chosen)
    return True


def _reaction(raw: Any) -> Json:
    if not isinstance(raw, dict):
        raise bad_request("can't parse ReactionType: expected an Object")
    if raw.get("type") == "custom_emoji":
        raise bad_request("REACTION_INVALID")
    if raw.get("type") != "emoji":
        raise bad_request("can't parse ReactionType: invalid reaction type specified")
    emoji = str(raw.get("emoji", "")).replace("\ufe0f", "")
    if emoji not in _EMOJI:
        raise bad_request("REACTION_INVALID")
    return {"type": "emoji", "emoji": emoji}


def answer_callback_query(call: Call) -> bool:
    """answerCallbackQuery: once, within a minute of the press, with at most 200 characters."""
    pressed = call.world.presses.open(call.params.text("callback_query_id"), call.bot)
    text = call.params.text("text")
    if len(text) > 200:
        raise bad_request("MESSAGE_TOO_LONG")
    answer = {"text": text, "show_alert": call.params.flag("show_alert")}
    if call.params.has("url"):
        raise bad_request("URL_INVALID")
    call.world.presses.answer(pressed, answer)
    return True
