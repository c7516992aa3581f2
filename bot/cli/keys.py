"""`switchboard keys …`: the API keys, each of which is shown once, and the webhooks' secrets."""

from __future__ import annotations

import argparse
import re
import secrets
from argparse import Namespace
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from bot.cli.documents import documents, found_in
from bot.cli.registry import ACTOR, Registry, Said, not_there, table, time_of, valid, why_of
from bot.errors import ConfigError
from bot.http.accounts.webhooks import SETTING, account_secret
from bot.store.key_uses import KeyUse, KeyUses
from registry.agent_limits import Budget
from registry.api_key import ApiKey, digest, new_secret

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def expiry(text: str) -> float | None:
    """When a key ends, in seconds since the epoch: `90d`, `12h`, `2027-01-31` (UTC) or `never`."""
    if text == "never":
        return None
    now = datetime.now(UTC).timestamp()
    if found := re.fullmatch(r"([0-9]{1,6})([mhdw])", text):
        return round(now + int(found[1]) * _SECONDS[found[2]])
    with suppress(ValueError):
        given = datetime.fromisoformat(text)
        at = (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
        if at > now:
            return at
        raise argparse.ArgumentTypeError(f"{text!r} is in the past")
    cure = "write 90d, 12h, 2027-01-31 or never"
    raise argparse.ArgumentTypeError(f"{text!r} is not a time; {cure}")


async def create_key(registry: Registry, given: Namespace) -> Said:
    """Make a key; stdout has the key alone, and everything else is on stderr."""
    snapshot = registry.catalog.snapshot()
    if given.agent is not None and not snapshot.has_named(given.account, given.agent):
        known = sorted([*snapshot.agents, *snapshot.instances_of(given.account)])
        cure = f"there are: {', '.join(known[:20]) or 'none'}"
        raise not_there("agent or instance", given.agent, known, cure)
    secret = new_secret()
    key = _key(given, secret, registry.catalog.wall())
    await registry.catalog.create_key(ACTOR, key, key=registry.key("create"), why=why_of(given))
    ends = f"expires {time_of(key.expires)} UTC" if key.expires else "never expires"
    notes = [
        f"created key {key.id}: {key.role} of {key.grant.place}, {ends}",
        "this is the only time that the key is shown:",
    ]
    return Said([secret], {"key": secret, **_data(key, None, registry.catalog.wall())}, notes=notes)


def _key(given: Namespace, secret: str, now: float) -> ApiKey:
    budget = None
    if given.tokens is not None or given.usd is not None:
        budget = valid(Budget, tokens=given.tokens, usd=given.usd)
    return valid(
        ApiKey,
        id=secrets.token_hex(4),
        hash=digest(secret),
        account=given.account,
        role=given.role,
        scope=given.scope or "account",
        user=given.user,
        client=given.client,
        agent=given.agent,
        budget=budget,
        expires=given.expires,
        created=round(now, 3),
        created_by=ACTOR.id,
    )


async def list_keys(registry: Registry, given: Namespace) -> Said:
    """The keys with what they may do and when they were last used; never a key or its hash."""
    now = registry.catalog.wall()
    keys = [*registry.own_keys, *(entry.value for entry in documents(registry, "key").values())]
    keys = [key for key in keys if given.account in (None, key.account)]
    uses = await _uses(registry, [key.id for key in keys])
    found = [_data(key, uses.get(key.id), now) for key in keys]
    rows = (
        [
            key.id,
            key.role,
            key.grant.place,
            f"agent {key.agent}" if key.agent else "",
            f"user {key.user}" if key.user else "",
            "environment" if key.created_by == "environment" else _until(key, one["state"]),
            _last_use(one),
        ]
        for key, one in zip(keys, found, strict=True)
    )
    return Said([*table(rows)] or ["no keys"], found)


def _until(key: ApiKey, state: str) -> str:
    if key.expires is None or state == "revoked":
        return state
    word = "until" if state == "live" else "since"
    return f"{state} {word} {time_of(key.expires)}"


def _last_use(one: Mapping[str, Any]) -> str:
    if not one["last_used"]:
        return "never used"
    origin = f" from {one['last_origin']}" if one["last_origin"] else ""
    return f"used {time_of(one['last_used'])}{origin}"


async def revoke_key(registry: Registry, given: Namespace) -> Said:
    """Make a key open nothing any more; one that was revoked before stays so."""
    if any(key.id == given.id for key in registry.own_keys):
        number = given.id.removeprefix("env")
        raise ConfigError(f"key {given.id} is set in API_KEYS__{number}__KEY; remove it there")
    before = found_in(registry, "key", given.id).value
    if before.revoked is not None:
        line = f"key {given.id} was revoked before, at {time_of(before.revoked)} UTC"
        return Said([line], {"id": given.id, "change": "unchanged"})
    change, why = registry.key("revoke"), why_of(given)
    await registry.catalog.revoke_key(ACTOR, given.id, key=change, why=why)
    line = f"revoked key {given.id}: {before.role} of {before.grant.place}"
    return Said([line], {"id": given.id, "change": "revoked"})


async def webhook_secret(registry: Registry, given: Namespace) -> Said:
    """The secret with which an account checks the signatures of its webhooks."""
    if not registry.webhook_master:
        raise ConfigError(f"{SETTING} is not set, so this host sends no webhooks")
    secret = account_secret(registry.webhook_master, given.account)
    return Said([secret], {"account": given.account, "secret": secret})


async def _uses(registry: Registry, ids: Collection[str]) -> Mapping[str, KeyUse]:
    """When each key was last used, and from where."""
    return await KeyUses(registry.client, registry.catalog.wall).of(ids) if registry.client else {}


def _data(key: ApiKey, use: KeyUse | None, now: float) -> dict[str, Any]:
    state = "live" if key.is_live(now) else "revoked" if key.revoked is not None else "expired"
    return {
        "id": key.id,
        "account": key.account,
        "role": key.role,
        "scope": key.grant.scope,
        "user": key.user,
        "client": key.client,
        "agent": key.agent,
        "budget": key.budget.model_dump(exclude_none=True) if key.budget else None,
        "created": key.created or None,
        "created_by": key.created_by or None,
        "expires": key.expires,
        "revoked": key.revoked,
        "state": state,
        "last_used": use.at if use else None,
        "last_origin": use.origin if use else None,
    }
