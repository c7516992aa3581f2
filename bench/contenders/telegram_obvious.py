"""The obvious handler on python-telegram-bot, with its updates side by side, and no store."""

from __future__ import annotations

import os

from telegram import Update
from telegram.ext import ApplicationBuilder, ContextTypes, MessageHandler, filters

from bench.contenders.obvious import URL, answer_to


async def answer(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    message = update.effective_message
    assert message is not None
    await message.reply_text(await answer_to(message.chat_id, message.text))


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
