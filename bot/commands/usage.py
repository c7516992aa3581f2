"""/usage: what was spent today, by this person, in this chat, by its agent."""

from __future__ import annotations

from bot.commands.table import BotCommand, Context, Intent, Say

NOTHING = "Nothing is counted here."
TITLES = {"person": "you", "chat": "this chat", "agent": "this agent"}


def row() -> BotCommand:
    """The command."""
    return BotCommand("usage", "what was used here today", usage, beside=True)


async def usage(context: Context) -> Intent:
    """Requests, tokens and dollars of today (UTC), as far as prices are known."""
    if context.spent is None:
        return Say(NOTHING)
    found = await context.spent()
    lines = [f"- {title}: {_line(found[kind])}" for kind, title in TITLES.items() if kind in found]
    return Say("\n".join(["**Used today (UTC):**", *lines]))


def _line(spent: dict[str, int]) -> str:
    dollars = f", ${spent['micros'] / 1_000_000:.4f}" if spent["micros"] else ""
    return f"{spent['requests']} model requests, {spent['tokens']} tokens{dollars}"
