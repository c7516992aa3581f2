"""Who may talk to a bot, and who administers the host: by numeric id alone.

Settings and grants are held in memory, so that a message costs no look into the store. A person and
a chat are let in apart from each other: who may write in private opens no group, and a group that
was let in opens no private chat.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bot.messages import ANONYMOUS_ADMIN, Address

Mode = Literal["open", "request", "listed"]
"""Open to everybody; or to whom an admin lets in, strangers asking with a card or without one."""
Role = Literal["member", "blocked", "spokestack_engineer"]
Kind = Literal["person", "chat"]
Verdict = Literal["admitted", "stranger", "blocked"]

MEMBER: Role = "member"
BLOCKED: Role = "blocked"
ENGINEER: Role = "spokestack_engineer"
EVERYWHERE = 0
"""In place of a bot's id: all bots of the host."""
HOST_ADMINS = "hostAdmins"
"""As an approver: whoever administers the host."""


class Subject(NamedTuple):
    """A person or a chat at one bot, or at all bots of the host."""

    kind: Kind
    id: int
    bot: int = EVERYWHERE

    @property
    def name(self) -> str:
        """`person:5@7`, `chat:-100@*`: the name under which a grant is kept."""
        return f"{self.kind}:{self.id}@{self.bot or '*'}"

    @classmethod
    def parse(cls, name: str) -> Subject:
        """The subject of a name; raises ValueError where it is none."""
        kind, _, rest = name.partition(":")
        id, _, bot = rest.partition("@")
        if kind == "person":
            return cls("person", int(id), 0 if bot == "*" else int(bot))
        if kind == "chat":
            return cls("chat", int(id), 0 if bot == "*" else int(bot))
        raise ValueError(f"{name} names nobody")


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
    """What the operator's settings say of one bot: who may talk, beside whom an admin let in."""

    mode: Mode = "request"
    people: frozenset[int] = frozenset()
    chats: frozenset[int] = frozenset()


_LETTERS = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Letters and digits that nobody takes for one another."""


def new_code() -> str:
    """A claim code of 78 bits, in groups that are easy to type."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))


def normalize_code(typed: str) -> str:
    """A code without its hyphens, however it was typed."""
    return re.sub(r"[^A-Z0-9]", "", typed.upper())


def _nothing() -> None:
    """For an access whose admins nobody watches."""


class Access:
    """What the settings say, and what was granted.

    A bot without a rule is treated as one with the default rule. `admins_changed` is called
    whenever `admins` has become another set.
    """

    def __init__(self, admins: Iterable[int] = (), rules: Mapping[int, Rule] | None = None) -> None:
        self.listed = frozenset(admins) - {ANONYMOUS_ADMIN}
        self.rules: Mapping[int, Rule] = rules or {}
        self.admins = self.listed
        self.grants: Mapping[Subject, Grant] = {}
        self.version = 0
        self.admins_changed: Callable[[], None] = _nothing
        self._members: frozenset[Subject] = frozenset()
        self._blocked: frozenset[Subject] = frozenset()

    def take(self, grants: Mapping[Subject, Grant]) -> None:
        """Put these grants in force, in place of those before."""

        def holders(role: Role) -> frozenset[Subject]:
            return frozenset(who for who, grant in grants.items() if grant.role == role)

        self.grants = dict(grants)
        self.version += 1
        self._members, self._blocked = holders(MEMBER), holders(BLOCKED)
        everywhere = {who for who in holders(ENGINEER) if who.bot == EVERYWHERE}
        granted = {who.id for who in everywhere if who.kind == "person"}
        before, self.admins = self.admins, self.listed | (granted - {ANONYMOUS_ADMIN})
        if self.admins != before:
            self.admins_changed()

    def is_admin(self, person: int) -> bool:
        """Names and usernames never count: anybody can choose them."""
        return person in self.admins

    def role(self, person: int) -> str:
        """The role by which a tool's condition knows the person: admin or everyone."""
        return "admin" if self.is_admin(person) else "everyone"

    def rule(self, bot: int) -> Rule:
        """What the settings say of a bot."""
        return self.rules.get(bot) or _DEFAULT

    def is_blocked(self, kind: Kind, id: int, bot: int) -> bool:
        """Whether an admin shut a person or a chat out of a bot."""
        return _holds(self._blocked, kind, id, bot)

    def verdict(self, address: Address, person: int | None) -> Verdict:
        """Whether what somebody does in a chat may go any further; None: nobody says who it is."""
        if person is not None and self.is_admin(person):
            return "admitted"
        bot, places = address.bot, {address.chat, address.original_id}
        if person is not None and self.is_blocked("person", person, bot):
            return "blocked"
        if not address.private and any(self.is_blocked("chat", one, bot) for one in places):
            return "blocked"
        rule = self.rule(bot)
        if rule.mode == "open":
            return "admitted"
        if address.private:
            known = person == address.chat and self._knows("person", address.chat, rule, bot)
        else:
            known = any(self._knows("chat", one, rule, bot) for one in places)
        return "admitted" if known else "stranger"

    def _knows(self, kind: Kind, id: int, rule: Rule, bot: int) -> bool:
        listed = rule.people if kind == "person" else rule.chats
        return id in listed or _holds(self._members, kind, id, bot)

    def approvers(self, own: tuple[int | str, ...] | None, bot: int) -> tuple[int | str, ...]:
        """Who may approve at a bot: as the agent says, and else by who may talk there."""
        if own is not None:
            return own
        return (HOST_ADMINS,) if self.rule(bot).mode == "open" else ("asker",)


_DEFAULT = Rule()


def _holds(found: frozenset[Subject], kind: Kind, id: int, bot: int) -> bool:
    if not found:
        return False
    return Subject(kind, id, bot) in found or Subject(kind, id, EVERYWHERE) in found
