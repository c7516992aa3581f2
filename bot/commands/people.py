"""Who may talk: /people for admins, /id for everybody, /claim for whoever runs the host."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from bot.access import (
    BLOCKED,
    ENGINEER,
    EVERYWHERE,
    MEMBER,
    Access,
    Grant,
    Role,
    Subject,
    same_code,
    subject_of,
)
from bot.commands.table import BotCommand, Claim, Context, GiveRole, Intent, Say
from bot.commands.words import code, first, listed, plain
from bot.events import ANONYMOUS_ADMIN
from bot.ports import Request

UNGATED = frozenset({"id", "claim"})
"""Commands that strangers may send as well."""
MOST_SHOWN = 40
USAGE = "[allow ID | block ID | admin ID | remove ID] [everywhere]"
HOW = (
    f"Write /people {USAGE}. Ids of groups are negative; in a group, no id means that group. "
    "/id tells anybody theirs."
)
HOW_TO_CLAIM = "Send /claim with the code that the host printed at its start."
CLAIM_IN_PRIVATE = (
    "Send it to me in a private chat. The code is public now; restart the host for a new one."
)
LAST_ADMIN = "You are the only admin. Make somebody else one first: /people admin ID."
_NUMBER = re.compile(r"-?[0-9]{1,19}\Z")
_MODES = {
    "open": "open to everybody",
    "request": "private; strangers may ask to be let in",
    "listed": "private",
}

Waiting = Callable[[], Awaitable[Sequence[Request]]]


class PeopleCommands:
    """The rows that tell who may talk, and change it; `waiting` gives the open requests."""

    def __init__(self, access: Access, waiting: Waiting) -> None:
        self._access = access
        self._waiting = waiting

    def rows(self) -> Iterator[BotCommand]:
        """The rows of the table."""
        yield BotCommand("id", "show your id, and in a group the group's", own_id, beside=True)
        yield BotCommand(
            "people", "show or change who may talk to this bot", self.people, "admin", True, USAGE
        )
        yield BotCommand(
            "claim", "become the admin of a host that has none", claim,
            beside=True, usage="CODE", hidden=True,
        )  # fmt: skip

    async def people(self, context: Context) -> Intent:
        """The list, or a change of it."""
        if not context.words:
            return Say(await self._list(context))
        said = [word.lower() for word in context.words]
        everywhere = said[-1] == "everywhere"
        act, *ids = said[:-1] if everywhere else said
        if not ids and not context.incoming.address.private:
            ids = [str(context.incoming.address.home)]
        number = int(ids[0]) if len(ids) == 1 and _NUMBER.match(ids[0]) else 0
        if number in (0, ANONYMOUS_ADMIN):
            return Say(plain(HOW))
        subject = subject_of(number, EVERYWHERE if everywhere else context.bot.id)
        match act:
            case "allow":
                return self._allow(subject)
            case "block":
                return self._block(subject)
            case "admin" if number > 0:
                return _give(subject._replace(bot=EVERYWHERE), ENGINEER, "is an admin of this host")
            case "remove":
                return self._remove(subject, context.incoming.person.id)
        return Say(plain(HOW))

    def _allow(self, subject: Subject) -> Intent:
        if subject.bot != EVERYWHERE and self._holds(subject._replace(bot=EVERYWHERE), BLOCKED):
            return Say(
                f"{code(str(subject.id))} is blocked at all bots; "
                f"{plain(f'/people allow {subject.id} everywhere')} changes that."
            )
        return _give(subject, MEMBER, "may talk to")

    def _block(self, subject: Subject) -> Intent:
        if subject.kind == "person" and self._access.is_admin(subject.id):
            return Say(f"{code(str(subject.id))} is an admin; take that away first.")
        return _give(subject, BLOCKED, "is blocked at")

    def _remove(self, subject: Subject, sender: int) -> Intent:
        named = code(str(subject.id))
        if subject.id in self._access.listed:
            return Say(f"{named} is listed in ADMINS; take it out there.")
        if self._access.admins == {subject.id} and subject.id == sender:
            return Say(plain(LAST_ADMIN))
        both = {subject, subject._replace(bot=EVERYWHERE)}
        return GiveRole(
            tuple((one, None) for one in sorted(both)),
            done=f"What was granted to {named} is taken back.",
            absent=f"Nothing was granted to {named}, so there is nothing to take back.",
        )

    def _holds(self, subject: Subject, role: Role) -> bool:
        grant = self._access.grants.get(subject)
        return grant is not None and grant.role == role

    async def _list(self, context: Context) -> str:
        bot = context.bot.id
        rule = self._access.rule(bot)
        name = f"@{plain(context.bot.username or str(bot))}"
        here = {s: g for s, g in self._access.grants.items() if s.bot in (bot, EVERYWHERE)}
        admins = [f"{code(str(one))} · ADMINS" for one in sorted(self._access.listed)]
        settings = [*_ids(rule.people, "PEOPLE"), *_ids(rule.chats, "CHATS")]
        waiting = [_asks(one) for one in await self._waiting() if one.subject.bot == bot]
        return listed(
            f"{name} is {_MODES[rule.mode]}.",
            _section("Admins", [*admins, *_rows(here, ENGINEER)]),
            _section("Let in", [*settings, *_rows(here, MEMBER)]),
            _section("Blocked", _rows(here, BLOCKED)),
            _section("Waiting", waiting),
        )


async def own_id(context: Context) -> Intent:
    """The sender's id; in a group the group's as well."""
    address, person = context.incoming.address, context.incoming.person.id
    if address.private:
        return Say(f"Your id is {code(str(person))}.")
    own = "" if person == ANONYMOUS_ADMIN else f" Yours is {code(str(person))}."
    return Say(f"The id of this group is {code(str(address.chat))}.{own}")


async def claim(context: Context) -> Intent:
    """A try to become the admin."""
    if not context.incoming.address.private:
        return Say(CLAIM_IN_PRIVATE)
    given = same_code(context.arguments)
    return Claim(given) if given else Say(plain(HOW_TO_CLAIM))


def _give(subject: Subject, role: Role, words: str) -> GiveRole:
    named, where = code(str(subject.id)), "" if role == ENGINEER else (
        " all bots" if subject.bot == EVERYWHERE else " this bot"
    )  # fmt: skip
    return GiveRole(((subject, role),), done=f"{named} {words}{where} now.", absent="")


def _section(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    shown, more = first(lines, MOST_SHOWN)
    return "\n".join([f"**{title}:**", *(f"• {line}" for line in shown)]) + more


def _ids(ids: Iterable[int], variable: str) -> list[str]:
    return [f"{code(str(one))} · {variable}" for one in sorted(ids)]


def _rows(grants: dict[Subject, Grant], role: Role) -> list[str]:
    return [_row(who, grants[who]) for who in sorted(grants) if grants[who].role == role]


def _row(subject: Subject, grant: Grant) -> str:
    name = f" {plain(grant.name)}" if grant.name else ""
    where = " · all bots" if subject.bot == EVERYWHERE and grant.role != ENGINEER else ""
    return f"{code(str(subject.id))}{name}{where} · by {code(str(grant.by))}"


def _asks(request: Request) -> str:
    return f"{code(str(request.subject.id))} {plain(request.title or request.name)}"
