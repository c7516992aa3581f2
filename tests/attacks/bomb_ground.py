"""The ground on which bombs go off: a host with every door, and whoever throws them.

The host is a process of its own on a store of its own; its model, tool servers and webhooks are of
ours, and write what no honest one would.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bot.store import keys
from simulators.http_server import serving
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from simulators.telegram.updates import Update
from simulators.testing.valkey import running_valkey
from tests.attacks.latency_probe import LatencyProbe
from tests.host.replicas import Replica
from tests.host.stage import ROOT, Stage, staged, until
from tests.host.test_webhooks import free_port, post
from tests.host.tool_agent import PATIENCE, buttons
from tests.mcp.servers.unread import Unread

Chunks = Iterable[bytes]
PIECE = 64 * 1024
USAGE = {"input_tokens": 3, "output_tokens": 1}
DONE = "that is done"
FORGETFUL = {"PYTHONPATH": f"{Path(__file__).with_name('forgetful')}:{ROOT}"}
"""Where a host finds what makes it forget."""


class Wicked:
    """A Messages API that answers an order, «name», as it was prepared, then that it is done.

    `told` is what it read of the last call.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[], Chunks]] = {}
        self.told = ""

    async def __call__(self, request: Request) -> Response:
        """One answer, as a stream."""
        last = json.loads(await request.body())["messages"][-1]["content"]
        order = re.findall(r"«(.+?)»", json.dumps(last, ensure_ascii=False)[-2_000:])
        results = [block for block in last if block["type"] == "tool_result"]
        self.told = str(results[0]["content"]) if results else self.told
        if results or not order or order[-1] not in self.answers:
            return _stream(spoken(DONE))
        return _stream(self.answers[order[-1]]())


def _stream(chunks: Chunks) -> Response:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            for at in range(0, len(chunk), PIECE):
                yield chunk[at : at + PIECE]
                await asyncio.sleep(0)

    return StreamingResponse(body(), media_type="text/event-stream")


def event(kind: str, **fields: Any) -> bytes:
    """One event of a stream."""
    data = json.dumps({"type": kind} | fields).encode()
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


def spoken(text: str, size: int = 200, *, open_end: bool = False) -> Iterator[bytes]:
    """An answer that says a text, in pieces of so many characters."""
    yield from _begun()
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for at in range(0, len(text), size):
        delta = {"type": "text_delta", "text": text[at : at + size]}
        yield event("content_block_delta", index=0, delta=delta)
    if not open_end:
        yield from _ended("end_turn")


def called(tool: str, arguments: str, size: int = 4_000) -> Iterator[bytes]:
    """An answer that calls a tool with arguments as they are written."""
    yield from _begun()
    use = {"type": "tool_use", "id": "toolu_1", "name": tool, "input": {}}
    yield event("content_block_start", index=0, content_block=use)
    for at in range(0, len(arguments), size):
        delta = {"type": "input_json_delta", "partial_json": arguments[at : at + size]}
        yield event("content_block_delta", index=0, delta=delta)
    yield from _ended("tool_use")


def _begun() -> Iterator[bytes]:
    head = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m"}
    yield event("message_start", message=head | {"usage": USAGE})


def _ended(stop: str) -> Iterator[bytes]:
    yield event("content_block_stop", index=0)
    yield event("message_delta", delta={"stop_reason": stop}, usage=USAGE)
    yield event("message_stop")


class Ground:
    """A host with every door; each bomb has a person and a chat of its own."""

    def __init__(self, stage: Stage, model: Wicked, server: Unread) -> None:
        self.stage = stage
        self.model = model
        self.server = server
        self.bodies: dict[str, Callable[[Any], bytes]] = server.bodies
        self._count = 0
        self.rooms: dict[int, Room] = {}
        self.host: Replica
        self.redis: Redis
        self.probe: LatencyProbe
        self.bot: Bot

    def furnish(self, skills: Mapping[str, Mapping[str, Any]], tools: Iterable[str]) -> None:
        """The agent: skills by name with their schemas, and tools of the server by name."""
        url = self.server.url
        self.bodies |= dict.fromkeys([*skills, *tools], self.bodies["fine"])
        self.server.tools = [{"name": name, "inputSchema": {"type": "object"}} for name in tools]
        self.stage.agents["mcpServers"] = {
            "json": {"url": f"{url}/json"},
            "stream": {"url": f"{url}/stream"},
            "old": {"url": f"{url}/sse"},
        }
        said: dict[str, Any] = {"description": "Do.", "inputSchema": {"type": "object"}}
        hooks = [
            {**said, "name": name, "webhookUrl": f"{url}/hook/{name}", **schemas}
            for name, schemas in skills.items()
        ]
        self.bot = self.stage.bot(
            "Clerk",
            skills=hooks,
            mcpServers=["json", "stream", "old"],
            whitelistPatterns=["skill:*", "mcp:*:free_*"],
            safetyConfig={"piiHandling": "redact", "blockedTopics": ["arms", "чудо оружие"]},
        )

    def somebody(self) -> tuple[Person, Room, str]:
        """A new person with a chat, and an order that nobody gave before."""
        self._count += 1
        person = self.stage.person(f"P{self._count}")
        room = self.rooms[person.id] = self.stage.world.private(person, self.bot)
        return person, room, f"order {self._count}"

    async def says(self, answer: Callable[[], Chunks], *, asks: bool = False) -> None:
        """The model answers somebody like this; until that person has an answer or a question."""
        person, room, order = self.somebody()
        self.model.answers[order], self.model.told = answer, ""
        self.stage.world.say(person, room, f"«{order}»")

        def there() -> bool:
            mine = [m for m in room.messages.values() if m.author == self.bot.id]
            return any(buttons(m) for m in mine) if asks else bool(mine)

        await self.stage.world.until(there, PATIENCE)

    async def calls(self, tool: str, arguments: str, *, asks: bool = False) -> None:
        """The model calls a tool with these arguments."""
        await self.says(lambda: called(tool, arguments), asks=asks)

    async def returns(self, door: str, body: Callable[[Any], bytes]) -> None:
        """A tool, or a webhook that stands under its own name, answers a call with this body."""
        is_skill = door not in ("json", "stream", "old")
        name = door if is_skill else "free_tool"
        self.bodies[name] = body
        await self.calls(f"skill__{name}" if is_skill else f"{door}__{name}", "{}")

    async def stores(self, values: Mapping[str, bytes | str]) -> None:
        """Values are in the store, and the host has read them, with a good one that comes after."""
        had = (await self.host.report())["agents_available"]
        await self.redis.mset(dict(values))
        self._count += 1
        mark = {"id": f"mark{self._count}", "name": "Mark", "mcpServerEndpoints": []}
        await self.redis.set(f"agent:definition:{mark['id']}", json.dumps(mark))
        async with asyncio.timeout(PATIENCE):
            while (await self.host.report())["agents_available"] <= had:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        self.model.told = json.dumps(await self.host.report())
        await self.redis.delete(*values)

    async def updates(self, *contents: dict[str, Any]) -> None:
        """Telegram tells of these messages; until each of them is answered."""
        waiting, rooms = self.bot.updates, [self.rooms[one["chat"]["id"]] for one in contents]
        for content in contents:
            body = {"update_id": waiting.next_id, "message": content}
            raw = json.dumps(body).encode()
            waiting.restore(Update(waiting.next_id, time.time(), "message", body, raw))
            waiting.next_id += 1

        def answered() -> bool:
            return all(self.stage.texts(room, self.bot.id) for room in rooms)

        await self.stage.world.until(answered, PATIENCE)

    async def lists(self, **parts: Any) -> None:
        """The server over the older transport offers other things, and tells of it."""
        before = self.server.listed
        for name, part in parts.items():
            setattr(self.server, name, part)
        self.server.notify()
        await until(lambda: self.server.listed > before, PATIENCE)
        self.bodies["free_tool"] = self.bodies["fine"]
        await self.calls("old__free_tool", "{}")

    async def fence(self) -> Any:
        """The fence of the bot's line: it grows with each new owner."""
        return await self.redis.get(keys.fence(f"bot:{self.bot.id}"))


@contextlib.asynccontextmanager
async def ground(
    folder: Path, skills: Mapping[str, Mapping[str, Any]], tools: Iterable[str]
) -> AsyncIterator[Ground]:
    """The ground, once its host has answered for the first time."""
    server, model = Unread(), Wicked()
    await server.start()
    app = Starlette(routes=[Route("/v1/messages", model.__call__, methods=["POST"])])
    try:
        async with (
            staged(folder) as stage,
            running_valkey(folder / "valkey") as valkey,
            serving(app) as url,
        ):
            made = Ground(stage, model, server)
            made.furnish(skills, tools)
            stage.environ |= {
                "REDIS_URL": valkey.url,
                "ANTHROPIC_BASE_URL": url,
                "LIMITS__REQUESTSPERMINUTE": "1000",
                "INTERNAL_HOSTS": "127.0.0.1",
            }
            made.host = Replica(stage, "host", **FORGETFUL)
            path = valkey.url.removeprefix("unix://")
            async with made.host.running(), Redis(unix_socket_path=path) as made.redis:
                await until(lambda: made.host.log.read_text().count("connected") >= 3, PATIENCE)
                await made.says(lambda: spoken("the first answer"))
                async with LatencyProbe(
                    f"{made.host.address}/health/live", made.host.pid
                ) as made.probe:
                    yield made
    finally:
        await server.stop()


class Pushed:
    """A host that has its updates pushed, with one bot."""

    def __init__(self, stage: Stage, host: Replica, probe: LatencyProbe) -> None:
        self.stage = stage
        self.host = host
        self.probe = probe
        self.bot = stage.bots[0]
        self.ann = stage.person("Ann")
        self.room = stage.world.private(self.ann, self.bot)

    async def takes(self, body: bytes) -> int:
        """Somebody who knows the secret pushes this; the next message is answered after it."""
        status = await post(self.bot.webhook.url, self.bot.webhook.secret, body)
        had = len(self.stage.texts(self.room, self.bot.id))
        self.stage.world.say(self.ann, self.room, "there?")
        said = await self.stage.answer(self.room, self.bot, had + 1, PATIENCE)
        assert said.text == "still here"
        return status


@contextlib.asynccontextmanager
async def pushed(folder: Path) -> AsyncIterator[Pushed]:
    """The other ground, once its host has answered for the first time."""
    async with staged(folder) as stage:
        stage.bot("Echo")
        stage.script.on("still here", again=True)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        words = {"WEBHOOK_URL": url, "HTTP_PORT": str(port), "SWEEP_SECONDS": "0.2"}
        host = Replica(stage, "pushed", **words, **FORGETFUL)
        await host.spawn()
        try:
            await until(lambda: bool(stage.bots[0].webhook.secret), PATIENCE)
            async with LatencyProbe(f"{url}/health/live", host.pid) as probe:
                made = Pushed(stage, host, probe)
                await made.takes(b'{"update_id": 1}')
                yield made
        finally:
            await host.end()


async def forgets(host: Replica) -> None:
    """The host remembers nothing of the texts and schemas that it has seen."""
    host.send(signal.SIGUSR2)
    await host.report()


async def is_live(url: str) -> bool:
    """Whether a host says that it lives."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health/live") as answer:
        return answer.status == 200
