"""The application behind the door: its routes, and its errors as problem+json."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bot.errors import StoreError, StoreUnavailable
from bot.http.api import (
    agents,
    approvals,
    artifacts,
    audit,
    bindings,
    bots,
    conversations,
    drafts,
    instances,
    keys,
    legacy,
    presets,
    profiles,
    reviews,
    roles,
    sign_in,
    tasks,
    webhooks,
)
from bot.http.api.needs import CallerDep, Host, iso, needs_key, permitted
from bot.http.api.openapi import openapi_document
from bot.http.api.problems import OPENAI, ApiError, fault, not_found, refusal_of, unavailable
from bot.http.health import VERSION
from registry.errors import InvalidValue, RegistryError
from registry.fields import describe
from registry.roles import RoleName, Scope

_DOCUMENTS = (
    *(agents, drafts, instances, presets, profiles),
    *(bindings, bots, roles, keys, audit, reviews),
)
FACES = frozenset({OPENAI})
"""The forms of other APIs in which a host can answer as well."""
_MAKING = threading.Lock()
"""FastAPI silences a warning while it reads models; two threads would undo that for each other."""


def make_app(host: Host | None = None) -> FastAPI:
    """The API over the parts of a host; without one only its OpenAPI document is of use.

    That of a host has the faces of other APIs that its operator turned on, the document has all.

    Each module of routes has a function `add_routes(app)` that is called here. Routes go into the
    app itself, not into routers of their own, so that a walk over `app.routes` finds every one.
    """
    with _MAKING:
        return _made(host)


def _made(host: Host | None) -> FastAPI:
    app = FastAPI(
        title="Switchboard",
        version=VERSION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(permitted)],
    )
    app.state.host = host
    app.state.faces = host.talking.faces if host else FACES
    handlers: dict[type[Exception], Callable[[Any, Any], Awaitable[Response]]] = {
        ApiError: _on_api_error,
        RegistryError: _on_registry_error,
        InvalidValue: _on_invalid_value,
        RequestValidationError: _on_validation_error,
        HTTPException: _on_http_exception,
        StoreError: _on_store_error,
        Exception: _on_fault,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    _add_own_routes(app)
    of_turns = (conversations, tasks, approvals, webhooks, artifacts)  # the most used first
    for subject in (*of_turns, *_DOCUMENTS, sign_in, legacy):
        subject.add_routes(app)
    if OPENAI in app.state.faces:
        from bot.http.api import completions

        completions.add_routes(app)
    return app


class HeldRole(BaseModel):
    """A role, and how far it reaches."""

    role: RoleName
    scope: Scope
    account: str | None
    client: str | None


class Me(BaseModel):
    """Who asks, and what they may do; times are in ISO 8601.

    `key` is null for people who signed in by a link of a bot.
    """

    person: str
    account: str
    roles: list[HeldRole]
    scope: Scope
    key: str | None
    user: str | None
    client: str | None
    agent: str | None
    expires: str | None

    model_config = {
        "json_schema_extra": {
            "example": {
                "person": "api:acme:ann",
                "account": "acme",
                "roles": [
                    {
                        "role": "instance_admin",
                        "scope": "account",
                        "account": "acme",
                        "client": None,
                    }
                ],
                "scope": "account",
                "key": "k3v9d0",
                "user": "ann",
                "client": None,
                "agent": None,
                "expires": "2027-02-28T12:00:00+00:00",
            }
        }
    }


def _add_own_routes(app: FastAPI) -> None:
    @app.get("/api/v1/me", tags=["you"])
    @needs_key()
    async def me(caller: CallerDep) -> Me:
        """Who the key stands for, and what it may do."""
        key = caller.key
        grants = caller.actor.grants
        scopes = [one.scope for one in grants] if key is None else [key.grant.scope]
        return Me(
            person=caller.actor.id,
            account=caller.account,
            roles=[
                HeldRole(
                    role=grant.role,
                    scope=grant.scope,
                    account=None if grant.scope == "host" else grant.account,
                    client=grant.client,
                )
                for grant in grants
            ],
            scope="host" if "host" in scopes else scopes[0],
            key=key.id if key else None,
            user=caller.user,
            client=key.client if key else None,
            agent=caller.agent,
            expires=iso(key.expires) if key else None,
        )

    made, making = list[bytes](), asyncio.Lock()

    @app.get("/openapi.json", include_in_schema=False)
    @needs_key()
    async def openapi() -> Response:
        """This API as an OpenAPI document."""
        async with making:
            if not made:  # as bytes: the document itself would take five megabytes for good
                made.append(await asyncio.to_thread(lambda: orjson.dumps(openapi_document(app))))
        return Response(made[0], media_type="application/json")


# --- errors --------------------------------------------------------------------------------------


def answer(request: Request, error: ApiError) -> Response:
    """A refusal as a response, in the form of the face that was asked."""
    status, kind, body = error.answer(request.url.path, request.app.state.faces)
    return Response(body, status, dict(error.headers or {}), media_type=kind)


async def _on_api_error(request: Request, error: ApiError) -> Response:
    return answer(request, error)


async def _on_registry_error(request: Request, error: RegistryError) -> Response:
    return answer(request, refusal_of(error))


async def _on_invalid_value(request: Request, error: InvalidValue) -> Response:
    return answer(request, ApiError(422, "invalid", f"{error.message}; {error.cure}"))


async def _on_validation_error(request: Request, error: RequestValidationError) -> Response:
    problems = tuple(map(_problem, error.errors()))
    field = problems[0]["field"] if problems else None
    return answer(request, ApiError(422, "invalid", "The request is not valid.", field, problems))


def _problem(details: Any) -> dict[str, str]:
    """One mistake in a parameter or a field of the body: where, what, and the cure if known."""
    where, *path = details["loc"]
    message, cure = describe(details)
    said = {"field": ".".join(map(str, path)) or where, "place": where, "message": message}
    return {**said, "cure": cure} if cure else said


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:
        return answer(request, not_found())
    kind = {405: "method-not-allowed", 400: "bad-request"}.get(error.status_code, "refused")
    refusal = ApiError(error.status_code, kind, str(error.detail), headers=error.headers)
    return answer(request, refusal)


async def _on_store_error(request: Request, error: StoreError) -> Response:
    is_away = isinstance(error, StoreUnavailable)
    return answer(request, unavailable() if is_away else unavailable(str(error)))


async def _on_fault(request: Request, _error: Exception) -> Response:
    return answer(request, fault())  # the error itself goes on to the door, which logs it
