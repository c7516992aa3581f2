"""The host, from a chat: /bots, /status, /reload."""

from __future__ import annotations

from collections.abc import Mapping

from bot.command import (
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
from bot.commands.admin_context import AdminContext, BotState
from registry.errors import RegistryError
from registry.snapshot import Snapshot

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
    who = f"{code(found.agent_id)} by {found.rule}" if found.agent_id else "no agent answers"
    pending = f" · {bot.backlog} pending" if bot.backlog else ""
    return f"• {name} {code(str(bot.identity.id))} {bot.state} · {who}{pending}"


@command("status", "show how the host is", role="admin", concurrent=True)
async def status(host: AdminContext, _context: CommandContext) -> CommandResult:
    """Show the state of the host, its problems, and the latest changes."""
    report, snapshot = host.report(), host.catalog.snapshot()
    counts = (
        f"{counted(len(report['bots']), 'bot')} · {counted(len(snapshot.agents), 'agent')} · "
        f"{counted(len(snapshot.bindings), 'binding')}"
    )
    servers = [_server(one) for one in report["servers"] if one["state"] != "up"]
    problems = [f"✗ {escape_markdown(problem)}" for problem in report["problems"]]
    shown, more = first_items(problems, MAX_PROBLEMS)
    head = f"The host is **{escape_markdown(report['status'])}**: {counts}"
    return Reply(
        paragraphs(head, "\n".join(servers), "\n".join(shown) + more, await _changes(host))
    )


def _server(server: Mapping[str, object]) -> str:
    names = server["names"]
    shown = ", ".join(map(str, names)) if isinstance(names, list) else str(names)
    why = f": {escape_markdown(str(server['why']))}" if server.get("why") else ""
    return f"⚠ server {code(shown)} is {escape_markdown(str(server['state']))}{why}"


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
