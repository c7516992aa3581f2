"""Writes documents with their revisions and their audit, all or nothing; reads both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from redis.asyncio import Redis

from registry.audit import AuditRecord, Broken, ChainCheck, Change, chained, records_of
from registry.errors import KeyReused, RevisionConflict
from registry.revisions import Revision
from registry.roles import Actor, Target
from registry.snapshot import revision_of
from registry.sources import stored_values as stored

_SCRIPT = (Path(__file__).parent / "write.lua").read_text("utf-8")
# All of one moment; a script, since a user of a rented store may lack transactions.
_ENDS = """
local found = {redis.call('HGET', KEYS[1], ARGV[1]), redis.call('GET', KEYS[2])}
if KEYS[3] then found[3] = redis.call('GET', KEYS[3]) end
return found
"""
_REMEMBER_SECONDS = 3 * 24 * 3600
_TRIES = 200
_PAGE = 1_000
_VERIFY_TRIES = 20
KEPT_REVISIONS = 1_000
"""Of one document; older ones go, and the numbers go on."""
KEPT_OF_PRESETS = 200
"""The same of the presets of one person, who may be a stranger."""
DELETED = "-"
"""In place of the hash of a document that is not there."""
BY_HAND = Actor("store", via="store")
"""Who wrote a value that was SET or deleted in Redis by hand."""

Records = Callable[[str | None], Sequence[AuditRecord]]
"""The records of a change, from the text that was there before it."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest revision of a document; number 0 where there is none yet."""

    number: int = 0
    hash: str = DELETED

    @classmethod
    def parse(cls, raw: Any) -> Head:
        """A head as it is stored."""
        number, _, rest = _text(raw or "").partition(" ")
        return cls(int(number), rest) if number.isdecimal() else cls()

    @property
    def stored(self) -> str:
        """As `parse` reads it; '' for none."""
        return f"{self.number} {self.hash}" if self.number else ""


@dataclass(frozen=True, slots=True)
class NewRevision:
    """A revision that is to be written; `text` is what the history keeps."""

    text: str | None
    hash: str
    change: Change
    place: str = ""
    masked: bool = False

    def body(self, number: int) -> str:
        """The revision as JSON."""
        change = self.change
        fields: dict[str, Any] = {
            "n": number,
            "hash": self.hash,
            "text": self.text,
            "by": change.actor.id,
            "at": round(change.at, 3),
            "reason": change.why.said,
            "ticket": change.why.ticket,
            "via": change.actor.via,
            "place": self.place,
            "masked": self.masked,
        }
        kept = {name: value for name, value in fields.items() if value or name == "text"}
        return json.dumps(kept, ensure_ascii=False)


class RevisionStore:
    """The one script that changes documents, their histories and the audit chain.

    `client` answers in bytes. Methods raise the client's errors, RevisionConflict and KeyReused.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._write_script = client.register_script(_SCRIPT)
        self._ends_script = client.register_script(_ENDS)

    # --- writing ---------------------------------------------------------------------------------

    async def write(
        self, key: str, value: str | None, expected: str | None, change: Change, target: Target
    ) -> int:
        """Write a value (None: delete it) over the expected hash (None: nothing is there).

        Returns the number of the revision; a change whose key was seen before returns that of the
        newest one, and changes nothing.
        """
        act: Literal["put", "delete"] = "delete" if value is None else "put"
        kind, id = stored.name_of(key)
        written = DELETED if value is None else revision_of(value)
        revision = NewRevision(stored.revision_text(key, value), written, change)

        def records(before: str | None) -> Sequence[AuditRecord]:
            return records_of(change, kind, id, target, before, value)

        return await self._write(act, key, value or "", expected or "", change, records, revision)

    async def see(
        self, key: str, text: str | None, held: str, change: Change, target: Target, *, place: str
    ) -> int:
        """Note what another hand wrote, unless the history ends with it; the newest number.

        `text` is what may be kept of the value, `held` the hash of the value itself.
        """
        kind, id = stored.name_of(key)
        last = await self.history(key, 1)
        before = last[0].text if last else None
        revision = NewRevision(text, held, change, place, masked=text is not None and bool(place))
        records = records_of(change, kind, id, target, before, text)
        # What was SET by hand may have been replaced meanwhile: then there is nothing to note.
        there = "" if place else held
        return await self._write("seen", key, "", there, change, lambda _before: records, revision)

    async def record(self, record: AuditRecord, change: Change) -> None:
        """Write an audit record alone, once for the change's key."""
        await self._write("record", stored.AUDIT, "", "", change, lambda _before: [record], None)

    async def replayed(self, change: Change, fingerprint: str) -> bool:
        """Whether this change was made before; raises KeyReused where its key made another one."""
        made = await self._client.get(stored.REPLAY + change.key)
        if made is not None and _text(made) != fingerprint:
            raise KeyReused(f"the key of this {change.action} made another change before")
        return made is not None

    async def is_known(self, key: str) -> bool:
        """Whether a change with this idempotency key was made."""
        return bool(await self._client.exists(stored.REPLAY + key))

    async def _write(
        self,
        act: Literal["put", "delete", "seen", "record"],
        key: str,
        value: str,
        expected: str,
        change: Change,
        records: Records,
        revision: NewRevision | None,
    ) -> int:
        where = change.target if act == "record" else key
        made = stored.fingerprint(change.action, where, value)
        keys = [key, stored.AUDIT, stored.AUDIT_HEAD, stored.REPLAY + change.key]
        keys += [stored.history_of(key), stored.HEADS]
        for _ in range(_TRIES):
            before, head, audit = await self._ends(key, act)
            if act == "seen" and revision is not None and head.hash == revision.hash:
                return head.number
            if act in ("put", "delete") and not self._is_seen(before, head):
                await self.see_by_hand(key, before)
                continue
            number = head.number + 1 if revision else 0
            last, previous = _audit_end(audit)
            added = chained(records(before), last, previous, number)
            newest = f"{added[-1].number} {added[-1].hash}" if added else ""
            ends = [audit, newest, key, head.stored]
            ends += (
                [Head(number, revision.hash).stored, revision.body(number)]
                if revision
                else ["", ""]
            )
            remember = "" if act == "seen" else _REMEMBER_SECONDS
            kept = KEPT_OF_PRESETS if key.startswith(stored.PRESET) else KEPT_REVISIONS
            args: list[Any] = [act, value, expected, made, remember, *ends, kept]
            for record in added:
                words = [word for pair in record.stored().items() for word in pair]
                args += [record.number, len(words), *words]
            answer = _text(await self._write_script(keys=keys, args=args))
            if answer == "moved":
                continue
            if answer == "conflict":
                raise RevisionConflict(f"somebody else has just changed {change.target}")
            if answer == "reused" and act != "record":
                raise KeyReused(f"the key of this {change.action} made another change before")
            return number if answer == "done" else head.number
        raise RevisionConflict(f"too many others are changing {change.target}; try again")

    async def _ends(self, key: str, act: str) -> tuple[str | None, Head, str]:
        """What is at a key, the newest revision of it, and the end of the audit."""
        value = key if act in ("put", "delete") else ""
        keys = [stored.HEADS, stored.AUDIT_HEAD, *filter(None, [value])]
        head, audit, *found = await self._ends_script(keys=keys, args=[key])
        before = found[0] if found else None
        text = None if before is None else _text(before)
        return text, Head.parse(head), _text(audit or "")

    @staticmethod
    def _is_seen(before: str | None, head: Head) -> bool:
        return (DELETED if before is None else revision_of(before)) == head.hash

    async def see_by_hand(self, key: str, text: str | None) -> int:
        """Note a value that was SET, or deleted, in Redis."""
        _, id = stored.name_of(key)
        at = (await self._client.time())[0]
        change = Change(
            BY_HAND, "set by hand" if text is not None else "delete by hand", id, "", at
        )
        held = DELETED if text is None else revision_of(text)
        target = stored.target_of(key, text)
        return await self.see(key, stored.revision_text(key, text), held, change, target, place="")

    # --- reading ---------------------------------------------------------------------------------

    async def history(
        self, key: str, count: int = KEPT_REVISIONS, before: int | None = None
    ) -> list[Revision]:
        """The newest revisions of a document, newest first, those before a number."""
        end = -1
        if before is not None:
            (head,) = await self.heads([key])
            end = -1 - max(0, head.number - before + 1)
        found: Any = await self._client.lrange(stored.history_of(key), end - count + 1, end)
        revisions = [_revision(json.loads(raw)) for raw in reversed(found)]
        return [one for one in revisions if before is None or one.number < before]

    async def heads(self, keys: Sequence[str]) -> list[Head]:
        """The newest revision of each document."""
        if not keys:
            return []
        found: Any = await self._client.hmget(stored.HEADS, list(keys))
        return [Head.parse(raw) for raw in found]

    async def deleted(self, prefix: str, most: int) -> list[str]:
        """What follows a prefix in the keys of the documents that were deleted, in order."""
        found: set[str] = set()
        async for key, raw in self._client.hscan_iter(stored.HEADS, f"{prefix}*", 1000):
            if Head.parse(raw).hash == DELETED:
                found.add(_text(key).removeprefix(prefix))
        return sorted(found)[:most]

    async def audit(self, before: int | None = None, count: int = 100) -> list[AuditRecord]:
        """Audit records, newest first, those before a number."""
        end = "+" if before is None else f"({before}-0"
        found: Any = await self._client.xrevrange(stored.AUDIT, end, "-", count=count)
        return [AuditRecord.read(_number(id), _fields(raw)) for id, raw in found]

    async def find(self, number: int) -> AuditRecord | None:
        """An audit record by its number."""
        found: Any = await self._client.xrange(stored.AUDIT, f"{number}-0", f"{number}-0")
        return AuditRecord.read(number, _fields(found[0][1])) if found else None

    async def audit_after(self, number: int) -> AsyncIterator[AuditRecord]:
        """The records after a number, oldest first."""
        async for at, fields in self._pages(number):
            yield AuditRecord.read(at, fields)

    async def verify(self) -> tuple[int, Broken | None]:
        """How many records the audit holds, and the first one that does not hold.

        One page at a time is in memory, and is looked at in a thread.
        """
        head = await self._audit_head()
        check, last = ChainCheck(head[0]), "0-0"
        for _ in range(_VERIFY_TRIES):
            full = True
            while full:
                page: Any = await self._client.xrange(stored.AUDIT, f"({last}", "+", count=_PAGE)
                entries = [(_number(id), _fields(raw)) for id, raw in page]
                await asyncio.to_thread(check.take, entries)
                last, full = _text(page[-1][0]) if page else last, len(page) == _PAGE
            head = await self._audit_head()
            if head[0] <= check.last or check.broken:  # else something was written meanwhile
                break
        return check.count, check.end(head)

    async def _audit_head(self) -> tuple[int, str]:
        return _audit_end(_text(await self._client.get(stored.AUDIT_HEAD) or ""))

    async def _pages(self, after: int) -> AsyncIterator[tuple[int, Mapping[str, str]]]:
        last = f"{after}-0"
        while True:
            page: Any = await self._client.xrange(stored.AUDIT, f"({last}", "+", count=_PAGE)
            for id, raw in page:
                last = _text(id)
                yield _number(id), _fields(raw)
            if len(page) < _PAGE:
                return


def _audit_end(stored_head: str) -> tuple[int, str]:
    number, _, rest = stored_head.partition(" ")
    return (int(number), rest) if number.isdecimal() else (0, "")


def _number(id: Any) -> int:
    """The number of a record, from its id in the stream."""
    return int(_text(id).partition("-")[0])


def _fields(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in raw.items()}


def _revision(body: Mapping[str, Any]) -> Revision:
    return Revision(
        number=int(body["n"]),
        hash=str(body["hash"]),
        text=body["text"],
        by=str(body.get("by", "")),
        at=float(body.get("at", 0.0)),
        reason=str(body.get("reason", "")),
        ticket=str(body.get("ticket", "")),
        via=str(body.get("via", "")),
        place=str(body.get("place", "")),
        masked=bool(body.get("masked")),
    )


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
