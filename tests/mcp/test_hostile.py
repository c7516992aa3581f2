"""The pool where a server changes its mind, comes back as another, or is asked by all at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import structlog

from bot.errors import ToolUnavailable
from bot.mcp.server import Breaker
from bot.mcp.server_spec import ServerSpec
from tests.mcp.servers.starting import (
    BOUND,
    HERE,
    NamedPool,
    QuickClock,
    open_files,
    pool_of,
    runs,
    server,
    spec_of,
    until,
)
from tests.mcp.test_http import free_port, serving, up

pytestmark = pytest.mark.usefixtures("no_grace")


class PatientClock(QuickClock):
    """A clock on which no pause ends by itself: only callers bring on a new attempt."""

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.Event().wait()


def plain(log: Path, **fields: object) -> ServerSpec:
    return server("plain", "plain.py", env={"LOG": str(log)}, **fields)


def names(pool: NamedPool, name: str = "plain") -> list[str]:
    return [tool.name for tool in pool.tools(pool.named(name))]


def connects(pool: NamedPool) -> int:
    return pool.servers[0].connects


async def test_a_list_that_changes_during_a_call_does_not_end_the_call(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It does one thing at a time: the list cannot be read again before the call is done.
    monkeypatch.setattr("bot.mcp.connection._ANSWER_SECONDS", 0.2)
    async with pool_of(plain(log)) as pool:
        log.with_suffix(".tools").write_text("echo stir")
        result = await pool.ask("plain", "stir", {"word": "a", "seconds": 1})
        assert result.text == "a"
        await until(lambda: names(pool) == ["echo", "stir"])
        assert connects(pool) == 1


async def test_a_server_that_comes_back_with_other_tools_is_called_by_its_new_list(
    log: Path,
) -> None:
    async with pool_of(plain(log)) as pool:
        pid = int((await pool.ask("plain", "pid", {})).text)
        log.with_suffix(".tools").write_text("echo count")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: names(pool) == ["count", "echo"])
        with pytest.raises(ToolUnavailable, match="has no tool 'pid'"):
            await pool.ask("plain", "pid", {})
        assert (await pool.ask("plain", "count", {"word": "b"})).text == "b"


async def test_an_http_server_that_dies_idle_is_noticed_and_comes_back_with_other_tools(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.mcp.connection._LISTEN_PAUSES", (0.05,))
    port, pool = free_port(), NamedPool()
    try:
        async with serving("workshop.py", "http", port, log=log):
            url = f"http://127.0.0.1:{port}/mcp"
            await pool.ensure([spec_of("web", url=url, internal=True)])
            await up(pool, 1)
            assert "fail" in names(pool, "web")
        await until(lambda: pool.servers[0].state == "down")
        log.with_suffix(".gone").write_text("fail")
        async with serving("workshop.py", "http", port, log=log):
            await up(pool, 2)
            assert "fail" not in names(pool, "web")
            assert (await pool.ask("web", "echo", {"text": "x"})).text == "x"
    finally:
        await pool.close()


async def test_a_tool_that_went_away_unannounced_is_noticed_when_it_is_called(log: Path) -> None:
    async with pool_of(plain(log)) as pool:
        log.with_suffix(".tools").write_text("echo")
        assert (await pool.ask("plain", "pid", {})).is_error
        await until(lambda: names(pool) == ["echo"])
        assert connects(pool) == 1


async def test_whoever_tells_of_changes_without_an_end_is_asked_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.mcp.connection._REFRESH_PAUSE", 0.01)
    with structlog.testing.capture_logs() as logs:
        async with pool_of(server("rude", "rude.py", "restless")):
            began = time.monotonic()
            await until(lambda: len([e for e in logs if e.get("line") == "listed"]) >= 8)
    assert time.monotonic() - began > 0.01 + 0.02 + 0.04 + 0.08 + 0.16


async def test_prompts_that_take_too_long_do_not_keep_a_server_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.mcp.connection._PROMPTS_SECONDS", 0.3)
    async with pool_of(server("rude", "rude.py", "slow prompts")) as pool:
        assert pool.prompts(pool.named("rude")) == ["prompt one"]
        assert (await pool.ask("rude", "fine", {})).text == "called fine"


async def test_a_crowd_that_calls_after_the_rest_shares_the_attempt_that_succeeds(
    log: Path, tmp_path: Path
) -> None:
    script, clock = tmp_path / "late.py", PatientClock()
    args = ("-I", "-S", str(script))
    spec = spec_of("late", command=sys.executable, args=args, max_calls=40)
    async with pool_of(spec, clock=clock) as pool:
        for _ in range(4):
            with pytest.raises(ToolUnavailable, match=r"code 2|closed the connection"):
                await pool.ask("late", "echo", {"text": "x"})
        began = time.monotonic()
        with pytest.raises(ToolUnavailable, match="not connected"):
            await pool.ask("late", "echo", {"text": "x"})
        assert time.monotonic() - began < 2
        script.write_text((HERE / "plain.py").read_text())
        clock.pushed += 21
        crowd = [pool.ask("late", "echo", {"text": "x"}) for _ in range(40)]
        assert {result.text for result in await asyncio.gather(*crowd)} == {"x"}
        assert connects(pool) == 1


async def test_who_leaves_while_a_server_connects_takes_nothing_from_the_others(log: Path) -> None:
    late = log.with_suffix(".late")
    late.touch()
    pool = NamedPool()
    try:
        await pool.ensure([plain(log)])
        calls = [asyncio.create_task(pool.ask("plain", "pid", {})) for _ in range(3)]
        await until(lambda: pool.servers[0].calls == 3)
        calls[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls[0]
        late.unlink()
        assert len({(await call).text for call in calls[1:]}) == 1
        assert connects(pool) == 1
    finally:
        await pool.close()


async def test_a_pool_closed_while_a_server_connects_leaves_no_process_and_no_caller(
    log: Path,
) -> None:
    log.with_suffix(".late").touch()
    before = asyncio.all_tasks()
    pool = NamedPool()
    await pool.ensure([plain(log)])
    call = asyncio.create_task(pool.ask("plain", "pid", {}))
    await until(lambda: _running(log))
    (pid,) = _running(log)
    await asyncio.wait_for(pool.close(), BOUND)
    with pytest.raises(ToolUnavailable, match="closed"):
        await call
    assert not runs(pid)
    await until(lambda: asyncio.all_tasks() <= before)


def _running(log: Path) -> list[int]:
    """Servers that have this log in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"LOG={log}\0".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid() and runs(pid)]


async def test_a_stray_child_that_keeps_the_pipes_open_costs_no_descriptor() -> None:
    async with pool_of(server("rude", "rude.py", "early")):
        pass
    before, strays = open_files(), []
    with structlog.testing.capture_logs() as logs:
        async with pool_of(server("rude", "rude.py", "stray")):
            await until(lambda: any(entry["event"] == "stderr" for entry in logs))
    strays = [int(e["line"].split()[1]) for e in logs if e["event"] == "stderr"]
    try:
        assert runs(strays[0])
        await until(lambda: open_files() <= before)
    finally:
        for pid in strays:
            os.kill(pid, signal.SIGKILL)


async def test_a_server_that_floods_us_with_good_messages_slows_nobody(log: Path) -> None:
    async with pool_of(server("rude", "rude.py", "news"), plain(log)) as pool:
        flood = asyncio.create_task(pool.ask("rude", "fine", {}, deadline=BOUND))
        await until(lambda: pool.servers[0].calls == 1)
        for _ in range(20):
            began = time.thread_time()
            assert (await pool.ask("plain", "echo", {"text": "x"})).text == "x"
            assert time.thread_time() - began < 0.3
        used, began = time.process_time(), time.monotonic()
        await pool.ask("plain", "count", {"word": "done", "seconds": 0.7})
        assert time.process_time() - used < 0.5 * (time.monotonic() - began)
        flood.cancel()


@pytest.mark.parametrize(
    ("manner", "told"),
    [
        ("parts", "[18000 more parts are left out]"),
        ("crowd", "The tool ran, but its answer has too many parts: ask for less."),
    ],
)
async def test_an_answer_of_very_many_parts_holds_the_others_up_for_a_moment_only(
    manner: str, told: str
) -> None:
    async with pool_of(server("rude", "rude.py", manner)) as pool:
        call = asyncio.create_task(pool.ask("rude", "fine", {}))
        worst = await _longest_step(call)
        assert call.result().text.endswith(told)
        assert worst < 0.1


async def _longest_step(task: asyncio.Task[object]) -> float:
    """Seconds of the loop's own work in one go, at worst, until the task is done."""
    worst, seen = 0.0, time.thread_time()
    while not task.done():
        await asyncio.wait({task}, timeout=0.005)
        seen, before = time.thread_time(), seen
        worst = max(worst, seen - before)
    return worst


@pytest.mark.parametrize("manner", ["deep", "torn"])
async def test_an_answer_that_cannot_be_read_ends_its_call_at_once(manner: str) -> None:
    async with pool_of(server("rude", "rude.py", manner)) as pool:
        result = await pool.ask("rude", "fine", {})
        assert result.is_error
        assert result.text == "The tool ran, but its answer breaks the protocol."
        assert connects(pool) == 1


@pytest.mark.parametrize("path", ["/mcp", "/sse"])
async def test_a_pool_closes_although_a_web_server_takes_calls_and_says_nothing(path: str) -> None:
    before = asyncio.all_tasks()
    reached = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        pool = NamedPool()
        await pool.ensure([spec_of("web", url=f"http://127.0.0.1:{port}{path}", internal=True)])
        call = asyncio.create_task(pool.ask("web", "echo", {}))
        await asyncio.wait_for(reached.wait(), BOUND)
        await asyncio.wait_for(pool.close(), 30)
        with pytest.raises(ToolUnavailable, match="closed"):
            await call
    await until(lambda: asyncio.all_tasks() <= before)


def test_after_a_rest_one_try_passes_and_one_without_a_verdict_gives_way_to_the_next() -> None:
    breaker = Breaker(failures=2, cooldown=20)
    breaker.failed(0)
    breaker.failed(0)
    assert not breaker.admits(19)
    assert breaker.admits(21)
    assert not breaker.admits(22)
    breaker.undecided(23)
    assert breaker.admits(23)
    breaker.failed(24)
    breaker.undecided(25)
    assert not breaker.admits(43)
    assert breaker.admits(45)
    breaker.succeeded()
    assert breaker.admits(45)
