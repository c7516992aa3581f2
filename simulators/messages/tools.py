"""The tools a request offers: names, schemas, and which of them must be used."""

from __future__ import annotations

import re
from collections.abc import Sequence

from simulators.messages import shape
from simulators.messages.blocks import check_cache_control
from simulators.messages.models import Model
from simulators.messages.refusals import invalid
from simulators.messages.shape import Obj

NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
PROPERTY = re.compile(r"^[a-zA-Z0-9_.-]{1,64}$")
_FIELDS = (
    "type",
    "name",
    "description",
    "input_schema",
    "cache_control",
    "strict",
    "defer_loading",
    "allowed_callers",
    "eager_input_streaming",
    "input_examples",
)
_JSON_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")


def read(value: object) -> list[Obj]:
    """The tools of a request; a Refusal for a wrong one."""
    tools = shape.array(value, "tools")
    for at, tool in enumerate(tools):
        _check(shape.mapping(tool, f"tools.{at}"), at)
    names = [tool["name"] for tool in tools]
    if len(set(names)) < len(names):
        raise invalid("tools: Tool names must be unique.")
    return tools


def _check(tool: Obj, at: int) -> None:
    if tool.get("type") not in (None, "custom"):
        raise invalid(
            f"tools.{at}: Input tag '{tool['type']}' found using 'type' does not match any of the "
            "expected tags: 'custom' (the sandbox has no server tools)"
        )
    place = f"tools.{at}.custom"
    shape.only(tool, _FIELDS, place)
    name = shape.text(shape.present(tool, "name", place), f"{place}.name")
    if not NAME.match(name):
        raise invalid(f"{place}.name: String should match pattern '{NAME.pattern}'")
    if "description" in tool:
        shape.text(tool["description"], f"{place}.description")
    if "strict" in tool:
        shape.boolean(tool["strict"], f"{place}.strict")
    check_cache_control(tool.get("cache_control"), f"{place}.cache_control")
    _check_input(shape.present(tool, "input_schema", place), f"{place}.input_schema")


def _check_input(value: object, place: str) -> None:
    schema = shape.mapping(value, place)
    if shape.present(schema, "type", place) != "object":
        raise invalid(f"{place}.type: Input should be 'object'")
    if {"oneOf", "allOf", "anyOf"} & schema.keys():
        raise invalid(
            f"{place}: input_schema does not support oneOf, allOf, or anyOf at the top level"
        )
    if not _is_schema(schema):
        raise invalid(
            f"{place}: JSON schema is invalid. It must match JSON Schema draft 2020-12 "
            "(https://json-schema.org/draft/2020-12)."
        )
    if any(not PROPERTY.match(name) for name in schema.get("properties") or {}):
        raise invalid(
            f"{place}.properties: Property keys should match pattern '{PROPERTY.pattern}'"
        )


def _is_schema(value: object) -> bool:
    if isinstance(value, bool):
        return True
    return (
        isinstance(value, dict)
        and _are_types(value.get("type", []))
        and _are_names(value.get("required") or [])
        and _are_schemas(value.get("properties") or {})
        and _are_schemas(value.get("$defs") or {})
        and ("items" not in value or _is_schema(value["items"]))
        and isinstance(value.get("enum", []), list)
    )


def _are_types(value: object) -> bool:
    names = value if isinstance(value, list) else [value]
    return all(name in _JSON_TYPES for name in names)


def _are_names(value: object) -> bool:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return False
    return len(set(value)) == len(value)


def _are_schemas(value: object) -> bool:
    return isinstance(value, dict) and all(_is_schema(one) for one in value.values())


def check_choice(value: object, tools: Sequence[Obj], model: Model, thinks: bool) -> None:
    """Refuse a `tool_choice` that these tools, this model or thinking do not allow.

    `thinks`: thinking with a budget is on.
    """
    choice = shape.mapping(value, "tool_choice")
    kind = shape.one_of(choice.get("type"), ("auto", "any", "tool", "none"), "tool_choice.type")
    named = ("name",) if kind == "tool" else ()
    shape.only(choice, ("type", "disable_parallel_tool_use", *named), f"tool_choice.{kind}")
    if not tools:
        raise invalid("tool_choice may only be specified while providing tools.")
    if kind == "tool":
        name = shape.text(
            shape.present(choice, "name", "tool_choice.tool"), "tool_choice.tool.name"
        )
        if name not in {tool["name"] for tool in tools}:
            raise invalid(f"Tool '{name}' not found in provided tools")
    if kind in ("any", "tool"):
        _check_forced(kind, model, thinks)


def _check_forced(kind: str, model: Model, thinks: bool) -> None:
    if not model.forced_tools:
        raise invalid(f'"tool_choice.type.{kind}" is not supported for this model.')
    if thinks:
        raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
