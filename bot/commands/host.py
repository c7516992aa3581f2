"""What admin commands work with, and the host from a chat: /bots, /status, /reload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from bot.command import (
    BotCommand,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    counted,
    escape_markdown,
    first_items,
    paragraphs,
    problem_lines,
)
from registry.binding import BotIdentity
from registry.catalog import Actor, Catalog
from registry.definition import LlmConfiguration
from registry.errors import (
    DocumentErrors,
    KeyReused,
    Problem,
    RegistryError,
    RegistryUnavailable,
)
from registry.snapshot import Snapshot

log = structlog.get_logger("commands")

FIRST_PAUSE_S = 0.05
MAX_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class BotState:
    """A hosted bot as /bots shows it; `backlog` counts its entries that wait or run."""

    identity: BotIdentity
    state: str
    backlog: int = 0


@dataclass(frozen=True, slots=True)
class AdminContext:
    """The parts of the host that admin commands read and change.

    `defaults` are the host's model settings. `advice` says in sentences which settings a model
    does not accept; `report` is what health shows, `servers` the part of it on an agent's MCP
    servers, by its id, `clashes` what keeps its skills from being used.
    """

    catalog: Catalog
    defaults: LlmConfiguration
    advice: Callable[[LlmConfiguration], list[str]]
    bots: Callable[[], Sequence[BotState]]
    report: Callable[[], Mapping[str, Any]]
    servers: Callable[[str], Sequence[Mapping[str, Any]]]
    clashes: Callable[[str], Sequence[Problem]]

    async def audit_refusal(self, row: BotCommand, context: CommandContext) -> None:
        """Write an audit entry for a command that its sender may not use.

        One an hour for each person, command and chat: nobody can push the rest out of the audit.
        """
        incoming = context.incoming
        chat = f"in chat {incoming.address.chat} of bot {context.bot.id}"
        hour = incoming.sent_at // 3600
        key = f"{context.bot.id}:{incoming.address.chat}:{incoming.person.id}:/{row.name}:{hour}"
        await self.catalog.refused(actor(context), f"/{row.name}", chat, key=key)


def actor(context: CommandContext) -> Actor:
    """The sender as the audit names them: by numeric id alone."""
    return Actor(str(context.incoming.person.id), context.admin)


def retrying(row: BotCommand) -> BotCommand:
    """The same command, retried while the registry is down; its refusals become replies.

    A change whose answer was lost is asked for again: under its key it is made once.
    """

    async def run(context: CommandContext) -> CommandResult:
        pause = FIRST_PAUSE_S
        while True:
            try:
                return await row.function(context)
            except RegistryUnavailable as error:
                log.warning("command.waits", error=str(error), again_in=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE_S)
            except DocumentErrors as errors:
                return Reply(f"Nothing was changed.\n{problem_lines(errors.problems)}")
            except KeyReused:
                return Reply("This was already done.")
            except RegistryError as error:
                return Reply(f"Nothing was changed: {escape_markdown(str(error))}.")

    return replace(row, function=run)


MAX_BOTS = 60
MAX_CHANGES = 5
MAX_PROBLEMS = 10


@command("bots", "show the bots and how they are", role="admin", concurrent=True)
async def bots(host: AdminContext, _context: CommandContext) -> CommandResult:
    """List the bots of this replica with their states and agents."""
    snapshot = host.catalog.snapshot()
    shown, more = first_items(host.bots(), MAX_BOTS)
    return Reply("\n".join(_bot(bot, snapshot) for bot in shown) + more or "There are no bots.")


def _bot(bot: BotState, snapshot: Snapshot) -> str:
    username = bot.identity.username
    name = f"@{escape_markdown(username)}" if username else "(no name yet)"
    found = snapshot.resolve(bot.identity, None, None)
    agent, why = found.agent_id, escape_markdown(found.why)
    who = f"{code(agent)} ({why})" if agent else "no agent answers"
    pending = f" · {bot.backlog} pending" if bot.backlog else ""
    return f"• {name} {code(str(bot.identity.id))} {bot.state} · {who}{pending}"


@command("status", "show how the host is", role="admin", concurrent=True)
async def status(host: AdminContext, _context: CommandContext) -> CommandResult:
    """Show the state of the host, its problems, and the latest changes."""
    report, snapshot = host.report(), host.catalog.snapshot()
    parts = {"bot": report["bots"], "agent": snapshot.agents, "binding": snapshot.bindings}
    counts = " · ".join(counted(len(items), what) for what, items in parts.items())
    servers = "\n".join(server_line(one) for one in report["servers"] if one["state"] != "up")
    problems = [f"✗ {escape_markdown(problem)}" for problem in report["problems"]]
    shown, more = first_items(problems, MAX_PROBLEMS)
    head = f"The host is **{escape_markdown(report['status'])}**: {counts}"
    return Reply(paragraphs(head, servers, "\n".join(shown) + more, await _changes(host)))


def server_line(server: Mapping[str, Any]) -> str:
    """How an MCP server is, and why, in a line."""
    why = f": {escape_markdown(str(server['why']))}" if server.get("why") else ""
    return f"⚠ server {server_name(server)} is {escape_markdown(str(server['state']))}{why}"


def server_name(server: Mapping[str, Any]) -> str:
    """The names that agents give an MCP server."""
    return code(", ".join(map(str, server["names"])))


async def _changes(host: AdminContext) -> str:
    try:
        entries = await host.catalog.audit(MAX_CHANGES)
    except RegistryError as error:
        return f"The audit cannot be read: {escape_markdown(str(error))}."
    return "\n".join(["Latest changes:", *map(_change, entries)]) if entries else ""


def _change(entry: Mapping[str, str]) -> str:
    detail = f" {entry['detail']}" if entry.get("detail") else ""
    action = escape_markdown(entry["action"])
    return f"• {code(entry['actor'])}: {action} {code(entry['target'] + detail)}"


@command("reload", "read agents and bindings again now", role="admin")
async def reload(host: AdminContext, _context: CommandContext) -> CommandResult:
    """Read everything again from the file and the store."""
    snapshot = await host.catalog.reload()
    agents, bindings = len(snapshot.agents), len(snapshot.bindings)
    counts = f"{counted(agents, 'agent')}, {counted(bindings, 'binding')}"
    return Reply(paragraphs(f"Reloaded: {counts}.", problem_lines(snapshot.problems)))
