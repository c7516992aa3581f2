"""What admin commands work with, and the host from a chat: /status, /reload."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import structlog

from bot.command import (
    HOST_ADMINS,
    NO_WHY,
    SIGNS,
    BotCommand,
    CommandContext,
    CommandResult,
    ReasonNeeded,
    Refused,
    Reply,
    code,
    command,
    counted,
    escape_markdown,
    first_items,
    lost_profile_cure,
    paragraphs,
    problem_lines,
)
from bot.errors import UnreadableFile
from bot.messages import ANONYMOUS_ADMIN
from bot.tools.toolset import ListedTool
from registry.audit import AuditRecord
from registry.binding import BotIdentity, LostProfile
from registry.catalog import Catalog
from registry.definition import AgentDefinition, LlmConfiguration
from registry.errors import (
    Denied,
    DocumentErrors,
    KeyReused,
    NotThere,
    Problem,
    ReasonMissing,
    RegistryError,
    RegistryUnavailable,
    ReviewNeeded,
)
from registry.fields import nearest
from registry.history import History
from registry.preset_rules import KnownTools
from registry.roles import HOST_ADMIN, OPERATOR_ACTOR, Actor, RoleGrant
from registry.snapshot import Snapshot

log = structlog.get_logger("commands")

FIRST_PAUSE_S = 0.05
MAX_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class BotState:
    """A hosted bot as /bots shows it; `backlog` counts its entries that wait or run.

    `variable` is the one that sets its token, unless it `is_stored`: added at run time.
    """

    identity: BotIdentity
    state: str
    backlog: int = 0
    why: str = ""
    variable: str = ""
    is_stored: bool = False


@dataclass(frozen=True, slots=True)
class AgentTools:
    """The tools that an agent has for somebody, and what is odd about those that it names.

    These are skills that cannot be used, and tools that do not exist. `absent` are its servers
    that are not connected, so that their tools are not known.
    """

    listed: Sequence[ListedTool] = ()
    problems: Sequence[Problem] = ()
    absent: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class ToolsOfAgents:
    """The tools that an agent has for the person who sent a command, as far as they are known now.

    `known` waits a while until all are, and names also those that are not for this person.
    """

    listed: Callable[[str | AgentDefinition, CommandContext], Awaitable[AgentTools]]
    known: KnownTools

    async def __call__(self, agent: str | AgentDefinition, context: CommandContext) -> AgentTools:
        """The tools of an agent by its id, or of one that is not stored."""
        return await self.listed(agent, context)


@dataclass(frozen=True, slots=True)
class AdminContext:
    """The parts of the host that admin commands read and change.

    `history` holds the revisions and the audit, over the catalog.

    `defaults` are the host's model settings; the operator set those of its `model_fields_set`.
    `advice` says in sentences which settings a model does not accept; `report` is what health
    shows, `servers` the part of it on an agent's MCP servers, by its id.
    """

    history: History
    defaults: LlmConfiguration
    advice: Callable[[LlmConfiguration], list[str]]
    bots: Callable[[], Sequence[BotState]]
    report: Callable[[], Mapping[str, Any]]
    servers: Callable[[str], Sequence[Mapping[str, Any]]]
    tools: ToolsOfAgents

    @property
    def catalog(self) -> Catalog:
        """The agents, bindings, roles and keys."""
        return self.history.catalog

    async def audit_refusal(self, row: BotCommand, context: CommandContext) -> None:
        """Write an audit entry for a command that its sender may not use.

        One an hour for each person, command and chat: nobody can push the rest out of the audit.
        """
        incoming = context.incoming
        chat = f"in chat {incoming.address.chat} of bot {context.bot.id}"
        hour = incoming.sent_at // 3600
        who = incoming.person.telegram_id
        key = f"{context.bot.id}:{incoming.address.chat}:{who}:/{row.name}:{hour}"
        what = f"menu {row.name}" if row.is_action else f"/{row.name}"
        await self.catalog.refused(self.actor(context), what, chat, key=key)

    def actor(self, context: CommandContext) -> Actor:
        """The sender as the audit names them, by numeric id alone, with their roles now."""
        person = context.incoming.person.telegram_id
        return Actor(f"tg:{person}", self.roles_of_person(person, admin=context.admin), "chat")

    def roles_of_person(self, person: int, *, admin: bool) -> tuple[RoleGrant, ...]:
        """The roles of a person in Telegram at this moment; `admin`: they administer the host."""
        if person == ANONYMOUS_ADMIN:  # whoever writes in the name of a group
            return ()
        granted = self.catalog.snapshot().roles_held_by(f"tg:{person}")
        is_admin = admin or any(grant.scope == "host" for grant in granted)
        return (*HOST_ADMIN, *granted) if is_admin else granted


def retrying(row: BotCommand) -> BotCommand:
    """The same command, retried while the registry is down; its refusals become replies.

    A change whose answer was lost is asked for again: under its key it is made once.
    """

    @wraps(row.function)
    async def run(context: CommandContext, *arguments: str) -> CommandResult:
        pause = FIRST_PAUSE_S
        while True:
            try:
                return await row.function(context, *arguments)
            except RegistryUnavailable as error:
                log.warning("command.waits", error=str(error), again_in=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE_S)
            except ReasonMissing as error:
                return ReasonNeeded(refusal_text(error))
            except (RegistryError, UnreadableFile) as error:
                return Refused(refusal_text(error))

    return replace(row, function=run)


def refusal_text(error: Exception) -> str:
    """What is answered where a command could not do what it was asked for."""
    text = escape_markdown(str(error))
    match error:
        case DocumentErrors():
            return f"Nothing was changed.\n{problem_lines(error.problems)}"
        case UnreadableFile():
            return sentence(f"I could not read the file: {text}")
        case KeyReused():
            return "This was already done."
        case ReviewNeeded():
            return f"Kept, not yet in force: {text}. That person finds it with {code('/reviews')}."
        case ReasonMissing():
            return NO_WHY
        case Denied() | NotThere():
            return escape_markdown(sentence(str(error)))
    return sentence(f"Nothing was changed: {text}")


def sentence(text: str) -> str:
    """A text of an error as a sentence."""
    end = "" if text.endswith((".", "!", "?")) else "."
    return f"{text[:1].upper()}{text[1:]}{end}"


def no_agent(snapshot: Snapshot, wanted: str) -> str:
    """A reply that there is no such agent, with the id that was probably meant.

    Or that it cannot answer, as its profile is not there.
    """
    if lost := snapshot.lost_profile(wanted):
        return lost_profile_cure(snapshot, LostProfile(wanted, lost))
    near = nearest(wanted[:64], [*snapshot.agents][:MAX_NAMES], 0.6)
    rest = f"Did you mean {code(near)}?" if near else "/agents lists them."
    return f"There is no agent {code(wanted[:64])}. {rest}"


MAX_NAMES = 2000
MAX_CHANGES = 5
MAX_PROBLEMS = 10


@command("status", "show the state of the host", needs=HOST_ADMINS, concurrent=True)
async def status(host: AdminContext, _context: CommandContext) -> CommandResult:
    """Show the state of the host, its problems, and the latest changes."""
    report, snapshot = host.report(), host.catalog.snapshot()
    parts = {"bot": report["bots"], "agent": snapshot.agents, "binding": snapshot.bindings}
    counts = " · ".join(counted(len(items), what) for what, items in parts.items())
    model = "\n".join(_model(report["model"]))
    servers = "\n".join(server_line(one) for one in report["servers"] if one["state"] != "up")
    pairs = zip(report["problems"], report["levels"], strict=True)
    ranked = sorted(pairs, key=lambda pair: [*SIGNS].index(pair[1]))
    problems = [f"{SIGNS[level]} {escape_markdown(text)}" for text, level in ranked]
    shown, more = first_items(problems, MAX_PROBLEMS)
    head = f"The host is **{escape_markdown(report['status'])}**: {counts}"
    return Reply(paragraphs(head, model, servers, "\n".join(shown) + more, await _changes(host)))


def _model(model: Mapping[str, Any]) -> Iterator[str]:
    """The state of the model: what must be fixed, or how its last request ended."""
    problems = [escape_markdown(problem) for problem in model.get("problems", ())]
    yield from (f"✗ {problem}" for problem in problems)
    if problems:
        return
    if model["state"] == "failing":
        yield f"⚠ The model did not answer the last request, {ago(model['last_failure_s'])}."
    elif model["state"] == "ok":
        yield f"The model answers; the last answer came {ago(model['last_answer_s'])}."
    else:
        yield "The model has not been asked since the start."


def ago(seconds: float) -> str:
    """A time in the past, in the largest unit that fits."""
    return f"{lasting(seconds)} ago" if seconds >= 1 else "just now"


def lasting(seconds: float) -> str:
    """A length of time, in the largest unit that fits."""
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(int(seconds // size), unit)
    return counted(int(seconds), "second")


def server_line(server: Mapping[str, Any]) -> str:
    """How an MCP server is, and why, in a line."""
    why = f": {escape_markdown(str(server['why']))}" if server.get("why") else ""
    return f"⚠ server {server_name(server)} is {escape_markdown(str(server['state']))}{why}"


def server_name(server: Mapping[str, Any]) -> str:
    """The names that agents give an MCP server."""
    return code(", ".join(map(str, server["names"])))


async def _changes(host: AdminContext) -> str:
    try:
        entries = await host.history.host_audit(OPERATOR_ACTOR, count=MAX_CHANGES)
    except RegistryError as error:
        return f"The audit cannot be read: {escape_markdown(str(error))}."
    return "\n".join(["Latest changes:", *map(_change, entries)]) if entries else ""


def _change(entry: AuditRecord) -> str:
    detail = f" {entry.detail}" if entry.detail else ""
    field = f": {escape_markdown(entry.field_changed)}" if entry.field_changed else ""
    action = escape_markdown(entry.action)
    return f"• {code(entry.changed_by)}: {action} {code(entry.entity_id + detail)}{field}"


@command("reload", "read agents and bindings again now", needs=HOST_ADMINS)
async def reload(host: AdminContext, _context: CommandContext) -> CommandResult:
    """Read everything again from the file and the store."""
    snapshot = await host.catalog.reload()
    agents, bindings = len(snapshot.agents), len(snapshot.bindings)
    counts = f"{counted(agents, 'agent')}, {counted(bindings, 'binding')}"
    return Reply(paragraphs(f"Reloaded: {counts}.", problem_lines(snapshot.problems)))
