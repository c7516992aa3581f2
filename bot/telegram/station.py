"""What all bots of a replica share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from bot.dispatch.moves import Register
from bot.dispatch.router import Router
from bot.dispatch.suspended import Suspended
from bot.ops.counters import Counters
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox
from bot.ports.outbox import Outbox
from bot.redaction import Secrets
from bot.telegram.menus import Menus
from bot.telegram.ownership import Leases
from bot.turn.transcripts import Transcripts


@dataclass(frozen=True, slots=True)
class Station:
    """What all bots of a replica share. `webhook_url` is the public base, or None for polling."""

    session: aiohttp.ClientSession
    api_url: str
    leases: Leases
    inbox: Inbox
    outbox: Outbox
    moves: Register
    router: Router
    suspended: Suspended
    transcripts: Transcripts
    clock: Clock
    counters: Counters
    poll_seconds: int
    secrets: Secrets
    menus: Menus | None = None
    identified: Callable[[], None] = lambda: None
    webhook_url: str | None = None
    deaf_seconds: float = 90.0
    drain_seconds: float = 20.0
    turns_at_once: int = 200
