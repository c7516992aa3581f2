"""The whole board of commands."""

from __future__ import annotations

from collections.abc import Iterable

from bot.commands import approvals, usage
from bot.commands.agents import AgentCommands
from bot.commands.bindings import BindingCommands
from bot.commands.desk import Desk
from bot.commands.everyone import everyone
from bot.commands.house import HouseCommands
from bot.commands.people import PeopleCommands
from bot.commands.table import BotCommand, Commands, Context, Intent, Needs, Say
from bot.commands.words import listed, plain


def board(desk: Desk, people: PeopleCommands) -> Commands:
    """Every command of this host."""
    rows: list[BotCommand] = []

    async def help_text(context: Context) -> Intent:
        own, admins = (_lines(rows, role) for role in ("everyone", "admin"))
        return Say(listed(own, f"For admins:\n{admins}") if context.admin else own)

    rows += everyone()
    rows.append(BotCommand("help", "what can be sent here", help_text, beside=True))
    rows += [approvals.row(), usage.row()]
    rows += AgentCommands(desk).rows()
    rows += BindingCommands(desk).rows()
    rows += people.rows()
    rows += HouseCommands(desk).rows()
    return Commands(rows, desk.refused)


def _lines(rows: Iterable[BotCommand], role: Needs) -> str:
    return "\n".join(sorted(_line(row) for row in rows if row.role == role and not row.hidden))


def _line(row: BotCommand) -> str:
    usage = f" {plain(row.usage)}" if row.usage else ""
    return f"/{row.name}{usage} – {row.help}"
