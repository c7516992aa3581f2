"""The ledger of model requests, and the budgets that are reserved before each of them.

A line is written by the journal, in the same step as the answer that it is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bot.messages import Fence
from bot.store import keys
from bot.store.client import StoreClient
from bot.usage.limits import Cost, SpendLimit

COUNTED = ("requests", "tokens", "micros")


class Ledger:
    """Implements `bot.usage.ledger.Ledger`, and reads what was spent."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def reserve(
        self, fence: Fence, hold: str, cost: Cost, limits: Mapping[str, SpendLimit], seconds: float
    ) -> str | None:
        """Set a cost aside in every scope, or in none: the scope that has not enough, or None."""
        args: list[Any] = [fence.token, hold, cost.tokens, cost.micros, int(seconds * 1000)]
        for scope, most in limits.items():
            args += [scope, *(-1 if one is None else one for one in (most.tokens, most.micros))]
        short = await self._client.run_idempotent("reserve", [keys.fence(fence.line)], args)
        return list(limits)[short - 1] if short else None

    async def release(self, fence: Fence, hold: str, scopes: Sequence[str]) -> None:
        """What was set aside is not needed."""
        args = [fence.token, hold, *scopes]
        await self._client.run_idempotent("release_budget", [keys.fence(fence.line)], args)

    async def spent(self, scope: str) -> dict[str, int]:
        """Requests, tokens and micros (millionths of a dollar) of a scope."""
        words = ("HMGET", keys.budget(scope), *COUNTED)
        found = await self._client.retry_while_down(lambda: self._client.command(*words))
        return {name: int(value or 0) for name, value in zip(COUNTED, found, strict=True)}

    async def lines(self, day: str, after: str = "", count: int = 1000) -> list[dict[str, Any]]:
        """Lines of a day (`2026-01-31`) in their order, each with its `id`."""
        start = f"({after}" if after else "-"
        words = ("XRANGE", keys.ledger(day), start, "+", "COUNT", count)
        found = await self._client.retry_while_down(lambda: self._client.command(*words))
        return [{"id": id.decode(), **orjson.loads(fields[b"l"])} for id, fields in found]
