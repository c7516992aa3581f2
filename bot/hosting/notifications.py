"""How replicas hear of what others did: a message, and a count as the net.

Owners hear of what was put into their lines, everybody of what admins have granted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import structlog

from bot.access.store import AccessStore
from bot.errors import StoreError
from bot.messages import Clock
from bot.store import keys
from bot.store.client import StoreClient

log = structlog.get_logger("wakes")

LISTEN_PAUSES = (0.2, 5.0)


class Notifications:
    """Hears `wake:{line}`, `lines:free` and `access:changed`.

    What a lost message told, `stirred` tells again.
    """

    def __init__(self, client: StoreClient, clock: Clock, grants: AccessStore) -> None:
        self._client = client
        self._grants = grants
        self._clock = clock
        self._count: int | None = None

    async def stirred(self) -> set[str]:
        """Lines that others have put something into since the last call.

        Grants that have changed are put in force as well.
        """
        read = self._client.command
        stirs, version = await read("MGET", keys.LINE_CHANGES, keys.GRANTS_VERSION)
        await self._grants.ensure_version(int(version or 0))
        now = int(stirs or 0)
        if self._count is None:
            self._count = now
            return set()
        if now == self._count:
            return set()
        if now < self._count:  # another store, or one that was emptied
            self._count = 0
        found = await read("ZRANGE", keys.LINES_CHANGED, f"({self._count}", "+inf", "BYSCORE")
        self._count = now
        return {line.decode() for line in found}

    async def listen_forever(self, wake: Callable[[str], None], freed: Callable[[], None]) -> None:
        """Call `wake` with a line's name, and `freed` when some line was given back."""
        pause, longest = LISTEN_PAUSES
        while True:
            with contextlib.suppress(StoreError):
                await self._listen(wake, freed)
            await self._clock.sleep(pause)
            pause = min(pause * 2, longest)

    async def _listen(self, wake: Callable[[str], None], freed: Callable[[], None]) -> None:
        channels = (keys.LINES_FREE, keys.GRANTS_CHANGED)
        listening = self._client.listen(channels, keys.NOTIFICATIONS)
        async with contextlib.aclosing(listening) as messages:
            async for found in messages:
                if found is None or found[0] == keys.LINES_FREE:
                    freed()  # also once we listen: look at what we have missed
                elif found[0] == keys.GRANTS_CHANGED:
                    await self._grants.refresh()
                else:
                    wake(found[1])
