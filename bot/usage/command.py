"""/usage: what was used today, by this person, in this chat, by its agent; for admins, by all."""

from __future__ import annotations

from collections.abc import Mapping

from bot.command import CommandContext, CommandResult, Reply, command, counted

NOTHING = "Nothing is counted here."
TITLES = {"person": "you", "chat": "this chat", "agent": "this agent"}
ADMIN_TITLES = {"account": "this account", "host": "this host"}


@command("usage", "what was used here today", concurrent=True)
async def usage(context: CommandContext) -> CommandResult:
    """Show requests, tokens and dollars of today (UTC), as far as prices are known, and budgets."""
    if context.spent is None:
        return Reply(NOTHING)
    found = await context.spent()
    titles = TITLES | ADMIN_TITLES if context.admin else TITLES
    lines = [f"- {title}: {_line(found[kind])}" for kind, title in titles.items() if kind in found]
    return Reply("\n".join(["**Used today (UTC):**", *lines]))


def _line(spent: Mapping[str, int]) -> str:
    requests = counted(spent["requests"], "model request")
    max_tokens, max_micros = spent.get("max_tokens"), spent.get("max_micros")
    line = f"{requests}, {spent['tokens']} tokens" + (f" of {max_tokens}" if max_tokens else "")
    if spent["micros"] or max_micros:
        line += f", ${spent['micros'] / 1_000_000:.4f}"
        line += f" of ${max_micros / 1_000_000:.2f}" if max_micros else ""
    return line
