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
from bot.ops.redaction import Secrets
from tests.mcp.servers.starting import BOUND, HERE, NamedPool, spec_of, until, words

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


async def up(pool: NamedPool, lives: int) -> None:
    await until(lambda: pool.servers[0].state == "up" and pool.servers[0].connects >= lives)


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_server_killed_and_started_again_is_found_again(
    transport: str, tmp_path: Path
) -> None:
    log, port = tmp_path / "log", free_port()
    log.touch()
    tasks = asyncio.all_tasks()
    spec = spec_of("web", url=f"http://127.0.0.1:{port}{PATHS[transport]}", internal=True)
    assert spec.definition.transport == transport
    pool = NamedPool()
    try:
        await pool.ensure([spec])
        assert await pool.ready(pool.named("web"), BOUND) == ["web"]
        async with serving("workshop.py", transport, port, log=log) as process:
            await up(pool, 1)
            assert (await pool.ask("web", "echo", {"text": "one"})).text == "one"
            assert len((await pool.ask("web", "big", {"characters": 300_000})).text) > 100_000
            call = asyncio.create_task(pool.ask("web", "count", {"word": "a", "seconds": 60}))
            await until(lambda: words(log))
            process.send_signal(signal.SIGKILL)
            with pytest.raises(ToolFateUnknown):
                await call
        with pytest.raises((ToolUnavailable, ToolFateUnknown)):
            await pool.ask("web", "echo", {"text": "nobody"}, deadline=1)
        async with serving("workshop.py", transport, port, log=log):
            await until_answered(pool)
            assert words(log) == ["a"]
    finally:
        await pool.close()
    await until(lambda: asyncio.all_tasks() <= tasks)


async def until_answered(pool: NamedPool) -> None:
    async with asyncio.timeout(BOUND):
        while True:
            try:
                assert (await pool.ask("web", "echo", {"text": "two"})).text == "two"
            except ToolUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize("how", ["status", "message"])
async def test_a_forgotten_session_is_opened_again_and_the_call_runs_once(how: str) -> None:
    port = free_port()
    pool = NamedPool()
    try:
        async with serving("sessions.py", port, how):
            await pool.ensure([spec_of("web", url=f"http://127.0.0.1:{port}/mcp", internal=True)])
            await up(pool, 1)
            assert (await pool.ask("web", "forget", {})).text == "forget"
            assert (await pool.ask("web", "runs", {})).text == "forget runs"
            assert pool.servers[0].connects == 2
    finally:
        await pool.close()


async def test_a_url_where_nobody_listens_is_named_without_its_secrets() -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp?key=canary"
    pool = NamedPool()
    try:
        await pool.ensure(
            [
                spec_of(
                    "web",
                    url=url,
                    headers={"Authorization": "Bearer canary"},
                    internal=True,
                    secrets=Secrets(["canary"]),
                )
            ]
        )
        assert await pool.ready(pool.named("web"), BOUND) == ["web"]
        assert "ConnectError" in pool.servers[0].reason
        assert "canary" not in repr(pool.servers)
    finally:
        await pool.close()
