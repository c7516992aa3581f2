"""The bots that any replica serves, by name: each host says which it serves, and reads the rest."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from bot.errors import StoreError
from bot.messages import Clock
from bot.ops.tasks import wait_first
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from registry.binding import BotIdentity

EVERY_SECONDS = 20.0
KNOWN_FOR_S = 120.0
"""A bot that no host has named for so long is served by none."""
MOST_BOTS = 10_000


@dataclass(slots=True, repr=False)
class KnownBots:
    """What is known of the bots of all replicas; `served` are those of this one.

    Set `changed` once one of these has said its name.
    """

    store: StoreClient
    clock: Clock
    served: Callable[[], Iterable[BotIdentity]]
    changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _told: set[int] = field(default_factory=set, init=False)
    _others: dict[int, BotIdentity] = field(default_factory=dict, init=False)

    async def follow(self) -> None:
        """Tell and read, again and again, until cancelled; a store that is away is waited for."""
        while True:
            self.changed.clear()
            with suppress(StoreError):
                await self.refresh()
            await wait_first(self.changed, timeout=EVERY_SECONDS)

    async def refresh(self) -> None:
        """Tell which bots are served here, and read which are served elsewhere."""
        now, served = self.clock.wall(), list(self.served())
        hosted = {one.id for one in served}
        if gone := self._told - hosted:
            await self.store.command("HDEL", keys.BOTS_SERVED, *map(str, gone))
        self._told = hosted
        own = [one for one in served if one.username]
        if own:
            told = [text for one in own for text in (str(one.id), _dumped(one, now))]
            await self.store.command("HSET", keys.BOTS_SERVED, *told)
        found = pairs_of(await self.store.command("HGETALL", keys.BOTS_SERVED))
        told_at = {id: _read(int(id), value) for id, value in found[:MOST_BOTS]}
        if old := [id for id, (_, at) in told_at.items() if now - at > KNOWN_FOR_S]:
            await self.store.command("HDEL", keys.BOTS_SERVED, *old)
        self._others = {one.id: one for id, (one, _) in told_at.items() if id not in old}

    def named(self, bot: BotIdentity) -> BotIdentity:
        """A bot with the names that another replica knows, where this one does not."""
        return self._others.get(bot.id, bot) if not bot.username else bot

    def elsewhere(self, here: Iterable[int]) -> list[BotIdentity]:
        """The bots that other replicas serve and this one does not host, by their usernames."""
        hosted = {*here, *self._told}  # what we have told of and just removed is served nowhere
        found = (one for id, one in self._others.items() if id not in hosted)
        return sorted(found, key=lambda one: one.username or "")


def _dumped(bot: BotIdentity, now: float) -> str:
    return json.dumps([bot.token_hash, bot.username, bot.name, round(now)], ensure_ascii=False)


def _read(id: int, value: bytes) -> tuple[BotIdentity, float]:
    token_hash, username, name, at = json.loads(value)
    return BotIdentity(token_hash, id, username, name), float(at)
