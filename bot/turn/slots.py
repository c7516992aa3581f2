"""How many turns run at once on this host; the others wait in the order of their messages."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator

from bot.ops.tasks import wait_first

Order = tuple[int, int, int]


class TurnSlots:
    """As many slots as turns may run at once.

    The oldest message gets the next free one, whatever conversation it is in.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[Order, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    @contextlib.asynccontextmanager
    async def slot(self, entry: str, stop: asyncio.Event) -> AsyncIterator[None]:
        """Hold a slot for the turn of an inbox entry.

        A turn that is stopped while it waits goes on without one: it ends at once.
        """
        has_slot = await self._take(entry, stop)
        try:
            yield
        finally:
            if has_slot:
                self._give_back()

    async def _take(self, entry: str, stop: asyncio.Event) -> bool:
        if self._free:
            self._free -= 1
            return True
        millis, _, number = entry.partition("-")
        order = (int(millis), int(number or 0), next(self._numbers))
        given = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (order, given))
        try:
            await wait_first(given, stop)
        except asyncio.CancelledError:
            if not given.cancel():
                self._give_back()
            raise
        return not given.cancel()

    def _give_back(self) -> None:
        while self._waiting:
            _, given = heapq.heappop(self._waiting)
            if not given.done():
                given.set_result(None)
                return
        self._free += 1
