"""The pool against real processes that die, hang, spew and come back."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import structlog

from bot.errors import ToolFateUnknown, ToolUnavailable
from bot.mcp.result import ToolResult
from bot.mcp.server_spec import ServerSpec
from bot.ops.redaction import Secrets
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
    words,
)

pytestmark = pytest.mark.usefixtures("no_grace")


def plain(log: Path, name: str = "plain", **fields: object) -> ServerSpec:
    return server(name, "plain.py", env={"LOG": str(log)}, **fields)


async def pid_of(pool: NamedPool, name: str) -> int:
    return int((await pool.ask(name, "pid", {})).text)


async def test_a_call_brings_the_tools_answer(log: Path) -> None:
    async with pool_of(plain(log)) as pool:
        result = await pool.ask("plain", "echo", {"text": "hallo ✓"})
        assert result.content == [{"type": "text", "text": "hallo ✓"}]
        assert not result.is_error
        keys = [tool.key for tool in pool.tools(pool.named("plain"))]
        assert keys == sorted(f"mcp:plain:{name}" for name in _plain_tools())


def _plain_tools() -> list[str]:
    return ["echo", "pid", "environment", "count", "hold", "stir", "crash_once"]


async def test_unknown_servers_and_tools_are_unavailable(log: Path) -> None:
    async with pool_of(plain(log)) as pool:
        with pytest.raises(ToolUnavailable, match="no MCP server 'nobody'"):
            await pool.ask("nobody", "echo", {})
        with pytest.raises(ToolUnavailable, match="no tool 'nothing'"):
            await pool.ask("plain", "nothing", {})


async def test_a_server_killed_in_a_call_leaves_the_fate_unknown_and_is_not_asked_twice(
    log: Path,
) -> None:
    async with pool_of(plain(log)) as pool:
        pid = await pid_of(pool, "plain")
        call = asyncio.create_task(pool.ask("plain", "count", {"word": "a", "seconds": 30}))
        await until(lambda: words(log))
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ToolFateUnknown, match="may have run"):
            await call
        assert words(log) == ["a"]
        assert (await pool.ask("plain", "echo", {"text": "back"})).text == "back"
        assert words(log) == ["a"]


async def test_a_pinned_tool_is_run_again_after_a_crash(log: Path) -> None:
    async with pool_of(plain(log, repeatable=("crash_*",))) as pool:
        result = await pool.ask("plain", "crash_once", {"word": "b"})
        assert result.text == "survived"
        assert words(log) == ["b", "b"]


async def test_hints_repeat_a_call_only_where_the_server_is_trusted(log: Path) -> None:
    trusting = plain(log, "trusted", trust_annotations=True)
    async with pool_of(plain(log), trusting) as pool:
        with pytest.raises(ToolFateUnknown):
            await pool.ask("plain", "crash_once", {"word": "c"})
        assert words(log) == ["c"]
        assert (await pool.ask("trusted", "crash_once", {"word": "d"})).text == "survived"


async def test_many_callers_of_a_killed_server_cause_one_reconnect(log: Path) -> None:
    held = log.with_suffix(".hold")
    held.touch()
    async with pool_of(plain(log, max_calls=40)) as pool:
        pid = await pid_of(pool, "plain")
        calls = [asyncio.create_task(pool.ask("plain", "hold", {"word": "e"})) for _ in range(30)]
        await until(lambda: words(log))
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not runs(pid))
        held.unlink()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        fates = Counter(type(end) for end in ended)
        # On a busy machine some have not left when it dies: those run, once, on the next server.
        assert fates[ToolFateUnknown] + fates[ToolResult] == 30
        assert len(words(log)) == 1 + fates[ToolResult]
        again = [pool.ask("plain", "echo", {"text": "x"}) for _ in range(30)]
        assert {result.text for result in await asyncio.gather(*again)} == {"x"}
        assert pool.servers[0].connects == 2


async def test_a_server_killed_while_idle_is_noticed_and_replaced_without_a_call(
    log: Path,
) -> None:
    async with pool_of(plain(log)) as pool:
        os.kill(await pid_of(pool, "plain"), signal.SIGKILL)
        await until(lambda: pool.servers[0].connects == 2)
        assert len(pool.tools(pool.named("plain"))) == len(_plain_tools())


async def test_a_server_that_is_down_at_start_comes_up_later(log: Path, tmp_path: Path) -> None:
    script = tmp_path / "late.py"
    spec = spec_of("late", command=sys.executable, args=("-I", "-S", str(script)))
    async with pool_of(spec) as pool:
        assert pool.tools(pool.named("late")) == []
        assert re.search("code 2|closed the connection", pool.servers[0].reason)
        with pytest.raises(ToolUnavailable):
            await pool.ask("late", "echo", {"text": "x"})
        script.write_text((HERE / "plain.py").read_text())
        await until(lambda: pool.tools(pool.named("late")))


async def test_a_missing_program_is_named_with_the_cure() -> None:
    async with pool_of(spec_of("none", command="no-such-program")) as pool:
        assert "no program 'no-such-program'" in pool.servers[0].reason
        assert await pool.ready(pool.named("none"), BOUND) == ["none"]


async def test_a_hanging_server_costs_its_callers_their_deadline_and_others_nothing(
    log: Path,
) -> None:
    async with pool_of(plain(log, "stuck"), server("other", "plain.py")) as pool:
        began = time.monotonic()
        stuck = asyncio.create_task(
            pool.ask("stuck", "count", {"word": "f", "seconds": 30}, deadline=0.5)
        )
        await until(lambda: words(log))
        for _ in range(20):
            assert (await pool.ask("other", "echo", {"text": "x"})).text == "x"
        assert not stuck.done()
        with pytest.raises(ToolFateUnknown, match="no answer in time"):
            await stuck
        assert time.monotonic() - began < 20  # the call itself takes 30


async def test_a_server_that_hangs_again_and_again_rests_and_is_replaced(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.mcp.connection._PROBE_SECONDS", 0.2)
    clock = QuickClock()
    async with pool_of(plain(log), clock=clock) as pool:
        pid = await pid_of(pool, "plain")
        for _ in range(5):
            with pytest.raises(ToolFateUnknown):
                await pool.ask("plain", "count", {"word": "g", "seconds": 30}, deadline=0.05)
        with pytest.raises(ToolUnavailable, match="failed too often"):
            await pool.ask("plain", "echo", {"text": "x"})
        await until(lambda: pool.servers[0].connects == 2)
        assert not runs(pid)
        clock.pushed += 21
        for _ in range(2):  # the second call finds that the first one ended its rest
            assert (await pool.ask("plain", "echo", {"text": "x"})).text == "x"


async def test_a_caller_who_waits_in_vain_for_a_slot_is_told_that_nothing_ran(log: Path) -> None:
    async with pool_of(plain(log, max_calls=1)) as pool:
        first = asyncio.create_task(
            pool.ask("plain", "count", {"word": "h", "seconds": 30}, deadline=1)
        )
        await until(lambda: words(log))
        with pytest.raises(ToolUnavailable, match="busy"):
            await pool.ask("plain", "count", {"word": "i"}, deadline=0.1)
        with pytest.raises(ToolFateUnknown):
            await first
        assert words(log) == ["h"]


@pytest.mark.parametrize("manner", ["flood", "endless"])
async def test_a_server_that_spews_is_cut_off(manner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.ops.line_reader.ENDLESS", 4_000_000)
    async with pool_of(server("rude", "rude.py", manner), server("other", "plain.py")) as pool:
        spewing = asyncio.create_task(pool.ask("rude", "fine", {}, deadline=BOUND))
        assert (await pool.ask("other", "echo", {"text": "x"}, deadline=2)).text == "x"
        with pytest.raises(ToolFateUnknown):
            await spewing
        await until(lambda: pool.servers[0].connects == 2)


async def test_a_result_too_large_to_take_is_an_error_and_the_connection_stays() -> None:
    async with pool_of(server("rude", "rude.py", "huge")) as pool:
        result = await pool.ask("rude", "fine", {})
        assert result.is_error
        assert "too large" in result.text
        assert pool.servers[0].connects == 1


async def test_a_text_where_a_list_belongs_is_read_as_text() -> None:
    async with pool_of(server("rude", "rude.py", "nonsense")) as pool:
        result = await pool.ask("rude", "fine", {})
        assert (result.text, result.is_error) == ("no list", False)


async def test_one_bad_tool_costs_no_other_tool() -> None:
    async with pool_of(server("rude", "rude.py", "chatty")) as pool:
        names = [tool.name for tool in pool.tools(pool.named("rude"))]
        assert names == ["any", "bad property", "fine", "liar", "n" * 300, "no schema"]
        assert (await pool.ask("rude", "fine", {})).text == "called fine"


async def test_ten_thousand_tools_are_cut_to_a_thousand() -> None:
    async with pool_of(server("rude", "rude.py", "many")) as pool:
        assert len(pool.tools(pool.named("rude"))) == 1_000


async def test_a_server_that_never_answers_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = NamedPool()
    try:
        await pool.ensure([server("silent", "rude.py", "silent"), server("other", "plain.py")])
        assert await pool.ready(pool.named("other"), BOUND) == []
        assert await pool.ready(pool.named("silent"), 0.1) == ["silent"]
        with pytest.raises(ToolUnavailable, match="not connected"):
            await pool.ask("silent", "echo", {}, deadline=0.1)
    finally:
        await asyncio.wait_for(pool.close(), 30)


async def test_a_server_that_does_not_open_in_time_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.mcp.connection.OPEN_SECONDS", 0.3)
    async with pool_of(server("silent", "rude.py", "silent")) as pool:
        assert pool.servers[0].reason == "the server did not answer in time"


async def test_equal_servers_share_one_process_under_different_names(log: Path) -> None:
    twins = (plain(log, "one"), plain(log, "two"), server("three", "plain.py"))
    async with pool_of(*twins) as pool:
        assert await pid_of(pool, "one") == await pid_of(pool, "two")
        assert await pid_of(pool, "one") != await pid_of(pool, "three")
        assert {tool.server for tool in pool.tools(pool.named("two"))} == {"two"}
        assert [one.names for one in pool.servers] == [["one", "two"], ["three"]]


async def test_one_name_for_two_servers_is_told_apart_by_spec(log: Path) -> None:
    first, second = plain(log), server("plain", "plain.py")
    async with pool_of(first, second) as pool:
        pids = [int((await pool.ask_of(spec, "pid", {})).text) for spec in (first, second)]
        assert pids[0] != pids[1]
        assert await pid_of(pool, "plain") == pids[1]


async def test_a_retired_server_is_gone_unless_another_name_needs_it(log: Path) -> None:
    async with pool_of(plain(log, "one"), plain(log, "two")) as pool:
        pid = await pid_of(pool, "one")
        await pool.keep_only(pool.named("two"))
        assert [one.names for one in pool.servers] == [["two"]]
        assert await pid_of(pool, "two") == pid
        await pool.keep_only([])
        assert pool.tools(pool.named("two")) == []
        assert not runs(pid)
        assert pool.servers == []


async def test_ensuring_again_starts_nothing_new(log: Path) -> None:
    async with pool_of(plain(log)) as pool:
        pid = await pid_of(pool, "plain")
        await pool.ensure([plain(log)])
        assert await pid_of(pool, "plain") == pid
        assert len(pool.servers) == 1


async def test_a_server_gets_no_secret_of_ours(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELEGRAM_TOKEN", "123:canary")
    async with pool_of(plain(log)) as pool:
        seen = json.loads((await pool.ask("plain", "environment", {})).text)
        assert seen["LOG"] == str(log)
        assert "TELEGRAM_TOKEN" not in seen


async def test_what_a_server_says_on_stderr_is_logged_without_its_secrets() -> None:
    secret = {"env": {"SECRET": "hunter22"}, "secrets": Secrets(["hunter22"])}
    spec = server("rude", "rude.py", "family", **secret)
    with structlog.testing.capture_logs() as logs:
        async with pool_of(spec):
            await until(lambda: any(entry["event"] == "stderr" for entry in logs))
    said = next(entry["line"] for entry in logs if entry["event"] == "stderr")
    assert said.startswith("child ")
    assert said.endswith("secret [secret]")
    assert "hunter22" not in repr(logs)


async def test_closing_leaves_no_process_task_or_descriptor(log: Path) -> None:
    async with pool_of(plain(log)):
        pass  # the SDK is loaded now, with what it opens for good
    before, tasks = open_files(), asyncio.all_tasks()
    with structlog.testing.capture_logs() as logs:
        family = server("rude", "rude.py", "family")
        async with pool_of(plain(log), family, server("silent", "rude.py", "huge")) as pool:
            pid = await pid_of(pool, "plain")
            call = asyncio.create_task(pool.ask("plain", "count", {"word": "z", "seconds": 30}))
            await until(lambda: words(log))
            await until(lambda: any(entry["event"] == "stderr" for entry in logs))
    with pytest.raises((ToolFateUnknown, ToolUnavailable)):
        await call
    said = next(entry["line"] for entry in logs if entry["event"] == "stderr")
    assert not runs(int(said.split()[1]))
    assert not runs(pid)
    await until(lambda: asyncio.all_tasks() <= tasks)
    await until(lambda: open_files() <= before)


async def test_a_closed_pool_starts_nothing(log: Path) -> None:
    pool = NamedPool()
    await pool.close()
    with pytest.raises(ToolUnavailable, match="closed"):
        await pool.ensure([plain(log)])


HOST = """
import asyncio, sys
from tests.mcp.servers.starting import pool_of, server

async def main():
    busy = server("busy", "plain.py", env={"LOG": sys.argv[1]})
    async with pool_of(server("idle", "plain.py"), busy) as pool:
        for name in ("idle", "busy"):
            print("pid", (await pool.ask(name, "pid", {})).text, flush=True)
        await pool.ask("busy", "count", {"word": "x", "seconds": 60})

asyncio.run(main())
"""


def test_a_host_that_is_killed_takes_its_servers_with_it(log: Path) -> None:
    root = str(HERE.parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(log)], stdout=subprocess.PIPE, text=True, cwd=root
    ) as host:
        assert host.stdout is not None
        lines = (line.split() for line in host.stdout)
        told = (said for said in lines if said[0] == "pid")
        pids = [int(said[1]) for said in islice(told, 2)]
        asyncio.run(until(lambda: words(log)))
        assert all(runs(pid) for pid in pids)
        host.kill()
        host.wait()
    asyncio.run(until(lambda: not any(runs(pid) for pid in pids)))


def test_the_sdk_is_not_loaded_before_a_server_is_asked_for() -> None:
    code = "import sys, bot.mcp.pool, bot.mcp.tool_spec; sys.exit('mcp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
