"""The JSON schemas of profiles and configurations: what an editor says of a file is true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from registry.authorization import GUEST
from registry.profile import (
    FlowAction,
    FlowRule,
    InboxItem,
    NamedLlmConfig,
    Observer,
    Profile,
    Segment,
    ToolAccessPolicy,
)
from registry.sources.profile_files import PACKAGED_PROFILES
from registry.validation import DocumentReader, RawValue
from tests.broken_profiles import BROKEN, Broken
from tests.registry.test_profiles import PRINTED

SCHEMAS = (Profile.model_json_schema(), NamedLlmConfig.model_json_schema())
PROFILE, CONFIG = map(Draft202012Validator, SCHEMAS)
UNSEEN = (
    "there is no model configuration",
    "column",
    "functions cannot",
    "arithmetic is",
    "compares three",
    "is used twice",
    "has more than 4000",
    "has one text",
    "no text 'greeting'",
    "changes while a turn",
    "does not name",
    "in plain",
    "anchors and",
    "tags are",
    "mapping values",
    "occurs twice",
    "is not expanded",
    "write the character itself",
    "can add more than 32000",
)
"""Words of mistakes that a schema cannot see."""
NAMES = [
    *{name for model in (Profile, Observer, FlowRule, FlowAction) for name in model.model_fields},
    *{name for model in (Segment, InboxItem, ToolAccessPolicy) for name in model.model_fields},
    *("system_prompt_segments", "path", "value", "temperature", "model", "P"),
]
"""Names of fields, and one that is none."""
SEEN = [one for one in BROKEN if not any(words in one.words for words in UNSEEN)]


def test_the_blocks_of_document_4_and_the_packaged_files_fit_the_schemas() -> None:
    found = [yaml.safe_load(path.read_text()) for path in PACKAGED_PROFILES.glob("profiles/*")]
    for value in (yaml.safe_load(PRINTED), *found):
        PROFILE.validate(value)
    for path in PACKAGED_PROFILES.glob("llm_configs/*"):
        CONFIG.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("one", SEEN, ids=lambda one: one.words)
def test_a_mistake_that_a_schema_can_see_is_seen(one: Broken) -> None:
    assert not (CONFIG if one.config else PROFILE).is_valid(yaml.safe_load(one.content("P")))


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of every object in a schema."""
    objects = {"": schema, **schema.get("$defs", {})}
    for name, one in objects.items():
        for field, about in one.get("properties", {}).items():
            yield f"{name}.{field}", about


def test_every_field_says_what_it_is_and_no_other_is_allowed() -> None:
    for schema in SCHEMAS:
        assert [name for name, about in fields(schema) if not about.get("description")] == []
        for one in (schema, *schema.get("$defs", {}).values()):
            assert one["additionalProperties"] is False


def test_what_may_be_chosen_is_listed() -> None:
    effort, _ = SCHEMAS[1]["properties"]["reasoning_effort"]["anyOf"]
    assert {"none", "low", "high"} <= {*effort["enum"]}


PARTS = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=9),
        st.sampled_from(
            [
                *("self", "True", "v['state.step']", "{{ person.name }}", "static_text"),
                *("set_state", "add_to_inbox", "loop_with_inbox_item", "await_user_input"),
                "state.params.a",
            ]
        ),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(NAMES), PARTS, max_size=6))
def test_no_value_at_all_raises_and_what_is_refused_is_told(value: dict[str, Any]) -> None:
    for read in (DocumentReader.profile, DocumentReader.llm_config):
        reader = DocumentReader(GUEST)
        entry = read(reader, RawValue.of_place({"name": "P", **value}, "here", "here"))
        assert (entry is None) is any(one.level == "error" for one in reader.problems)
        assert all(one.cure for one in reader.problems)
        if entry is not None:
            assert type(entry.value).model_validate_json(entry.value.to_text()) == entry.value
