"""The half of an obvious handler that asks the model: the SDK's `stream()` helper, and no store."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import Any

from anthropic import AsyncAnthropic

URL = os.environ["BENCH_URL"]
client = AsyncAnthropic(api_key="sk-ant-bench", base_url=URL)
history: defaultdict[int, list[Any]] = defaultdict(list)


async def answer_to(chat: int, text: str | None) -> str:
    """What the model says to a message, with all that was said in the chat before."""
    said = history[chat]
    said.append({"role": "user", "content": text})
    async with client.messages.stream(
        model="claude-haiku-5-5",
        max_tokens=1000,
        system="You are a friendly assistant in a Telegram chat.",
        messages=said[-96:],
    ) as stream:
        answer = "".join([piece async for piece in stream.text_stream])
    said.append({"role": "assistant", "content": answer})
    return answer
