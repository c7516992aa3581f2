"""What `switchboard check` finds in agents and bindings, each with place and cure."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from bot.cli.check import check_configuration
from registry.binding import token_hash
from registry.errors import Problem
from simulators.testing.valkey import Valkey

TOKEN = "123:AAa-token-that-nobody-may-read"
PATH = "agents.json"
Check = Callable[..., list[Problem]]

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
    ("8", "remove it"),
    ("10", "did you mean mcp:h:*?"),
    ("11", "remove or rename"),
    ("12", "set NOT_SET"),
    ("16", "TelegramBot, ChatId or UserId"),
    ("17", "token-hash"),
    ("18", "create the agent"),
    ("20", "did you mean 'defaultAgentId'"),
}
ENVIRON = {"AGENTS__7__NAME": "Nameless", "AGENT_0_ID": "typo"}
QUIET = {"HTTP_PORT": "0", "ANTHROPIC_API_KEY": "sk-ant-a-key-for-the-test", "ADMINS": "5"}


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """The problems of this folder with one bot, or without one, and these variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)

    def checked(*, bot: bool = True, **environ: str) -> list[Problem]:
        token = {"BOTS__0__TOKEN": TOKEN} if bot else {}
        with monkeypatch.context() as given:
            for name, value in (QUIET | token | environ).items():
                given.setenv(name, value)
            found = check_configuration()
        return [problem for problem in found if bot or problem.place != "BOTS__0__TOKEN"]

    return checked


def write(document: object) -> None:
    Path(PATH).write_text(
        document if isinstance(document, str) else json.dumps(document), encoding="utf-8"
    )


def plain(agent_id: str, **fields: object) -> dict[str, object]:
    return {"id": agent_id, "name": agent_id, "mcpServerEndpoints": [], **fields}


def test_fifteen_planted_mistakes_are_all_found(check: Check) -> None:
    write(PLANTED)
    found = check(**ENVIRON)
    for line, words in EXPECTED:
        own = [problem for problem in found if problem.place == f"{PATH}:{line}"]
        assert [problem for problem in own if words in str(problem)], (line, words)
    places = {problem.place for problem in found}
    assert {"AGENTS__7", "AGENT_0_ID"} <= places
    assert len(EXPECTED) + 2 == 15
    levels = [problem.level for problem in found]
    assert levels == sorted(levels, key=("error", "warning", "note").index)
    assert "abcdefghijklmnop" not in "".join(map(str, found))


def test_a_good_configuration_has_no_problems(check: Check) -> None:
    agent = plain("a", mcpServers=["time"], whitelistPatterns=["mcp:time:*"])
    binding = {"agentId": "a", "type": "TelegramBot", "bindingKey": token_hash(TOKEN)}
    servers = {"time": {"command": "mcp-server-time", "env": {"K": "${SET}"}}}
    document = {"agents": [agent], "bindings": [binding], "mcpServers": servers}
    write({**document, "defaultAgentId": "a"})
    assert check(SET="a-value-that-is-long") == []


def test_a_file_that_is_not_json_does_not_hide_the_environments_mistakes(check: Check) -> None:
    write("{")
    found = check(bot=False, DEFAULTAGENTID="No Slug")
    assert {problem.place for problem in found} == {f"{PATH}:1", "DEFAULTAGENTID"}


def test_what_a_model_will_drop_is_told_of_effective_settings(check: Check) -> None:
    write({"agents": [plain("a", llmOverrides={"temperature": 1})]})
    (problem,) = check(bot=False, LLM__MODEL="claude-haiku-5-5")
    assert (problem.place, problem.level) == (f"{PATH}:1", "warning")
    assert "does not support temperature" in problem.message


def test_names_of_one_bot_in_two_bindings_are_told(check: Check) -> None:
    bindings = [
        {"agentId": "a", "type": "TelegramBot", "bindingKey": key}
        for key in ("123", token_hash(TOKEN))
    ]
    write({"agents": [plain("a")], "bindings": bindings})
    (problem,) = check()
    assert (problem.level, "same bot" in problem.message) == ("error", True)


def test_leftovers_of_single_agent_mode_are_told(check: Check) -> None:
    write({"agents": [plain("a")], "defaultAgentId": "a"})
    found = check(NAME="Old", WHITELISTPATTERNS__0="mcp:x:*")
    assert [problem.place for problem in found] == ["WHITELISTPATTERNS__0", "NAME"]
    write({})
    found = check(NAME="Old")
    assert [(problem.place, problem.level) for problem in found] == [("NAME", "note")]


def test_the_only_agent_is_said_to_answer_every_bot(check: Check) -> None:
    write({"agents": [plain("a")]})
    (note,) = check()
    assert note.level == "note"
    assert note.message == "a is the only agent and nothing is bound, so it answers every bot"
    write({"agents": [plain("a"), plain("b")]})
    (note,) = check()
    assert "the bots answer nobody" in note.message


def test_a_variable_that_is_not_set_is_found_before_the_start(check: Check) -> None:
    auth = {"clientId": "gateway", "clientSecret": "${DOCS_SECRET}", "issuer": "https://i.example/"}
    server = {"url": "https://docs.example/mcp", "auth": auth}
    write({"agents": [plain("a", mcpServers={"docs": server})]})
    assert "refers to ${DOCS_SECRET}, which is not set" in str(check(bot=False)[0])
    assert check(bot=False, DOCS_SECRET="a-secret-that-is-long") == []
    assert "DOCS_SECRET_FILE is not read otherwise" in str(
        check(bot=False, DOCS_SECRET_FILE="x")[0]
    )


async def test_what_a_store_holds_is_checked_as_well(check: Check, valkey: Valkey) -> None:
    async with Redis.from_url(valkey.url) as redis:
        await redis.set("agent:definition:x", "{")
        binding = {"agentId": "x", "type": "ChatId", "bindingKey": "5"}
        await redis.set("agent:binding:chatid:5", json.dumps(binding))
    found = await asyncio.to_thread(check, bot=False, REDIS_URL=valkey.url)
    assert [problem.place for problem in found] == ["agent:definition:x", "agent:binding:chatid:5"]


@pytest.mark.parametrize("named", [True, False])
def test_a_missing_file_is_a_mistake_only_where_it_was_asked_for(check: Check, named: bool) -> None:
    found = check(bot=False, **({"AGENTS_FILE": "none.json"} if named else {}))
    assert [problem.place for problem in found] == ["none.json"] * named


def test_of_a_file_that_cannot_be_read_nothing_is_said_of_plain_agents(check: Check) -> None:
    Path(PATH).write_text('{"agents": [}', encoding="utf-8")
    said = [str(problem) for problem in check()]
    assert any(one.startswith("agents.json") for one in said)
    assert not any("plain agent" in one for one in said)


def test_instances_are_checked_with_their_files_and_whoever_names_them(check: Check) -> None:
    configs = Path("config/agent_configs/acme")
    for name, content in {
        "good": "agent_type: simple_chat\naccount: acme\ninstance_name: good\n",
        "lost": "agent_type: nobody\naccount: acme\ninstance_name: lost\n",
        "bad": "agent_type: simple_chat\naccount: acme\ninstance_name: bad\nllm: {hot: 1}\n",
    }.items():
        (configs / name).mkdir(parents=True)
        (configs / name / "config.yaml").write_text(content)
    agents = ("acme/good", "default/simple-chat", "acme/none", "acme/lost")
    bindings = [
        {"agentId": agent, "type": "ChatId", "bindingKey": str(n)}
        for n, agent in enumerate(agents, 1)
    ]
    write({"agents": [], "bindings": bindings})
    keys = {f"API_KEYS__{n}__KEY": f"abcdefghijklmnop{n}" * 2 for n in range(3)}
    keys |= {f"API_KEYS__{n}__ACCOUNT": "acme" for n in range(3)}
    keys |= {f"API_KEYS__{n}__AGENT": one for n, one in enumerate(("good", "lost", "simple-chat"))}
    found = [str(one) for one in check(bot=False, **keys)]
    assert [one for one in found if "acme" in one] == found
    wanted = (
        "config/agent_configs/acme/bad/config.yaml:4: unknown field 'hot'",
        "config/agent_configs/acme/lost/config.yaml:1: instance 'acme/lost': unknown agent type",
        "agent 'acme/none' does not exist",
        "agent 'acme/lost' does not exist",
        "API_KEYS__2__AGENT: account acme has no agent or instance 'simple-chat'",
    )
    for words in wanted:
        assert sum(words in one for one in found) == 1, (words, found)
    assert len(found) == len(wanted)
