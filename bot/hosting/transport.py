"""What hosting knows of a wire: the protocol that each kind of line implements."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.conversations.router import MessageOutcome
from bot.hosting.leases import SecondsLeft
from bot.messages import Channel, Decoded, Fence, TurnRef
from bot.store.inbox import Update
from registry.binding import BotIdentity

Accept = Callable[[Sequence[Update]], Awaitable[None]]
"""Stores updates in the line's inbox and lets them run; raises StoreUnavailable."""

Report = Callable[[str, MessageOutcome], Awaitable[None]]
"""Takes what a message tracks, and the outcome of the message."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """What a channel may do for a line that was just acquired, and whom it tells.

    It sends nothing once `seconds_left` is too short, and calls `on_lost` where the store says that
    another host owns the line. `on_late` is called with a turn that had ended and whose answer is
    delivered only now: its history has changed.
    """

    fence: Fence
    seconds_left: SecondsLeft
    on_lost: Callable[[], None]
    report: Report
    on_late: Callable[[TurnRef], None] = lambda _turn: None


class Transport(Protocol):
    """One line's wire: it receives updates, decodes them, and opens the way back.

    One object serves the line for as long as this host runs, through any number of acquisitions.
    """

    has_groups: bool
    """Whether its chats may be groups, whose ids can change."""

    @property
    def line(self) -> str:
        """The line's name, such as `bot:7`."""

    @property
    def identity(self) -> BotIdentity:
        """The bot under every name that a binding may use; its username once it is identified."""

    @property
    def state(self) -> str:
        """The state of receiving, in a word for `/health`: starting, polling, unreachable …."""

    @property
    def last_success(self) -> float | None:
        """When the other side last answered, in monotonic seconds."""

    async def identify(self) -> None:
        """Ask who we are until the other side answers; raises ChannelRevoked."""

    def decode(self, raw: bytes) -> Decoded:
        """What a stored update means."""

    def open_channel(self, owned: Ownership) -> Channel:
        """The way to the people of a line that was just acquired."""

    async def receive(self, accept: Accept) -> None:
        """Take updates in until cancelled; raises ChannelRevoked."""

    async def show_menu(self, person: int | None = None) -> None:
        """Show the commands to everybody and to each admin, or to one admin; never raises."""
