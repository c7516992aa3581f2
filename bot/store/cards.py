"""Cards: messages in private chats that ask each of some people the same question.

The request that cards are of is a hash: `to:<person>` is the line over which a person got a card,
`at:<person>` the messages that show it there, `role` what the request came to, '' while it is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.messages import Fence, OutgoingPart
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from bot.store.outbox import CARD_KEYS, QUESTION_CARD, dump_part


@dataclass(frozen=True, slots=True)
class Card:
    """The card that a person got: over which line, and the messages that show it there."""

    line: str
    messages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionCardsOf:
    """The cards of an approval request, by person; `line` is the line of its turn."""

    line: str
    cards: Mapping[int, Card] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CardStore:
    """The cards of one kind. Everything is repeated until the store answers."""

    client: StoreClient
    kind: str

    async def post(self, nonce: str, person: int, line: str, parts: Sequence[OutgoingPart]) -> bool:
        """Put a person's card into a line's outbox, and notify the line's owner.

        False where the person has one already, or the request is not open.
        """
        names = [CARD_KEYS[self.kind](nonce), keys.outbox(line), keys.lease(line)]
        names += [keys.LINES_CHANGED, keys.LINE_CHANGES]
        args: list[Any] = [person, line, *map(dump_part, parts)]
        return bool(await self.client.run_idempotent("post_card", names, args))

    async def failed(self, fence: Fence, nonce: str, person: int) -> None:
        """Forget the card that a person was to get over this line: it could not be delivered."""
        names = [CARD_KEYS[self.kind](nonce)]
        await self.client.as_owner("card_failed", fence, names, person, fence.line)


@dataclass(frozen=True, slots=True)
class QuestionCardStore(CardStore):
    """The cards of approval requests in conversations over HTTP."""

    kind: str = QUESTION_CARD

    async def open(self, nonce: str, line: str, seconds: float) -> None:
        """Let cards be posted for a request in a line; they are kept for some seconds."""
        args = [line, int(seconds)]
        await self.client.run_idempotent("open_cards", [keys.question_cards(nonce)], args)

    async def load(self, nonce: str) -> QuestionCardsOf | None:
        """The cards of a request; None where it has none."""
        return _load(await self.client.read("HGETALL", keys.question_cards(nonce)))

    async def note_change(self, nonce: str) -> QuestionCardsOf | None:
        """Note that a request has changed, so that it gets no new card; returns its cards."""
        names = [keys.question_cards(nonce)]
        return _load(await self.client.run_idempotent("change_cards", names, []))


def cards_of(fields: Mapping[str, Any]) -> dict[int, Card]:
    """The cards in a request's hash, by person."""
    found: dict[int, Card] = {}
    for name, value in fields.items():
        kind, _, person = name.partition(":")
        if kind == "to":
            shown = fields.get(f"at:{person}", b"").decode()
            numbers = tuple(int(one) for one in shown.split(",") if one)
            found[int(person)] = Card(value.decode(), numbers)
    return found


def _load(found: Any) -> QuestionCardsOf | None:
    fields = {name.decode(): value for name, value in pairs_of(found)}
    return QuestionCardsOf(fields["what"].decode(), cards_of(fields)) if "what" in fields else None
