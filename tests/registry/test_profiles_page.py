"""docs/profiles.md says what the models say, its examples load, and the packaged profiles too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from deploy.profile_page import renewed
from registry.profile import (
    FlowAction,
    InboxItem,
    NamedLlmConfig,
    Observer,
    ObserverAction,
    Profile,
    PromptConstruction,
    Segment,
    ToolAccessPolicy,
    profile_issues,
)
from registry.profile_state import PATHS, StatePath, known
from registry.sources.json_yaml import parse_yaml
from registry.state_conditions import compiled

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "profiles.md").read_text("utf-8")
PACKAGED = sorted((ROOT / "registry" / "data" / "agent_profiles" / "profiles").glob("*.yaml"))
MODELS: tuple[type[BaseModel], ...] = (
    *(Profile, NamedLlmConfig, Observer, ObserverAction, InboxItem, FlowAction),
    *(PromptConstruction, Segment, ToolAccessPolicy),
)


def examples() -> Iterator[str]:
    """The whole YAML files of the page."""
    for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        if block.startswith("name:"):
            yield block


def test_the_table_of_the_state_is_that_of_the_code() -> None:
    assert renewed(PAGE) == PAGE, "run `make docs`"


def test_a_path_that_is_new_changes_the_table() -> None:
    more = {**PATHS, "state.more": StatePath("number", "what is new")}
    assert "| `state.more` | number |  | what is new |" in renewed(PAGE, more)


@pytest.mark.parametrize("model", MODELS)
def test_the_page_names_every_field_and_every_choice(model: type[BaseModel]) -> None:
    words = set(re.findall(r"`[^`\n]+`|^\w+(?=:)", PAGE, re.MULTILINE))
    known_words = {part for word in words for part in re.split(r"[`., ]+", word)}
    schema = model.model_json_schema()
    choices = {
        str(choice)
        for field in schema["properties"].values()
        for choice in (field.get("enum") or [field.get("const")])
        if choice is not None
    }
    assert (set(schema["properties"]) | choices) - known_words == set()


def test_the_examples_of_the_page_are_valid() -> None:
    profile, config = (parse_yaml(one)[0] for one in examples())
    assert list(profile_issues(Profile.model_validate(profile))) == []
    assert NamedLlmConfig.model_validate(config).settings.reasoning_effort == "high"


def test_the_conditions_of_the_page_are_some_and_read_what_there_is() -> None:
    texts = re.findall(r'^condition: "(.*)"$', PAGE, re.MULTILINE)
    read = [path for text in texts for path in compiled(text).paths]
    assert len(texts) >= 3
    assert [path for path in read if known(path) is None] == []


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_a_packaged_profile_is_whole_and_keeps_the_agents_own_instructions(path: Path) -> None:
    profile = Profile.model_validate(parse_yaml(path.read_text("utf-8"))[0])
    assert list(profile_issues(profile)) == []
    assert profile.name.lower() == path.stem
    assert profile.description
    assert profile.speaks_of_instructions
    assert f"| [`{profile.name}`](../registry/data/agent_profiles/profiles/{path.name}) |" in PAGE


def test_two_profiles_are_packaged() -> None:
    assert [path.stem for path in PACKAGED] == ["partner", "researcher"]
