"""When each API key was used last, and from where: kept by the door, shown in lists of keys."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from bot.errors import StoreError
from bot.store import keys
from bot.store.client import StoreClient

log = structlog.get_logger("api")
EVERY_SECONDS = 60.0
"""Between two notes of one key by one replica, at least."""
KEPT_SECONDS = 400 * 24 * 3600
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class KeyUse:
    """The last use of a key: when, in seconds since the epoch, and the address it came from."""

    at: float
    origin: str


@dataclass(slots=True)
class KeyUses:
    """The last uses, as the store has them."""

    store: StoreClient
    wall: Callable[[], float]
    _noted: dict[str, float] = field(default_factory=dict, init=False)

    def is_due(self, key_id: str) -> bool:
        """Whether a use that happens now is to be noted; then this replica waits for a minute."""
        now = self.wall()
        if abs(now - self._noted.get(key_id, -math.inf)) < EVERY_SECONDS:
            return False
        if len(self._noted) >= _MOST:
            self._noted.clear()
        self._noted[key_id] = now
        return True

    async def note(self, key_id: str, origin: str) -> None:
        """Write down a use; where the store is away, it is lost."""
        value = json.dumps({"at": round(self.wall(), 3), "from": origin})
        try:
            await self.store.command("SET", keys.api_key_use(key_id), value, "EX", KEPT_SECONDS)
        except StoreError as error:
            log.warning("key_use.lost", key=key_id, error=str(error))

    async def of(self, ids: Collection[str]) -> Mapping[str, KeyUse]:
        """The last uses of these keys, of those that were ever used; raises StoreError."""
        names = [*ids]
        if not names:
            return {}
        values = await self.store.command("MGET", *map(keys.api_key_use, names))
        read = zip(names, map(_read, values), strict=True)
        return {name: use for name, use in read if use is not None}


def _read(value: Any) -> KeyUse | None:
    with suppress(ValueError, TypeError, KeyError):
        found = json.loads(value)
        return KeyUse(float(found["at"]), str(found["from"]))
    return None
