"""The audit of a running host, as tests read it."""

from __future__ import annotations

from bot.app import App
from registry.audit import AuditRecord
from registry.roles import OPERATOR_ACTOR


async def audit_of(host: App) -> list[AuditRecord]:
    """The records that a host's admins may read, newest first; not what the file brought."""
    records = await host.history.host_audit(OPERATOR_ACTOR, count=1000)
    return [record for record in records if record.via != "file"]
