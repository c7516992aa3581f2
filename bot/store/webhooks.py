"""The webhooks of tasks in the store: noted with the task, due once it is over, claimed by a host.

The script that accepts a task notes its webhook, the one that gives its line back makes it due.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.store import keys
from bot.store.client import StoreClient

CLAIM_MS = 60_000
"""How long a host may take to send one; then another host sends it."""


@dataclass(frozen=True, slots=True)
class DueWebhook:
    """A webhook to send now: the task's line, and which attempt this is, from 1."""

    line: str
    attempt: int


@dataclass(frozen=True, slots=True)
class WebhookStore:
    """The webhooks of all hosts."""

    client: StoreClient

    async def claim(self, count: int) -> list[DueWebhook]:
        """Take at most so many that are due; raises StoreUnavailable."""
        found = await self.client.run("claim_webhooks", [keys.WEBHOOKS_DUE], [CLAIM_MS, count])
        return [DueWebhook(line.decode(), int(attempt)) for line, attempt in found]

    async def settle(self, line: str) -> None:
        """It was sent, or is given up."""
        await self.client.retry_while_down(
            lambda: self.client.command("ZREM", keys.WEBHOOKS_DUE, line)
        )

    async def postpone(self, line: str, until: float) -> None:
        """Send it again at a time, in seconds since the epoch."""
        words = ("ZADD", keys.WEBHOOKS_DUE, "XX", int(until * 1000), line)
        await self.client.retry_while_down(lambda: self.client.command(*words))
