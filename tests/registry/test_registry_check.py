"""`switchboard check`: every mistake of a configuration in one run, each with place and cure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.binding import BotIdentity, token_hash
from registry.config_check import check
from registry.definition import LlmConfiguration
from registry.sources.memory import MemoryStore

TOKEN = "123:abc"
BOT = BotIdentity(token_hash(TOKEN), 123)

PLANTED = """{
  "agents": [
    {"id": "Jack", "name": "Jack", "mcpServerEndpoints": []},
    {"id": "a", "nmae": "A", "name": "A", "mcpServerEndpoints": ["mcp:8080"]},
    {"id": "b", "name": "B", "mcpServers": ["nowhere"]},
    {"id": "c", "name": "C", "mcpServerEndpoints": [], "llmOverrides": {"maxTokens": "many"}},
    {"id": "d", "name": "D", "mcpServerEndpoints": [],
      "customInstructions": "key sk-ant-api03-abcdefghijklmnop"},
    {"id": "e", "name": "E", "mcpServerEndpoints": ["http://h:1/sse"],
      "whitelistPatterns": ["mcp:library:*"]},
    {"id": "e", "name": "E again", "mcpServerEndpoints": []},
    {"id": "f", "name": "F", "mcpServers": {"d": {"url": "https://d.example/",
      "headers": {"Authorization": "Bearer ${NOT_SET}"}}}}
  ],
  "bindings": [
    {"agentId": "e", "type": "Chat", "bindingKey": "1"},
    {"agentId": "e", "type": "TelegramBot", "bindingKey": "HASH"},
    {"agentId": "gone", "type": "UserId", "bindingKey": "5"}
  ],
  "defaultAgent": "e"
}""".replace("HASH", "0" * 64)
EXPECTED = {
    ("3", "write 'jack'"),
    ("4", "did you mean 'name'"),
    ("4", "http://host:port"),
    ("5", "define it under mcpServers"),
    ("6", "'llmOverrides.maxTokens'"),
    ("8", "take it out"),
    ("10", "write h"),
    ("11", "remove or rename"),
    ("12", "set NOT_SET"),
    ("16", "TelegramBot, ChatId or UserId"),
    ("17", "token-hash"),
    ("18", "create the agent"),
    ("20", "did you mean 'defaultAgentId'"),
}
ENVIRON = {"AGENTS__7__NAME": "Nameless", "AGENT_0_ID": "typo", "BOTS__0__TOKEN": TOKEN}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents.json"


def test_fifteen_planted_mistakes_are_all_found(path: Path) -> None:
    path.write_text(PLANTED)
    found = check(path, ENVIRON, bots=[BOT])
    for line, words in EXPECTED:
        own = [problem for problem in found if problem.place == f"{path}:{line}"]
        assert [problem for problem in own if words in str(problem)], (line, words)
    places = {problem.place for problem in found}
    assert {"AGENTS__7", "AGENT_0_ID"} <= places
    assert len(EXPECTED) + 2 == 15
    levels = [problem.level for problem in found]
    assert levels == sorted(levels, key=("error", "warning", "note").index)
    assert "abcdefghijklmnop" not in "".join(map(str, found))


def test_a_good_configuration_has_nothing_to_say(path: Path) -> None:
    agent = {"id": "a", "name": "A", "mcpServers": ["time"], "whitelistPatterns": ["mcp:time:*"]}
    binding = {"agentId": "a", "type": "TelegramBot", "bindingKey": token_hash(TOKEN)}
    servers = {"time": {"command": "mcp-server-time", "env": {"K": "${SET}"}}}
    document = {"agents": [agent], "bindings": [binding], "mcpServers": servers}
    path.write_text(json.dumps({**document, "defaultAgentId": "a"}))
    assert check(path, {"SET": "1"}, bots=[BOT]) == []


def test_a_file_that_is_no_json_does_not_hide_the_environments_mistakes(path: Path) -> None:
    path.write_text("{")
    found = check(path, {"DEFAULTAGENTID": "No Slug"})
    assert {problem.place for problem in found} == {f"{path}:1", "DEFAULTAGENTID"}


def test_what_a_model_will_drop_is_told_of_effective_settings(path: Path) -> None:
    agent = {"id": "a", "name": "A", "mcpServerEndpoints": [], "llmOverrides": {"temperature": 1}}
    path.write_text(json.dumps({"agents": [agent]}))

    def advice(llm: LlmConfiguration) -> list[str]:
        return [f"{llm.model} takes no temperature"] if llm.temperature is not None else []

    (problem,) = check(path, {}, defaults=LlmConfiguration(model="m"), advice=advice)
    assert (problem.place, problem.level) == (f"{path}:1", "warning")
    assert "m takes no temperature" in problem.message


def test_names_of_one_bot_in_two_bindings_are_told(path: Path) -> None:
    bindings = [
        {"agentId": "a", "type": "TelegramBot", "bindingKey": key}
        for key in ("123", token_hash(TOKEN))
    ]
    agent = {"id": "a", "name": "A", "mcpServerEndpoints": []}
    path.write_text(json.dumps({"agents": [agent], "bindings": bindings}))
    (problem,) = check(path, {}, bots=[BOT])
    assert (problem.level, "same bot" in problem.message) == ("error", True)


def test_leftovers_of_single_agent_mode_are_told(path: Path) -> None:
    environ = {"NAME": "Old", "WHITELISTPATTERNS__0": "mcp:x:*"}
    agent = {"id": "a", "name": "A", "mcpServerEndpoints": []}
    path.write_text(json.dumps({"agents": [agent], "defaultAgentId": "a"}))
    assert [problem.place for problem in check(path, environ, bots=[BOT])] == [
        "WHITELISTPATTERNS__0"
    ]
    path.write_text("{}")
    told = check(path, {"NAME": "Old"}, bots=[BOT])
    assert [(problem.place, problem.level) for problem in told] == [("NAME", "note")]


def test_what_a_store_holds_is_checked_as_well(path: Path) -> None:
    store = MemoryStore()
    store.set_raw("agent:definition:x", "{")
    store.set_raw("agent:binding:chatid:5", '{"agentId":"x","type":"ChatId","bindingKey":"5"}')
    found = check(None, {}, runtime=store.document)
    assert [problem.place for problem in found] == ["agent:definition:x", "agent:binding:chatid:5"]


@pytest.mark.parametrize("required", [True, False])
def test_a_missing_file_is_a_mistake_only_where_it_was_asked_for(
    path: Path, required: bool
) -> None:
    assert len(check(path, {}, required=required)) == int(required)
