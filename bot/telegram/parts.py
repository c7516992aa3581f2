"""The calls that make up an answer: rendered from Markdown, marked, or put in another form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bot.messages import (
    UNKNOWN_MESSAGE,
    Address,
    Buttons,
    CallbackPress,
    OutgoingPart,
    PartKind,
    RichText,
)
from bot.ops.redaction import Secrets
from bot.safety.output_filter import shows_secret
from bot.telegram.errors import BadRequest, CannotParse, ChatMigrated, MessageGone, TelegramError
from bot.telegram.markdown import renderer
from bot.telegram.markdown.split import split
from bot.turn.results import SILENT

METHODS: dict[PartKind, str] = {
    "message": "sendMessage",
    "edit": "editMessageText",
    "clear_keyboard": "editMessageReplyMarkup",
    "callback_answer": "answerCallbackQuery",
}
CALLBACK_ANSWER_LIMIT = 200
PREVIEWED = frozenset({"sendMessage", "editMessageText"})
"""Methods of ours after which Telegram fetches the first link of the text, where it may."""


def render(
    address: Address,
    markdown: str,
    secrets: Secrets,
    reply_to: int | None = None,
    edit: int | None = None,
    buttons: Buttons = (),
    *,
    link_previews: bool = False,
) -> list[OutgoingPart]:
    """Markdown as parts; see `Channel.render`."""
    parts = []
    blank = [RichText(SILENT)] if markdown else []  # an answer always says something
    for rich in _messages(markdown, secrets) or blank:
        payload = text_payload(address, rich, reply_to, link_previews=link_previews)
        if edit == UNKNOWN_MESSAGE:
            parts.append(mark_repeated(OutgoingPart(address.chat, "message", payload)))
        elif edit is not None:
            payload = {"message_id": edit} | _without(payload, "reply_parameters")
            parts.append(OutgoingPart(address.chat, "edit", payload))
        else:
            parts.append(OutgoingPart(address.chat, "message", payload))
        reply_to = edit = None
    if buttons and parts:
        rows = [[{"text": text, "callback_data": data} for text, data in row] for row in buttons]
        keyboard = {"reply_markup": {"inline_keyboard": rows}}
        parts[-1] = replace(parts[-1], payload={**parts[-1].payload, **keyboard})
    return parts


def _messages(markdown: str, secrets: Secrets) -> list[RichText]:
    """Markdown as the texts of messages, without secrets.

    A secret that two pieces of a long text would show together is looked for as well.
    """
    found = [without_secrets(rich, secrets) for rich in renderer.render_pieces(markdown)]
    if len(found) > 1 and shows_secret(whole := renderer.join(found), secrets):
        found = [without_secrets(RichText(whole.text), secrets)]
    return [part for rich in found for part in split(rich, renderer.PART_LIMIT)]


def without_secrets(rich: RichText, secrets: Secrets) -> RichText:
    """A text as people will see it, without secrets; where it had one, as plain text."""
    return RichText(secrets.redact(rich.text)) if shows_secret(rich, secrets) else rich


def callback_answer(press: CallbackPress, text: str) -> OutgoingPart:
    """The text that is shown for a moment to whoever pressed, cut to what Telegram shows."""
    payload = {"callback_query_id": press.query, "text": text[:CALLBACK_ANSWER_LIMIT]}
    return OutgoingPart(press.address.chat, "callback_answer", payload)


def text_payload(
    address: Address, rich: RichText, reply_to: int | None = None, *, link_previews: bool = False
) -> dict[str, Any]:
    """One message's JSON without its chat: text, entities, topic, what it replies to."""
    payload: dict[str, Any] = {"text": rich.text}
    if link_previews:
        payload["link_preview_options"] = {"is_disabled": False}
    if rich.entities:
        payload["entities"] = list(rich.entities)
    if address.topic is not None:
        payload["message_thread_id"] = address.topic
    if reply_to is not None:
        payload["reply_parameters"] = {
            "message_id": reply_to,
            "allow_sending_without_reply": True,
        }
    return payload


def without_link_preview(method: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of a call after which Telegram fetches no link, unless it says that it may.

    An edit needs it as well: without it, the first link would be fetched after all. A draft cannot
    have it and needs none: no link of it is fetched until the message is sent.
    """
    if method in PREVIEWED and "link_preview_options" not in payload:
        return {**payload, "link_preview_options": {"is_disabled": True}}
    return dict(payload)


def mark_repeated(part: OutgoingPart) -> OutgoingPart:
    """A message that may be there already, with the mark that says so; an edit needs none."""
    text = part.payload.get("text", "")
    if part.kind != "message" or text.startswith(renderer.MARK):
        return part
    rich = renderer.with_mark(RichText(text, tuple(part.payload.get("entities", ()))))
    payload = _without(part.payload, "entities") | {"text": rich.text}
    if rich.entities:
        payload["entities"] = list(rich.entities)
    return replace(part, payload=payload)


def fallback_part(part: OutgoingPart, error: TelegramError) -> OutgoingPart | None:
    """Another form of a refused part that may pass, so that nothing of an answer is lost."""
    payload = part.payload
    if isinstance(error, ChatMigrated):
        return _migrated(part, error.to)
    if isinstance(error, MessageGone) and part.kind == "edit":
        if part.best_effort:
            return None
        return replace(part, kind="message", payload=_without(payload, "message_id"))
    if isinstance(error, CannotParse) and "entities" in payload:
        return replace(part, payload=_without(payload, "entities"))
    if isinstance(error, BadRequest) and {"entities", "reply_parameters"} & payload.keys():
        return replace(part, payload=_without(payload, "entities", "reply_parameters"))
    return None


def _migrated(part: OutgoingPart, to: int) -> OutgoingPart | None:
    """The same part for the chat's new id, where the ids of old messages mean others."""
    payload = _without(part.payload, "message_id", "reply_parameters")
    if part.kind == "edit" and not part.best_effort:
        return replace(part, chat=to, kind="message", payload=payload)
    if "message_id" in part.payload:
        return None
    return replace(part, chat=to, payload=payload)


def _without(payload: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in keys}
