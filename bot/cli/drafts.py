"""`switchboard drafts`: drafts of agents, those of the command line and, to look at, all others."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from bot.cli.documents import change_line, made, read_text
from bot.cli.registry import ACTOR, Registry, Said, person_of, table, time_of, why_of
from bot.errors import ConfigError
from registry.draft import is_author
from registry.draft_edits import AGENT_FIELDS, Comparison, Drafts
from registry.revisions import FieldChange


async def list_drafts(registry: Registry, _given: Namespace) -> Said:
    """The drafts of all agents, whose they are, and whether they are on test."""
    found = Drafts(registry.history).seen(ACTOR)
    rows = (
        [one.agent, one.by, time_of(one.at), "on test" if one.tested_in else ""] for one in found
    )
    return Said([*table(rows)] or ["no drafts"], [one.to_json() for one in found])


async def show_draft(registry: Registry, given: Namespace) -> Said:
    """A draft beside its agent: what publishing it would change."""
    return await _shown(registry, given.id, _author(given))


def _author(given: Namespace) -> str:
    """Whose draft is meant: that of the command line where nobody is named."""
    author = person_of(given.by) if given.by else ACTOR.id
    if not is_author(author):
        raise ConfigError(f"'{author}' names no person; write tg:<id> or api:<account>:<user>")
    return author


async def _shown(registry: Registry, id: str, author: str = ACTOR.id) -> Said:
    there = await Drafts(registry.history).compare(ACTOR, id, author)
    lines = [f"draft of agent {id} by {author}:", *_lines(there)]
    changes = [
        {"field": one.field, "section": one.section, "old": one.old, "new": one.new}
        for one in there.changes
    ]
    said = {"draft": there.draft.to_json(), "changes": changes, "overtaken_by": there.by or None}
    return Said(lines, said | {"overlapping": there.overlapping if there.is_overtaken else []})


def _lines(there: Comparison) -> list[str]:
    lines = [*map(change_line, there.changes)] or ["  it says what the agent says"]
    if there.is_overtaken:
        lines += [f"  {there.by or 'somebody'} changed the agent since: {_names(there.theirs)}"]
    return lines


def _names(changes: Sequence[FieldChange]) -> str:
    return ", ".join(one.field or "the whole" for one in changes) or "it was made or deleted"


async def set_field(registry: Registry, given: Namespace) -> Said:
    """Change one field of the command line's draft, which is begun where there is none."""
    change = AGENT_FIELDS.change(given.field, given.value, given.id)
    drafts, key = Drafts(registry.history), registry.key("draft")
    await drafts.change(ACTOR, given.id, change, key=key, new=given.new, why=why_of(given))
    return await _shown(registry, given.id)


async def put_draft(registry: Registry, given: Namespace) -> Said:
    """Make an agent from JSON or YAML the command line's draft."""
    text, called = read_text(given.file)
    agent = await registry.catalog.parse_pasted(text, called)
    drafts, key = Drafts(registry.history), registry.key("draft")
    await drafts.replace(ACTOR, agent, key=key, why=why_of(given))
    return await _shown(registry, agent.id)


async def update_draft(registry: Registry, given: Namespace) -> Said:
    """Put the changes of the command line's draft on the agent as it is now."""
    drafts, key = Drafts(registry.history), registry.key("draft")
    await drafts.rebase(ACTOR, given.id, key=key, why=why_of(given))
    return await _shown(registry, given.id)


async def publish_draft(registry: Registry, given: Namespace) -> Said:
    """Put the command line's draft in force."""
    drafts, key = Drafts(registry.history), registry.key("publish")
    done = await drafts.publish(ACTOR, given.id, key=key, why=why_of(given))
    what = "published" if done.changed else "unchanged"
    line = f"published agent {given.id}, revision {done.number}"
    line = line if done.changed else f"agent {given.id} said so already; the draft is gone"
    return Said([line], made("agent", given.id, what, done.number))


async def discard_draft(registry: Registry, given: Namespace) -> Said:
    """Drop a draft: that of the command line, or of somebody who is gone."""
    drafts, key, author = Drafts(registry.history), registry.key("discard"), _author(given)
    if not await drafts.discard(ACTOR, given.id, key=key, author=author, why=why_of(given)):
        raise ConfigError(f"{author} has no draft of agent '{given.id}'")
    return Said(
        [f"dropped the draft of agent {given.id} by {author}"],
        {"kind": "draft", "id": f"{given.id}/{author}", "change": "dropped"},
    )
