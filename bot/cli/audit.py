"""`switchboard audit | reviews`: what was changed, by whom and why, and what waits for approval."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import AsyncIterator
from typing import Any

from bot.cli.documents import said_why
from bot.cli.registry import ACTOR, Registry, Said, table, time_of, why_of
from registry.audit import AuditRecord
from registry.reviews import Reviews

_PAGE = 500
_LONGEST = 60


async def list_records(registry: Registry, given: Namespace) -> Said:
    """The newest records, newest first; those of an account, a document or a person alone."""
    found: list[AuditRecord] = []
    async for record in _records(registry):
        if len(found) >= given.count:
            break
        if _fits(record, given):
            found.append(record)
    return Said([*table(map(_row, found))] or ["no records"], [one.shown() for one in found])


async def _records(registry: Registry) -> AsyncIterator[AuditRecord]:
    before = None
    while True:
        page = await registry.history.host_audit(ACTOR, before=before, count=_PAGE)
        for record in page:
            yield record
        if len(page) < _PAGE:
            return
        before = page[-1].number


def _fits(record: AuditRecord, given: Namespace) -> bool:
    if given.account is not None and record.account != given.account:
        return False
    if given.entity is not None and record.entity_id != given.entity:
        return False
    return given.by is None or record.changed_by == given.by


def _row(record: AuditRecord) -> list[str]:
    what = f"{record.action} {record.entity_id}".strip()
    change = record.field_changed or record.detail
    why = said_why(record.change_reason, record.ticket_reference)
    at = time_of(record.at)
    return [str(record.number), at, record.changed_by, what, change[:_LONGEST], why]


async def show_record(registry: Registry, given: Namespace) -> Said:
    """One record, with what was there before and after."""
    body = (await registry.history.find(ACTOR, given.number)).shown()
    body["created"] = time_of(body["created_at"])
    known = {name: value for name, value in body.items() if value not in (None, [], "", False)}
    return Said([f"{name}: {_text(value)}" for name, value in known.items()], body)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


async def verify(registry: Registry, _given: Namespace) -> Said:
    """Whether the chain holds; names the first record that does not, with exit code 1."""
    count, broken = await registry.history.verify(ACTOR)
    data = {
        "records": count,
        "broken": {"number": broken.number, "why": broken.why} if broken else None,
    }
    if broken is None:
        return Said([f"the audit holds: {count} records, each follows the one before it"], data)
    return Said([f"record {broken.number} does not hold: {broken.why}"], data, 1)


async def roll_back(registry: Registry, given: Namespace) -> Said:
    """Take back the change of one record, unless a later one touched the same field."""
    record = await registry.history.find(ACTOR, given.number)
    key, why = registry.key("rollback"), why_of(given)
    revision = await registry.history.roll_back(ACTOR, given.number, key=key, why=why)
    what = f"{record.kind} {record.entity_id}"
    what += f", {record.field_changed}" if record.field_changed else ""
    line = f"took back record {given.number} ({what}), as revision {revision}"
    data = {"record": given.number, "kind": record.kind, "id": record.entity_id}
    return Said([line], {**data, "field": record.field_changed or None, "revision": revision})


# --- reviews --------------------------------------------------------------------------------------


async def list_reviews(registry: Registry, _given: Namespace) -> Said:
    """What waits, oldest first; a named person approves it in a chat or over HTTP."""
    waiting = Reviews(registry.catalog).open()
    rows = [
        [
            one.agent,
            time_of(one.at),
            one.by,
            f"waits for {' and '.join(one.missing)}",
            said_why(one.reason, one.ticket),
        ]
        for one in waiting
    ]
    data = [{**one.model_dump(mode="json"), "missing": [*one.missing]} for one in waiting]
    return Said([*table(rows)] or ["no change waits for a second person"], data)


async def reject_review(registry: Registry, given: Namespace) -> Said:
    """Drop a change; the agent stays as it is."""
    key, why = registry.key("reject"), why_of(given)
    await Reviews(registry.catalog).reject(ACTOR, given.agent, key=key, why=why)
    return Said([f"rejected the change of agent {given.agent}"], {"agent": given.agent})
