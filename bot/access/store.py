"""Grants and requests for access in the store, and their copy in memory."""

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

from bot.access.rules import EVERYWHERE, Access, Grant, Role, Subject
from bot.messages import Address, Fence, OutboxItem, OutgoingPart
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from bot.store.outbox import dump_part, outbox_items
from registry.keys import AUDIT, AuditEntry


@dataclass(frozen=True, slots=True)
class Card:
    """An admin's card: the line it went to, and the messages that show it there."""

    line: str
    messages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A stranger, or a group, that is to be let in at a bot.

    `line` and `bot` are where they wrote, `person` who did; `added` says that this person brought
    the bot into the group `title`. `role` is what was decided, by the admin named `by`; None while
    it is open. `cards` are those of the admins, by their ids.
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
class GrantChange:
    """A role to give, or (None) to take away: by whom, and the entry that `key` names for good.

    `name` is what the subject is called. `nonce` names the request that is answered by it.
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
    """What became of a change. `nonce` names the request that it closed.

    `done` also where this very change was made before; `late` where another admin had answered;
    `absent` where there was nothing to answer or to take away.
    """

    kind: Literal["done", "late", "absent"]
    nonce: str = ""


log = structlog.get_logger("access")

HOUR_S = 3600
REQUEST_FOR_S = 14 * 24 * HOUR_S
REMEMBERED_FOR_S = 3 * 24 * HOUR_S
REQUESTS_AN_HOUR = 30
CLAIM_TRIES = 5
ACTIONS: Mapping[Role | None, str] = {
    "member": "let in",
    "blocked": "block",
    "spokestack_engineer": "make admin",
    None: "take back",
}


class GrantStore:
    """One hash holds all grants, by subject; a version tells replicas that it has changed."""

    def __init__(self, client: StoreClient, access: Access) -> None:
        self._client = client
        self.access = access
        self._version = -1
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Put in force what is granted now; raises StoreUnavailable."""
        async with self._reading:  # the later reading counts
            version = await self._client.command("GET", keys.GRANTS_VERSION)
            found = await self._client.command("HGETALL", keys.GRANTS)
            self._version = int(version or 0)
            self.access.take(dict(_readable(pairs_of(found))))

    async def stay(self, version: int) -> None:
        """Read again unless this version is in force; raises StoreUnavailable."""
        if version != self._version:
            await self.refresh()

    async def change(self, change: GrantChange) -> Outcome:
        """Make a change, once for its key, and put it in force here."""
        subject = change.subject.name
        names = [keys.GRANTS, keys.GRANTS_VERSION, keys.request_of(subject)]
        names += [keys.REQUESTS_OPEN, keys.change_made(change.key), AUDIT]
        head = [subject, _body(change), change.nonce, change.role or "", change.by_name]
        args = [*head, REMEMBERED_FOR_S, *_audit(change)]
        kind, *nonce = [one.decode() for one in await self._client.surely("grant", names, args)]
        await self._client.patiently(self.refresh)
        return Outcome(kind, *nonce)

    async def knock(self, request: AccessRequest) -> AccessRequest | Literal["known", "many"]:
        """Open a request, or find the open one of its subject."""
        subject = request.subject
        everywhere = subject._replace(bot=EVERYWHERE)
        names = [keys.request_of(subject.name), keys.request(request.nonce)]
        names += [keys.REQUESTS_OPEN, keys.requests_lately(subject.bot), keys.GRANTS]
        args = [request.nonce, _dump(request), REQUEST_FOR_S, int(time.time()), REQUESTS_AN_HOUR]
        args += [subject.name, everywhere.name]
        found = (await self._client.surely("knock", names, args)).decode()
        if found in ("known", "many"):
            return found  # type: ignore[no-any-return]
        return await self.find(found) or "known"

    async def find(self, nonce: str) -> AccessRequest | None:
        """A request with its cards, open or decided a while ago."""
        words = ("HGETALL", keys.request(nonce))
        found = await self._client.patiently(lambda: self._client.command(*words))
        fields = {name.decode(): value for name, value in pairs_of(found)}
        return _load(nonce, fields) if "what" in fields else None

    async def open_requests(self) -> Sequence[AccessRequest]:
        """All requests that nobody has answered, oldest first."""
        words = ("ZRANGE", keys.REQUESTS_OPEN, 0, -1)
        nonces = await self._client.patiently(lambda: self._client.command(*words))
        found = [await self.find(nonce.decode()) for nonce in nonces]
        return [request for request in found if request and request.role is None]

    async def ask(self, nonce: str, admin: int, line: str, part: OutgoingPart) -> bool:
        """Put an admin's card into a line's outbox; the line's owner is told."""
        names = [keys.request(nonce), keys.outbox(line), keys.lease(line)]
        names += [keys.LINES_CHANGED, keys.LINE_CHANGES]
        return bool(await self._client.surely("ask", names, [admin, line, dump_part(part)]))

    async def unasked(self, fence: Fence, nonce: str, admin: int) -> None:
        """A card could not be delivered over its line: the admin has none any more."""
        names = [keys.fence(fence.line), keys.request(nonce)]
        await self._client.surely("unask", names, [fence.token, admin, fence.line])

    async def turn_away(
        self, fence: Fence, entry: str, address: Address, parts: Sequence[OutgoingPart]
    ) -> list[OutboxItem] | None:
        """Settle an entry, and say something in its chat, at most once an hour."""
        line = fence.line
        names = [keys.fence(line), keys.inbox(line), keys.outbox(line)]
        names += [keys.told(line, address.home), keys.open_turn(line, address.conversation)]
        args = [fence.token, entry, HOUR_S, *map(dump_part, parts)]
        said, *ids = await self._client.surely("turn_away", names, args)
        return None if said == 0 else outbox_items(ids, parts)

    async def offer_claim(self, code: str) -> None:
        """From now on this code, and no earlier one, makes an admin; an empty one: none does."""
        words = ("SET", keys.CLAIM, _digest(code)) if code else ("DEL", keys.CLAIM)
        await self._client.patiently(lambda: self._client.command(*words))

    async def claim(self, code: str, change: GrantChange) -> Literal["done", "wrong", "tired"]:
        """Make somebody the admin if they know the code; tired: they tried too often."""
        made, given = keys.change_made(change.key), _digest(code)
        words = ("MGET", keys.CLAIM, made)
        held, done = await self._client.patiently(lambda: self._client.command(*words))
        if done is None:
            tries = await self._client.surely("count", [keys.claim_tries(change.by)], [HOUR_S])
            if tries > CLAIM_TRIES:
                return "tired"
        known = hmac.compare_digest(given.encode(), held or b"")
        names = [keys.CLAIM, keys.GRANTS, keys.GRANTS_VERSION, made, AUDIT]
        head = [given if known else "", change.subject.name, _body(change), REMEMBERED_FOR_S]
        if not await self._client.surely("claim", names, [*head, *_audit(change, "claim")]):
            return "wrong"
        await self._client.patiently(self.refresh)
        return "done"


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _audit(change: GrantChange, action: str = "") -> list[str]:
    kind, id, bot = change.subject
    where = f"at bot {bot}" if bot else "at all bots"
    action = action or ACTIONS[change.role]
    note = AuditEntry(str(change.by), action, f"{kind} {id}", change.key, time.time(), where)
    return [word for pair in note.fields().items() for word in pair]


def _body(change: GrantChange) -> bytes:
    """The grant as it is kept; empty for one that is taken away."""
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
