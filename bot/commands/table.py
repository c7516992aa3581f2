"""The table of bot commands: name, role, help, function; and what a command may want to happen.

A command yields intents and sends nothing itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from bot.events import Incoming

Role = Literal["everyone", "admin"]


@dataclass(frozen=True, slots=True)
class Say:
    """Answer with this Markdown."""

    text: str


@dataclass(frozen=True, slots=True)
class BeginAnew:
    """Set a boundary: what was said before is not read any more; then say this."""

    text: str


Intent = Say | BeginAnew


@dataclass(frozen=True, slots=True)
class Context:
    """What a command sees: the message, who answers in this chat, and whether an admin asks."""

    incoming: Incoming
    agent: str | None
    admin: bool


Function = Callable[[Context], Awaitable[Intent]]


@dataclass(frozen=True, slots=True)
class BotCommand:
    """One row. `beside` commands touch no conversation and wait for nothing."""

    name: str
    help: str
    function: Function
    role: Role = "everyone"
    beside: bool = False


class Commands:
    """The rows by name."""

    def __init__(self, rows: list[BotCommand]) -> None:
        self._rows = {row.name: row for row in rows}

    def find(self, name: str) -> BotCommand | None:
        """A row by the name that was typed, in any case."""
        return self._rows.get(name.lower())

    def visible(self, *, admin: bool) -> list[BotCommand]:
        """The rows that this person may use."""
        return [row for row in self._rows.values() if row.role == "everyone" or admin]
