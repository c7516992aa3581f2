"""`switchboard check --servers`: the tool servers themselves, where the operator wants it so."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from bot.cli.main import main
from tests.mcp.servers.starting import HERE

KEY = "canary-of-the-server-5b1d"


def server(*args: str) -> dict[str, Any]:
    given = ["-I", "-S", str(HERE / "odd.py"), *args]
    return {"command": sys.executable, "args": given, "env": {"KEY": "${KEY}"}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An agent with a server that is well, one with odd tools, one that dies, and a missing one."""
    servers = {name: server(name) for name in ("fine", "left", "dead")}
    servers["absent"] = {"command": "no-such-program-anywhere"}
    agent = {"id": "a", "name": "A", "mcpServers": sorted(servers)}
    document = {"agents": [agent], "mcpServers": servers, "defaultAgentId": "a"}
    (tmp_path / "agents.json").write_text(json.dumps(document))
    monkeypatch.chdir(tmp_path)
    given = {"BOTS__0__TOKEN": "7000001:AAabcdefghijklmnop", "KEY": KEY}
    for name, value in {**given, "ANTHROPIC_API_KEY": "sk-ant-a-key-for-the-test"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """The command line sets up logging for its whole process."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


def found(capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, str]]:
    assert main(["check", "--json", "--no-env-file", *options]) == 0
    shown = capsys.readouterr()
    assert KEY not in shown.out + shown.err
    problems: list[dict[str, str]] = json.loads(shown.out)["problems"]
    return [one for one in problems if one["message"].startswith("server ")]


@pytest.mark.usefixtures("folder")
def test_servers_are_asked_where_the_operator_wants_it_and_not_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    [absent] = found(capsys)
    assert absent["message"] == "server 'absent': there is no program 'no-such-program-anywhere'"
    said = [(one["place"].partition(":")[0], one["message"]) for one in found(capsys, "--servers")]
    assert {place for place, _ in said} == {"agents.json"}
    for words in (
        "server 'left': tool 'wrong' is left out",
        "server 'left': tool 'refers' is left out",
        "server 'left': tool 'asks' is left out: it asks the model for a credential, 'api_key'",
        "server 'dead' cannot be used: the server's process ended with code 3; its last words",
        "server 'absent': there is no program 'no-such-program-anywhere'",
    ):
        assert [message for _, message in said if message.startswith(words)], (words, said)
    assert len([message for _, message in said if "'absent'" in message]) == 1
    assert [message for _, message in said if "'fine'" in message and "left" not in message] == []
