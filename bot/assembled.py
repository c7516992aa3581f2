"""The joined parts of a running host, as far as others look at them."""

from __future__ import annotations

import asyncio
from typing import Any

from bot import agents, report
from bot.ops.counters import Counters
from bot.ops.watched import WatchedModel
from bot.store.client import StoreClient
from bot.store.grants import RedisGrants
from bot.store.judge import Judge
from bot.telegram.fleet import Fleet
from bot.tools.installed import Handlers
from bot.tools.mcp.pool import Pool
from registry.catalog import Catalog


class Assembled:
    """The joined parts of a running host; the fleet, made last, is an empty one until then."""

    def __init__(
        self,
        catalog: Catalog,
        pool: Pool,
        store: StoreClient,
        counters: Counters,
        judge: Judge,
        model: WatchedModel,
        grants: RedisGrants,
    ) -> None:
        self.grants = grants
        self.judge = judge
        self.model = model
        self.fleet = Fleet([])
        self.catalog = catalog
        self.pool = pool
        self.store = store
        self.counters = counters
        self.url = ""
        self.loaded = asyncio.Event()
        self.handlers = Handlers()

    def report(self) -> dict[str, Any]:
        """What `/health` shows."""
        bots = report.bots(self.fleet)
        store = self.judge.report()
        return {
            **report.verdict(bots, store),
            "bots": bots,
            "store": store,
            "model": self.model.report(),
            "agents": sorted(self.catalog.snapshot().agents),
            "agents_available": len(self.catalog.snapshot().agents),
            "problems": [
                str(one) for one in agents.problems(self.catalog, self.fleet, self.handlers)
            ],
            "servers": report.servers(self.pool),
            "counters": self.counters.snapshot(),
            "store_round_trips": self.store.trips,
        }
