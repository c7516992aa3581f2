"""docs/simulators.md names every field of the control requests, and its example works."""

from __future__ import annotations

import ast
import inspect
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from simulators.messages import forms
from simulators.messages.script import read_rule, read_script
from simulators.messages.turns import Call, HttpError, Turn
from simulators.telegram import actions, faults
from simulators.telegram.actions import ACTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "simulators.md").read_text("utf-8")
BY_ID = {"person": "person", "bot": "bot", "room": "room", "party": "party", "parties": "members"}
"""The readers of a request whose field has a name of its own."""


def table(heading: str) -> dict[str, list[str]]:
    """The rows of the table whose first header this is: the words in code of each first cell."""
    rows = PAGE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    found: dict[str, list[str]] = {}
    for row in rows:
        first, *others = row.strip("|").split(" | ")
        for name in re.findall(r"`([^`]+)`", first):
            found[name] = others
    return found


def read_by(action: str) -> tuple[set[str], set[str]]:
    """The fields that an action needs, and those that it takes, by its source."""
    needed, taken = set[str](), set[str]()
    for node in ast.walk(ast.parse(inspect.getsource(ACTIONS[action]))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if getattr(node.func.value, "id", "") != "request":
            continue
        how, given = node.func.attr, [a.value for a in node.args if isinstance(a, ast.Constant)]
        name = str(given[0]) if given else BY_ID.get(how, "")
        is_needed = how in ("need", *BY_ID) or (how == "number" and len(node.args) == 1)
        (needed if is_needed else taken).add(name)
    return needed, taken - {""}


@pytest.mark.parametrize("action", [one for one in ACTIONS if one not in ("fault", "flood")])
def test_every_field_of_an_action_is_in_the_page(action: str) -> None:
    cell = table("action")[action][0]
    optional = re.findall(r"`([a-z_]+)`", " ".join(re.findall(r"\[(.*?)\]", cell)))
    needed = set(re.findall(r"`([a-z_]+)`", cell)) - set(optional)
    assert (needed, set(optional)) == read_by(action)


def test_every_field_and_kind_of_a_fault_of_the_bot_api_is_in_the_page() -> None:
    assert set(table("action")) == set(ACTIONS)
    named = set(re.findall(r"`([a-z_]+)`", table("action")["fault"][0]))
    assert named == {one.name for one in fields(faults.Fault)}
    kinds = PAGE.split("A fault applies to", 1)[1].split("## The Messages API")[0]
    assert set(re.findall(r"^\| `([a-z]+)`", kinds, re.MULTILINE)) == {"kind", *faults.KINDS}
    flood = set(re.findall(r"`([a-z]+)`", table("action")["flood"][0]))
    assert flood == {"private", "group", "bot"}
    assert "request.get(name, list)" in inspect.getsource(actions)


def test_the_grammar_of_a_script_is_in_the_page() -> None:
    assert set(table("field of a turn")) == set(forms._TURN)
    conditions = set(table("condition of a rule"))
    assert read_rule({"turns": []} | dict.fromkeys(conditions, "x")).model == "x"
    messages = PAGE.split("## The Messages API", 1)[1]
    rows = re.findall(r"^\| `([a-z]+)` \| ((?:`[a-z_]+`|or| )*)\|", messages, re.MULTILINE)
    shown = {name: set(re.findall(r"`([a-z_]+)`", cell)) for name, cell in rows}
    known = {name: set(reads) for name, (reads, _) in forms._FAULTS.items()}
    assert {name: shown[name] for name in known} == known
    for part in re.findall(r"`(\{\"(?:say|think)\": \"…\"\})`", messages):
        forms.read_turn(json.loads(part))
    call = {"call": "x", "input": {}, "id": "toolu_1", "cut": False}
    assert forms.read_turn(call).parts == (Call("x", {}, "toolu_1", cut=False),)


def test_the_example_of_a_script_can_be_read() -> None:
    (body,) = re.findall(r"control/script -d '(.*?)'\n```", PAGE, re.DOTALL)
    (rule,) = read_script(json.loads(body)["rules"]).rules
    first, second, third = rule.turns
    assert isinstance(first, Turn)
    assert first.fault == HttpError(529)
    assert isinstance(second, Turn)
    assert second.ending == "tool_use"
    assert isinstance(third, Turn)
    assert third.pace == 20
