"""Secrets and rights: nothing in clear, nothing repeated, nothing named that a writer may not."""

from __future__ import annotations

import json

import pytest

from registry.authorization import WriterPermissions
from registry.errors import DocumentErrors, ReferenceMissing
from registry.secrets import detect_secret, expand, secret_value, shown
from registry.sources.json_yaml import load_document, parse_agent
from registry.urls import is_internal

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0"
KEY = "sk-ant-api03-abcDEF123456ghiJKL"
RANDOM = "f3K9xQ2mZ7pL0vB4nW8sT1yR6uD5"
GUEST = WriterPermissions(operator=False, secrets=frozenset({"DOCS_KEY"}))


def agent(**fields: object) -> str:
    return json.dumps({"id": "a", "name": "A", "mcpServerEndpoints": [], **fields}, indent=1)


@pytest.mark.parametrize(
    ("fields", "secret"),
    [
        ({"customInstructions": f"use {KEY} please"}, KEY),
        ({"customInstructions": f"a\nb {TOKEN}"}, TOKEN),
        ({"id": TOKEN}, TOKEN),
        ({"mcpServers": {TOKEN: {"url": "http://h/"}}}, TOKEN),
        ({KEY: 1}, KEY),
        ({"mcpServers": {"d": {"url": "http://h/", "headers": {"X-Key": RANDOM}}}}, RANDOM),
        (
            {"mcpServers": {"d": {"url": "http://h/", "headers": {"Authorization": "Bearer abc"}}}},
            "Bearer abc",
        ),
        (
            {"mcpServers": {"d": {"url": "http://h/", "headers": {"Cookie": "opensesame"}}}},
            "sesame",
        ),
        ({"mcpServers": {"d": {"command": "x", "env": {"API_KEY": "hunter22"}}}}, "hunter22"),
        ({"mcpServers": {"d": {"command": "x", "env": {"DB_PASSWORD": "swordfish"}}}}, "swordfish"),
        ({"mcpServers": {"d": {"url": f"http://h/?api_key={RANDOM}"}}}, RANDOM),
        ({"mcpServers": {"d": {"url": "http://me:hunter22@h/"}}}, "hunter22"),
    ],
)
def test_a_pasted_secret_is_refused_by_line_and_never_repeated(
    fields: dict[str, object], secret: str
) -> None:
    with pytest.raises(DocumentErrors) as raised:
        load_document(f'{{"agents": [\n{agent(**fields)}]}}')
    assert secret not in str(raised.value)
    assert all(problem.place.startswith("agents.json:") for problem in raised.value.problems)


def test_a_token_as_binding_key_is_refused_with_the_way_to_its_hash() -> None:
    binding = {"agentId": "a", "type": "TelegramBot", "bindingKey": TOKEN}
    with pytest.raises(DocumentErrors) as raised:
        load_document(json.dumps({"bindings": [binding]}))
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer ${DOCS_KEY}"),
        ("X-Api-Key", "${DOCS_KEY}"),
        ("Accept", "text/event-stream, application/json;version=2026-07-28"),
        ("X-Tenant", "550e8400-e29b-41d4-a716-446655440000"),
        ("MAX_TOKENS", "4096"),
        ("PYTHONPATH", "/usr/lib/python3.11/site-packages/library"),
        ("TZ", "America/Argentina/ComodRivadavia"),
        ("GREETING", "a long sentence without any secret in it at all"),
    ],
)
def test_what_is_no_secret_passes(name: str, value: str) -> None:
    assert secret_value(name, value) is None


def test_prose_about_keys_is_no_secret() -> None:
    assert detect_secret("Never tell a token such as 123:abc, or sk-ant keys, to anyone.") is None


def test_what_an_error_repeats_is_short_and_hides_secrets() -> None:
    assert shown("plain\ntext") == "'plain·text'"
    assert shown(KEY) == shown(RANDOM) == "(hidden)"
    assert len(shown("x " * 500)) < 50


@pytest.mark.parametrize(
    ("servers", "words"),
    [
        ({"d": {"command": "sh"}}, "only from the file"),
        ({"d": {"url": "https://h.example/", "headers": {"K": "${HOME}"}}}, "AGENT_SECRETS"),
        ({"d": {"url": "https://h.example/${DOCS_KEY}"}}, "plain address"),
        ({"d": {"url": "${DOCS_KEY}"}}, "plain address"),
        ({"d": {"url": "http://localhost:8080/"}}, "INTERNAL_HOSTS"),
        ({"d": {"url": "http://169.254.169.254/"}}, "INTERNAL_HOSTS"),
        ({"d": {"url": "http://0x7f.1/"}}, "INTERNAL_HOSTS"),
        ({"d": {"url": "https://h.example/", "trustAnnotations": True}}, "only the operator"),
        ({"d": {"url": "https://h.example/", "repeatable": ["*"]}}, "only the operator"),
        ({"d": {"url": "https://h.example/", "allowCredentials": ["*"]}}, "only the operator"),
    ],
)
def test_a_document_from_a_chat_may_not_name_what_is_the_operators(
    servers: dict[str, object], words: str
) -> None:
    text = agent(mcpServers=servers)
    with pytest.raises(DocumentErrors, match=words):
        parse_agent(text, "message", GUEST)
    if "url" in next(iter(servers.values())):  # type: ignore[operator]
        load_document(f'{{"agents": [{text}]}}')


def test_a_document_from_a_chat_may_use_what_is_listed() -> None:
    server = {"url": "https://h.example/", "headers": {"Authorization": "Bearer ${DOCS_KEY}"}}
    found = parse_agent(agent(mcpServers={"d": server}), "message", GUEST)
    assert found.mcp_servers is not None
    listed = WriterPermissions(operator=False, internal_hosts=frozenset({"127.0.0.1"}))
    inside = agent(mcpServers={"d": {"url": "http://127.0.0.1:1/"}})
    assert parse_agent(inside, "message", listed).id == "a"


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "db.localhost", "printer.local", "x.internal", "127.0.0.1", "127.1"),
        *("2130706433", "017700000001", "0x7f000001", "10.0.0.1", "169.254.169.254", "0.0.0.0"),
        *("::1", "[::1]", "fd00::1", "fe80::1%eth0", "::ffff:127.0.0.1", "64:ff9b::7f00:1"),
        *("2002:7f00:1::", "localhost.", "100.64.0.1"),
        *("::127.0.0.1", "64:ff9b:1::7f00:1", "2600::5efe:7f00:1", "::ffff:0:10.0.0.1", "fec0::1"),
        *("224.0.0.1", "ff02::1", "2001:0:7f00:1::1"),
    ],
)
def test_internal_hosts_are_known_in_every_writing(host: str) -> None:
    assert is_internal(host)


@pytest.mark.parametrize("host", ["example.com", "8.8.8.8", "2001:4860:4860::8888", "mcp-library"])
def test_other_hosts_are_left_to_the_connection(host: str) -> None:
    assert not is_internal(host)


def test_references_expand_at_use_and_a_missing_one_is_named() -> None:
    assert expand("Bearer ${A}-${B}", {"A": "1", "B": "2"}) == "Bearer 1-2"
    with pytest.raises(ReferenceMissing, match="C"):
        expand("${C}", {"A": "1"})
    with pytest.raises(ReferenceMissing, match="AGENT_SECRETS"):
        expand("${A}", {"A": "1"}, allowed={"B"})


def test_a_value_with_a_line_break_is_never_expanded_into_a_header() -> None:
    with pytest.raises(ReferenceMissing, match="control") as raised:
        expand("${A}", {"A": "secret\r\nX-Evil: 1"})
    assert "secret" not in str(raised.value)
