"""Who may talk: /people for admins, /id for everybody, /claim for the operator of the host."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from bot.access.rules import (
    BLOCKED,
    EVERYWHERE,
    MEMBER,
    Access,
    Level,
    Subject,
    normalize_code,
    subject_of,
)
from bot.access.store import AccessRequest
from bot.command import (
    HOST_ADMINS,
    LET_IN,
    BotCommand,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    escape_markdown,
    first_items,
    paragraphs,
)
from bot.messages import ANONYMOUS_ADMIN


@dataclass(frozen=True, slots=True)
class ChangePeople(CommandResult):
    """Let in or block each subject, or (None) take back what was granted to it.

    `admin` makes a person an admin (True), or no longer one. Reply `done` if anything was
    changed, else `absent`.
    """

    done: str
    access: tuple[tuple[Subject, Level | None], ...] = ()
    admin: tuple[int, bool] | None = None
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Claim(CommandResult):
    """Make the sender the admin, if this is the host's claim code."""

    code: str


@dataclass(frozen=True, slots=True)
class PeopleContext:
    """What /people reads: who was let in or blocked, and the requests that are open.

    `refuse` notes that somebody was refused what only admins of the host may do.
    """

    access: Access
    open_requests: Callable[[], Awaitable[Sequence[AccessRequest]]]
    refuse: Callable[[BotCommand, CommandContext], Awaitable[None]]


UNGATED = frozenset({"id", "claim"})
"""Commands that strangers may send as well."""
MAX_SHOWN = 40
USAGE = "[allow ID | block ID | admin ID | remove ID] [everywhere]"
HOW = (
    f"Write /people {USAGE}. Ids of groups are negative; in a group, leave the id out to mean that "
    "group. Anybody can send /id to see their own."
)
HOW_TO_CLAIM = "Send /claim with the code that the host printed when it started."
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


@command("id", "show your id and, in a group, the group's id", concurrent=True)
async def own_id(context: CommandContext) -> CommandResult:
    """Show the sender's id; in a group the group's as well."""
    address, person = context.incoming.address, context.incoming.person.telegram_id
    if address.private:
        return Reply(f"Your id is {code(str(person))}.")
    own = "" if person == ANONYMOUS_ADMIN else f" Yours is {code(str(person))}."
    return Reply(f"The id of this group is {code(str(address.chat))}.{own}")


@command(
    "claim", "become the admin of a host that has none", usage="CODE", concurrent=True, hidden=True
)
async def claim(context: CommandContext) -> CommandResult:
    """Try to become the admin."""
    if not context.incoming.address.private:
        return Reply(CLAIM_IN_PRIVATE)
    given = normalize_code(context.arguments)
    return Claim(given) if given else Reply(escape_markdown(HOW_TO_CLAIM))


@command(
    "people", "show or change who may talk to this bot", needs=LET_IN, usage=USAGE, concurrent=True
)
async def people(parts: PeopleContext, context: CommandContext) -> CommandResult:
    """List who may talk, or change it."""
    if not context.words:
        return Reply(await _list(parts, context))
    words = [word.lower() for word in context.words]
    everywhere = words[-1] == "everywhere"
    action, *ids = words[:-1] if everywhere else words
    if not ids and not context.incoming.address.private:
        ids = [str(context.incoming.address.original_id)]
    number = int(ids[0]) if len(ids) == 1 and _NUMBER.match(ids[0]) else 0
    if number in (0, ANONYMOUS_ADMIN):
        return Reply(escape_markdown(HOW))
    subject = subject_of(number, EVERYWHERE if everywhere else context.bot.id)
    is_about_admins = action == "admin" or parts.access.is_admin(number)
    if is_about_admins and not parts.access.is_admin(context.incoming.person.telegram_id):
        await parts.refuse(people, context)
        return Reply(HOST_ADMINS.refusal)
    match action:
        case "allow":
            return _allow(parts.access, subject)
        case "block":
            return _block(parts.access, subject)
        case "admin" if number > 0:
            done = f"{code(str(number))} is an admin of this host now."
            return ChangePeople(done, admin=(number, True))
        case "remove":
            return _remove(parts.access, subject, context.incoming.person.telegram_id)
    return Reply(escape_markdown(HOW))


def _allow(access: Access, subject: Subject) -> CommandResult:
    if subject.bot != EVERYWHERE and access.is_blocked(subject.kind, subject.id, EVERYWHERE):
        return Reply(
            f"{code(str(subject.id))} is blocked in all bots; "
            f"{escape_markdown(f'/people allow {subject.id} everywhere')} changes that."
        )
    return _give(subject, MEMBER, "may talk to")


def _block(access: Access, subject: Subject) -> CommandResult:
    if subject.kind == "person" and access.is_admin(subject.id):
        remove = escape_markdown(f"/people remove {subject.id}")
        return Reply(f"{code(str(subject.id))} is an admin; {remove} changes that.")
    return _give(subject, BLOCKED, "is blocked in")


def _remove(access: Access, subject: Subject, sender: int) -> CommandResult:
    named = code(str(subject.id))
    if subject.id in access.listed:
        return Reply(f"{named} is listed in ADMINS; remove it there.")
    if access.admins == {subject.id} and subject.id == sender:
        return Reply(escape_markdown(LAST_ADMIN))
    both = {subject, subject._replace(bot=EVERYWHERE)}
    is_asked = subject.kind == "person" and access.is_admin(sender)
    return ChangePeople(
        f"Removed what was granted to {named}.",
        access=tuple((one, None) for one in sorted(both)),
        admin=(subject.id, False) if is_asked else None,
        absent=f"Nothing was granted to {named}, so there is nothing to remove.",
    )


def _give(subject: Subject, level: Level, words: str) -> ChangePeople:
    where = "all bots" if subject.bot == EVERYWHERE else "this bot"
    return ChangePeople(f"{code(str(subject.id))} {words} {where} now.", ((subject, level),))


async def _list(parts: PeopleContext, context: CommandContext) -> str:
    bot, access = context.bot.id, parts.access
    rule = access.rule(bot)
    name = f"@{escape_markdown(context.bot.username or str(bot))}"
    asked = [one for one in await parts.open_requests() if one.subject.bot == bot]
    waiting = [f"{code(str(r.subject.id))} {escape_markdown(r.title or r.name)}" for r in asked]
    settings = [*_listed(rule.people, "PEOPLE"), *_listed(rule.chats, "CHATS")]
    return paragraphs(
        f"{name} is {_MODES[rule.mode]}.",
        _section(
            "Admins",
            [
                *_listed(access.listed, "ADMINS"),
                *_listed(access.engineers - access.listed, "/roles"),
            ],
        ),
        _section("Let in", [*settings, *_granted(access, MEMBER, bot)]),
        _section("Blocked", _granted(access, BLOCKED, bot)),
        _section("Waiting", waiting),
    )


def _section(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    shown, more = first_items(lines, MAX_SHOWN)
    return "\n".join([f"**{title}:**", *(f"• {line}" for line in shown)]) + more


def _listed(ids: Iterable[int], variable: str) -> list[str]:
    return [f"{code(str(one))} · {variable}" for one in sorted(ids)]


def _granted(access: Access, level: Level, bot: int) -> list[str]:
    """Who was let in or blocked in a bot, or in all bots, and by whom."""
    lines = []
    for entry in access.grants.values():
        grant = entry.value
        subject = Subject.parse(grant.subject)
        if grant.level == level and subject.bot in (bot, EVERYWHERE):
            name = f" {escape_markdown(grant.name)}" if grant.name else ""
            where = " · all bots" if subject.bot == EVERYWHERE else ""
            lines.append(f"{code(str(subject.id))}{name}{where} · by {code(grant.by)}")
    return lines
