"""Changes of agents that wait for a second person, from a chat: /reviews."""

from __future__ import annotations

from bot.command import (
    READ_AGENTS,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    escape_markdown,
    first_items,
    split_reason,
)
from bot.commands.host import AdminContext, ago
from bot.commands.versions import author, because, changed_fields
from registry.review import Proposal
from registry.reviews import Reviews
from registry.revisions import differences, json_of

MAX_SHOWN = 10
HOW = (
    "Write /reviews, then /reviews approve AGENT MARK with the mark that it shows, or /reviews "
    "reject AGENT [because …]."
)


@command(
    "reviews",
    "changes that wait for a second person; approve or reject one",
    needs=READ_AGENTS,
    usage="[approve AGENT MARK | reject AGENT] [because …]",
)
async def reviews(host: AdminContext, context: CommandContext) -> CommandResult:
    """List what waits, approve it, or reject it."""
    found = Reviews(host.catalog)
    text, why = split_reason(context.arguments)
    words, actor = text.split(), host.actor(context)
    if not words:
        waiting, more = first_items(found.open(), MAX_SHOWN)
        now = host.catalog.wall()
        lines = [_line(host, proposal, now) for proposal in waiting]
        return Reply("\n".join(lines) + more or "No change waits for a second person.")
    act = (words[0].lower(), len(words))
    if act not in (("approve", 3), ("reject", 2)):
        return Reply(escape_markdown(HOW))
    agent = words[1].lower()
    if act[0] == "reject":
        await found.reject(actor, agent, key=context.key, why=why)
        return Reply(f"Rejected the change of agent {code(agent)}; it stays as it is.")
    approved = await found.approve(actor, agent, words[2], key=context.key, why=why)
    if approved.missing:
        left = " and ".join(approved.missing)
        return Reply(f"Approved. The change of agent {code(agent)} still waits for {left}.")
    return Reply(f"Approved: the change of agent {code(agent)} is in force.")


def _line(host: AdminContext, proposal: Proposal, now: float) -> str:
    """Who wants to change what, when and why, what it waits for, and the change itself."""
    held = host.catalog.snapshot().agent(proposal.agent)
    old = held.to_json() if held else {}
    changes = changed_fields(differences(old, json_of(proposal.text)))
    waits = f"waits for {' and '.join(proposal.missing)}"
    why = because(proposal.reason, proposal.ticket)
    when = ago(max(0.0, now - proposal.at))
    mark = code(proposal.mark)
    head = f"**{code(proposal.agent)}** {mark} {when} by {author(proposal.by)}, {waits}{why}"
    return f"{head}\n{changes}"
