"""A setting that cannot be: the start ends with its name and the cure, and without its value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.cli.check import check_configuration
from bot.cli.main import main
from bot.errors import ConfigError
from bot.store.embedded import HostLock

TOKEN = "7000001:AAa-token-that-nobody-may-read"
WRONG = [
    ("BOTS", "hunter2", "BOTS", "set BOTS__0__TOKEN"),
    ("BOTS__0__TOKN", "hunter2", "BOTS__0__TOKN", "did you mean BOTS__0__TOKEN?"),
    ("BOTS__1__AGENTID", "hunter2", "BOTS__1__TOKEN", "set it"),
    ("BOTS__1__TOKEN_FILE", "/nowhere/token", "BOTS__1__TOKEN_FILE", "put the secret there"),
    ("REDIS_URL", "http://:hunter2@localhost", "REDIS_URL", "write redis://"),
    ("REDIS_URL", "redis://:hunter2@localhost:port/0", "REDIS_URL", "write redis://"),
    ("TELEGRAM_API_URL", "hunter2.example", "TELEGRAM_API_URL", "write https://host"),
    ("ANTHROPIC_BASE_URL", "ftp://hunter2.example", "ANTHROPIC_BASE_URL", "write https://host"),
    ("WEBHOOK_URL", "hunter2.example", "WEBHOOK_URL", "write https://host"),
    ("LLM", "hunter2", "LLM", "set LLM__MODEL"),
    ("LLM__TEMPERATURE", "hunter2", "LLM__TEMPERATURE", "must be a number"),
    ("LLM__TEMPERATURE", "3", "LLM__TEMPERATURE", "must be at most 2"),
    ("LLM__REASONINGEFFORT", "hunter2", "LLM__REASONINGEFFORT", "write none, minimal"),
    ("ADMINS", "@hunter2", "ADMINS", "send /id to the bot: it answers a number like 123456789"),
    ("ADMINS", "5, hunter2", "ADMINS", "send /id to the bot"),
    ("ADMINS", "123;456", "ADMINS", "commas between them; write 123, 456"),
    ("ADMINS", "+49301234567", "ADMINS", "not phone numbers; start without it and send /id"),
    ("BOTS__1__TOKEN", f"{TOKEN}x# hunter2", "BOTS__1__TOKEN", "9 characters behind the token"),
    ("BOTS__1__TOKEN", f"{TOKEN}x hunter2", "BOTS__1__TOKEN", "8 characters behind the token"),
    ("ACCESS", "hunter2", "ACCESS", "must be open, request or listed"),
    ("PEOPLE", "@hunter2", "PEOPLE", "send /id to the bot"),
    ("PEOPLE", "-1001", "PEOPLE", "the ids of groups go into CHATS"),
    ("CHATS", "1001", "CHATS", "the ids of people go into PEOPLE"),
    ("BOTS__0__ACCESS", "hunter2", "BOTS__0__ACCESS", "must be open, request or listed"),
    ("BOTS__0__CHATS", "@hunter2", "BOTS__0__CHATS", "in the group: it answers a number like -100"),
    ("BOTS__0__PEOPLE", "hunter2", "BOTS__0__PEOPLE", "send /id to the bot"),
    ("BOTS__0__PEOPLE", "-1001", "BOTS__0__PEOPLE", "the ids of groups go into CHATS"),
    ("PRICES", "{hunter2", "PRICES", "must be JSON"),
    ("PRICES", '{"m": {"input": "hunter2"}}', "PRICES", "m.input must be a number"),
    ("BUDGETS__PERSN__USD", "1", "BUDGETS__PERSN", "did you mean BUDGETS__PERSON?"),
    ("BUDGETS__HOST", "hunter2", "BUDGETS__HOST", "set BUDGETS__HOST__TOKENS or"),
    ("LIMITS__ITERATIONS", "0", "LIMITS__ITERATIONS", "must be at least 1"),
    ("LIMITS__CONFIRM", "mcp:desk", "LIMITS__CONFIRM", "does not name server and tool"),
    *(
        ("LIMITS__CONFIRM", value, "LIMITS__CONFIRM", cure)
        for value, cure in {
            "off": "write none, alone, for no tool",
            "None": "write none, alone, for no tool",
            "none, delete_*": "write none, alone, for no tool",
            "'delete_*', 'publish_*'": "without quotes, with commas between",
            '["delete_*"]': "without quotes, with commas between",
            "delete_*|publish_*": "has a |, which is in no name of a tool",
            "delete_*; publish_*": "has a ;, which is in no name of a tool",
        }.items()
    ),
    ("LIMITS__PIIHANDLING", "hunter2", "LIMITS__PIIHANDLING", "redact or block"),
    ("DATA_FSYNC", "hunter2", "DATA_FSYNC", "must be everysec or always"),
    ("ALLOW_OPEN_REDIS", "hunter2", "ALLOW_OPEN_REDIS", "must be true or false"),
    ("HTTP_PORT", "99999", "HTTP_PORT", "must be at most 65535"),
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOTS__0__TOKEN", TOKEN)
    monkeypatch.setenv("HTTP_PORT", "0")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-a-key-for-the-test")


@pytest.mark.parametrize(("variable", "value", "named", "cure"), WRONG)
def test_a_wrong_setting_is_named_with_its_cure_by_start_and_check(
    variable: str,
    value: str,
    named: str,
    cure: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["run"]) == 1
    said = capsys.readouterr().err
    assert re.match(rf"switchboard: {named}:? ", said)
    assert cure in said
    assert "hunter2" not in said
    assert any(str(found) in said for found in check_configuration() if found.place == named)


def test_several_wrong_settings_are_told_at_once_each_on_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HTTP_PORT", "http")
    monkeypatch.setenv("LOG_FORMAT", "xml")
    assert main(["run"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert {line.split()[1].rstrip(":") for line in said} == {"HTTP_PORT", "LOG_FORMAT"}


def test_a_whole_can_be_given_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM", '{"model": "claude-haiku-5-5"}')
    assert not [found for found in check_configuration() if found.level == "error"]


@pytest.mark.parametrize("folder", ["/proc/of-nobody", "a-file"])
def test_a_data_dir_that_cannot_be_used_is_named_with_its_cure(folder: str) -> None:
    Path("a-file").touch()
    with pytest.raises(ConfigError, match=f"DATA_DIR: {folder} cannot be used: .*choose another"):
        HostLock(Path(folder))


def test_a_data_dir_that_others_may_write_to_is_a_mistake() -> None:
    assert [found for found in check_configuration() if found.place == "DATA_DIR"] == []
    Path("data").mkdir()
    Path("data").chmod(0o777)
    (found,) = [found for found in check_configuration() if found.place == "DATA_DIR"]
    assert (found.level, found.message) == ("error", "others may write to data (mode 0777)")
    assert "chmod 700 data" in found.cure


@pytest.mark.parametrize(
    "name", ["da\nta", "data\n", "da\rta", "da\tta", "\x1b[1mdata", "da\x7fta"]
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_control_character_in_the_name_of_the_data_dir_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, command: str
) -> None:
    monkeypatch.setenv("DATA_DIR", name)
    assert main([command]) == 1
    said = capsys.readouterr()
    (line,) = [one for one in (said.out + said.err).splitlines() if "DATA_DIR" in one]
    assert "has a line break or another control character" in line
    assert "remove it" in line
    assert repr(name) in line
    assert not Path(name).exists()


def test_dead_letters_are_not_looked_for_where_no_host_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["dead-letters", "list"]) == 1
    assert "DATA_DIR data: no host keeps its state here" in capsys.readouterr().err
    assert not Path("data").exists()


def test_the_skills_of_agents_from_the_environment_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTS__0__ID", "jack")
    monkeypatch.setenv("AGENTS__0__NAME", "Jack")
    monkeypatch.setenv("AGENTS__0__MCPSERVERENDPOINTS__0", "https://tools.example/mcp")
    assert main(["skill", "list", "jack"]) == 0
    assert "No agent has any skills." in capsys.readouterr().out


def test_what_is_no_token_is_not_hashed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token-hash", "hunter2"]) == 1
    assert "that is not a bot token" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_what_is_no_port_is_told(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sandbox", f"--port={port}"])
    assert "write a number from 0 to 65535" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("switchboard ")
