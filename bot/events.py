"""What is said: frozen values that travel between the rings, without any wire's types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Json = Mapping[str, Any]

ANONYMOUS_ADMIN = 1087968824
"""The id under which Telegram shows every anonymous admin of every group: nobody's own."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who wrote or pressed; `id` is the only thing that decides rights."""

    id: int
    name: str
    username: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where an answer goes: a chat of one bot, and a topic in it.

    `was` is the id that the chat had as a plain group, before it became a supergroup.
    """

    bot: int
    chat: int
    topic: int | None = None
    private: bool = True
    was: int | None = None

    @property
    def home(self) -> int:
        """The id that the chat had at first: it names the chat also after a move."""
        return self.chat if self.was is None else self.was

    @property
    def conversation(self) -> str:
        """The conversation's name inside its line: `<home>` or `<home>:<topic>`."""
        return str(self.home) if self.topic is None else f"{self.home}:{self.topic}"


@dataclass(frozen=True, slots=True)
class Command:
    """A bot command as typed: `/name arguments`; `named` where it was surely meant for this bot."""

    name: str
    arguments: str = ""
    named: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a message, to be fetched by its `id`; `size` is in bytes, 0 where it is unknown."""

    id: str
    name: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Quoted:
    """The message that was replied to, whoever wrote it: its text or caption, and its file."""

    text: str = ""
    file: Attachment | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that asks for an answer.

    `text` is what the person wrote (or a caption); `unsupported` names a kind of message that we
    do not take yet; `addressed` is False where a group did not speak to this bot. `quoted` is the
    message that a command replies to.
    """

    address: Address
    person: Person
    message: int
    sent_at: int
    text: str = ""
    command: Command | None = None
    unsupported: str | None = None
    addressed: bool = True
    quoted: Quoted | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Press:
    """A press on a button of ours; `data` is what we put into it, or what somebody made up.

    `message` is the one that shows a button with this data; None where it is not known to.
    """

    address: Address
    person: Person
    query: str
    data: str
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that reaches a running turn at once instead of queueing behind it.

    `draft` is set where the person pressed Stop on a growing answer: it names that answer.
    """

    address: Address
    kind: Literal["stop"]
    person: Person | None = None
    draft: int | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """A turn that waited for people goes on; `nonce` names the sheet that it waited for."""

    address: Address
    nonce: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A group became a supergroup: the chat at `address` has the id `to` from now on."""

    address: Address
    to: int


@dataclass(frozen=True, slots=True)
class Membership:
    """The bot came into a chat or is in it no more, by what `person` did.

    In a private chat that person took it back, or blocked it. `title` is the group's name.
    """

    address: Address
    person: Person
    inside: bool
    title: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    """An update that is left alone by a rule; the rule's name is counted."""

    rule: str


Event = Incoming | Press | Signal | Resume | Moved | Membership
Decoded = Event | Ignored


@dataclass(frozen=True, slots=True)
class TurnRef:
    """Which turn: its inbox entry, its conversation and the agent whose transcript it is."""

    entry: str
    conversation: str
    agent: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One call to a chat, rendered and ready: a part of an answer, a notice, a reply to a press.

    `payload` is the method's JSON without a chat id. Parts of one chat go out in order. `shows`
    names a sheet of calls that this message shows: the message's id is remembered for it. An edit
    that `lapses` is dropped where its message is gone; any other is sent as a message then.
    """

    chat: int
    method: str
    payload: Json
    turn: TurnRef | None = None
    shows: str = ""
    lapses: bool = False

    def of(self, turn: TurnRef) -> Outgoing:
        """The same call as a part of a turn's reply."""
        return replace(self, turn=turn)


@dataclass(frozen=True, slots=True)
class RichText:
    """A text with entities as the Bot API takes them; offsets count UTF-16 units."""

    text: str
    entities: tuple[Json, ...] = field(default=())
