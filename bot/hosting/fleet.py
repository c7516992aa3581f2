"""All bots of this replica, and its part in sharing the lines with other replicas.

Once in a sweep, and whenever a line is given back, the fleet looks who is alive and which lines are
free. Each host reckons the same even spread (`shares`): the host that a free line prefers tries at
once, the others after a while; a host that holds what another should have gives it back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import structlog

from bot.errors import StoreError
from bot.hosting.leases import Leases, LeaseView
from bot.hosting.line import HostedLine
from bot.hosting.notifications import Notifications
from bot.hosting.rebalance import assign_lines
from bot.messages import Clock
from bot.ops.tasks import cancel_and_wait

log = structlog.get_logger("fleet")

PATIENCE = (0.3, 3.0)
"""How long a free line waits for the host that it prefers: in lifetimes of a lease, in seconds."""
DEPART_SECONDS = 2.0
SURE_AFTER = 2
KEPT_SECONDS = 60.0
GIVEN_SECONDS = 5.0


class Fleet:
    """The hosted bots; without leases (as an empty fleet has none) nothing is ever tried for."""

    def __init__(
        self,
        bots: Iterable[HostedLine],
        leases: Leases | None = None,
        wakes: Notifications | None = None,
        clock: Clock | None = None,
        sweep_seconds: float = 1.0,
    ) -> None:
        self.bots = list(bots)
        self._by_line = {bot.line: bot for bot in self.bots}
        self._leases = leases
        self._wakes = wakes
        self._clock = clock
        self._sweep_seconds = sweep_seconds
        self._soon = asyncio.Event()
        self._free_since: dict[str, float] = {}
        self._elsewhere: dict[str, int] = {}
        self._kept_until: dict[str, float] = {}
        self._given: set[str] = set()
        self._errands: set[asyncio.Task[None]] = set()
        self._spread: tuple[frozenset[str], dict[str, str]] = (frozenset(), {})
        self._others: list[HostedLine] = []  # whose lines another host should have

    async def run(self) -> None:
        """Serve all bots until they left."""
        beside = [asyncio.create_task(self._sweep_forever(), name="fleet.sweep")]
        if self._wakes is not None:
            listening = self._wakes.listen_forever(self._wake, self._soon.set)
            beside.append(asyncio.create_task(listening, name="fleet.listen"))
        try:
            await asyncio.gather(*(bot.run() for bot in self.bots))
        finally:
            await cancel_and_wait([*beside, *self._errands])

    def leave(self) -> None:
        """Let every bot finish and go; others may take over from now on."""
        self._errands.add(asyncio.create_task(self._leave()))

    async def _leave(self) -> None:
        """Out of the shares first, so that others know at once whose the free lines are."""
        with contextlib.suppress(TimeoutError, StoreError):
            async with asyncio.timeout(DEPART_SECONDS):
                if self._leases is not None:
                    await self._leases.depart()
        for bot in self.bots:
            bot.leave()

    def served(self) -> set[str]:
        """The lines that are served here now."""
        return {bot.line for bot in self.bots if bot.is_served}

    async def nudge(self, line: str) -> None:
        """Have a line look at its outbox, if it is served here."""
        if bot := self._by_line.get(line):
            await bot.nudge()

    def show_menu(self, line: str, person: int) -> None:
        """Set the menu of an admin who wrote to a line."""
        if bot := self._by_line.get(line):
            bot.show_menu(person)

    def show_menus(self) -> None:
        """Set all menus anew: the admins are others now."""
        for bot in self.bots:
            if bot.is_served:
                bot.show_menu()

    def _wake(self, line: str) -> None:
        if bot := self._by_line.get(line):
            bot.wake()

    async def _sweep_forever(self) -> None:
        while True:
            self._soon.clear()
            try:
                await self._sweep()
            except StoreError as error:
                log.warning("sweep.failed", error=str(error))
            except Exception:
                log.exception("sweep.failed")
            with contextlib.suppress(TimeoutError):  # wait_for may swallow a cancellation
                async with asyncio.timeout(self._sweep_seconds):
                    await self._soon.wait()

    async def _sweep(self) -> None:
        if self._leases is None or self._clock is None:
            return
        wanting = [bot for bot in self.bots if bot.is_wanting]
        view = await self._leases.look([bot.line for bot in wanting])
        spread = self._spread_over(self._peers(view, self._leases.announced))
        now = self._clock.monotonic()
        for bot in wanting:
            self._perhaps_try(bot, view, spread, now)
        for line in [line for line in self._free_since if self._by_line[line].is_held]:
            del self._free_since[line]
        self._give_back(spread, now)
        for line in await self._wakes.stirred() if self._wakes else ():
            self._wake(line)

    def _peers(self, view: LeaseView, me: str) -> frozenset[str]:
        """Hosts that serve the same bots as we do, and we."""
        offers = me.rpartition("|")[2]
        return frozenset(h for h in view.hosts if h.rpartition("|")[2] == offers) | {me}

    def _spread_over(self, hosts: frozenset[str]) -> dict[str, str]:
        if self._spread[0] != hosts:
            assert self._leases is not None
            spread, me = assign_lines(self._by_line, hosts), self._leases.announced
            self._spread = (hosts, spread)
            self._others = [bot for bot in self.bots if spread[bot.line] != me]
            log.info("fleet.shares", hosts=len(hosts), lines=len(self._by_line))
        return self._spread[1]

    def _perhaps_try(
        self, bot: HostedLine, view: LeaseView, spread: dict[str, str], now: float
    ) -> None:
        assert self._leases is not None
        if bot.line in view.holders:
            self._free_since.pop(bot.line, None)
            self._given.discard(bot.line)
            bot.seen_elsewhere()
            return
        since = self._free_since.setdefault(bot.line, now)
        preferred = spread[bot.line] == self._leases.announced
        patience = min(PATIENCE[0] * self._leases.lifetime, PATIENCE[1])
        if bot.line in self._given:  # whom we gave it to may be slow
            patience += GIVEN_SECONDS
        if preferred or now - since >= patience:
            bot.try_now()

    def _give_back(self, spread: dict[str, str], now: float) -> None:
        """Give lines to the hosts that should have them, each at most once in a while."""
        served = [bot for bot in self._others if bot.is_served]
        self._elsewhere = {bot.line: self._elsewhere.get(bot.line, 0) + 1 for bot in served}
        for bot in served:
            line = bot.line
            if self._elsewhere[line] >= SURE_AFTER and now >= self._kept_until.get(line, 0.0):
                self._kept_until[line] = now + KEPT_SECONDS
                self._given.add(line)
                log.info("line.given_back", line=line, to=spread[line].partition("|")[0])
                bot.give_back()
