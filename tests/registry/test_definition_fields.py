"""What a definition and a binding must carry, and what they may leave out (spec 1)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.errors import DocumentErrors
from registry.sources.json_yaml import load_document

LEAST: dict[str, Any] = {"id": "jack", "name": "Jack", "mcpServerEndpoints": []}


def loaded(**changes: Any) -> Any:
    agent = {**LEAST, **changes}
    document = load_document(json.dumps({"agents": [agent]}))
    return document.agents["jack"].value


def test_what_may_be_left_out_is_empty_and_no_error() -> None:
    agent = loaded()
    assert agent.description is None
    assert agent.custom_instructions is None
    assert agent.llm_overrides is None
    assert agent.whitelist_patterns == ()


@pytest.mark.parametrize("field", ["id", "name"])
def test_an_agent_without_id_or_name_is_refused_by_the_fields_name(field: str) -> None:
    agent = {name: value for name, value in LEAST.items() if name != field}
    with pytest.raises(DocumentErrors, match=field):
        load_document(json.dumps({"agents": [agent]}))


def test_a_binding_without_an_agent_is_refused_by_the_fields_name() -> None:
    binding = {"type": "ChatId", "bindingKey": "5"}
    with pytest.raises(DocumentErrors, match="agentId"):
        load_document(json.dumps({"bindings": [binding]}))


def test_links_are_fetched_only_where_an_agent_says_so() -> None:
    assert loaded().link_previews is False
    assert loaded(linkPreviews=True).to_json()["linkPreviews"] is True
    assert "linkPreviews" not in loaded(linkPreviews=False).to_json()


@pytest.mark.parametrize("value", ["true", 1, None, {"enabled": True}])
def test_another_word_for_it_is_refused_by_the_fields_name(value: Any) -> None:
    with pytest.raises(DocumentErrors, match=r"linkPreviews.*must be true or false"):
        loaded(linkPreviews=value)
