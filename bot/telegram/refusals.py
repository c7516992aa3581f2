"""The Bot API's refusals, by status and by the server's own words, as the errors of the house."""

from __future__ import annotations

import math
from typing import Any, Final

from bot.errors import (
    BadRequest,
    CannotParse,
    ChatMigrated,
    Conflict,
    FateUnknown,
    MessageGone,
    NotModified,
    ServerFault,
    TelegramError,
    TooLong,
    TooManyRequests,
    Unauthorized,
    UnknownMethod,
    Unreachable,
)

_BY_STATUS: Final[dict[int, type[TelegramError]]] = {
    401: Unauthorized,
    403: Unreachable,
    404: UnknownMethod,
    409: Conflict,
    413: TooLong,
}

# The first line that fits decides. Words in capitals are codes that the server passes through.
_BY_WORDS: Final[tuple[tuple[type[TelegramError], tuple[str, ...]], ...]] = (
    (NotModified, ("message is not modified",)),
    (CannotParse, ("can't parse", "entity_", "entities_too_long")),
    (
        MessageGone,
        (
            "message to edit not found",
            "message to delete not found",
            "message can't be edited",
            "message can't be deleted",
            "message_id_invalid",
            "message identifier is not specified",
        ),
    ),
    (TooLong, ("text is too long", "message is too long", "caption is too long", "_too_long")),
    (
        Unreachable,
        (
            "chat not found",
            "user not found",
            "message thread not found",
            "not enough rights to send",
            "need administrator rights",
            "have no rights to send",
            "peer_id_invalid",
            "chat_write_forbidden",
            "chat_restricted",
            "topic_closed",
            "topic_deleted",
        ),
    ),
)

_RETRY_AFTER: Final = 5.0


def refusal(
    method: str, status: int, words: str, parameters: dict[str, Any], header: str | None
) -> TelegramError:
    """The error for a JSON answer that says no; `header` is the answer's Retry-After."""
    to = parameters.get("migrate_to_chat_id")
    if isinstance(to, int):
        return ChatMigrated(method, words, to)
    if status == 429:
        return TooManyRequests(method, words, _seconds(parameters.get("retry_after"), header))
    if status >= 500:
        return ServerFault(method, words)
    if status in _BY_STATUS:
        return _BY_STATUS[status](method, words)
    if status < 400:  # neither a result nor a refusal
        return FateUnknown(method, words)
    return _bad_request(words)(method, words)


def refusal_without_json(method: str, status: int, words: str, header: str | None) -> TelegramError:
    """The error for an answer that is not JSON, so that something on the way has written it.

    A token or a chat is never judged by such an answer: what is no plain refusal is a fault that
    may pass, and below 400 nobody knows what became of the call.
    """
    if status < 400:
        return FateUnknown(method, words)
    if status == 429:
        return TooManyRequests(method, words, _seconds(None, header))
    kinds: dict[int, type[TelegramError]] = {400: BadRequest, 413: TooLong}
    return kinds.get(status, ServerFault)(method, words)


def _bad_request(words: str) -> type[TelegramError]:
    said = words.casefold()
    for kind, marks in _BY_WORDS:
        if any(mark in said for mark in marks):
            return kind
    return BadRequest


def _seconds(parameter: object, header: str | None) -> float:
    """Seconds to wait: the answer's own parameter, else its header, else five."""
    for value in (parameter, header):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        try:
            seconds = float(value)
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return _RETRY_AFTER
