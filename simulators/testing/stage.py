"""A stage: both simulators on loopback, a function that starts a host, and people who write.

The stage knows nothing about the host but what any bot has: tokens and two base URLs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import aiohttp

from simulators.http_server import serving
from simulators.messages.routes import app as messages_app
from simulators.messages.script import Scripted
from simulators.messages.sim import MessagesSim
from simulators.telegram.people import Bot, Person
from simulators.telegram.presses import Press
from simulators.telegram.rooms import Message, Room
from simulators.telegram.routes import application
from simulators.telegram.world import World

Host = TypeVar("Host")
StartHost = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Host]]
"""Starts a host with this environment; the host stops when the context ends."""

PATIENCE = 60.0
"""Seconds that a chat waits: processes and servers start slowly where others use the machine."""


class Stage(Generic[Host]):
    """Bots, people and rooms, a script for the model, and a function that starts hosts."""

    def __init__(
        self, folder: Path, start_host: StartHost[Host], sim: MessagesSim | None = None
    ) -> None:
        self.folder = folder
        self.world = World()
        self.script = Scripted()
        self.sim = sim or MessagesSim(self.script)
        self.telegram_url = ""
        self.messages_url = ""
        self.bots: list[Bot] = []
        self._start_host = start_host

    def add_bot(self, name: str = "Echo") -> Bot:
        """A bot with a token of its own."""
        number = 7_000_001 + len(self.bots)
        token = f"{number}:AA{secrets.token_hex(16)}"
        bot = self.world.bot(token, name, f"{name.lower()}_{number}_bot")
        self.bots.append(bot)
        return bot

    def person(self, name: str = "Ann") -> Person:
        """A new person."""
        return self.world.person(name)

    @contextlib.asynccontextmanager
    async def run_host(self, environ: Mapping[str, str]) -> AsyncIterator[Host]:
        """A host with this environment, once it polls for all bots whose tokens are in there."""
        async with self._start_host(environ) as host:
            await self.polling(environ)
            yield host

    async def polling(self, environ: Mapping[str, str], seconds: float = PATIENCE) -> None:
        """Waits until every bot whose token is in an environment is polled."""
        async with asyncio.timeout(seconds):
            for bot in self.bots:
                if bot.token in environ.values():
                    await bot.updates.wait_until_polled(seconds)

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Callable[..., Any]]:
        """Calls the Bot API with a bot's token, as another program would."""
        async with aiohttp.ClientSession() as session:

            async def call(method: str, bot: Bot, **params: Any) -> Any:
                url = f"{self.telegram_url}/bot{bot.token}/{method}"
                async with session.post(url, json=params) as response:
                    return await response.json()

            yield call

    def texts(self, room: Room, author: int) -> list[str]:
        """The texts of one author in a room, in order."""
        return [m.text for m in room.messages.values() if m.author == author]

    async def answer(
        self, room: Room, bot: Bot, count: int = 1, seconds: float = PATIENCE
    ) -> Message:
        """The bot's n-th message in a room, once it is there."""

        def is_there() -> bool:
            return len(self.texts(room, bot.id)) >= count

        await self.world.until(is_there, seconds)
        return [m for m in room.messages.values() if m.author == bot.id][count - 1]

    async def ask(
        self, person: Person, room: Room, bot: Bot, text: str, seconds: float = PATIENCE
    ) -> str:
        """Says something, and returns the text of the bot's next message."""
        before = len(self.texts(room, bot.id))
        self.world.say(person, room, text)
        return (await self.answer(room, bot, before + 1, seconds)).text

    def requests(self) -> list[dict[str, Any]]:
        """Bodies of the model requests so far."""
        return [record.body for record in self.sim.records.all()]


@dataclass(frozen=True, slots=True)
class Chat:
    """What one person sees of one bot in one room; in a group the person mentions the bot."""

    stage: Stage[Any]
    bot: Bot
    person: Person
    room: Room

    def with_person(self, name: str) -> Chat:
        """The private chat of another, new person with the same bot."""
        person = self.stage.person(name)
        return Chat(self.stage, self.bot, person, self.stage.world.private(person, self.bot))

    def with_bot(self, bot: Bot) -> Chat:
        """The private chat of the same person with another bot."""
        room = self.stage.world.private(self.person, bot)
        return Chat(self.stage, bot, self.person, room)

    def in_group(self, *others: Person, title: str = "Team") -> Chat:
        """A new group of this person, the bot and others."""
        room = self.stage.world.group(title, [self.person, *others, self.bot])
        return Chat(self.stage, self.bot, self.person, room)

    @property
    def texts(self) -> list[str]:
        """The bot's messages so far, as texts."""
        return self.stage.texts(self.room, self.bot.id)

    @property
    def drafts(self) -> list[str]:
        """What the bot is writing now, as texts."""
        return [draft.text for draft in self.stage.world.drafts(self.room)]

    def says(self, text: str, *, reply_to: int | None = None) -> Message:
        """The person writes a text."""
        if not self.room.private and not text.startswith("/") and reply_to is None:
            text = f"@{self.bot.username} {text}"
        return self.stage.world.say(self.person, self.room, text, reply_to=reply_to)

    async def answer(self, count: int = 1) -> Message:
        """The bot's n-th message, once it is there."""
        return await self.stage.answer(self.room, self.bot, count, PATIENCE)

    async def ask(self, text: str) -> str:
        """The person writes a text; the text of the bot's next message."""
        before = len(self.texts)
        self.says(text)
        return (await self.answer(before + 1)).text

    async def expects(self, part: str) -> str:
        """The text of the bot's first message that contains this part, once it is there."""
        await self.until(lambda: any(part in text for text in self.texts))
        return next(text for text in self.texts if part in text)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns once a condition holds, checked after each event in the world."""
        await self.stage.world.until(condition, PATIENCE)

    # --- questions with buttons ---

    @property
    def questions(self) -> list[Message]:
        """The bot's messages that have buttons."""
        return [m for m in self.room.messages.values() if m.author == self.bot.id and buttons(m)]

    async def question(self, count: int = 1) -> Message:
        """The n-th of the bot's messages that have buttons, once it is there."""
        await self.until(lambda: len(self.questions) >= count)
        return self.questions[count - 1]

    def press(self, message: Message, button: str, *, by: Person | None = None) -> Press:
        """The person, or another one, presses the button with this text or data."""
        world = self.stage.world
        return world.press_button(by or self.person, self.room, message.id, button)

    async def reply_to(self, press: Press) -> str:
        """What the bot shows to the person who pressed a button."""
        await self.until(lambda: press.answer is not None)
        return str((press.answer or {}).get("text", ""))

    async def closed(self, question: Message) -> str:
        """The text of a question once its buttons are gone."""
        await self.until(lambda: not buttons(self.room.messages[question.id]))
        return self.room.messages[question.id].text


def buttons(message: Message, field: str = "text") -> list[str]:
    """The texts (or another field) of a message's inline buttons."""
    rows = message.body.get("reply_markup", {}).get("inline_keyboard", [])
    return [button[field] for row in rows for button in row]


@contextlib.asynccontextmanager
async def simulators_of(
    stage: Stage[Any], left_over: Callable[[Path], Iterable[int]] | None = None
) -> AsyncIterator[None]:
    """Serves a stage's simulators; at the end kills the processes that a failed test left behind.

    These are the ones `left_over` finds, by default all in the stage's folder.
    """
    async with (
        serving(application(stage.world)) as stage.telegram_url,
        serving(messages_app(stage.sim)) as stage.messages_url,
    ):
        try:
            yield
        finally:
            stage.sim.close()
            stage.world.close()
            for pid in (left_over or processes_in)(stage.folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def processes_in(folder: Path) -> list[int]:
    """The processes whose working directory is in a folder: hosts, bundled stores."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where = (entry / "cwd").readlink()
                dead = " Z " in (entry / "stat").read_text("utf-8")
            except OSError:
                continue
            if where.is_relative_to(folder) and not dead:
                found.append(int(entry.name))
    return found


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Polls until a condition holds, for what no event tells; else TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
