"""Changes of agents that wait for a second person, from a chat: /reviews."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from bot.command import (
    READ_AGENTS,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    escape_markdown,
    first_items,
    paragraphs,
    split_reason,
)
from bot.commands.host import AdminContext, ago
from bot.commands.versions import author, because, whole_changes
from registry.errors import NotThere
from registry.review import Proposal
from registry.reviews import Reviews
from registry.revisions import differences, json_of

MAX_SHOWN = 10
MAX_PAGE = 9_000
"""Characters of a change that one answer shows: three messages, about."""
HOW = (
    "/reviews lists what waits, /reviews AGENT shows a change to its end and then its mark, "
    "/reviews approve AGENT MARK approves just that, and /reviews reject AGENT "
    "[because …] drops it."
)


@command(
    "reviews",
    "changes that wait for a second person; approve or reject one",
    needs=READ_AGENTS,
    usage="[AGENT [PAGE] | approve AGENT MARK | reject AGENT] [because …]",
)
async def reviews(host: AdminContext, context: CommandContext) -> CommandResult:
    """List what waits, approve it, or reject it."""
    found = Reviews(host.catalog)
    text, why = split_reason(context.arguments)
    words, actor = text.split(), host.actor(context)
    if not words:
        waiting, more = first_items(found.open(), MAX_SHOWN)
        now = host.catalog.wall()
        pages = await asyncio.to_thread(lambda: [_pages(host, one) for one in waiting])
        lines = [
            _line(proposal, found, now) for proposal, found in zip(waiting, pages, strict=True)
        ]
        return Reply("\n\n".join(lines) + more or "No change waits for a second person.")
    act = (words[0].lower(), len(words))
    if act in ((act[0], 1), (act[0], 2)) and act[0] not in ("approve", "reject"):
        return await _shown(host, found, act[0], words[1] if len(words) > 1 else "1")
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


async def _shown(host: AdminContext, found: Reviews, agent: str, page: str) -> Reply:
    """A page of a change; the mark stands after the last one."""
    waiting = next((one for one in found.open() if one.agent == agent), None)
    if waiting is None:
        raise NotThere(f"no change of agent '{agent}' waits for a second person")
    pages = await asyncio.to_thread(_pages, host, waiting)
    number = int(page) if page.isdecimal() and len(page) < MAX_DIGITS else 0
    if not 1 <= number <= len(pages):
        return Reply(escape_markdown(HOW))
    head = f"{_head(waiting, host.catalog.wall())}, page {number} of {len(pages)}:"
    head = head if len(pages) > 1 else f"{_head(waiting, host.catalog.wall())}:"
    if number < len(pages):
        foot = escape_markdown(f"It goes on: /reviews {agent} {number + 1}")
    else:
        foot = _how_to_approve(waiting)
    return Reply(paragraphs(head, pages[number - 1], foot))


def _how_to_approve(proposal: Proposal) -> str:
    approve = code(f"/reviews approve {proposal.agent} {proposal.mark}")
    return f"That is all of it; {approve} approves it."


def _line(proposal: Proposal, pages: Sequence[str], now: float) -> str:
    """Who wants to change what, and the change with its mark, where it is short enough for that."""
    head = _head(proposal, now)
    if len(pages) > 1 or len(pages[0]) > MAX_LISTED:
        how = escape_markdown(f"/reviews {proposal.agent}")
        return f"{head}: {how} shows it to its end, and then how to approve it."
    return f"{head}:\n{pages[0]}\n{_how_to_approve(proposal)}"


def _head(proposal: Proposal, now: float) -> str:
    """Who wants to change what, when and why, and what it waits for."""
    waits = f"waits for {' and '.join(proposal.missing)}"
    why = because(proposal.reason, proposal.ticket)
    when = ago(max(0.0, now - proposal.at))
    return f"**{code(proposal.agent)}** {when} {author(proposal.by)}, {waits}{why}"


def _pages(host: AdminContext, proposal: Proposal) -> list[str]:
    """All that a change changes, in pages that are cut at the end of a line, or at a blank."""
    held = host.catalog.snapshot().agent(proposal.agent)
    old = held.to_json() if held else {}
    text = whole_changes(differences(old, json_of(proposal.text))) or "It says what the agent says."
    pages = []
    while len(text) > MAX_PAGE:
        at = next((at for sign in "\n " if (at := text.rfind(sign, NEAR_END, MAX_PAGE)) > 0), 0)
        if not at:  # not inside a mark, or a character written by its number
            tail = _TAIL.search(text[:MAX_PAGE])
            at = MAX_PAGE - (len(tail[0]) if tail else 0)
        mark = _open_mark(text[:at].rpartition("\n")[2])
        pages.append(text[:at] + mark)
        text = mark + text[at:].lstrip(" \n")
    return [*pages, text]


_TAIL = re.compile(r"(?:&#?\w{0,7}|[*~`]{0,2})\Z")
_CODE = re.compile("`[^`]*`")


def _open_mark(text: str) -> str:
    """What is open at the end of a piece of Markdown; '' for nothing."""
    if text.count("`") % 2:
        return "`"
    plain = _CODE.sub("", text)
    return next((mark for mark in ("**", "~~") if plain.count(mark) % 2), "")


NEAR_END = MAX_PAGE * 9 // 10
MAX_DIGITS = 5
MAX_LISTED = 1_500
"""Characters of a change that stands in the list itself."""
