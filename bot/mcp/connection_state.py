"""What is known of a connection, and of a call that has no answer. Knows nothing of the SDK."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class ConnectionState:
    """Whether a connection is lost, and why; its transport and its callers may say so."""

    lost: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = ""
    trouble: str = ""

    def lose(self, reason: str) -> None:
        """Give the connection up, unless it is lost already."""
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()

    def note(self, trouble: str) -> None:
        """Remember what may explain an error that follows."""
        self.trouble = trouble


@dataclass(slots=True)
class RequestState:
    """Whether a call's request may have reached its server; set by the transport."""

    sent: bool = False


current_request: ContextVar[RequestState | None] = ContextVar("current_request", default=None)


class CallLost(Exception):
    """A call that ended without an answer.

    `sent` tells whether it may have run, `connection` whether the whole connection is lost with it,
    `silent` whether nothing broke and the answer just did not come in time.
    """

    def __init__(
        self, reason: str, *, sent: bool, connection: bool = True, silent: bool = False
    ) -> None:
        super().__init__(reason)
        self.sent = sent
        self.connection = connection
        self.silent = silent
