"""Who was let in and who is an admin, as documents of the registry; requests in the store."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeVar

import orjson
import structlog

from bot.access.rules import ADMIN, EVERYWHERE, Access, Level, Subject
from bot.errors import StoreUnavailable
from bot.messages import Address, Fence, OutboxItem, OutgoingPart
from bot.store import keys
from bot.store.cards import Card, CardStore, cards_of
from bot.store.client import StoreClient, pairs_of
from bot.store.outbox import ACCESS_CARD, dump_part, outbox_items
from registry.access import AccessGrant
from registry.catalog import INSTANCE, Catalog
from registry.errors import RegistryUnavailable, RevisionConflict, WrongKind
from registry.roles import HOST_ADMIN, Actor, Why
from registry.sources.revision_store import DELETED
from registry.sources.stored_values import ACCESS

log = structlog.get_logger("access")

HOUR_S = 3600
REQUEST_FOR_S = 14 * 24 * HOUR_S
REMEMBERED_FOR_S = 3 * 24 * HOUR_S
REQUESTS_AN_HOUR = 30
CLAIM_TRIES = 5
OLD_REPLICAS_FOR_S = 24 * HOUR_S
"""How long replicas of an older version may keep what they know of the hash that they read."""
NAME_LIMIT = 300
CLAIMED = Why("claimed with the code that the host printed")
HOST_ACTOR = Actor("host", HOST_ADMIN, "chat")
"""Who makes an admin of the person who knows the claim code."""
UPGRADE_ACTOR = Actor("upgrade", HOST_ADMIN, "store")
"""Who makes documents of what an older version stored."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A person or a group that is not let in at a bot, as admins are asked about it.

    `line` and `bot` are where they wrote, `person` is who did; `added` says that this person added
    the bot to the group `title`. `decision` is that of the admin named `by`, None while the request
    is open. `cards` are those that admins got, by the admin's id.
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
    decision: Level | None = None
    by: str = ""
    cards: Mapping[int, Card] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccessChange:
    """Somebody is let in or blocked, or what was granted is taken back (None).

    The change is made once for its `key`, by the admin with the id `by`, `at` seconds since the
    epoch. `name` is what the subject is called; `nonce` names the request whose card was pressed.
    """

    subject: Subject
    level: Level | None
    by: int
    by_name: str
    key: str
    at: int = 0
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
    """Changes the documents that `access` follows, and keeps the requests to be let in.

    Everything is repeated until the store answers. Changes raise kinds of RegistryError, such as
    Denied; a key of the wrong type raises WrongType.
    """

    client: StoreClient
    access: Access
    catalog: Catalog

    async def change_access(self, change: AccessChange) -> Outcome:
        """Make a change, once for its key, and put it in force here.

        An answer to a request is recorded there first: of several presses the first one counts. Its
        document is written only over the one that was there at that moment, so that an answer that
        a host carries out late changes nothing that was decided since. Call `close_request` with
        the outcome's nonce once everybody was told.
        """
        actor, subject = self.access.actor(change.by), change.subject.name
        await self.catalog.require(actor, "write", INSTANCE, "let anybody in or block them")
        if change.level is None:
            clear = self.catalog.clear_access
            done = await self._write(lambda: clear(actor, subject, key=change.key))
            return Outcome("done" if done else "absent")
        kind, nonce, over = await self._decide(change)
        if kind != "done":
            return Outcome(kind, nonce)
        grant = AccessGrant(
            subject=subject,
            level=change.level,
            by=str(change.by),
            at=change.at,
            name=change.name[:NAME_LIMIT],
        )
        put = self.catalog.set_access
        try:
            await self._write(lambda: put(actor, grant, key=change.key, expected=over))
        except RevisionConflict:
            await self.close_request(change.subject, nonce)
            return Outcome("late", nonce)
        return Outcome("done", nonce)

    async def _decide(
        self, change: AccessChange
    ) -> tuple[Literal["done", "late", "absent"], str, str | None]:
        """Record the answer to a request: the outcome, its nonce, and the hash to expect."""
        nonce, subject = change.nonce, change.subject.name
        if not nonce:  # a command: it answers the open request, if there is one
            held = await self.client.read("GET", keys.access_request_of(subject))
            if held is None:
                return "done", "", None
            nonce = held.decode()
        names = [keys.access_request(nonce), keys.REQUESTS_OPEN, ACCESS + subject]
        args: list[Any] = [nonce, change.level, change.by_name, change.key, REMEMBERED_FOR_S]
        args.append("" if change.nonce else "1")
        reply = await self.client.run_idempotent("decide_request", names, args)
        kind, *rest = (one.decode() for one in reply)
        if change.nonce:
            return kind, nonce, rest[0] if rest else None
        return "done", nonce if kind == "done" else "", None

    async def close_request(self, subject: Subject, nonce: str) -> None:
        """Let a subject ask again after its request was answered, should it ever have to."""
        if nonce:
            names = [keys.access_request_of(subject.name)]
            await self.client.run_idempotent("close_request", names, [nonce])

    async def change_admin(self, by: int, person: int, *, is_admin: bool, key: str) -> bool:
        """Make a person an admin, or no admin any more; False where they were none."""
        actor, name = self.access.actor(by), f"tg:{person}"
        if not is_admin:
            revoke = self.catalog.revoke_role
            return await self._write(lambda: revoke(actor, name, ADMIN, key=key))
        if person not in self.access.engineers:
            await self._write(lambda: self.catalog.grant_role(actor, name, ADMIN, key=key))
        return True

    async def _write(self, write: Callable[[], Awaitable[T]]) -> T:
        """Make a change of the registry until the store answers."""

        async def once() -> T:
            try:
                return await write()
            except RegistryUnavailable as error:
                raise StoreUnavailable(str(error)) from error
            except WrongKind as error:
                raise await self.client.wrong_type(error.key) from error

        return await self.client.retry_while_down(once)

    async def open_request(
        self, request: AccessRequest
    ) -> AccessRequest | Literal["known", "too_many"]:
        """Open a request, or find the open one of its subject.

        "known" where the subject was let in or blocked by now, "too_many" where too many requests
        were opened lately.
        """
        subject = request.subject
        names = [keys.access_request_of(subject.name), keys.access_request(request.nonce)]
        names += [keys.REQUESTS_OPEN, keys.access_requests_lately(subject.bot)]
        names += [ACCESS + subject.name, ACCESS + subject._replace(bot=EVERYWHERE).name]
        args: list[Any] = [request.nonce, _dump(request), REQUEST_FOR_S, int(time.time())]
        args.append(REQUESTS_AN_HOUR)
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
        """All requests that are not answered, oldest first; not those of people who are in."""
        nonces = await self.client.read("ZRANGE", keys.REQUESTS_OPEN, 0, -1)
        found = [await self.find_request(nonce.decode()) for nonce in nonces]
        waiting = [request for request in found if request and request.decision is None]
        return [request for request in waiting if not self._needs_none(request.subject)]

    def _needs_none(self, subject: Subject) -> bool:
        """Whether no admin has to let somebody in: people who may let others in are in."""
        return subject.kind == "person" and self.access.may_let_in(subject.id)

    async def post_card(self, nonce: str, admin: int, line: str, part: OutgoingPart) -> bool:
        """Put an admin's card into a line's outbox, and notify the line's owner.

        False where the admin has one already, or the request is closed.
        """
        return await CardStore(self.client, ACCESS_CARD).post(nonce, admin, line, [part])

    async def card_failed(self, fence: Fence, nonce: str, admin: int) -> None:
        """Forget the card that an admin was to get over this line: it could not be delivered."""
        await CardStore(self.client, ACCESS_CARD).failed(fence, nonce, admin)

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

    async def claim(
        self, code: str, person: int, key: str
    ) -> Literal["done", "wrong", "too_often"]:
        """Make a person admin if they know the code; they have a few tries in an hour.

        The code is used up first, so that it makes one admin, even if others send it too.
        """
        used, given = keys.claimed(key), _digest(code)
        held, done = await self.client.read("MGET", keys.CLAIM, used)
        if done is None:
            counter = keys.claim_tries(person)
            tries = await self.client.run_idempotent("count_within", [counter], [HOUR_S])
            if tries > CLAIM_TRIES:
                return "too_often"
        known = hmac.compare_digest(given.encode(), held or b"")
        args = [given if known else "", REMEMBERED_FOR_S]
        if not await self.client.run_idempotent("claim", [keys.CLAIM, used], args):
            return "wrong"
        name, grant = f"tg:{person}", self.catalog.grant_role
        await self._write(lambda: grant(HOST_ACTOR, name, ADMIN, key=key, why=CLAIMED))
        await self.offer_claim("")  # a host that started meanwhile has printed another one
        return "done"

    # --- what an older version stored -----------------------------------------------------------

    async def upgrade(self) -> None:
        """Make documents of the grants that an older version kept in one hash.

        Several replicas may do this at once, and again after a crash; a document that is there
        already stays.
        """
        grants = pairs_of(await self.client.read("HGETALL", keys.OLD_GRANTS))
        if not grants:
            return
        for name, body in grants:
            try:
                await self._upgrade(name.decode(), body)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                log.error("grant.unreadable", grant=name, key=keys.OLD_GRANTS, why=str(error))
        # Replicas of the older version look at the hash only when the version changes.
        await self.client.read("EXPIRE", keys.OLD_GRANTS_VERSION, OLD_REPLICAS_FOR_S)
        await self.client.read("HDEL", keys.OLD_GRANTS, *(name for name, _ in grants))
        log.info("access.upgraded", grants=len(grants))

    async def _upgrade(self, name: str, body: bytes) -> None:
        """One grant as a document; raises ValueError and the like where it cannot be read."""
        subject, old = Subject.parse(name), orjson.loads(body)
        key = f"upgrade:{name}:{_digest(body.decode())[:16]}"
        if old["role"] == ADMIN.role:
            if subject.kind != "person" or subject.bot != EVERYWHERE:
                raise ValueError("only a person in all bots can be an admin")
            person, grant = f"tg:{subject.id}", self.catalog.grant_role
            await self._write(lambda: grant(UPGRADE_ACTOR, person, ADMIN, key=key))
            return
        access = AccessGrant(
            subject=subject.name,
            level=old["role"],
            by=str(old["by"]),
            at=old["at"],
            name=str(old.get("name", ""))[:NAME_LIMIT],
        )
        put = self.catalog.set_access
        with suppress(RevisionConflict):
            await self._write(lambda: put(UPGRADE_ACTOR, access, key=key, expected=DELETED))


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _dump(request: AccessRequest) -> bytes:
    body = asdict(replace(request, cards={}))
    for name in ("nonce", "decision", "by", "cards"):
        del body[name]
    return orjson.dumps(body | {"subject": list(request.subject)})


def _load(nonce: str, fields: Mapping[str, Any]) -> AccessRequest:
    body: dict[str, Any] = orjson.loads(fields["what"])
    body["subject"] = Subject(*body["subject"])
    level, by = (fields[name].decode() for name in ("role", "by"))
    return AccessRequest(nonce=nonce, **body, decision=level or None, by=by, cards=cards_of(fields))
