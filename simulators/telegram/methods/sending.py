"""Methods that put something into a room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulators.telegram import keyboards, previews, richblocks, richtext
from simulators.telegram.files import KINDS, UPLOAD_LIMIT, StoredFile
from simulators.telegram.methods.call import Call
from simulators.telegram.refusals import RefusedError, bad_request
from simulators.telegram.rooms import DRAFT_SECONDS, TYPING_SECONDS, Draft, Message, Room

Json = dict[str, Any]

ACTIONS = frozenset(
    {
        "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice",
        "record_audio", "upload_audio", "upload_document", "choose_sticker", "find_location",
        "pick_up_location", "record_video_note", "upload_video_note", "cancel",
    }
)  # fmt: skip
_COPIED = (
    "text", "entities", "caption", "caption_entities", "rich_message", *sorted(KINDS), "contact",
    "location",
)  # fmt: skip


def send_message(call: Call) -> Json:
    """sendMessage: a text, whose first link is fetched for its preview."""
    rich = richtext.message_text(call.params, call.world.members.user)
    content: Json = {"text": rich.text}
    if rich.entities:
        content["entities"] = rich.entities
    if shown := previews.options(call.params):
        content["link_preview_options"] = shown
    room = call.room(write=True)
    message = post(call, content, room)
    call.world.fetches.record(room, message)
    return message.body


def send_file(kind: str) -> Callable[[Call], Json]:
    """A method like sendDocument, for one kind of file."""

    def send(call: Call) -> Json:
        content: Json = {}
        if kind not in {"sticker", "video_note"}:
            rich = richtext.caption(call.params, call.world.members.user)
            if rich is not None:
                content["caption"] = rich.text
                content |= {"caption_entities": rich.entities} if rich.entities else {}
        room = call.room(write=True)
        stored = file(call, kind, call.params.text(kind))
        return post(call, {stored.kind: stored.content()} | content, room).body

    return send


def file(call: Call, kind: str, given: str) -> StoredFile:
    """The file that a call uploads or names by its id; 400 where there is none.

    A file that is there already keeps its kind, but nothing else can be a photo.
    """
    attached = given.removeprefix("attach://") if given.startswith("attach://") else kind
    upload = call.params.files.get(attached)
    if upload is None:
        return _known_file(call, kind, given)
    if not upload.data:
        raise bad_request("file must be non-empty")
    if len(upload.data) > UPLOAD_LIMIT:
        raise RefusedError(413, "Request Entity Too Large")
    stored = call.world.files.store(kind, upload.name, upload.data, upload.mime)
    call.world.journal.save_file(stored)
    return stored


def _known_file(call: Call, kind: str, given: str) -> StoredFile:
    if not given:
        raise bad_request(f"there is no {kind.replace('_', ' ')} in the request")
    stored = call.world.files.by_id(given)
    if stored is None:
        raise bad_request("wrong file identifier/HTTP URL specified")
    if stored.kind != kind and "photo" in (stored.kind, kind):
        raise bad_request(f"can't use file of type {_type(stored.kind)} as {_type(kind)}")
    return stored


def _type(kind: str) -> str:
    return {"voice": "VoiceNote", "video_note": "VideoNote"}.get(kind, kind.title())


def post(call: Call, content: Json, room: Room | None = None) -> Message:
    """A message of the bot's, with the keyboard, topic and reply that every sending call may name.

    The room is the call's own unless given.
    """
    room = room or call.room(write=True)
    markup = keyboards.markup(call.params, private=room.private, manages=call.bot.manages)
    topic = call.topic(room)
    reply, quote = call.reply(room)
    content |= quote
    if call.params.flag("protect_content"):
        content["has_protected_content"] = True
    if markup.inline is not None:
        content["reply_markup"] = markup.inline
    return call.world.messages.post(
        room, call.bot, content, reply_to=reply, topic=topic, screen=markup.screen
    )


def copy_message(call: Call) -> Json:
    """copyMessage: the same content as a message of the bot's own."""
    source = call.message(call.room("from_chat_id"), "copy")
    content = {name: source.body[name] for name in _COPIED if name in source.body}
    if source.service or not content or source.body.get("has_protected_content"):
        raise bad_request("message can't be copied")
    if call.params.has("caption") and "text" not in content:
        rich = richtext.caption(call.params, call.world.members.user)
        content.pop("caption_entities", None)
        content["caption"] = rich.text if rich else ""
        content |= {"caption_entities": rich.entities} if rich and rich.entities else {}
    return {"message_id": post(call, content).id}


def forward_message(call: Call) -> Json:
    """forwardMessage: a message again, with who wrote it first."""
    room = call.room("from_chat_id")
    source = call.message(room, "forward")
    content = {name: source.body[name] for name in _COPIED if name in source.body}
    if source.service or not content or source.body.get("has_protected_content"):
        raise bad_request("message can't be forwarded")
    return post(call, content | {"forward_origin": _origin(source.body)}).body


def _origin(body: Json) -> Json:
    if "forward_origin" in body:
        return dict(body["forward_origin"])
    if "sender_chat" in body:
        origin = {"type": "channel", "chat": body["chat"], "message_id": body["message_id"]}
        return origin | {"date": body["date"]}
    return {"type": "user", "sender_user": body["from"], "date": body["date"]}


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
    call.world.events.emit("typing", data, chat=room.key, bot=call.bot.id)
    return True


def send_message_draft(call: Call) -> bool:
    """sendMessageDraft: what the bot is writing, shown for 30 seconds in a private chat."""
    return show_draft(call)


def show_draft(call: Call, rich: Json | None = None) -> bool:
    """A draft with the call's text, or with a rich message; there is one for each bot and room."""
    room = call.room(write=True)
    if not room.private:
        raise bad_request("TEXTDRAFT_PEER_INVALID")
    number = call.params.integer("draft_id")
    if number == 0:
        raise bad_request("RANDOM_ID_INVALID")
    text = richtext.Rich(richblocks.plain(rich["blocks"]) if rich else "", [])
    if call.params.text("text"):
        text = richtext.message_text(call.params, call.world.members.user)
    topic = call.topic(room)
    draft = Draft(
        number,
        call.bot.id,
        text.text,
        text.entities,
        call.world.now() + DRAFT_SECONDS,
        topic,
        call.params.flag("can_stop"),
        call.params.flag("keep_on_stop"),
        rich,
    )
    for key in [k for k in room.drafts if k[0] == call.bot.id]:
        del room.drafts[key]
    room.drafts[(call.bot.id, number)] = draft
    call.world.messages.show_draft(room, draft)
    return True
