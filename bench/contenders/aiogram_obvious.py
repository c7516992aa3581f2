"""The obvious handler on aiogram: its own polling, the SDK's `stream()` helper, no store."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from typing import Any

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import Message
from anthropic import AsyncAnthropic

URL = os.environ["BENCH_URL"]
client = AsyncAnthropic(api_key="sk-ant-bench", base_url=URL)
dispatcher = Dispatcher()
history: defaultdict[int, list[Any]] = defaultdict(list)


@dispatcher.message()
async def answer(message: Message) -> None:
    said = history[message.chat.id]
    said.append({"role": "user", "content": message.text})
    async with client.messages.stream(
        model="claude-haiku-5-5",
        max_tokens=1000,
        system="You are a friendly assistant in a Telegram chat.",
        messages=said[-96:],
    ) as stream:
        text = "".join([piece async for piece in stream.text_stream])
    said.append({"role": "assistant", "content": text})
    await message.answer(text)


async def main() -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(URL))
    bot = Bot(os.environ["BENCH_TOKEN"], session=session)
    await dispatcher.start_polling(bot, handle_signals=False)


if __name__ == "__main__":
    asyncio.run(main())
