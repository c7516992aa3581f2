"""Bots that people are about to create by a button, and how what a bot has left is deleted."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

from bot.store import keys
from bot.store.client import StoreClient
from registry.bot_edits import BotData

OFFERED_SECONDS = 24 * 3600
_PAGE = 500
_MOST_SCANS = 1_000_000
_CONVERSATION = re.compile(rb":conv:(-?[0-9]+)")


@dataclass(frozen=True, slots=True)
class NewBotOffer:
    """What a person asked for: the account, the agent, and the file of a picture, if any."""

    account: str
    agent: str | None = None
    picture: str | None = None


@dataclass(frozen=True, slots=True)
class NewBotOffers:
    """The newest offer of each person in each line. Methods raise StoreError."""

    store: StoreClient

    async def keep(self, line: str, person: int, offer: NewBotOffer) -> None:
        """Remember an offer for a day, in place of an earlier one."""
        value = json.dumps(asdict(offer), ensure_ascii=False)
        key = keys.new_bot(line, person)
        await self.store.command("SET", key, value, "EX", OFFERED_SECONDS)

    async def find(self, line: str, person: int) -> NewBotOffer | None:
        """The offer of a person, if there is one."""
        found = await self.store.read("GET", keys.new_bot(line, person))
        return NewBotOffer(**json.loads(found)) if found else None

    async def end(self, line: str, person: int) -> None:
        """Forget an offer: its bot is there."""
        await self.store.command("DEL", keys.new_bot(line, person))


# --- what a bot has left ---


async def forget_bot(client: StoreClient, bot: int) -> int:
    """Delete the keys of a bot, but the number of its line's last owner; how many they were.

    It goes through the whole store in small steps. Raises StoreUnavailable; a repeat goes on.
    """
    count = 0
    async for names in _keys_of(client, bot):
        count += int(await client.command("DEL", *names))
    return count


async def left_of_bot(client: StoreClient, bot: int) -> BotData:
    """How much a bot has left in the store."""
    count, chats = 0, set[bytes]()
    async for names in _keys_of(client, bot):
        count += len(names)
        chats |= {found[1] for name in names if (found := _CONVERSATION.search(name))}
    return BotData(count, len(chats))


async def _keys_of(client: StoreClient, bot: int) -> AsyncIterator[list[bytes]]:
    """The keys of the line of a bot and the budgets of its chats, some at a time."""
    line = f"bot:{bot}"
    keep = keys.fence(line).encode()
    ours = f"{{{line}}}:".encode(), keys.budget(f"chat:{line}:").encode()
    cursor, both = b"0", f"*{line}[:}}]*"
    for _ in range(_MOST_SCANS):
        cursor, found = await client.command("SCAN", cursor, "MATCH", both, "COUNT", _PAGE)
        if names := [name for name in found if name.startswith(ours) and name != keep]:
            yield names
        if int(cursor) == 0:
            break
