"""A server over HTTP that dies, or falls silent, while nobody calls it, and one that dies early."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.mcp.servers.starting import BOUND, NamedPool, spec_of, until
from tests.mcp.test_http import free_port, serving, up


@asynccontextmanager
async def idle(port: int, path: str = "mcp") -> AsyncIterator[NamedPool]:
    """A pool connected to the server at this port, which nobody has called yet."""
    pool = NamedPool()
    try:
        url = f"http://127.0.0.1:{port}/{path}"
        await pool.ensure([spec_of("web", url=url, internal=True)])
        await up(pool, 1)
        yield pool
    finally:
        await pool.close()


async def test_an_older_server_that_dies_idle_is_noticed_by_the_end_of_its_stream() -> None:
    port = free_port()
    async with serving("sessions.py", port, "stream") as process, idle(port) as pool:
        process.kill()
        await until(lambda: "ConnectError" in pool.servers[0].reason, BOUND / 2)


async def test_a_restarted_server_with_a_stream_gets_a_new_session_before_anybody_calls() -> None:
    port = free_port()
    async with serving("sessions.py", port, "stream") as process, idle(port) as pool:
        process.kill()
        async with serving("sessions.py", port, "stream"):
            await up(pool, 2)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_an_older_server_without_a_stream_is_asked_now_and_then_whether_it_is_there(
    how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.mcp.connection._IDLE_SECONDS", 0.3)
    monkeypatch.setattr("bot.mcp.connection._ANSWER_SECONDS", 1.0)
    port = free_port()
    async with serving("sessions.py", port, "status") as process, idle(port) as pool:
        assert (await pool.ask("web", "runs", {})).text == "runs"
        process.send_signal(how)
        await until(lambda: pool.servers[0].state == "down", BOUND / 2)


async def test_a_server_of_the_older_transport_that_falls_silent_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.mcp.connection._IDLE_SECONDS", 0.3)
    port = free_port()
    async with serving("workshop.py", "sse", port) as process, idle(port, "sse") as pool:
        monkeypatch.setattr("bot.mcp.connection._ANSWER_SECONDS", 1.0)
        process.send_signal(signal.SIGSTOP)
        await until(lambda: pool.servers[0].state == "down", BOUND / 2)


async def test_a_server_that_never_answers_a_notification_is_called_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.mcp.transports.http._TOLD_SECONDS", 0.2)
    port = free_port()
    async with serving("sessions.py", port, "mute"), idle(port) as pool:
        assert (await pool.ask("web", "runs", {}, deadline=5)).text == "runs"


async def test_a_server_reached_only_the_second_time_is_not_taken_for_an_older_one() -> None:
    port, behind, seen = free_port(), free_port(), bytearray()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65_536):
                seen.extend(chunk)
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def front(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not slammed:
            slammed.append(await reader.read(10))
            writer.transport.abort()
            return
        theirs = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(forward(reader, theirs[1]), forward(theirs[0], writer))

    slammed: list[bytes] = []
    async with serving("workshop.py", "http", behind):
        await until(lambda: listens(behind))
        async with (
            await asyncio.start_server(front, "127.0.0.1", port),
            idle(port) as pool,
        ):
            assert (await pool.ask("web", "echo", {"text": "x"})).text == "x"
    assert slammed
    assert b'"server/discover"' in seen
    assert b'"initialize"' not in seen


def listens(port: int) -> bool:
    """Whether somebody listens at this port of IPv4."""
    return f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text(encoding="ascii")
