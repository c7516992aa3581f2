"""The routes of the audit: of an account, of a client, of the whole host; and rollbacks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from bot.http.api import documents as docs
from bot.http.api.caller import Caller
from bot.http.api.needs import CallerDep, Host, HostDep, iso, needs, needs_key
from bot.http.api.problems import not_found
from registry.audit import AuditRecord
from registry.history import Wanted
from registry.roles import DEFAULT_ACCOUNT, Target

INSTANCE = "/api/v1/instance/{instance_id}"
AUDIT = "/api/v1/audit"
Account = Annotated[str, Path(description="The slug of the account.", examples=["acme"])]
Client = Annotated[str, Path(description="The slug of the client.", examples=["nike"])]
Entity = Annotated[
    str | None,
    Query(max_length=256, description="The id, the kind or the entity_type of what was changed."),
]
Author = Annotated[
    str | None, Query(max_length=256, description="Who made the change.", examples=["tg:7"])
]
Since = Annotated[datetime | None, Query(description="From then on; UTC where no zone is given.")]


class AuditEntry(BaseModel):
    """One changed field of one document, or one refused attempt."""

    id: int = Field(examples=[42])
    instance_id: str = Field(examples=["acme"])
    tier: str = Field(description="agent_builder, instance or client.")
    entity_type: str = Field(
        description="Of agents prompt, tool, rule or preference; else the kind of the document."
    )
    entity_id: str | None = Field(examples=["jack"])
    agent_type: str | None
    client_id: str | None
    change_type: str = Field(description="create, update, delete or refused.")
    field_changed: str | None = Field(examples=["customInstructions"])
    old_value: Any
    new_value: Any
    changed_by: str = Field(examples=["api:acme:ann"])
    change_reason: str | None
    ticket_reference: str | None
    affected_clients: list[str]
    requires_review: bool
    created_at: str | None
    kind: str
    action: str
    via: str
    support: bool = Field(description="Whether it was allowed to support staff with a reason only.")
    revision: int | None = Field(description="The revision of the document that it made.")
    detail: str | None
    api_key: str | None = Field(description="The id of the key that was shown.")
    hash: str = Field(description="Over this record and the one before it.")


class AuditPage(BaseModel):
    """Audit records, newest first. A page may have few records, or none, before the last one."""

    entries: list[AuditEntry]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class Broken(BaseModel):
    """The first record at which the chain does not hold, and why."""

    id: int
    why: str


class Verified(BaseModel):
    """Whether the audit is as it was written."""

    records: int
    holds: bool
    broken: Broken | None


class RollbackRequest(BaseModel):
    """Why the change is taken back."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(None, max_length=500, examples=["It was the wrong client"])
    ticket: str | None = Field(None, max_length=500)


class RolledBack(BaseModel):
    """What was taken back, and the revision of the document that this made."""

    audit_id: int = Field(examples=[42])
    kind: str = Field(examples=["agent"])
    entity_id: str = Field(examples=["jack"])
    field_changed: str | None
    revision: int


def add_routes(app: FastAPI) -> None:
    """Add the routes of the audit."""
    tags = docs.tags("audit")
    app.get(f"{INSTANCE}/tuning/audit", tags=tags)(account_audit)
    app.get(f"{INSTANCE}/clients/{{client_id}}/tuning/audit", tags=tags)(client_audit)
    app.post(f"{INSTANCE}/tuning/rollback/{{audit_id}}", tags=tags)(roll_back)
    app.get(AUDIT, tags=tags)(host_audit)
    app.get(f"{AUDIT}/verify", tags=tags)(verify_audit)


@needs("instance", "read", account="instance_id")
async def account_audit(
    caller: CallerDep,
    host: HostDep,
    instance_id: Account,
    entity: Entity = None,
    author: Author = None,
    since: Since = None,
    cursor: docs.Cursor = None,
    limit: docs.Limit = 50,
) -> AuditPage:
    """List the changes of an account. Those of the account `default` are the host's own, too."""
    _require_account(host, caller, instance_id)
    wanted = _wanted(entity, author, since)
    return await _page(host, caller, Target("instance", instance_id), wanted, cursor, limit)


@needs("client", "read", account="instance_id", client="client_id")
async def client_audit(
    caller: CallerDep,
    host: HostDep,
    instance_id: Account,
    client_id: Client,
    entity: Entity = None,
    author: Author = None,
    since: Since = None,
    cursor: docs.Cursor = None,
    limit: docs.Limit = 50,
) -> AuditPage:
    """List the changes of one client of an account."""
    _require_account(host, caller, instance_id)
    target = Target("client", instance_id, client_id)
    return await _page(host, caller, target, _wanted(entity, author, since), cursor, limit)


@needs_key()
async def host_audit(
    caller: CallerDep,
    host: HostDep,
    entity: Entity = None,
    author: Author = None,
    since: Since = None,
    cursor: docs.Cursor = None,
    limit: docs.Limit = 50,
) -> AuditPage:
    """List the changes of all accounts; takes a key of the whole host."""
    docs.require_whole(caller)
    return await _page(host, caller, None, _wanted(entity, author, since), cursor, limit)


def _require_account(host: Host, caller: Caller, account: str) -> None:
    """Raise the 404 of an account that nothing names yet; a key's own account is there."""
    docs.require_whole(caller)
    if account in (caller.account, DEFAULT_ACCOUNT):
        return
    document = host.catalog.snapshot().document
    named = {key.account for key in host.own_keys}
    named |= {entry.value.account for entry in document.keys.values()}
    named |= {one.account for entry in document.roles.values() for one in entry.value.grants}
    if account not in named:
        raise not_found()


def _wanted(entity: str | None, author: str | None, since: datetime | None) -> Wanted:
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    return Wanted(entity or "", author or "", since.timestamp() if since else 0.0)


async def _page(
    host: Host,
    caller: Caller,
    target: Target | None,
    wanted: Wanted,
    cursor: str | None,
    limit: int,
) -> AuditPage:
    what = f"audit:{target}:{wanted}"
    read, account = host.cursors.read, caller.account
    before = int(read(account, what, cursor)) if cursor is not None else None
    page = host.history.audit_page
    found, after = await page(caller.actor, target, wanted, before=before, count=limit)
    next_ = host.cursors.make(account, what, str(after)) if after is not None else None
    return AuditPage(entries=[_entry(record) for record in found], next=next_)


def _entry(record: AuditRecord) -> AuditEntry:
    return AuditEntry.model_validate(record.shown() | {"created_at": iso(record.at)})


@needs_key()
async def verify_audit(caller: CallerDep, host: HostDep) -> Verified:
    """Look through the whole audit for a record that was changed, taken out or put in."""
    docs.require_whole(caller)
    count, broken = await host.history.verify(caller.actor)
    found = Broken(id=broken.number, why=broken.why) if broken else None
    return Verified(records=count, holds=found is None, broken=found)


@needs_key(account="instance_id")
async def roll_back(
    caller: CallerDep,
    host: HostDep,
    instance_id: Account,
    audit_id: Annotated[int, Path(ge=1, le=2**53, description="The id of an audit record.")],
    body: RollbackRequest | None = None,
) -> RolledBack:
    """Take one change back, and no other; takes the role that the change itself would take.

    Refused where a later change touched the same field; `later` is its record.
    """
    docs.require_whole(caller)
    record = await host.history.find(caller.actor, audit_id)
    if record.account != instance_id:
        raise not_found()
    body = body or RollbackRequest()
    why = docs.why_of(caller, body.reason, body.ticket)
    number = await host.history.roll_back(caller.actor, audit_id, key=caller.change_key, why=why)
    return RolledBack(
        audit_id=audit_id,
        kind=record.kind,
        entity_id=record.entity_id,
        field_changed=record.field_changed or None,
        revision=number,
    )
