"""The pool against a server over HTTP, by both transports, that is killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.errors import ToolFateUnknown, ToolUnavailable
from bot.mcp.pool import Pool
from bot.mcp.server_spec import ServerSpec
from tests.mcp.servers.starting import BOUND, HERE, QuickClock, until, words

PATHS = {"http": "/mcp", "sse": "/sse"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def serving(
    script: str, *args: object, log: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HERE / script), *map(str, args)),
        env={**os.environ, "WORKSHOP_LOG": str(log or os.devnull)},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def up(pool: Pool, lives: int) -> None:
    await until(
        lambda: pool.health()[0].link.state == "up" and pool.health()[0].link.lives >= lives
    )


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_server_killed_and_started_again_is_found_again(
    transport: str, tmp_path: Path
) -> None:
    log, port = tmp_path / "log", free_port()
    log.touch()
    tasks = asyncio.all_tasks()
    spec = ServerSpec("web", url=f"http://127.0.0.1:{port}{PATHS[transport]}", internal=True)
    assert spec.transport == transport
    pool = Pool(QuickClock())
    try:
        await pool.ensure([spec])
        assert await pool.ready(["web"], BOUND) == ["web"]
        async with serving("workshop.py", transport, port, log=log) as process:
            await up(pool, 1)
            assert (await pool.call("web", "echo", {"text": "one"})).text == "one"
            assert len((await pool.call("web", "big", {"characters": 300_000})).text) > 100_000
            call = asyncio.create_task(pool.call("web", "count", {"word": "a", "seconds": 60}))
            await until(lambda: words(log))
            process.send_signal(signal.SIGKILL)
            with pytest.raises(ToolFateUnknown):
                await call
        with pytest.raises((ToolUnavailable, ToolFateUnknown)):
            await pool.call("web", "echo", {"text": "nobody"}, deadline=1)
        async with serving("workshop.py", transport, port, log=log):
            await until_answered(pool)
            assert words(log) == ["a"]
    finally:
        await pool.close()
    await until(lambda: asyncio.all_tasks() <= tasks)


async def until_answered(pool: Pool) -> None:
    async with asyncio.timeout(BOUND):
        while True:
            try:
                assert (await pool.call("web", "echo", {"text": "two"})).text == "two"
            except ToolUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize("how", ["status", "message"])
async def test_a_forgotten_session_is_opened_again_and_the_call_runs_once(how: str) -> None:
    port = free_port()
    pool = Pool(QuickClock())
    try:
        async with serving("sessions.py", port, how):
            await pool.ensure(
                [ServerSpec("web", url=f"http://127.0.0.1:{port}/mcp", internal=True)]
            )
            await up(pool, 1)
            assert (await pool.call("web", "forget", {})).text == "forget"
            assert (await pool.call("web", "runs", {})).text == "forget runs"
            assert pool.health()[0].link.lives == 2
    finally:
        await pool.close()


async def test_a_url_where_nobody_listens_is_named_without_its_secrets() -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp?key=canary"
    pool = Pool(QuickClock())
    try:
        await pool.ensure(
            [ServerSpec("web", url=url, headers={"Authorization": "Bearer canary"}, internal=True)]
        )
        assert await pool.ready(["web"], BOUND) == ["web"]
        assert "ConnectError" in pool.health()[0].link.reason
        assert "canary" not in repr(pool.health())
    finally:
        await pool.close()
