"""/newagent: a new agent from a short talk, from another agent, or from a pasted document.

The talk asks for the seven sections of a system prompt (spec 5, 6.1). Each answer goes into the
sender's draft at once, so the talk may end at any question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.command import (
    HOST_ADMINS,
    WRITE_AGENTS,
    CommandContext,
    CommandResult,
    code,
    command,
    escape_markdown,
    paragraphs,
)
from bot.commands.agent_menu import copied, next_free_id
from bot.commands.drafts import drafts_of
from bot.commands.edit_menu import draft_view, servers
from bot.commands.host import AdminContext
from bot.menus.menu import Ask, Button, View, action, label, pages
from registry.normalizing import normal_form
from registry.snapshot import Snapshot

CANCEL = [Button("Cancel", "agents:new")]
MAX_ID = 40


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a system prompt: its heading ('' for none), its question, and an example."""

    heading: str
    question: str
    example: str


SECTIONS = (
    Section("", "Who is it?", "You are an expert librarian specializing in old maps."),
    Section("", "What is its main job?", "Your role is to help readers find the right map."),
    Section("Capabilities", "What can it do?", "- Find maps by place and year"),
    Section("Domain Knowledge", "What does it know well?", "- The catalogue of the city library"),
    Section("Approach", "How should it behave?", "- Be brief\n- Never guess a shelf mark"),
    Section("Output Format", "What do its answers look like?", "- One map a line, newest first"),
    Section("Examples", "What is a good answer?", "Q: Vienna 1858? A: Shelf 12."),
)
"""Spec 5, 6.1."""


@command(
    "newagent", "create an agent step by step", needs=HOST_ADMINS, usage="[NAME]", concurrent=True
)
async def new_agent(host: AdminContext, context: CommandContext) -> CommandResult:
    """Begin the talk about an agent of this name, or offer the ways in which one can begin."""
    if context.arguments.strip():
        return await named.function(host, context, context.arguments)
    return ways()


def ways() -> View:
    """The ways in which an agent can begin."""
    text = (
        "How should the new agent begin? It stays a draft of yours, which nobody else notices, "
        "until you publish it."
    )
    return View(
        text,
        [
            [Button("Answer a few questions", "new:talk")],
            [Button("From another agent", "new:sources")],
            [Button("Paste JSON or YAML", "new:paste")],
            [Button("‹ Agents", "agents:list")],
        ],
    )


@action("agents:new", needs=WRITE_AGENTS)
async def new(_host: AdminContext, _context: CommandContext) -> CommandResult:
    """The same from the list of agents."""
    return ways()


# --- the talk ---


@action("new:talk", needs=WRITE_AGENTS)
async def talk(_host: AdminContext, _context: CommandContext) -> CommandResult:
    """Ask for the name."""
    return Ask("What is its name? Send it, such as Map Librarian.", "new:named", rows=[CANCEL])


@action("new:named", needs=WRITE_AGENTS)
async def named(host: AdminContext, context: CommandContext, name: str) -> CommandResult:
    """Begin a draft with this name, and ask the first question."""
    title = " ".join(name.split())
    if not id_of(title):
        text = (
            f"What is the id of {escape_markdown(title)}? Send Latin letters, digits and hyphens."
        )
        return Ask(text, "new:ided", (title,), [CANCEL])
    return await _begun(host, context, title, id_of(title))


@action("new:ided", needs=WRITE_AGENTS)
async def ided(host: AdminContext, context: CommandContext, title: str, id: str) -> CommandResult:
    """Begin a draft with this name and this id."""
    return await _begun(host, context, title, id_of(id) or "agent")


async def _begun(
    host: AdminContext, context: CommandContext, title: str, wanted: str
) -> CommandResult:
    actor, drafts = host.actor(context), drafts_of(host)
    taken = {one.agent for one in drafts.seen(actor)}
    id = next_free_id(host.catalog.snapshot(), wanted, taken)
    change = {"name": title, "mcpServers": [], "mcpServerEndpoints": []}
    await drafts.change(actor, id, change, key=context.key, new=True, why=context.why)
    return question(id, 0, f"Your draft is {code(id)}.")


def id_of(name: str) -> str:
    """The id that a name leads to: its Latin letters and digits; '' where it has none."""
    plain = normal_form("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:MAX_ID].strip("-")


def question(id: str, number: int, before: str = "") -> Ask:
    """The question for a section of the prompt."""
    asked = SECTIONS[number]
    text = paragraphs(
        before,
        f"**{number + 1} of {len(SECTIONS)}: {asked.question}**",
        f"For example:\n{escape_markdown(asked.example)}",
    )
    rows = [
        [Button("Skip", "new:skip", (id, str(number)))],
        [Button("That is enough", "new:servers", (id,))],
    ]
    return Ask(text, "new:section", (id, str(number)), rows)


@action("new:section", needs=WRITE_AGENTS)
async def section(
    host: AdminContext, context: CommandContext, id: str, number: str, text: str
) -> CommandResult:
    """Add a section to the prompt of the draft, and ask for the next one."""
    drafts, actor, asked = drafts_of(host), host.actor(context), SECTIONS[int(number)]
    found = drafts.find(actor, id)
    held = (found.definition.custom_instructions or "") if found else ""
    heading = f"## {asked.heading}\n" if asked.heading else ""
    change = {"customInstructions": paragraphs(held, heading + text.strip())}
    await drafts.change(actor, id, change, key=context.key, why=context.why)
    return await _next(host, context, id, int(number))


@action("new:skip", needs=WRITE_AGENTS)
async def skip(host: AdminContext, context: CommandContext, id: str, number: str) -> CommandResult:
    """Ask for the next section."""
    return await _next(host, context, id, int(number))


async def _next(host: AdminContext, context: CommandContext, id: str, number: int) -> CommandResult:
    if number + 1 < len(SECTIONS):
        return question(id, number + 1)
    return await choose_servers.function(host, context, id)


@action("new:servers", needs=WRITE_AGENTS)
async def choose_servers(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """Let the sender choose servers, if there are any; then show the draft."""
    if host.catalog.snapshot().servers:
        return await servers.function(host, context, id)
    return await draft_view(host, context, id)


# --- other beginnings ---


@action("new:sources", needs=WRITE_AGENTS)
async def sources(host: AdminContext, _context: CommandContext, page: str = "0") -> CommandResult:
    """The agents that a new one may begin from, templates first."""
    buttons = [
        Button(label(f"{'★ ' if is_template else ''}{name} · {id}"), "new:from", (id,))
        for is_template, name, id in _ordered(host.catalog.snapshot())
    ]
    if not buttons:
        return View("There is no agent to begin from.", [CANCEL])
    rows = pages(buttons, int(page), "new:sources")
    return View("Which agent should it begin from? ★ marks templates.", [*rows, CANCEL])


def _ordered(snapshot: Snapshot) -> list[tuple[bool, str, str]]:
    found = [(one.value.template, one.value.name, one.value.id) for one in snapshot.agents.values()]
    return sorted(found, key=lambda one: (not one[0], one[1]))


@action("new:from", needs=WRITE_AGENTS)
async def begin_from(_host: AdminContext, _context: CommandContext, id: str) -> CommandResult:
    """Ask for the name of the new agent."""
    text = f"It begins as {code(id)} is now. What is its name?"
    return Ask(text, "new:copied", (id,), [CANCEL])


@action("new:copied", needs=WRITE_AGENTS)
async def copied_from(
    host: AdminContext, context: CommandContext, source: str, name: str
) -> CommandResult:
    """Begin a draft with what another agent says."""
    title, drafts, actor = " ".join(name.split()), drafts_of(host), host.actor(context)
    taken = {one.agent for one in drafts.seen(actor)}
    id = next_free_id(host.catalog.snapshot(), id_of(title) or f"{source}-copy", taken)
    definition = await copied(host.catalog, source, id, title)
    await drafts.replace(actor, definition, key=context.key, why=context.why)
    return await draft_view(host, context, id)


@action("new:paste", needs=WRITE_AGENTS)
async def paste(_host: AdminContext, _context: CommandContext) -> CommandResult:
    """Ask for a document."""
    text = "Send the agent's JSON or YAML as a message. A file goes with /addagent instead."
    return Ask(text, "new:pasted", rows=[CANCEL])


@action("new:pasted", needs=WRITE_AGENTS)
async def read_pasted(host: AdminContext, context: CommandContext, text: str) -> CommandResult:
    """Begin a draft with what a document says."""
    agent = await host.catalog.parse_pasted(text)
    await drafts_of(host).replace(host.actor(context), agent, key=context.key, why=context.why)
    return await draft_view(host, context, agent.id)


ACTIONS = (
    *(new, talk, named, ided, section, skip, choose_servers),
    *(sources, begin_from, copied_from, paste, read_pasted),
)
