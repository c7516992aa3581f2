"""Bot commands: the rows of their table, what they see, and what they may ask for.

A command returns what it wants and sends nothing itself. Each feature keeps its own commands;
`bot.commands.table` collects them all.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

from bot.messages import IncomingMessage
from registry.binding import BotIdentity, Resolution
from registry.errors import Problem

CommandRole = Literal["everyone", "admin"]
T = TypeVar("T")


class CommandResult:
    """What a command wants to happen; a feature may have kinds of its own."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Reply(CommandResult):
    """Answer with this Markdown."""

    text: str


@dataclass(frozen=True, slots=True)
class StartNewConversation(CommandResult):
    """Set a boundary, so that what was said before is no longer read; then say this."""

    text: str


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What a command sees of its message.

    `agent` is the name of the agent that answers here, `resolution` says why. A change under `key`
    is made once, however often the message is handled. `fetch` reads a file of this bot by its id,
    up to a number of bytes. `grants` are the permanent permissions of this conversation by name,
    `spent` is what was used today by kind of scope.
    """

    incoming: IncomingMessage
    agent: str | None
    admin: bool
    key: str
    bot: BotIdentity
    resolution: Resolution
    fetch: Callable[[str, int], Awaitable[bytes]]
    grants: Callable[[], Awaitable[dict[str, dict[str, Any]]]]
    revoke_grant: Callable[[str], Awaitable[None]]
    spent: Callable[[], Awaitable[dict[str, dict[str, int]]]]

    @property
    def words(self) -> list[str]:
        """The words after the command."""
        return self.arguments.split()

    @property
    def arguments(self) -> str:
        """Everything after the command."""
        return self.incoming.command.arguments if self.incoming.command else ""


Function = Callable[..., Awaitable[CommandResult]]
"""Takes a CommandContext, and before it the parts that `BotCommand.using` gave, if any."""


@dataclass(frozen=True, slots=True)
class BotCommand:
    """One row of the table; `usage` is what may follow the name.

    `concurrent` commands touch no conversation and run at once; `hidden` ones are in no list.
    """

    name: str
    help: str
    function: Function
    role: CommandRole = "everyone"
    usage: str = ""
    concurrent: bool = False
    hidden: bool = False

    def using(self, parts: object) -> BotCommand:
        """The same command, whose function gets these parts of the host as its first argument."""
        return replace(self, function=partial(self.function, parts))


def command(
    name: str,
    help: str,  # noqa: A002
    *,
    role: CommandRole = "everyone",
    usage: str = "",
    concurrent: bool = False,
    hidden: bool = False,
) -> Callable[[Function], BotCommand]:
    """Decorate a function that makes it a row of the table of commands."""

    def row(function: Function) -> BotCommand:
        return BotCommand(name, help, function, role, usage, concurrent, hidden)

    return row


class Commands:
    """The table of commands by name; `refuse` notes that a person was refused a command."""

    def __init__(
        self,
        rows: Iterable[BotCommand],
        refuse: Callable[[BotCommand, CommandContext], Awaitable[None]],
    ) -> None:
        self._rows = {row.name: row for row in rows}
        self.refuse = refuse

    def find(self, name: str) -> BotCommand | None:
        """A row by its name, in any case."""
        return self._rows.get(name.lower())

    def visible(self, *, admin: bool) -> list[BotCommand]:
        """The rows that this person may use and that are in lists."""
        rows = [row for row in self._rows.values() if not row.hidden]
        return [row for row in rows if row.role == "everyone" or admin]


# --- Markdown of replies ---

_MARKS = re.compile(r"[\\`*_\[\]()~>#+=|{}!<&$-]")
SIGNS = {"error": "✗", "warning": "⚠", "note": "·"}


def escape_markdown(text: str) -> str:
    """A text as Markdown that shows just this text."""
    # As numbers, not after a backslash: two brackets after backslashes would be a formula.
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", text)


def code(text: str) -> str:
    """A text in fixed width, on one line."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def counted(number: int, what: str) -> str:
    """A number of things: "1 bot", "2 bots"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def first_items(items: Sequence[T], count: int) -> tuple[Sequence[T], str]:
    """The first items, and a line that says how many more there are."""
    rest = len(items) - count
    return items[:count], f"\n… and {rest} more" if rest > 0 else ""


def problem_lines(problems: Iterable[Problem], count: int = 12) -> str:
    """A line for each problem, with its place and its fix; '' for none."""
    shown, more = first_items(list(problems), count)
    lines = [f"{SIGNS[problem.level]} {escape_markdown(str(problem))}" for problem in shown]
    return "\n".join(lines) + more


def no_agent_cure(why: str, agents: Collection[str]) -> str:
    """How an admin gets an answer where none of these agents answers; `why` says why."""
    wrong = f" At the moment, {escape_markdown(why)}." if "not exist" in why else ""
    if not agents:
        return f"You are an admin: create an agent with /addagent or in agents.json.{wrong}"
    first = next(iter(agents))
    if len(agents) == 1:
        return f"There is one agent, {code(first)}: send {code(f'/default {first}')}.{wrong}"
    one = f"Send {code(f'/default {first}')} to let it answer everywhere"
    return f"{one}, or {code(f'/bind {first}')} for this chat; /agents lists the others.{wrong}"


def paragraphs(*parts: str) -> str:
    """Paragraphs, without the empty ones."""
    return "\n\n".join(part for part in parts if part)
