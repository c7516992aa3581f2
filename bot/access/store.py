"""Roles that were granted, and requests for access, in the store."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import orjson
import structlog

from bot.access.rules import BLOCKED, ENGINEER, EVERYWHERE, MEMBER, Access, Grant, Role, Subject
from bot.messages import Address, Fence, OutboxItem, OutgoingPart
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from bot.store.outbox import dump_part, outbox_items
from registry.sources.stored_values import AUDIT, AuditEntry

log = structlog.get_logger("access")

HOUR_S = 3600
REQUEST_FOR_S = 14 * 24 * HOUR_S
REMEMBERED_FOR_S = 3 * 24 * HOUR_S
REQUESTS_AN_HOUR = 30
CLAIM_TRIES = 5
ACTIONS: Mapping[Role | None, str] = {
    MEMBER: "let in",
    BLOCKED: "block",
    ENGINEER: "make admin",
    None: "take back",
}


@dataclass(frozen=True, slots=True)
class Card:
    """The card that an admin got: over which line, and the messages that show it there."""

    line: str
    messages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A person or a group that is not let in at a bot, as admins are asked about it.

    `line` and `bot` are where they wrote, `person` is who did; `added` says that this person added
    the bot to the group `title`. `role` is what the admin named `by` decided, None while the
    request is open. `cards` are those that admins got, by the admin's id.
    """

    nonce: str
    subject: Subject
    line: str
    bot: str
    person: int
    name: str
    username: str = ""
    title: str = ""
    added: bool = False
    role: Role | None = None
    by: str = ""
    cards: Mapping[int, Card] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoleChange:
    """A role that an admin gives, or takes away (None).

    The change is made once for its `key`. `name` is what the subject is called; `nonce` names the
    request that the change answers.
    """

    subject: Subject
    role: Role | None
    by: int
    by_name: str
    key: str
    name: str = ""
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a change; `nonce` names the request that it closed.

    `done` (also where this very change was made before), `late` where another admin had answered
    the request, `absent` where there was nothing to answer or to take away.
    """

    kind: Literal["done", "late", "absent"]
    nonce: str = ""


@dataclass(slots=True, repr=False)
class AccessStore:
    """Grants in one hash, by subject, with a version that tells replicas of changes."""

    client: StoreClient
    access: Access
    _version: int = field(init=False, default=-1)
    _reading: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)

    async def refresh(self) -> None:
        """Read all grants and put them in force; raises StoreUnavailable."""
        async with self._reading:  # of two reads, the later one must win
            version = await self.client.command("GET", keys.GRANTS_VERSION)
            found = await self.client.command("HGETALL", keys.GRANTS)
            self._version = int(version or 0)
            self.access.set_grants(dict(_readable(pairs_of(found))))

    async def ensure_version(self, version: int) -> None:
        """Read the grants again unless this version is in force; raises StoreUnavailable."""
        if version != self._version:
            await self.refresh()

    async def change_role(self, change: RoleChange) -> Outcome:
        """Make a change, once for its key, and put it in force here."""
        subject = change.subject.name
        names = [keys.GRANTS, keys.GRANTS_VERSION, keys.access_request_of(subject)]
        names += [keys.REQUESTS_OPEN, keys.role_change(change.key), AUDIT]
        args: list[Any] = [subject, _body(change), change.nonce, change.role or "", change.by_name]
        args += [REMEMBERED_FOR_S, *_audit(change, ACTIONS[change.role])]
        reply = await self.client.run_idempotent("change_role", names, args)
        await self.client.retry_while_down(self.refresh)
        return Outcome(*(one.decode() for one in reply))

    async def open_request(
        self, request: AccessRequest
    ) -> AccessRequest | Literal["known", "too_many"]:
        """Open a request, or find the open one of its subject.

        "known" where the subject has a role by now, "too_many" where too many were opened lately.
        """
        subject = request.subject
        names = [keys.access_request_of(subject.name), keys.access_request(request.nonce)]
        names += [keys.REQUESTS_OPEN, keys.access_requests_lately(subject.bot), keys.GRANTS]
        args: list[Any] = [request.nonce, _dump(request), REQUEST_FOR_S, int(time.time())]
        args += [REQUESTS_AN_HOUR, subject.name, subject._replace(bot=EVERYWHERE).name]
        found = (await self.client.run_idempotent("request_access", names, args)).decode()
        if found in ("known", "too_many"):
            return found  # type: ignore[no-any-return]
        return await self.find_request(found) or "known"

    async def find_request(self, nonce: str) -> AccessRequest | None:
        """A request with its cards, open or answered a while ago."""
        found = await self.client.read("HGETALL", keys.access_request(nonce))
        fields = {name.decode(): value for name, value in pairs_of(found)}
        return _load(nonce, fields) if "what" in fields else None

    async def open_requests(self) -> Sequence[AccessRequest]:
        """All requests that are not answered, oldest first; not those of people who are admins."""
        nonces = await self.client.read("ZRANGE", keys.REQUESTS_OPEN, 0, -1)
        found = [await self.find_request(nonce.decode()) for nonce in nonces]
        waiting = [request for request in found if request and request.role is None]
        return [request for request in waiting if not self._needs_none(request.subject)]

    def _needs_none(self, subject: Subject) -> bool:
        """Whether no admin has to let somebody in: people who became admins are in."""
        return subject.kind == "person" and self.access.is_admin(subject.id)

    async def post_card(self, nonce: str, admin: int, line: str, part: OutgoingPart) -> bool:
        """Put an admin's card into a line's outbox, and notify the line's owner.

        False where the admin has one already, or the request is closed.
        """
        names = [keys.access_request(nonce), keys.outbox(line), keys.lease(line)]
        names += [keys.LINES_CHANGED, keys.LINE_CHANGES]
        args: list[Any] = [admin, line, dump_part(part)]
        return bool(await self.client.run_idempotent("post_card", names, args))

    async def card_failed(self, fence: Fence, nonce: str, admin: int) -> None:
        """Forget the card that an admin was to get over this line: it could not be delivered."""
        names = [keys.access_request(nonce)]
        await self.client.as_owner("card_failed", fence, names, admin, fence.line)

    async def refuse_stranger(
        self, fence: Fence, entry: str, address: Address, parts: Sequence[OutgoingPart]
    ) -> list[OutboxItem] | None:
        """Settle an entry, and send the parts, at most once an hour for a chat (else None)."""
        open_turn = keys.open_turn(fence.line, address.conversation)
        answered = keys.told(fence.line, address.original_id)
        names = (keys.inbox, keys.outbox, answered, open_turn)
        args = (entry, HOUR_S, *map(dump_part, parts))
        was_sent, *ids = await self.client.as_owner("refuse_stranger", fence, names, *args)
        return outbox_items(ids, parts) if was_sent else None

    async def offer_claim(self, code: str) -> None:
        """Make this the only claim code; '' means that there is none."""
        command = ("SET", keys.CLAIM, _digest(code)) if code else ("DEL", keys.CLAIM)
        await self.client.retry_while_down(lambda: self.client.command(*command))

    async def claim(self, code: str, change: RoleChange) -> Literal["done", "wrong", "too_often"]:
        """Make a person admin if they know the code; they have a few tries in an hour."""
        made, given = keys.role_change(change.key), _digest(code)
        held, done = await self.client.read("MGET", keys.CLAIM, made)
        if done is None:
            counter = keys.claim_tries(change.by)
            tries = await self.client.run_idempotent("count_within", [counter], [HOUR_S])
            if tries > CLAIM_TRIES:
                return "too_often"
        known = hmac.compare_digest(given.encode(), held or b"")
        names = [keys.CLAIM, keys.GRANTS, keys.GRANTS_VERSION, made, AUDIT]
        args = [given if known else "", change.subject.name, _body(change), REMEMBERED_FOR_S]
        args += _audit(change, "claim")
        if not await self.client.run_idempotent("claim", names, args):
            return "wrong"
        await self.client.retry_while_down(self.refresh)
        return "done"


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _audit(change: RoleChange, action: str) -> list[str]:
    kind, id, bot = change.subject
    where = f"in bot {bot}" if bot else "in all bots"
    entry = AuditEntry(str(change.by), action, f"{kind} {id}", change.key, time.time(), where)
    return [word for pair in entry.fields().items() for word in pair]


def _body(change: RoleChange) -> bytes:
    """The grant as it is stored; empty for one that is taken away."""
    if change.role is None:
        return b""
    return orjson.dumps(asdict(Grant(change.role, change.by, int(time.time()), change.name)))


def _readable(pairs: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[Subject, Grant]]:
    for name, body in pairs:
        try:
            yield Subject.parse(name.decode()), Grant(**orjson.loads(body))
        except (ValueError, TypeError) as error:
            log.error("grant.unreadable", grant=name, key=keys.GRANTS, why=str(error))


def _dump(request: AccessRequest) -> bytes:
    body = asdict(replace(request, cards={}))
    for name in ("nonce", "role", "by", "cards"):
        del body[name]
    return orjson.dumps(body | {"subject": list(request.subject)})


def _load(nonce: str, fields: Mapping[str, Any]) -> AccessRequest:
    body: dict[str, Any] = orjson.loads(fields["what"])
    body["subject"] = Subject(*body["subject"])
    role, by = (fields[name].decode() for name in ("role", "by"))
    return AccessRequest(nonce=nonce, **body, role=role or None, by=by, cards=_cards(fields))


def _cards(fields: Mapping[str, Any]) -> dict[int, Card]:
    """The admins' cards: `to:<admin>` names the line, `at:<admin>` its messages there."""
    found: dict[int, Card] = {}
    for name, value in fields.items():
        kind, _, admin = name.partition(":")
        if kind == "to":
            shown = fields.get(f"at:{admin}", b"").decode()
            numbers = tuple(int(one) for one in shown.split(",") if one)
            found[int(admin)] = Card(value.decode(), numbers)
    return found
