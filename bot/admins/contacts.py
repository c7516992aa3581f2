"""Which admin has talked to which bots, and who has a menu of their own there.

Implements `ops.notices.Acquaintances` and `telegram.menus.Owners`.
"""

from __future__ import annotations

from bot.store.client import StoreClient

KNOWN = "admins:known"
MENUS = "admins:menus"
TOLD_FOR_S = 48 * 3600


class AdminContacts:
    """A set of "<person> <line>", and a mark for each notice that was taken up."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def note(self, person: int, line: str) -> None:
        """A person wrote to a line in private."""
        await self._client.command("SADD", KNOWN, f"{person} {line}")

    async def forget(self, person: int, line: str) -> None:
        """A person cannot be reached over a line."""
        await self._client.command("SREM", KNOWN, f"{person} {line}")

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


class MenuOwners:
    """A set of "<person> <line>"."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def note(self, person: int, line: str) -> None:
        """A person is about to have a menu of their own at a line."""
        await self._client.command("SADD", MENUS, f"{person} {line}")

    async def of(self, line: str) -> set[int]:
        """All who may have one at a line."""
        members = [one.decode() for one in await self._client.command("SMEMBERS", MENUS)]
        return {int(one.split(" ")[0]) for one in members if one.split(" ")[1] == line}

    async def forget(self, person: int, line: str) -> None:
        """A person has none any more."""
        await self._client.command("SREM", MENUS, f"{person} {line}")
