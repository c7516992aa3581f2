"""/usage: what was spent today, by this person, in this chat, by its agent; for admins, by all."""

from __future__ import annotations

from collections.abc import Mapping

from bot.command import BotCommand, CommandContext, CommandResult, Reply, counted

NOTHING = "Nothing is counted here."
TITLES = {"person": "you", "chat": "this chat", "agent": "this agent"}
FOR_ADMINS = {"account": "this account", "host": "all together"}


def command() -> BotCommand:
    """The command."""
    return BotCommand("usage", "what was used here today", usage, concurrent=True)


async def usage(context: CommandContext) -> CommandResult:
    """Requests, tokens and dollars of today (UTC), as far as prices are known, and the budgets."""
    if context.spent is None:
        return Reply(NOTHING)
    found = await context.spent()
    titles = TITLES | FOR_ADMINS if context.admin else TITLES
    lines = [f"- {title}: {_line(found[kind])}" for kind, title in titles.items() if kind in found]
    return Reply("\n".join(["**Used today (UTC):**", *lines]))


def _line(spent: Mapping[str, int]) -> str:
    tokens, dollars = _of(spent.get("most_tokens")), _of(spent.get("most_micros"), dollars=True)
    asked = counted(spent["requests"], "model request")
    said = f"{asked}, {spent['tokens']} tokens{tokens}"
    if spent["micros"] or dollars:
        said += f", ${spent['micros'] / 1_000_000:.4f}{dollars}"
    return said


def _of(most: int | None, *, dollars: bool = False) -> str:
    if most is None:
        return ""
    return f" of ${most / 1_000_000:.2f}" if dollars else f" of {most}"
