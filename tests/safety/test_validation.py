"""Values judged by schemas: what is quick at once, all else in a process that ends in time."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.safety.validation import SchemaValidator
from registry.tool_schema import checked, usable
from tests.mcp.servers.starting import until

TREE = {"type": "object", "properties": {"next": {"$ref": "#"}, "size": {"type": "integer"}}}
LONG_LIST = {"uniqueItems": True, "items": {"anyOf": [{"minItems": 3}, {"enum": [*range(20)]}]}}
PARTED = {"type": "object", "properties": {"a": {"type": "string"}}, "unevaluatedProperties": False}


@pytest.fixture
async def validation() -> AsyncIterator[SchemaValidator]:
    made = SchemaValidator()
    yield made
    await made.close()


def helper(validation: SchemaValidator) -> int | None:
    """The process, where there is one."""
    process = validation._process._process
    return None if process is None or process.returncode is not None else process.pid


@pytest.mark.parametrize(
    ("schema", "value", "told"),
    [
        ({"properties": {"a": {"type": "number"}}}, {"a": 1}, None),
        ({"properties": {"a": {"type": "number"}}}, {"a": "x"}, 'not of type "number" at $.a'),
        ({"properties": {"a": {"items": {"enum": [1]}}}}, {"a": [1, 2]}, "2 is not one of"),
        ({"required": ["a"]}, {}, '"a" is a required property at $'),
        ({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 300 + "b"}, "does not match"),
        ({"properties": {"a": {"anyOf": [{"type": "string"}]}}}, {"a": 1}, "any of the schemas"),
        ({"properties": {"a": {"const": 2**50}}}, {"a": 2**50 + 1}, "was expected"),
        ({}, {"a": float("inf")}, "is not plain JSON"),
        ({}, {"a": "\ud83d"}, None),
        ({"properties": {"a": {"enum": ["x"]}}}, {"a": "\ud83d"}, "is not plain JSON"),
        ({}, {"a": "x" * 1_100_000}, "larger than 1000000 bytes"),
    ],
)
async def test_a_usual_value_is_judged_at_once(
    validation: SchemaValidator, schema: dict[str, Any], value: Any, told: str | None
) -> None:
    found = await validation.mismatch(checked({"type": "object"} | schema), value)
    assert (found is None) if told is None else (told in str(found))
    assert helper(validation) is None


async def test_a_value_that_is_nested_deep_is_refused(validation: SchemaValidator) -> None:
    deep: Any = {}
    for _ in range(150):
        deep = {"a": deep}
    assert (
        await validation.mismatch(checked(TREE), deep) == "it is nested deeper than 100 levels at $"
    )


@pytest.mark.parametrize(
    ("schema", "value", "told"),
    [
        (TREE, {"next": {"next": {"size": 3}}}, None),
        (TREE, {"next": {"next": {"size": "x"}}}, 'not of type "integer" at $.next.next.size'),
        (PARTED, {"a": "x"}, None),
        (PARTED, {"a": "x", "b": 1}, "Unevaluated properties are not allowed"),
        (LONG_LIST, [[n, "a", {"b": n}] for n in range(9_000)], None),
        (LONG_LIST, [[n % 8_000, "a", {}] for n in range(9_000)], "non-unique"),
    ],
)
async def test_what_may_take_long_is_judged_by_the_process_and_as_well(
    validation: SchemaValidator, schema: dict[str, Any], value: Any, told: str | None
) -> None:
    found = await validation.mismatch(usable(schema), value)
    assert (found is None) if told is None else (told in str(found))
    assert helper(validation) is not None


def _branching(depth: int) -> tuple[dict[str, Any], Any]:
    """A schema that looks twice at each level of a value, and tells of each time."""
    both = [{"properties": {"a": {"$ref": "#"}}, "required": [name]} for name in ("b", "c")]
    value: Any = {"b": 1, "c": 2}
    for _ in range(depth):
        value = {"a": value, "b": 1, "c": 2}
    return {"type": "object", "allOf": both}, value


async def test_what_takes_for_ever_ends_in_time_and_the_next_is_judged(
    validation: SchemaValidator,
) -> None:
    validation._seconds = 0.3
    schema, value = _branching(80)
    begun = time.monotonic()
    found = await validation.mismatch(usable(schema), value)
    assert found == "it cannot be checked against its schema in time at $"
    assert time.monotonic() - begun < 10
    assert await validation.mismatch(checked(TREE), {"size": 1}) is None


async def test_the_loop_goes_on_while_the_process_judges(validation: SchemaValidator) -> None:
    validation._seconds = 0.5
    schema, value = _branching(80)
    judged = asyncio.create_task(validation.mismatch(usable(schema), value))
    longest, seen = 0.0, time.thread_time()
    while not judged.done():
        await asyncio.wait({judged}, timeout=0.005)
        before, seen = seen, time.thread_time()
        longest = max(longest, seen - before)
    assert longest < 0.1


async def test_patterns_that_take_long_to_compile_are_left_to_the_process(
    validation: SchemaValidator,
) -> None:
    validation._seconds = 20
    letters = {f"p{n}": {"pattern": r"(?:\pL|\pN){16}" + str(n)} for n in range(64)}
    schema = {"type": "object", "properties": letters}
    begun = time.thread_time()
    found = await validation.mismatch(schema, {"p0": "abc"})
    assert time.thread_time() - begun < 0.1
    assert "does not match" in str(found)
    assert helper(validation) is not None


async def test_many_at_once_are_judged_one_after_the_other(validation: SchemaValidator) -> None:
    values = [{"size": n if n % 2 else "x"} for n in range(20)]
    found = await asyncio.gather(*(validation.mismatch(checked(TREE), one) for one in values))
    assert [one is None for one in found] == [n % 2 == 1 for n in range(20)]


async def test_who_leaves_takes_no_answer_from_the_next(validation: SchemaValidator) -> None:
    leaver = asyncio.create_task(validation.mismatch(usable(TREE), {"size": "x"}))
    await until(lambda: helper(validation))
    leaver.cancel()
    await asyncio.wait({leaver})
    assert await validation.mismatch(usable(TREE), {"size": 1}) is None


async def test_a_process_that_was_killed_is_started_again(validation: SchemaValidator) -> None:
    assert await validation.mismatch(usable(TREE), {"size": 1}) is None
    pid = helper(validation)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: helper(validation) is None)
    assert await validation.mismatch(usable(TREE), {"size": 2}) is None


async def test_an_idle_process_leaves(
    validation: SchemaValidator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.safety.validation.IDLE_SECONDS", 0.01)
    assert await validation.mismatch(usable(TREE), {"size": 1}) is None
    await until(lambda: helper(validation) is None)


async def test_a_schema_that_slipped_through_is_no_schema(validation: SchemaValidator) -> None:
    loop = {"type": "object", "$ref": "#"}
    assert await validation.mismatch(loop, {}) == "the schema itself cannot be used at $"
    assert await validation.mismatch({"type": 7}, {}) == "the schema itself cannot be used at $"
