"""Bot commands: the rows of their table, what they see, and what they may ask for.

A command returns what it wants and sends nothing itself. Each feature keeps its own commands;
`bot.commands.table` collects them all.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from bot.messages import IncomingMessage
from bot.safety.text_safety import reveal
from registry.binding import BotIdentity, LostProfile, Resolution
from registry.errors import Problem
from registry.roles import (
    NO_REASON,
    ROLES,
    Action,
    Actor,
    Permission,
    RoleGrant,
    RoleName,
    Target,
    Tier,
    Why,
    roles_for,
    verdict,
)
from registry.snapshot import Snapshot

T = TypeVar("T")


class CommandResult:
    """What a command wants to happen; a feature may have kinds of its own."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Reply(CommandResult):
    """Answer with this Markdown, and put this keyboard in place of the phone's own."""

    text: str
    keyboard: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Refused(Reply):
    """Say why what was asked for was not done; in a menu the buttons stay."""


@dataclass(frozen=True, slots=True)
class ReasonNeeded(Refused):
    """What was asked for needs a reason; a menu asks for it."""


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
    `spent` is what was used today by kind of scope, `spent_by` what an agent used anywhere. `why`
    is the reason that a menu asked for.
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
    spent_by: Callable[[str], Awaitable[dict[str, int]]]
    why: Why = NO_REASON

    @property
    def line(self) -> str:
        """The line of the bot that it was sent to."""
        return f"bot:{self.bot.id}"

    @property
    def words(self) -> list[str]:
        """The words after the command."""
        return self.arguments.split()

    @property
    def arguments(self) -> str:
        """Everything after the command."""
        return self.incoming.command.arguments if self.incoming.command else ""


@dataclass(frozen=True, slots=True)
class Need:
    """What a person must be allowed before a command runs: one of these actions on these tiers.

    It is judged in the account `default`, or with `anywhere` in the accounts of the person's roles;
    the catalog then judges each document. With `reasons` the command takes `because …`, so that
    support may use it.
    """

    ways: tuple[tuple[Action, Tier], ...]
    anywhere: bool = False
    reasons: bool = False

    def is_met(self, grants: Sequence[RoleGrant]) -> bool:
        """Whether holders of these grants may try."""
        fine: set[Permission] = {"yes", "needs a reason"} if self.reasons else {"yes"}
        return any(
            verdict(grants, action, target) in fine
            for action, tier in self.ways
            for target in self._targets(tier, grants)
        )

    def _targets(self, tier: Tier, grants: Sequence[RoleGrant]) -> Iterable[Target]:
        if not self.anywhere or tier == "agent_builder":
            return [Target(tier)]
        clients = tier == "client"
        return [Target(tier, one.account, one.client if clients else None) for one in grants]

    @property
    def roles(self) -> list[RoleName]:
        """The roles that are enough in the account, the least one first; none: only host admins."""
        ways = [way for way in self.ways if way != ("write", "agent_builder")]
        enough = {role for action, tier in ways for role in roles_for(action, tier)}
        return [role for role in reversed(ROLES) if role in enough and self._suffices(role)]

    def _suffices(self, role: RoleName) -> bool:
        return self.is_met([RoleGrant(role=role)])

    @property
    def refusal(self) -> str:
        """The sentence for people who lack it, with the roles that it takes, as Markdown."""
        if not self.roles:
            return "Only admins of this host may send this."
        names = listed([code(role) for role in self.roles], "or")
        return f"Only admins of this host, and people with the role {names}, may send this."


READ_AGENTS = Need((("read", "agent_builder"),))
WRITE_AGENTS = Need((("write", "agent_builder"),), reasons=True)
HOST_ADMINS = Need((("write", "agent_builder"),))
"""What takes the right to write agents, and no reason: the host's state, drafts, its admins."""
READ_ACCOUNT = Need((("read", "instance"),))
WRITE_ACCOUNT = Need((("write", "instance"),), reasons=True)
LET_IN = Need((("write", "instance"),))
READ_AUDIT = Need((("read", "instance"),), anywhere=True)
READ_DOCUMENTS = Need((("read", "agent_builder"), ("read", "instance")), anywhere=True)
WRITE_DOCUMENTS = Need(
    (("write", "agent_builder"), ("write", "instance")), anywhere=True, reasons=True
)
READ_INSTANCES = Need((("read", "instance"),), anywhere=True)
WRITE_INSTANCES = Need((("write", "instance"),), anywhere=True, reasons=True)
GIVE_ROLES = Need((("read", "instance"), ("write", "client")), anywhere=True, reasons=True)


Function = Callable[..., Awaitable[CommandResult]]
"""Takes a CommandContext, and before it the parts that `BotCommand.using` gave, if any."""


@dataclass(frozen=True, slots=True)
class BotCommand:
    """One row of the table; `usage` is what may follow the name, `needs` what its sender needs.

    `concurrent` commands touch no conversation and run at once; `hidden` ones are in no list.
    """

    name: str
    help: str
    function: Function
    needs: Need | None = None
    usage: str = ""
    concurrent: bool = False
    hidden: bool = False

    @property
    def is_action(self) -> bool:
        """Whether a button of a menu leads to it, and nobody can type it."""
        return ":" in self.name

    def using(self, parts: object) -> BotCommand:
        """The same command, whose function gets these parts of the host as its first argument."""
        return replace(self, function=partial(self.function, parts))


def command(
    name: str,
    help: str,  # noqa: A002
    *,
    needs: Need | None = None,
    usage: str = "",
    concurrent: bool = False,
    hidden: bool = False,
) -> Callable[[Function], BotCommand]:
    """Decorate a function that makes it a row of the table of commands."""

    def row(function: Function) -> BotCommand:
        return BotCommand(name, help, function, needs, usage, concurrent, hidden)

    return row


class Commands:
    """The table of commands by name, and of what the buttons of menus lead to.

    `actor` says who sent a command, with the roles of this moment; `refuse` notes that a person was
    refused one, and gives what else they should read.
    """

    def __init__(
        self,
        rows: Iterable[BotCommand],
        actor: Callable[[CommandContext], Actor],
        refuse: Callable[[BotCommand, CommandContext], Awaitable[str]],
        actions: Iterable[BotCommand] = (),
    ) -> None:
        self._rows = {row.name: row for row in rows}
        self.actions = {row.name: row for row in actions}
        self._actor = actor
        self.refuse = refuse

    def find(self, name: str) -> BotCommand | None:
        """A row by its name, in any case."""
        return self._rows.get(name.lower())

    def action(self, name: str) -> BotCommand | None:
        """What a button of a menu leads to, by its name."""
        return self.actions.get(name)

    def permits(self, row: BotCommand, context: CommandContext) -> bool:
        """Whether the sender may use a command, by the roles that they have now."""
        return row.needs is None or row.needs.is_met(self._actor(context).grants)

    def visible(self, grants: Sequence[RoleGrant]) -> list[BotCommand]:
        """The rows that are in the lists of a person with these grants."""
        return visible(self._rows.values(), grants)


def visible(rows: Iterable[BotCommand], grants: Sequence[RoleGrant]) -> list[BotCommand]:
    """Of these rows those that a person with these grants may use, without the hidden ones."""
    return [row for row in rows if not row.hidden and (not row.needs or row.needs.is_met(grants))]


# --- why ---

_BECAUSE = re.compile(r"(?:\A|\s)because\b(.*)\Z", re.DOTALL | re.IGNORECASE)
_TICKET = re.compile(r"#([A-Za-z][A-Za-z0-9_]{0,31}-[0-9]{1,10}|[0-9]{1,10})\b")
LONGEST_REASON = 500
NO_WHY = (
    "Nothing was changed: your role is for support, so say why. End the command with `because` and "
    "the reason, or a ticket such as `#OPS-12`."
)


def split_reason(text: str) -> tuple[str, Why]:
    """What stands before `because …` at the end of a command, and why it is made.

    The first `#OPS-12` or `#12` in the reason is its ticket.
    """
    found = _BECAUSE.search(text)
    return (text[: found.start()], reason_of(found[1])) if found else (text, NO_REASON)


def reason_of(text: str) -> Why:
    """A reason with its ticket."""
    reason = " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())
    reason = reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 1]}…"
    ticket = _TICKET.search(reason)
    return Why(reason, ticket[1] if ticket else "")


# --- Markdown of replies ---

_MARKS = re.compile(r"[\\`*_\[\]()~>#+=|{}!<&$-]")
SIGNS = {"error": "✗", "warning": "⚠", "note": "·"}


def escape_markdown(text: str) -> str:
    """A text as Markdown that shows just this text."""
    # As numbers, not after a backslash: two brackets after backslashes would be a formula.
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", text)


def code(text: str) -> str:
    """A text in fixed width, on one line, with characters that people do not see written out."""
    shown, _ = reveal(" ".join(text.replace("`", "'").split()))
    return f"`{shown}`"


def listed(items: Sequence[str], word: str) -> str:
    """Items in a sentence: "a", "a or b", "a, b or c"."""
    *some, last = items
    return f"{', '.join(some)} {word} {last}" if some else last


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


def no_agent_cure(why: str, agents: Collection[str], errors: Collection[Problem] = ()) -> str:
    """How an admin gets an answer where none of these agents answers; `why` says why.

    Agents may be missing because of the `errors` in the documents, so these are named.
    """
    named = problem_lines(errors, 3)
    if named and not agents:
        return f"You are an admin: no agent could be read. Correct this first:\n{named}"
    if named:
        return paragraphs(no_agent_cure(why, agents), f"This may be the reason:\n{named}")
    wrong = (
        f" At the moment, {escape_markdown(why)}." if "exist" in why or "instance" in why else ""
    )
    if not agents:
        return f"You are an admin: create an agent with /addagent or in agents.json.{wrong}"
    first = next(iter(agents))
    if len(agents) == 1:
        return f"There is one agent, {code(first)}: send {code(f'/default {first}')}.{wrong}"
    one = f"Send {code(f'/default {first}')} to let it answer everywhere"
    return f"{one}, or {code(f'/bind {first}')} for this chat; /agents lists the others.{wrong}"


def lost_profile_cure(snapshot: Snapshot, lost: LostProfile | None) -> str:
    """How an admin gets an answer of an agent that lacks its profile."""
    if lost is None:
        return ""
    entry = snapshot.agents.get(lost.agent)
    how = f"{code('/edit AGENT profile NAME')} gives it another one"
    if entry is not None and entry.operator:
        how = f"set another one in {escape_markdown(entry.place)}"
    said = f"{code(lost.agent)} does not answer: there is no profile {code(lost.profile)}."
    return f"{said} /profiles lists those that there are; {how}."


def paragraphs(*parts: str) -> str:
    """Paragraphs, without the empty ones."""
    return "\n\n".join(part for part in parts if part)
