"""Schemas of tools: what is refused when it is written, and what cannot run away in use."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from registry.fields import Wrong
from registry.schema import checked, misfit

EVIL = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}


def _nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def _laughs() -> dict[str, Any]:
    """Each step refers to the one below twice: a thousand million steps in all."""
    steps: dict[str, Any] = {"a0": {}}
    for n in range(1, 31):
        steps[f"a{n}"] = {"allOf": [{"$ref": f"#/$defs/a{n - 1}"}] * 2}
    return {"type": "object", "$defs": steps, "$ref": "#/$defs/a30"}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "array"}, "must describe an object"),
        ({"type": "object", "required": 3}, "is no JSON Schema, at"),
        ({"type": "object", "$ref": "https://x/y"}, "to another document"),
        ({"type": "object", "$ref": "file:///etc/passwd"}, "to another document"),
        ({"type": "object", "$ref": "#/$defs/no"}, "leads nowhere"),
        ({"type": "object", "patternProperties": {"a": {}}}, "has patternProperties"),
        ({"type": "object", "properties": {"a": {"pattern": "(?=a)b"}}}, "has the pattern"),
        (_nested(60), "nested too deep"),
        (_nested(20_000), "nested too deep"),
        ({"type": "object", "description": "x" * 70_000}, "more than 64000 characters"),
    ],
)
def test_a_schema_that_a_host_cannot_use_is_refused(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(Wrong) as raised:
        checked(schema)
    assert words in raised.value.message


def test_names_of_properties_are_no_keywords() -> None:
    names = ("pattern", "$ref", "patternProperties", "enum")
    checked({"type": "object", "properties": {name: {"type": "string"} for name in names}})


def test_a_reference_inside_is_followed() -> None:
    schema = {"type": "object", "$defs": {"n": {"type": "number"}},
              "properties": {"a": {"$ref": "#/$defs/n"}}}  # fmt: skip
    assert misfit(checked(schema), {"a": 1}) is None
    assert misfit(schema, {"a": "x"}) == ("'x' is not of type 'number'", "$.a")


@pytest.mark.parametrize("schema", [_laughs(), {"type": "object", "$ref": "#"}])
def test_a_schema_that_goes_round_ends_soon(schema: dict[str, Any]) -> None:
    begun = time.process_time()
    assert misfit(schema, {}) == ("the schema itself leads round and round", "$")
    assert time.process_time() - begun < 5


def test_no_pattern_can_drive_a_match_mad() -> None:
    begun = time.process_time()
    found = misfit(checked(EVIL), {"a": "a" * 5_000 + "b"})
    assert found is not None
    assert "does not match" in found[0]
    assert misfit(EVIL, {"a": "aaa"}) is None
    assert time.process_time() - begun < 5


def test_a_reference_that_slipped_through_is_not_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        place = f"http://127.0.0.1:{server.getsockname()[1]}/schema"
        assert misfit({"type": "object", "$ref": place}, {}) is not None
        with pytest.raises(TimeoutError):
            server.accept()
