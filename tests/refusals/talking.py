"""One host and many chats for the walks and tests of a model API that refuses."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bot.app import App
from simulators.messages.script import Answer, Rule
from simulators.messages.turns import HttpError, Raw, Turn, turn
from simulators.messages.validate import ModelRequest
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, staged, until

GALLERY = {
    "command": sys.executable,
    "args": ["-I", "-S", str(Path(__file__).with_name("gallery.py"))],
}
QUICK = {"LIMITS__REQUESTSPERMINUTE": "1000"}


@dataclass(frozen=True, slots=True)
class Talk:
    """One person's chat with a bot, and what the model is asked because of it."""

    stage: Stage
    bot: Bot
    person: Person
    room: Room

    @property
    def mark(self) -> str:
        """What each of this person's messages holds, as the model reads it."""
        return f" by {self.person.name}]"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The requests so far."""
        return [body for body in self.stage.requests() if self._is_asked_in(body)]

    def _is_asked_in(self, body: dict[str, Any]) -> bool:
        blocks = (block for message in body["messages"] for block in message["content"])
        return any(self.mark in block.get("text", "")[:200] for block in blocks)

    @property
    def newest(self) -> str:
        """The messages of the newest request, as JSON."""
        return json.dumps(self.bodies[-1]["messages"])

    def answers(self, *answers: Answer, again: bool = False) -> None:
        """The model's next answers to this person."""
        self.stage.script.on(*answers, user=self.mark, again=again)

    def refuses(
        self, make: Callable[[ModelRequest], Turn], when: Callable[[ModelRequest], bool]
    ) -> None:
        """From now on requests of this person for which `when` holds are answered like this."""

        def fits(request: ModelRequest) -> bool:
            return self.mark in request.user_text and when(request)

        self.stage.script.rules.insert(0, Rule(deque([make]), when=fits, again=True))

    async def ask(self, text: str) -> str:
        """What the bot says next."""
        return await self.stage.ask(self.person, self.room, self.bot, text)

    async def costs(self, text: str) -> tuple[str, int]:
        """What the bot says next, and how many requests that took."""
        before = len(self.bodies)
        said = await self.ask(text)
        return said, len(self.bodies) - before


def talk(stage: Stage, bot: Bot, name: str) -> Talk:
    """A new person's chat."""
    person = stage.person(name)
    return Talk(stage, bot, person, stage.world.private(person, bot))


def holds(text: str) -> Callable[[ModelRequest], bool]:
    """Whether a request's messages hold a text."""
    return lambda request: text in json.dumps(request.body["messages"], ensure_ascii=False)


def always(_: ModelRequest) -> bool:
    """Every request."""
    return True


def says(status: int, words: str) -> Callable[[ModelRequest], Turn]:
    """A refusal."""
    return lambda _: turn(fault=HttpError(status, words))


def placed(words: str, text: str) -> Callable[[ModelRequest], Turn]:
    """A refusal that names the place of a text in the request, as the API does."""

    def answer(request: ModelRequest) -> Turn:
        blocks = (one for message in request.messages for one in message.blocks)
        place = next(one.place for one in blocks if text in json.dumps(one.block))
        return turn(fault=HttpError(400, words.format(place=place)))

    return answer


BEGIN = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 9, "output_tokens": 1}},
}
STOP = {"type": "message_stop"}


def ended(reason: str | None) -> dict[str, Any]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}}


def called(*written: str, **block: Any) -> list[dict[str, Any]]:
    start = {"type": "tool_use", "id": "toolu_1", "name": "gallery__ping", "input": {}} | block
    start = {name: value for name, value in start.items() if value is not ...}
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in written]
    return [
        {"type": "content_block_start", "index": 0, "content_block": start},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
    ]


def stream_of(blocks: Sequence[Any], reason: str) -> Turn:
    """An answer with these blocks' events, and this stop reason."""
    return sse([BEGIN, *blocks, ended(reason), STOP])


def sse(events: Sequence[Any], done: bool = False) -> Turn:
    """An answer whose stream holds exactly these events."""
    written = [b"event: %s\ndata: %s\n\n" % (e["type"].encode(), orjson.dumps(e)) for e in events]
    return turn(fault=Raw(b"".join([*written, b"data: [DONE]\n\n" if done else b""])))


@contextlib.asynccontextmanager
async def gallery_house(folder: Path, **environ: str) -> AsyncIterator[tuple[Stage, Bot]]:
    """A stage with a host, and a bot that may use the gallery's tools."""
    async with staged(folder) as stage:
        bot = guide(stage, "Guide")
        async with stage.host(**QUICK, **environ) as host:
            await servers_up(host)
            yield stage, bot


async def servers_up(host: App) -> None:
    """Returns once the host's only MCP server is connected."""
    await until(lambda: [one["state"] for one in host.report()["servers"]] == ["up"], 45)


def guide(stage: Stage, name: str, **agent: Any) -> Bot:
    """A bot that may use the gallery's tools unasked."""
    stage.agents["mcpServers"] |= {"gallery": GALLERY}
    allowed = {"mcpServers": ["gallery"], "whitelistPatterns": ["mcp:gallery:*"]}
    return stage.bot(name, **allowed, **agent)
