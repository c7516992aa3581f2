"""What admins have granted, who asks to be let in, and the code that makes the first admin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bot.access import Role, Subject
from bot.events import Address, Outgoing
from bot.ports.fence import Fence
from bot.ports.outbox import Posted


@dataclass(frozen=True, slots=True)
class Card:
    """An admin's card: the line it went to, and the messages that show it there."""

    line: str
    messages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A stranger, or a group, that is to be let in at a bot.

    `line` and `bot` are where they wrote, `person` who did; `added` says that this person brought
    the bot into the group `title`. `role` is what was decided, by the admin named `by`; None while
    it is open. `cards` are those of the admins, by their ids.
    """

    nonce: str
    subject: Subject
    line: str
    bot: str
    person: int
    name: str
    username: str = ""
    title: str = ""
    added: bool = False
    role: Role | None = None
    by: str = ""
    cards: Mapping[int, Card] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """A role to give, or (None) to take away: by whom, and the entry that `key` names for good.

    `name` is what the subject is called. `nonce` names the request that is answered by it.
    """

    subject: Subject
    role: Role | None
    by: int
    by_name: str
    key: str
    name: str = ""
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change. `nonce` names the request that it closed.

    `done` also where this very change was made before; `late` where another admin had answered;
    `absent` where there was nothing to answer or to take away.
    """

    kind: Literal["done", "late", "absent"]
    nonce: str = ""


class Grants(Protocol):
    """Grants and requests in the store. Every change is in the audit."""

    async def refresh(self) -> None:
        """Put in force what is granted now."""
        ...

    async def change(self, change: Change) -> Outcome:
        """Make a change, once for its key, and put it in force here."""
        ...

    async def knock(self, request: Request) -> Request | Literal["known", "many"]:
        """Open a request, or find the open one of its subject.

        known: an admin has decided on the subject; many: too many requests were opened lately.
        """
        ...

    async def find(self, nonce: str) -> Request | None:
        """A request with its cards, open or decided a while ago."""
        ...

    async def open_requests(self) -> Sequence[Request]:
        """All requests that nobody has answered, oldest first."""
        ...

    async def ask(self, nonce: str, admin: int, line: str, part: Outgoing) -> bool:
        """Put an admin's card into a line's outbox; False where they have it, or it is late."""
        ...

    async def unasked(self, fence: Fence, nonce: str, admin: int) -> None:
        """A card could not be delivered over its line: the admin has none any more."""
        ...

    async def turn_away(
        self, fence: Fence, entry: str, address: Address, parts: Sequence[Outgoing]
    ) -> list[Posted] | None:
        """Settle an entry, and say something in its chat, at most once an hour; None: not now."""
        ...

    async def offer_claim(self, code: str) -> None:
        """From now on this code, and no earlier one, makes an admin; an empty one: none does."""
        ...

    async def claim(self, code: str, change: Change) -> Literal["done", "wrong", "tired"]:
        """Make somebody the admin if they know the code; tired: they tried too often."""
        ...
