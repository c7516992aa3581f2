from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from bot.errors import ConfigError
from bot.mcp.server import Breaker
from bot.mcp.server_spec import ServerSpec, specs_from
from bot.mcp.transports import parent_death


def test_the_ecosystems_shape_is_read() -> None:
    config = {
        "time": {"command": "uvx", "args": ["mcp-server-time"], "env": {"TZ": "UTC"}, "cwd": "/"},
        "web": {"url": "https://example.org/mcp", "headers": {"Authorization": "Bearer x"}},
    }
    time, web = specs_from(config)
    assert (time.command, time.args, time.env, time.cwd) == (
        "uvx",
        ("mcp-server-time",),
        {"TZ": "UTC"},
        "/",
    )
    assert web.headers == {"Authorization": "Bearer x"}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "either `command` or `url`"),
        ({"command": "a", "url": "http://b"}, "either `command` or `url`"),
        ({"command": ""}, "command: it is empty"),
        ({"command": ["a"]}, "command: write a string"),
        ({"command": "a", "args": "b"}, "args: write a list of strings"),
        ({"command": "a", "args": ["\0"]}, "NUL"),
        ({"command": "a", "env": {"B": 1}}, "env: write an object"),
        ({"command": "a", "headers": {"b": "c"}}, "headers: only a server with `url`"),
        ({"url": "ftp://a"}, "url: write http://"),
        ({"url": "http://[b"}, "url: write http://"),
        ({"url": "http://a", "env": {"b": "c"}}, "belong to a server with `command`"),
        ({"comand": "a"}, "mcpServers.time.comand: unknown"),
    ],
)
def test_a_bad_server_is_refused_with_place_and_cure(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        specs_from({"time": config})
    assert words in str(refusal.value)
    assert str(refusal.value).startswith("mcpServers.")


@pytest.mark.parametrize("name", ["", "a:b", "new\nline", "zero\u200bwidth", "n" * 65])
def test_a_name_that_policy_could_not_read_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="printable characters"):
        ServerSpec(name, command="a")


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("http://a/sse", "sse"),
        ("http://a/b/sse/?x=y", "sse"),
        ("http://a/mcp", "http"),
        ("http://a/passe", "http"),
        ("http://a", "http"),
    ],
)
def test_the_url_tells_the_transport(url: str, transport: str) -> None:
    assert ServerSpec("a", url=url).transport == transport


def test_equal_servers_share_a_key_and_different_ones_do_not() -> None:
    base = ServerSpec("a", command="x", args=("1",), env={"A": "1", "B": "2"})
    same = ServerSpec("b", command="x", args=("1",), env={"B": "2", "A": "1"}, deadline=1)
    assert base.share_key == same.share_key
    others = [
        ServerSpec("a", command="x", args=("1",)),
        ServerSpec("a", command="x", args=("1",), env={"A": "1", "B": "3"}),
        ServerSpec("a", command="x", args=("1",), env={"A": "1", "B": "2"}, cwd="/"),
        ServerSpec("a", command="x 1", env={"A": "1", "B": "2"}),
        ServerSpec("a", url="http://x"),
        ServerSpec("a", url="http://x", headers={"A": "1"}),
    ]
    assert len({base.share_key, *(other.share_key for other in others)}) == 7


def test_globs_match_with_case() -> None:
    spec = ServerSpec("a", command="x", repeatable=("get_*", "list"))
    assert spec.is_repeatable("get_time")
    assert spec.is_repeatable("list")
    assert not spec.is_repeatable("Get_time")
    assert not spec.is_repeatable("forget_time")


def test_a_spec_shows_no_secret() -> None:
    spec = ServerSpec("a", url="https://h/mcp?key=canary", headers={"X": "Bearer canary"})
    assert "canary" not in repr(spec)
    assert "canary" not in spec.redact(f"failed at {spec.url} with Bearer canary")


def test_the_breaker_opens_after_five_failures_and_lets_one_try_through_after_a_rest() -> None:
    breaker = Breaker(5, 20.0)
    assert [breaker.failed(0.0) for _ in range(5)] == [False] * 4 + [True]
    assert not breaker.admits(19.9)
    assert breaker.remaining(5.0) == 15.0
    assert breaker.admits(20.0)
    assert not breaker.admits(20.1)
    breaker.succeeded()
    assert breaker.admits(20.2)
    assert not breaker.failed(20.3)


def test_the_leash_says_what_it_cannot_run() -> None:
    command = [
        sys.executable,
        "-I",
        "-S",
        parent_death.__file__,
        str(_own_pid()),
        "/no/such/program",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 127
    assert "cannot run /no/such/program" in ended.stderr


def _own_pid() -> int:
    import os

    return os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux alone tells of parents")
def test_the_leash_runs_nothing_once_its_parent_is_gone() -> None:
    command = [sys.executable, "-I", "-S", parent_death.__file__, "1", "/bin/echo", "ran"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
