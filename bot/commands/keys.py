"""The API keys, from a chat: /keys."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

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
from bot.commands.host import AdminContext, ago, lasting, sentence
from bot.commands.roles import WordsNotUnderstood, invalid
from bot.ops.shown_once import ShownOnce
from bot.store.key_uses import KeyUse
from registry.api_key import ApiKey, digest, new_secret
from registry.errors import KeyReused
from registry.roles import ROLES, Actor, verdict

LastUses = Callable[[Collection[str]], Awaitable[Mapping[str, KeyUse]]]
MAX_SHOWN = 40
USAGE = (
    "[create account A role R [host] [user U] [client C] [agent X] [expires 90d] | revoke ID] "
    "[because …]"
)
HOW = (
    f"Write /keys {USAGE}. R is {listed(ROLES, 'or')}. Without expires a key is valid until it is "
    "revoked."
)
IN_PRIVATE = "A key is shown in the chat: create it in a private chat with me."
SHOWN_ONCE = (
    "It is shown this once, and only its hash is kept. Store it now, then delete this message: "
    "everybody who reads it can use the key."
)
LOST = (
    "I made this key, but a fault kept me from showing it. /keys lists it: revoke it, and create "
    "another."
)
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_WORDS = ("account", "role", "user", "client", "agent", "expires")


@command("keys", "show, create or revoke API keys", needs=GIVE_ROLES, usage=USAGE, concurrent=True)
async def keys(
    parts: tuple[AdminContext, LastUses, ShownOnce], context: CommandContext
) -> CommandResult:
    """List the API keys, or create or revoke one."""
    host, last_uses, shown_once = parts
    text, why = split_reason(context.arguments)
    words, actor = text.split(), host.actor(context)
    match words:
        case []:
            return Reply(await _list(host, last_uses, actor))
        case ["revoke", id]:
            if await host.catalog.revoke_key(actor, id, key=context.key, why=why):
                return Reply(f"Revoked key {code(id)}: it opens nothing any more.")
            return Reply(f"There is no key {code(id[:64])}. /keys lists them.")
        case ["create", *rest]:
            if not context.incoming.address.private:
                return Reply(IN_PRIVATE)
            try:
                api_key, secret = _new_key(rest, context)
            except WordsNotUnderstood as error:
                return Reply(escape_markdown(f"{error} {HOW}".strip()))
            try:
                await host.catalog.create_key(actor, api_key, key=context.key, why=why)
            except KeyReused:
                return Reply(LOST)
            now = host.catalog.wall()
            hidden = (
                f"||{shown_once.hide(secret)}||"  # the reply lies in the store until it is sent
            )
            return Reply(paragraphs(f"Created key {_line(api_key, now)}.", hidden, SHOWN_ONCE))
    return Reply(escape_markdown(HOW))


@lru_cache(maxsize=16)
def _minted(_change: str) -> tuple[str, str]:
    """Id and secret of the key that a change makes: the same where the store is asked again."""
    return secrets.token_hex(4), new_secret()


def _new_key(words: Sequence[str], context: CommandContext) -> tuple[ApiKey, str]:
    """The key that the words ask for, with its secret; raises WordsNotUnderstood."""
    id, secret = _minted(context.key)
    made = float(context.incoming.sent_at)
    fields: dict[str, Any] = {"id": id, "hash": digest(secret), "created": made}
    fields["created_by"] = f"tg:{context.incoming.person.telegram_id}"
    rest = list(words)
    while rest:
        word = rest.pop(0).lower()
        if word == "host":
            fields["scope"] = "host"
        elif word in _WORDS and rest and word not in fields:
            value = rest.pop(0)
            fields[word] = _ends(value, made) if word == "expires" else value
        else:
            raise WordsNotUnderstood(f"{word[:64]} is not valid here.")
    if "account" not in fields or "role" not in fields:
        raise WordsNotUnderstood("A key needs an account and a role.")
    fields["role"] = fields["role"].lower()
    if fields["role"] not in ROLES:
        raise WordsNotUnderstood(f"There is no role {fields['role'][:64]}.")
    try:
        return ApiKey.model_validate(fields), secret
    except ValidationError as error:
        raise WordsNotUnderstood(sentence(invalid(error))) from None


def _ends(text: str, now: float) -> float | None:
    if text.lower() == "never":
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text.lower())
    if not found:
        raise WordsNotUnderstood(f"{text[:64]} is not a length of time: write 90d, 12h or never.")
    return now + int(found[1]) * _SECONDS[found[2]]


async def _list(host: AdminContext, last_uses: LastUses, actor: Actor) -> str:
    """The keys that the actor may read: live ones first."""
    now = host.catalog.wall()
    every = [entry.value for entry in host.catalog.snapshot().document.keys.values()]
    may = [k for k in every if verdict(actor.grants, "read", k.grant.target) == "yes"]
    if not may:
        return "There are no keys; /keys create makes one."
    shown, more = first_items(
        sorted(may, key=lambda k: (not k.is_live(now), -k.created)), MAX_SHOWN
    )
    uses = await last_uses([one.id for one in shown])
    lines = [f"• {_line(one, now)} · {_used(uses.get(one.id), now)}" for one in shown]
    return "\n".join(lines) + more


def _line(key: ApiKey, now: float) -> str:
    """A key in words: its id, what it may do and where, until when, and who made it."""
    return " · ".join([code(key.id), code(key.role), *map(escape_markdown, _facts(key, now))])


def _facts(key: ApiKey, now: float) -> Iterator[str]:
    yield key.grant.place if key.scope != "host" else f"host, account {key.account}"
    if key.user:
        yield f"user {key.user}"
    if key.agent:
        yield f"agent {key.agent}"
    if key.revoked is not None:
        yield f"revoked {ago(max(0.0, now - key.revoked))}"
    elif key.expires is None:
        yield "never expires"
    elif key.expires <= now:
        yield f"expired {ago(now - key.expires)}"
    else:
        yield f"expires in {lasting(key.expires - now)}"
    if key.created_by:
        yield f"made by {key.created_by}"


def _used(use: KeyUse | None, now: float) -> str:
    if use is None:
        return "never used"
    return escape_markdown(f"used {ago(max(0.0, now - use.at))} from {use.origin}")
