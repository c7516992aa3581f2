"""Methods that put something into a room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bot.sandbox.telegram import keyboards, records, richtext
from bot.sandbox.telegram.files import KINDS, UPLOAD_LIMIT, Stored
from bot.sandbox.telegram.methods.call import Call
from bot.sandbox.telegram.refusals import RefusedError, bad_request
from bot.sandbox.telegram.rooms import (
    DRAFT_SECONDS,
    TYPING_SECONDS,
    Draft,
    Message,
    Room,
)

Json = dict[str, Any]

ACTIONS = frozenset(
    {
        "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice",
        "record_audio", "upload_audio", "upload_document", "choose_sticker", "find_location",
        "pick_up_location", "record_video_note", "upload_video_note", "cancel",
    }
)  # fmt: skip
_COPIED = ("text", "entities", "caption", "caption_entities", *sorted(KINDS), "contact", "location")


def send_message(call: Call) -> Json:
    """sendMessage: a text."""
    rich = richtext.message_text(call.params, call.world.user)
    content: Json = {"text": rich.text}
    if rich.entities:
        content["entities"] = rich.entities
    return _send(call, content).body


def send_file(kind: str) -> Callable[[Call], Json]:
    """A method like sendDocument, for one kind of file."""

    def send(call: Call) -> Json:
        content: Json = {}
        if kind not in {"sticker", "video_note"}:
            rich = richtext.caption(call.params, call.world.user)
            if rich is not None:
                content["caption"] = rich.text
                content |= {"caption_entities": rich.entities} if rich.entities else {}
        room = call.room(write=True)
        stored = _file(call, kind)
        return _send(call, {kind: stored.content()} | content, room).body

    return send


def _file(call: Call, kind: str) -> Stored:
    given = call.params.text(kind)
    attached = given.removeprefix("attach://") if given.startswith("attach://") else kind
    upload = call.params.files.get(attached)
    if upload is None:
        return _known_file(call, kind, given)
    if not upload.data:
        raise bad_request("file must be non-empty")
    if len(upload.data) > UPLOAD_LIMIT:
        raise RefusedError(413, "Request Entity Too Large")
    stored = call.world.files.store(kind, upload.name, upload.data, upload.mime)
    call.world.note("file", records.file_record(stored))
    return stored


def _known_file(call: Call, kind: str, given: str) -> Stored:
    if not given:
        raise bad_request(f"there is no {kind.replace('_', ' ')} in the request")
    stored = call.world.files.by_id(given)
    if stored is None:
        raise bad_request("wrong file identifier/HTTP URL specified")
    return stored


def _send(call: Call, content: Json, room: Room | None = None) -> Message:
    room = room or call.room(write=True)
    markup = keyboards.markup(call.params, private=room.private)
    topic = call.topic(room)
    reply, quote = call.reply(room)
    content |= quote
    if call.params.flag("protect_content"):
        content["has_protected_content"] = True
    if markup.inline is not None:
        content["reply_markup"] = markup.inline
    return call.world.post(
        room, call.bot, content, reply_to=reply, topic=topic, screen=markup.screen
    )


def copy_message(call: Call) -> Json:
    """copyMessage: the same content as a message of the bot's own."""
    source = call.message(call.room("from_chat_id"), "copy")
    content = {name: source.body[name] for name in _COPIED if name in source.body}
    if source.service or not content:
        raise bad_request("message can't be copied")
    if call.params.has("caption") and "text" not in content:
        rich = richtext.caption(call.params, call.world.user)
        content.pop("caption_entities", None)
        content["caption"] = rich.text if rich else ""
        content |= {"caption_entities": rich.entities} if rich and rich.entities else {}
    return {"message_id": _send(call, content).id}


def send_chat_action(call: Call) -> bool:
    """sendChatAction: what the bot seems to be doing, for five seconds."""
    action = call.params.text("action").lower()
    if action not in ACTIONS:
        raise bad_request("wrong parameter action in request")
    room = call.room(write=True)
    topic = call.topic(room)
    if action == "cancel":
        room.typing.pop(call.bot.id, None)
    else:
        room.typing[call.bot.id] = (action, call.world.now() + TYPING_SECONDS)
    data = {"action": action, "bot": call.bot.id, "topic": topic}
    call.world.happenings.tell("typing", data, chat=room.key, bot=call.bot.id)
    return True


def send_message_draft(call: Call) -> bool:
    """sendMessageDraft: what the bot is writing, shown for 30 seconds in a private chat."""
    room = call.room(write=True)
    if not room.private:
        raise bad_request("TEXTDRAFT_PEER_INVALID")
    number = call.params.integer("draft_id")
    if number == 0:
        raise bad_request("RANDOM_ID_INVALID")
    rich = richtext.Rich("", [])
    if call.params.text("text"):
        rich = richtext.message_text(call.params, call.world.user)
    topic = call.topic(room)
    draft = Draft(
        number,
        call.bot.id,
        rich.text,
        rich.entities,
        call.world.now() + DRAFT_SECONDS,
        topic,
        call.params.flag("can_stop"),
        call.params.flag("keep_on_stop"),
    )
    for key in [k for k in room.drafts if k[0] == call.bot.id]:
        del room.drafts[key]
    room.drafts[(call.bot.id, number)] = draft
    call.world.tell_draft(room, draft.show())
    return True
