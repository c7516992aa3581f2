"""What was cut off results, for a day; the newest few of each transcript."""

from __future__ import annotations

import zlib

import orjson

from bot.events import TurnRef
from bot.ports.fence import Fence
from bot.ports.rests import Rest
from bot.store import keys
from bot.store.client import StoreClient

KEPT = 8
SECONDS = 24 * 3600


class RedisRests:
    """Implements `ports.Rests`."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def keep(self, fence: Fence, ref: TurnRef, handle: str, rest: Rest) -> None:
        """Keep a rest under its handle; done again, it replaces itself."""
        names = [keys.fence(fence.line), keys.rests(fence.line, ref.conversation, ref.agent)]
        body = zlib.compress(orjson.dumps([rest.key, rest.text, rest.whole]), 1)
        await self._client.surely("shelve", names, [fence.token, handle, body, KEPT, SECONDS])

    async def rest(self, line: str, ref: TurnRef, handle: str) -> Rest | None:
        """A rest by its handle, or None where it is not kept any more."""
        name = keys.rests(line, ref.conversation, ref.agent)
        found = await self._client.patiently(lambda: self._client.command("HGET", name, handle))
        return Rest(*orjson.loads(zlib.decompress(found))) if found else None
