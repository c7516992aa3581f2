"""Deletes what a line has left in the store, once nobody hosts it any more."""

from __future__ import annotations

from bot.store import keys
from bot.store.client import StoreClient

_PAGE = 500
_MOST_SCANS = 1_000_000


async def forget_line(client: StoreClient, line: str) -> int:
    """Delete the keys of a line, but the number of its last owner; how many they were.

    It goes through the whole store in small steps. Raises StoreUnavailable; a repeat goes on.
    """
    cursor, count = b"0", 0
    keep = keys.fence(line).encode()
    pattern = f"{{{line}}}:*"
    for _ in range(_MOST_SCANS):
        cursor, found = await client.command("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
        names = [name for name in found if name != keep]
        if names:
            count += int(await client.command("UNLINK", *names))
        if int(cursor) == 0:
            break
    return count


async def forget_bot(client: StoreClient, bot: int) -> int:
    """The same of the line of a bot."""
    return await forget_line(client, f"bot:{bot}")
