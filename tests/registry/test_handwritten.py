"""An agent as people paste it: what is read, and how a mistake is told."""

from __future__ import annotations

import json
import time

import pytest

from registry.authorization import GUEST
from registry.definition import AgentDefinition
from registry.errors import DocumentErrors
from registry.sources.handwritten import parse_pasted_agent

NO_SERVERS = '"mcpServerEndpoints": []'  # stands for § in the texts
PLAIN = '{§, "id": "jack", "name": "Jack", "customInstructions": "Be brief.\\nSay \\"hi\\"."}'


def parsed(text: str) -> AgentDefinition:
    return parse_pasted_agent(text.replace("§", NO_SERVERS), "", GUEST, {})


def told(text: str, file: str = "") -> list[str]:
    with pytest.raises(DocumentErrors) as raised:
        parse_pasted_agent(text.replace("§", NO_SERVERS), file, GUEST, {})
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "\n " + PLAIN.replace('"id"', "“id”").replace('"Jack"', "„Jack“"),
        "{§, “id”: “jack”, “name”: “Jack”,\u00a0“customInstructions”: “Be brief.\nSay “hi”.”}",
        '{§, “id”: “jack”, “name”: “Jack”, “customInstructions”: “Be brief.\nSay "hi".”}',
        PLAIN.replace("\\n", "\n"),
        PLAIN.replace("\\n", "\r\n"),
        "{\u200b" + PLAIN[1:],
        """{§, id: jack, 'name': 'Jack', # me
        customInstructions: "Be brief.\\nSay \\"hi\\".",}""",
        "/* mine */ " + PLAIN.replace('"name"', '// a "name", isn\'t it\n„name“') + " // end",
        PLAIN.replace('"id": "jack"', "« id » : «jack»").replace('"Jack"', "»Jack«/* /*\n*/"),
        '§\nid: jack\nname: Jack\ncustomInstructions: |-\n  Be brief.\n  Say "hi".',
        f"[{PLAIN}]",
        f'{{"agents": [{PLAIN}], "bindings": []}}',
        f'{{"Agent": {PLAIN}}}',
        f"here is my agent: {PLAIN}",
        f"Here it is\n\n{PLAIN}",
        f"My agent:\n```json\n{PLAIN}\n```\nIs it fine?",
        "agents:\n- {§, id: jack, name: Jack, customInstructions: 'Be brief.\n\n  Say \"hi\".'}",
        '§\nid: “jack”\n“name”: Jack\ncustomInstructions: |-\n  Be brief.\n\u00a0 Say "hi".',
    ],
)
def test_what_telephones_and_people_make_of_json_is_read(text: str) -> None:
    found = parsed(text)
    said = (found.custom_instructions or "").replace("“", '"').replace("”", '"')
    assert (found.id, found.name, said) == ("jack", "Jack", 'Be brief.\nSay "hi".')


def test_what_looks_like_a_comment_inside_a_text_stays() -> None:
    said = "a // b /* c */ «d», https://e.example/"
    assert (
        parsed(f'{{§, "id": "a", "name": "A", "customInstructions": “{said}”}}').custom_instructions
        == said
    )
    text = f"{{§, 'id': 'a', 'name': 'A', // c\n'customInstructions': '{said}'}}"
    assert parsed(text).custom_instructions == said
    assert parsed("{§, id: a, name: a//b}").name == "a//b"
    assert told('{§, "id": "a", /* b') == ["line 1: a comment is not closed; close it with */"]


def test_curly_quotes_inside_a_straight_text_stay() -> None:
    found = parsed('{§, "id": "jack", "name": "Jack", "customInstructions": "Say\n“hi”, or „ho“."}')
    assert found.custom_instructions == "Say\n“hi”, or „ho“."


def test_the_lines_of_problems_are_those_of_the_text_also_after_a_text_of_several_lines() -> None:
    text = (
        '{§, "id": "jack",\n"name": "Jack",\n"customInstructions": "one\ntwo\nthree",\n"nmae": 1}'
    )
    assert [one.partition(":")[0] for one in told(text)] == ["line 6"]
    assert told(text, "jack.json")[0].startswith("jack.json, line 6: ")


def test_all_problems_are_told_at_once() -> None:
    text = '{"id": "Jack!",\n"nmae": "Jack",\n"llmOverrides": {"temperature": "hot",\n"modle": 1}}'
    lines = [one.partition(":")[0] for one in told(text)]
    assert lines == sorted(lines)
    assert {*lines} == {"line 1", "line 2", "line 3", "line 4"}


def test_one_wrong_server_hides_no_problem_of_another() -> None:
    text = """{"id": "a", "name": "A", "mcpServers": {
    "t": {"url": "https://u:passw0rdX@t.example/mcp"},
    "d": {"url": "http://127.0.0.1:99/mcp"}}}"""
    first, second = told(text)
    assert first.startswith("line 2: 'mcpServers.t.url' has a user or password in it")
    assert second.startswith("line 3: 'mcpServers.d.url' leads to an internal host")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('{"id": "jack",\n"name": "Jack"\n"x": 1}', "line 3", "put a comma"),
        ("{“id”: “jack”,\n“name”: “Jack”\n“x”: 1}", "line 3", "put a comma"),
        ('{"id": "jack,\n"name": "Jack"}', "line 1", "a text is not closed"),
        ("{“id”: “jack,\n", "line 1", "a text is not closed"),
        ('{"id": "jack",\n"name": "Jack"', "line 2", "Telegram cuts long messages"),
        ('{"id": "jack",\n"id": "jill", "name": "J"}', "line 2", "occurs twice"),
        ("id: jack\nid: jill\nname: J", "line 2", "occurs twice"),
        ("id: jack\nname: &a Jack\ndescription: *a", "line 2", "anchors and aliases"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]", "line 1", "anchors and aliases"),
        ("id: !!python/object:os.system x", "line 1", "tags are not supported"),
        ("id: jack\nname: Jack\nlinkPreviews: yes", "line 3", "'linkPreviews'"),
        ("id: jack\n\tname: x", "line 2", "indent with spaces"),
        ("make me an agent", "line 1", "not an agent"),
        ("[1]", "line 1", "not an agent"),
        ('[{"id": "a", "name": "A"},\n{"id": "b", "name": "B"}]', "line 1", "these are 2 agents"),
        ('{"agents":\n[{"id": "a"}, {"id": "b"}]}', "line 1", "send one agent at a time"),
        ('{"agents": [{"id": "a"}],\n"bindings": [1]}', "line 2", "'bindings' is outside"),
        ('{"id": "a", "name": "A"}\n{"id": "b"}', "line 2", "send one agent at a time"),
        ('My agent:\n{"id": "a",\n"nmae": 1}', "line 3", "'nmae'"),
        ('{"agents": [\n{"id": "a",\n"nmae": 1}]}', "line 3", "'nmae'"),
        ('{"id": "jack" "name": 1}', "line 1, character 15", "put a comma"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_cure(text: str, line: str, words: str) -> None:
    (problem,) = [one for one in told(text) if words in one]
    assert problem.startswith(f"{line}: ")


def test_no_and_on_are_texts_where_a_text_is_wanted() -> None:
    found = parsed("§\nid: no\nname: on\ndescription: yes")
    assert (found.id, found.name, found.description) == ("no", "on", "yes")


@pytest.mark.parametrize(
    "piece",
    [
        '"',
        "“",
        "“ ”",
        "“ ",
        '"\n',
        "{“",
        "[",
        "\\",
        "- “”\n",
        "“:",
        "«",
        "« ",
        "/*",
        "//",
        "'",
        "'a",
        "\n",
        "\n[",
        "id",
        "```",
    ],
)
def test_a_text_that_is_meant_to_take_long_does_not(piece: str) -> None:
    text = "{" + piece * (200_000 // len(piece))
    began = time.monotonic()
    told(text)
    told(text[1:])
    told(f"{text[1:]}{{")
    assert time.monotonic() - began < 5


def test_an_agent_of_ours_is_read_as_it_is_written() -> None:
    found = parsed(PLAIN)
    assert parsed(json.dumps(json.loads(found.to_text()), indent=2)) == found
