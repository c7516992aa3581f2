"""API keys: what one may do, shown once, stored as a hash; pure values (trust A12)."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from registry.agent_limits import Budget
from registry.errors import InvalidValue
from registry.fields import RegistryModel, must, valid_slug
from registry.roles import DEFAULT_ACCOUNT, Actor, RoleGrant, RoleName, Scope, Why, may_grant
from registry.secrets import REDACTED, detect_secret

PREFIX = "sbk_"
SHORTEST_KEY = 32
"""Characters of a key that the operator chooses, at least."""
_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")
_SHAPE = re.compile(rf"\b{PREFIX}[A-Za-z0-9_-]{{32,}}")


def new_secret() -> str:
    """A key of 256 random bits, as it is shown once."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """The SHA-256 of a key in hex; a slow hash would cost every call and add nothing here."""
    return hashlib.sha256(secret.encode()).hexdigest()


def hide_keys(text: str) -> str:
    """A text without the keys that were made here."""
    return _SHAPE.sub(REDACTED, text) if PREFIX in text else text


def valid_user(text: str) -> str:
    """The text itself; raises InvalidValue where it cannot name a person of an account."""
    if (
        not text
        or len(text) > 128
        or any(c.isspace() or c == ":" or not c.isprintable() for c in text)
    ):
        raise InvalidValue("is not a user's name", "write up to 128 characters without : or spaces")
    if what := detect_secret(text):
        raise InvalidValue(f"holds {what}, not a user's name", "write the person's id or name")
    return text


class ApiKey(RegistryModel):
    """A key as a document: whose it is, its role, and what narrows it; never the key itself.

    Times are in seconds since the epoch. `user` names the person `api:<account>:<user>`; without
    one a request may name it. A key with `agent` or `client` reaches only that one. `lends` says
    which roles its maker could give: all, those in the account, or (None) not all of these.
    """

    id: Annotated[
        str, AfterValidator(must(_ID.fullmatch, "{} is not the id of a key", "see `keys list`"))
    ]
    hash: Annotated[
        str,
        AfterValidator(must(_HASH.fullmatch, "it is not a SHA-256 in hex", "make a new key")),
    ]
    account: str = DEFAULT_ACCOUNT
    role: RoleName = "instance_manager"
    scope: Scope = "account"
    user: str | None = None
    client: str | None = None
    agent: str | None = None
    budget: Budget | None = None
    expires: float | None = None
    created: float = 0.0
    created_by: str = ""
    revoked: float | None = Field(None)
    lends: Literal["host", "account"] | None = None

    @model_validator(mode="after")
    def _fits(self) -> ApiKey:
        for text in (self.account, self.client, self.agent):
            if text is not None:
                valid_slug(text)
        if self.user is not None:
            valid_user(self.user)
        self.grant  # noqa: B018 - raises where role, scope and client do not fit
        return self

    @property
    def grant(self) -> RoleGrant:
        """The role of the key in its scope."""
        scope: Scope = "client" if self.client and self.scope == "account" else self.scope
        return RoleGrant(role=self.role, scope=scope, account=self.account, client=self.client)

    def is_live(self, now: float) -> bool:
        """Whether the key opens anything at this moment."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    @property
    def is_narrow(self) -> bool:
        """Whether only a part of its account is reached, so that no other role is added to it."""
        return self.client is not None or self.agent is not None

    def actor(self, user: str | None = None, grants: tuple[RoleGrant, ...] = ()) -> Actor:
        """Who asks with this key; `grants` are the roles that the person holds besides.

        Of these it carries those in its account that the maker of the key could have given, as
        `lends` says: nobody gets a role by making a key for a person who has it.
        """
        own = () if self.is_narrow else tuple(filter(self._carries, grants))
        return Actor(self.person(user), (self.grant, *own), "http", self.id)

    def _carries(self, grant: RoleGrant) -> bool:
        if self.lends is None:
            return False
        if grant.scope == "host":
            return self.lends == "host" and self.scope == "host"
        is_engineer = grant.role == "spokestack_engineer"
        return grant.account == self.account and (self.lends == "host" or not is_engineer)

    def person(self, user: str | None = None) -> str:
        """`api:<account>:<user>`; a key without a user stands for one of its own name."""
        return f"api:{self.account}:{self.user or user or self.id}"

    def to_text(self) -> str:
        """The document as it is stored."""
        body = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return json.dumps(body, ensure_ascii=False)


def lends(grants: Iterable[RoleGrant], account: str) -> Literal["host", "account"] | None:
    """Which roles of its person a key carries that the holder of these grants makes."""
    held = tuple(grants)
    if any(grant.scope == "host" for grant in held):
        return "host"
    admin = RoleGrant(role="instance_admin", account=account)
    return None if may_grant(held, admin, Why("making a key")) == "no" else "account"
