"""What the inner rings need of the outer ones: ports, and the values that pass through them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from bot.events import Address, Json, Outgoing, TurnRef


class Clock(Protocol):
    """Wall time for people, monotonic time for deadlines, and sleeping; tests bring their own."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward, also while the machine sleeps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a negative time is none."""
        ...


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write for a line: the number of the acquisition that gave it."""

    line: str
    token: int


# --- the store: inbox, journal, outbox ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """An accepted update in a line's inbox; `id` is its durable order and, later, its turn's id."""

    id: str
    update: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Update:
    """What came in: its number and its JSON. `name` tells it from others where that is not `id`."""

    id: int
    raw: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The new entries, and the id of the newest that the inbox had had before them."""

    entries: list[Entry]
    before: str


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
class Posted:
    """A part in the outbox. `doubtful` is set where an earlier owner may have sent it already."""

    id: str
    outgoing: Outgoing
    doubtful: bool = False


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


class Inbox(Protocol):
    """A line's accepted updates."""

    async def accept(
        self, line: str, updates: Sequence[Update], fence: Fence | None = None
    ) -> Accepted:
        """Store what was not seen before; what is new comes back in order, with its id.

        Anybody may; without the owner's `fence` the owner is told to look.
        """
        ...

    async def fetch(self, line: str, id: str) -> Entry | None:
        """One entry, or None where it is done."""
        ...

    async def pending(self, line: str, after: str = "", count: int = 1000) -> list[Entry]:
        """Entries that are not done yet, in order, beginning after an id."""
        ...

    async def settle(
        self,
        fence: Fence,
        entries: Sequence[str],
        parts: Sequence[Outgoing] = (),
        conv: str | None = None,
    ) -> list[Posted]:
        """Entries are done; what they have to say goes into the outbox in the same step.

        A turn of the first that is open in the conversation `conv` is over.
        """
        ...

    async def bury(
        self, fence: Fence, entry: str, why: str, parts: Sequence[Outgoing] = (), conv: str = ""
    ) -> list[Posted]:
        """Move a poisonous entry to the dead letters, with word to the person."""
        ...


class Outbox(Protocol):
    """A line's parts to send, each with its own receipt."""

    async def post(self, line: str, key: str, parts: Sequence[Outgoing]) -> list[Posted]:
        """Append notices, once for each key; anybody may."""
        ...

    async def unsent(self, line: str, after: str = "", count: int = 1000) -> list[Posted]:
        """Parts without a receipt, in order; the head of each chat may be doubtful."""
        ...

    async def receipt(self, fence: Fence, part: str, turn: TurnRef | None) -> None:
        """A part is sent (or never can be); with its turn's last one the turn is done."""
        ...

    async def shown(self, fence: Fence, nonce: str, message: int) -> bool:
        """A message shows a sheet of calls; whether that has changed since it was asked."""
        ...


@dataclass(frozen=True, slots=True)
class Rest:
    """What was cut off a tool's result: whose it was (its key), and the text.

    `whole` is False where not even the rest was kept to its end.
    """

    key: str
    text: str
    whole: bool = True


class Rests(Protocol):
    """What was cut off results; bounded, and kept for a day."""

    async def keep(self, fence: Fence, ref: TurnRef, handle: str, rest: Rest) -> None:
        """Keep a rest under its handle; done again, it replaces itself."""
        ...

    async def rest(self, line: str, ref: TurnRef, handle: str) -> Rest | None:
        """A rest by its handle, or None where it is not kept (any more)."""
        ...


# --- the model ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request to a model: settings by the spec's names, and the rendered prompt.

    `system` are text blocks, `tools` and `messages` as the Messages API takes them, without cache
    marks: where those go is the model adapter's knowledge. `no_tools` keeps the tools in the prefix
    but forbids a call: the request that ends a turn which came to its limits. `meter` is filled
    while the request runs.
    """

    model: str
    max_tokens: int
    system: Sequence[Json]
    tools: Sequence[Json]
    messages: Sequence[Json]
    temperature: float | None = None
    reasoning_effort: str | None = None
    no_tools: bool = False
    meter: Meter = field(default_factory=lambda: Meter(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request, by kind; `input` excludes both cache kinds."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


@dataclass(slots=True)
class Meter:
    """What is known of a request so far, for one that is cut off too.

    `sent`: it may have come to the server, which did not refuse it. `started`: the server told what
    went in (`usage`), its name of the answer and its model. `ended`: it told what came out as well.
    `streamed`: bytes of the answer so far.
    """

    sent: bool = False
    started: bool = False
    ended: bool = False
    message: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    streamed: int = 0


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of the summarised thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolChosen:
    """The model began to write a call of this tool (by its wire name)."""

    name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer of one request; always the last thing that a stream yields.

    `content` holds the blocks ready to be sent back; `stop` is the API's stop reason.
    """

    content: list[dict[str, Any]]
    stop: str
    usage: Usage = field(default_factory=Usage)
    model: str = ""


Piece = TextDelta | ThinkingDelta | ToolChosen | Answer


class Model(Protocol):
    """A way to the Messages API."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[Piece, None]:
        """The pieces of one answer, then the `Answer`; raises `ModelError` kinds."""
        ...


# --- the channel ----------------------------------------------------------------------------------


Buttons = Sequence[Sequence[tuple[str, str]]]
"""Rows of buttons under a message, each with its text and its data."""


class Channel(Protocol):
    """A line's way to its people: renders, sends, previews."""

    def render(
        self,
        address: Address,
        markdown: str,
        reply_to: int | None = None,
        edit: int | None = None,
        buttons: Buttons = (),
    ) -> list[Outgoing]:
        """Markdown as the parts of an answer, the first as an edit where a message is given.

        The last part has the buttons; an edit without any takes away those that were there.
        """
        ...

    async def administers(self, address: Address, person: int) -> bool:
        """Whether somebody is an admin of this chat; in a private one, its person is."""
        ...

    async def has_left(self, address: Address, person: int) -> bool:
        """Whether somebody is surely not in this chat any more."""
        ...

    async def deliver(self, parts: Sequence[Posted]) -> None:
        """Parts that are in the outbox now: send them in the order of their chat.

        An empty list means that the step was done before: the outbox is read for what is new.
        """
        ...

    async def sent(self, entry: str) -> None:
        """Return once no part of this turn is left to send."""
        ...

    async def preview(
        self, address: Address, draft: int, markdown: str, message: int | None
    ) -> int | None:
        """Show a growing answer if the chat has a free slot; the message id that shows it."""
        ...

    async def typing(self, address: Address) -> None:
        """Show that an answer is coming, if the chat has a free slot."""
        ...

    async def fetch(self, file: str, most: int) -> bytes:
        """A file that a person sent, of at most `most` bytes; raises `TelegramError` kinds."""
        ...
