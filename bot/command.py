"""The table of bot commands: name, role, help, function; and what a command may want to happen.

A command yields intents and sends nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from bot.messages import IncomingMessage
from registry.binding import BotIdentity, Resolution
from registry.errors import Problem

Needs = Literal["everyone", "admin"]


class CommandResult:
    """What a command wants to happen; a feature whose commands want more has a kind of its own."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Reply(CommandResult):
    """Answer with this Markdown."""

    text: str


@dataclass(frozen=True, slots=True)
class StartNewConversation(CommandResult):
    """Set a boundary: what was said before is not read any more; then say this."""

    text: str


Fetch = Callable[[str, int], Awaitable[bytes]]
Spent = Callable[[], Awaitable[dict[str, dict[str, int]]]]
Grants = Callable[[], Awaitable[dict[str, dict[str, Any]]]]
RevokeGrant = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What a command sees of its message.

    `agent` is the name of who answers here and `resolution` why. `key` names the message for good:
    a change under it is made once, however often the message is handled. `fetch` reads a file of
    this bot by its id, up to a number of bytes. `grants` tells what was allowed here for
    good, `spent` what was used today by kind of scope.
    """

    incoming: IncomingMessage
    agent: str | None
    admin: bool
    key: str
    bot: BotIdentity
    resolution: Resolution
    fetch: Fetch
    grants: Grants | None = None
    revoke_grant: RevokeGrant | None = None
    spent: Spent | None = None

    @property
    def words(self) -> list[str]:
        """The words behind the command."""
        return self.arguments.split()

    @property
    def arguments(self) -> str:
        """All that stands behind the command."""
        return self.incoming.command.arguments if self.incoming.command else ""


Function = Callable[[CommandContext], Awaitable[CommandResult]]
Refused = Callable[["BotCommand", CommandContext], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class BotCommand:
    """One row; `usage` is what may stand behind the name.

    `concurrent` commands touch no conversation and wait for nothing; `hidden` ones are in no list.
    """

    name: str
    help: str
    function: Function
    role: Needs = "everyone"
    concurrent: bool = False
    usage: str = ""
    hidden: bool = False


class Commands:
    """The rows by name; `refused` hears of those who may not use what they tried."""

    def __init__(self, rows: Iterable[BotCommand], refused: Refused | None = None) -> None:
        self._rows = {row.name: row for row in rows}
        self._refused = refused

    def find(self, name: str) -> BotCommand | None:
        """A row by the name that was typed, in any case."""
        return self._rows.get(name.lower())

    def visible(self, *, admin: bool) -> list[BotCommand]:
        """The rows that this person may use."""
        rows = [row for row in self._rows.values() if not row.hidden]
        return [row for row in rows if row.role == "everyone" or admin]

    async def refuse(self, row: BotCommand, context: CommandContext) -> None:
        """Leave a trace of a refusal."""
        if self._refused is not None:
            await self._refused(row, context)


T = TypeVar("T")

_MARKS = re.compile(r"[\\`*_\[\]()~>#+=|{}!<&$-]")
_SIGNS = {"error": "✗", "warning": "⚠", "note": "·"}


def escape_markdown(text: str) -> str:
    """A text as Markdown that shows just this text."""
    # By number, not behind a backslash: two brackets behind backslashes would be a formula.
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", text)


def code(text: str) -> str:
    """A text in fixed width, on one line."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def counted(number: int, what: str) -> str:
    """A number of things: "1 bot", "2 bots"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def first_items(items: Sequence[T], most: int) -> tuple[Sequence[T], str]:
    """The first items, and a line that says how many more there are."""
    rest = len(items) - most
    return items[:most], f"\n… and {rest} more" if rest > 0 else ""


def problem_lines(problems: Iterable[Problem], most: int = 12) -> str:
    """One line for each problem, with its place and cure; empty for none."""
    shown, more = first_items(list(problems), most)
    lines = [f"{_SIGNS[problem.level]} {escape_markdown(str(problem))}" for problem in shown]
    return "\n".join(lines) + more


def paragraphs(*parts: str) -> str:
    """Paragraphs, without the empty ones."""
    return "\n\n".join(part for part in parts if part)
