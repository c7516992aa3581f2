"""`switchboard agents | bindings | roles | access`: shows and changes documents of the registry."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from bot.cli.registry import (
    ACTOR,
    Registry,
    Said,
    not_there,
    person_of,
    table,
    time_of,
    valid,
    why_of,
)
from bot.errors import ConfigError, WrongWords
from registry.access import AccessGrant
from registry.binding import AgentBinding, AgentBindingType
from registry.history import documents_in, text_of, unwritten
from registry.instance import is_instance_id
from registry.profile_edits import delete
from registry.profiles_seen import shared_of
from registry.revisions import FieldChange, Kind, Revision, differences, json_of
from registry.roles import RoleDocument, RoleGrant
from registry.snapshot import Entry
from registry.sources import stored_values as stored

NAMES: Mapping[Kind, str] = {
    "agent": "agent",
    "instance": "agent instance",
    "binding": "binding",
    "default": "default agent",
    "role": "person with a role",
    "key": "key",
    "access": "access rule",
    "proposal": "proposal",
    "preset": "person with presets",
    "bot": "bot",
    "draft": "draft",
    "profile": "profile",
    "llm-config": "model configuration",
}
STDIN = "-"


def read_text(name: str) -> tuple[str, str]:
    """What is in a file, or on standard input for `-`; and what to call it in messages."""
    called = "standard input" if name == STDIN else name
    try:
        raw = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
        return raw.decode("utf-8-sig"), called
    except OSError as error:
        raise ConfigError(f"{called}: it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{called}: it is not UTF-8 text; save it as UTF-8") from None


# --- all kinds of documents ----------------------------------------------------------------------


def documents(registry: Registry, kind: Kind, *, packaged: bool = False) -> dict[str, Entry[Any]]:
    """The documents of a kind that are in force, by id; `packaged`: also what nobody wrote here."""
    snapshot = registry.catalog.snapshot()
    if packaged and kind == "instance":
        return dict(sorted(snapshot.document.instances.items()))
    if packaged and kind in ("profile", "llm-config"):
        return dict(sorted(shared_of(snapshot, kind).items()))
    found: dict[str, Entry[Any]] = {}
    for where, entry in documents_in(snapshot):
        own, id = stored.name_of(where)
        if own == kind:
            found[id] = entry
    return found


async def numbers(registry: Registry, kind: Kind, ids: Iterable[str]) -> dict[str, int]:
    """The number of the newest revision of each document; 0 where none is known."""
    known = [*ids]
    if registry.missing:
        return dict.fromkeys(known, 0)
    heads = await registry.catalog.heads([stored.key_of(kind, id) for id in known])
    return {id: head.number for id, head in zip(known, heads, strict=True)}


async def number(registry: Registry, kind: Kind, id: str) -> int:
    """The number of a document's newest revision."""
    return (await numbers(registry, kind, [id]))[id]


def shown(kind: Kind, id: str, entry: Entry[Any], revision: int) -> dict[str, Any]:
    """A document as JSON shows it."""
    return {
        "kind": kind,
        "id": id,
        "place": entry.place,
        "owner": entry.owner,
        "revision": revision or None,
        "hash": None if entry.owner == "package" else entry.revision,
        "value": json_of(text_of(entry.value)),
    }


async def listing(registry: Registry, kind: Kind) -> list[dict[str, Any]]:
    """All documents of a kind as JSON shows them."""
    found = documents(registry, kind, packaged=True)
    last = await numbers(registry, kind, found)
    return [shown(kind, id, entry, last[id]) for id, entry in found.items()]


def found_in(registry: Registry, kind: Kind, id: str) -> Entry[Any]:
    """A document that is in force; raises ConfigError."""
    known = documents(registry, kind, packaged=True)
    if id not in known:
        cure = f"there are: {', '.join(sorted(known)[:20]) or 'none'}"
        raise not_there(NAMES[kind], id, known, cure)
    return known[id]


async def show_document(registry: Registry, given: Namespace) -> Said:
    """A document alone, as `put` takes it back; with --json also its revision and place."""
    entry = found_in(registry, given.kind, given.id)
    body = shown(given.kind, given.id, entry, await number(registry, given.kind, given.id))
    return Said(json.dumps(body["value"], indent=2, ensure_ascii=False).splitlines(), body)


async def show_history(registry: Registry, given: Namespace) -> Said:
    """The revisions of a document, newest first."""
    found = await revisions(registry, given.kind, given.id)
    return Said([*table(map(_revision_row, found))], [*map(_revision_data, found)])


async def revisions(registry: Registry, kind: Kind, id: str) -> list[Revision]:
    """The revisions of a document, newest first; raises ConfigError where there are none."""
    found = await registry.history.revisions(ACTOR, kind, id)
    if not found and id in documents(registry, kind):
        message = f"{NAMES[kind]} '{id}' has no revisions yet"
        raise ConfigError(f"{message}; a host notes them when it loads the file")
    if not found and (why := unwritten(registry.catalog.snapshot(), kind, id)):
        raise ConfigError(why)
    if not found:
        cure = "`list` shows which there are; `audit list` also what was deleted"
        raise not_there(NAMES[kind], id, documents(registry, kind), cure)
    return found


def _revision_row(one: Revision) -> list[str]:
    what = "deleted" if one.text is None else f"from {one.place}" if one.place else ""
    by = f"{one.by} ({one.via})" if one.via not in ("", one.by) else one.by
    return [str(one.number), time_of(one.at), by, what, said_why(one.reason, one.ticket)]


def said_why(reason: str, ticket: str) -> str:
    """A reason and a ticket in one text."""
    return " ".join([*([reason] if reason else []), *([f"[{ticket}]"] if ticket else [])])


def _revision_data(one: Revision) -> dict[str, Any]:
    return {
        "revision": one.number,
        "hash": one.hash,
        "at": one.at,
        "by": one.by,
        "via": one.via,
        "reason": one.reason or None,
        "ticket": one.ticket or None,
        "place": one.place or None,
        "deleted": one.text is None,
    }


async def show_diff(registry: Registry, given: Namespace) -> Said:
    """What differs between two revisions; between the newest two unless they are named."""
    found = await revisions(registry, given.kind, given.id)
    new = given.new or found[0].number
    old = given.old or new - 1
    if old < 1:
        raise ConfigError(f"{NAMES[given.kind]} '{given.id}' has only one revision")
    diff = await registry.history.diff(ACTOR, given.kind, given.id, old, new)
    changes = [
        {"field": one.field, "section": one.section, "old": one.old, "new": one.new}
        for one in diff.changes
    ]
    head = f"{NAMES[given.kind]} {given.id}, revision {old} to {new}"
    lines = [f"{head}:", *(change_line(one) for one in diff.changes)]
    lines = lines if changes else [f"{head}: no difference"]
    return Said(lines, {"id": given.id, "from": old, "to": new, "changes": changes})


def change_line(change: FieldChange) -> str:
    """A changed field in a line; texts word by word."""
    name = change.field or "the whole document"
    if not change.words:
        was, now = (json.dumps(one, ensure_ascii=False) for one in (change.old, change.new))
        return f"  {name}: {was} -> {now}"
    marks = {"=": "{}", "-": "[-{}-]", "+": "{{+{}+}}"}
    parts = list[str]()
    for (mark, text), (following, _) in zip_longest(
        change.words, change.words[1:], fillvalue=("=", "")
    ):
        body = text if mark == "=" else text.rstrip()  # the space behind a word is no change
        is_replaced = (mark, following) == ("-", "+")
        parts.append(marks[mark].format(body) + ("" if is_replaced else text[len(body) :]))
    return f"  {name}: {''.join(parts)}"


async def restore_document(registry: Registry, given: Namespace) -> Said:
    """Make an old revision the newest one."""
    key, why = registry.key("restore"), why_of(given)
    newest = await registry.history.restore(
        ACTOR, given.kind, given.id, given.revision, key=key, why=why
    )
    line = f"restored {NAMES[given.kind]} {given.id} to revision {given.revision}"
    data = made(given.kind, given.id, "restored", newest)
    return Said([f"{line}, as revision {newest}"], data)


def made(kind: Kind, id: str, change: str, revision: int) -> dict[str, Any]:
    """The outcome of a change, as JSON shows it."""
    return {"kind": kind, "id": id, "change": change, "revision": revision or None}


# --- agents --------------------------------------------------------------------------------------


async def list_agents(registry: Registry, _given: Namespace) -> Said:
    """The agents with name, place and revision."""
    default = registry.catalog.snapshot().default
    found = [one | {"default": one["id"] == default} for one in await listing(registry, "agent")]
    rows = (
        [
            one["id"],
            one["value"]["name"],
            one["place"] if one["owner"] == "file" else "store",
            f"revision {one['revision']}" if one["revision"] else "",
            "default" if one["default"] else "",
        ]
        for one in found
    )
    return Said([*table(rows)] or ["no agents"], found)


async def put_agent(registry: Registry, given: Namespace) -> Said:
    """Create an agent, or change it, from JSON or YAML; an equal one is left as it is."""
    text, called = read_text(given.file)
    agent = await registry.catalog.parse_pasted(text, called)
    return await put_document(registry, given, agent.id, agent.to_text())


async def put_document(registry: Registry, given: Namespace, id: str, new: str) -> Said:
    """Create a document, or change it as a whole; an equal one is left as it is."""
    kind, catalog, why = given.kind, registry.catalog, why_of(given)
    where, name = stored.key_of(kind, id), f"{NAMES[kind]} {id}"
    there = await catalog.writable.text(where)
    fields = [one.field for one in differences(json_of(there or "{}"), json_of(new))]
    if there is not None and not fields and not catalog.owner(where):
        data = made(kind, id, "unchanged", await number(registry, kind, id))
        return Said([f"{name} is as it was"], data)
    act = "create" if there is None else "update"
    written = await catalog.put_document(
        ACTOR, kind, id, new, key=registry.key(act), why=why, action=act
    )
    if written.created:
        data = made(kind, id, "created", written.number)
        return Said([f"created {name}, revision {written.number}"], data)
    data = made(kind, id, "changed", written.number) | {"fields": fields}
    return Said([f"changed {name}, revision {written.number}: {', '.join(fields)}"], data)


async def delete_document(registry: Registry, given: Namespace) -> Said:
    """Delete an agent, an instance, a binding, a profile or a model configuration."""
    kind, id, catalog = given.kind, given.id, registry.catalog
    key, why = registry.key("delete"), why_of(given)
    if kind in ("profile", "llm-config"):
        done = await delete(catalog, ACTOR, kind, id, key=key, why=why)
    else:
        remove = {
            "agent": catalog.delete_agent,
            "instance": catalog.delete_instance,
            "binding": catalog.unbind,
        }[kind]
        done = await remove(ACTOR, id, key=key, why=why)
    if not done:
        found_in(registry, kind, id)
        raise ConfigError(f"{NAMES[kind]} '{id}' was deleted by somebody else")
    data = made(kind, id, "deleted", await number(registry, kind, id))
    notes = _left_over(registry, kind, id) if kind != "binding" else []
    return Said([f"deleted {NAMES[kind]} {id}"], data, notes=notes)


def _left_over(registry: Registry, kind: Kind, agent: str) -> list[str]:
    if agent in documents(registry, kind, packaged=True):
        return ["the one that comes with the package is in force again"]
    bindings = documents(registry, "binding").values()
    slots = [one.value.slot for one in bindings if one.value.agent_id == agent]
    slots += ["the default agent"] if registry.catalog.snapshot().default == agent else []
    return [f"still naming it, and inactive: {', '.join(slots)}"] if slots else []


async def default_agent(registry: Registry, given: Namespace) -> Said:
    """Show the default agent; set it, or set none."""
    default = registry.catalog.snapshot().default
    if given.id is None:
        known = default in registry.catalog.snapshot().agents
        line = f"{default}{'' if known else ', which does not exist'}" if default else "none"
        return Said([line], {"id": default})
    if registry.missing:
        raise ConfigError(f"this needs the store. {registry.missing}.")
    wanted = None if given.id == "none" else given.id
    if wanted is not None:
        found_in(registry, "agent", wanted)
    key, why = registry.key("default"), why_of(given)
    await registry.catalog.set_default(ACTOR, wanted, key=key, why=why)
    line = f"the default agent is {wanted}" if wanted else "there is no default agent now"
    revision = await number(registry, "default", stored.DEFAULT_ID)
    return Said([line], {"id": wanted, "before": default, "revision": revision or None})


# --- bindings ------------------------------------------------------------------------------------


async def list_bindings(registry: Registry, _given: Namespace) -> Said:
    """What is bound to which agent."""
    agents = registry.catalog.snapshot().runnable
    found = await listing(registry, "binding")
    rows = (
        [
            one["id"],
            one["value"]["agentId"],
            one["place"] if one["owner"] == "file" else "store",
            "" if one["value"]["agentId"] in agents else "inactive: no such agent",
        ]
        for one in found
    )
    return Said([*table(rows)] or ["no bindings"], found)


async def set_binding(registry: Registry, given: Namespace) -> Said:
    """Bind a bot, a chat or a person to an agent."""
    kinds = {
        AgentBindingType.TelegramBot: given.bot,
        AgentBindingType.ChatId: given.chat,
        AgentBindingType.UserId: given.person,
    }
    of, key = next((of, key) for of, key in kinds.items() if key is not None)
    if given.on_bot is not None and of is AgentBindingType.TelegramBot:
        raise WrongWords("--on-bot goes with --chat or --person: it narrows them to one bot")
    found_in(registry, "instance" if is_instance_id(given.agent) else "agent", given.agent)
    key = key.removeprefix("tg:") if of is AgentBindingType.UserId else key
    binding = valid(AgentBinding, agent_id=given.agent, type=of, binding_key=key, bot=given.on_bot)
    slot = binding.slot
    before = documents(registry, "binding").get(slot)
    was = before.value.agent_id if before else None
    if before and was == given.agent and not before.operator:
        data = made("binding", slot, "unchanged", await number(registry, "binding", slot))
        return Said([f"{slot} is bound to {was} already"], data)
    await registry.catalog.bind(ACTOR, binding, key=registry.key("bind"), why=why_of(given))
    revision = await number(registry, "binding", slot)
    line = f"bound {slot} to {given.agent}" + (f", before it was {was}" if was else "")
    change = "changed" if was else "created"
    return Said([line], made("binding", slot, change, revision) | {"agent": given.agent})


# --- roles ---------------------------------------------------------------------------------------


async def list_roles(registry: Registry, _given: Namespace) -> Said:
    """Who was given which roles; those of ADMINS are not among them."""
    found = await listing(registry, "role")
    people = documents(registry, "role")
    rows = (
        [person, grant.role, grant.place, ", ".join(grant.duties)]
        for person, entry in people.items()
        for grant in entry.value.grants
    )
    return Said([*table(rows)] or ["no roles"], found)


def _grant_of(given: Namespace) -> tuple[str, RoleGrant]:
    """The person and the role that were named; raises WrongWords."""
    scope = given.scope or ("client" if given.client else "account")
    person = person_of(given.person)
    grant = valid(
        RoleGrant,
        role=given.role,
        scope=scope,
        account=given.account,
        client=given.client,
        duties=tuple(getattr(given, "duty", None) or ()),
    )
    valid(RoleDocument, person=person, grants=(grant,))
    return person, grant


async def grant_role(registry: Registry, given: Namespace) -> Said:
    """Give a person a role."""
    person, grant = _grant_of(given)
    what = f"{grant.role} of {grant.place}"
    if grant in registry.catalog.snapshot().roles_held_by(person):
        data = made("role", person, "unchanged", await number(registry, "role", person))
        return Said([f"{person} is {what} already"], data)
    key, why = registry.key("grant"), why_of(given)
    await registry.catalog.grant_role(ACTOR, person, grant, key=key, why=why)
    data = made("role", person, "granted", await number(registry, "role", person))
    return Said([f"{person} is {what} now"], data | {"grant": grant.model_dump(mode="json")})


async def revoke_role(registry: Registry, given: Namespace) -> Said:
    """Take a role away from a person."""
    person, grant = _grant_of(given)
    what = f"{grant.role} of {grant.place}"
    key, why = registry.key("revoke"), why_of(given)
    held = registry.catalog.snapshot().roles_held_by(person)
    if not await registry.catalog.revoke_role(ACTOR, person, grant, key=key, why=why):
        roles = ", ".join(f"{one.role} of {one.place}" for one in held)
        raise ConfigError(
            f"{person} is not {what}; {f'they are {roles}' if roles else 'they have no role'}"
        )
    data = made("role", person, "revoked", await number(registry, "role", person))
    return Said([f"{person} is no longer {what}"], data)


async def role_history(registry: Registry, given: Namespace) -> Said:
    """The revisions of a person's roles."""
    given.id = person_of(given.id)
    return await show_history(registry, given)


# --- access --------------------------------------------------------------------------------------


async def list_access(registry: Registry, _given: Namespace) -> Said:
    """Who was let in, and who is blocked."""
    found = await listing(registry, "access")
    entries = [entry.value for entry in documents(registry, "access").values()]
    rows = ([one.subject, one.level, time_of(one.at), one.by, one.name] for one in entries)
    return Said([*table(rows)] or ["nobody was let in or blocked"], found)


def _subject(given: Namespace) -> str:
    """`person:5@7` as it stands; a number alone is a person, a negative one a group."""
    text = given.subject.removeprefix("tg:")
    if not text.removeprefix("-").isdigit():
        return str(given.subject)
    return f"{'chat' if text.startswith('-') else 'person'}:{text}@{given.bot or '*'}"


async def set_access(registry: Registry, given: Namespace) -> Said:
    """Let a person or a group in, or block them."""
    subject, catalog = _subject(given), registry.catalog
    now = int(catalog.wall())
    grant = valid(AccessGrant, subject=subject, level=given.level, by=ACTOR.id, at=now)
    before = documents(registry, "access").get(subject)
    word = "let in" if given.level == "member" else "blocked"
    if before and before.value.level == given.level:
        data = made("access", subject, "unchanged", await number(registry, "access", subject))
        return Said([f"{subject} is {word} already"], data)
    await catalog.set_access(ACTOR, grant, key=registry.key("access"), why=why_of(given))
    data = made("access", subject, word, await number(registry, "access", subject))
    return Said([f"{subject} is {word}"], data)


async def clear_access(registry: Registry, given: Namespace) -> Said:
    """Take back what let a person or a group in, or blocked them."""
    subject = _subject(given)
    valid(AccessGrant, subject=subject, level="member")
    key, why = registry.key("access"), why_of(given)
    if not await registry.catalog.clear_access(ACTOR, subject, key=key, why=why):
        found_in(registry, "access", subject)
        raise ConfigError(f"{subject} was cleared by somebody else")
    data = made("access", subject, "cleared", await number(registry, "access", subject))
    return Said([f"{subject} is neither let in nor blocked now"], data)
