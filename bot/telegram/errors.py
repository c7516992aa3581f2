"""What the Bot API's refusals mean, as kinds of `ChannelError`.

TelegramError
├── BadRequest (refused)          400
│   ├── CannotParse               the entities were refused: send plain text instead
│   ├── NotModified               the edit changes nothing: a success
│   ├── MessageGone               the message to edit or delete is not there
│   ├── TopicGone                 the topic to write in no longer exists
│   ├── TooLong                   the text or file is over the limit
│   └── ChatMigrated              the group has a new id
├── Unauthorized (revoked)        401
├── ChatClosed (refused)          the chat is there, but takes nothing from us: a right is missing
├── Unreachable (refused)         403, or chat not found: this person or chat is gone
├── UnknownMethod (refused)       404
├── Conflict (refused)            409, another program polls with this token
├── TooManyRequests (refused)     429, with the seconds to wait
├── ServerFault (failed)          5xx
├── NotSent (refused)             the connection failed before the request left
└── FateUnknown (fate unknown)    the request left, and no readable answer came
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar, Final, Literal

from bot.errors import (
    ChannelError,
    ChannelFailed,
    ChannelFateUnknown,
    ChannelRefused,
    ChannelRevoked,
)

Cause = Literal["message", "neighbour", "us"]
"""What was sent, Telegram or the chat, or how this host is set up and how much it sends."""


class TelegramError(ChannelError):
    """A call of the Bot API failed; `cause` says whose fault that is."""

    cause: ClassVar[Cause] = "neighbour"


class BadRequest(TelegramError, ChannelRefused):
    """400: the request is wrong as it stands."""

    cause: ClassVar[Cause] = "message"


class CannotParse(BadRequest):
    """400 "can't parse entities": the same text without entities will pass."""


class NotModified(BadRequest):
    """400 "message is not modified": the message says so already."""


class MessageGone(BadRequest):
    """400: the message to edit or delete does not exist, or no longer does."""


class TopicGone(BadRequest):
    """400 "message thread not found": the topic was deleted, or the chat no longer has topics."""

    cause: ClassVar[Cause] = "neighbour"


class TooLong(BadRequest):
    """400 "message is too long", 413, or a file over our own limit."""


class ChatMigrated(BadRequest):
    """400: the group became a supergroup; `to` is its new id."""

    def __init__(self, method: str, description: str, to: int) -> None:
        super().__init__(method, description)
        self.to = to


class Unauthorized(TelegramError, ChannelRevoked):
    """401: the token is revoked."""

    cause: ClassVar[Cause] = "us"
    why = "Telegram does not know this token (401)"
    cure = "get a new token from @BotFather and set it; the other bots are not affected"


class ChatClosed(TelegramError, ChannelRefused):
    """400 or 403: a right to write is missing, or the topic is closed; an admin there can help."""


class Unreachable(TelegramError, ChannelRefused):
    """403, or 400 "chat not found": the person blocked the bot, left or was never there."""


class UnknownMethod(TelegramError, ChannelRefused):
    """404: the server does not know this method."""


class Conflict(TelegramError, ChannelRefused):
    """409: another poller, or a webhook, holds this token."""

    cause: ClassVar[Cause] = "us"


class TooManyRequests(TelegramError, ChannelRefused):
    """429: send nothing to this chat for `retry_after` seconds."""

    cause: ClassVar[Cause] = "us"

    def __init__(self, method: str, description: str, retry_after: float) -> None:
        super().__init__(method, description)
        self.retry_after = retry_after


class ServerFault(TelegramError, ChannelFailed):
    """5xx, or an answer without the promised result: the call may have worked."""


class NotSent(TelegramError, ChannelRefused):
    """No connection: the request cannot have reached the server."""


class FateUnknown(TelegramError, ChannelFateUnknown):
    """The request left us and no readable answer came back."""


_BY_STATUS: Final[dict[int, type[TelegramError]]] = {
    401: Unauthorized,
    403: Unreachable,
    404: UnknownMethod,
    409: Conflict,
    413: TooLong,
}

# The first expression that fits decides. Words with _ are codes that the server passes through.
_WORDS: Final[tuple[tuple[type[TelegramError], str], ...]] = (
    (NotModified, "message is not modified"),
    (CannotParse, "can't parse|entity_|entities_too_long"),
    (MessageGone, "message to (edit|delete) not found|message can't be (edited|deleted)"),
    (MessageGone, "message_id_invalid|message identifier is not specified"),
    (
        TopicGone,
        "thread not found|message_thread_invalid|topic_(deleted|id_invalid)",
    ),
    (TooLong, "(text|message|caption) is too long|_too_long"),
    (ChatClosed, "(not enough|have no) rights|need administrator rights|chat_admin_required"),
    (ChatClosed, "chat_(guest_)?(send|write)_[a-z_]*forbidden|chat_restricted"),
    (ChatClosed, "topic_closed|topic is closed|peer_id_invalid"),
    (Unreachable, "(chat|user) not found|deactivated|not in the chat|not a member|channel_private"),
    (Unreachable, "bot was (blocked|kicked)|user_is_blocked|chat was deleted"),
)
_BY_WORDS: Final = [(kind, re.compile(words)) for kind, words in _WORDS]

_DEFAULT_RETRY_SECONDS: Final = 5.0
_WAIT: Final = re.compile(r"(?:retry after |(?:flood|slowmode)_wait_)(\d{1,9})\b")


def error_from(
    method: str, status: int, description: str, known: dict[str, Any] | None, header: str | None
) -> TelegramError:
    """The error for a refusal with its parameters; `header` is the answer's Retry-After.

    `known` is False for an answer that is not JSON: something between Telegram and us wrote it. It
    never condemns a token or a chat; everything but a plain refusal counts as temporary.
    """
    parameters = known or {}
    to = parameters.get("migrate_to_chat_id")
    if isinstance(to, int):
        return ChatMigrated(method, description, to)
    if status < 400:  # neither a result nor a refusal
        return FateUnknown(method, description)
    if status == 429 or (
        known is not None and status in (400, 420) and _WAIT.search(description.casefold())
    ):
        seconds = _retry_seconds(parameters.get("retry_after"), header, description)
        return TooManyRequests(method, description, seconds)
    if status >= 500 or (known is None and status not in (400, 413)):
        return ServerFault(method, description)
    said = "" if known is None else description.casefold()
    kinds = [kind for kind, words in _BY_WORDS if words.search(said)]
    if status == 403 and ChatClosed in kinds:
        return ChatClosed(method, description)
    if status in _BY_STATUS:
        return _BY_STATUS[status](method, description)
    return next(iter(kinds), BadRequest)(method, description)


def _retry_seconds(parameter: object, header: str | None, description: str) -> float:
    """Seconds to wait: the answer's own parameter, else its header, its words, else five."""
    worded = _WAIT.search(description.casefold())
    for value in (parameter, header, worded and worded[1]):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        try:
            seconds = float(value)
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return _DEFAULT_RETRY_SECONDS
