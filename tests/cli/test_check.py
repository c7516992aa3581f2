"""`switchboard check`: fifteen planted mistakes, fifteen found, each with place and cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.cli.main import main
from bot.settings import Settings
from registry.binding import token_hash

TOKEN = "7000001:AAa-token-that-nobody-may-read"
GOOD: dict[str, Any] = {
    "agents": [
        {
            "id": "jack",
            "name": "Jack",
            "mcpServerEndpoints": ["https://tools.example/mcp"],
            "whitelistPatterns": ["mcp:tools.example:*"],
        }
    ],
    "bindings": [{"agentId": "jack", "type": "TelegramBot", "bindingKey": token_hash(TOKEN)}],
}
PLANTED = """{
  "agents": [
    {"id": "Jack", "name": "Jack", "mcpServerEndpoints": []},
    {"id": "a", "nmae": "A", "name": "A", "mcpServerEndpoints": []},
    {"id": "b", "name": "B", "mcpServers": ["nowhere"]},
    {"id": "c", "name": "C", "mcpServerEndpoints": [], "llmOverrides": {"temperature": 9}},
    {"id": "e", "name": "E", "mcpServerEndpoints": ["http://h:1/sse"],
      "whitelistPatterns": ["mcp:library:*"]},
    {"id": "f", "name": "F", "mcpServers": {"d": {"url": "https://d.example/",
      "headers": {"Authorization": "Bearer ${NOT_SET}"}}}},
    {"id": "g", "name": "G", "mcpServerEndpoints": [],
      "llmOverrides": {"model": "claude-haiku-5-5", "temperature": 0.5}}
  ],
  "bindings": [
    {"agentId": "e", "type": "TelegramBot", "bindingKey": "HASH"},
    {"agentId": "gone", "type": "UserId", "bindingKey": "5"}
  ]
}""".replace("HASH", "0" * 64)
VARIABLES = {
    "BOTS__0__TOKEN": TOKEN,
    "BOTS__1__TOKEN": "no token",
    "BOTS__2__TOKEN_FILE": "/nowhere/token",
    "HTTP_PORT": "99999",
    "AGENT_0_ID": "misspelt",
    "ANTHROPIC_API_KEYS": "sk-ant-secret-in-a-misspelt-variable",
    "ANTHROPIC_API_KEY": "sk-ant-a-key-for-the-test",
    "AGENT_SECRETS": "UNSET_SECRET",
    "ADMINS": "5",
    "AGENTS_FILE": "agents.json",
}
EXPECTED = [
    ("error", "BOTS__1__TOKEN", "copy it again from @BotFather"),
    ("error", "BOTS__2__TOKEN_FILE", "/nowhere/token cannot be read"),
    ("error", "HTTP_PORT", "65535"),
    ("error", "agents.json:3", "write 'jack'"),
    ("error", "agents.json:4", "did you mean 'name'"),
    ("error", "agents.json:5", "define it under mcpServers"),
    ("error", "agents.json:6", "temperature"),
    ("warning", "agents.json:8", "matches no server"),
    ("warning", "agents.json:9", "NOT_SET"),
    ("warning", "agents.json:12", "does not support temperature"),
    ("warning", "agents.json:15", "no configured bot has the hash"),
    ("warning", "agents.json:16", "create the agent"),
    ("warning", "AGENT_0_ID", "AGENTS__0__ID"),
    ("warning", "ANTHROPIC_API_KEYS", "did you mean ANTHROPIC_API_KEY?"),
    ("warning", "AGENT_SECRETS", "UNSET_SECRET"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HTTP_PORT", "0")  # free, whatever else runs on this machine
    return tmp_path


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict[str, Any]]]:
    status = main(["check", "--json", *words])
    report = json.loads(capsys.readouterr().out)
    errors = [problem for problem in report["problems"] if problem["level"] == "error"]
    assert report["errors"] == len(errors)
    return status, report["problems"]


def test_fifteen_planted_mistakes_are_found_in_one_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "agents.json").write_text(PLANTED)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    status, problems = checked(capsys)
    assert status == 1
    for level, place, words in EXPECTED:
        fitting = [p for p in problems if p["level"] == level and p["place"] == place]
        assert any(words in f"{p['message']}; {p['cure']}" for p in fitting), (place, problems)
    assert len(problems) == len(EXPECTED) == 15, problems
    assert "sk-ant" not in str(problems)
    assert all(one["cure"] or "must be" in one["message"] for one in problems)


def test_a_good_configuration_is_well_and_exits_with_zero(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "agents.json").write_text(json.dumps(GOOD))
    for name in ("BOTS__0__TOKEN", "ANTHROPIC_API_KEY", "ADMINS"):
        monkeypatch.setenv(name, VARIABLES[name])
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "no problems found\n"


@pytest.mark.parametrize(
    ("admins", "core", "told"), [("1", "", 0), ("1,2", "", 1), ("1,2", "two", 0)]
)
def test_two_admins_without_a_review_of_core_changes_are_a_note(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    admins: str,
    core: str,
    told: int,
) -> None:
    (folder / "agents.json").write_text(json.dumps(GOOD))
    for name in ("BOTS__0__TOKEN", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, VARIABLES[name])
    monkeypatch.setenv("ADMINS", admins)
    monkeypatch.setenv("REVIEW__CORE", core)
    status, problems = checked(capsys)
    found = [one for one in problems if one["place"] == "REVIEW__CORE"]
    assert (status, len(found)) == (0, told)
    assert all(one["level"] == "note" and "set it to two" in one["cure"] for one in found)


def test_a_secret_too_short_to_be_found_is_named_and_its_value_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skill = {
        "name": "ask",
        "description": "Ask.",
        "webhookUrl": "https://x.example",
        "inputSchema": {"type": "object"},
        "webhookAuth": {"type": "bearer", "tokenEnv": "SKILL_PIN"},
    }
    server = {"url": "https://d.example/", "headers": {"X-A": "${A_PIN}", "X-B": "${LONG_ENOUGH}"}}
    agent = GOOD["agents"][0] | {"mcpServers": {"d": server}, "skills": [skill]}
    (folder / "agents.json").write_text(json.dumps(GOOD | {"agents": [agent]}))
    short = {"A_PIN": "77123", "SKILL_PIN": "Bearer 77123", "LISTED": "7_7_1_2_3"}
    more = {"LONG_ENOUGH": "771234", "AGENT_SECRETS": "LISTED", "REDIS_URL": "redis://:77123@h/0"}
    for name, value in (short | more).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("bot.cli.check.STORE_SECONDS", 0.1)
    _, problems = checked(capsys)
    named = {p["place"]: p["level"] for p in problems if "too short to be redacted" in p["message"]}
    assert named == dict.fromkeys([*short, "REDIS_URL"], "warning")
    assert "77123" not in str(problems)


def test_the_env_file_is_looked_at_unless_told_otherwise(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HTTP_PORT")
    (folder / ".env").write_text("HTTP_PORT=many\nAGENTS__0__ID=A B\n")
    status, problems = checked(capsys)
    assert status == 1
    assert {"HTTP_PORT", "AGENTS__0__ID"} <= {problem["place"] for problem in problems}
    monkeypatch.setenv("HTTP_PORT", "0")
    status, problems = checked(capsys, "--no-env-file")
    assert status == 1  # there is no key
    assert {problem["place"] for problem in problems} == {
        "BOTS__0__TOKEN",
        "ANTHROPIC_API_KEY",
        "ADMINS",
    }


def test_what_the_environment_takes_from_the_file_is_shown_with_both_places(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jack = GOOD["agents"][0] | {"llmOverrides": {"maxTokens": 5, "temperature": 1}}
    (folder / "agents.json").write_text(json.dumps({"agents": [jack], "defaultAgentId": "jack"}))
    monkeypatch.setenv("AGENTS__0__ID", "jack")
    monkeypatch.setenv("AGENTS__0__DESCRIPTION", "New here.")
    monkeypatch.setenv("AGENTS__0__LLMOVERRIDES__MAXTOKENS", "7")
    monkeypatch.setenv("DEFAULTAGENTID", "jack")
    monkeypatch.setenv("BOTS__0__TOKEN", TOKEN)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-a-key-for-the-test")
    status, problems = checked(capsys)
    won = {p["place"]: p["message"] for p in problems if "overrides" in p["message"]}
    assert status == 0
    assert won == {
        "AGENTS__0__LLMOVERRIDES__MAXTOKENS": "it overrides agents.json:1",
        "DEFAULTAGENTID": "it overrides agents.json:1",
    }


def test_a_store_that_does_not_answer_is_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hidden@127.0.0.1:1")
    monkeypatch.setenv("BOTS__0__TOKEN", TOKEN)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-a-key-for-the-test")
    status, problems = checked(capsys)
    (problem,) = [one for one in problems if one["place"] == "REDIS_URL"]
    assert (status, problem["level"]) == (0, "warning")
    assert "hidden" not in str(problem)


def test_a_budget_in_dollars_without_a_price_is_a_warning_with_the_cure(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "agents.json").write_text(json.dumps(GOOD))
    for name, value in {"BOTS__0__TOKEN": TOKEN, "LLM__MODEL": "unheard-of"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BUDGETS__HOST__USD", "5")
    _, problems = checked(capsys)
    (found,) = [one for one in problems if one["place"] == "BUDGETS__HOST__USD"]
    assert found["level"] == "warning"
    assert "unheard-of" in found["message"]
    assert "PRICES" in found["cure"]
    monkeypatch.setenv("PRICES", '{"unheard-of": {"input": 1, "output": 5}}')
    _, problems = checked(capsys)
    assert not [one for one in problems if one["place"] == "BUDGETS__HOST__USD"]


def test_agents_that_answer_nobody_are_a_note(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOTS__0__TOKEN", TOKEN)
    _, problems = checked(capsys)
    plain = "no agent is configured, so each bot gets a plain agent with the bot's name"
    assert plain in [p["message"] for p in problems]
    two = [*GOOD["agents"], {"id": "other", "name": "Other"}]
    (folder / "agents.json").write_text(json.dumps({"agents": two}))
    _, problems = checked(capsys)
    assert any("none is the default" in p["message"] for p in problems)


def test_hosts_and_skills_that_cannot_be_are_warnings(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INTERNAL_HOSTS", "http://nas:80/,nas.local,10.0.0.7,fd00::7")
    monkeypatch.setenv("AGENT_SKILLS", "nobodys")
    _, problems = checked(capsys)
    told = {p["place"]: p["message"] for p in problems}
    assert told["INTERNAL_HOSTS"] == "'http://nas:80/' is not a valid host"
    assert "lists nobodys" in told["AGENT_SKILLS"]
    assert sum(p["place"] == "INTERNAL_HOSTS" for p in problems) == 1


def test_a_proxy_that_is_to_judge_and_is_not_there_is_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROXY_JUDGES", "true")
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for proxy, warned in (("", True), ("http://proxy.example:3128", False)):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        _, problems = checked(capsys)
        assert ("PROXY_JUDGES" in [p["place"] for p in problems]) is warned


def test_lines_of_the_env_file_that_set_nothing_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".env").write_text("# the bots\nADMINS=5\nHTTP_PORT\nLOG_LEVEL: DEBUG sk-ant-x\n")
    _, problems = checked(capsys)
    places = [p["place"] for p in problems if "sets nothing" in p["message"]]
    assert places == [".env:3", ".env:4"]
    assert "sk-ant-x" not in str(problems)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, {}),
        (
            {"ACCESS": "open"},
            {
                "ACCESS": "bot 7000001 is open to everybody",
                "BUDGETS": "a bot is open to everybody, and no budget is set",
            },
        ),
        (
            {"BOTS__0__ACCESS": "open", "BUDGETS__HOST__TOKENS": "1000000"},
            {"BOTS__0__ACCESS": "bot 7000001 is open to everybody"},
        ),
        (
            {"ACCESS": "listed", "ADMINS": ""},
            {"ACCESS": "bot 7000001 answers nobody until an admin lets somebody in"},
        ),
        ({"ACCESS": "listed", "CHATS": "-1001", "ADMINS": ""}, {}),
    ],
)
def test_who_may_talk_is_told_where_it_is_everybody_or_nobody(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    told: dict[str, str],
) -> None:
    (folder / "agents.json").write_text(json.dumps(GOOD))
    for name in ("BOTS__0__TOKEN", "ANTHROPIC_API_KEY", "ADMINS"):
        monkeypatch.setenv(name, VARIABLES[name])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    status, problems = checked(capsys)
    assert status == 0
    assert {p["place"]: p["message"] for p in problems if p["place"] != "ADMINS"} == told


def test_the_names_of_other_settings_are_read_where_ours_are_not_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_HOST", "HTTP_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("API_PORT", "8123")
    monkeypatch.setenv("MAX_CONCURRENT_AGENTS", "7")
    (folder / ".env").write_text("API_HOST=127.0.0.2\nLIMITS__TOOLCALLS=3\n")
    found = Settings()
    assert (found.http_host, found.http_port) == ("127.0.0.2", 8123)
    assert (found.limits.turns, found.limits.calls) == (7, 3)
    monkeypatch.setenv("HTTP_PORT", "8124")
    monkeypatch.setenv("LIMITS__TURNS", "5")
    assert (Settings().http_port, Settings().limits.turns) == (8124, 5)
