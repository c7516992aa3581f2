"""The whole board of commands."""

from __future__ import annotations

from bot.commands import approvals, usage
from bot.commands.agents import AgentCommands
from bot.commands.bindings import BindingCommands
from bot.commands.desk import Desk
from bot.commands.everyone import everyone
from bot.commands.house import HouseCommands
from bot.commands.table import BotCommand, Commands, Context, Intent, Say


def board(desk: Desk) -> Commands:
    """Every command of this host."""
    rows: list[BotCommand] = []

    async def help_text(context: Context) -> Intent:
        seen = [row for row in rows if row.role == "everyone" or context.admin]
        return Say("\n".join(sorted(f"/{row.name} – {row.help}" for row in seen)))

    rows += everyone()
    rows.append(BotCommand("help", "what can be sent here", help_text, beside=True))
    rows += [approvals.row(), usage.row()]
    rows += AgentCommands(desk).rows()
    rows += BindingCommands(desk).rows()
    rows += HouseCommands(desk).rows()
    return Commands(rows, desk.refused)
