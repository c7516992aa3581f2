"""The JSON schemas of profiles and configurations: what an editor says of a file is true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema_rs import Draft202012Validator

from registry.profile import NamedLlmConfig, Profile
from registry.sources.profile_files import PACKAGED_PROFILES
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
)
"""Words of mistakes that a schema cannot see."""
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
