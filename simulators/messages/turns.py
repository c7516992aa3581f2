"""What a Script answers: parts of a turn, how it ends, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EventOrName = asyncio.Event | str


@dataclass(frozen=True, slots=True)
class Text:
    """Text for the person."""

    text: str


@dataclass(frozen=True, slots=True)
class Think:
    """Thinking; left out where the request has thinking turned off."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; several in one turn are parallel calls.

    `cut`: the output limit falls inside the call's JSON, so that it never becomes whole.
    """

    name: str
    input: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    cut: bool = False


Part = Text | Think | Call


@dataclass(frozen=True, slots=True)
class HttpError:
    """An error instead of an answer: 401, 429, 500, 529 …; `retry_after` in seconds."""

    status: int
    message: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection closes before any header."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection closes after so many events, or so many bytes of the body."""

    events: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence after so many events, until the gate opens (no gate: until the client leaves)."""

    events: int = 1
    gate: EventOrName | None = None


@dataclass(frozen=True, slots=True)
class EndEarly:
    """A clean end of the stream without message_stop: before message_delta, or after `events`."""

    events: int | None = None


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """An error event after so many events, then a clean end."""

    events: int = 1
    kind: str = "overloaded_error"
    message: str = "Overloaded"


Fault = HttpError | Drop | Cut | Stall | EndEarly | ErrorEvent


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer. `stop` None: tool_use after a call, else end_turn.

    `gate` holds the answer back before its first byte; `pace` is in tokens a second.
    """

    parts: tuple[Part, ...] = ()
    stop: str | None = None
    stop_sequence: str | None = None
    refusal: Mapping[str, Any] | None = None
    fault: Fault | None = None
    gate: EventOrName | None = None
    pace: float | None = None

    @property
    def ending(self) -> str:
        """The stop reason."""
        if self.stop is not None:
            return self.stop
        calls = [part for part in self.parts if isinstance(part, Call)]
        if any(call.cut for call in calls):
            return "max_tokens"
        return "tool_use" if calls else "end_turn"


def turn(*parts: Part | str, **more: Any) -> Turn:
    """A Turn of these parts; a bare string is a Text."""
    return Turn(tuple(Text(p) if isinstance(p, str) else p for p in parts), **more)


def refuse(*parts: Part | str, category: str | None = None, why: str | None = None) -> Turn:
    """A turn that ends with stop reason `refusal`, after what was already said."""
    details = {"type": "refusal", "category": category, "explanation": why}
    return turn(*parts, stop="refusal", refusal=details)
