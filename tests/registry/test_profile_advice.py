"""What is surprising in profiles: told with the place and the fix, in every face."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import profile_state as state
from registry.authorization import OPERATOR
from registry.errors import Problem
from registry.sources.folder import object_in
from registry.validation import DocumentReader
from tests.broken_profiles import observer, rule, segment
from tests.registry.test_profiles import opened

STATE_VALUE = segment("type: state_value", "path: state.stp")
PERSON = segment("type: static_text", "content: 'Hi {{ person.nme }}'")


def told(text: str) -> list[Problem]:
    """What is said of a profile in a file."""
    reader = DocumentReader(OPERATOR)
    reader.profile(object_in(f"name: P\n{text}".encode(), "p.yaml", "name: P", yaml=True))
    return reader.problems


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        (observer("v['zzz']"), "the nearest are "),
        (observer("v['state.stp'] == 1"), "did you mean state.step?"),
        (STATE_VALUE, "did you mean state.params?"),
        (PERSON, "did you mean person.name?"),
    ],
)
def test_a_path_that_nothing_is_at_is_answered_with_paths_that_may_stand_there(
    text: str, cure: str
) -> None:
    (one,) = told(text)
    assert (one.level, one.message[:10]) == ("warning", "nothing is")
    assert one.cure.startswith(cure)
    assert one.cure.count(", ") <= 2
    if "segments" in text:
        named = [path for path in state.PATHS if path in one.cure]
        assert named
        assert all(state.PATHS[path].frozen for path in named)


@pytest.mark.parametrize("text", ["{{ a b }}", "{{", "Hi {{}} there", "{{ person.name } }"])
def test_braces_that_are_no_place_for_a_value_are_a_warning(text: str) -> None:
    content = segment("type: static_text", f"content: 'A {text}'")
    for whole in (content, f"text_definitions:\n  a: 'A {text}'\n"):
        (one,) = told(whole)
        assert one.level == "warning"
        assert "is no place for a value" in one.message
        assert one.cure == "write {{ path }}, such as {{ person.name }}"
    assert told(content.replace(text, "{{ person.name }} and }} and { {")) == []


def test_mistakes_of_fields_do_not_hide_what_fields_say_together() -> None:
    rules = rule().replace("rule", "one") + rule().partition("\n")[2].replace("rule", "one")
    broken = (
        f"typ: x\n{rules}  - id: 'a b'\n    condition: 'True'\n    action: {{type: nothing}}\n"
        + observer().replace("add_to_inbox", "set_state")
        + segment("type: static_text")
        + "    - {type: poem}\n"
        + "    - {type: state_value, path: state.step}\n"
        + "    - {type: static_text, text_definition: greeting}\n"
    )
    found = [one.message for one in told(broken)]
    for words in (
        "unknown field 'typ'",
        "'a b' is not a valid name",
        "must be 'continue_with_tool'",
        "must be 'static_text'",
        "the id 'one' is used twice",
        "'set_state' has no 'path'",
        "a 'static_text' has one text",
        "'state.step' changes while a turn runs",
    ):
        assert any(words in one for one in found), (words, found)
    assert not any("unread" in one.lower() for one in found)


async def test_names_that_differ_in_letter_case_alone_are_told(tmp_path: Path) -> None:
    async with opened(tmp_path / "profiles") as folder:
        folder.put("profiles/a.yaml", name="partner")
        await folder.until(lambda now: now.document.profiles)
        assert (
            "profiles/a.yaml:1: profile 'partner' and profile 'Partner' differ in letter case "
            "alone; rename one of the two"
        ) in folder.told()


async def test_files_where_none_is_read_are_told(tmp_path: Path) -> None:
    async with opened(tmp_path / "profiles") as folder:
        path = folder.put("a.yaml", name="Principal")
        await folder.until(lambda now: now.document.problems)
        (one,) = [one for one in folder.now.document.problems if one.place == str(folder.folder)]
        assert one.message == "a.yaml: nothing is read here"
        assert one.cure.startswith(f"put profiles into {folder.folder}/profiles")
        path.unlink()
        await folder.until(lambda now: not now.document.problems)


async def test_a_single_tool_that_no_agent_of_a_profile_could_have_is_told(tmp_path: Path) -> None:
    agents = {
        "mcpServers": {"notes": {"url": "https://notes.example/mcp"}},
        "agents": [
            {"id": "a", "name": "A", "profile": "P", "mcpServerEndpoints": []},
            {"id": "b", "name": "B", "profile": "P", "mcpServers": ["notes"]},
        ],
    }
    async with opened(tmp_path / "profiles", agents=agents) as folder:
        allowed = ["mcp:notes:read_file", "mcp:nots:read_file"]
        folder.put(
            "profiles/p.yaml", name="P", tool_access_policy={"allowed_individual_tools": allowed}
        )
        await folder.until(lambda now: now.document.profiles)
        (one,) = [one for one in folder.told() if "matches no" in one]
        assert one.startswith(
            "profiles/p.yaml:2: profile 'P' allows 'mcp:nots:read_file', which matches no server"
        )
