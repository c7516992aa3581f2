"""Values that travel between the packages, and three protocols: Channel, Model, Clock.

No wire's types are known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from bot.errors import ChannelRevoked
from registry.binding import BotIdentity

Json = Mapping[str, Any]
ANONYMOUS_ADMIN = 1087968824
"""The id under which Telegram shows the anonymous admins of all groups."""


_NOT_IN_NAMES = re.compile(r"\W+")

PersonId = int | str
"""A person: the numeric id in Telegram, or `api:<account>:<user>` over HTTP."""


@dataclass(frozen=True, slots=True)
class User:
    """Who wrote or pressed; `id` alone decides what they may do.

    Over HTTP `key` is the id of the API key that pays, and `may_decide` says whether the caller may
    answer what an account's agents ask; `is_named` is False where the key names no person.
    """

    id: PersonId
    name: str
    username: str | None = None
    language: str | None = None
    key: str | None = None
    may_decide: bool = False
    is_named: bool = True

    @property
    def telegram_id(self) -> int:
        """The id in Telegram; 0 for a person over HTTP, which nobody has there."""
        return self.id if isinstance(self.id, int) else 0


@dataclass(frozen=True, slots=True)
class Address:
    """Where an answer goes: a chat of one bot and a topic in it, or an event stream over HTTP.

    `migrated_from` is the id that the chat had as a plain group, before it became a supergroup.
    Over HTTP there is neither bot nor chat: `instance` (`acme/sales-smb`) answers, `stream` is the
    turn whose event stream takes the answer, piece by piece where it `grows`. `preset` is laid over
    it, as `<owner>/<id>`.
    """

    bot: int
    chat: int
    topic: int | None = None
    private: bool = True
    migrated_from: int | None = None
    instance: str | None = None
    stream: str | None = None
    grows: bool = True
    preset: str | None = None

    @property
    def original_id(self) -> int:
        """The id that the chat had at first: it names the chat after a migration as well."""
        return self.chat if self.migrated_from is None else self.migrated_from

    @property
    def conversation(self) -> str:
        """The conversation's name in its line: `<original id>` or `<original id>:<topic>`."""
        return str(self.original_id) if self.topic is None else f"{self.original_id}:{self.topic}"


@dataclass(frozen=True, slots=True)
class Command:
    """A command as typed: `/name arguments`; `named` if it is certainly meant for this bot.

    `other` is the username of another bot that it names, in a private chat.
    """

    name: str
    arguments: str = ""
    named: bool = False
    other: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a message, fetched by its `id`; `size` is in bytes, 0 where it is unknown."""

    id: str
    name: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class QuotedMessage:
    """The message that was replied to: its text or caption, its file, and who wrote it.

    For a command in the caption of a file, it has that file. `person` is the id of its author; None
    for a bot, a channel, or an admin who writes in the name of a group.
    """

    text: str = ""
    file: Attachment | None = None
    person: int | None = None


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Words of others that come with a message, as Telegram has them, uncleaned.

    `media` names what else is there and cannot be read yet, such as "a photo". `own`: this bot
    wrote it.
    """

    kind: Literal["forward", "via", "reply", "reply elsewhere", "quote"]
    author: str
    text: str = ""
    media: str | None = None
    own: bool = False


@dataclass(frozen=True, slots=True)
class Specialization:
    """What an agent is specialized in for one task; spec 5, 8.2."""

    language: str = "en"
    vertical: str | None = None
    region: str | None = None

    def shown_name(self, agent: str) -> str:
        """The name of an agent that is specialized so: `influencer_agent_beauty_uae`."""
        given = (self.vertical or "", self.region or "")
        parts = (_NOT_IN_NAMES.sub("_", one.lower()).strip("_") for one in given)
        return "_".join(filter(None, (agent, *parts)))


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What comes with a task: for whom it runs, and what else is known; spec 5, 5.3.

    `metadata` is the caller's own JSON.
    """

    tenant_id: str
    user_id: str
    metadata: Json = field(default_factory=dict)
    specialization: Specialization = field(default_factory=Specialization)


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A message that asks for an answer.

    `text` is what the person wrote (or a caption), without what they only forward or send through
    another bot, with the addresses behind its links; `unsupported` names a kind of message that we
    do not take yet; `addressed` is False where a group did not speak to this bot. `quoted` is the
    message that a command replies to; of any other message `excerpts` has what it brings of others'
    words. `album` is the same for all pictures of one album. A task over HTTP has a `context`.
    `had_token`: the token of a bot was in it, and was taken out before it was stored; `token` is
    that one, sealed, where it was the only one of a private message.
    """

    address: Address
    person: User
    message: int
    sent_at: int
    text: str = ""
    command: Command | None = None
    unsupported: str | None = None
    addressed: bool = True
    quoted: QuotedMessage | None = None
    excerpts: tuple[Excerpt, ...] = ()
    title: str = ""
    album: str = ""
    context: TaskContext | None = None
    had_token: bool = False
    token: str = field(default="", repr=False)

    @property
    def has_words(self) -> bool:
        """Whether there is a text to answer: the person's own, or one that they pass on."""
        kinds = ("forward", "via")
        return bool(self.text) or any(one.kind in kinds and one.text for one in self.excerpts)

    @property
    def is_forward(self) -> bool:
        """Whether the person only forwards it."""
        return any(one.kind == "forward" for one in self.excerpts)


@dataclass(frozen=True, slots=True)
class CallbackPress:
    """A press on a button; `data` is what we put into it, or what a client made up.

    `query` is the press's own id. `message` shows a button with this data; None where none does.
    `reason` comes with a denial over HTTP, where nobody types it afterwards.
    """

    address: Address
    person: User
    query: str
    data: str
    message: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that reaches a running turn at once instead of queueing behind it.

    `draft` is set where the person pressed Stop on a growing answer: it names that answer.
    """

    address: Address
    kind: Literal["stop"]
    person: User | None = None
    draft: int | None = None


@dataclass(frozen=True, slots=True)
class ResumeTurn:
    """A suspended turn resumes; `nonce` names the approval that it waited for."""

    address: Address
    nonce: str


@dataclass(frozen=True, slots=True)
class ChatMigration:
    """A group became a supergroup: the chat at `address` has the id `to` from now on."""

    address: Address
    to: int


@dataclass(frozen=True, slots=True)
class Membership:
    """The bot came into a chat or left it, by what `person` did.

    In a private chat that person unblocked or blocked it. `title` is the group's name.
    """

    address: Address
    person: User
    inside: bool
    title: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    """An update that a rule ignores; the rule's name is counted."""

    rule: str


Event = IncomingMessage | CallbackPress | Signal | ResumeTurn | ChatMigration | Membership
Decoded = Event | Ignored


@dataclass(frozen=True, slots=True)
class TurnRef:
    """Which turn: its inbox entry, its conversation and the agent whose transcript it is."""

    entry: str
    conversation: str
    agent: str


DEFAULT_ACCOUNT = "default"
"""The account of everything that has no other."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who answers: stamped on each ledger line, each record of a turn, and each open turn.

    `revision` is the agent's when the step was made. The rest is None for an agent that belongs to
    no account, has no preset (`<owner>/<id>`) and no client, and is neither released nor on trial.
    """

    account: str
    agent: str
    revision: str
    agent_instance: str | None = None
    preset: str | None = None
    client: str | None = None
    release: str | None = None
    trial: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """Its fields, for a record; `asdict` would copy each of them deeply."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class TurnSummary:
    """How a turn ended, for those who read its event stream.

    `outcome` is done, refused, failed, stopped, or waiting for people. `failure` is what a person
    is told where it failed; `partial` says what is known of an incomplete answer. Tokens are those
    of the whole turn, `tools` the names of what was called. `error` is the kind of what went wrong,
    `stop` why the model ended its last answer, as its API says it; `artifacts` what is known of the
    files that tools gave.
    """

    outcome: str
    failure: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tools: tuple[str, ...] = ()
    model: str = ""
    partial: Json | None = None
    error: str = ""
    stop: str = ""
    artifacts: tuple[Json, ...] = ()

    def as_json(self) -> Json:
        """Its fields, for the store."""
        return {name: getattr(self, name) for name in self.__slots__}


WAITING = "waiting"
"""The outcome of a turn that is suspended until people decide."""

PartKind = Literal["message", "edit", "clear_keyboard", "callback_answer"]


@dataclass(frozen=True, slots=True)
class OutgoingPart:
    """A rendered part, ready to send: of an answer, a notice, or a reply to a press.

    `payload` is the channel's JSON, without the chat's id. The parts of one chat go out in order.
    `tracks` names what the message shows (an approval, an admin's card), for which the message's id
    is remembered. A `best_effort` edit is dropped where its message is gone; any other edit is then
    sent as a message. A `best_effort` message is left out where it is refused. `late_for` is a turn
    that is over, whose history says that this part was not delivered.
    """

    chat: int
    kind: PartKind
    payload: Json
    turn: TurnRef | None = None
    tracks: str = ""
    best_effort: bool = False
    late_for: TurnRef | None = None

    @property
    def may_be_left_out(self) -> bool:
        """Whether nothing is lost where it cannot be delivered."""
        return self.best_effort or self.kind not in ("message", "edit")


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """A part in the outbox. `maybe_sent`: an earlier owner of the line may have sent it already.

    `unwanted` is set once somebody has asked to stop: if sending fails, it is not repeated.
    """

    id: str
    part: OutgoingPart
    maybe_sent: bool = False
    unwanted: asyncio.Event = field(default_factory=asyncio.Event, compare=False, repr=False)


def new_nonce() -> str:
    """A random name for an approval or a card that cannot be guessed."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True)
class RichText:
    """A text with entities as the Bot API takes them; offsets count UTF-16 units."""

    text: str
    entities: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write for a line: the number of its acquisition."""

    line: str
    token: int


class Clock(Protocol):
    """Wall time for people, monotonic time for deadlines, and sleep; tests bring their own."""

    def wall(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds on a clock that only goes forward, also while the machine sleeps."""

    async def sleep(self, seconds: float) -> None:
        """Wait; a negative time counts as none."""


# --- the model ---

Block = dict[str, Any]
"""A content block of the Messages API."""
THINKING = frozenset({"thinking", "redacted_thinking"})
"""Types of blocks that hold thinking."""
INVALID_INPUT = "unfit"
"""Key of a call's block that says why its input cannot be passed on; no server is sent it."""


def text_of(content: Iterable[Block]) -> str:
    """The text of an answer."""
    return "".join(block["text"] for block in content if block["type"] == "text").strip()


NORMAL_ENDS = frozenset({"end_turn", "stop_sequence"})
"""Why the model ends an answer that is whole."""


def is_whole(content: Iterable[Block], stop: str) -> bool:
    """Whether an answer came to its own end, and calls no tool."""
    return stop in NORMAL_ENDS and all(block["type"] != "tool_use" for block in content)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request, by kind; `input` excludes both cache kinds."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


@dataclass(slots=True)
class Meter:
    """What is known of a request so far, even if it was cut off.

    `sent`: it may have reached the server, which did not refuse it. `started`: the server reported
    the input (`usage`), the answer's id (`message`) and its model. `ended`: it reported the output
    as well. `streamed`: bytes of the answer so far.
    """

    sent: bool = False
    started: bool = False
    ended: bool = False
    message: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    streamed: int = 0


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request to a model: settings by the spec's names, and the rendered prompt.

    `system` are text blocks, `tools` and `messages` as the Messages API takes them, without cache
    marks, which the model's adapter sets. `no_tools` keeps the tools in the prefix but forbids
    calls: for the last request of a turn that reached a limit. `passing` is how many blocks at the
    end of the messages are of this request alone, so that no cache should keep them. `meter` is
    filled while the request runs.
    """

    model: str
    max_tokens: int
    system: Sequence[Json]
    tools: Sequence[Json]
    messages: Sequence[Json]
    temperature: float | None = None
    reasoning_effort: str | None = None
    no_tools: bool = False
    passing: int = 0
    meter: Meter = field(default_factory=Meter, compare=False, repr=False)


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
    """The model began to write a call of this tool, by the name that the model knows."""

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
    """A model behind the Messages API."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[Piece, None]:
        """The pieces of one answer, then the `Answer`; raises `ModelError` kinds."""


Buttons = Sequence[Sequence[tuple[str, str]]]
"""Rows of buttons under a message: the text and the data of each."""

UNKNOWN_MESSAGE = 0
"""In place of a message's id: the message may be in the chat, but its id is not known."""


class Channel(Protocol):
    """A line's way to its people, while this host owns the line.

    `revoked` has a result once the line's credential is no longer valid. Calls raise `ChannelError`
    kinds.
    """

    revoked: asyncio.Future[ChannelRevoked]

    def render(
        self,
        address: Address,
        markdown: str,
        reply_to: int | None = None,
        edit: int | None = None,
        buttons: Buttons = (),
        *,
        link_previews: bool = False,
        summary: TurnSummary | None = None,
    ) -> list[OutgoingPart]:
        """Markdown as the parts of an answer; the first is an edit if a message is given.

        With `edit=UNKNOWN_MESSAGE` the first part is marked as possibly there already. The last
        part has the buttons; an edit without any removes the old ones. Links are previewed only if
        `link_previews` is set. An event stream also takes the `summary` of its turn.
        """

    def callback_answer(self, press: CallbackPress, text: str) -> OutgoingPart:
        """What is shown for a moment to the person who pressed."""

    async def is_chat_admin(self, address: Address, person: PersonId) -> bool:
        """Whether a person is an admin of this chat; in a private one, its person is."""

    async def has_left(self, address: Address, person: PersonId) -> bool:
        """Whether a person has left this chat; False if that is not known."""

    async def deliver(self, items: Sequence[OutboxItem]) -> None:
        """Send parts that are in the outbox now, in the order of their chat.

        An empty list means that the step was done before: the outbox is read for what is new.
        """

    def is_sending(self, entry: str) -> bool:
        """Whether parts of this turn are left to send: it has its answer."""

    async def wait_until_sent(self, entry: str) -> None:
        """Return once no part of this turn is left to send."""

    def abandon(self, address: Address) -> None:
        """Set aside now, not later, what fails again and again in this conversation."""

    async def preview(
        self,
        address: Address,
        draft: int,
        markdown: str,
        message: int | None,
        *,
        link_previews: bool = False,
    ) -> int | None:
        """Show a growing answer if the chat has a free slot; the id of its message."""

    async def typing(self, address: Address) -> None:
        """Show that an answer is coming, if the chat has a free slot."""

    async def show_seen(self, address: Address, message: int) -> None:
        """Show on a message that it was seen and waits; nothing where that cannot be shown."""

    async def fetch(self, file: str, most: int) -> bytes:
        """A file that a person sent, of at most `most` bytes."""

    async def recover(self) -> int:
        """Send what an earlier owner of the line left in the outbox; how many parts that is."""

    def take_over(self, found: Sequence[OutboxItem]) -> int:
        """The same for parts that were read from there already."""

    def is_held_up(self, entry: str, seconds: float) -> bool:
        """Whether a part of this turn waits for a chat that takes nothing for so long."""

    def frozen(self) -> list[float]:
        """For each chat that has to wait: how many more seconds."""

    async def drain(self, seconds: float) -> None:
        """Give what is being sent some time; the rest stays in the outbox."""

    async def close(self) -> None:
        """Stop sending, for good."""


class Timers:
    """The line's suspended turns: the nonce of each approval, and the wall time when it is due."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._changed = asyncio.Event()

    def set(self, nonce: str, due: float) -> None:
        """Make an approval due at this time, with 0 at once."""
        self._due[nonce] = due
        self._changed.set()

    def drop(self, nonce: str) -> None:
        """Forget an approval whose turn is over."""
        self._due.pop(nonce, None)

    async def next(self, clock: Clock) -> str:
        """Wait until an approval is due, and take it out."""
        while True:
            self._changed.clear()
            nonce = min(self._due, key=self._due.__getitem__, default=None)
            if nonce is None:
                await self._changed.wait()
                continue
            left = self._due[nonce] - clock.wall()
            if left <= 0:
                del self._due[nonce]
                return nonce
            with contextlib.suppress(TimeoutError):  # wait_for may swallow a cancellation
                async with asyncio.timeout(min(left, 60.0)):
                    await self._changed.wait()


@dataclass(frozen=True, slots=True)
class LineContext:
    """One line while it is ours; `identity` names its bot as bindings may."""

    fence: Fence
    identity: BotIdentity
    channel: Channel
    timers: Timers = field(default_factory=Timers)

    @property
    def name(self) -> str:
        """The line's name in the store and in the log."""
        return self.fence.line

    @property
    def bot(self) -> int:
        """The bot's numeric id."""
        return self.identity.id

    @property
    def username(self) -> str:
        """The bot's username, without the @; empty where it has none."""
        return self.identity.username or ""


@dataclass(frozen=True, slots=True)
class LineEntry:
    """An inbox entry of a line while it is handled; `stop` ends its turn early.

    `superseded`: a later /new ended it before it began, so nothing needs to be said.
    """

    line: LineContext
    id: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    superseded: bool = False

    @property
    def key(self) -> str:
        """The entry's name among those of all lines."""
        return f"{self.line.name}:{self.id}"
