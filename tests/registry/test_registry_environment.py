"""Agents from environment variables, the single-agent form, and their merge with the file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.binding import token_hash
from registry.definition import LlmConfiguration
from registry.errors import DocumentErrors
from registry.snapshot import Document, effective
from registry.sources.environment import read_environment, read_legacy
from registry.sources.json_yaml import read_document
from registry.validation import RawDocument, build, merge

SPEC = {
    "AGENTS__0__ID": "jack",
    "AGENTS__0__NAME": "Jack",
    "AGENTS__0__MCPSERVERENDPOINTS__0": "http://mcp-library:8080/sse",
    "AGENTS__0__CUSTOMINSTRUCTIONS": "You are Jack...",
    "DEFAULTAGENTID": "jack",
}
LEGACY = {
    "NAME": "Jack The Ripper",
    "MCPSERVERS__1__ENDPOINT": "http://two:1/sse",
    "MCPSERVERS__0__ENDPOINT": "http://one:1/sse",
    "WHITELISTPATTERNS__0": "mcp:one:*",
}


def file(**roots: object) -> RawDocument:
    return read_document(json.dumps(roots), "agents.json")


def combined(file: RawDocument, *more: RawDocument | None) -> Document:
    return build(merge(file, *more))  # type: ignore[arg-type]


def plain(agent_id: str, **fields: object) -> dict[str, object]:
    return {"id": agent_id, "name": agent_id, "mcpServerEndpoints": [], **fields}


def test_the_documents_own_example_loads_as_written() -> None:
    document = combined(RawDocument(), read_environment(SPEC))
    jack = document.agents["jack"]
    assert jack.value.mcp_server_endpoints == ("http://mcp-library:8080/sse",)
    assert jack.origins["customInstructions"] == "AGENTS__0__CUSTOMINSTRUCTIONS"
    assert document.default_agent_id is not None
    assert document.default_agent_id.place == "DEFAULTAGENTID"


def test_every_field_of_an_agent_has_a_variable() -> None:
    environ = {
        **SPEC,
        "AGENTS__0__DESCRIPTION": "Films",
        "AGENTS__0__WHITELISTPATTERNS__0": "mcp:time:*",
        "AGENTS__0__LLMOVERRIDES__MODEL": "claude-haiku-5-5",
        "AGENTS__0__LLMOVERRIDES__MAXTOKENS": "512",
        "AGENTS__0__LLMOVERRIDES__TEMPERATURE": "0.5",
        "AGENTS__0__LLMOVERRIDES__REASONINGEFFORT": "LOW",
        "AGENTS__0__LINKPREVIEWS": "true",
        "AGENTS__0__MCPSERVERS__TIME__COMMAND": "mcp-server-time",
        "AGENTS__0__MCPSERVERS__TIME__ARGS__0": "--local-timezone=UTC",
        "AGENTS__0__MCPSERVERS__TIME__ENV__Api_Key": "${TIME_KEY}",
        "MCPSERVERS__DOCS__URL": "https://docs.example/sse",
    }
    document = combined(RawDocument(), read_environment(environ))
    jack = document.agents["jack"].value
    assert jack.description == "Films"
    assert jack.link_previews is True
    assert jack.llm_overrides == LlmConfiguration(
        model="claude-haiku-5-5", max_tokens=512, temperature=0.5, reasoning_effort="low"
    )
    assert isinstance(jack.mcp_servers, dict)
    assert jack.mcp_servers["time"].env == {"Api_Key": "${TIME_KEY}"}
    assert document.mcp_servers["docs"].place == "MCPSERVERS__DOCS"


def test_entries_follow_their_numbers_and_gaps_are_harmless() -> None:
    environ = {
        "AGENTS__10__ID": "ten",
        "AGENTS__10__NAME": "Ten",
        "AGENTS__10__MCPSERVERENDPOINTS__3": "http://b/",
        "AGENTS__10__MCPSERVERENDPOINTS__1": "http://a/",
        "agents__2__id": "two",
        "agents__2__name": "Two",
        "agents__2__mcpservers__0": "nowhere",
    }
    with pytest.raises(DocumentErrors) as raised:
        combined(RawDocument(), read_environment(environ))
    assert raised.value.problems[0].place == "agents__2__mcpservers__0"
    del environ["agents__2__mcpservers__0"]
    environ["agents__2__mcpserverendpoints__0"] = "http://c/"
    agents = combined(RawDocument(), read_environment(environ)).agents
    assert list(agents) == ["two", "ten"]
    assert agents["ten"].value.mcp_server_endpoints == ("http://a/", "http://b/")


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("AGENTS__0__FOO", "1", "unknown field"),
        ("AGENTS__0__LLMOVERRIDES__MAXTOKENS", "many", "whole number"),
        ("AGENTS__0__ID", "Jack!", "not a valid id"),
        ("AGENTS__1__NAME", "x", "AGENTS__1__ID"),
        ("AGENTS__0__NAME__0", "x", "remove one of them"),
        ("AGENTS__JACK__NAME", "x", "numbered"),
        ("BINDINGS__0__TYPE", "ChatId", "'agentId' is missing"),
        ("BOTS__0__AGENTID", "jack", "BOTS__0__TOKEN"),
        ("DEFAULTAGENTID", "No Slug", "not a valid id"),
    ],
)
def test_a_wrong_variable_is_named_with_its_cure(variable: str, value: str, words: str) -> None:
    with pytest.raises(DocumentErrors) as raised:
        combined(RawDocument(), read_environment({**SPEC, variable: value}))
    assert words in str(raised.value)
    assert variable.rsplit("__", 1)[0] in str(raised.value)


def test_an_empty_variable_counts_as_not_set() -> None:
    environ = {**SPEC, "AGENTS__0__DESCRIPTION": "", "AGENTS__1__ID": ""}
    assert (
        combined(RawDocument(), read_environment(environ)).agents["jack"].value.description is None
    )


def test_a_bots_short_form_is_a_binding_by_its_tokens_hash() -> None:
    environ = {**SPEC, "BOTS__0__TOKEN": "1:x", "BOTS__0__AGENTID": "jack", "BOTS__1__AGENTID": "b"}
    draft = read_environment(environ, {1: "f" * 64})
    bindings = combined(RawDocument(), draft).bindings
    assert list(bindings) == [f"telegrambot:{token_hash('1:x')}", f"telegrambot:{'f' * 64}"]
    assert bindings[f"telegrambot:{'f' * 64}"].place == "BOTS__1__AGENTID"


def test_a_binding_is_read_with_its_bot() -> None:
    environ = {
        "BINDINGS__0__AGENTID": "jack",
        "BINDINGS__0__TYPE": "chatid",
        "BINDINGS__0__BINDINGKEY": "-100",
        "BINDINGS__0__BOT": "@DemoBot",
    }
    assert list(combined(RawDocument(), read_environment(environ)).bindings) == [
        "chatid:-100:bot:@demobot"
    ]


def test_the_environment_wins_over_the_file_field_by_field() -> None:
    below = file(
        agents=[plain("jack", description="File", llmOverrides={"model": "m", "maxTokens": 5})],
        defaultAgentId="other",
        bindings=[{"agentId": "x", "type": "ChatId", "bindingKey": "1"}],
    )
    above = {
        **SPEC,
        "AGENTS__0__LLMOVERRIDES__MAXTOKENS": "7",
        "BINDINGS__0__AGENTID": "y",
        "BINDINGS__0__TYPE": "ChatId",
        "BINDINGS__0__BINDINGKEY": "1",
    }
    document = combined(below, read_environment(above))
    jack = document.agents["jack"]
    assert jack.value.description == "File"
    assert jack.value.custom_instructions == "You are Jack..."
    assert jack.value.llm_overrides == LlmConfiguration(model="m", max_tokens=7)
    assert jack.place == "agents.json:1"
    assert jack.origins["llmOverrides.maxTokens"] == "AGENTS__0__LLMOVERRIDES__MAXTOKENS"
    assert jack.origins["llmOverrides.model"] == "agents.json:1"
    assert document.bindings["chatid:1"].value.agent_id == "y"
    assert document.default_agent_id is not None
    assert document.default_agent_id.value == "jack"
    shown = effective(LlmConfiguration(model="host", temperature=1.0), jack, {})
    assert (shown.layers["temperature"], shown.origins["maxTokens"]) == (
        "L0",
        "AGENTS__0__LLMOVERRIDES__MAXTOKENS",
    )


def test_a_single_agent_comes_from_its_name_and_is_the_default() -> None:
    legacy = read_legacy(LEGACY, has_bot=True)
    document = combined(file(), read_environment(LEGACY), legacy)
    jack = document.agents["jack-the-ripper"]
    assert jack.value.name == "Jack The Ripper"
    assert jack.value.mcp_server_endpoints == ("http://one:1/sse", "http://two:1/sse")
    assert jack.value.whitelist_patterns == ("mcp:one:*",)
    assert document.default_agent_id is not None
    assert document.default_agent_id.value == "jack-the-ripper"
    (note,) = document.problems
    assert (note.place, note.level) == ("NAME", "note")


def test_a_single_agent_needs_a_bot_and_no_other_agents() -> None:
    assert read_legacy(LEGACY, has_bot=False) is None
    assert read_legacy({"NAME": " "}, has_bot=True) is None
    legacy = read_legacy(LEGACY, has_bot=True)
    assert set(combined(file(agents=[plain("a")]), RawDocument(), legacy).agents) == {"a"}
    assert set(combined(file(), read_environment(SPEC), legacy).agents) == {"jack"}


def test_a_bad_endpoint_of_a_single_agent_names_its_variable() -> None:
    wrong = {**LEGACY, "MCPSERVERS__1__ENDPOINT": "two"}
    with pytest.raises(DocumentErrors, match="MCPSERVERS__1__ENDPOINT"):
        combined(RawDocument(), RawDocument(), read_legacy(wrong, has_bot=True))


FIELDS = ("name", "description", "customInstructions")
AGENT = st.fixed_dictionaries(
    {"name": st.sampled_from("xyz")},
    optional={
        "description": st.sampled_from("xyz"),
        "customInstructions": st.sampled_from("xyz"),
    },
)
SOURCE = st.dictionaries(st.sampled_from(["a", "b", "c"]), AGENT)


@given(SOURCE, SOURCE)
def test_of_any_two_sources_each_field_is_the_environments_else_the_files(
    below: dict[str, dict[str, str]], above: dict[str, dict[str, str]]
) -> None:
    agents = [{"id": one, "mcpServerEndpoints": [], **fields} for one, fields in below.items()]
    environ = {}
    for number, (one, fields) in enumerate(above.items()):
        environ[f"AGENTS__{number}__ID"] = one
        environ[f"AGENTS__{number}__MCPSERVERENDPOINTS__0"] = "http://h/"
        environ |= {f"AGENTS__{number}__{name.upper()}": text for name, text in fields.items()}
    found = combined(file(agents=agents), read_environment(environ)).agents
    assert set(found) == {*below, *above}
    for one, entry in found.items():
        value = entry.value.to_json()
        for name in FIELDS:
            wanted = above.get(one, {}).get(name, below.get(one, {}).get(name))
            assert value.get(name) == wanted
            if wanted is not None:
                assert entry.origins[name].startswith(
                    "AGENTS__" if name in above.get(one, {}) else "agents.json"
                )
