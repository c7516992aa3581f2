"""The table of all commands, and those that belong to no feature: /start, /help, /new, /stop."""

from __future__ import annotations

from collections.abc import Sequence

from bot.access.command import PeopleContext, claim, own_id, people
from bot.approvals.approvers import approvals
from bot.command import (
    BotCommand,
    CommandContext,
    CommandResult,
    CommandRole,
    Commands,
    Reply,
    StartNewConversation,
    command,
    escape_markdown,
    paragraphs,
)
from bot.commands import agents, bindings, host
from bot.commands.host import AdminContext, retrying
from bot.usage.ledger import usage

NOTHING_RUNS = "Nothing is running here."


def all_commands(admin_context: AdminContext, people_context: PeopleContext) -> Commands:
    """Every command of this host, in the order of menus and of docs/commands.md."""
    first = [agents.agents, agents.agent, agents.add_agent, agents.delete_agent]
    first += [bindings.bind, bindings.unbind, bindings.default]
    last = (host.bots, host.status, host.reload)
    rows: list[BotCommand] = [start, new, stop]
    rows += [show_help.using(rows), approvals, usage]
    rows += [retrying(row.using(admin_context)) for row in first]
    rows += [own_id, people.using(people_context), claim]
    rows += [retrying(row.using(admin_context)) for row in last]
    return Commands(rows, admin_context.audit_refusal)


@command("start", "say hello", concurrent=True)
async def start(context: CommandContext) -> CommandResult:
    """Greet in the agent's name."""
    agent = context.agent and f"I am **{escape_markdown(context.agent)}**."
    name = escape_markdown(context.incoming.person.name)
    who = agent or "No agent answers here yet."
    return Reply(f"Hello {name}! {who} Just write to me; /help lists more.")


@command("new", "start a new conversation; the old one is set aside")
async def new(_context: CommandContext) -> CommandResult:
    """Set a boundary; what ran was stopped when this came."""
    text = "A new conversation begins here; I no longer read what was said before."
    return StartNewConversation(text)


@command("stop", "stop the answer that is being written", concurrent=True)
async def stop(_context: CommandContext) -> CommandResult:
    """For menus and /help: a typed /stop is a signal, which runs ahead of everything."""
    return Reply(NOTHING_RUNS)


@command("help", "what can be sent here", concurrent=True)
async def show_help(rows: Sequence[BotCommand], context: CommandContext) -> CommandResult:
    """List the commands that this person may use."""
    everyone, admins = (_lines(rows, role) for role in ("everyone", "admin"))
    return Reply(paragraphs(everyone, f"For admins:\n{admins}") if context.admin else everyone)


def _lines(rows: Sequence[BotCommand], role: CommandRole) -> str:
    return "\n".join(
        sorted(
            f"/{row.name}{f' {escape_markdown(row.usage)}' if row.usage else ''} – {row.help}"
            for row in rows
            if row.role == role and not row.hidden
        )
    )
