"""The whole board of commands."""

from __future__ import annotations

from collections.abc import Iterable

from bot.access.command import PeopleCommands
from bot.approvals import command as approvals_command
from bot.command import (
    BotCommand,
    CommandContext,
    CommandResult,
    Commands,
    Needs,
    Reply,
    escape_markdown,
    paragraphs,
)
from bot.commands.admin_context import AdminContext
from bot.commands.agents import AgentCommands
from bot.commands.bindings import BindingCommands
from bot.commands.everyone import everyone
from bot.commands.host import HostCommands
from bot.usage import command as usage_command


def all_commands(desk: AdminContext, people: PeopleCommands) -> Commands:
    """Every command of this host."""
    rows: list[BotCommand] = []

    async def help_text(context: CommandContext) -> CommandResult:
        own, admins = (_lines(rows, role) for role in ("everyone", "admin"))
        return Reply(paragraphs(own, f"For admins:\n{admins}") if context.admin else own)

    rows += everyone()
    rows.append(BotCommand("help", "what can be sent here", help_text, concurrent=True))
    rows += [approvals_command.command(), usage_command.command()]
    rows += AgentCommands(desk).rows()
    rows += BindingCommands(desk).rows()
    rows += people.rows()
    rows += HostCommands(desk).rows()
    return Commands(rows, desk.refused)


def _lines(rows: Iterable[BotCommand], role: Needs) -> str:
    return "\n".join(sorted(_line(row) for row in rows if row.role == role and not row.hidden))


def _line(row: BotCommand) -> str:
    usage = f" {escape_markdown(row.usage)}" if row.usage else ""
    return f"/{row.name}{usage} – {row.help}"
