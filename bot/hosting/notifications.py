"""How hosts hear of what others did: a published message, and a counter in case one is lost.

Owners hear of what was put into their lines; every host hears of changed grants.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from bot.access.store import AccessStore
from bot.errors import StoreError
from bot.messages import Clock
from bot.store import keys
from bot.store.client import StoreClient

LISTEN_PAUSES = (0.2, 5.0)
"""Seconds before listening again: after the first failure, and at most."""


@dataclass(slots=True, repr=False)
class Notifications:
    """Listens to `wake:{line}`, `lines:free` and `access:changed`."""

    client: StoreClient
    clock: Clock
    grants: AccessStore
    _count: int | None = field(default=None, init=False)

    async def changed_lines(self) -> set[str]:
        """Lines into which others have put something since the last call, lost messages included.

        Changed grants are put in force as well.
        """
        read = self.client.command
        changes, version = await read("MGET", keys.LINE_CHANGES, keys.GRANTS_VERSION)
        await self.grants.ensure_version(int(version or 0))
        before, now = self._count, int(changes or 0)
        if before is None:
            self._count = now
        if before is None or now == before:
            return set()
        first = before if now > before else 0  # else another store, or one that was emptied
        found = await read("ZRANGE", keys.LINES_CHANGED, f"({first}", "+inf", "BYSCORE")
        self._count = now
        return {line.decode() for line in found}

    async def listen_forever(
        self, on_changed: Callable[[str], None], on_free: Callable[[], None]
    ) -> None:
        """Call `on_changed` with a line's name, and `on_free` when some line was given back."""
        pause, longest = LISTEN_PAUSES
        while True:
            with contextlib.suppress(StoreError):
                await self._listen(on_changed, on_free)
            await self.clock.sleep(pause)
            pause = min(pause * 2, longest)

    async def _listen(self, on_changed: Callable[[str], None], on_free: Callable[[], None]) -> None:
        channels = (keys.LINES_FREE, keys.GRANTS_CHANGED)
        listening = self.client.listen(channels, keys.NOTIFICATIONS)
        async with contextlib.aclosing(listening) as messages:
            async for found in messages:
                if found is None or found[0] == keys.LINES_FREE:
                    on_free()  # also when listening begins: look for what we missed
                elif found[0] == keys.GRANTS_CHANGED:
                    await self.grants.refresh()
                else:
                    on_changed(found[1])
