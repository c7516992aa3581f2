"""The people of a trial: what they write, and whether all of it is answered."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.proof.echo_model import TAG, lines_of
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Message, Room
from simulators.telegram.world import World

KINDS = ("plain",) * 5 + ("tool",) * 2 + ("look", "long", "long")
STILL_SECONDS = 45.0
"""How long a trial waits without any progress; one that progresses is never given up."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of a person."""

    nonce: str
    kind: str
    room: Room
    at: float
    of: int = 0

    @property
    def line(self) -> str:
        """The line of the bot that it was written to."""
        return f"bot:{self.of or self.room.bot}"


class Crowd:
    """All people who write; `sent` is what they wrote, in order."""

    def __init__(self, world: World, bots: Sequence[Bot], seed: int) -> None:
        self._world = world
        self._bots = bots
        self.chance = random.Random(seed)
        self.sent: list[Sent] = []
        self.rooms: list[tuple[Person, Room]] = []
        self._groups: dict[int, Bot] = {}

    def join(self, count: int, bot: Bot | None = None) -> list[tuple[Person, Room]]:
        """New people, each in a chat with a bot."""
        new = []
        for _ in range(count):
            person = self._world.person(f"P{len(self.rooms)}")
            room = self._world.private(person, bot or self.chance.choice(self._bots))
            self.rooms.append((person, room))
            new.append((person, room))
        return new

    def gather(self, bot: Bot | None = None) -> tuple[Person, Room]:
        """A new group of one person with a bot, which answers where it is mentioned."""
        person = self._world.person(f"P{len(self.rooms)}")
        bot = bot or self.chance.choice(self._bots)
        room = self._world.group(f"G{len(self.rooms)}", [person, bot])
        self._groups[room.id] = bot
        self.rooms.append((person, room))
        return person, room

    def say(self, whom: tuple[Person, Room], kind: str | None = None) -> Sent:
        """One message with a nonce of its own."""
        person, room = whom
        kind = kind or self.chance.choice(KINDS)
        bot = self._groups.get(room.id)
        of = bot.id if bot else room.bot or 0
        sent = Sent(f"n{len(self.sent):06d}", kind, room, time.monotonic(), of)
        self.sent.append(sent)
        mention = f"@{bot.username} " if bot else ""
        self._world.say(person, room, f"{mention}{sent.nonce} {kind}")
        return sent

    async def chatter(self, people: int, messages: int, seconds: float) -> None:
        """New people say so many things at random moments."""
        new = self.join(people)
        moments = sorted(self.chance.uniform(0, seconds) for _ in range(messages))
        began = time.monotonic()
        for moment in moments:
            await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
            self.say(self.chance.choice(new))

    def open(self, among: Sequence[Sent] | None = None) -> list[Sent]:
        """What is not wholly answered yet."""
        shown: dict[int, set[tuple[str, str]]] = defaultdict(set)
        found = []
        for one in self.sent if among is None else among:
            room = one.room
            if id(room) not in shown:
                shown[id(room)] = tags_in(room)
            if not all(
                (one.nonce, f"{n:03d}") in shown[id(room)] for n in range(lines_of(one.kind))
            ):
                found.append(one)
        return found

    async def answered(
        self,
        seconds: float = math.inf,
        among: Sequence[Sent] | None = None,
        still: float = STILL_SECONDS,
    ) -> list[Sent]:
        """Waits until all is answered; what is not, once nothing has come for `still` seconds."""
        deadline = time.monotonic() + seconds
        left = self.open(among)
        moved = time.monotonic()
        while left and time.monotonic() < min(deadline, moved + still):
            await asyncio.sleep(0.03 if len(left) < 50 else 0.3 if len(left) < 500 else 2.0)
            now = self.open(left)
            if len(now) < len(left):
                moved = time.monotonic()
            left = now
        return left


def texts(room: Room) -> list[str]:
    """What the bot of a room said, in order."""
    return [m.text for m in room.messages.values() if _by_a_bot(m, room)]


def _by_a_bot(message: Message, room: Room) -> bool:
    if room.bot is not None:
        return message.author == room.bot
    return message.body.get("from", {}).get("is_bot") is True


def keyboards(room: Room) -> list[tuple[int, list[list[dict[str, Any]]]]]:
    """The messages that show buttons now: the number of each, and its rows."""
    shown = [(m.id, m.body.get("reply_markup", {})) for m in room.messages.values()]
    return [(id, mark["inline_keyboard"]) for id, mark in shown if mark.get("inline_keyboard")]


def tags_in(room: Room) -> set[tuple[str, str]]:
    """All tags in what the bot said."""
    return {tag for text in texts(room) for tag in TAG.findall(text)}
