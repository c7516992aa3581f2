"""Every error the host raises on purpose.

SwitchboardError
├── ConfigError               start-up cannot go on; says the place and the cure
├── StoreError
│   ├── StoreUnavailable      the store is away or full; waiting may help
│   ├── WrongType             a key holds what does not belong there: wait until it is mended
│   ├── FencedOut             another owner holds the line now; never retried
│   ├── Suspected             a turn was open when the host ended, again and again: run it alone
│   └── Poisoned              a turn was begun again and again, and came to nothing
├── TelegramError             the Bot API said no; carries its own words
│   ├── BadRequest            400
│   │   ├── CannotParse       the entities were refused: send plain text instead
│   │   ├── NotModified       the edit changes nothing: a success
│   │   ├── MessageGone       the message to edit or delete is not there
│   │   ├── TooLong           the text is over the limit
│   │   └── ChatMigrated      the group has a new id
│   ├── Unauthorized          401, the token is revoked
│   ├── Unreachable           403, or chat not found: this person or chat is closed to us
│   ├── UnknownMethod         404
│   ├── Conflict              409, somebody else polls this token
│   ├── TooManyRequests       429, with the seconds to wait
│   ├── ServerFault           5xx
│   ├── NotSent               the connection failed before the request left
│   └── FateUnknown           the request left, no answer came
├── ModelError                the Messages API said no, or the stream broke
│   ├── ModelBusy             429, 529, 5xx, no connection: another try may help
│   ├── BrokenStream          the stream ended wrongly: the step is made again
│   ├── StaleThinking         a replayed thinking block no longer fits its prefix
│   └── ModelRefused          400, 401, 403, 404: another try will not help
├── OutOfBudget               a budget has not enough for one more model request
└── ToolError                 a tool call that has no result
    ├── ToolUnavailable       it surely did not run
    └── ToolFateUnknown       it may have run
"""

from __future__ import annotations

import asyncio


class SwitchboardError(Exception):
    """The root of all errors of the host."""


class ConfigError(SwitchboardError):
    """Start-up cannot go on; the message names the place and the cure."""


class StoreError(SwitchboardError):
    """The store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store is away, loading or full; nothing was lost, waiting may help."""


class WrongType(StoreError):
    """A key of the store holds what does not belong there; the words name it, and the cure.

    `mended` is set once it holds something else, or nothing.
    """

    def __init__(self, message: str, mended: asyncio.Event | None = None) -> None:
        super().__init__(message)
        self.mended = mended or asyncio.Event()


class FencedOut(StoreError):
    """A write came with a stale fence: another owner holds the line now."""


class Suspected(StoreError):
    """A turn was open at several ends of the host: alone it will show whether it was at fault."""


class Poisoned(StoreError):
    """A turn was begun again and again and recorded nothing new: its entry is set aside.

    `opened` is what was found of it.
    """

    def __init__(self, message: str, opened: object = None) -> None:
        super().__init__(message)
        self.opened = opened


class TelegramError(SwitchboardError):
    """The Bot API refused a call; `description` holds its own words."""

    def __init__(self, method: str, description: str) -> None:
        super().__init__(f"{method}: {description}")
        self.method = method
        self.description = description


class BadRequest(TelegramError):
    """400: the request is wrong as it stands."""


class CannotParse(BadRequest):
    """400 "can't parse entities": the same text without entities will pass."""


class NotModified(BadRequest):
    """400 "message is not modified": the message already says so."""


class MessageGone(BadRequest):
    """400: the message to edit or delete does not exist (any more)."""


class TooLong(BadRequest):
    """400 "message is too long"."""


class ChatMigrated(BadRequest):
    """400: the group became a supergroup; `to` is its new id."""

    def __init__(self, method: str, description: str, to: int) -> None:
        super().__init__(method, description)
        self.to = to


class Unauthorized(TelegramError):
    """401: the token is revoked."""


class Unreachable(TelegramError):
    """403, or 400 "chat not found": this chat is closed to us."""


class UnknownMethod(TelegramError):
    """404: the server does not know this method."""


class Conflict(TelegramError):
    """409: another poller, or a webhook, holds this token."""


class TooManyRequests(TelegramError):
    """429: wait `retry_after` seconds before anything else to this chat."""

    def __init__(self, method: str, description: str, retry_after: float) -> None:
        super().__init__(method, description)
        self.retry_after = retry_after


class ServerFault(TelegramError):
    """5xx: the server failed; the call may or may not have worked."""


class NotSent(TelegramError):
    """No connection: the request surely did not reach the server."""


class FateUnknown(TelegramError):
    """The request left us and no answer came back."""


class ModelError(SwitchboardError):
    """The Messages API refused, or its stream broke."""


class ModelBusy(ModelError):
    """Another try may help, not before `retry_after` seconds when that is known."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BrokenStream(ModelError):
    """The stream was cut, stalled, or ended without its last event."""


class StaleThinking(ModelError):
    """A replayed thinking block is bound to another prefix: strip them all and retry once."""


class ModelRefused(ModelError):
    """The request or the key is wrong; another try will not help."""


class OutOfBudget(SwitchboardError):
    """A budget has not enough for the next model request; the words are for the person."""


class ToolError(SwitchboardError):
    """A tool call ended without a result of its own."""


class ToolUnavailable(ToolError):
    """The call surely did not run."""


class ToolFateUnknown(ToolError):
    """The call may have run; nobody can tell."""
