"""Changes of instances as people type them, and as programs send single fields."""

from __future__ import annotations

from typing import Any

import pytest

from registry.authorization import GUEST
from registry.errors import DocumentErrors
from registry.instance_edits import SETTINGS, typed_change
from registry.sources.handwritten import parse_pasted_instance
from registry.typed_edits import merged

SMB = "acme/sales-smb"


def test_every_field_of_an_instance_but_its_names_is_a_setting() -> None:
    assert [*SETTINGS] == [
        "agent_type",
        "llm.model",
        "llm.temperature",
        "llm.max_tokens",
        "tools",
        "context_management.history_limit",
        "name",
        "description",
        "capabilities",
    ]


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("temperature 0.3", {"llm": {"temperature": 0.3}}),
        ("llm.temperature  0.3", {"llm": {"temperature": 0.3}}),
        ("maxTokens none", {"llm": {"max_tokens": None}}),
        ("history_limit 5", {"context_management": {"history_limit": 5}}),
        ("temperature hot", {"llm": {"temperature": "hot"}}),
        ("name Small & medium", {"name": "Small & medium"}),
        ("name 12", {"name": "12"}),
        ('name "none"', {"name": "none"}),
        ("description One.\nTwo: three.", {"description": "One.\nTwo: three."}),
        ("capabilities prices, opening hours", {"capabilities": ["prices", "opening hours"]}),
        ('capabilities ["a, b"]', {"capabilities": ["a, b"]}),
        ("tools.crm off", {"tools": {"crm": {"enabled": False}}}),
        ("tools.mcp:crm:read_* On", {"tools": {"mcp:crm:read_*": {"enabled": True}}}),
        ("tools.crm none", {"tools": {"crm": None}}),
        ('tools {"crm": {"enabled": true}}', {"tools": {"crm": {"enabled": True}}}),
        ("tools none", {"tools": None}),
    ],
)
def test_a_setting_is_changed_in_words(words: str, change: dict[str, Any]) -> None:
    assert typed_change(words, SMB) == change


@pytest.mark.parametrize(
    "text",
    [
        "agent_type: sales_agent",
        "agent_type : sales_agent",
        "agent_type: sales_agent\nllm: {temperature: 0.3}",
        '{"agent_type": "sales_agent"}',
        'here it is: {"agent_type": "sales_agent"}',
        "“agent_type”: “sales_agent”",
        "# a comment\nagent_type: sales_agent",
    ],
)
def test_what_is_a_whole_document_is_read_as_one(text: str) -> None:
    assert typed_change(text, SMB) is None
    found = parse_pasted_instance(text, "", GUEST, SMB)
    assert (found.id, found.agent_type) == (SMB, "sales_agent")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("temprature 3", "unknown field 'temprature'; did you mean 'llm.temperature'?"),
        ("account beta", "unknown field 'account'"),
        ("tools.crm maybe", "'maybe' is neither on nor off; write tools.crm on"),
    ],
)
def test_what_is_no_setting_is_told_with_its_cure(words: str, told: str) -> None:
    with pytest.raises(DocumentErrors, match=r"\Aacme/sales-smb: ") as wrong:
        typed_change(words, SMB)
    assert told in str(wrong.value)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({}, {"a": {"b": 1, "c": 2}, "d": 3}),
        ({"a": {"b": None}}, {"a": {"c": 2}, "d": 3}),
        ({"a": {"b": None, "c": None}}, {"d": 3}),
        ({"a": {"e": {"f": None}}, "d": None}, {"a": {"b": 1, "c": 2}}),
        ({"d": {"g": [1, None]}}, {"a": {"b": 1, "c": 2}, "d": {"g": [1, None]}}),
    ],
)
def test_fields_are_merged_and_null_takes_one_out(
    change: dict[str, Any], left: dict[str, Any]
) -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, change) == left
