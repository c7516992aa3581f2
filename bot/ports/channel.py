"""A line's way to its people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.events import Address, Outgoing, Press
from bot.ports.outbox import Posted

Buttons = Sequence[Sequence[tuple[str, str]]]
"""Rows of buttons under a message, each with its text and its data."""

SOMEWHERE = 0
"""In place of a message's number: it may be in the chat, and nobody knows under which number."""


class Channel(Protocol):
    """A line's way to its people: renders, sends, previews."""

    def render(
        self,
        address: Address,
        markdown: str,
        reply_to: int | None = None,
        edit: int | None = None,
        buttons: Buttons = (),
        *,
        link_previews: bool = False,
    ) -> list[Outgoing]:
        """Markdown as the parts of an answer, the first as an edit where a message is given.

        Where its beginning is `SOMEWHERE` the first has the mark of what may be there twice. The
        last part has the buttons; an edit without any takes away those that were there. Nobody
        fetches what is linked to, unless `link_previews` says that it may be.
        """
        ...

    def word(self, press: Press, text: str) -> Outgoing:
        """What is shown for a moment to whoever pressed."""
        ...

    async def administers(self, address: Address, person: int) -> bool:
        """Whether somebody is an admin of this chat; in a private one, its person is."""
        ...

    async def has_left(self, address: Address, person: int) -> bool:
        """Whether somebody is surely not in this chat any more."""
        ...

    async def deliver(self, parts: Sequence[Posted]) -> None:
        """Parts that are in the outbox now: send them in the order of their chat.

        An empty list means that the step was done before: the outbox is read for what is new.
        """
        ...

    async def sent(self, entry: str) -> None:
        """Return once no part of this turn is left to send."""
        ...

    async def preview(
        self,
        address: Address,
        draft: int,
        markdown: str,
        message: int | None,
        *,
        link_previews: bool = False,
    ) -> int | None:
        """Show a growing answer if the chat has a free slot; the message id that shows it."""
        ...

    async def typing(self, address: Address) -> None:
        """Show that an answer is coming, if the chat has a free slot."""
        ...

    async def fetch(self, file: str, most: int) -> bytes:
        """A file that a person sent, of at most `most` bytes; raises `TelegramError` kinds."""
        ...
