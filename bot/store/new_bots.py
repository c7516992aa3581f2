"""Bots that people are about to create by a button: for which agent and account each is meant."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from bot.store import keys
from bot.store.client import StoreClient

OFFERED_SECONDS = 24 * 3600


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
