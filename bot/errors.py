"""Every error that the host raises on purpose.

SwitchboardError
├── ConfigError               the host cannot start; says where and how to fix it
│   └── WrongWords            what was typed after a verb of the command line makes no sense
├── StoreError
│   ├── StoreUnavailable      the store is away or full; waiting may help
│   ├── WrongType             a key holds the wrong type: wait until it is repaired
│   ├── FencedOut             another host owns the line now; never retried
│   ├── CrashSuspect          the turn was open each time the host crashed: run it alone
│   └── PoisonMessage         the turn was begun again and again and got nowhere
├── ChannelError              a call to a chat failed; every channel has its own kinds below these
│   ├── ChannelRefused        it was not done
│   ├── ChannelFailed         it may have been done; nothing of it can happen later
│   ├── ChannelFateUnknown    no answer: it may have been done, or may still be done
│   └── ChannelRevoked        the credential is no longer valid
├── ModelError                a model request failed
│   ├── ModelBusy             429, 529, 5xx, no connection: another try may help
│   │   └── ModelTimeout      no answer in time
│   ├── BrokenStream          the stream ended early: the step is made again
│   │   └── StreamTimeout     nothing more came in time
│   ├── StaleThinking         the thinking in the history is not taken back as it is
│   └── ModelRefused          401, 403, 404, a setting: another try will not help
│       └── RequestRefused    400: something that was sent is at fault; less of it may pass
│           └── PromptTooLong 413, or in words: more was sent than the model takes
├── UnreadableFile            a file that somebody sent cannot be read; says why
├── OutOfBudget               a budget has too little left for another model request
└── ToolError                 a tool call without a result
    ├── ToolUnavailable       it did not run
    └── ToolFateUnknown       it may have run
"""

from __future__ import annotations

import asyncio
from typing import Literal


class SwitchboardError(Exception):
    """The root of all errors of the host."""


class ConfigError(SwitchboardError):
    """The host cannot start; the message says where and how to fix it."""


class WrongWords(ConfigError):
    """What was typed after a verb of the command line makes no sense; says what does."""


class StoreError(SwitchboardError):
    """The store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store is away, loading or full; nothing was lost, waiting may help."""


class StoreForbidden(StoreUnavailable):
    """The store's user may not do this: an admin can allow it again while the host runs."""


class WrongType(StoreError):
    """A key of the store holds a value of the wrong type; the message says how to fix it.

    `repaired` is set once the key holds something else, or nothing.
    """

    def __init__(self, message: str, repaired: asyncio.Event | None = None) -> None:
        super().__init__(message)
        self.repaired = repaired or asyncio.Event()


class FencedOut(StoreError):
    """A write carried a stale fence: another host owns the line now."""


class CrashSuspect(StoreError):
    """The turn was open at several crashes of the host; run alone, it shows if it was the cause.

    It was begun `attempts` times, and may be begun once more in `again_in` seconds.
    """

    def __init__(self, attempts: int, again_in: float) -> None:
        super().__init__(f"open at {attempts} ends of the host")
        self.attempts = attempts
        self.again_in = again_in


class PoisonMessage(StoreError):
    """The turn was begun again and again without recording anything new: its entry is set aside.

    `opened` is what the store had of the turn.
    """

    def __init__(self, message: str, opened: object = None) -> None:
        super().__init__(message)
        self.opened = opened


class ChannelError(SwitchboardError):
    """A call to a chat failed; `description` is the reason in the other side's words."""

    def __init__(self, method: str, description: str) -> None:
        super().__init__(f"{method}: {description}")
        self.method = method
        self.description = description


class ChannelRefused(ChannelError):
    """The call was not done."""


class ChannelFailed(ChannelError):
    """The other side answered that it failed: the call may have been done, but not any later."""


class ChannelFateUnknown(ChannelError):
    """No answer came: the call may have been done, or may still be done."""


class ChannelRevoked(ChannelError):
    """The credential of the line is no longer valid; `why` and `cure` are for the operator."""

    why = "the credential is no longer valid"
    cure = "get a new one and set it; the other bots are not affected"


class ModelError(SwitchboardError):
    """A model request failed; `cause` says whose fault that is."""

    cause = "neighbour"


class ModelBusy(ModelError):
    """Another try may help, not before `retry_after` seconds where the server named them."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelTimeout(ModelBusy):
    """No answer came in time."""


class BrokenStream(ModelError):
    """The stream was cut, stalled, or ended without its last event."""


class StreamTimeout(BrokenStream):
    """The stream stalled: nothing more came in time."""


class StaleThinking(ModelError):
    """Thinking in the history is refused, or missed: send none, and in a loop ask for none."""

    cause = "history"


ModelFault = Literal[
    "no key", "no real key", "key", "permission", "credit", "model", "address", "setting"
]


class ModelRefused(ModelError):
    """The key, the model's name or a setting is wrong, as `fault` says; no other try will help."""

    cause = "us"

    def __init__(self, message: str, fault: ModelFault = "setting") -> None:
        super().__init__(message)
        self.fault: ModelFault = fault


class RequestRefused(ModelRefused):
    """Something that was sent is at fault.

    `place` is the position of a message and of a block in it, where the server names them;
    `about_images`: its words are about images.
    """

    cause = "history"

    def __init__(
        self, message: str, place: tuple[int, int] | None = None, *, about_images: bool = False
    ) -> None:
        super().__init__(message)
        self.place = place
        self.about_images = about_images


class PromptTooLong(RequestRefused):
    """More was sent than the model, or its server, takes at once."""


class UnreadableFile(SwitchboardError):
    """A file that somebody sent cannot be read; the message says why."""


class OutOfBudget(SwitchboardError):
    """A budget has too little left for the next model request; the message is for the person."""


class ToolError(SwitchboardError):
    """A tool call ended without a result: its time was up, or HTTP gave this error `status`."""

    def __init__(self, message: str, *, timed_out: bool = False, status: int = 0) -> None:
        super().__init__(message)
        self.timed_out = timed_out
        self.status = status


class ToolUnavailable(ToolError):
    """The call did not run."""


class ToolFateUnknown(ToolError):
    """The call may have run."""
