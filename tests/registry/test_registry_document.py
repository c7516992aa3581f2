"""agents.json as people write it: what loads, and every mistake with its line and its cure."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from registry.definition import AgentDefinition, McpServer
from registry.errors import DocumentErrors, Problem
from registry.snapshot import Document
from registry.sources.json_yaml import MalformedText, lines_of, load_document, parse_json

SPEC = """{
  "agents": [
    {
      "id": "jack",
      "name": "Jack",
      "mcpServerEndpoints": ["http://mcp-library:8080/sse", "http://mcp-websearch:8080/sse"],
      "whitelistPatterns": ["mcp:mcp-library:*", "mcp:mcp-websearch:*"],
      "customInstructions": "You are Jack, a media library assistant..."
    }
  ],
  "bindings": [
    { "agentId": "jack", "type": "TelegramBot", "bindingKey": "BOT_TOKEN_HASH" }
  ],
  "defaultAgentId": "jack"
}"""


def mistakes(text: str) -> tuple[Problem, ...]:
    with pytest.raises(DocumentErrors) as raised:
        load_document(text)
    return raised.value.problems


def with_agent(line: str) -> str:
    """A document whose agent has one more line, the fifth of the text."""
    return '{"agents": [{\n"id": "a",\n"name": "A",\n"mcpServerEndpoints": []\n' + line + "\n}]}"


def test_the_documents_own_example_loads_as_written() -> None:
    document = load_document(SPEC)
    jack = document.agents["jack"]
    assert jack.value.name == "Jack"
    assert jack.value.mcp_server_endpoints[1] == "http://mcp-websearch:8080/sse"
    assert jack.value.description is None
    assert jack.origins["whitelistPatterns"] == "agents.json:7"
    assert document.default_agent_id is not None
    assert document.default_agent_id.value == "jack"
    (warning,) = document.problems
    assert (warning.place, warning.level) == ("agents.json:12", "warning")


@pytest.mark.parametrize("text", ["{}", '{"agents": [], "bindings": []}', '{"agents": null}'])
def test_an_empty_document_is_legal(text: str) -> None:
    assert load_document(text) == Document()


def test_names_are_taken_in_any_case_and_given_back_in_the_documents_spelling() -> None:
    text = json.dumps(
        {
            "AGENTS": [
                {
                    "Id": "a",
                    "NAME": "A",
                    "mcp_server_endpoints": [],
                    "LlmOverrides": {"maxtokens": 5},
                }
            ],
            "defaultagentid": "a",
        }
    )
    (entry,) = load_document(text).agents.values()
    assert entry.value.to_json() == {
        "id": "a",
        "name": "A",
        "mcpServerEndpoints": [],
        "llmOverrides": {"maxTokens": 5},
    }


def test_servers_are_named_by_key_or_given_as_an_object() -> None:
    text = json.dumps(
        {
            "mcpServers": {"time": {"command": "mcp-server-time", "args": ["--x"]}},
            "agents": [
                {"id": "a", "name": "A", "mcpServers": ["time"]},
                {"id": "b", "name": "B", "mcpServers": {"docs": {"url": "https://d.example/sse"}}},
            ],
        }
    )
    agents = load_document(text).agents
    assert agents["a"].value.mcp_servers == ("time",)
    own = agents["b"].value.mcp_servers
    assert isinstance(own, dict)
    assert own["docs"].transport == "sse"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "empty"),
        ('{"agents": [\n{"id": "a"', 2, "half-written"),
        ('{\n"agents": [],\n}', 3, "a comma before }; remove it"),
        ('{\n"agents" []}', 2, "colon"),
        ('{"agents": []\n"bindings": []}', 2, "comma between"),
        ("{\n'agents': []}", 2, "double quotes"),
        ('{\n// list\n"agents": []}', 2, "no comments"),
        ('{\n"agents": None}', 2, "null"),
        ('{"agents": []}\n{}', 2, "what follows"),
        ('{"agents": [],\n"agents": []}', 2, "twice"),
        ('{"agents": [],\n"Agents": []}', 1, "twice"),
        ('{"agents": [NaN]}', 1, "NaN"),
        ('{"agents": "\\ud800"}', 1, "surrogate"),
        ("[" * 5000, 1, "nested"),
        ("[]", 1, "object"),
        ('{\n"agents": {}}', 2, "list"),
        ('{\n"agent": []}', 2, "did you mean 'agents'"),
        ('{"agents": [\n5]}', 2, "object"),
        ('{"defaultAgentId":\n5}', 1, "not a valid id"),
        ('{\n"mcpServers": []}', 2, "object"),
        ('{"mcpServers": {\n"t": {"comand": "x"}}}', 2, "did you mean 'command'"),
        ('{"mcpServers": {\n"t": {"command": "x", "url": "http://h/"}}}', 2, "exactly one"),
        ('{"mcpServers": {\n"a b": {"command": "x"}}}', 2, "not a valid server name"),
    ],
)
def test_a_broken_text_names_its_line_and_a_cure(text: str, line: int, words: str) -> None:
    (problem, *_) = mistakes(text)
    assert problem.place == f"agents.json:{line}"
    assert words in str(problem)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (', "Name": "B"', "twice"),
        (', "id": "b"', "twice"),
        (', "customInstruction": "x"', "did you mean 'customInstructions'"),
        (', "zzz": 1', "known: id"),
        (', "description": 5', "must be text"),
        (', "whitelistPatterns": "x"', "must be a list"),
        (', "whitelistPatterns": ["mcp:x"]', "write mcp:<server>:<tool>"),
        (', "whitelistPatterns": ["mcp:[a]:*"]', "is not a valid pattern"),
        (', "whitelistPatterns": ["mcp:**:*"]', "is not a valid pattern"),
        (', "whitelistPatterns": ["mcp:a:b\\nc"]', "is not a valid pattern"),
        (', "llmOverrides": []', "must be an object"),
        (', "llmOverrides": {"maxTokens": "5"}', "must be a whole number"),
        (', "llmOverrides": {"maxTokens": true}', "must be a whole number"),
        (', "llmOverrides": {"maxTokens": 0}', "at least 1"),
        (', "llmOverrides": {"temperature": 3}', "at most 2"),
        (', "llmOverrides": {"temperature": 1e999}', "finite"),
        (', "llmOverrides": {"reasoningEffort": "huge"}', "low, medium, high"),
        (', "llmOverrides": {"fallbackModel": 5}', "must be text"),
        (', "mcpServers": 5', "list of server names or an object"),
        (', "mcpServers": ["nowhere"]', "no server 'nowhere'"),
        (', "mcpServers": {"t": {"url": "ftp://h/"}}', "http or https"),
        (', "mcpServers": {"t": {"url": "http://u:p@h/"}}', "user or password"),
        (', "mcpServers": {"t": {"url": "http://h:99999/"}}', "not a valid address"),
        (', "mcpServers": {"t": {"command": "x", "args": ["${K}"]}}', "only in headers"),
        (', "mcpServers": {"t": {"command": "x", "env": {"A": "${K"}}}', "write ${NAME}"),
        (
            ', "mcpServers": {"t": {"command": "x", "env": {"A-B": "c"}}}',
            "not a valid variable name",
        ),
        (', "mcpServers": {"t": {"command": "x", "type": "sse"}}', "does not match"),
        (', "mcpServers": {"t": {"url": "http://h/", "headers": {"a": "1", "A": "2"}}}', "twice"),
        (', "mcpServers": {"t": {"command": "x"}, "T": {"command": "y"}}', "letter case"),
    ],
)
def test_a_wrong_field_names_its_line_and_a_cure(line: str, words: str) -> None:
    problems = mistakes(with_agent(line))
    assert {problem.place for problem in problems} <= {"agents.json:5", "agents.json:1"}
    assert any(words in str(problem) for problem in problems)


def test_an_agent_without_id_is_refused_and_one_without_servers_is_not() -> None:
    problems = mistakes('{"agents": [\n{"name": "A"}]}')
    assert "'id' is missing" in problems[0].message
    document = load_document('{"agents": [\n{"id": "a", "name": "A"}]}')
    assert document.agents["a"].value.has_every_server


def test_doubled_agents_and_bindings_name_both_places() -> None:
    agent = '{"id": "a", "name": "A", "mcpServerEndpoints": []}'
    one = '{"agentId": "a", "type": "ChatId", "bindingKey": "05"}'
    two = '{"agentId": "b", "type": "chatid", "bindingKey": 5}'
    problems = mistakes(f'{{"agents": [\n{agent},\n{agent}],\n"bindings": [\n{one},\n{two}]}}')
    assert [(p.place, "agents.json:2" in p.message) for p in problems] == [
        ("agents.json:3", True),
        ("agents.json:6", False),
    ]


def test_every_mistake_is_told_in_one_run() -> None:
    text = (
        '{"agents": [\n{"id": "A", "name": 1, "mcpServerEndpoints": ["x"]},\n'
        '{"id": "b", "mcpServerEndpoints": []}],\n'
        '"bindings": [{"agentId": "b", "type": "no", "bindingKey": "1"}]}'
    )
    assert [problem.place.split(":")[1] for problem in mistakes(text)] == ["2", "2", "2", "3", "4"]


def test_a_binding_to_an_agent_that_is_not_there_is_legal() -> None:
    text = '{"bindings": [{"agentId": "later", "type": "UserId", "bindingKey": "5"}]}'
    assert list(load_document(text).bindings) == ["userid:5"]


def test_definitions_are_frozen_and_equal_ones_have_one_text() -> None:
    one = AgentDefinition(id="a", name="A", mcp_server_endpoints=())
    with pytest.raises(ValidationError):
        one.name = "B"  # type: ignore[misc]
    again = AgentDefinition.model_validate(json.loads(one.to_text()))
    assert again == one
    assert again.to_text() == one.to_text()


@pytest.mark.parametrize(
    ("server", "transport"),
    [
        ({"command": "x"}, "stdio"),
        ({"url": "http://h/mcp"}, "http"),
        ({"url": "http://h/sse/"}, "sse"),
        ({"url": "http://h/sse", "type": "http"}, "http"),
        ({"url": "http://h/mcp", "type": "sse"}, "sse"),
    ],
)
def test_a_servers_transport_follows_its_type_then_its_address(
    server: dict[str, str], transport: str
) -> None:
    assert McpServer.model_validate(server).transport == transport


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=20,
)


@given(JSON)
def test_lines_are_found_for_every_value_of_any_text(value: object) -> None:
    text = json.dumps(value, indent=1)
    assert parse_json(text) == value
    assert max(lines_of(text).values()) <= text.count("\n") + 1


@given(st.text(alphabet='{}[]",:truefalsn0123 \n\\x', max_size=40))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    fault: MalformedText | None = None
    try:
        parse_json(text)
    except MalformedText as error:
        fault = error
    assert fault is None or 1 <= fault.line <= text.count("\n") + 1
