"""The floors: the wire calls of one answer with nothing between them.

`typed`: raw poll, the SDK's stream, one send by aiogram. `plain`: aiohttp both ways, the stream cut
by hand. `libraries`: what the host calls: aiohttp for Telegram, the SDK's stream, and four script
calls to a store of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import uvloop

URL, TOKEN = os.environ["BENCH_URL"], os.environ["BENCH_TOKEN"]
BASE = f"{URL}/bot{TOKEN}"
JSON = {"Content-Type": "application/json"}
SYSTEM = "You are a friendly assistant in a Telegram chat."
ROUND_TRIPS = 4
NOTE = "redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', 'b', ARGV[1]) return 1"

Ask = Callable[[str], Awaitable[str]]
Send = Callable[[int, str], Awaitable[None]]
Record = Callable[[str], Awaitable[None]]


def _body(text: str) -> dict[str, Any]:
    said = [{"role": "user", "content": text}]
    return {
        "model": "claude-haiku-5-5",
        "max_tokens": 1000,
        "system": SYSTEM,
        "messages": said,
    }


async def poll_forever(
    session: aiohttp.ClientSession, ask: Ask, send: Send, record: Record | None
) -> None:
    tasks: set[asyncio.Task[None]] = set()
    offset = 0
    while True:
        words = orjson.dumps({"offset": offset, "timeout": 50, "limit": 100})
        async with session.post(f"{BASE}/getUpdates", data=words, headers=JSON) as response:
            updates = orjson.loads(await response.read())["result"]
        for update in updates:
            offset = update["update_id"] + 1
            task = asyncio.create_task(_answer(update["message"], ask, send, record))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def _answer(message: dict[str, Any], ask: Ask, send: Send, record: Record | None) -> None:
    text = message["text"]
    if record is None:
        await send(message["chat"]["id"], await ask(text))
        return
    for _ in range(ROUND_TRIPS - 2):
        await record(text)
    answer = await ask(text)
    await record(answer)
    await send(message["chat"]["id"], answer)
    await record(answer)


def plain_ask(session: aiohttp.ClientSession) -> Ask:
    async def ask(text: str) -> str:
        body = orjson.dumps(_body(text) | {"stream": True})
        pieces: list[str] = []
        async with session.post(f"{URL}/v1/messages", data=body, headers=JSON) as response:
            async for line in response.content:
                if line.startswith(b"data: "):
                    event = orjson.loads(line[6:])
                    if event["type"] == "content_block_delta":
                        pieces.append(event["delta"]["text"])
        return "".join(pieces)

    return ask


def plain_send(session: aiohttp.ClientSession) -> Send:
    async def send(chat: int, text: str) -> None:
        body = orjson.dumps({"chat_id": chat, "text": text})
        async with session.post(f"{BASE}/sendMessage", data=body, headers=JSON) as response:
            orjson.loads(await response.read())

    return send


def sdk_ask() -> Ask:
    from anthropic import AsyncAnthropic

    client = AsyncAnthropic(api_key="sk-ant-bench", base_url=URL, max_retries=0)

    async def ask(text: str) -> str:
        events = await client.messages.create(**_body(text), stream=True)
        deltas = [event.delta async for event in events if event.type == "content_block_delta"]
        return "".join(delta.text for delta in deltas if delta.type == "text_delta")

    return ask


def typed_send() -> Send:
    from aiogram import Bot
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer

    bot = Bot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(URL)))

    async def send(chat: int, text: str) -> None:
        await bot.send_message(chat, text)

    return send


def store_note() -> Record:
    from redis.asyncio import BlockingConnectionPool, Redis

    pool = BlockingConnectionPool.from_url(os.environ["BENCH_STORE"], max_connections=64)
    redis = Redis.from_pool(pool)
    script = redis.register_script(NOTE)

    async def record(text: str) -> None:
        await script(keys=["floor"], args=[text])

    return record


async def main(kind: str) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        ask = plain_ask(session) if kind == "plain" else sdk_ask()
        send = typed_send() if kind == "typed" else plain_send(session)
        record = store_note() if kind == "libraries" else None
        await poll_forever(session, ask, send, record)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
