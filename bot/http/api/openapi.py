"""The OpenAPI document: what FastAPI makes of the routes, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from bot.http.api.needs import needs_of
from bot.http.api.problems import MEDIA_TYPE, NOT_FOUND, OPENAI_PREFIX

_ABOUT = (
    "Conversations with the agents of this host; agents, bindings, roles, keys and the audit. "
    "Every answer that is no success is "
    "`application/problem+json` with the fields of `Problem`."
)
_COMMON = {
    400: "A header is there twice, or the request is not HTTP.",
    401: "No valid key was sent.",
    403: "The role of the key does not allow this, or the request comes from a page elsewhere.",
    404: NOT_FOUND,
    408: "The request did not come to its end.",
    413: "The request is larger than 1 MB.",
    421: "The Host header is no name of this host.",
    422: "Something in the request is not valid; `field` or `problems` say what.",
    429: "Too many requests; `Retry-After` says when to send the next one.",
    500: "A fault of the host, which is in its log.",
    503: "The store is away or the host is starting; a repeat is safe.",
}
_CONFLICT = "Somebody else has changed it meanwhile, or what it needs is taken."
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "The kind of problem, for programs."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and what cures it."},
        "field": {"type": "string", "description": "The part of the request that is wrong."},
        "problems": {
            "type": "array",
            "description": "Every mistake of a document.",
            "items": {
                "type": "object",
                "properties": {
                    name: {"type": "string"} for name in ("field", "place", "message", "cure")
                },
            },
        },
        "changes": {
            "type": "array",
            "description": "With 409: what has changed since the revision in If-Match.",
            "items": {"$ref": "#/components/schemas/Changed"},
        },
        "current": {"type": ["string", "null"], "description": "With 409: the hash there now."},
        "needs": {
            "type": "array",
            "description": "With 202: the reviews that the change waits for.",
            "items": {"type": "string"},
        },
        "place": {"type": "string", "description": "With 409: the file or variable that owns it."},
        "later": {
            "type": "integer",
            "description": "With 409: the audit record that is to be rolled back first.",
        },
    },
    "example": {
        "type": "urn:switchboard:problem:not-found",
        "title": "Not Found",
        "status": 404,
        "detail": NOT_FOUND,
    },
}
_OPENAI_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_WRITES = {"post", "put", "patch", "delete"}
_USER = (
    "Who the request is made for, where the key does not say it; nobody who has a key or a role of "
    "their own."
)
_REPEAT = "A repeat with the same text within 24 hours gets the first answer again."


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The document of an application; making it takes a quarter of a second."""
    document = get_openapi(
        title=app.title, version=app.version, description=_ABOUT, routes=app.routes
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(Problem=_PROBLEM, OpenAIError=_OPENAI_ERROR)
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    bearer = {"type": "http", "scheme": "bearer", "description": "A key: `sbk_…`."}
    components["securitySchemes"] = {"key": bearer}
    document["security"] = [{"key": []}]
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                operation = document["paths"][route.path_format][method.lower()]
                _complete(operation, method.lower(), route)
    return document


def _complete(operation: dict[str, Any], method: str, route: APIRoute) -> None:
    """Add to an operation what the door does with every request."""
    common = {**_COMMON, **({409: _CONFLICT} if method in _WRITES else {})}
    kind, schema = MEDIA_TYPE, {"$ref": "#/components/schemas/Problem"}
    if route.path.startswith(OPENAI_PREFIX):
        kind, schema = "application/json", {"$ref": "#/components/schemas/OpenAIError"}
        common[400] = common.pop(422)
        operation["responses"].pop("422", None)
    for status, words in common.items():
        content = {kind: {"schema": schema}}
        answer = {"description": words, "content": content}
        if status in (429, 503):
            answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
        operation["responses"][str(status)] = answer
    known = {(one["in"], one["name"].lower()) for one in operation.get("parameters", ())}
    more = [one for one in _parameters(method) if (one["in"], one["name"].lower()) not in known]
    operation["parameters"] = [*operation.get("parameters", ()), *more]
    wanted = needs_of(route.endpoint)
    operation["x-needs"] = "key"
    if wanted is not None and wanted.tier is not None:
        operation["x-needs"] = f"{wanted.action} {wanted.tier}"
    for status in list(operation["responses"]):
        if status.isdigit() and not operation["responses"][status].get("description"):
            operation["responses"][status]["description"] = HTTPStatus(int(status)).phrase


def _parameters(method: str) -> Iterator[dict[str, Any]]:
    yield _parameter("query", "user_id", _USER, {"maxLength": 128, "pattern": r"^[^\s:]+$"})
    if method in _WRITES:
        yield _parameter("header", "Idempotency-Key", _REPEAT, {"minLength": 1, "maxLength": 255})
        yield _parameter("header", "Change-Reason", "Why the change is made.", {})
        yield _parameter("header", "Change-Ticket", "The ticket that asks for it.", {})


def _parameter(where: str, name: str, words: str, more: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "string", **more}
    return {"name": name, "in": where, "required": False, "description": words, "schema": schema}
