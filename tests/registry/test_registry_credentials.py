"""`auth` of a server: what it takes, and what is refused with place and cure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.authorization import OPERATOR, WriterPermissions
from registry.errors import DocumentErrors
from registry.sources.json_yaml import parse_agent

GOOD = {"clientId": "gateway", "clientSecret": "${DOCS_SECRET}", "issuer": "https://id.example/x"}
GUEST = WriterPermissions(operator=False)


def agent(auth: object, **server: Any) -> str:
    place = {"url": "https://docs.example/mcp", "auth": auth} | server
    return json.dumps({"id": "a", "name": "A", "mcpServers": {"docs": place}})


def without(name: str, **fields: Any) -> dict[str, Any]:
    return {key: value for key, value in (GOOD | fields).items() if key != name}


@pytest.mark.parametrize(
    "auth",
    [
        GOOD,
        without("issuer", tokenUrl="https://id.example/token?tenant=1"),
        GOOD | {"type": "clientCredentials", "scopes": ["docs:read"], "method": "post"},
        without("clientId", CLIENTID="gateway"),
    ],
)
def test_client_credentials_are_read_and_written_as_they_are(auth: dict[str, Any]) -> None:
    found = parse_agent(agent(auth), "message", OPERATOR)
    assert parse_agent(found.to_text(), "message", OPERATOR) == found
    assert isinstance(found.mcp_servers, dict)
    assert found.mcp_servers["docs"].auth is not None


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        (without("issuer"), "give the address for tokens, or the issuer"),
        (GOOD | {"tokenUrl": "https://id.example/"}, "either 'tokenUrl' or 'issuer'"),
        (without("clientId"), "mcpServers.docs.auth.clientId' is missing"),
        (GOOD | {"clientSecret": "hunter2"}, "is written in plain text"),
        (GOOD | {"clientSecret": "x${DOCS_SECRET}"}, "is written in plain text"),
        (GOOD | {"clientId": "a b"}, "write the client's id"),
        (GOOD | {"issuer": "ftp://id.example"}, "not an http or https address"),
        (GOOD | {"issuer": "https://u:p@id.example"}, "write the plain address"),
        (GOOD | {"issuer": "https://${HOST}/"}, "write the plain address"),
        (GOOD | {"scopes": ["a b"]}, "write each scope as a separate text"),
        (GOOD | {"scopes": "a"}, "mcpServers.docs.auth.scopes"),
        (GOOD | {"type": "password"}, "mcpServers.docs.auth.type"),
        (GOOD | {"scope": ["a"]}, "did you mean 'scopes'?"),
    ],
)
def test_a_mistake_in_auth_is_told_with_its_place_and_cure(
    auth: dict[str, Any], words: str
) -> None:
    with pytest.raises(DocumentErrors) as caught:
        parse_agent(agent(auth), "message", OPERATOR)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_auth_and_an_authorization_header_or_a_command_exclude_each_other() -> None:
    with pytest.raises(DocumentErrors, match="cannot be used with the header"):
        parse_agent(agent(GOOD, headers={"authorization": "${X}"}), "message", OPERATOR)
    command = {"command": "docs", "auth": GOOD}
    text = json.dumps({"id": "a", "name": "A", "mcpServers": {"docs": command}})
    with pytest.raises(DocumentErrors, match="belong to a 'url'"):
        parse_agent(text, "message", OPERATOR)


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        (GOOD, "AGENT_SECRETS"),
        (GOOD | {"clientId": "${HOME}"}, "{HOME} may not be used"),
        (without("issuer", tokenUrl="http://localhost/token"), "INTERNAL_HOSTS"),
        (GOOD | {"issuer": "http://[::127.0.0.1]/"}, "INTERNAL_HOSTS"),
    ],
)
def test_auth_from_a_chat_names_only_listed_secrets_and_reachable_hosts(
    auth: dict[str, Any], words: str
) -> None:
    with pytest.raises(DocumentErrors) as caught:
        parse_agent(agent(auth), "message", GUEST)
    assert words in str(caught.value)
    listed = WriterPermissions(operator=False, secrets=frozenset({"DOCS_SECRET"}))
    assert parse_agent(agent(GOOD), "message", listed).id == "a"
