"""Groups that became supergroups: a chat with another id, and the same conversation in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from bot.events import Decoded, Ignored, Moved
from bot.ports.fence import Fence


class Register(Protocol):
    """Where moves are kept."""

    async def note(self, fence: Fence, before: int, now: int) -> None:
        """A group has another id from now on."""
        ...

    async def of(self, line: str) -> Mapping[int, int]:
        """The ids of a line's groups before they became supergroups, by the id of today."""
        ...


class Moves:
    """The moves of one line, from the moment at which an update tells of them.

    What is said in a chat that has moved is said in its old conversation.
    """

    def __init__(self, known: Mapping[int, int] | None = None) -> None:
        self._before = dict(known or {})

    def placed(self, event: Decoded) -> Decoded:
        """The event, its address with the id that the chat had before."""
        if isinstance(event, Ignored):
            return event
        if isinstance(event, Moved):
            self._before[event.to] = event.address.chat
            return event
        was = self._before.get(event.address.chat)
        return event if was is None else replace(event, address=replace(event.address, was=was))
