"""What one call of an answer holds: rendered from Markdown, marked, or put in another way; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bot.errors import (
    BadRequest,
    CannotParse,
    ChatMigrated,
    FateUnknown,
    MessageGone,
    TelegramError,
)
from bot.messages import UNKNOWN_MESSAGE, Address, Buttons, CallbackPress, OutgoingPart, RichText
from bot.ops.redaction import Secrets
from bot.safety.output_filter import shows_secret
from bot.telegram.markdown import renderer
from bot.turn.results import SILENT

WORD_LIMIT = 200
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
    """Markdown as parts: the first edits a message where one is given, the last has buttons.

    An answer whose beginning may be in the chat already, nobody knows where, begins with the mark.
    """
    parts = []
    blank = [RichText(SILENT)] if markdown else []  # an answer always says something
    for rich in _shown(markdown, secrets) or blank:
        body = payload(address, rich, reply_to, link_previews=link_previews)
        if edit == UNKNOWN_MESSAGE:
            parts.append(mark_repeated(OutgoingPart(address.chat, "sendMessage", body)))
        elif edit is not None:
            body = {"message_id": edit} | _without(body, "reply_parameters")
            parts.append(OutgoingPart(address.chat, "editMessageText", body))
        else:
            parts.append(OutgoingPart(address.chat, "sendMessage", body))
        reply_to = edit = None
    if buttons and parts:
        keyboard = {"reply_markup": {"inline_keyboard": _keyboard(buttons)}}
        parts[-1] = replace(parts[-1], payload={**parts[-1].payload, **keyboard})
    return parts


def _shown(markdown: str, secrets: Secrets) -> list[RichText]:
    """Markdown as the messages that say it, without what nobody may read.

    A secret that two pieces of a long text would show together is looked for as well.
    """
    found = [without_secrets(rich, secrets) for rich in renderer.pieces(markdown)]
    if len(found) > 1 and shows_secret(whole := renderer.joined(found), secrets):
        found = [without_secrets(RichText(whole.text), secrets)]
    return [part for rich in found for part in renderer.split(rich, renderer.PART_LIMIT)]


def callback_answer(press: CallbackPress, text: str) -> OutgoingPart:
    """The short text that is shown to whoever pressed, cut where it is too long to be shown."""
    answer = {"callback_query_id": press.query, "text": text[:WORD_LIMIT]}
    return OutgoingPart(press.address.chat, "answerCallbackQuery", answer)


def without_secrets(rich: RichText, secrets: Secrets) -> RichText:
    """A text as people will see it, without secrets; where it had one, as plain text."""
    if not shows_secret(rich, secrets):
        return rich
    return RichText(secrets.redact(rich.text))


def closed(method: str, payload: dict[str, Any]) -> dict[str, Any]:
    """A call in which Telegram fetches no link, unless the call itself says that it may.

    An edit needs it as well: one that says nothing would have the first link fetched after all. A
    draft has no place for it and needs none, since it is text alone until the message is sent.
    """
    if method not in PREVIEWED or "link_preview_options" in payload:
        return payload
    return payload | {"link_preview_options": {"is_disabled": True}}


def payload(
    address: Address, rich: RichText, reply_to: int | None, *, link_previews: bool = False
) -> dict[str, Any]:
    """One message's JSON without its chat: text, entities, topic, what it replies to."""
    body: dict[str, Any] = {"text": rich.text}
    if link_previews:
        body["link_preview_options"] = {"is_disabled": False}
    if rich.entities:
        body["entities"] = list(rich.entities)
    if address.topic is not None:
        body["message_thread_id"] = address.topic
    if reply_to is not None:
        body["reply_parameters"] = {
            "message_id": reply_to,
            "allow_sending_without_reply": True,
        }
    return body


def _keyboard(buttons: Buttons) -> list[list[dict[str, str]]]:
    return [[{"text": text, "callback_data": data} for text, data in row] for row in buttons]


def _without(payload: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name != key}


def mark_repeated(outgoing: OutgoingPart) -> OutgoingPart:
    """A message that may be there already, with the mark that says so; an edit needs none."""
    text = outgoing.payload.get("text", "")
    if outgoing.method != "sendMessage" or text.startswith(renderer.MARK):
        return outgoing
    entities = tuple(outgoing.payload.get("entities", ()))
    rich = renderer.with_mark(RichText(text, entities), renderer.MARK)
    return replace(outgoing, payload=_with_text(outgoing, rich))


def _with_text(outgoing: OutgoingPart, rich: RichText) -> dict[str, Any]:
    payload = _without(dict(outgoing.payload), "entities") | {"text": rich.text}
    return payload | ({"entities": list(rich.entities)} if rich.entities else {})


def number(method: str, sent: Any) -> int:
    """The number of the message that a call has made; raises FateUnknown where there is none."""
    found = sent.get("message_id") if isinstance(sent, dict) else None
    if not isinstance(found, int):
        raise FateUnknown(method, "an answer without a message_id")
    return found


def _moved(outgoing: OutgoingPart, to: int) -> OutgoingPart | None:
    """The same part in the chat's new place, where the numbers of old messages mean others."""
    payload = _without(_without(dict(outgoing.payload), "message_id"), "reply_parameters")
    if outgoing.method == "editMessageText" and not outgoing.lapses:
        return replace(outgoing, chat=to, method="sendMessage", payload=payload)
    if "message_id" in outgoing.payload:
        return None
    return replace(outgoing, chat=to, payload=payload)


def other_way(outgoing: OutgoingPart, error: TelegramError) -> OutgoingPart | None:
    """Another form of the same part that may pass: nothing of an answer is lost to a refusal."""
    payload = dict(outgoing.payload)
    if isinstance(error, ChatMigrated):
        return _moved(outgoing, error.to)
    if isinstance(error, MessageGone) and outgoing.method == "editMessageText":
        if outgoing.lapses:
            return None
        return replace(outgoing, method="sendMessage", payload=_without(payload, "message_id"))
    if isinstance(error, CannotParse) and "entities" in payload:
        return replace(outgoing, payload=_without(payload, "entities"))
    if isinstance(error, BadRequest) and {"entities", "reply_parameters"} & payload.keys():
        bare = _without(_without(payload, "entities"), "reply_parameters")
        return replace(outgoing, payload=bare)
    return None
