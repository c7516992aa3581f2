"""/approvals: what is always allowed in this chat, and revoking it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bot.command import CommandContext, CommandResult, Reply, code, command, escape_markdown

NOTHING = "Nothing is always allowed here: I ask each time."
HOW = "To revoke one: /approvals revoke and its number, or /approvals revoke all."
NO_SUCH = "There is no number {} in the list; /approvals shows it."


@command(
    "approvals",
    "show or revoke what I may do here without asking",
    usage="[revoke NUMBER | revoke all]",
    concurrent=True,
)
async def approvals(context: CommandContext) -> CommandResult:
    """List the permanent permissions of this conversation, or revoke some: anybody may."""
    grants = await context.grants() if context.grants else {}
    found = sorted(grants.items(), key=lambda pair: pair[1]["at"])
    words = context.words
    if not found:
        return Reply(NOTHING)
    if len(words) == 2 and words[0].lower() == "revoke":
        return await _revoke(context, [name for name, _ in found], words[1])
    group = not context.incoming.address.private
    lines = [f"{n}\\. {_line(name, body, group)}" for n, (name, body) in enumerate(found, 1)]
    return Reply("\n".join(["**Allowed here without asking:**", *lines, "", HOW]))


async def _revoke(context: CommandContext, names: list[str], which: str) -> CommandResult:
    assert context.revoke_grant is not None
    if which.lower() == "all":
        chosen = names
    elif which.isascii() and which.isdigit() and 0 < int(which) <= len(names):
        chosen = [names[int(which) - 1]]
    else:
        return Reply(NO_SUCH.format(escape_markdown(which[:20])))
    for name in chosen:
        await context.revoke_grant(name)
    listed = ", ".join(code(_tool(name)) for name in chosen)
    return Reply(f"Revoked: {listed}. I ask again from now on.")


def _line(name: str, body: Mapping[str, Any], group: bool) -> str:
    at = datetime.fromtimestamp(body["at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    agent = name.split("|", 1)[0]
    alone = ", for their own messages" if group and body.get("as") == "asker" else ""
    who = escape_markdown(str(body["name"]))
    return f"{code(_tool(name))} for {escape_markdown(agent)}, by {who}{alone}, {at}"


def _tool(name: str) -> str:
    return name.split("|", 2)[-1]
