"""Rewrites docs/api.md from the OpenAPI document: `python -m deploy.api_page`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from bot.http.api.app import make_app
from bot.http.api.openapi import openapi_document
from bot.http.api.problems import OPENAI_PREFIX

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
HEAD = """\
# Every route of the HTTP API

Written by `make docs` from the OpenAPI document, which `switchboard openapi` prints. How to get a
key, and what each part is for, is in [The HTTP API](http-api.md); programs in three languages are
in [Clients of the HTTP API](http-clients.md).
"""
_SCHEMAS = "#/components/schemas/"
_WRITES = ("post", "put", "patch", "delete")
_TITLES = {"openai": "For OpenAI's clients", "you": "Your key", "legacy": "Old routes"}

Json = Mapping[str, Any]


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(openapi_document(make_app())), encoding="utf-8")


def page(document: Json) -> str:
    """The page of an OpenAPI document."""
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    common = _common(operations)
    parts = [HEAD, *_said_once(operations, common)]
    for tag in dict.fromkeys(operation["tags"][0] for _, _, operation in operations):
        parts.append(f"## {_TITLES.get(tag, tag.capitalize())}\n")
        for method, path, operation in operations:
            if operation["tags"][0] == tag:
                parts += _operation(method, path, operation, common)
    parts.append("## Objects\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += _object(name, schema)
    return "\n".join(parts)


def _common(operations: Sequence[tuple[str, str, Json]]) -> set[tuple[str, str]]:
    """What every writing route has: the names of parameters and the statuses of answers."""
    writing = [one for method, path, one in operations if _is_usual(method, path)]
    found = [
        {("parameter", one["name"]) for one in operation.get("parameters", ())}
        | {("answer", status) for status in operation["responses"]}
        for operation in writing
    ]
    return set.intersection(*found) - {("answer", "200")}


def _is_usual(method: str, path: str) -> bool:
    """Whether a route writes, and answers as all of ours do."""
    return method in _WRITES and not path.startswith(OPENAI_PREFIX)


def _said_once(
    operations: Sequence[tuple[str, str, Json]], common: set[tuple[str, str]]
) -> Iterator[str]:
    """What all routes have in common."""
    example = next(one for method, path, one in operations if _is_usual(method, path))
    yield "## All routes\n"
    yield "Each takes these parameters; those in headers belong to requests that write.\n"
    named = [one for one in example["parameters"] if ("parameter", one["name"]) in common]
    yield from _parameters(named)
    yield "And each may answer so, with a [Problem](#problem) (an [OpenAIError](#openaierror) below"
    yield "`/v1`, where 400 stands for 422 as well):\n"
    yield "| status | meaning |\n| --- | --- |"
    for status, answer in sorted(example["responses"].items()):
        if ("answer", status) in common:
            yield f"| {status} | {_cell(answer['description'])} |"
    yield ""


def _operation(
    method: str, path: str, operation: Json, common: set[tuple[str, str]]
) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`\n"
    words = operation.get("description") or operation["summary"]
    old = " Deprecated." if operation.get("deprecated") else ""
    yield f"{' '.join(words.split())}{old} Needs: {operation['x-needs']}.\n"
    own = [
        one for one in operation.get("parameters", ()) if ("parameter", one["name"]) not in common
    ]
    yield from _parameters(own)
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body, `{kind}`: {_type(content.get('schema', {}))}\n"
        if (example := content.get("example")) is not None:
            yield from _example(example)
    own_answers = [
        (status, answer)
        for status, answer in operation["responses"].items()
        if ("answer", status) not in common
    ]
    for status, answer in own_answers:
        yield f"- {status} {HTTPStatus(int(status)).phrase}{_answer(answer)}"
    yield ""
    for _, answer in own_answers:
        for content in answer.get("content", {}).values():
            if (example := content.get("example")) is not None:
                yield from _example(example)


def _parameters(parameters: Sequence[Json]) -> Iterator[str]:
    if not parameters:
        return
    yield "| parameter | in | type | meaning |\n| --- | --- | --- | --- |"
    for one in parameters:
        schema = one["schema"]
        needed = " (needed)" if one.get("required") and one["in"] != "path" else ""
        words = one.get("description") or schema.get("description") or ""
        several = (schema, *schema.get("anyOf", ()))
        examples = [found[0] for one in several if (found := one.get("examples"))]
        shown = f"{words} Example: `{examples[0]}`" if examples else words
        yield f"| `{one['name']}`{needed} | {one['in']} | {_type(schema)} | {_cell(shown)} |"
    yield ""


def _answer(answer: Json) -> str:
    kinds = []
    for kind, content in answer.get("content", {}).items():
        schema = content.get("schema", {})
        kinds.append(_type(schema) if "$ref" in schema else f"`{kind}`")
    words = " ".join(answer["description"].removeprefix("Successful Response").split())
    told = [one for one in (" or ".join(kinds), words) if one]
    return f": {'. '.join(told)}" if told else ""


def _object(name: str, schema: Json) -> Iterator[str]:
    yield f"### {name}\n"
    if words := schema.get("description"):
        yield f"{' '.join(words.split())}\n"
    properties = schema.get("properties")
    if not properties:
        yield f"{_type(schema)}\n"
    else:
        needed = set(schema.get("required", ()))
        yield "| field | type | meaning |\n| --- | --- | --- |"
        for field, own in properties.items():
            mark = " (needed)" if field in needed else ""
            yield f"| `{field}`{mark} | {_type(own)} | {_cell(own.get('description', ''))} |"
        yield ""
    for example in schema.get("examples", [])[:1] or filter(None, [schema.get("example")]):
        yield from _example(example)


def _example(example: object) -> Iterator[str]:
    if isinstance(example, str):
        yield f"```\n{example.rstrip()}\n```\n"
    else:
        yield f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```\n"


def _type(schema: Json) -> str:
    """A type in words, with links to objects."""
    if name := schema.get("$ref", "").removeprefix(_SCHEMAS):
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[several])))
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(more := schema.get("additionalProperties"), Mapping):
        return f"object of {_type(more)}"
    return str(kind)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
