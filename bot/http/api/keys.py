"""The routes of API keys: `/api/v1/keys`; a key is shown once, its hash never."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from bot.http.api import documents as docs
from bot.http.api.caller import Caller
from bot.http.api.needs import CallerDep, Host, HostDep, iso, needs_key
from bot.http.api.problems import ApiError, not_found
from bot.http.api.roles import require_governor
from bot.store.key_uses import KeyUse
from registry.agent_limits import Budget
from registry.api_key import ApiKey, digest, new_secret, valid_user
from registry.errors import DocumentErrors, Problem
from registry.fields import issues_of
from registry.roles import RoleName, Scope, sees_grant

KEYS = "/api/v1/keys"
KeyId = Annotated[str, Path(description="The id of a key, not the key itself.", examples=["3f9a"])]


class KeyInfo(BaseModel):
    """A key, what it may do, and when it was used last; never the key itself, nor its hash."""

    id: str = Field(examples=["3f9a01c2"])
    account: str = Field(examples=["acme"])
    role: RoleName
    scope: Scope
    user: str | None = Field(description="The person whom it stands for.", examples=["ann"])
    client: str | None
    agent: str | None = Field(description="The only agent that it reaches.")
    budget: dict[str, float] | None
    created: str | None
    created_by: str | None
    expires: str | None
    revoked: str | None
    state: str = Field(description="live, revoked or expired.", examples=["live"])
    last_used: str | None
    last_origin: str | None = Field(description="The address that it came from.")
    read_only: bool = Field(description="Whether it is one of the host's environment.")


class NewKey(KeyInfo):
    """A key that was made now; this is the only time that `key` is shown."""

    key: str = Field(examples=["sbk_Qm9vayBvZiBkb29ycyBhbmQga2V5cyBhbmQgbG9ja3M"])


class KeyList(BaseModel):
    """A page of keys, by their ids."""

    keys: list[KeyInfo]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class BudgetRequest(BaseModel):
    """What the key may spend a day."""

    model_config = ConfigDict(extra="forbid")

    tokens: int | None = Field(None, ge=1, le=10**15)
    usd: float | None = Field(None, gt=0, le=10**9)


class KeyRequest(BaseModel):
    """What a new key is to do; by default it is an instance_manager of the caller's account."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"role": "instance_manager", "user": "ann", "days": 90}},
    )

    role: RoleName = "instance_manager"
    scope: Scope | None = None
    account: docs.Name | None = None
    user: Annotated[str, AfterValidator(valid_user)] | None = Field(None, max_length=128)
    client: docs.Name | None = None
    agent: docs.Name | None = None
    budget: BudgetRequest | None = None
    expires: datetime | None = Field(None, description="When it ends; UTC where no zone is given.")
    days: int | None = Field(None, ge=1, le=36_500, description="Instead: in how many days.")
    reason: str | None = Field(None, max_length=500)
    ticket: str | None = Field(None, max_length=500)


def add_routes(app: FastAPI) -> None:
    """Add the routes of keys."""
    tags = docs.tags("keys")
    app.get(KEYS, tags=tags)(list_keys)
    made: dict[int | str, dict[str, Any]] = {201: {**docs.CREATED, "model": NewKey}}
    app.post(KEYS, tags=tags, status_code=201, response_model=NewKey, responses=made)(create_key)
    path = f"{KEYS}/{{key_id}}"
    app.get(path, tags=tags)(get_key)
    app.delete(path, tags=tags, status_code=204, response_class=Response)(revoke_key)


def _seen(host: Host, caller: Caller) -> dict[str, ApiKey]:
    """The keys that a caller may see, by their ids."""
    stored = (entry.value for entry in host.catalog.snapshot().document.keys.values())
    known = {key.id: key for key in (*stored, *host.own_keys)}
    grants = caller.actor.grants
    return {id: key for id, key in known.items() if sees_grant(grants, key.grant)}


def _info(host: Host, key: ApiKey, use: KeyUse | None) -> dict[str, Any]:
    live, gone = key.is_live(host.catalog.wall()), key.revoked is not None
    return {
        "id": key.id,
        "account": key.account,
        "role": key.role,
        "scope": key.grant.scope,
        "user": key.user,
        "client": key.client,
        "agent": key.agent,
        "budget": key.budget.model_dump(exclude_none=True) if key.budget else None,
        "created": iso(key.created or None),
        "created_by": key.created_by or None,
        "expires": iso(key.expires),
        "revoked": iso(key.revoked),
        "state": "live" if live else "revoked" if gone else "expired",
        "last_used": iso(use.at) if use else None,
        "last_origin": use.origin if use else None,
        "read_only": key in host.own_keys,
    }


@needs_key()
async def list_keys(
    caller: CallerDep, host: HostDep, cursor: docs.Cursor = None, limit: docs.Limit = 50
) -> KeyList:
    """List the keys that the key may see: those of its account, also revoked ones."""
    require_governor(caller, "see keys")
    after = host.cursors.read(caller.account, "keys", cursor) if cursor is not None else ""
    seen = _seen(host, caller)
    ids = sorted(id for id in seen if id > after)
    page, more = ids[:limit], len(ids) > limit
    uses = await host.uses.of(page)
    found = [KeyInfo.model_validate(_info(host, seen[id], uses.get(id))) for id in page]
    next_ = host.cursors.make(caller.account, "keys", page[-1]) if more else None
    return KeyList(keys=found, next=next_)


@needs_key()
async def get_key(caller: CallerDep, host: HostDep, key_id: KeyId) -> KeyInfo:
    """Show a key."""
    key = _found(caller, host, key_id)
    uses = await host.uses.of([key_id])
    return KeyInfo.model_validate(_info(host, key, uses.get(key_id)))


def _found(caller: Caller, host: Host, key_id: str) -> ApiKey:
    require_governor(caller, "see keys")
    if (key := _seen(host, caller).get(key_id)) is None:
        raise not_found()
    return key


@needs_key()
async def create_key(caller: CallerDep, host: HostDep, body: KeyRequest) -> Response:
    """Make a key, and show it this once. It may hold what the caller's own role may give."""
    require_governor(caller, "create keys")
    docs.require_reach(caller, body.account or caller.account)
    secret = new_secret()
    key = _made(caller, body, secret, host.catalog.wall())
    snapshot = host.catalog.snapshot()
    if key.agent is not None and not snapshot.has_named(key.account, key.agent):
        message, cure = f"there is no agent or instance '{key.agent}'", "name one that is there"
        raise DocumentErrors([Problem("body", message, cure, path="agent")])
    why = docs.why_of(caller, body.reason, body.ticket)
    await host.catalog.create_key(caller.actor, key, key=caller.change_key, why=why)
    said = {**_info(host, key, None), "key": secret}
    return docs.answer(said, status=201, location=f"{KEYS}/{key.id}")


def _made(caller: Caller, body: KeyRequest, secret: str, now: float) -> ApiKey:
    """The key that a body asks for; raises DocumentErrors."""
    expires = body.expires
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    ends = expires.timestamp() if expires else now + body.days * 86_400 if body.days else None
    if ends is not None and ends <= now:
        message, cure = "it is in the past", "give a later time"
        raise DocumentErrors([Problem("body", message, cure, path="expires")])
    try:
        return ApiKey(
            id=secrets.token_hex(4),
            hash=digest(secret),
            account=body.account or caller.account,
            role=body.role,
            scope=body.scope or ("client" if body.client else "account"),
            user=body.user,
            client=body.client,
            agent=body.agent,
            budget=Budget(**body.budget.model_dump()) if body.budget else None,
            expires=ends,
            created=round(now, 3),
            created_by=caller.actor.id,
        )
    except ValidationError as error:  # role, scope and client do not fit
        found = issues_of(error, ApiKey)
        problems = [Problem("body", i.message, i.cure, path="scope") for i in found]
        raise DocumentErrors(problems) from None


@needs_key()
async def revoke_key(caller: CallerDep, host: HostDep, key_id: KeyId) -> Response:
    """Revoke a key: from then on it opens nothing, at any replica."""
    key = _found(caller, host, key_id)
    if key in host.own_keys:
        detail = "This key is in the host's environment, and is taken away only there."
        raise ApiError(409, "owned", detail)
    revoke = host.catalog.revoke_key
    if not await revoke(caller.actor, key_id, key=caller.change_key, why=caller.why):
        raise not_found()
    return docs.none_left()
