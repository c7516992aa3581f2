"""A desk that asks before it writes, and people who answer: what tests of approvals share."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.app import App
from bot.mcp.server import McpServer
from simulators.messages.turns import Call, Turn, turn
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Message, Room
from simulators.testing.stage import PATIENCE, buttons
from tests.host.stage import HostProcess, Stage, until

__all__ = ["PATIENCE", "OpenQuestion", "ToolAgent", "asking", "buttons", "data", "results", "write"]

DESK = Path(__file__).parents[1] / "mcp" / "servers" / "desk.py"


class ToolAgent:
    """A bot whose agent has the desk, and what was done at it."""

    def __init__(self, stage: Stage, name: str = "Clerk", **agent: Any) -> None:
        self.stage = stage
        self.log = stage.folder / "desk.log"
        self.hold = stage.folder / "hold"
        env = {"DESK_LOG": str(self.log), "DESK_HOLD": str(self.hold)}
        server = {"command": sys.executable, "args": [str(DESK)], "env": env}
        stage.agents["mcpServers"]["desk"] = server
        self.bot: Bot = stage.bot(name, mcpServers=["desk"], **agent)

    @contextlib.asynccontextmanager
    async def host(self, **more: str) -> AsyncIterator[App]:
        """A host in this process whose servers are connected: nothing depends on their haste."""
        async with self.stage.host(**more) as host:
            await until(lambda: _are_up(host.pool.servers), PATIENCE)
            yield host

    async def process(self) -> HostProcess:
        """A host as a process of its own, once its servers are connected."""
        had = self._connected()
        host = await self.stage.process()
        await until(lambda: self._connected() > had, PATIENCE)
        return host

    def _connected(self) -> int:
        log = self.stage.folder / "host.log"
        return log.read_text().count("server=desk") if log.exists() else 0

    @property
    def done(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def room(self, person: Person) -> Room:
        return self.stage.world.private(person, self.bot)

    async def question(self, room: Room, count: int = 1) -> Message:
        """The count-th message of the bot that has buttons, once it is there and open."""

        def there() -> bool:
            return len(self.asked(room)) >= count

        await self.until(there)
        return self.asked(room)[count - 1]

    def asked(self, room: Room) -> list[Message]:
        return [m for m in room.messages.values() if m.author == self.bot.id and buttons(m)]

    def press(self, person: Person, room: Room, message: Message, button: str) -> Any:
        return self.stage.world.press_button(person, room, message.id, button)

    async def said(self, room: Room, text: str) -> str:
        """The bot's message that has this text in it, once it is there."""

        def there() -> bool:
            return any(text in one for one in self.stage.texts(room, self.bot.id))

        await self.until(there)
        return next(one for one in self.stage.texts(room, self.bot.id) if text in one)

    async def answered(self, pressed: Any) -> str:
        """The word that Telegram shows to whoever pressed."""
        await self.until(lambda: pressed.answer is not None)
        return str(pressed.answer.get("text", ""))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Until something holds in the world, however slow the machine is."""
        await self.stage.world.until(holds, PATIENCE)

    async def closed(self, room: Room, question: Message) -> str:
        """The text of a question once it has no buttons any more."""
        await self.until(lambda: not buttons(room.messages[question.id]))
        return room.messages[question.id].text

    async def closed_or_asked_why(self, room: Room, question: Message) -> None:
        """Until a question wants nothing any more but perhaps a reason."""
        why = ["Continue without a reason"]
        await self.until(lambda: buttons(room.messages[question.id]) in ([], why))


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """Ann's agent has asked her: the host, the place, and the question as it was first shown."""

    agent: ToolAgent
    host: App
    ann: Person
    room: Room
    question: Message

    @property
    def text(self) -> str:
        return self.room.messages[self.question.id].text

    @property
    def buttons(self) -> list[str]:
        return buttons(self.room.messages[self.question.id])

    def press(self, button: str) -> Any:
        return self.agent.press(self.ann, self.room, self.question, button)

    def press_data(self, callback_data: str) -> Any:
        """A press that carries any data."""
        return self.agent.stage.world.press(
            self.agent.bot, self.ann, self.room, self.question, callback_data
        )

    async def told(self, pressed: Any) -> str:
        return await self.agent.answered(pressed)

    def say(self, text: str) -> None:
        self.agent.stage.world.say(self.ann, self.room, text)

    async def said(self, text: str) -> str:
        return await self.agent.said(self.room, text)

    async def ask(self, text: str) -> str:
        return await self.agent.stage.ask(self.ann, self.room, self.agent.bot, text)


@contextlib.asynccontextmanager
async def asking(agent: ToolAgent, *script: Any) -> AsyncIterator[OpenQuestion]:
    """A host whose model says `script`, once it has asked Ann."""
    ann = agent.stage.person("Ann")
    room = agent.room(ann)
    agent.stage.script.on(*script)
    async with agent.host() as host:
        agent.stage.world.say(ann, room, "write hello")
        yield OpenQuestion(agent, host, ann, room, await agent.question(room))


def _are_up(servers: Sequence[McpServer]) -> bool:
    return bool(servers) and all(one.state == "up" for one in servers)


def data(message: Message) -> list[str]:
    """What its buttons send."""
    return buttons(message, "callback_data")


def write(text: str = "hello") -> Turn:
    return turn("I will write it.", Call("desk__write", {"text": text}))


def results(stage: Stage, request: int = -1) -> list[str]:
    """What the model was told of its calls, in a request."""
    found = []
    for block in stage.requests()[request]["messages"][-1]["content"]:
        if block["type"] == "tool_result":
            content = block["content"]
            found.append(content if isinstance(content, str) else content[0]["text"])
    return found
