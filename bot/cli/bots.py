"""`switchboard bots …` and `switchboard secrets …`: bots of the store, and the key of tokens."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from bot.cli.registry import ACTOR, Registry, Said, table, time_of, why_of
from bot.errors import ConfigError, WrongWords
from bot.variables import InvalidFile, read_secret
from registry.bot_edits import NewBot, is_of_key, lost_bindings, no_key, rotate, sealing_keys
from registry.errors import InvalidValue
from registry.sealing import Sealer, SealingKey, new_key
from registry.snapshot import Entry
from registry.stored_bot import BotStatus, StoredBot

DATA_STAYS = "its conversations stay in the store; `switchboard bots forget` deletes them"


def _data(entry: Entry[StoredBot]) -> dict[str, Any]:
    bot = entry.value
    return {
        "id": bot.number,
        "username": bot.username or None,
        "name": bot.name or None,
        "account": bot.account,
        "state": bot.state,
        "added_by": bot.added_by or None,
        "added": bot.added or None,
    }


async def list_bots(registry: Registry, given: Namespace) -> Said:
    """The bots of the environment and of the store; never a token."""
    snapshot, edits = registry.catalog.snapshot(), registry.bots
    found: list[dict[str, Any]] = [
        {"id": id, "account": snapshot.account_of_bot(id), "state": "running", "set_in": variable}
        for id, variable in edits.own.items()
    ]
    stored = snapshot.document.bots.values()
    found += [_data(entry) for entry in stored if entry.value.number not in edits.own]
    for one in found:
        if str(one["id"]) in snapshot.document.bots and "set_in" in one:
            one["also_stored"] = True
    found = [one for one in found if given.account in (None, one["account"])]
    rows = (
        [
            str(one["id"]),
            f"@{one['username']}" if one.get("username") else "",
            one["account"],
            one["state"],
            _set_in(one) or f"added {time_of(one['added'] or 0)} by {one['added_by'] or '?'}",
        ]
        for one in found
    )
    return Said([*table(rows)] or ["no bots"], found, notes=[*_unreadable(registry)])


def _set_in(one: dict[str, Any]) -> str:
    """Where a bot of the environment is set; '' for another."""
    also = " (and added to the store: `bots remove` takes it out there)"
    return f"{one.get('set_in') or ''}{also if one.get('also_stored') else ''}"


def _unreadable(registry: Registry) -> Iterator[str]:
    """The bots whose token was sealed with another key than the present one."""
    bots = [entry.value for entry in registry.catalog.snapshot().document.bots.values()]
    sealer = registry.bots.sealer
    if bots and sealer is None:
        yield str(no_key(registry.catalog.snapshot()))
        return
    for bot in bots:
        if sealer is not None and not is_of_key(bot, sealer):
            yield f"{bot.called}: its token is sealed with another key; `secrets rotate` tells more"


async def add_bot(registry: Registry, given: Namespace) -> Said:
    """Add a bot; its token comes from standard input, or is asked for without being shown."""
    registry.bots.require_key()
    if sys.stdin.isatty():
        from getpass import getpass

        token = getpass("token: ")
    else:
        token = sys.stdin.readline()
    wanted = NewBot(token.strip(), given.account, given.agent)
    added = await registry.bots.add(ACTOR, wanted, key=registry.key("add"), why=why_of(given))
    bot, done = added.bot, "added" if added.is_new else "changed the token of"
    line = f"{done} {bot.called}, bot {bot.id} of account {bot.account}"
    line += f"; {added.agent} answers there" if added.agent else ""
    said: dict[str, Any] = {"id": bot.number, "username": bot.username, "account": bot.account}
    return Said(
        [line], {**said, "agent": added.agent, "change": "added" if added.is_new else "token"}
    )


async def set_status(registry: Registry, given: Namespace) -> Said:
    """Pause a bot, or let it run again."""
    status: BotStatus = given.status
    change = registry.bots.set_status
    bot = await change(ACTOR, given.id, status, key=registry.key(status), why=why_of(given))
    line = f"{'paused' if status == 'paused' else 'resumed'} {bot.called}"
    return Said([line], {"id": bot.number, "state": bot.state})


async def rename_bot(registry: Registry, given: Namespace) -> Said:
    """Give a bot another name, in Telegram as well."""
    name, key = " ".join(given.name), registry.key("rename")
    bot = await registry.bots.rename(ACTOR, given.id, name, key=key, why=why_of(given))
    return Said([f"{bot.called} is named {bot.name} now"], {"id": bot.number, "name": bot.name})


async def move_bot(registry: Registry, given: Namespace) -> Said:
    """Let a bot belong to another account."""
    key = registry.key("move")
    bot = await registry.bots.move(ACTOR, given.id, given.to, key=key, why=why_of(given))
    line = f"{bot.called} belongs to account {bot.account} now"
    return Said([line], {"id": bot.number, "account": bot.account})


async def remove_bot(registry: Registry, given: Namespace) -> Said:
    """End the hosting of a bot; what was said in it stays."""
    bot = await registry.bots.remove(ACTOR, given.id, key=registry.key("remove"), why=why_of(given))
    slots = [*lost_bindings(registry.catalog, bot)]
    notes = [DATA_STAYS, *(f"still bound to it: {slot}" for slot in slots)]
    if variable := registry.bots.own.get(bot.number):
        notes.append(f"it goes on: {variable} sets its token as well; remove it there, and restart")
    return Said([f"removed {bot.called}"], {"id": bot.number, "change": "removed"}, notes=notes)


async def forget_bot(registry: Registry, given: Namespace) -> Said:
    """Delete what was said in a bot that is no longer hosted."""
    edits, key = registry.bots, registry.key("forget")
    if not given.yes:
        data = await edits.forgettable(ACTOR, given.id, key=key)
        raise WrongWords(
            f"this deletes all that was said in bot {given.id}, {data.keys} keys of {data.chats} "
            "chats: repeat it with --yes"
        )
    count = await edits.forget(ACTOR, given.id, key=key)
    line = f"deleted {count} keys of bot {given.id}"
    return Said([line], {"id": given.id, "keys": count})


# --- the key -------------------------------------------------------------------------------------


async def make_key(_registry: Registry, _given: Namespace) -> Said:
    """A fresh key; stdout has the key alone."""
    key = new_key()
    id = SealingKey.parse(key).id
    notes = [
        "set SECRETS_KEY to it at every replica, and keep a copy: without it no token is read",
        f"its key id, by which errors name it, is {id}",
    ]
    return Said([key], {"key": key, "id": id}, notes=notes)


async def rotate_key(registry: Registry, given: Namespace) -> Said:
    """Seal every token with SECRETS_KEY that was sealed with the key before it."""
    sealer = registry.bots.require_key()
    if given.old_file is not None:
        try:
            old = SealingKey.parse(read_secret(given.old_file))
        except (InvalidFile, InvalidValue) as wrong:
            raise ConfigError(f"--old-file: {wrong.message}; {wrong.cure}") from None
        _check_old(registry, sealer, old)
        sealer = Sealer(sealer.key, old)
    done = await rotate(registry.catalog, ACTOR, sealer, why_of(given))
    lines = [f"sealed anew: {done.anew}; done before: {done.before}"]
    lines += [f"failed: {len(done.problems)}"] if done.problems else []
    data = {"anew": done.anew, "before": done.before, "failed": len(done.problems)}
    code = 1 if done.problems else 0
    return Said(lines, data, code, [*map(str, done.problems)])


def _check_old(registry: Registry, sealer: Sealer, old: SealingKey) -> None:
    """Raise ConfigError where a key sealed none of the tokens that are still to be sealed anew."""
    bots = [entry.value for entry in registry.catalog.snapshot().document.bots.values()]
    needed = sealing_keys(bot for bot in bots if not is_of_key(bot, sealer))
    if needed and old.id not in needed:
        raise ConfigError(
            f"--old-file: its key has the id {old.id}, and sealed no token in the store; give the "
            f"key with the id {' or '.join(needed)}"
        )
