"""Who calls: the key that a request shows, looked up by its hash, and what follows from it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bot.store.sign_ins import SignIn
from registry.api_key import ApiKey, digest
from registry.roles import NO_REASON, Actor, Target, Why
from registry.snapshot import Entry, Snapshot


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request; a route gets it by `Depends(caller)` of `bot.http.api.needs`.

    `actor` goes to the catalog as it is, with `key=caller.change_key` and `why=caller.why`: a
    request that is repeated with its `Idempotency-Key` then makes its change once. A route that
    makes several changes adds something of its own to the change key of each. `account` is the
    account of the key; `user` is who the key or the request names, without `api:<account>:`.
    `limited` is true where the table allows this write only for `LIMITED_FIELDS`. `owner` is whose
    conversations the caller may read, `name` what an agent is told of them. `key` is None for
    people who signed in by a link of a bot, and for strangers where `LEGACY_OPEN` lets them in.
    `sign_in` is what such a link stands for.
    """

    actor: Actor
    account: str
    key: ApiKey | None
    user: str | None = None
    why: Why = NO_REASON
    change_key: str = ""
    limited: bool = False
    owner: str = ""
    name: str = ""
    sign_in: SignIn | None = None

    @property
    def is_of_host(self) -> bool:
        """Whether the caller reaches the whole host."""
        if self.key is None:
            return any(grant.scope == "host" for grant in self.actor.grants)
        return self.key.scope == "host"

    def reaches_account(self, account: str) -> bool:
        """Whether the caller may ask about an account at all; else the answer is 404."""
        return self.is_of_host or account == self.account or account in self.other_accounts

    @property
    def other_accounts(self) -> frozenset[str]:
        """Accounts besides `account` in which a person without a key has a role."""
        grants = self.actor.grants if self.key is None else ()
        return frozenset(grant.account for grant in grants) - {self.account}

    def reaches_client(self, client: str) -> bool:
        """The same of a client of the account."""
        return self.key is None or self.key.client in (None, client)

    @property
    def agent(self) -> str | None:
        """The only agent that the key reaches; None for all of them."""
        return self.key.agent if self.key else None

    def reaches_agent(self, agent_id: str) -> bool:
        """The same of an agent: a key may be narrowed to one; lists show only that one."""
        return self.agent in (None, agent_id)

    def target(self, tier: str, account: str | None = None, client: str | None = None) -> Target:
        """A target of the permission table, in the key's own account where none is named."""
        return Target(tier, account or self.account, client)  # type: ignore[arg-type]


def change_key(account: str, key: str, person: str, given: str) -> str:
    """The catalog's idempotency key for a request with this `Idempotency-Key`.

    Another key or person with the same text has another one, so nobody gets another's answer.
    """
    parts = f"{account}\n{key}\n{person}\n{given}"
    return "http:" + hashlib.sha256(parts.encode()).hexdigest()[:40]


@dataclass(slots=True)
class Credentials:
    """The keys of the environment and of the registry, by the SHA-256 of each.

    A lookup hashes any text that was given, and looks the hash up: how long that takes says nothing
    about the keys that exist.
    """

    snapshot: Callable[[], Snapshot]
    own: Iterable[ApiKey] = ()
    wall: Callable[[], float] = time.time
    _stored: Mapping[str, Entry[ApiKey]] | None = field(default=None, init=False)
    _by_hash: dict[str, ApiKey] = field(default_factory=dict, init=False)
    _people: dict[str, str] = field(default_factory=dict, init=False)

    def find(self, secret: str) -> ApiKey | None:
        """The live key of this text; None for an unknown, expired or revoked one, and for ''."""
        return self.live(digest(secret)) if secret else None

    def live(self, hash_: str) -> ApiKey | None:
        """The live key of this hash; None for an unknown, expired or revoked one."""
        found = self._keys().get(hash_)
        return found if found is not None and found.is_live(self.wall()) else None

    @property
    def exist(self) -> bool:
        """Whether there is any key, also one that opens nothing any more."""
        return bool(self._keys())

    @property
    def are_live(self) -> bool:
        """Whether some key opens something now."""
        now = self.wall()
        return any(key.is_live(now) for key in self._keys().values())

    def may_name(self, key: ApiKey, user: str) -> bool:
        """Whether a key without a user may act for somebody of its account whom a request names.

        It may not for those who have, or had, a key of their own, nor for those with a role.
        """
        person = key.person(user)
        if self.snapshot().roles_held_by(person):
            return False
        self._keys()
        return self._people.get(person, key.id) == key.id

    def _keys(self) -> Mapping[str, ApiKey]:
        """Every key by its hash; made again where the registry's have changed."""
        stored = self.snapshot().document.keys
        if stored is not self._stored:
            self._stored = stored
            self._by_hash = {entry.value.hash: entry.value for entry in stored.values()}
            self._by_hash |= {key.hash: key for key in self.own}
            self._people = {key.person(): key.id for key in self._by_hash.values()}
        return self._by_hash
