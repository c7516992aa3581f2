"""Which admin has talked to which bots; implements `ops.notices.Acquaintances`."""

from __future__ import annotations

from bot.store.client import StoreClient

KNOWN = "admins:known"
TOLD_FOR_S = 48 * 3600


class RedisAcquaintances:
    """A set of "<person> <line>", and a mark for each notice that was taken up."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def note(self, person: int, line: str) -> None:
        """A person wrote to a line in private."""
        await self._client.command("SADD", KNOWN, f"{person} {line}")

    async def lines(self) -> dict[int, list[str]]:
        """The lines of each person."""
        found: dict[int, list[str]] = {}
        for member in await self._client.command("SMEMBERS", KNOWN):
            person, _, line = member.decode().partition(" ")
            found.setdefault(int(person), []).append(line)
        return found

    async def claim(self, key: str) -> bool:
        """Whether this replica is the first to take a notice up."""
        words = ("SET", f"admins:told:{key}", 1, "NX", "EX", TOLD_FOR_S)
        return await self._client.command(*words) is not None
