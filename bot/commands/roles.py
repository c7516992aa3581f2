"""Who holds which role, from a chat: /roles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from pydantic import ValidationError

from bot.access.rules import Access
from bot.command import (
    GIVE_ROLES,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    escape_markdown,
    first_items,
    listed,
    paragraphs,
    split_reason,
)
from bot.commands.host import AdminContext, sentence
from bot.messages import ANONYMOUS_ADMIN, Address
from registry.errors import InvalidValue
from registry.roles import (
    CORE,
    ROLES,
    Actor,
    Duty,
    RoleDocument,
    RoleGrant,
    is_person,
    verdict,
)

MAX_SHOWN = 60
DUTIES = get_args(Duty)
USAGE = (
    "[grant PERSON ROLE | revoke PERSON ROLE] [host] [account A] [client C] [qa] [security] "
    "[because …]"
)
HOW = (
    f"Write /roles {USAGE}. PERSON is a numeric id, tg:ID or api:ACCOUNT:USER; leave it out in a "
    f"reply to a message of that person. ROLE is {listed(ROLES, 'or')}. Without a scope the role "
    "is one of the account default."
)
LAST_ADMIN = "You are the only admin. Make somebody else one first."
_NUMBER = re.compile(r"[1-9][0-9]{0,18}\Z")


class WordsNotUnderstood(ValueError):
    """Words of a command that are not valid; the text says why, or is ''."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A role that is to be given or taken away."""

    gives: bool
    person: str
    grant: RoleGrant


@command(
    "roles", "show or change who holds which role", needs=GIVE_ROLES, usage=USAGE, concurrent=True
)
async def roles(parts: tuple[AdminContext, Access], context: CommandContext) -> CommandResult:
    """List who holds which role, or give a role, or take one away."""
    host, access = parts
    text, why = split_reason(context.arguments)
    actor = host.actor(context)
    if not text.split():
        return Reply(_list(host, access, actor))
    try:
        wanted = _wanted(text.split(), context)
    except WordsNotUnderstood as error:
        return Reply(escape_markdown(f"{error} {HOW}".strip()))
    person, grant = wanted.person, wanted.grant
    what = f"{code(grant.role)} of {escape_markdown(grant.place)}"
    if wanted.gives:
        await host.catalog.grant_role(actor, person, grant, key=context.key, why=why)
        return Reply(paragraphs(f"{code(person)} is {what} now.", _hint(access, context, person)))
    if grant.scope == "host" and access.admins == {_telegram_id(person)} and not access.listed:
        return Reply(LAST_ADMIN)
    if await host.catalog.revoke_role(actor, person, grant, key=context.key, why=why):
        return Reply(f"{code(person)} is no longer {what}.")
    return Reply(f"{code(person)} is not {what}.")


def _wanted(words: Sequence[str], context: CommandContext) -> _Wanted:
    """What the words ask for; raises WordsNotUnderstood."""
    action, *rest = words
    if action.lower() not in ("grant", "revoke") or not rest:
        raise WordsNotUnderstood
    quoted = context.incoming.quoted
    if rest[0].lower() in ROLES and quoted is not None:
        if quoted.person is None:
            raise WordsNotUnderstood("That message was not written by a person.")
        rest = [str(quoted.person), *rest]
    if len(rest) < 2:
        raise WordsNotUnderstood
    person, role, *more = rest
    return _Wanted(action.lower() == "grant", person_of(person), role_grant(role, more))


def person_of(word: str) -> str:
    """A person by their id or full name; raises WordsNotUnderstood."""
    person = f"tg:{word}" if _NUMBER.match(word) else word
    if not is_person(person):
        raise WordsNotUnderstood(f"{word[:64]} does not name a person.")
    if _telegram_id(person) == ANONYMOUS_ADMIN:
        raise WordsNotUnderstood("That id belongs to everybody who writes in a group's name.")
    return person


def role_grant(role: str, words: Sequence[str]) -> RoleGrant:
    """A role with the scope and the duties that the words give; raises WordsNotUnderstood."""
    fields: dict[str, object] = {"role": role.lower()}
    rest = [word.lower() for word in words]
    while rest:
        word = rest.pop(0)
        if word in ("account", "client") and rest:
            fields[word] = rest.pop(0)
        elif word == "host":
            fields["scope"] = "host"
        elif word in DUTIES:
            fields["duties"] = (*fields.get("duties", ()), word)  # type: ignore[misc]
        else:
            raise WordsNotUnderstood(f"{word[:64]} is not valid here.")
    if "client" in fields:
        fields.setdefault("scope", "client")
    if fields["role"] not in ROLES:
        raise WordsNotUnderstood(f"There is no role {role[:64]}.")
    try:
        return RoleGrant.model_validate(fields)
    except ValidationError as error:
        raise WordsNotUnderstood(sentence(invalid(error))) from None


def invalid(error: ValidationError) -> str:
    """What is wrong with a value that its model refuses, and how to fix it."""
    first = error.errors()[0]
    why = first.get("ctx", {}).get("error")
    if isinstance(why, InvalidValue):
        return f"{why.message}; {why.cure}" if why.cure else why.message
    return str(first["msg"])


def _telegram_id(person: str) -> int:
    kind, _, number = person.partition(":")
    return int(number) if kind == "tg" else 0


def _hint(access: Access, context: CommandContext, person: str) -> str:
    """That a role alone opens no chat."""
    number, bot = _telegram_id(person), context.bot.id
    if not number or access.verdict(Address(bot, number), number) != "stranger":
        return ""
    allow = escape_markdown(f"/people allow {number}")
    return f"A role opens no chat: {allow} lets them talk to this bot."


def _list(host: AdminContext, access: Access, actor: Actor) -> str:
    """Who holds which role, as far as the actor may read it."""
    documents = [entry.value for entry in host.catalog.snapshot().document.roles.values()]
    lines = [line for document in documents for line in _held(document, actor)]
    if verdict(actor.grants, "read", CORE) == "yes":
        admins = sorted(access.admins - access.engineers)
        lines = [f"• {code(f'tg:{one}')} admin of this host" for one in admins] + lines
    if not lines:
        return "Nobody holds a role."
    shown, more = first_items(lines, MAX_SHOWN)
    return "\n".join(shown) + more


def _held(document: RoleDocument, actor: Actor) -> Iterator[str]:
    for grant in document.grants:
        if verdict(actor.grants, "read", grant.target) == "yes":
            duties = f" · {', '.join(grant.duties)}" if grant.duties else ""
            place = escape_markdown(grant.place)
            yield f"• {code(document.person)} {code(grant.role)} · {place}{duties}"
