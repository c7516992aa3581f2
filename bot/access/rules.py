"""Who may talk to a bot, and who administers the host: by numeric id alone.

Settings and grants are held in memory, so that a message needs no read from the store. People and
chats are let in separately: a person who may write in private opens no group, and a group that was
let in opens no private chat.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast, get_args

from bot.messages import ANONYMOUS_ADMIN, Address

Mode = Literal["open", "request", "listed"]
"""Open to everybody; or only to those let in, where strangers may ask to be (request) or not."""
Role = Literal["member", "blocked", "spokestack_engineer"]
Kind = Literal["person", "chat"]
Admission = Literal["admitted", "stranger", "blocked"]

MEMBER: Role = "member"
BLOCKED: Role = "blocked"
ENGINEER: Role = "spokestack_engineer"
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
        """`person:5@7`, `chat:-100@*`: the name under which a grant is stored."""
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
class Grant:
    """A role that an admin gave, when (seconds since the epoch), and the name the subject had."""

    role: Role
    by: int
    at: int
    name: str = ""


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
    """What the settings say, and which roles were granted.

    A bot without a rule has the default rule. `listed` are the admins of the settings, `admins`
    those and the granted ones; `admins_changed` is called when `admins` changes. `version` counts
    the changes of the grants.
    """

    def __init__(self, admins: Iterable[int] = (), rules: Mapping[int, Rule] | None = None) -> None:
        self.listed = frozenset(admins) - {ANONYMOUS_ADMIN}
        self.rules: Mapping[int, Rule] = rules or {}
        self.admins = self.listed
        self.grants: Mapping[Subject, Grant] = {}
        self.version = 0
        self.admins_changed: Callable[[], None] = lambda: None

    def set_grants(self, grants: Mapping[Subject, Grant]) -> None:
        """Replace all grants."""
        self.grants = dict(grants)
        self.version += 1
        granted = {
            subject.id
            for subject, grant in grants.items()
            if grant.role == ENGINEER and subject.kind == "person" and subject.bot == EVERYWHERE
        }
        before, self.admins = self.admins, self.listed | (granted - {ANONYMOUS_ADMIN})
        if self.admins != before:
            self.admins_changed()

    def is_admin(self, person: int) -> bool:
        """Whether a person administers this host, by id: anybody can choose a name."""
        return person in self.admins

    def role(self, person: int) -> str:
        """The person's role in the conditions of tools: admin or everyone."""
        return "admin" if self.is_admin(person) else "everyone"

    def rule(self, bot: int) -> Rule:
        """What the settings say of a bot."""
        return self.rules.get(bot) or _DEFAULT

    def is_blocked(self, kind: Kind, id: int, bot: int) -> bool:
        """Whether an admin has blocked a person or a chat at a bot."""
        return self._has_role(BLOCKED, kind, id, bot)

    def verdict(self, address: Address, person: int | None) -> Admission:
        """Whether an event in a chat is admitted; `person` is None where it names nobody."""
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
        return id in listed or self._has_role(MEMBER, kind, id, bot)

    def _has_role(self, role: Role, kind: Kind, id: int, bot: int) -> bool:
        if not self.grants:
            return False
        grants = (self.grants.get(Subject(kind, id, where)) for where in (bot, EVERYWHERE))
        return any(grant is not None and grant.role == role for grant in grants)

    def approvers(self, own: tuple[int | str, ...] | None, bot: int) -> tuple[int | str, ...]:
        """Who may approve at a bot: as the agent says (`own`), else depending on the bot's mode."""
        if own is not None:
            return own
        return (HOST_ADMINS,) if self.rule(bot).mode == "open" else ("asker",)


_DEFAULT = Rule()
