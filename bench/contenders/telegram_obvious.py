"""The obvious handler on python-telegram-bot, with its updates side by side, and no store."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import Any

from anthropic import AsyncAnthropic
from telegram import Update
from telegram.ext import ApplicationBuilder, ContextTypes, MessageHandler, filters

URL = os.environ["BENCH_URL"]
client = AsyncAnthropic(api_key="sk-ant-bench", base_url=URL)
history: defaultdict[int, list[Any]] = defaultdict(list)


async def answer(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    message = update.effective_message
    assert message is not None
    said = history[message.chat_id]
    said.append({"role": "user", "content": message.text})
    async with client.messages.stream(
        model="claude-haiku-5-5",
        max_tokens=1000,
        system="You are a friendly assistant in a Telegram chat.",
        messages=said[-96:],
    ) as stream:
        text = "".join([piece async for piece in stream.text_stream])
    said.append({"role": "assistant", "content": text})
    await message.reply_text(text)


def main() -> None:
    application = (
        ApplicationBuilder()
        .token(os.environ["BENCH_TOKEN"])
        .base_url(f"{URL}/bot")
        .concurrent_updates(True)
        .build()
    )
    application.add_handler(MessageHandler(filters.TEXT, answer))
    application.run_polling()


if __name__ == "__main__":
    main()
