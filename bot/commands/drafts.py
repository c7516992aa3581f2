"""Agents changed without a risk, from a chat: /edit, /test, /publish, /discard, /drafts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from bot.command import (
    HOST_ADMINS,
    READ_AGENTS,
    WRITE_AGENTS,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    escape_markdown,
    first_items,
    paragraphs,
    problem_lines,
    split_reason,
)
from bot.commands.agents import advice_lines, answers_of, document_in, titled
from bot.commands.host import AdminContext, ago, no_agent, sentence
from bot.commands.versions import author, changed_fields
from registry.draft import Draft
from registry.draft_edits import AGENT_FIELDS, Comparison, Drafts
from registry.errors import DocumentErrors, NotThere, Overtaken, Problem
from registry.fields import is_slug
from registry.revisions import FieldChange

MAX_SHOWN = 50
MAX_FIELDS = 4
UPDATE = "update"
NEW = "new"
OFF = "off"
HOW_TO_EDIT = (
    "Write a field and its value after /edit ID, such as instructions You are Jack. or temperature "
    "0.3 or description none; a text may have many lines. Or reply to a text or a file with "
    "/edit ID instructions. A whole agent is given as JSON or YAML. /edit ID alone shows your "
    "draft, and /edit new ID name NAME begins a new agent."
)
WHICH = "Which agent? Write {} ID; /drafts lists the drafts."
IN_FORCE = "It is the same as the agent, so there is nothing to publish; you can discard it."
NOTHING = "You test nothing here."
_DOCUMENT = re.compile(r"\s*(?:\{|```|[\w\"']+\s*:(?:\s|$))")
"""How a whole agent begins, in JSON, YAML or a block of code."""


def drafts_of(host: AdminContext) -> Drafts:
    """The drafts of this host's agents."""
    return Drafts(host.history)


@command(
    "edit",
    "change an agent in a draft, which nobody else notices",
    needs=HOST_ADMINS,
    usage="[new] ID [FIELD VALUE | JSON | update]",
)
async def edit(host: AdminContext, context: CommandContext) -> CommandResult:
    """Change the sender's draft of an agent, which is begun where there is none; or show it."""
    id, rest, new = _wanted(context.arguments)
    if not id:
        return Reply(escape_markdown(HOW_TO_EDIT))
    drafts, actor, key = drafts_of(host), host.actor(context), context.key
    if rest.strip().lower() == UPDATE:
        return await _update(host, context, id)
    name, value = _split(rest)
    quoted = context.incoming.quoted
    is_whole = bool(_DOCUMENT.match(rest)) or (
        not rest and quoted is not None and bool(quoted.file or _DOCUMENT.match(quoted.text))
    )
    try:
        if is_whole:
            text, file = await document_in(context, rest)
            agent = await host.catalog.parse_pasted(text, file)
            if agent.id != id:
                message, cure = f"its id is '{agent.id}'", f"write {id}, or /edit {agent.id}"
                raise DocumentErrors([Problem(file or "message", message, cure, path="id")])
            await drafts.replace(actor, agent, key=key)
        elif name:
            if not value:
                value, _ = await document_in(context, "")
            if not value:
                return Reply(escape_markdown(HOW_TO_EDIT))
            change = AGENT_FIELDS.change(name, value, id)
            await drafts.change(actor, id, change, key=key, new=new)
        elif drafts.find(actor, id) is None:
            await drafts.begin(actor, id, key=key, new=new)
    except NotThere:
        hint = escape_markdown(f"/edit {NEW} {id} name NAME begins a new one.")
        return Reply(f"{no_agent(host.catalog.snapshot(), id)} {hint if is_slug(id) else ''}")
    return await shown_draft(host, context, id)


def _wanted(arguments: str) -> tuple[str, str, bool]:
    """The id of an agent, what follows it, and whether the agent is to be a new one."""
    id, rest = _split(arguments)
    named, value = _split(rest)
    is_field = AGENT_FIELDS.named(named) is not None or bool(_DOCUMENT.match(rest))
    if id.lower() == NEW and named and not is_field:
        return named.lower(), value, True
    return id.lower(), rest, False


def _split(text: str) -> tuple[str, str]:
    """The first word, and what follows it."""
    word, *rest = text.split(maxsplit=1) or [""]
    return word, "".join(rest)


async def shown_draft(host: AdminContext, context: CommandContext, id: str) -> Reply:
    """The sender's draft beside its agent, and the commands that go on with it."""
    there = await drafts_of(host).compare(host.actor(context), id)
    tested = "You are testing it here. " if is_tested_here(there.draft, context) else ""
    tested = tested or f"/test {id} tries it. "
    hint = escape_markdown(f"{tested}/publish {id} puts it in force, /discard {id} drops it.")
    how = escape_markdown(f"/edit {id} {UPDATE} puts your changes on what is there now.")
    return Reply(paragraphs(await compared_text(host, there, how), hint))


async def compared_text(host: AdminContext, there: Comparison, how: str = "") -> str:
    """A draft beside its agent; where that was changed meanwhile, `how` one goes on."""
    # Two long texts that have little in common are compared for some tenths of a second.
    return await asyncio.to_thread(_compared_text, host, there, how)


def _compared_text(host: AdminContext, there: Comparison, how: str) -> str:
    draft = there.draft
    of = "of a new agent, " if there.head is None else "of "
    head = f"Your draft {of}{_titled(draft)}:"
    body = changed_fields(there.changes) if there.changes else IN_FORCE
    warning = f"⚠ {_theirs(there, host)} {how}".strip() if there.is_overtaken else ""
    again = _answers_again(host, draft.agent) if there.head is None else ""
    own = draft.definition.llm_overrides
    advice = [f"⚠ {escape_markdown(one)}" for one in host.advice(own)] if own else []
    return paragraphs(head, body, warning, _lacking(host, draft), again, "\n".join(advice))


def _lacking(host: AdminContext, draft: Draft) -> str:
    """That a draft cannot answer, as its profile is gone; '' where that is there."""
    lost = host.catalog.snapshot().lacked_by(draft.definition)
    said = "/profiles lists those that there are."
    return f"⚠ It cannot answer: there is no profile {code(lost)}. {said}" if lost else ""


def _answers_again(host: AdminContext, agent: str) -> str:
    """Where an agent that is gone answers again once it is published; '' for nowhere."""
    snapshot = host.catalog.snapshot()
    if not any(one.agent_id == agent for one in snapshot.bindings):
        return ""
    places = answers_of(snapshot, agent, host.bots()).removeprefix("Answers:\n")
    return f"⚠ Once it is published, it answers again where it is still bound:\n{places}"


def _theirs(there: Comparison, host: AdminContext) -> str:
    """Who changed the agent since the draft was made, when, and what."""
    who = author(there.by) if there.by else "by somebody"
    when = ago(max(0.0, host.catalog.wall() - there.at))
    if there.head is None:
        return f"The agent was deleted {when} {who}."
    names = f": {_named(there.theirs)}" if there.theirs else ""
    both = f" You both changed {_listed(there.overlapping)}." if there.overlapping else ""
    return f"The agent was changed {when} {who}{names}.{both}"


def _named(changes: Sequence[FieldChange]) -> str:
    return _listed([one.field or "the whole" for one in changes])


def _listed(names: Sequence[str]) -> str:
    shown, rest = names[:MAX_FIELDS], len(names) - MAX_FIELDS
    return escape_markdown(", ".join(shown) + (f" and {rest} more" if rest > 0 else ""))


def _titled(draft: Draft) -> str:
    return titled(draft.definition.name, draft.agent)


def is_tested_here(draft: Draft, context: CommandContext) -> bool:
    """Whether a draft is on test in this very chat."""
    place, chat = draft.tested_in, context.incoming.address.original_id
    return place is not None and (place.line, place.chat) == (context.line, chat)


async def _update(host: AdminContext, context: CommandContext, id: str) -> Reply:
    """Put the changes of the sender's draft on the agent as it is now."""
    drafts, actor = drafts_of(host), host.actor(context)
    _, overlapping = await drafts.rebase(actor, id, key=context.key)
    note = f"Of {_listed(overlapping)} your text is kept." if overlapping else ""
    shown = await shown_draft(host, context, id)
    return Reply(paragraphs("Your changes are on the newest version now.", note, shown.text))


@command(
    "test",
    "try your draft in this chat: only you get its answers",
    needs=HOST_ADMINS,
    usage="[ID | off]",
)
async def test(host: AdminContext, context: CommandContext) -> CommandResult:
    """Let the sender's draft answer them in this chat, or end that."""
    drafts, actor, wanted = drafts_of(host), host.actor(context), context.arguments.strip().lower()
    line, chat = context.line, context.incoming.address.original_id
    here = drafts.tested(actor, line, chat)
    if not wanted:
        what = f"You are testing your draft of {_titled(here)} here." if here else NOTHING
        how = escape_markdown("/test ID begins a test in this chat, /test off ends it.")
        return Reply(paragraphs(f"{what} {how}", _lacking(host, here) if here else ""))
    if wanted == OFF:
        if here is None:
            return Reply(NOTHING)
        await drafts.stop(actor, here.agent, key=context.key)
        return Reply(f"The test of {_titled(here)} is over; your draft is kept.")
    before = drafts.find(actor, wanted)
    draft = await drafts.test(actor, wanted, line, chat, key=context.key)
    ended = ended_tests(here, before, draft)
    others = "" if context.incoming.address.private else " Nobody else here notices."
    text = f"Your draft of {_titled(draft)} now answers you in this chat, and only here.{others}"
    how = f"/test off ends that, /publish {wanted} puts it in force."
    return Reply(paragraphs(text, ended, escape_markdown(how)))


def ended_tests(here: Draft | None, before: Draft | None, now: Draft) -> str:
    """What a test ends: that of another draft `here`, and that of the same one elsewhere."""
    parts = []
    if here is not None and here.agent != now.agent:
        parts.append(f"The test of {_titled(here)} here is over.")
    if before is not None and before.tested_in not in (None, now.tested_in):
        parts.append("Its test in the other chat is over.")
    return " ".join(parts)


@command(
    "publish",
    "put your draft of an agent in force",
    needs=WRITE_AGENTS,
    usage="ID [because …]",
)
async def publish(host: AdminContext, context: CommandContext) -> CommandResult:
    """Make the sender's draft the agent; its test ends, and its draft is gone."""
    text, why = split_reason(context.arguments)
    id, actor = text.strip().lower(), host.actor(context)
    if not is_slug(id):
        return Reply(escape_markdown(WHICH.format("/publish")))
    drafts = drafts_of(host)
    try:
        done = await drafts.publish(actor, id, key=context.key, why=why)
    except Overtaken as error:
        shown = await shown_draft(host, context, id)
        return Reply(
            paragraphs(f"Nothing was published: {escape_markdown(str(error))}.", shown.text)
        )
    snapshot = host.catalog.snapshot()
    effective = snapshot.effective(id, host.defaults)
    warnings = [problem_lines(snapshot.review(id))]
    warnings += advice_lines(host, effective) if effective else []
    said = f"Published agent {titled(done.agent.name, id)}, version {done.number}."
    if not done.changed:
        said = f"Agent {titled(done.agent.name, id)} said so already; your draft is gone."
    return Reply(paragraphs(said, "\n".join(filter(None, warnings))))


@command(
    "discard",
    "drop your draft of an agent",
    needs=WRITE_AGENTS,
    usage="ID [because …]",
)
async def discard(host: AdminContext, context: CommandContext) -> CommandResult:
    """Remove the sender's draft; the agent stays as it is."""
    text, why = split_reason(context.arguments)
    id, actor = text.strip().lower(), host.actor(context)
    if not is_slug(id):
        return Reply(escape_markdown(WHICH.format("/discard")))
    if not await drafts_of(host).discard(actor, id, key=context.key, why=why):
        raise NotThere(f"you have no draft of agent '{id}'")
    return Reply(f"Dropped your draft of agent {code(id)}; the agent is as it was.")


@command(
    "drafts",
    "list the drafts of agents, and whose they are",
    needs=READ_AGENTS,
    usage="[ID]",
    concurrent=True,
)
async def drafts(host: AdminContext, context: CommandContext) -> CommandResult:
    """List the drafts of all agents, or of one."""
    actor, wanted = host.actor(context), context.arguments.strip().lower()
    found = drafts_of(host).seen(actor, wanted)
    if not found:
        return Reply(sentence(f"there is no draft of agent '{wanted}'" if wanted else "no drafts"))
    shown, more = first_items(found, MAX_SHOWN)
    now = host.catalog.wall()
    lines = []
    for draft in shown:
        own = draft.by == actor.id
        tested = " · on test here" if own and is_tested_here(draft, context) else ""
        tested = tested or (" · on test" if draft.tested_in else "")
        who = "yours" if own else author(draft.by)
        lines.append(f"• {_titled(draft)} {who}, {ago(max(0.0, now - draft.at))}{tested}")
    return Reply("\n".join(lines) + more)
