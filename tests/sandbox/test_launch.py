"""The sandbox as people start it: a process, its host, kill -9 of either, and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from bot.sandbox.launch import _free_port
from tests.sandbox.sandbox_process import (
    ANN,
    MERIDIAN,
    TOKENS,
    Sandbox,
    processes_in,
    sandbox,
    without_tools,
)

DIRECT = f"{MERIDIAN}/{ANN}"
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


async def gone(folder: Path, *words: str) -> None:
    """Returns once no process of the folder has one of these words in its command."""
    async with asyncio.timeout(90):
        while any(word in line for line in processes_in(folder).values() for word in words):  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.05)


@linux
async def test_sigterm_in_the_middle_of_an_answer_lets_it_come_at_once(tmp_path: Path) -> None:
    async with sandbox(without_tools(tmp_path)) as one:
        await one.post("/model/control/pace", tokens_per_second=5)
        await one.say(DIRECT, "tell me a long story")
        await one.drafted(DIRECT)
        assert await one.stop(seconds=40) == 0
        assert processes_in(tmp_path) == {}


@linux
async def test_nothing_is_left_of_a_host_that_does_not_end_in_time(tmp_path: Path) -> None:
    async with sandbox(without_tools(tmp_path)) as one:
        host = await one.host(lambda host: host["state"] == "up")
        os.kill(host["pid"], signal.SIGSTOP)
        assert await one.stop(seconds=40) == 0
        assert processes_in(tmp_path) == {}


@linux
async def test_a_killed_sandbox_takes_its_host_along_and_the_next_goes_on(tmp_path: Path) -> None:
    async with sandbox(tmp_path, by_command=True) as one:
        await one.say(DIRECT, "12 * 12")
        await one.answer(DIRECT, "144")
        await one.post("/model/control/pace", tokens_per_second=5)
        mark = await one.say(DIRECT, "tell me a long story")
        await one.drafted(DIRECT)
        await one.kill()
        await gone(tmp_path, "bot run", "mcp-server-time", "notes_server")
        await one.start()
        assert "144" in (await one.texts(DIRECT, MERIDIAN))[0]
        await one.post("/model/control/pace", tokens_per_second=None)
        await one.answer(DIRECT, "The Night Operator", after=mark)
        mark = await one.say(DIRECT, "13 * 13")
        await one.answer(DIRECT, "169", after=mark)
        texts = await one.texts(DIRECT, MERIDIAN)
        assert sum("1. The room" in text for text in texts) == 1
        state = await one.get("/control/state")
        assert [room["chat"].get("title") for room in state["rooms"]].count("Team") == 1


async def test_a_taken_port_is_told_and_the_next_one_used(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = Sandbox(tmp_path, "--messages-only")
        try:
            await one.start("--port", str(port), until="its control")
            assert f"Port {port} is taken" in one.said
            assert one.url.rsplit(":", 1)[1] != str(port)
        finally:
            await one.close()


def test_behind_the_last_port_another_one_is_found() -> None:
    assert 0 < _free_port(65_536) < 65_536


async def test_a_broken_agents_file_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "agents.json").write_text('{"agents": [{"id": "a"}]}')
    one = Sandbox(tmp_path)
    try:
        with pytest.raises(AssertionError, match=r"agents\.json:1"):
            await one.start()
        assert await one.ended() == 1
    finally:
        await one.close()


@linux
async def test_real_tokens_and_stores_stay_outside_and_sigint_ends_everything_within_seconds(
    tmp_path: Path,
) -> None:
    words = "BOTS__7__TOKEN=123456:real-token-of-the-operator\nWEBHOOK_URL=https://bots.example\n"
    (tmp_path / ".env").write_text(words)
    with socket.create_server(("127.0.0.1", 0)) as store:
        store.settimeout(0)
        url = f"redis://127.0.0.1:{store.getsockname()[1]}"
        outside = {"BOTS__8__TOKEN": "654321:another-real-token", "REDIS_URL": url}
        async with sandbox(without_tools(tmp_path), by_command=True, **outside) as one:
            await one.say(DIRECT, "12 * 12")
            await one.answer(DIRECT, "144")
            log = (tmp_path / "data" / "sandbox" / "host.log").read_text()
            assert "bots=5" in log
            with contextlib.suppress(OSError):  # who may look at everything finds no token
                shown = (Path("/proc") / str(one.process.pid) / "environ").read_bytes()
                assert b"BOTS__8__TOKEN=" in shown
                assert b"another-real-token" not in shown
            assert len(processes_in(tmp_path)) > 2
            assert await one.stop(signal.SIGINT, seconds=40) == 0
            assert processes_in(tmp_path) == {}
        assert "Stopped" in one.said
        with pytest.raises(BlockingIOError):
            store.accept()


async def test_the_telegram_simulator_alone_starts_empty(tmp_path: Path) -> None:
    one = Sandbox(tmp_path, "--telegram-only")
    try:
        await one.start(until="its control")
        assert (await one.get("/control/state"))["bots"] == []
        await one.post("/control/bot", token="4711:of-a-test", name="Test")
        assert (await one.get("/bot4711:of-a-test/getMe"))["result"]["first_name"] == "Test"
        assert await one.stop() == 0
        assert not (tmp_path / "data").exists()
    finally:
        await one.close()


def test_the_demo_tokens_of_this_test_are_those_of_the_demo() -> None:
    from bot.sandbox import demo

    assert [role.token for role in demo.BOTS] == list(TOKENS.values())
    assert os.environ.get("ANTHROPIC_API_KEY") is None
