"""Roles with a scope, the table of what each may do, and who asks (spec 5, 9.31)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from registry.errors import InvalidValue
from registry.fields import Few, RegistryModel, is_slug, must, valid_slug
from registry.secrets import hide_known

RoleName = Literal[
    "spokestack_engineer", "instance_admin", "instance_manager", "account_manager", "client_contact"
]
Tier = Literal["agent_builder", "instance", "client"]
Action = Literal["read", "write"]
Scope = Literal["host", "account", "client"]
Duty = Literal["qa", "security"]
Face = Literal["chat", "http", "cli", "file", "store"]

PERMISSIONS: Mapping[RoleName, Mapping[Tier, tuple[str, ...]]] = {
    "spokestack_engineer": {
        "agent_builder": ("read", "write"),
        "instance": ("read", "write_support"),
        "client": ("read", "write_support"),
    },
    "instance_admin": {
        "agent_builder": ("read",),
        "instance": ("read", "write"),
        "client": ("read", "write"),
    },
    "instance_manager": {
        "agent_builder": ("read",),
        "instance": ("read",),
        "client": ("read", "write"),
    },
    "account_manager": {"agent_builder": (), "instance": (), "client": ("read", "write")},
    "client_contact": {"agent_builder": (), "instance": (), "client": ("read", "write_limited")},
}
ROLES: tuple[RoleName, ...] = tuple(PERMISSIONS)
LIMITED_FIELDS = frozenset({"format_preferences", "length_preferences", "tone_keywords"})
"""What `write_limited` may change of a client's tuning, besides feedback and examples."""
GRANTABLE: Mapping[RoleName, frozenset[RoleName]] = {
    "spokestack_engineer": frozenset(ROLES) - {"spokestack_engineer"},
    "instance_admin": frozenset(ROLES) - {"spokestack_engineer"},
    "account_manager": frozenset({"client_contact"}),
}
"""The roles that a holder of a role may give and take away inside an account or a client.

Engineers of the whole host give every role everywhere; those of an account have to say why.
"""
DEFAULT_ACCOUNT = "default"
"""The account of the operator, and of all Telegram bots that are given to no other."""

_PERSON = re.compile(r"tg:[1-9][0-9]{0,18}|api:[a-z0-9][a-z0-9_-]{0,63}:[^\s:]{1,128}")
Person = Annotated[
    str,
    AfterValidator(
        must(
            _PERSON.fullmatch, "{} does not name a person", "write tg:<id> or api:<account>:<user>"
        )
    ),
]


def is_person(text: str) -> bool:
    """Whether a text names a person as roles do."""
    return _PERSON.fullmatch(text) is not None


class RoleGrant(RegistryModel):
    """A role in a scope: the whole host, an account, or one client of an account."""

    role: RoleName
    scope: Scope = "account"
    account: str = DEFAULT_ACCOUNT
    client: str | None = None
    duties: Few[Duty] = ()
    """The reviews of core changes that this person may give (`REVIEW__CORE=two`)."""

    @model_validator(mode="after")
    def _fits(self) -> RoleGrant:
        valid_slug(self.account)
        if self.client is not None and not is_slug(self.client):
            valid_slug(self.client)
        if (self.client is None) is (self.scope == "client"):
            cure = "give both, or neither"
            raise InvalidValue("scope 'client' and a client belong together", cure)
        if self.scope == "host" and self.role != "spokestack_engineer":
            cure = "give it in an account"
            raise InvalidValue(f"{self.role} is not a role of the whole host", cure)
        return self

    @property
    def place(self) -> str:
        """The scope in words: `host`, `account acme`, `client nike of acme`."""
        if self.scope == "host":
            return "host"
        account = f"account {self.account}"
        return f"client {self.client} of {account}" if self.client else account

    @property
    def target(self) -> Target:
        """What the role itself is about: the whole host, an account, or a client of one."""
        if self.scope == "host":
            return CORE
        if self.client is not None:
            return Target("client", self.account, self.client)
        return Target("instance", self.account)

    def covers(self, target: Target) -> bool:
        """Whether the scope reaches a target; core agents may be read from any scope."""
        if self.scope == "host":
            return True
        if target.tier == "agent_builder":
            return False
        if self.account != target.account:
            return False
        return self.scope == "account" or self.client == target.client


class RoleDocument(RegistryModel):
    """The roles of one person: a document of the registry with revisions."""

    person: Person
    grants: Annotated[Few[RoleGrant], Field(min_length=1)]

    def to_text(self) -> str:
        """The document as it is stored."""
        body = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return json.dumps(body, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked about: a tier, in an account (never looked up here), of a client or of none."""

    tier: Tier
    account: str = DEFAULT_ACCOUNT
    client: str | None = None


CORE = Target("agent_builder")


@dataclass(frozen=True, slots=True)
class Why:
    """Why a change is made: a reason in words, and the reference of a ticket.

    A secret in them is replaced: the audit keeps them, and cannot be changed.
    """

    reason: str = ""
    ticket: str = ""
    note: str = ""
    """What the program says where the person gave no reason; it is none, and counts as none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", hide_known(self.reason))
        object.__setattr__(self, "ticket", hide_known(self.ticket))

    def __bool__(self) -> bool:
        return bool(self.reason.strip() or self.ticket.strip())

    @property
    def said(self) -> str:
        """What is recorded: the reason, else the program's own note."""
        return self.reason if self.reason.strip() else self.note

    def noted(self, note: str) -> Why:
        """The same, with what the program says where no reason was given."""
        return Why(self.reason, self.ticket, note)


NO_REASON = Why()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: `tg:<id>`, `api:<account>:<user>`, `operator`; with their roles at this moment.

    `via` is the face they use, `key` the id of the API key they showed.
    """

    id: str
    grants: tuple[RoleGrant, ...] = ()
    via: Face = "chat"
    key: str = ""


HOST_ADMIN = (
    RoleGrant(role="spokestack_engineer", scope="host"),
    RoleGrant(role="instance_admin", scope="account"),
)
"""The roles of ADMINS and of the command line: engineers who also run the account `default`."""
OPERATOR_ACTOR = Actor("operator", HOST_ADMIN, "cli")

Permission = Literal["yes", "no", "needs a reason", "limited"]


def verdict(
    grants: Iterable[RoleGrant], action: str, target: Target, why: Why = NO_REASON
) -> Permission:
    """What the table says of an action; an unknown role, tier or action is `no`.

    `needs a reason` where support may write but no reason is given, `limited` where only the
    fields in `LIMITED_FIELDS` may be written.
    """
    found: set[Permission] = set()
    for grant in grants:
        held = PERMISSIONS.get(grant.role, {}).get(target.tier, ())
        if action == "read":
            reaches = target.tier == "agent_builder" or grant.covers(target)
            if reaches and "read" in held:
                return "yes"
        elif action == "write" and grant.covers(target):
            if "write" in held:
                return "yes"
            if "write_support" in held:
                found.add("yes" if why else "needs a reason")
            if "write_limited" in held:
                found.add("limited")
    order: Sequence[Permission] = ("yes", "needs a reason", "limited")
    return next((one for one in order if one in found), "no")


def may_write(grants: Iterable[RoleGrant], target: Target) -> bool:
    """Whether holders of these grants may write there, if need be with a reason."""
    return verdict(grants, "write", target) in ("yes", "needs a reason")


def roles_for(action: Action, tier: Tier) -> tuple[RoleName, ...]:
    """The roles that may `read` or `write` a tier in their scope, the least one first."""
    wanted = {"read"} if action == "read" else {"write", "write_support"}
    return tuple(role for role in reversed(ROLES) if wanted & {*PERMISSIONS[role][tier]})


def is_support(grants: Iterable[RoleGrant], target: Target) -> bool:
    """Whether a write is allowed by `write_support` alone, which the audit marks."""
    own = [grant for grant in grants if grant.covers(target)]
    held = [PERMISSIONS[grant.role].get(target.tier, ()) for grant in own]
    return any("write_support" in one for one in held) and not any("write" in one for one in held)


def may_grant(
    grants: Iterable[RoleGrant], given: RoleGrant, why: Why = NO_REASON
) -> Literal["yes", "no", "needs a reason"]:
    """Whether holders of these grants may give or take away another one."""
    needs_reason = False
    for grant in grants:
        if grant.scope == "host":
            return "yes"
        if given.role not in GRANTABLE.get(grant.role, ()):
            continue
        if given.scope == "host" or given.duties or given.account != grant.account:
            continue
        if grant.scope == "account" or grant.client == given.client:
            if why or grant.role != "spokestack_engineer":
                return "yes"
            needs_reason = True
    return "needs a reason" if needs_reason else "no"


def sees_grant(grants: Iterable[RoleGrant], other: RoleGrant) -> bool:
    """Whether holders of these grants may know that somebody holds another one."""
    held = tuple(grants)
    if other.scope == "host":
        return any(grant.scope == "host" for grant in held)
    return verdict(held, "read", other.target) == "yes" or may_grant(held, other) != "no"


def is_limited_change(fields: Iterable[str]) -> bool:
    """Whether `write_limited` covers all of these changed fields of a client's tuning."""
    return all(field.partition(".")[0] in LIMITED_FIELDS for field in fields)
