"""An agents file in YAML: what it means, what is refused, and the line of every mistake."""

from __future__ import annotations

import json
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import DocumentErrors
from registry.fields import casefolded
from registry.sources.json_yaml import (
    MalformedText,
    lines_of,
    load_document,
    parse_json,
    parse_yaml,
)

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)  # fmt: skip


@pytest.fixture(params=["libyaml", "pure Python"])
def _loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of the library's readers; the quick one is not there on every system."""
    if request.param == "pure Python":
        monkeypatch.delattr(yaml, "CSafeLoader")


@given(JSON)
def test_what_can_be_said_in_json_means_the_same_in_yaml(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    assert parse_yaml(text) == (parse_json(text), lines_of(text))


@given(st.text(max_size=50), st.booleans())
def test_every_name_of_a_json_text_has_its_line(name: str, ascii_only: bool) -> None:
    name = name.encode("utf-8", "replace").decode()
    text = json.dumps({name: [1]}, ensure_ascii=ascii_only, indent=1)
    assert lines_of(text)[(casefolded(name), 0)] == 3


@pytest.mark.usefixtures("_loader")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("012", "012"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2001-12-14", "2001-12-14"),
        (".inf", ".inf"),
        ("-7", -7),
        ("1e3", 1000.0),
        ("True", True),
        ("~", None),
        ("a: ", {"a": None}),
        ("'7'", "7"),
        ('"true"', "true"),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ("- a\n- {b: [1, 2]}\n", ["a", {"b": [1, 2]}]),
        ("5: x", {"5": "x"}),
        ("# nothing but this\na: b # and this\n", {"a": "b"}),
        ("%YAML 1.2\n---\na: b\n", {"a": "b"}),
    ],
)
def test_an_unquoted_scalar_is_what_it_is_in_json_and_else_a_text(text: str, value: object) -> None:
    assert parse_yaml(text)[0] == value


@pytest.mark.usefixtures("_loader")
@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "empty"),
        ("# only this\n", 1, "empty"),
        ("a: 1\nb: &x 2\n", 2, "anchors and aliases"),
        ("a: 1\nb: *x\n", 2, "anchors and aliases"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]\n", 2, "tags are not supported"),
        ("a: 1\nb: !!int '5'\n", 2, "tags are not supported"),
        ("a: 1\nb: 2\na: 3\n", 3, "occurs twice"),
        ("a: 1\n? [b]\n: 2\n", 2, "a name must be a text"),
        ("a: 1\n---\nb: 2\n", 2, "a second document"),
        ("a:\n\t- b\n", 2, "indent with spaces"),
        ("a: [1,\nb: 2", 2, "indent with spaces"),
        ("a: 'b\n", 2, "indent with spaces"),
        ("a: 1\nb: \x07\n", 2, "control character"),
        ("a: 1\nb: " + "9" * 5000, 2, "reasonable size"),
        ("[" * 5000, 1, "nested too deeply"),
        ("- " * 5000, 1, "nested too deeply"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", 1, "anchors and aliases"),
    ],
)
def test_what_only_yaml_can_say_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    began = time.thread_time()
    with pytest.raises(MalformedText, match=words) as raised:
        parse_yaml(text)
    assert raised.value.line == line
    assert time.thread_time() - began < 2


YAML = """\
mcpServers:
  docs: {url: "https://docs.example/mcp", headers: {Authorization: "Bearer ${DOCS_TOKEN}"}}
agents:
  - id: jack
    name: Jack
    mcpServers: [docs]
    customInstructions: |
      You are Jack.
      Answer briefly.
    llmOverrides:
      maxTokens: many
    nmae: x
  - id: Jill
    name: Jill
    mcpServerEndpoints: []
bindings:
  - {agentId: jack, type: ChatId, bindingKey: -100123}
  - agentId: jack
    type: Chat
    bindingKey: 5
defaultAgentId: sk-ant-api03-abcdefghijklmnop
"""


@pytest.mark.parametrize("name", ["agents.yaml", "conf/agents.yml"])
def test_every_mistake_of_a_yaml_file_is_told_with_its_line(name: str) -> None:
    with pytest.raises(DocumentErrors) as raised:
        load_document(YAML, name)
    found = {problem.place: str(problem) for problem in raised.value.problems}
    words = {11: "must be a whole number", 12: "did you mean 'name'", 13: "write 'jill'"}
    words |= {19: "TelegramBot, ChatId or UserId", 21: "in plain text"}
    assert list(found) == [f"{name}:{line}" for line in words]
    assert all(said in found[f"{name}:{line}"] for line, said in words.items())
    assert "abcdefghijklmnop" not in str(found)


def test_a_good_yaml_file_gives_its_agents_with_their_places() -> None:
    kept = [line for number, line in enumerate(YAML.splitlines(), 1) if number < 11]
    document = load_document(
        "\n".join([*kept, "      maxTokens: 5", "defaultAgentId: jack"]), "a.yml"
    )
    jack = document.agents["jack"]
    assert jack.value.custom_instructions == "You are Jack.\nAnswer briefly.\n"
    assert jack.origins["llmOverrides.maxTokens"] == "a.yml:11"
    assert document.mcp_servers["docs"].place == "a.yml:2"


def test_json_in_a_file_named_json_is_judged_as_json() -> None:
    with pytest.raises(DocumentErrors, match="double quotes"):
        load_document("{agents: []}", "agents.json")


def test_a_text_that_ends_in_the_middle_of_a_list_is_told_with_the_line_behind_it() -> None:
    with pytest.raises(DocumentErrors, match=r"agents\.yaml:2: "):
        load_document("agents: [\n", "agents.yaml")
