"""Presses on inline buttons: each may be answered once, within a minute."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulators.telegram.events import Events
from simulators.telegram.members import Members
from simulators.telegram.people import Bot, Person
from simulators.telegram.refusals import STALE_QUERY, RefusedError
from simulators.telegram.rooms import Message, Room

Json = dict[str, Any]

QUERY_SECONDS = 60.0


@dataclass(slots=True)
class Press:
    """A press on an inline button; `answer` is what answerCallbackQuery said."""

    id: str
    at: float
    bot: int
    person: int
    room: str
    message: int
    answer: Json | None = None


class Presses:
    """The presses of the last minute, by callback query id."""

    def __init__(self, now: Callable[[], float], events: Events, members: Members) -> None:
        self._now = now
        self._events = events
        self._members = members
        self._presses: dict[str, Press] = {}

    def add(self, bot: Bot, person: Person, room: Room, message: Message, data: str) -> Press:
        """A press on a button with any data; the bot gets a callback query."""
        number = str(secrets.randbelow(9 * 10**17) + 10**17)
        press = Press(number, self._now(), bot.id, person.id, room.key, message.id)
        self._forget_old()
        self._presses[press.id] = press
        query = {"id": press.id, "from": person.user(), "message": message.body}
        chat_instance = str(zlib.crc32(f"{bot.id} {room.key}".encode()))
        query |= {"chat_instance": chat_instance, "data": data}
        self._members.send_update(bot, "callback_query", query)
        return press

    def get(self, query: str) -> Press | None:
        """The press with this callback query id, None when it is unknown or too old."""
        self._forget_old()
        return self._presses.get(query)

    def open(self, query: str, bot: Bot) -> Press:
        """The press that this bot may still answer; 400 when it is old, answered or not its own."""
        press = self.get(query)
        if press is None or press.bot != bot.id or press.answer is not None:
            raise RefusedError(400, f"Bad Request: {STALE_QUERY}")
        return press

    def answer(self, press: Press, answer: Json) -> None:
        """Sets the bot's answer to a press."""
        press.answer = answer
        data = {"id": press.id, "message_id": press.message, "person": press.person}
        self._events.emit("callback", data | answer, chat=press.room, bot=press.bot)

    def _forget_old(self) -> None:
        oldest = self._now() - QUERY_SECONDS
        for key in [k for k, p in self._presses.items() if p.at < oldest]:
            del self._presses[key]
