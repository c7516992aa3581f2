"""Rooms: private chats, groups, supergroups and channels, with their messages and drafts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulators.telegram import richblocks

Json = dict[str, Any]

DRAFT_SECONDS = 30.0
TYPING_SECONDS = 5.0
_FIRST_GROUP = 4_100_000_001
_FIRST_SUPERGROUP = 1_000_000_000_000 + 2_000_000_001


@dataclass(slots=True)
class Message:
    """`body` is the message as the Bot API shows it; `screen` the keyboard it put on the phone."""

    body: Json
    author: int
    screen: Json | None = None
    service: bool = False
    reactions: dict[int, list[Json]] = field(default_factory=dict)

    @property
    def id(self) -> int:
        """The message's id in its room."""
        return int(self.body["message_id"])

    @property
    def text(self) -> str:
        """Text, caption or the words of a rich message; empty for none."""
        rich = self.body.get("rich_message")
        if rich is not None:
            return richblocks.plain(rich["blocks"])
        return str(self.body.get("text") or self.body.get("caption") or "")


@dataclass(slots=True)
class Draft:
    """A message that is being written; it disappears `DRAFT_SECONDS` after its last change."""

    id: int
    bot: int
    text: str
    entities: list[Json]
    until: float
    topic: int | None = None
    can_stop: bool = False
    keep_on_stop: bool = False
    rich: Json | None = None

    def show(self) -> Json:
        """The draft for the page and for tests."""
        shown = {
            "draft_id": self.id,
            "bot": self.bot,
            "text": self.text,
            "entities": self.entities,
            "until": self.until,
            "topic": self.topic,
            "can_stop": self.can_stop,
        }
        return shown | {"rich_message": self.rich} if self.rich else shown


@dataclass(eq=False)
class Room:
    """One chat. `members` maps ids to a status; a private room belongs to one bot and one person.

    `key` is `<bot>/<person>` in private and the chat id elsewhere.
    """

    id: int
    type: str
    title: str = ""
    username: str | None = None
    forum: bool = False
    bot: int | None = None
    started: bool = True
    migrated_to: int | None = None
    members: dict[int, str] = field(default_factory=dict)
    topics: dict[int, str] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)
    pinned: list[int] = field(default_factory=list)
    messages: dict[int, Message] = field(default_factory=dict)
    next_id: int = 1
    last_bot: int | None = None
    drafts: dict[tuple[int, int], Draft] = field(default_factory=dict)
    typing: dict[int, tuple[str, float]] = field(default_factory=dict)
    _waiters: list[tuple[Callable[[Message], bool], asyncio.Future[Message]]] = field(
        default_factory=list
    )

    @property
    def key(self) -> str:
        """The room's name in the control API and in events."""
        return f"{self.bot}/{self.id}" if self.bot is not None else str(self.id)

    @property
    def private(self) -> bool:
        """Whether this is one person with one bot."""
        return self.type == "private"

    def show(self) -> Json:
        """The room as the Bot API's Chat object, for everything but private rooms."""
        chat: Json = {"id": self.id, "type": self.type, "title": self.title}
        if self.username:
            chat["username"] = self.username
        return chat | {"is_forum": True} if self.forum else chat

    def is_member(self, who: int) -> bool:
        """Whether a person or bot is in the room now."""
        return self.members.get(who) in {"creator", "administrator", "member", "restricted"}

    def is_admin(self, who: int) -> bool:
        """Whether a person or bot is an administrator of the room."""
        return self.members.get(who) in {"creator", "administrator"}

    def take_id(self) -> int:
        """The next message id."""
        self.next_id += 1
        return self.next_id - 1

    def changed(self, message: Message) -> None:
        """Wakes those who wait for a message like this one."""
        for waiter in list(self._waiters):
            predicate, found = waiter
            if not found.done() and predicate(message):
                found.set_result(message)

    async def wait_for(
        self, predicate: Callable[[Message], bool], timeout: float = 60.0, *, after: int = 0
    ) -> Message:
        """The first message, new or edited, that fits; raises TimeoutError naming the room.

        Messages that are there already count, from `after` (a message id) on.
        """
        for message in self.messages.values():
            if message.id > after and predicate(message):
                return message
        found: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        waiter = (lambda m: m.id > after and predicate(m), found)
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                return await found
        except TimeoutError:
            said = [m.text for m in list(self.messages.values())[-5:]]
            raise TimeoutError(
                f"nothing fitting in room {self.key} within {timeout} s; last: {said}"
            ) from None
        finally:
            self._waiters.remove(waiter)

    async def wait_for_text(self, part: str, timeout: float = 60.0, *, after: int = 0) -> Message:
        """The first message of a bot that contains `part`."""
        return await self.wait_for(
            lambda m: bool(m.body.get("from", {}).get("is_bot")) and part in m.text,
            timeout,
            after=after,
        )


class Rooms:
    """All rooms by their keys. A bot sees a private room under the person's id."""

    def __init__(self) -> None:
        self.by_key: dict[str, Room] = {}

    def add(self, room: Room) -> Room:
        """Adds a room, in place of one with the same key."""
        self.by_key[room.key] = room
        return room

    def of_bot(self, bot: int, chat_id: int) -> Room | None:
        """The room that this bot knows under this id."""
        if chat_id > 0:
            return self.by_key.get(f"{bot}/{chat_id}")
        room = self.by_key.get(str(chat_id))
        return room if room is not None and bot in room.members else None

    def public(self, username: str) -> Room | None:
        """The public room with this username, without the @."""
        for room in self.by_key.values():
            if room.username and room.username.lower() == username.lower():
                return room
        return None

    def next_id(self, kind: str) -> int:
        """A chat id for a new group, supergroup or channel."""
        first = _FIRST_GROUP if kind == "group" else _FIRST_SUPERGROUP
        rooms = self.by_key.values()
        taken = [-r.id for r in rooms if (r.type == "group") == (kind == "group")]
        return -(max([first - 1, *(number for number in taken if number > 0)]) + 1)
