from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from bot.mcp.server import Breaker
from bot.mcp.server_spec import ServerSpec, prepare_server
from bot.mcp.transports import parent_death
from bot.ops.redaction import Secrets
from registry.definition import McpServer, NamedServer, check_server_names
from registry.errors import InvalidValue
from registry.secrets import expand
from tests.mcp.servers.starting import spec_of

ENVIRON = {
    "HUB": "https://hub.example",
    "KEY": "canary",
    "FTP": "ftp://a",
    "USER_URL": "https://user:pw@h/mcp",
}


def prepared(config: dict[str, Any], secrets: Secrets | None = None) -> ServerSpec | None:
    """A server of an agent's document, as the host makes it."""
    named = NamedServer("x", McpServer.model_validate(config), operator=True)
    fill = partial(expand, environ=ENVIRON)
    return prepare_server(
        named, fill, lambda _url: False, Secrets() if secrets is None else secrets
    )


def test_the_ecosystems_shape_is_read_and_references_are_filled_in() -> None:
    secrets = Secrets()
    time = prepared({"command": "uvx", "args": ["mcp-server-time"], "env": {"TZ": "UTC"}})
    web = prepared(
        {"url": "${HUB}/mcp", "headers": {"Authorization": "Bearer ${KEY}"}}, secrets=secrets
    )
    assert time is not None
    assert web is not None
    assert (time.definition.args, time.definition.env) == (("mcp-server-time",), {"TZ": "UTC"})
    assert time.definition.transport == "stdio"
    assert web.url == "https://hub.example/mcp"
    assert web.definition.headers == {"Authorization": "Bearer canary"}
    assert web.secrets is secrets


def test_an_oauth_secret_is_filled_in_and_known() -> None:
    secrets = Secrets()
    auth = {"clientId": "gate", "clientSecret": "${KEY}", "tokenUrl": "https://id.example/token"}
    spec = prepared({"url": "https://h/mcp", "auth": auth}, secrets=secrets)
    assert spec is not None
    assert spec.definition.auth is not None
    assert spec.definition.auth.client_secret == "canary"
    assert secrets.redact("gate:canary") == "[secret]"
    assert "canary" not in repr(spec) + repr(spec.definition)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"url": "${NOWHERE}"}, "${NOWHERE} is not set"),
        ({"url": "${FTP}"}, "mcpServers.x.url: write http://host/path"),
        ({"url": "${USER_URL}"}, "mcpServers.x.url: write http://host/path"),
    ],
)
def test_a_server_that_cannot_be_reached_is_left_out_with_a_line_in_the_log(
    config: dict[str, Any], words: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        assert prepared(config) is None
    (told,) = logs
    assert (told["event"], told["server"]) == ("server.left_out", "x")
    assert words in told["why"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "either 'command' or 'url'"),
        ({"command": "a", "url": "http://b"}, "either 'command' or 'url'"),
        ({"command": ""}, "at least 1 character"),
        ({"command": ["a"]}, "valid string"),
        ({"command": "a", "args": "b"}, "valid tuple"),
        ({"command": "a", "args": ["\0"]}, "control characters"),
        ({"command": "a", "env": {"B": 1}}, "valid string"),
        ({"command": "a", "headers": {"b": "c"}}, "belong to a 'url'"),
        ({"url": "ftp://a"}, "http"),
        ({"url": "http://[b"}, "address"),
        ({"url": "http://a", "env": {"b": "c"}}, "belong to a 'command'"),
        ({"comand": "a"}, "comand"),
    ],
)
def test_a_definition_that_is_no_server_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        McpServer.model_validate(config)
    assert words in str(refusal.value)


@pytest.mark.parametrize("name", ["", "a:b", "new\nline", "zero\u200bwidth", "n" * 65])
def test_a_name_that_policy_could_not_read_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue):
        check_server_names({name: McpServer(command="a")})


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
    assert spec_of("a", url=url).definition.transport == transport


def test_equal_servers_share_a_key_and_different_ones_do_not() -> None:
    base = spec_of("a", command="x", args=("1",), env={"A": "1", "B": "2"})
    same = spec_of("b", command="x", args=("1",), env={"B": "2", "A": "1"}, deadline=1)
    assert base.share_key == same.share_key
    others = [
        spec_of("a", command="x", args=("1",)),
        spec_of("a", command="x", args=("1",), env={"A": "1", "B": "3"}),
        spec_of("a", command="x", args=("1",), env={"A": "1", "B": "2"}, cwd="/"),
        spec_of("a", command="x 1", env={"A": "1", "B": "2"}),
        spec_of("a", url="http://x"),
        spec_of("a", url="http://x", headers={"A": "1"}),
    ]
    assert len({base.share_key, *(other.share_key for other in others)}) == 7
    assert spec_of("a", url="http://x", headers={"a": "1"}).share_key == others[-1].share_key


def test_globs_match_with_case() -> None:
    spec = spec_of("a", command="x", repeatable=("get_*", "list"))
    assert spec.is_repeatable("get_time", None)
    assert spec.is_repeatable("list", None)
    assert not spec.is_repeatable("Get_time", None)
    assert not spec.is_repeatable("forget_time", None)


def test_a_spec_shows_no_secret() -> None:
    headers, secrets = {"X": "Bearer canary"}, Secrets(["Bearer canary"])
    spec = spec_of("a", url="https://h/mcp?key=canary", headers=headers, secrets=secrets)
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


def test_the_launcher_says_what_it_cannot_run() -> None:
    command = [
        sys.executable,
        "-I",
        "-S",
        parent_death.__file__,
        str(os.getpid()),
        "/no/such/program",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 127
    assert "cannot run /no/such/program" in ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux alone tells of parents")
def test_the_launcher_runs_nothing_once_its_parent_is_gone() -> None:
    command = [sys.executable, "-I", "-S", parent_death.__file__, "1", "/bin/echo", "ran"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
