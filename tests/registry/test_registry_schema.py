"""Schemas of tools: what is refused when it is written, and what cannot run away in use."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from registry import schema_worker
from registry.errors import InvalidValue
from registry.tool_schema import Cost, checked, cost


def _nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "array"}, "must describe an object"),
        ({"type": "object", "required": 3}, "is not a JSON Schema, at"),
        ({"type": "object", "$ref": "https://x/y"}, "to another document"),
        ({"type": "object", "$ref": "file:///etc/passwd"}, "to another document"),
        ({"type": "object", "$ref": "#/$defs/no"}, "points to nothing"),
        ({"type": "object", "patternProperties": {r"(a)\1": {}}}, "has the pattern"),
        ({"type": "object", "patternProperties": {"(?=a)": {}}}, "has the pattern"),
        ({"type": "object", "patternProperties": {"^[pP]assword$": {}}}, "for a credential"),
        ({"type": "object", "required": ["password"]}, "for a credential"),
        ({"type": "object", "properties": {"a": {"pattern": "(?=a)b"}}}, "has the pattern"),
        (_nested(60), "nested too deep"),
        (_nested(20_000), "nested too deep"),
        ({"type": "object", "description": "x" * 70_000}, "more than 64000 characters"),
    ],
)
def test_a_schema_that_a_host_cannot_use_is_refused(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        checked(schema)
    assert words in raised.value.message


def test_names_of_properties_are_no_keywords() -> None:
    names = ("pattern", "$ref", "patternProperties", "enum")
    checked({"type": "object", "properties": {name: {"type": "string"} for name in names}})


def _doubled(steps: int, keyword: str = "allOf") -> dict[str, Any]:
    """Each step refers to the one below twice."""
    below = {f"a{n}": {keyword: [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(steps)}
    return {"type": "object", "$defs": below | {f"a{steps}": {}}, "$ref": "#/$defs/a0"}


def _depending(steps: int) -> dict[str, Any]:
    """What doubles where it is built, not where it is used."""
    step = {"dependentSchemas": {"a": {"$ref": ""}, "b": {"$ref": ""}}}
    defs = {
        f"a{n}": json.loads(json.dumps(step).replace('""', f'"#/$defs/a{n + 1}"'))
        for n in range(steps)
    }
    root = {"type": "object", "$ref": "#/$defs/a0", "unevaluatedProperties": False}
    return root | {"$defs": defs | {f"a{steps}": {}}}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (_doubled(30), "more than 100000 parts"),
        (_doubled(900), "more than 100000 parts"),
        (_doubled(30, "anyOf"), "more than 100000 parts"),
        (_depending(12), "parts below 'unevaluated…'"),
        (_depending(400), "more than 100000 parts"),
        ({"type": "object", "$ref": "#"}, "circular $ref"),
        (
            {
                "type": "object",
                "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}},
                "if": {"$ref": "#/$defs/a"},
            },
            "circular $ref",
        ),
        ({"type": "object", "properties": {"a": {"$id": "x", "$ref": "#/y"}}}, "$id of its own"),
        ({"type": "object", "allOf": [{"pattern": f"a{n}"} for n in range(99)]}, "64 patterns"),
        (
            {"type": "object", "properties": {"a": {"pattern": "((a{1,900}){1,900}){1,900}"}}},
            "the pattern",
        ),
        ({"type": "object", "required": [1, "a", None, {}] * 4_000}, "is not a JSON Schema"),
    ],
)
def test_a_schema_that_would_take_for_ever_is_refused_in_a_moment(
    schema: dict[str, Any], words: str
) -> None:
    checked({"type": "object"})  # the library is loaded
    begun = time.thread_time()
    with pytest.raises(InvalidValue) as raised:
        checked(schema)
    assert words in raised.value.message
    assert time.thread_time() - begun < 1


def test_no_pattern_can_drive_a_match_mad() -> None:
    evil = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    judge = schema_worker.validator(checked(evil))
    begun = time.process_time()
    found = schema_worker.misfit(judge, {"a": "a" * 5_000 + "b"})
    assert found is not None
    assert "does not match" in found[0]
    assert schema_worker.misfit(judge, {"a": "aaa"}) is None
    assert time.process_time() - begun < 1


def test_what_a_schema_can_cost_is_counted_with_its_references_written_out() -> None:
    plain = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert cost(plain) == Cost(parts=5)
    assert (cost(_doubled(3)).parts or 0) > 2**3
    assert cost(plain | {"anyOf": [{"required": ["a"]}]}).branches
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    assert cost(tree) == Cost(parts=None)
    assert cost(plain | {"unevaluatedProperties": False}).parts is None


@pytest.mark.parametrize("reference", ["#/$defs/n", "#/$defs/a~1b", "#/$defs/%6E", "#here", "#"])
def test_a_reference_is_followed_as_json_schema_writes_it(reference: str) -> None:
    defs = {"n": {"type": "number"}, "a/b": {}, "c": {"$anchor": "here"}}
    checked({"type": "object", "$defs": defs, "properties": {"a": {"$ref": reference}}})


def test_what_stands_under_an_unknown_keyword_is_no_schema() -> None:
    said = {"$ref": 5, "pattern": 7, "$id": ["x"], "$anchor": {}}
    checked({"type": "object", "x-note": said, "default": {"$ref": "#/no"}})


def test_no_schema_makes_anybody_ask_for_another_document() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        place = f"http://127.0.0.1:{server.getsockname()[1]}/schema"
        checked({"type": "object", "$schema": place, "$id": place})
        with pytest.raises(InvalidValue):
            checked({"type": "object", "$ref": place})
        with pytest.raises(TimeoutError):
            server.accept()
