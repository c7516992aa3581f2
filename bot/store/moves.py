"""Groups of a line that became supergroups; implements `bot.dispatch.moves.Register`."""

from __future__ import annotations

from bot.ports.fence import Fence
from bot.store import keys
from bot.store.approvals import pairs_of
from bot.store.client import StoreClient


class RedisMoves:
    """One hash for a line: the id that a group has now, and the one that it had before."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def note(self, fence: Fence, before: int, now: int) -> None:
        """A group has another id from now on."""
        names = [keys.fence(fence.line), keys.moved(fence.line)]
        await self._client.surely("moved", names, [fence.token, now, before])

    async def of(self, line: str) -> dict[int, int]:
        """The ids of a line's groups before they became supergroups, by the id of today."""
        words = ("HGETALL", keys.moved(line))
        found = await self._client.patiently(lambda: self._client.command(*words))
        return {int(now): int(before) for now, before in pairs_of(found)}
