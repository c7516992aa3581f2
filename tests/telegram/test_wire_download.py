"""A file that a person sent is fetched whole or not at all, and its address is told to nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.telegram.client import TelegramClient, new_session
from bot.telegram.errors import ServerFault, TelegramError, TooLong
from simulators.http_server import serving

TOKEN = "7000001:AAcanaryabcdefghijklmnopqrstuvwxyz0"


@asynccontextmanager
async def wire(
    file: dict[str, Any], content: bytes = b"", status: int = 200
) -> AsyncIterator[TelegramClient]:
    """A wire to a server whose getFile answers `file`, and whose every file is `content`."""

    async def get_file(_: Request) -> Response:
        return JSONResponse({"ok": True, "result": file})

    async def download(_: Request) -> Response:
        return Response(content, status)

    routes = [
        Route("/bot{token}/getFile", get_file, methods=["POST"]),
        Route("/file/bot{token}/{path:path}", download),
    ]
    async with serving(Starlette(routes=routes)) as url, new_session() as session:
        yield TelegramClient(session, url, SecretStr(TOKEN))


async def test_a_file_comes_as_it_is() -> None:
    async with wire({"file_path": "documents/file_1.json"}, b"{}" * 40_000) as one:
        assert await one.download("F1", 80_000, timeout=5) == b"{}" * 40_000


async def test_a_file_over_the_limit_is_refused_in_words() -> None:
    async with wire({"file_path": "documents/file_1.json"}, b"x" * 80_001) as one:
        with pytest.raises(TooLong, match="over 78 KB"):
            await one.download("F1", 80_000, timeout=5)


@pytest.mark.parametrize("path", [None, 5, "../../etc/passwd", "a?b=c", "a#b", "http://x/y%2e"])
async def test_a_path_that_leads_elsewhere_is_not_followed(path: object) -> None:
    async with wire({"file_path": path}, b"secret") as one:
        with pytest.raises(ServerFault):
            await one.download("F1", 1000, timeout=5)


async def test_a_failed_download_says_so_without_the_token() -> None:
    async with wire({"file_path": "documents/gone"}, status=404) as one:
        with pytest.raises(TelegramError) as caught:
            await one.download("F1", 1000, timeout=5)
    assert "did not give the file" in str(caught.value)
    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None
