"""Who changed what, and how to take it back, from a chat: /audit, /rollback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.command import (
    READ_AUDIT,
    WRITE_DOCUMENTS,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    escape_markdown,
    paragraphs,
    split_reason,
)
from bot.commands.host import AdminContext, ago
from bot.commands.versions import author, because, bot_number, restore
from registry.audit import AuditRecord
from registry.revisions import KINDS
from registry.roles import Actor, Target, verdict

MAX_SHOWN = 15
PAGE = 500
MAX_SEARCHED = 5_000
"""Records that are looked through for those of an agent or a person; then the reply says so."""
MAX_VALUE = 60
HOW = "Write /audit [AGENT | PERSON | bot ID] [N more]; N more are those before record N."
HOW_TO_ROLL_BACK = (
    "Write /rollback N with the number of a record that /audit shows, or /rollback AGENT N with "
    "that of a version that /versions AGENT shows."
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which records: those before a number, of a person or of a document."""

    about: str = ""
    before: int | None = None
    kind: str = ""

    def fits(self, record: AuditRecord) -> bool:
        """Whether a record is wanted."""
        if self.kind and record.kind not in ("", self.kind):  # refusals have none
            return False
        names = (record.entity_id, record.changed_by, f"tg:{self.about}")
        return not self.about or self.about in names[:2] or record.changed_by == names[2]

    @property
    def typed(self) -> str:
        """The words after /audit."""
        return "".join(f"{word} " for word in (self.kind, self.about) if word)


def _wanted(words: Sequence[str]) -> _Wanted | None:
    before = None
    if words[-1:] == ["more"] and len(words) > 1 and words[-2].isdecimal():
        before, words = int(words[-2]), words[:-2]
    kind = words[0].lower() if len(words) == 2 and words[0].lower() in KINDS else ""
    words = words[1:] if kind else words
    if len(words) > 1:
        return None
    return _Wanted(words[0] if words else "", before, kind)


@command(
    "audit",
    "show who changed what, and who was refused",
    needs=READ_AUDIT,
    usage="[AGENT | PERSON | bot ID] [N more]",
    concurrent=True,
)
async def audit(host: AdminContext, context: CommandContext) -> CommandResult:
    """List the newest records of the audit, or those of an agent or a person."""
    wanted = _wanted(context.words)
    if wanted is None:
        return Reply(escape_markdown(HOW))
    if wanted.about.startswith("@"):
        wanted = replace(wanted, about=bot_number(host, wanted.about))
    found, last = await _records(host, host.actor(context), wanted)
    now = host.catalog.wall()
    lines = [_line(record, now) for record in found[:MAX_SHOWN]]
    if not lines:
        return Reply("There is no such record." if wanted.about else "There are no records yet.")
    more = ""
    if last:
        older = escape_markdown(f"/audit {wanted.typed}{last} more")
        more = f"{older} shows older ones."
    return Reply(paragraphs("\n".join(lines), more))


async def _records(
    host: AdminContext, actor: Actor, wanted: _Wanted
) -> tuple[list[AuditRecord], int]:
    """The wanted records that the actor may read, newest first; the last number, if there are more.

    An admin of the host reads all; others those of the accounts in which they may read.
    """
    found: list[AuditRecord] = []
    before, searched = wanted.before, 0
    while searched < MAX_SEARCHED:
        page = await _page(host, actor, before)
        for record in page:
            if wanted.fits(record):
                found.append(record)
            if len(found) > MAX_SHOWN:
                return found, found[MAX_SHOWN - 1].number
        if len(page) < PAGE:
            return found, 0
        before, searched = page[-1].number, searched + len(page)
    return found, before or 0


async def _page(host: AdminContext, actor: Actor, before: int | None) -> list[AuditRecord]:
    history = host.history
    if any(grant.scope == "host" for grant in actor.grants):
        return await history.host_audit(actor, before=before, count=PAGE)
    found: list[AuditRecord] = []
    for account in sorted({grant.account for grant in actor.grants}):
        target = Target("instance", account)
        if verdict(actor.grants, "read", target) == "yes":
            found += await history.audit(actor, target, before=before, count=PAGE)
    return sorted(found, key=lambda record: -record.number)[:PAGE]


def _line(record: AuditRecord, now: float) -> str:
    """A record in a line: when, who, what, from what to what, and why."""
    place = record.detail.removeprefix("from ") if record.changed_by == "file" else ""
    who = author(record.changed_by, place)
    what = f"{escape_markdown(record.action)} {code(record.entity_id)}" if record.entity_id else ""
    field = f": {code(record.field_changed)}" if record.field_changed else ""
    change = _values(record)
    marks = " · support" if record.support else ""
    waits = " · needs a review" if record.requires_review else ""
    why = because(record.change_reason, record.ticket_reference)
    when = ago(max(0.0, now - record.at))
    return f"• {code(str(record.number))} {when} {who}: {what}{field}{change}{why}{marks}{waits}"


def _values(record: AuditRecord) -> str:
    """From what to what a field was changed; of refusals and whole documents, what is told."""
    if record.field_changed or record.kind == "default":
        return f" {_short(record.old_value)} → {_short(record.new_value)}"
    tells = record.changed_by != "file" and record.detail
    return f" {escape_markdown(record.detail)}" if tells else ""


def _short(text: str) -> str:
    text = text.strip('"')
    return code(text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…") if text else "nothing"


@command(
    "rollback",
    "take back one change of the audit, or go back to a version",
    needs=WRITE_DOCUMENTS,
    usage="N | AGENT N [because …]",
)
async def rollback(host: AdminContext, context: CommandContext) -> CommandResult:
    """Take back the change of one record, unless a later one touched the same field.

    With the name of a document the number is that of its version: see /restore.
    """
    text, why = split_reason(context.arguments)
    words = text.split()
    if len(words) > 1 and words[-1].isdecimal():
        return await restore.function(host, context)
    if len(words) != 1 or not words[0].isdecimal() or len(words[0]) > MAX_DIGITS:
        return Reply(escape_markdown(HOW_TO_ROLL_BACK))
    number, actor = int(words[0]), host.actor(context)
    record = await host.history.find(actor, number)
    made = await host.history.roll_back(actor, number, key=context.key, why=why)
    field = f"{code(record.field_changed)} of " if record.field_changed else ""
    what = f"{field}{record.kind} {code(record.entity_id)}"
    return Reply(f"Took back record {number}: {what} is as before, in version {made}.")


MAX_DIGITS = 15
