"""The obvious handler on aiogram: its own polling, the SDK's `stream()` helper, no store."""

from __future__ import annotations

import asyncio
import os

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import Message

from bench.contenders.obvious import URL, answer_to

dispatcher = Dispatcher()


@dispatcher.message()
async def answer(message: Message) -> None:
    await message.answer(await answer_to(message.chat.id, message.text))


async def main() -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(URL))
    bot = Bot(os.environ["BENCH_TOKEN"], session=session)
    await dispatcher.start_polling(bot, handle_signals=False)


if __name__ == "__main__":
    asyncio.run(main())
