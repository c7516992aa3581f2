"""The ledger of model requests, its budgets, and /usage, which shows them."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson

from bot.command import CommandContext, CommandResult, Reply, command, counted
from bot.messages import Attribution, Fence
from bot.store import keys
from bot.store.client import StoreClient
from bot.store.journal import Record, dump_records
from bot.usage.budgets import Budgets, Cost, Spender, SpendLimit, day_of
from bot.usage.pricing import Pricing

COUNTED = ("requests", "tokens", "micros")
ATTRIBUTION = tuple(field.name for field in fields(Attribution))


@dataclass(frozen=True, slots=True)
class Ledger:
    """Reserves, and reads what was spent.

    The lines themselves are written by the journal, in the same step as the answers they are for.
    """

    client: StoreClient

    async def reserve(
        self, fence: Fence, hold: str, cost: Cost, limits: Mapping[str, SpendLimit], seconds: float
    ) -> str | None:
        """Reserve a cost in every scope, or in none: the scope that has too little left, or None.

        A reservation takes the place of an earlier one of the same name (`hold`); it lapses after
        some seconds.
        """
        args: list[Any] = [hold, cost.tokens, cost.micros, int(seconds * 1000)]
        for scope, limit in limits.items():
            args += [scope, *(-1 if one is None else one for one in (limit.tokens, limit.micros))]
        short = await self.client.as_owner("reserve", fence, [], *args)
        return list(limits)[short - 1] if short else None

    async def release(self, fence: Fence, hold: str, scopes: Sequence[str]) -> None:
        """Release a reservation in these scopes."""
        await self.client.as_owner("release_budget", fence, [], hold, *scopes)

    async def charge(self, fence: Fence, records: Sequence[Record]) -> None:
        """Write records of the ledger for what belongs to no open turn, once."""
        name = f"charge:{secrets.token_hex(8)}"
        names = [keys.seen(fence.line)]
        await self.client.as_owner("charge", fence, names, name, *dump_records(records))

    async def take(self, limits: Mapping[str, int]) -> str | None:
        """Count a request in every scope, or in none: the scope whose minute is full, or None."""
        names = [keys.requests_lately(scope) for scope in limits]
        full = await self.client.run_idempotent("take_requests", names, [*limits.values()])
        return [*limits][full - 1] if full else None

    async def spent(self, scope: str) -> dict[str, int]:
        """Requests, tokens and micro-dollars (`micros`) of a scope."""
        found = await self.client.read("HMGET", keys.budget(scope), *COUNTED)
        return {name: int(value or 0) for name, value in zip(COUNTED, found, strict=True)}

    async def lines(self, day: str, after: str = "", count: int = 1000) -> list[dict[str, Any]]:
        """The lines of a day (`2026-01-31`) in order, each with its `id`.

        Lines of earlier releases say less about who answered; what they lack is None. Their tokens
        and cost have today's form.
        """
        start = f"({after}" if after else "-"
        found = await self.client.read("XRANGE", keys.ledger(day), start, "+", "COUNT", count)
        absent = dict.fromkeys(ATTRIBUTION)
        return [
            {**absent, "id": id.decode(), **_of_today(orjson.loads(body[b"l"]))}
            for id, body in found
        ]


def _of_today(line: dict[str, Any]) -> dict[str, Any]:
    """A line, with tokens and cost as lines have them today."""
    if isinstance(line["tokens"], int):
        total, completion = line["tokens"], line["out"]
        parts = {"prompt": total - completion, "completion": completion, "total": total}
        cost = None if line["sure"] == "unknown" else line["micros"] / 1_000_000
        line |= {"tokens": parts, "cost": cost}
    return line


Alert = Callable[[str, str], Awaitable[object]]
"""Sends a text to the admins, once for its key."""


@dataclass(frozen=True, slots=True)
class BudgetService:
    """Dependencies shared by all turn budgets; `key_limit` is the budget of an API key, by id."""

    ledger: Ledger
    pricing: Pricing
    alert: Alert
    key_limit: Callable[[str], SpendLimit | None] = lambda _key: None

    def with_key(self, budgets: Budgets, key: str | None) -> Budgets:
        """Budgets with that of an API key, where it has one."""
        limit = self.key_limit(key) if key else None
        return {**budgets, "key": limit} if limit else budgets

    async def spent(
        self, spender: Spender, budgets: Budgets, now: float
    ) -> dict[str, dict[str, int]]:
        """What was spent on the day of `now`, by kind of scope, with the limits that there are."""
        scopes = spender.scopes(day_of(now))
        found = {k: await self.ledger.spent(name) for k, name in scopes.items() if k != "turn"}
        for kind, limit in budgets.items():
            limits = {"max_tokens": limit.tokens, "max_micros": limit.micros}
            found.get(kind, {}).update({k: v for k, v in limits.items() if v is not None})
        return found


TITLES = {"person": "you", "chat": "this chat", "agent": "this agent"}
ADMIN_TITLES = {"account": "this account", "host": "this host"}


@command("usage", "what was used here today", concurrent=True)
async def usage(context: CommandContext) -> CommandResult:
    """Show requests, tokens and dollars of today (UTC), as far as prices are known, and budgets."""
    found = await context.spent()
    titles = TITLES | ADMIN_TITLES if context.admin else TITLES
    lines = [f"- {title}: {_line(found[kind])}" for kind, title in titles.items() if kind in found]
    return Reply("\n".join(["**Used today (UTC):**", *lines]))


def _line(spent: Mapping[str, int]) -> str:
    requests = counted(spent["requests"], "model request")
    max_tokens, max_micros = spent.get("max_tokens"), spent.get("max_micros")
    line = f"{requests}, {spent['tokens']} tokens" + (f" of {max_tokens}" if max_tokens else "")
    if spent["micros"] or max_micros:
        line += f", ${spent['micros'] / 1_000_000:.4f}"
        line += f" of ${max_micros / 1_000_000:.2f}" if max_micros else ""
    return line
