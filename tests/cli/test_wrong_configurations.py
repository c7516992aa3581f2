"""Wrong configurations: `check` names each fault with place and cure, and so does a start."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench.host import COMMAND, ROOT, fork_server
from bot.cli.check import check_configuration
from bot.cli.main import main
from bot.store.embedded import HostLock
from bot.variables import names_a_host
from registry.errors import Problem
from simulators.testing.processes import HostProcess
from simulators.testing.stage import until
from simulators.testing.valkey import running_valkey
from tests.cli.wrong_configurations import (
    ALREADY_SAID,
    GOOD,
    LONG_TOKEN,
    NO_BOT,
    PLACE,
    TIME,
    TOKEN,
    WRONG,
    Misconfiguration,
    agent,
)
from tests.host.stage import Stage, command

PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
NOBODY = {"HTTPS_PROXY": "http://127.0.0.1:1", "LOG_FORMAT": "json"}
"""A host that reaches nothing outside this machine."""
STORE = "redis://127.0.0.1:1/0"
SEEN_AT_ONCE = [wrong for wrong in WRONG if not wrong.asking]
LOGGED = {
    wrong.says: wrong for wrong in SEEN_AT_ONCE if not wrong.stops and wrong not in ALREADY_SAID
}
"""What a host that starts has to log, once in the same words."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def taken() -> Iterator[str]:
    """A port on which another program listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield str(other.getsockname()[1])


def variables(wrong: Misconfiguration, taken: str) -> dict[str, str]:
    given = {**GOOD, **wrong.environ}
    return {name: value.replace("{taken}", taken) for name, value in given.items() if value}


def fitting(problems: list[dict[str, Any]], wrong: Misconfiguration) -> dict[str, Any]:
    """The one problem that is expected; its place and cure are there."""
    said = [(one, f"{one['message']}; {one['cure']}") for one in problems]
    here = [one for one, words in said if one["place"] == wrong.place and wrong.says in words]
    assert here, problems
    assert here[0]["cure"] or "must be" in here[0]["message"]
    for more in wrong.also:
        assert any(more in words for _, words in said), (more, problems)
    return here[0]


def test_there_are_more_than_forty() -> None:
    names = [wrong.name for wrong in WRONG]
    assert len(set(names)) == len(names) > 40


@pytest.mark.parametrize("wrong", SEEN_AT_ONCE, ids=lambda wrong: wrong.name)
def test_check_names_what_is_wrong_and_the_start_says_the_same(
    wrong: Misconfiguration,
    folder: Path,
    taken: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong.write(folder)
    for name, value in variables(wrong, taken).items():
        monkeypatch.setenv(name, value)
    status = main(["check", "--json"])
    report = json.loads(capsys.readouterr().out)
    found = fitting(report["problems"], wrong)
    assert (status == 1) is any(one["level"] == "error" for one in report["problems"])
    assert "tulip-9" not in str(report)
    if wrong.stops:
        assert found["level"] == "error"
        assert main(["run"]) == 1
        words = f"switchboard: {Problem(**found)}"
        assert words in capsys.readouterr().err.splitlines()


def test_a_good_configuration_has_no_problem_and_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Misconfiguration("", "", "").write(folder)
    before = sorted(path.name for path in folder.iterdir())
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "no problems found\n"
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_check_beside_a_running_host_says_so_and_finds_no_fault(
    folder: Path, taken: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Misconfiguration("", "", "").write(folder)
    for name, value in {**GOOD, "HTTP_PORT": taken}.items():
        monkeypatch.setenv(name, value)
    lock = HostLock(folder / "data")
    try:
        assert main(["check"]) == 0
        assert "note    DATA_DIR: a host is running with data, so" in capsys.readouterr().out
    finally:
        lock.release()
    assert main(["check"]) == 1


def test_a_refused_setting_is_not_said_to_be_unset_as_well(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Misconfiguration("", "", "").write(folder)
    wrong = {"ADMINS": "@ann", "BOTS__0__TOKEN": "x", "AGENTS__0__NAME": "Ben"}
    for name, value in {**GOOD, **wrong}.items():
        monkeypatch.setenv(name, value)
    found = [problem.place for problem in check_configuration()]
    assert sorted(found) == ["ADMINS", "AGENTS__0", "BOTS__0__TOKEN"]


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ({"BOTS__0__AGENT_ID": "jack"}, ["BOTS__0__AGENT_ID"]),
        ({"ANTHROPIC_API_KEY_FILE": "/nowhere"}, ["ANTHROPIC_API_KEY_FILE"]),
        (
            {"ANTHROPIC_API_KEY": None, "ANTHROPIC_API_KEY_FILE": "/nowhere"},
            ["ANTHROPIC_API_KEY_FILE"],
        ),
        ({"BOTS__0__TOKEN": None, "BOTS__O__TOKEN": TOKEN}, ["BOTS__O__TOKEN"]),
    ],
)
def test_a_mistake_is_said_in_one_line(
    given: dict[str, str | None],
    places: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only = {"agents": [{"id": "jack", "name": "Jack"}], "defaultAgentId": "jack"}
    Misconfiguration("", "", "", change=json.dumps(only)).write(folder)
    for name, value in ({**GOOD, **given}).items():
        if value:
            monkeypatch.setenv(name, value)
    assert [one.place for one in check_configuration()] == places


def test_all_that_keeps_a_host_from_starting_is_said_at_once(
    folder: Path, taken: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"HTTP_PORT": taken, "DATA_DIR": "open", "ADMINS": "@ann", "BOTS__0__TOKEN": "x"}
    for name, value in {**GOOD, **wrong}.items():
        monkeypatch.setenv(name, value)
    assert main(["run"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert {line.split()[1].rstrip(":") for line in said} == set(wrong)


@pytest.mark.parametrize(
    ("file", "line"), [(".env.txt", LONG_TOKEN), *((".env", line) for line in NO_BOT)]
)
def test_a_line_that_means_a_bot_is_named_by_all_and_its_token_by_none(
    line: str,
    file: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", GOOD["ANTHROPIC_API_KEY"])
    monkeypatch.setenv("HTTP_PORT", "0")
    (folder / file).write_text(line + "\n")
    words = NO_BOT[line] if file == ".env" else ".env.txt: is not read; rename it to .env"
    assert names_a_host()
    assert main(["run"]) in (1, 2)
    said = capsys.readouterr().err
    assert f"switchboard: {words}" in said
    assert main(["check"]) == 1
    checked = capsys.readouterr().out
    assert words in checked
    assert LONG_TOKEN.upper() not in (said + checked).upper()


def test_run_names_a_line_that_sets_nothing_beside_another_mistake(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "loud")
    (folder / ".env").write_text(f"\n\nBOTS__0__TOKEN:{LONG_TOKEN}\nADMINS=5\nADMINS=6\n")
    assert main(["run"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.removeprefix("switchboard: ") for line in said] == [
        "LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR",
        ".env:3: this line sets nothing; write NAME=value, or put a # in front",
        ".env:4: this line sets nothing, as line 5 sets ADMINS again; keep one of the two",
    ]


@pytest.mark.parametrize("wrong", LOGGED.values(), ids=lambda wrong: wrong.name)
async def test_a_host_that_starts_logs_what_check_says(
    wrong: Misconfiguration, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong.write(folder)
    monkeypatch.setenv("PATH", PATH)
    for name, value in (given := variables(wrong, "")).items():
        monkeypatch.setenv(name, value)
    problems = [asdict(one) for one in await asyncio.to_thread(check_configuration)]
    found = fitting(problems, wrong)
    words = str(Problem(**found))
    environ = {"PATH": PATH, "PYTHONPATH": str(ROOT), **NOBODY, **given}
    log = folder / "host.log"
    host = HostProcess(COMMAND, folder=folder, log=log, environ=environ, fork_server=fork_server())
    await host.spawn()
    try:
        await until(lambda: words in logged(host.log_text()) or not host.alive)
        ended = host.log_text() if "there is no bot to run" in host.log_text() else ""
        assert words in logged(host.log_text()) + ended
    finally:
        await host.end()


def logged(text: str) -> str:
    """All that the lines of a log say, without the escapes of JSON."""
    lines = text.splitlines(keepends=True)
    rows = [json.loads(one) for one in lines if one.startswith("{") and one.endswith("\n")]
    return "\n".join(str(value) for row in rows for value in row.values())


# --- others are asked ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [one for one in WRONG if one.asking], ids=lambda wrong: wrong.name
)
async def test_what_only_others_know_is_found_where_they_are_asked(
    wrong: Misconfiguration, tmp_path: Path, stage: Stage
) -> None:
    bot = stage.add_bot("Jack")
    wrong.write(tmp_path)
    given = variables(wrong, "") | addresses(stage) | {"BOTS__0__TOKEN": bot.token}
    fitting((await checked(tmp_path, given, *wrong.asking))["problems"], wrong)


async def test_everybody_is_asked_and_each_answer_is_a_line(tmp_path: Path, stage: Stage) -> None:
    Misconfiguration("", "", "").write(tmp_path)
    bot = stage.add_bot("Jack")
    given = {**GOOD, **addresses(stage), "BOTS__0__TOKEN": bot.token}
    async with running_valkey(tmp_path / "v") as valkey:
        report = await checked(tmp_path, given | {"REDIS_URL": valkey.url}, "--live")
        assert report["problems"] == []
        assert report["answered"] == [
            f"BOTS__0__TOKEN: it is @{bot.username}, named 'Jack'",
            "LLM__MODEL: the Messages API accepts the key, and has claude-sonnet-5-5",
            "REDIS_URL: the store answers, and holds 0 agents",
            f"{PLACE}: server 'time' answers, and offers 2 tools",
        ]
    assert {record.path for record in stage.sim.records.all(None)} == {"/v1/models"}
    assert {call.method for call in stage.world.calls.of()} == {"getMe"}


async def test_whoever_refuses_or_is_away_is_named_with_the_cure(
    tmp_path: Path, stage: Stage
) -> None:
    own = agent("jack", mcpServers=[], llmOverrides={"model": "claude-nobody"})
    whole = json.dumps({"agents": [own], "defaultAgentId": "jack"})
    Misconfiguration("", "", "", change=whole).write(tmp_path)
    given = {**GOOD, **addresses(stage), "LLM__MODEL": "claude-sonet-5-5", "REDIS_URL": STORE}
    given |= {"LLM__FALLBACKMODEL": "claude-haiku-5-5"}
    report = await checked(tmp_path, given, "--live")
    said = {one["place"]: one for one in reversed(report["problems"])}  # the worst of each place
    assert said["BOTS__0__TOKEN"]["message"] == "Telegram does not know this token (401)"
    assert "@BotFather" in said["BOTS__0__TOKEN"]["cure"]
    wrong_model = said["LLM__MODEL"]["message"], said["LLM__MODEL"]["cure"]
    assert wrong_model == (
        "the Messages API does not know claude-sonet-5-5",
        "did you mean claude-sonnet-5-5?",
    )
    assert "does not know claude-nobody" in said[PLACE]["message"]
    assert said["REDIS_URL"]["message"] == (
        "the store at 127.0.0.1:1 does not answer, so its agents were not checked"
    )
    assert report["answered"] == [
        "LLM__FALLBACKMODEL: the Messages API accepts the key, and has claude-haiku-5-5"
    ]


async def test_what_several_know_is_said_once(tmp_path: Path, stage: Stage) -> None:
    """In the order of its lines, too."""
    (tmp_path / "server.py").touch()
    servers = {"time": TIME, "own": {"command": "./server.py"}}
    own = [
        agent("jack", mcpServers=[*servers], whitelistPatterns=["time:*", "skill:*"]),
        agent("ben", llmOverrides={"model": "claude-nobody"}, whitelistPatterns=["mcp:tme:*"]),
    ]
    text = json.dumps({"mcpServers": servers, "agents": own, "defaultAgentId": "jack"}, indent=1)
    Misconfiguration("", "", "", change=text).write(tmp_path)
    given = {**GOOD, **addresses(stage), "LLM__MODEL": "claude-sonet-5-5"}
    given["BOTS__0__TOKEN"] = "123456789:AA-your-token"
    said = (await checked(tmp_path, given, "--live"))["problems"]
    lines = text.splitlines()
    rows = [(f"agents.json:{n}", line) for n, line in enumerate(lines, 1)]
    at = {line.strip(): place for place, line in rows}
    first = rows[text[: text.index('"whitelistPatterns"')].count("\n")][0]
    last = rows[text[: text.rindex('"whitelistPatterns"')].count("\n")][0]
    assert [(one["place"], one["message"].partition("; ")[0]) for one in said] == [
        ("BOTS__0__TOKEN", "is the token of the example"),
        ("LLM__MODEL", "the Messages API does not know claude-sonet-5-5"),
        (at['"model": "claude-nobody"'], "the Messages API does not know claude-nobody"),
        (at['"own": {'], "server 'own': './server.py' is not executable"),
        (first, "'time:*' matches no tool of this agent"),
        (first, "'skill:*' matches no skill of this agent"),
        (last, "'mcp:tme:*' matches no server of this agent"),
    ]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("sk-ant-of-somebody", "it cannot be used: the Messages API answered 401"),
        ("sk-ant-a key", "has a character that no key has"),
    ],
)
async def test_a_key_that_is_refused_is_said_once_and_of_the_key(
    key: str, message: str, tmp_path: Path, stage: Stage
) -> None:
    Misconfiguration("", "", "", change='{"agents": []}').write(tmp_path)
    given = {**GOOD, **addresses(stage), "BOTS__0__TOKEN": stage.add_bot("Jack").token}
    given |= {"ANTHROPIC_API_KEY": key, "LLM__FALLBACKMODEL": "claude-haiku-5-5"}
    stage.sim.keys = {"sk-ant-another"}
    said = (await checked(tmp_path, given, "--live"))["problems"]
    [found] = [one for one in said if one["level"] == "error"]
    assert (found["place"], found["message"][: len(message)]) == ("ANTHROPIC_API_KEY", message)
    assert found["cure"] in ("check ANTHROPIC_API_KEY", "copy the key again")


def addresses(stage: Stage) -> dict[str, str]:
    """Where the simulators of a stage are."""
    return {"TELEGRAM_API_URL": stage.telegram_url, "ANTHROPIC_BASE_URL": stage.messages_url}


async def checked(folder: Path, given: Mapping[str, str], *options: str) -> dict[str, Any]:
    """What `switchboard check` prints in a process of its own."""
    words = ("check", "--json", "--no-env-file", *options)
    _, said = await command(folder, {"PATH": PATH, **given}, *words)
    report: dict[str, Any] = json.loads(said)
    return report
