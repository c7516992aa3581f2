"""What is known of a call that has no answer: whether it left us, and why it ended."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class RequestSent:
    """Whether a call's request may have reached its server; set by the transport."""

    left: bool = False


departure_of_call: ContextVar[RequestSent | None] = ContextVar("departure_of_call", default=None)


class TransportCallbacks(Protocol):
    """Who hears from a transport."""

    def lose(self, reason: str) -> None:
        """The server is gone."""
        ...

    def note(self, trouble: str) -> None:
        """Something went wrong that may explain an error that follows."""
        ...


class CallLost(Exception):
    """A call ended without an answer.

    `left` tells whether it may have run, `connection` whether the whole connection went with it,
    `silent` whether nothing broke and the answer just did not come in time.
    """

    def __init__(
        self, reason: str, *, left: bool, connection: bool = True, silent: bool = False
    ) -> None:
        super().__init__(reason)
        self.left = left
        self.connection = connection
        self.silent = silent
