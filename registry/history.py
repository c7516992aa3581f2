"""What documents were: revisions, differences, restores, the audit, rollbacks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from registry import errors
from registry.audit import AuditRecord, Broken, Change
from registry.catalog import (
    BOT_STAYS,
    Catalog,
    key_in,
    owns_presets,
    roles_in,
    roles_text,
)
from registry.profile_rules import NOUNS
from registry.revisions import (
    FieldChange,
    Kind,
    Revision,
    differences,
    json_of,
    overlap,
    steps_of,
    with_field,
)
from registry.roles import NO_REASON, Actor, Target, Tier, Why, sees_grant
from registry.secrets import redact
from registry.snapshot import PACKAGED, UNWRITTEN, Entry, Snapshot, revision_of
from registry.sources import stored_values as stored
from registry.sources.revision_store import DELETED, KEPT_REVISIONS

_log = structlog.get_logger("registry")
BY_FILE = Actor("file", via="file")
"""Who wrote what the operator's file or environment says."""
_BATCH = 500
_PAUSE_SECONDS = 1.0
AUDIT_LOOKED_AT = 5_000
"""Records that one question to the audit reads at most."""
_CLOCKS_APART_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two revisions of a document, by section."""

    old: Revision
    new: Revision
    changes: Sequence[FieldChange]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which audit records are wanted: of one entity, by one author, from a time on (seconds)."""

    entity: str = ""
    author: str = ""
    since: float = 0.0

    def has(self, record: AuditRecord) -> bool:
        """Whether a record is wanted; an entity is given by its id, its kind or its type."""
        names = (record.entity_id, record.kind, record.entity_type)
        if self.entity and self.entity not in names:
            return False
        return (not self.author or self.author == record.changed_by) and record.at >= self.since


@dataclass(eq=False, slots=True)
class History:
    """Reads and restores revisions over a catalog; asks the roles before it shows anything.

    A host notes what its file brought. The command line, which may see another file, leaves that
    to it (`is_host`).
    """

    catalog: Catalog
    is_host: bool = True
    _seen: dict[str, str] = field(default_factory=dict, init=False)

    # --- revisions -------------------------------------------------------------------------------

    async def revisions(
        self,
        actor: Actor,
        kind: Kind,
        id: str,
        *,
        before: int | None = None,
        count: int = KEPT_REVISIONS,
    ) -> list[Revision]:
        """The revisions of a document before a number, newest first; [] where there was never one.

        What was SET by hand a moment ago is noted first. Of a person's roles only those are there
        that the actor may see, and only the revisions that changed them.
        """
        where = await self._readable(actor, kind, id)
        async with self.catalog.writable.using(where) as store:
            await self._note([where])
            if kind != "role":
                return await store.history(where, count, before)
            found = _seen_roles(actor, id, await store.history(where))
        return [one for one in found if before is None or one.number < before][:count]

    async def revision(self, actor: Actor, kind: Kind, id: str, number: int) -> Revision:
        """One revision of a document; raises NotThere."""
        found = await self.revisions(actor, kind, id, before=number + 1, count=1)
        if found and found[0].number == number:
            return found[0]
        kept = await self.revisions(actor, kind, id)
        if not kept and (why := unwritten(self.catalog.snapshot(), kind, id)):
            raise errors.NotThere(why)
        there = f"; there are {kept[-1].number} to {kept[0].number}" if kept else ""
        raise errors.NotThere(f"{kind} '{id}' has no revision {number}{there}")

    async def diff(self, actor: Actor, kind: Kind, id: str, old: int, new: int) -> Diff:
        """What differs between two revisions; raises NotThere."""
        a = await self.revision(actor, kind, id, old)
        b = await self.revision(actor, kind, id, new)
        return Diff(a, b, differences(a.value or {}, b.value or {}))

    async def since(self, actor: Actor, kind: Kind, id: str, old: str) -> Sequence[FieldChange]:
        """What changed since the revision with this hash; () where it is not known."""
        found = await self.revisions(actor, kind, id)
        base = next((revision for revision in found if revision.hash == old), None)
        return differences(base.value or {}, found[0].value or {}) if base else ()

    async def restore(
        self,
        actor: Actor,
        kind: Kind,
        id: str,
        number: int,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> int:
        """Make an old revision the newest one; the number of the new revision.

        Raises NotThere, Owned, Denied, DocumentErrors, or Unrestorable where its secrets were
        masked.
        """
        if kind == "bot":
            raise errors.Unrestorable(BOT_STAYS)
        wanted = await self.revision(actor, kind, id, number)
        if wanted.masked:
            message = f"revision {number} came from {wanted.place}, and its secrets were left out"
            raise errors.Unrestorable(f"{message}; put it back there")
        reason = why.noted(f"restore of revision {number}")
        catalog = self.catalog
        if kind == "role":
            roles = roles_in(id, wanted.text)
            set_roles = catalog.set_roles
            written = await set_roles(actor, id, roles, key=key, expected=expected, why=reason)
            return written.number
        return await catalog.write_document(
            actor, kind, id, wanted.text, key=key, expected=expected, why=reason
        )

    # --- the audit -------------------------------------------------------------------------------

    async def audit(
        self,
        actor: Actor,
        target: Target,
        *,
        before: int | None = None,
        count: int = 100,
    ) -> list[AuditRecord]:
        """The records of an account (or of one client of it), newest first; raises Denied.

        For the account `default` these are those of the whole host too, core agents included.
        """
        await self.catalog.require(actor, "read", target, "read the audit")
        found: list[AuditRecord] = []
        async with self.catalog.writable.using() as store:
            while len(found) < count:
                page = await store.audit(before, _BATCH)
                found += [record for record in page if _is_of(record, target)]
                if len(page) < _BATCH:
                    break
                before = page[-1].number
        return found[:count]

    async def audit_page(
        self,
        actor: Actor,
        target: Target | None,
        wanted: Wanted,
        *,
        before: int | None = None,
        count: int = 100,
    ) -> tuple[list[AuditRecord], int | None]:
        """Records of an account, a client, or (None) of all accounts, newest first; raises Denied.

        With them comes where to go on, None at the end. A call looks at `AUDIT_LOOKED_AT` records
        at most, so it may find fewer than there are, or none.
        """
        if target is None:
            self._require_host(actor)
        else:
            await self.catalog.require(actor, "read", target, "read the audit")
        found: list[AuditRecord] = []
        for _ in range(AUDIT_LOOKED_AT // _BATCH):
            async with self.catalog.writable.using() as store:
                page = await store.audit(before, _BATCH)
            for record in page:
                if record.at < wanted.since - _CLOCKS_APART_SECONDS:
                    return found, None
                before = record.number
                if (target is None or _is_of(record, target)) and wanted.has(record):
                    found.append(record)
                    if len(found) == count:
                        return found, before
            if len(page) < _BATCH:
                return found, None
        return found, before

    async def host_audit(
        self, actor: Actor, *, before: int | None = None, count: int = 100
    ) -> list[AuditRecord]:
        """The records of all accounts, newest first; only for admins of the host."""
        self._require_host(actor)
        async with self.catalog.writable.using() as store:
            return await store.audit(before, count)

    async def verify(self, actor: Actor) -> tuple[int, Broken | None]:
        """How many records there are, and the first one that does not hold."""
        self._require_host(actor)
        async with self.catalog.writable.using() as store:
            return await store.verify()

    async def find(self, actor: Actor, number: int) -> AuditRecord:
        """One record; NotThere where it is not there, or of an account that is not theirs."""
        async with self.catalog.writable.using() as store:
            record = await store.find(number)
        if record is not None:
            with suppress(errors.Denied):
                await self.catalog.require(actor, "read", _target(record), "read the audit")
                return record
        raise errors.NotThere(f"there is no audit record {number}")

    async def roll_back(self, actor: Actor, number: int, *, key: str, why: Why = NO_REASON) -> int:
        """Take back the change of one audit record, as a new revision, whose number is returned.

        Raises Trampled where a later change touched the same field, naming it.
        """
        record = await self.find(actor, number)
        if record.change_type == "refused" or not record.revision:
            raise errors.Unrestorable(f"record {number} changed no document")
        kind: Kind = record.kind  # type: ignore[assignment]
        where = stored.key_of(kind, record.entity_id)
        if not await self.catalog.was_made(key):
            await self._refuse_trampling(record)
        async with self.catalog.writable.using(where) as store:
            history = {one.number: one for one in await store.history(where)}
        before = history.get(record.revision - 1)
        if record.revision > 1 and before is None:
            raise errors.Unrestorable(f"what was there before record {number} is no longer kept")
        text = await self._without(where, record, before)
        reason = why.noted(f"rollback of record {number}")
        return await self.catalog.write_document(
            actor, kind, record.entity_id, text, key=key, why=reason, action="roll back"
        )

    async def _without(
        self, where: str, record: AuditRecord, before: Revision | None
    ) -> str | None:
        """The document as it is now, without the change of a record."""
        if record.kind == "role":
            part, id = _target(record), record.entity_id
            now = roles_in(id, await self.catalog.writable.text(where))
            was = roles_in(id, before.text if before else None)
            kept = [one for one in now if one.target != part]
            return roles_text(id, [*kept, *(one for one in was if one.target == part)])
        if not record.field_changed:
            return before.text if before else None
        current = json_of(await self.catalog.writable.text(where) or "{}")
        value: Any = before.value if before else {}
        for step in steps_of(record.field_changed):
            value = value.get(step) if isinstance(value, Mapping) else None
        return json.dumps(with_field(current, record.field_changed, value), ensure_ascii=False)

    async def _refuse_trampling(self, record: AuditRecord) -> None:
        async with self.catalog.writable.using() as store:
            async for later in store.audit_after(record.number):
                same = (later.kind, later.entity_id) == (record.kind, record.entity_id)
                if record.kind == "role":
                    same = same and _target(later) == _target(record)
                if later.revision in (0, record.revision) or not same:
                    continue
                if overlap(later.field_changed, record.field_changed):
                    raise errors.Trampled(record.number, later.number, later.changed_by)

    async def _readable(self, actor: Actor, kind: Kind, id: str) -> str:
        """The key of a document that the actor may read; raises Denied."""
        where = stored.key_of(kind, id)
        if kind == "role":  # which of them, is asked for each
            return where
        if kind == "preset":
            if not owns_presets(actor, id):
                raise errors.NotThere(f"there is no preset of '{id[:100]}' that you may see")
            return where
        text = await self.catalog.writable.text(where) if kind in ("key", "bot") else None
        if kind == "key" and text and not sees_grant(actor.grants, key_in(id, text).grant):
            raise errors.Denied("you may not read the history of this key")
        is_binding = kind == "binding"
        target = self.catalog.target_of_slot(id) if is_binding else stored.target_of(where, text)
        await self.catalog.require(actor, "read", target, f"read the history of a {kind}")
        return where

    @staticmethod
    def _require_host(actor: Actor) -> None:
        if not any(grant.scope == "host" for grant in actor.grants):
            raise errors.Denied("you may not read the audit of the whole host: only its admins may")

    # --- what other hands wrote ------------------------------------------------------------------

    async def follow(self) -> None:
        """Give each document that another hand wrote a revision when it is first seen; for ever."""
        changed = asyncio.Event()
        changed.set()
        end = self.catalog.subscribe(lambda _snapshot: changed.set())
        try:
            while True:
                await changed.wait()
                changed.clear()
                try:
                    await self.note_all()
                except errors.RegistryError as error:
                    _log.warning("history.waits", error=str(error))
                    await asyncio.sleep(_PAUSE_SECONDS)
                    changed.set()
        finally:
            end()

    async def note_all(self) -> None:
        """Give a revision to each document whose history does not end with what is in force."""
        snapshot = self.catalog.snapshot()
        now = {where: entry.revision for where, entry in documents_in(snapshot)}
        gone = [where for where in self._seen if where not in now]
        wanted = [where for where, held in now.items() if self._seen.get(where) != held] + gone
        for start in range(0, len(wanted), _BATCH):
            await self._note(wanted[start : start + _BATCH])
        self._seen = now

    async def _note(self, keys: Sequence[str]) -> None:
        """Give these documents a revision where another hand wrote them."""
        entries = dict(documents_in(self.catalog.snapshot(), keys))
        heads = await self.catalog.heads(keys)
        for where, head in zip(keys, heads, strict=True):
            entry = entries.get(where)
            held = entry.revision if entry else DELETED
            if head.hash == held or (entry is not None and entry.operator and not self.is_host):
                continue
            async with self.catalog.writable.using(where) as store:
                if entry is not None and entry.operator:
                    await store.see(
                        where,
                        kept_text(entry.value),
                        held,
                        self._loaded(where, entry),
                        stored.target_of(where, None),
                        place=entry.place,
                    )
                else:
                    text = await self.catalog.writable.text(where)
                    if text is None and not self.is_host:
                        newest = await store.history(where, 1)
                        if newest and newest[0].by == BY_FILE.id:
                            continue
                    if (entry is None) is (text is None):  # else it is changing at this moment
                        await store.see_by_hand(where, text)

    def _loaded(self, where: str, entry: Entry[Any]) -> Change:
        _, id = stored.name_of(where)
        return Change(BY_FILE, "load", id, "", self.catalog.wall(), f"from {entry.place}")


def unwritten(snapshot: Snapshot, kind: Kind, id: str) -> str:
    """Why something that is in force has no versions: nobody here wrote it. '' otherwise."""
    entry: Entry[Any] | None
    match kind:
        case "default":
            entry = snapshot.document.default_agent_id
        case "profile":
            entry = snapshot.profile(id)
        case "llm-config":
            entry = snapshot.llm_config(id)
        case _:
            document = snapshot.document
            instance = document.instances.get(id) if kind == "instance" else None
            entry = document.agents.get(id) if kind == "agent" else instance
    if entry is None or entry.document not in UNWRITTEN:
        return ""
    if kind == "default":
        return f"'{entry.value}' is the default agent as the only one, so this has no versions"
    what = f"{NOUNS.get(kind, kind)} '{id}'"
    if entry.document == PACKAGED:
        return f"{what} comes with the package and has no versions here"
    return f"{what} has just the name of its bot, which nobody wrote here: it has no versions"


def documents_in(
    snapshot: Snapshot, keys: Sequence[str] | None = None
) -> Iterator[tuple[str, Entry[Any]]]:
    """The documents in force by their keys, with a revision each; all of them, or these."""
    document = snapshot.document
    groups: Mapping[str, Mapping[str, Entry[Any]]] = {
        stored.DEFINITION: document.agents,
        stored.INSTANCE: document.instances,
        stored.PROFILE: document.profiles,
        stored.LLM_CONFIG: document.llm_configs,
        stored.BINDING: document.bindings,
        stored.ROLE: document.roles,
        stored.API_KEY: document.keys,
        stored.ACCESS: document.access,
        stored.PROPOSAL: document.proposals,
        stored.PRESET: document.presets,
        stored.BOT: document.bots,
        stored.DRAFT: document.drafts,
    }
    default = document.default_agent_id
    named = {stored.DEFAULT: default} if default else {}
    if keys is None:
        every = ((p + id, entry) for p, group in groups.items() for id, entry in group.items())
        found: Iterator[tuple[str, Entry[Any]]] = iter([*every, *named.items()])
    else:
        wanted = [(key, _entry_of(groups, named, key)) for key in keys]
        found = ((key, entry) for key, entry in wanted if entry is not None)
    for where, entry in found:
        if entry.document not in UNWRITTEN:
            yield where, entry if entry.revision else _with_revision(entry)


def _entry_of(
    groups: Mapping[str, Mapping[str, Entry[Any]]], named: Mapping[str, Entry[Any]], key: str
) -> Entry[Any] | None:
    if key in named:
        return named[key]
    for prefix, group in groups.items():
        if key.startswith(prefix):
            return group.get(key.removeprefix(prefix))
    return None


def _is_of(record: AuditRecord, target: Target) -> bool:
    if record.account != target.account:
        return False
    return target.client is None or record.client_id == target.client


def _target(record: AuditRecord) -> Target:
    """What a record is about."""
    tier: Tier = record.tier  # type: ignore[assignment]
    return Target(tier, record.account, record.client_id or None)


def _seen_roles(actor: Actor, person: str, found: Sequence[Revision]) -> list[Revision]:
    """The revisions of roles, newest first, with those of them that an actor may see."""
    result: list[Revision] = []
    for revision in reversed(found):
        with suppress(errors.DocumentErrors):  # written by hand, and no roles
            held = roles_in(person, revision.text)
            text = roles_text(person, [one for one in held if sees_grant(actor.grants, one)])
            last = result[-1].text if result else None
            if text != last:
                held_hash = DELETED if text is None else revision_of(text)
                result.append(replace(revision, text=text, hash=held_hash))
    return result[::-1]


def _with_revision(entry: Entry[Any]) -> Entry[Any]:
    """An entry of the file with the hash of its value, which it is compared by."""
    return replace(entry, revision=revision_of(text_of(entry.value)))


def text_of(value: Any) -> str:
    """The value of an entry as it is stored."""
    return json.dumps(value) if isinstance(value, str) else str(value.to_text())


def kept_text(value: Any) -> str:
    """The text of an operator's document as the history keeps it: without secrets."""
    return json.dumps(_masked("", json_of(text_of(value))), ensure_ascii=False)


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return redact(name, value)
    if isinstance(value, Mapping):
        return {key: _masked(str(key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(name, item) for item in value]
    return value
