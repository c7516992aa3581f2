"""The audit: one record for each changed field, each bound to the one before by its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from registry.revisions import FieldChange, Kind, differences, json_of
from registry.roles import (
    DEFAULT_ACCOUNT,
    NO_REASON,
    Actor,
    RoleDocument,
    Target,
    Why,
    is_support,
)
from registry.stored_bot import without_token

ChangeType = Literal["create", "update", "delete", "refused"]
LONGEST_VALUE = 16_000
"""Characters of an old or new value in a record; the revisions hold the whole."""
KEPT_RECORDS = 100_000
"""The newest records stay, these and a few more; `write.lua` trims those before them."""
SHOWN_FIELDS = (
    "id",
    "instance_id",
    "tier",
    "entity_type",
    "entity_id",
    "agent_type",
    "client_id",
    "change_type",
    "field_changed",
    "old_value",
    "new_value",
    "changed_by",
    "change_reason",
    "ticket_reference",
    "affected_clients",
    "requires_review",
    "created_at",
)
"""The fields of spec 5, 9.31, in its order."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that is asked for: who, what in words, once for its idempotency `key`, and why.

    `at` is in seconds since the epoch, `detail` a sentence without secrets.
    """

    actor: Actor
    action: str
    target: str
    key: str
    at: float
    detail: str = ""
    why: Why = NO_REASON


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One record. `number` counts from 1; `previous` is the hash of the record before it.

    `revision` is the number of the document's revision that the change made. Values are JSON texts,
    '' where there is none.
    """

    number: int = 0
    account: str = DEFAULT_ACCOUNT
    tier: str = "agent_builder"
    entity_type: str = "preference"
    kind: str = ""
    entity_id: str = ""
    client_id: str = ""
    change_type: ChangeType = "update"
    field_changed: str = ""
    old_value: str = ""
    new_value: str = ""
    changed_by: str = ""
    change_reason: str = ""
    ticket_reference: str = ""
    affected_clients: tuple[str, ...] = ()
    requires_review: bool = False
    at: float = 0.0
    action: str = ""
    detail: str = ""
    via: str = ""
    api_key: str = ""
    support: bool = False
    revision: int = 0
    previous: str = ""
    hash: str = field(default="", compare=False)

    def stored(self) -> dict[str, str]:
        """The record as fields of text, without those that say nothing."""
        body = asdict(self) | {
            "at": f"{self.at:.3f}",
            "affected_clients": " ".join(self.affected_clients),
            "requires_review": "1" if self.requires_review else "",
            "support": "1" if self.support else "",
            "revision": str(self.revision or ""),
        }
        return {name: str(value) for name, value in body.items() if value != ""}

    @classmethod
    def parse(cls, fields: Mapping[str, str]) -> AuditRecord:
        """A record from its stored fields; raises ValueError where they are none."""
        known = {name: fields[name] for name in fields if name in cls.__dataclass_fields__}
        body: dict[str, Any] = {
            **known,
            "number": int(fields["number"]),
            "at": float(fields["at"]),
            "affected_clients": tuple(fields.get("affected_clients", "").split()),
            "requires_review": bool(fields.get("requires_review")),
            "support": bool(fields.get("support")),
            "revision": int(fields.get("revision") or 0),
        }
        return cls(**body)

    @classmethod
    def read(cls, number: int, fields: Mapping[str, str]) -> AuditRecord:
        """The same; a damaged one is shown as that, so that all others can be read."""
        try:
            return cls.parse(fields)
        except (ValueError, KeyError):
            cure = "it cannot be read: run `switchboard audit verify`"
            return cls(number=number, action="damaged record", detail=cure)

    def shown(self) -> dict[str, Any]:
        """The record by the names of the document (spec 5, 9.31), and ours after them."""
        agent = self.entity_id if self.kind == "agent" else None
        body = {
            "id": self.number,
            "instance_id": self.account,
            "tier": self.tier,
            "entity_type": self.entity_type,
            "entity_id": self.entity_id or None,
            "agent_type": agent,
            "client_id": self.client_id or None,
            "change_type": self.change_type,
            "field_changed": self.field_changed or None,
            "old_value": _json(self.old_value),
            "new_value": _json(self.new_value),
            "changed_by": self.changed_by,
            "change_reason": self.change_reason or None,
            "ticket_reference": self.ticket_reference or None,
            "affected_clients": list(self.affected_clients),
            "requires_review": self.requires_review,
            "created_at": self.at,
        }
        ours = {"kind": self.kind, "action": self.action, "via": self.via, "support": self.support}
        more = {"revision": self.revision or None, "detail": self.detail or None}
        return {**body, **ours, **more, "api_key": self.api_key or None, "hash": self.hash}


def _json(text: str) -> Any:
    return json_of(text) if text else None


def _digest(fields: Mapping[str, str]) -> str:
    """The hash of a record: over all of its stored fields but the hash, in canonical JSON."""
    body = {name: text for name, text in fields.items() if name != "hash"}
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def chained(
    records: Iterable[AuditRecord], last: int, previous: str, revision: int
) -> list[AuditRecord]:
    """The records numbered after the last one, each with the hash of the one before it."""
    result: list[AuditRecord] = []
    for number, record in enumerate(records, start=last + 1):
        numbered = replace(record, number=number, previous=previous, revision=revision)
        previous = _digest(numbered.stored())
        result.append(replace(numbered, hash=previous))
    return result


def records_of(
    change: Change, kind: Kind, id: str, target: Target, before: str | None, after: str | None
) -> list[AuditRecord]:
    """The records of a change of one document, one for each field that differs.

    The roles of a person are told apart by what they are about, so that the audit of one account
    says nothing of the others. The hash of a key and the token of a bot are left out, and of
    presets everything: they are private, so that a record says who has changed theirs and when.
    """
    old = None if before is None else json_of(before)
    new = None if after is None else json_of(after)
    if kind == "role":
        return _role_records(change, id, target, old, new)
    if kind == "preset":
        return [_private(_base(change, kind, id, target), before, after)]
    if kind == "key":
        old, new = _without_hash(old), _without_hash(new)
    if kind == "bot":
        old, new = without_token(old), without_token(new)
    base = _base(change, kind, id, target)
    if kind == "draft" and isinstance(old, Mapping) and isinstance(new, Mapping):
        # When it was changed last is the record's own time.
        old, new = ({k: v for k, v in one.items() if k != "at"} for one in (old, new))
        return _records(base, kind, old, new) or [base]
    waits = kind == "proposal" and after is not None
    return _records(replace(base, requires_review=waits), kind, old, new)


def _private(base: AuditRecord, before: str | None, after: str | None) -> AuditRecord:
    """One record of a change whose values only their owner may read."""
    act: ChangeType = "delete" if after is None else "create" if before is None else "update"
    return replace(base, change_type=act, entity_type=_entity("preset", None))


def _role_records(change: Change, id: str, target: Target, old: Any, new: Any) -> list[AuditRecord]:
    """The records of the roles of a person, by what each role is about."""
    try:
        was, now = _role_parts(old), _role_parts(new)
    except ValueError:  # written by hand, and no roles
        return [_base(change, "role", id, target)]
    return [
        record
        for part in {**was, **now}
        if was.get(part) != now.get(part)
        for record in _records(
            _base(change, "role", id, part), "role", was.get(part), now.get(part)
        )
    ]


def _role_parts(value: Any) -> dict[Target, Any]:
    """The roles of a person by what they are about, each part as a document of its own."""
    if value is None:
        return {}
    document = RoleDocument.model_validate(value)
    parts: dict[Target, Any] = {}
    for grant in document.grants:
        part = parts.setdefault(grant.target, {"person": document.person, "grants": []})
        part["grants"].append(grant.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    return parts


def _without_hash(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: item for name, item in value.items() if name != "hash"}


def _records(base: AuditRecord, kind: Kind, old: Any, new: Any) -> list[AuditRecord]:
    if old is None or new is None:
        kind_of_change: ChangeType = "create" if old is None else "delete"
        whole = replace(base, change_type=kind_of_change, entity_type=_entity(kind, None))
        return [replace(whole, old_value=_text(old), new_value=_text(new))]
    found = differences(old, new)
    return [
        replace(
            base,
            entity_type=_entity(kind, one),
            field_changed=one.field,
            old_value=_text(one.old),
            new_value=_text(one.new),
        )
        for one in found
    ]


def deletion(change: Change, kind: str, id: str, target: Target) -> AuditRecord:
    """The record of a deletion of what is no document."""
    return replace(_base(change, kind, id, target), change_type="delete")


def refusal(change: Change, kind: str, id: str, target: Target) -> AuditRecord:
    """The record of an attempt that was refused."""
    base = _base(change, kind, id, target)
    return replace(base, change_type="refused", action=f"refused: {change.action}")


def _base(change: Change, kind: str, id: str, target: Target) -> AuditRecord:
    return AuditRecord(
        account=target.account,
        tier=target.tier,
        kind=kind,
        entity_id=id,
        client_id=target.client or "",
        changed_by=change.actor.id,
        change_reason=change.why.said,
        ticket_reference=change.why.ticket,
        at=change.at,
        action=change.action,
        detail=change.detail,
        via=change.actor.via,
        api_key=change.actor.key,
        support=is_support(change.actor.grants, target),
    )


def _entity(kind: Kind, change: FieldChange | None) -> str:
    """The document's four entity types for agents, the kind of the document for all others."""
    if kind != "agent":
        return kind
    return change.entity if change else "prompt"


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= LONGEST_VALUE:
        return text
    return json.dumps(f"{text[:LONGEST_VALUE]}… ({len(text)} characters, see the revision)")


_MISSING = "it is missing"


@dataclass(frozen=True, slots=True)
class Broken:
    """The first record at which the chain does not hold, and why."""

    number: int
    why: str


@dataclass(slots=True)
class ChainCheck:
    """Looks through the audit, oldest first, page by page; `newest` is the number it should reach.

    The oldest record is taken as it is where those before it were trimmed.
    """

    newest: int
    count: int = 0
    broken: Broken | None = None
    last: int = 0
    hash: str = ""

    def take(self, entries: Iterable[tuple[int, Mapping[str, str]]]) -> None:
        """Look at the next stored records with their numbers."""
        for number, fields in entries:
            self.count += 1
            if self.broken is None:
                self.broken = self._broken_at(number, fields)
                self.last, self.hash = number, fields.get("hash", "")

    def _broken_at(self, number: int, fields: Mapping[str, str]) -> Broken | None:
        last = self.last
        if why := _fault(number, fields, last, self.hash):
            return Broken(number, why)
        if last and number != last + 1:
            return Broken(last + 1, _MISSING)
        if not last and number > 1 and self.newest - number + 1 < KEPT_RECORDS:
            return Broken(number - 1, _MISSING)
        return None

    def end(self, head: tuple[int, str]) -> Broken | None:
        """The first record that was changed, taken out or put in; None where all of them hold.

        `head` is the number and the hash of the newest one.
        """
        last = self.last
        if self.broken is not None:
            return self.broken
        if head == (last, self.hash) or (not last and not head[0]):
            return None
        if last < head[0]:
            return Broken(last + 1, _MISSING)
        if last > head[0] > 0:
            return Broken(head[0] + 1, "it was added past the newest record that was written")
        return Broken(last, "it is not the newest record that was written")


def _fault(number: int, fields: Mapping[str, str], last: int, before: str) -> str:
    """What is wrong with a record, by the number and the hash of the one before it; '' if well."""
    if number <= last:
        return "there is another record with its number: one was put in"
    if fields.get("number") != str(number) or _digest(fields) != fields.get("hash"):
        return "its fields do not match its hash: it was changed"
    if number == last + 1 and last and fields.get("previous") != before:
        return "it does not follow the record before it: one of them was changed"
    return ""
