"""JSON Schemas of tools: judged when they are written; used without reach and without runaway."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from registry.fields import Wrong
from registry.pasted import shown

SIZE_LIMIT = 64_000
DEPTH_LIMIT = 48
STEPS_LIMIT = 10_000

_REFUSED = {
    "$dynamicRef": "use $ref",
    "$recursiveRef": "use $ref",
    "patternProperties": "name the properties under 'properties'",
}
_NAMED = frozenset({"properties", "$defs", "definitions", "dependentSchemas"})
_DATA = frozenset({"enum", "const", "default", "examples"})
_WORDS = re.compile(r"[^a-z0-9]")
_CREDENTIALS = frozenset(
    {
        *("password", "passwd", "passphrase", "secret", "credentials", "credential", "apikey"),
        *("apisecret", "apitoken", "accesstoken", "refreshtoken", "authtoken", "bearertoken"),
        *("clientsecret", "privatekey", "secretkey", "accesskey", "authorization"),
    }
)
_steps: ContextVar[list[int] | None] = ContextVar("steps", default=None)


class _TooMuch(Exception):
    """A schema whose references lead round and round."""


def checked(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an object, as it is; raises Wrong where it is none that a host can use."""
    if value.get("type") != "object":
        raise Wrong("must describe an object", 'begin with "type": "object"')
    usable(value)
    for name in _properties(value):
        if _WORDS.sub("", name.lower()) in _CREDENTIALS:
            cure = "take it out, and give the tool its secret by webhookAuth or the environment"
            raise Wrong(f"asks the model for a credential, {shown(name)}", cure)
    return value


def usable(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Any JSON Schema, as it is; raises Wrong where it is none that a host can use."""
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]

    try:
        size = len(json.dumps(value))
        _walk(value, 0)
        _validator(value).check_schema(value)
        _resolve(value)
    except SchemaError as error:
        raise Wrong(f"is no JSON Schema, at {error.json_path[:80]}", "correct it") from None
    except RecursionError:
        raise Wrong("is nested too deep", "make it flatter") from None
    if size > SIZE_LIMIT:
        raise Wrong(f"has more than {SIZE_LIMIT} characters", "make it smaller")
    return value


def misfit(schema: Mapping[str, Any], value: Any) -> tuple[str, str] | None:
    """What is wrong with a value, and where; None where it fits the schema."""
    from referencing.exceptions import Unresolvable

    token = _steps.set([STEPS_LIMIT])
    try:
        error = next(iter(_validator(schema).iter_errors(value)), None)
    except (_TooMuch, RecursionError):
        return "the schema itself leads round and round", "$"
    except Unresolvable:
        return "the schema itself has a $ref that leads nowhere", "$"
    finally:
        _steps.reset(token)
    return None if error is None else (error.message, error.json_path)


def _walk(node: Any, depth: int) -> None:
    """Refuse what reaches out, what can run away, and what no linear engine can match."""
    if depth > DEPTH_LIMIT:
        raise Wrong("is nested too deep", "make it flatter")
    if isinstance(node, list | tuple):
        for item in node:
            _walk(item, depth + 1)
    if not isinstance(node, Mapping):
        return
    for keyword, item in node.items():
        _refuse(keyword, item)
        if keyword in _NAMED and isinstance(item, Mapping):
            for one in item.values():
                _walk(one, depth + 1)
        elif keyword not in _DATA:
            _walk(item, depth + 1)


def _refuse(keyword: str, item: Any) -> None:
    if keyword in _REFUSED:
        raise Wrong(f"has {keyword}, which is not taken here", _REFUSED[keyword])
    if keyword == "$ref" and isinstance(item, str) and not item.startswith("#"):
        raise Wrong("has a $ref to another document", "put it under $defs, refer to #/$defs/…")
    if keyword == "pattern" and isinstance(item, str) and _matcher(item) is None:
        cure = "write it without look-around and back-references"
        raise Wrong(f"has the pattern {shown(item)}, which is not taken here", cure)


def _resolve(schema: Mapping[str, Any]) -> None:
    """Every reference leads somewhere inside."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    found: Registry[Any] = Registry()
    resolver = found.resolver_with_root(DRAFT202012.create_resource(dict(schema)))
    for reference in dict.fromkeys(_references(schema)):
        try:
            resolver.lookup(reference)
        except (Unresolvable, ValueError, LookupError):
            raise Wrong(f"has a $ref {shown(reference)} that leads nowhere", "correct it") from None


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, list | tuple):
        for item in node:
            yield from _references(item)
    elif isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for item in node.values():
            yield from _references(item)


def _properties(node: Any) -> Iterator[str]:
    """The names of all properties, at every depth."""
    if isinstance(node, list | tuple):
        for item in node:
            yield from _properties(item)
    elif isinstance(node, Mapping):
        if isinstance(node.get("properties"), Mapping):
            yield from node["properties"]
        for keyword, item in node.items():
            if keyword not in _DATA:
                yield from _properties(item)


def _validator(schema: Mapping[str, Any]) -> Any:
    from referencing import Registry

    # An empty registry: the library's own would fetch a reference to another document.
    return _class()(schema, registry=Registry())


@functools.cache
def _class() -> Any:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend  # type: ignore[import-untyped]

    plain_ref = Draft202012Validator.VALIDATORS["$ref"]

    def ref(validator: Any, reference: Any, instance: Any, schema: Any) -> Any:
        left = _steps.get()
        if left is not None:
            left[0] -= 1
            if left[0] < 0:
                raise _TooMuch
        return plain_ref(validator, reference, instance, schema)

    def pattern(_validator: Any, text: Any, instance: Any, _schema: Any) -> Iterator[Any]:
        matches = _matcher(text)
        if isinstance(instance, str) and (matches is None or not matches(instance)):
            yield ValidationError(f"{instance!r} does not match {text!r}")

    return extend(Draft202012Validator, {"$ref": ref, "pattern": pattern})


@functools.lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Any:
    """A search in linear time, which no pattern can drive mad; None for a pattern beyond it."""
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    try:
        rule = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
        return SchemaValidator(rule).isinstance_python
    except SchemaError:
        return None
