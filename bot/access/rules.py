"""Who may talk to a bot, and who administers the host: by numeric id alone.

Settings and the registry's documents are held in memory, so that a message needs no read from the
store. People and chats are let in separately: a person who may write in private opens no group, and
a group that was let in opens no private chat.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple, cast, get_args

from bot.messages import ANONYMOUS_ADMIN, Address, PersonId
from registry.access import AccessGrant
from registry.catalog import INSTANCE
from registry.definition import AgentDefinition
from registry.roles import CORE, HOST_ADMIN, Actor, RoleDocument, RoleGrant, verdict
from registry.snapshot import Entry, Snapshot

Mode = Literal["open", "request", "listed"]
"""Open to everybody; or only to those let in, where strangers may ask to be (request) or not."""
Level = Literal["member", "blocked"]
Kind = Literal["person", "chat"]
Admission = Literal["admitted", "stranger", "blocked"]

MEMBER: Level = "member"
BLOCKED: Level = "blocked"
ADMIN = RoleGrant(role="spokestack_engineer", scope="host")
"""The role that makes somebody an admin of the host."""
EVERYWHERE = 0
"""In place of a bot's id: all bots of the host."""
HOST_ADMINS = "hostAdmins"
"""As an approver: the people who administer the host."""


class Subject(NamedTuple):
    """A person or a chat in one bot, or in all bots of the host."""

    kind: Kind
    id: int
    bot: int = EVERYWHERE

    @property
    def name(self) -> str:
        """`person:5@7`, `chat:-100@*`: the name that its document has in the registry."""
        return f"{self.kind}:{self.id}@{self.bot or '*'}"

    @classmethod
    def parse(cls, name: str) -> Subject:
        """The subject of a name; raises ValueError where it is not valid."""
        kind, _, rest = name.partition(":")
        id, _, bot = rest.partition("@")
        if kind not in get_args(Kind):
            raise ValueError(f"{name} is not a person or a chat")
        return cls(cast(Kind, kind), int(id), EVERYWHERE if bot == "*" else int(bot))


def subject_of(id: int, bot: int) -> Subject:
    """The subject of a Telegram id: those of groups are negative."""
    return Subject("person" if id > 0 else "chat", id, bot)


@dataclass(frozen=True, slots=True)
class Rule:
    """What the operator's settings say of one bot: who may talk, besides those let in by admins."""

    mode: Mode = "request"
    people: frozenset[int] = frozenset()
    chats: frozenset[int] = frozenset()


_CODE_LETTERS = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Letters and digits that are not easily mistaken for one another."""


def new_code() -> str:
    """A claim code of 78 bits, in groups that are easy to type."""
    return "-".join("".join(secrets.choice(_CODE_LETTERS) for _ in range(4)) for _ in range(4))


def normalize_code(typed: str) -> str:
    """A code without its hyphens, however it was typed."""
    return re.sub(r"[^A-Z0-9]", "", typed.upper())


class Access:
    """What the settings and the registry's documents say of people and chats.

    A bot without a rule has the `default` one. `listed` are the admins of the settings, `engineers`
    those with a role of the whole host, `admins` both. `holders` have a role of any kind,
    `stewards` one by which they may let others in. `grants` are the documents on who was let in or
    blocked, by the name of their subject. `version` counts the changes of documents;
    `roles_changed` is called when any role has changed.
    """

    def __init__(
        self,
        admins: Iterable[int] = (),
        rules: Mapping[int, Rule] | None = None,
        default: Rule | None = None,
    ) -> None:
        self.listed = frozenset(admins) - {ANONYMOUS_ADMIN}
        self.rules: Mapping[int, Rule] = rules or {}
        self.default = default or Rule()
        self.admins = self.listed
        self.engineers = frozenset[int]()
        self.stewards = frozenset[int]()
        self.holders = frozenset[int]()
        self.grants: Mapping[str, Entry[AccessGrant]] = {}
        self.version = 0
        self.roles_changed: Callable[[], None] = lambda: None
        self._roles: Mapping[str, Entry[RoleDocument]] = {}
        self._agents: Mapping[str, Entry[AgentDefinition]] = {}
        self._named: frozenset[int] | None = frozenset()

    def follow(self, snapshot: Snapshot) -> None:
        """Put the documents of a snapshot in force."""
        document = snapshot.document
        if document.agents is not self._agents:
            self._agents, self._named = document.agents, None
        if document.access is self.grants and document.roles is self._roles:
            return
        self.version += 1
        self.grants = document.access
        if document.roles is not self._roles:
            self._roles = document.roles
            self._take_roles()
            self.roles_changed()

    def _take_roles(self) -> None:
        """Find what the roles of people in Telegram allow here.

        An engineer of the host is an admin. People who may write the account `default` may let
        others in; they do not get in by that themselves.
        """
        documents = (entry.value for entry in self._roles.values())
        held = {number: one.grants for one in documents if (number := _telegram_id(one.person))}
        self.holders = frozenset(held)
        self.engineers = frozenset(
            one for one, grants in held.items() if any(grant.scope == "host" for grant in grants)
        )
        self.stewards = frozenset(
            one for one, grants in held.items() if verdict(grants, "write", INSTANCE) == "yes"
        )
        self.admins = self.listed | self.engineers

    @property
    def named_approvers(self) -> frozenset[int]:
        """The people whom agents name by id as those who may approve."""
        if self._named is None:
            policies = (entry.value.tool_policy for entry in self._agents.values())
            approvers = chain.from_iterable(one.approvers or () for one in policies if one)
            self._named = frozenset(one for one in approvers if isinstance(one, int))
        return self._named

    def actor(self, person: int) -> Actor:
        """A person as the registry's changes name them, with their roles at this moment."""
        name = f"tg:{person}"
        entry = self._roles.get(name) if person in self.holders else None
        own = entry.value.grants if entry else ()
        return Actor(name, (*HOST_ADMIN, *own) if self.is_admin(person) else own, "chat")

    def may_let_in(self, person: PersonId) -> bool:
        """Whether a person decides on strangers: an admin, or a role of the account."""
        return person in self.admins or person in self.stewards

    def is_admin(self, person: PersonId) -> bool:
        """Whether a person administers this host, by id: anybody can choose a name."""
        return person in self.admins

    def may_write_agents(self, person: int) -> bool:
        """Whether a person in Telegram may change agents, by their roles at this moment."""
        return verdict(self.actor(person).grants, "write", CORE) == "yes"

    def role(self, person: PersonId) -> str:
        """The person's role in the conditions of tools: admin or everyone."""
        return "admin" if self.is_admin(person) else "everyone"

    def rule(self, bot: int) -> Rule:
        """What the settings say of a bot."""
        return self.rules.get(bot) or self.default

    def is_blocked(self, kind: Kind, id: PersonId, bot: int) -> bool:
        """Whether an admin has blocked a person or a chat at a bot."""
        return self._has_level(BLOCKED, kind, id, bot)

    def verdict(self, address: Address, person: PersonId | None) -> Admission:
        """Whether an event in a chat is admitted; `person` is None where it names nobody.

        Over HTTP a key was asked for before the message was accepted.
        """
        if address.instance is not None:
            return "admitted"
        if person is not None and self.is_admin(person):
            return "admitted"
        bot, chats = address.bot, {address.chat, address.original_id}
        if person is not None and self.is_blocked("person", person, bot):
            return "blocked"
        if not address.private and any(self.is_blocked("chat", chat, bot) for chat in chats):
            return "blocked"
        rule = self.rule(bot)
        if rule.mode == "open":
            return "admitted"
        if address.private:
            known = person == address.chat and self._is_let_in("person", address.chat, rule, bot)
        else:
            known = any(self._is_let_in("chat", chat, rule, bot) for chat in chats)
        return "admitted" if known else "stranger"

    def _is_let_in(self, kind: Kind, id: int, rule: Rule, bot: int) -> bool:
        listed = rule.people if kind == "person" else rule.chats
        return id in listed or self._has_level(MEMBER, kind, id, bot)

    def _has_level(self, level: Level, kind: Kind, id: PersonId, bot: int) -> bool:
        if not (grants := self.grants):
            return False
        here, everywhere = grants.get(f"{kind}:{id}@{bot}"), grants.get(f"{kind}:{id}@*")
        return (here is not None and here.value.level == level) or (
            everywhere is not None and everywhere.value.level == level
        )

    def approvers(self, own: tuple[int | str, ...] | None, bot: int) -> tuple[int | str, ...]:
        """Who may approve at a bot: as the agent says (`own`), else depending on the bot's mode.

        Over HTTP (bot 0) the asker may only where the agent says so.
        """
        if own is not None:
            return own
        if bot == EVERYWHERE:
            return (HOST_ADMINS,)
        return (HOST_ADMINS,) if self.rule(bot).mode == "open" else ("asker",)


def _telegram_id(person: str) -> int:
    """The id of a person in Telegram; 0 for all others, and for anonymous admins of groups."""
    kind, _, number = person.partition(":")
    id = int(number) if kind == "tg" else 0
    return 0 if id == ANONYMOUS_ADMIN else id
