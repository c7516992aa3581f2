"""A line's transcripts and open turns."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bot.events import Json, Outgoing, TurnRef
from bot.ports.fence import Fence
from bot.ports.outbox import Posted


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a transcript: `kind` says what, `body` is its JSON; `id` is set once stored."""

    kind: str
    body: Json
    id: str = ""


@dataclass(slots=True)
class OpenTurn:
    """A turn as recorded: its state, how often it was begun, and how many writes it has made.

    `preview` is the message that shows the answer while it grows, where the chat has one; `nonce`
    names the last sheet of calls that waited, or waits, for people. `lost` is how many earlier
    lives of the turn may have asked the model and could not write it down. `writing` lets one write
    after the other go, since each has its ordinal.
    """

    ref: TurnRef
    state: Literal["running", "suspended", "sending"]
    render: str
    writes: int = 0
    tries: int = 1
    preview: int | None = None
    nonce: str = ""
    lost: int = 0
    writing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """What `begin` found: the turn, whether it was open before (a recovery), and the transcript.

    `held` is set where another turn of the conversation is open: `turn` is that one then.
    `records` are those after the last known one, or else the newest turns since the last boundary.
    """

    turn: OpenTurn
    resumed: bool
    records: list[Record]
    held: bool = False


class Journal(Protocol):
    """A line's transcripts and open turns; every write names its fence and its ordinal in the turn.

    A write that was already applied (its ordinal is not above the recorded one) is a success, so
    that a call whose answer was lost can be made again.
    """

    async def begin(
        self,
        fence: Fence,
        ref: TurnRef,
        render: str,
        message: Record,
        renders: Mapping[str, bytes],
        known: str = "",
        turns: int = 1000,
        alone: bool = False,
    ) -> Opened:
        """Open the turn and log the person's message, or find it open already.

        `known` is the id of the newest record that the caller has; without one the newest `turns`
        turns since the last boundary come back.
        """
        ...

    async def append(self, fence: Fence, turn: OpenTurn, records: Sequence[Record]) -> str:
        """Log records of a running turn; the id of the newest."""
        ...

    async def finish(
        self,
        fence: Fence,
        turn: OpenTurn,
        records: Sequence[Record],
        parts: Sequence[Outgoing],
    ) -> tuple[str, list[Posted]]:
        """Log the reply and put its rendered parts into the outbox, in one step.

        The id of the newest record, and the parts with their ids: none where the step was done
        before and its answer was lost; then the outbox must be read again.
        """
        ...

    async def note_preview(self, fence: Fence, turn: OpenTurn, message: int) -> None:
        """Remember the message that shows the growing answer."""
        ...

    async def boundary(
        self, fence: Fence, ref: TurnRef, record: Record, parts: Sequence[Outgoing]
    ) -> list[Posted]:
        """Log a boundary: history starts after it. The inbox entry goes with it."""
        ...

    async def newest(self, line: str, ref: TurnRef, count: int = 400) -> list[Record]:
        """The newest records since the last boundary, at most `count`, the oldest first."""
        ...

    async def render(self, line: str, digest: str) -> bytes | None:
        """A stored render by its digest, or None once it has expired."""
        ...
