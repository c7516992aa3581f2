"""Calls of the Bot API with a token of a bot that may not be hosted here, refused in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import aiohttp
from pydantic import SecretStr

from bot.telegram.client import TelegramClient
from bot.telegram.errors import (
    MessageGone,
    TelegramError,
    TooManyRequests,
    Unauthorized,
    UnknownMethod,
)
from registry.errors import DocumentErrors, Problem

CALL_SECONDS = 15.0
_GONE = re.compile("not found|invalid", re.IGNORECASE)
_COPY = "copy the whole token again from @BotFather"


async def ask_bot_api(
    session: aiohttp.ClientSession, url: str, token: str, method: str, params: Mapping[str, Any]
) -> Any:
    """The result of a method; bytes among the parameters are sent as files.

    Raises DocumentErrors with a fix. A message that is gone already was deleted.
    """
    client = TelegramClient(session, url, SecretStr(token))
    files = {name: value for name, value in params.items() if isinstance(value, bytes)}
    try:
        if files:
            plain = {name: value for name, value in params.items() if name not in files}
            return await client.upload(method, plain, files, timeout=CALL_SECONDS)
        return await client.call(method, params, timeout=CALL_SECONDS)
    except MessageGone as error:
        if _GONE.search(error.description):
            return True
        problem = Problem(method, f"Telegram did not do it: {error}", "do it yourself")
    except (Unauthorized, UnknownMethod):
        problem = Problem("token", "Telegram does not know this token", _COPY, path="token")
    except TooManyRequests as error:
        wait = f"try again in {error.retry_after:.0f} seconds"
        problem = Problem(method, "Telegram takes no more of these calls now", wait)
    except TelegramError as error:
        problem = Problem(method, f"Telegram did not do it: {error}", "try again in a moment")
    raise DocumentErrors([problem])


async def download(
    session: aiohttp.ClientSession, url: str, token: str, file: str, most: int
) -> bytes:
    """A file that a bot was sent; raises DocumentErrors."""
    client = TelegramClient(session, url, SecretStr(token))
    try:
        return await client.download(file, most, timeout=CALL_SECONDS)
    except TelegramError as error:
        cure = f"send a picture of at most {most // 1024} KB"
        raise DocumentErrors([Problem("picture", f"it cannot be read: {error}", cure)]) from None
