"""How replicas hear of what others did: a message, and a count as the net.

Owners hear of what was put into their lines, everybody of what admins have granted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from redis.exceptions import RedisError

from bot.errors import StoreError, WrongType
from bot.ports import Clock
from bot.store import keys
from bot.store.client import StoreClient
from bot.store.grants import RedisGrants

log = structlog.get_logger("wakes")

LISTEN_PAUSES = (0.2, 5.0)


class Wakes:
    """Hears `wake:{line}`, `lines:free` and `access:changed`.

    What a lost message told, `stirred` tells again.
    """

    def __init__(self, client: StoreClient, clock: Clock, grants: RedisGrants) -> None:
        self._client = client
        self._grants = grants
        self._clock = clock
        self._count: int | None = None

    async def stirred(self) -> set[str]:
        """Lines that others have put something into since the last call.

        Grants that have changed are put in force as well.
        """
        read = self._client.command
        stirs, version = await read("MGET", keys.STIRS, keys.GRANTS_VERSION)
        with contextlib.suppress(WrongType):  # those of before stay in force, and health tells
            await self._grants.stay(int(version or 0))
        now = int(stirs or 0)
        if self._count is None:
            self._count = now
            return set()
        if now == self._count:
            return set()
        if now < self._count:  # another store, or one that was emptied
            self._count = 0
        found = await read("ZRANGE", keys.LINES_STIRRED, f"({self._count}", "+inf", "BYSCORE")
        self._count = now
        return {line.decode() for line in found}

    async def listen_forever(self, wake: Callable[[str], None], freed: Callable[[], None]) -> None:
        """Call `wake` with a line's name, and `freed` when some line was given back."""
        pause, longest = LISTEN_PAUSES
        while True:
            with contextlib.suppress(StoreError, RedisError, OSError):
                await self._listen(wake, freed)
            await self._clock.sleep(pause)
            pause = min(pause * 2, longest)

    async def _listen(self, wake: Callable[[str], None], freed: Callable[[], None]) -> None:
        messages = self._client.messages()
        try:
            await messages.psubscribe(keys.WAKES)
            await messages.subscribe(keys.FREED, keys.GRANTS_CHANGED)
            while True:
                found = await messages.get_message(timeout=None)
                if found is None:
                    freed()  # we listen from now on: look at what we have missed
                elif found["channel"] == keys.FREED.encode():
                    freed()
                elif found["channel"] == keys.GRANTS_CHANGED.encode():
                    await self._grants.refresh()
                else:
                    wake(found["data"].decode())
        finally:
            await asyncio.shield(messages.aclose())  # type: ignore[no-untyped-call]
