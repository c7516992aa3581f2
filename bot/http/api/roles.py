"""The routes of roles: `/api/v1/roles`; everybody sees and changes those of their own account."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Path
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from bot.http.api import documents as docs
from bot.http.api.caller import Caller
from bot.http.api.documents import Document, DocumentRoutes
from bot.http.api.needs import CallerDep, HostDep, needs_key
from bot.http.api.problems import not_found
from registry.catalog import roles_text
from registry.errors import Denied, DocumentErrors, Problem, RevisionConflict
from registry.fields import issues_of
from registry.revisions import Revision
from registry.roles import (
    GRANTABLE,
    Duty,
    RoleDocument,
    RoleGrant,
    RoleName,
    Scope,
    Target,
    sees_grant,
    verdict,
)
from registry.snapshot import revision_of

ROLES = "/api/v1/roles"
PersonId = Annotated[
    str, Path(description="`tg:<id>` or `api:<account>:<user>`.", examples=["api:acme:ann"])
]


class Grant(BaseModel):
    """A role, and how far it reaches: the whole host, an account, or one client of an account."""

    role: RoleName
    scope: Scope
    account: str | None = Field(description="null where the role reaches the whole host.")
    client: str | None
    duties: list[Duty] = Field(description="The reviews of agents that the person may give.")


class GrantRequest(BaseModel):
    """A role to hold; by default in the account of the key."""

    model_config = ConfigDict(extra="forbid")

    role: RoleName = Field(examples=["instance_manager"])
    scope: Scope | None = None
    account: docs.Name | None = None
    client: docs.Name | None = None
    duties: list[Duty] = Field([], max_length=2)


class RolesRequest(BaseModel):
    """All roles that the person is to hold, as far as the key may see them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"grants": [{"role": "instance_manager", "account": "acme"}]}
        },
    )

    grants: list[GrantRequest] = Field(min_length=1, max_length=64)


class RolesSummary(BaseModel):
    """The roles of a person in a list."""

    person: str = Field(examples=["api:acme:ann"])
    grants: list[Grant]


class RoleList(BaseModel):
    """A page of people with their roles."""

    roles: list[RolesSummary]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class RolesAnswer(RolesSummary):
    """The roles of a person, and which revision that is."""

    revision: int | None
    hash: str | None = Field(description="The ETag, without its quotes; null for no roles.")


def add_routes(app: FastAPI) -> None:
    """Add the routes of roles."""
    path, tags = f"{ROLES}/{{person}}", docs.tags("roles")
    one: dict[int | str, dict[str, Any]] = {200: {"headers": docs.ETAG}}
    made = {**one, 201: {**docs.CREATED, "model": RolesAnswer}}
    app.get(ROLES, tags=tags)(list_roles)
    app.get(path, tags=tags, response_model=RolesAnswer, responses=one)(get_roles)
    app.put(path, tags=tags, response_model=RolesAnswer, responses=made)(put_roles)
    app.delete(path, tags=tags, status_code=204, response_class=Response)(delete_roles)
    routes = DocumentRoutes(path, "roles", RolesAnswer, person_document, needs_key(), _restored)
    docs.add_revisions(app, routes)


def require_governor(caller: Caller, what: str) -> None:
    """Raise Denied for a key that may neither see nor give any role of its account."""
    docs.require_whole(caller)
    grants = caller.actor.grants
    reads = verdict(grants, "read", Target("instance", caller.account)) == "yes"
    if not reads and not any(grant.role in GRANTABLE for grant in grants):
        raise Denied(f"the role of this key may not {what}")


async def person_document(caller: CallerDep, host: HostDep, person: PersonId) -> Document:
    """The roles of the person in the path."""
    require_governor(caller, "see roles")
    try:
        RoleDocument.model_validate({"person": person, "grants": [{"role": "client_contact"}]})
    except ValueError:
        raise not_found() from None
    return Document(host, caller, "role", person)


PersonDep = Annotated[Document, Depends(person_document)]


@needs_key()
async def list_roles(
    caller: CallerDep, host: HostDep, cursor: docs.Cursor = None, limit: docs.Limit = 50
) -> RoleList:
    """List who holds which roles, as far as the key may see them."""
    require_governor(caller, "see roles")
    after = host.cursors.read(caller.account, "roles", cursor) if cursor is not None else ""
    roles = host.catalog.snapshot().document.roles
    found: list[RolesSummary] = []
    for person in sorted(one for one in roles if one > after):
        seen = [g for g in roles[person].value.grants if sees_grant(caller.actor.grants, g)]
        if seen:
            found.append(RolesSummary(person=person, grants=_grants(seen)))
        if len(found) > limit:
            break
    page, more = found[:limit], len(found) > limit
    next_ = host.cursors.make(caller.account, "roles", page[-1].person) if more else None
    return RoleList(roles=page, next=next_)


def _grants(found: tuple[RoleGrant, ...] | list[RoleGrant]) -> list[Grant]:
    return [
        Grant(
            role=one.role,
            scope=one.scope,
            account=None if one.scope == "host" else one.account,
            client=one.client,
            duties=[*one.duties],
        )
        for one in found
    ]


def _shown(
    person: str, grants: tuple[RoleGrant, ...], number: int | None, *, created: bool = False
) -> Response:
    text = roles_text(person, grants)
    etag = revision_of(text) if text else None
    said = RolesAnswer(person=person, grants=_grants(grants), revision=number, hash=etag)
    location = f"{ROLES}/{quote(person, safe='')}" if created else None
    return docs.answer(said, etag=etag, status=201 if created else 200, location=location)


@needs_key()
async def get_roles(document: PersonDep) -> Response:
    """Show the roles of a person; the ETag is what If-Match of a change takes."""
    seen = document.seen_roles
    if not seen:
        raise not_found()
    return _shown(document.id, seen, await document.number(document.etag))


@needs_key()
async def put_roles(
    body: RolesRequest, document: PersonDep, if_match: docs.IfMatch = None
) -> Response:
    """Make these all the roles of a person, as far as the key may see them.

    A key may give and take away what its own role says, inside its own scope.
    """
    caller = document.caller
    for one in body.grants:
        docs.require_reach(caller, one.account or caller.account)
    grants = tuple(_grant(one, caller.account) for one in body.grants)
    expected = document.expected(if_match)
    try:
        written = await document.host.catalog.set_roles(
            caller.actor,
            document.id,
            grants,
            key=caller.change_key,
            expected=expected,
            why=caller.why,
        )
    except RevisionConflict as error:
        raise await document.conflict(error, expected) from None
    return _shown(document.id, grants, written.number, created=written.created)


def _grant(one: GrantRequest, account: str) -> RoleGrant:
    scope: Scope = one.scope or ("client" if one.client else "account")
    try:
        return RoleGrant(
            role=one.role,
            scope=scope,
            account=one.account or account,
            client=one.client,
            duties=tuple(one.duties),
        )
    except ValidationError as error:  # role, scope and client do not fit
        found = issues_of(error, RoleGrant)
        raise DocumentErrors(
            Problem("body", issue.message, issue.cure, path="grants") for issue in found
        ) from None


@needs_key()
async def delete_roles(document: PersonDep, if_match: docs.IfMatch = None) -> Response:
    """Take all roles of a person away, as far as the key may see them."""

    async def remove(actor: Any, person: str, **more: Any) -> bool:
        there = bool(document.seen_roles)
        await document.host.catalog.set_roles(actor, person, (), **more)
        return there

    return await document.delete(remove, if_match)


def _restored(document: Document, made: Revision) -> Response:
    value = made.value
    grants = RoleDocument.model_validate(value).grants if value else ()
    return _shown(document.id, grants, made.number)
