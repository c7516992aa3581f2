"""An agent's draft as a menu: its fields, models, servers and tools by taps; test, publish."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from bot.command import (
    WRITE_AGENTS,
    CommandContext,
    CommandResult,
    code,
    escape_markdown,
    paragraphs,
    problem_lines,
)
from bot.commands.agent_menu import CARD, card, touched
from bot.commands.drafts import compared_text, drafts_of, ended_tests, is_tested_here
from bot.commands.host import AdminContext
from bot.commands.offers import model_line
from bot.menus.menu import PAGE, Ask, Button, Row, View, action, confirm, label, pages
from bot.tools.policy import Decision
from registry.definition import AgentDefinition
from registry.draft_edits import AGENT_FIELDS, Comparison
from registry.errors import Overtaken, Problem, RevisionConflict
from registry.profiles_seen import seen_shared
from registry.snapshot import revision_of

EDIT = "agents:edit"
TEXTS = {
    "customInstructions": "Instructions",
    "name": "Name",
    "description": "Description",
}
"""The fields with a button of their own, and what people call them."""
LONG = {"customInstructions", "description"}
MAX_SHOWN = 2_500
MAX_PROBLEMS = 5
MARKS = {Decision.RUN: "✓", Decision.ASK: "?", Decision.CONFIRM: "?"}


@action(EDIT, needs=WRITE_AGENTS)
async def edit(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """The sender's draft of an agent, which is begun where there is none."""
    await drafts_of(host).begin(host.actor(context), id, key=context.key, why=context.why)
    return await draft_view(host, context, id)


async def draft_view(
    host: AdminContext, context: CommandContext, id: str, notice: str = ""
) -> View:
    """A draft beside its agent, with what can be changed and done."""
    there = await drafts_of(host).compare(host.actor(context), id)
    rows: list[Row] = []
    if there.is_overtaken:
        rows.append([Button("Put my changes on the newest version", "draft:update", (id,))])
    elif there.changes:
        rows.append([Button("Publish", "draft:publish", (id, _seen(there)))])
    fields = [Button(words, "draft:field", (id, name)) for name, words in TEXTS.items()]
    fields += [
        Button("Model", "draft:models", (id,)),
        Button("Servers", "draft:servers", (id,)),
        Button("Tools", "draft:tools", (id,)),
        Button("Other settings", "draft:others", (id,)),
    ]
    rows += [fields[at : at + 2] for at in range(0, len(fields), 2)]
    test = Button("Test", "agents:test", (id,))
    if is_tested_here(there.draft, context):
        test = Button("End the test", "draft:stop", (id,))
    rows.append([test, Button("Discard", "draft:discard", (id,))])
    back = Button("‹ Agent", CARD, (id,)) if there.head else Button("‹ Agents", "agents:list")
    rows.append([back])
    tested = "You are testing it here." if is_tested_here(there.draft, context) else ""
    shown = await compared_text(host, there)
    return View(paragraphs(shown, tested, touched(host.catalog.snapshot(), id)), rows, notice)


def _seen(there: Comparison) -> str:
    """The hash of a draft as it is shown."""
    return revision_of(there.draft.to_text())


def _draft(host: AdminContext, context: CommandContext, id: str) -> AgentDefinition | None:
    found = drafts_of(host).find(host.actor(context), id)
    return found.definition if found else None


# --- texts ---


@action("draft:field", needs=WRITE_AGENTS)
async def field(
    host: AdminContext, context: CommandContext, id: str, name: str, page: str = "0"
) -> CommandResult:
    """Ask for the new value of a field."""
    definition = _draft(host, context, id)
    if definition is None:
        return await draft_view(host, context, id)
    words = TEXTS.get(name, name)
    now = _value(definition.to_json(), name)
    shown = f"{now[:MAX_SHOWN]}…" if len(now) > MAX_SHOWN else now
    text = paragraphs(
        f"**{escape_markdown(words)}** of {escape_markdown(definition.name)}, now:",
        escape_markdown(shown) if shown else "nothing",
        "Send the new text.",
        f"Longer than a message? Send it as a file with the caption `/edit {id} {name}`."
        if name in LONG
        else "",
    )
    rows = [[Button("Cancel", EDIT, (id,))]]
    if now and name != "name":
        rows.insert(0, [Button("Take it out", "draft:set", (id, name, "none"))])
    if name == "profile":
        known = sorted(seen_shared(host.catalog, host.actor(context), "profile"))
        buttons = [Button(label(one), "draft:set", (id, name, one)) for one in known]
        rows[:0] = pages(buttons, int(page), "draft:field", (id, name))
    return Ask(text, "draft:set", (id, name), rows)


def _value(document: Mapping[str, Any], name: str) -> str:
    value: Any = document
    for step in name.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)


@action("draft:set", needs=WRITE_AGENTS)
async def set_field(
    host: AdminContext, context: CommandContext, id: str, name: str, text: str
) -> CommandResult:
    """Give a field of the draft another value."""
    change = AGENT_FIELDS.change(name, text, id)
    await drafts_of(host).change(host.actor(context), id, change, key=context.key, why=context.why)
    return await draft_view(host, context, id, "Changed in your draft.")


@action("draft:others", needs=WRITE_AGENTS)
async def others(
    _host: AdminContext, _context: CommandContext, id: str, page: str = "0"
) -> CommandResult:
    """All settings by their names."""
    names = [name for name in AGENT_FIELDS.settings if name not in TEXTS]
    buttons = [Button(label(name), "draft:field", (id, name)) for name in names]
    rows = pages(buttons, int(page), "draft:others", (id,))
    return View("Which setting?", [*rows, [Button("‹ Draft", EDIT, (id,))]])


# --- models ---


@action("draft:models", needs=WRITE_AGENTS)
async def models(
    host: AdminContext, context: CommandContext, id: str, page: str = "0"
) -> CommandResult:
    """The models that may be chosen, with what each can do."""
    definition = _draft(host, context, id)
    own = definition.llm_overrides.model if definition and definition.llm_overrides else None
    allowed = host.catalog.allowed_models()
    start = int(page) * PAGE
    lines = [*map(model_line, allowed[start : start + PAGE])]
    buttons = [
        Button(label(f"{'✓ ' if name == own else ''}{name}"), "draft:model", (id, name))
        for name in allowed
    ]
    rows: list[Row] = [*pages(buttons, int(page), "draft:models", (id,))]
    rows.append([Button("The host's default", "draft:model", (id, "none"))])
    head = f"Which model? Now: {code(own) if own else 'the default of the host'}."
    return View("\n".join([head, *lines]), [*rows, [Button("‹ Draft", EDIT, (id,))]])


@action("draft:model", needs=WRITE_AGENTS)
async def model(host: AdminContext, context: CommandContext, id: str, name: str) -> CommandResult:
    """Give the draft another model."""
    return await set_field.function(host, context, id, "llmOverrides.model", name)


# --- servers and tools ---


@action("draft:servers", needs=WRITE_AGENTS)
async def servers(
    host: AdminContext, context: CommandContext, id: str, page: str = "0"
) -> CommandResult:
    """The servers of the top as check marks."""
    definition = _draft(host, context, id)
    if definition is None:
        return await draft_view(host, context, id)
    shared = sorted(host.catalog.snapshot().servers)
    if not shared:
        text = "The agents file has no servers at its top. Other settings has an agent's own."
        return View(text, [[Button("‹ Draft", EDIT, (id,))]])
    chosen = chosen_servers(definition, shared)
    buttons = [
        Button(label(f"{'✓' if name in chosen else '–'} {name}"), "draft:server", (id, name, page))
        for name in shared
    ]
    text = "Tap the servers whose tools it may have."
    if isinstance(definition.mcp_servers, Mapping):
        text = "It has servers of its own; a tap takes those of the top in their place."
    rows = pages(buttons, int(page), "draft:servers", (id,))
    return View(text, [*rows, _ways(id, "Tools")])


def _ways(id: str, words: Literal["Servers", "Tools"]) -> Row:
    """The way to the other list, to a test, and back to the draft."""
    other = Button(words, f"draft:{words.lower()}", (id,))
    return [other, Button("Test", "agents:test", (id,)), Button("‹ Draft", EDIT, (id,))]


def chosen_servers(definition: AgentDefinition, shared: Sequence[str]) -> list[str]:
    """Which of the servers of the top an agent has."""
    if definition.has_every_server:
        return [*shared]
    own = definition.mcp_servers
    return [name for name in shared if isinstance(own, tuple) and name in own]


@action("draft:server", needs=WRITE_AGENTS)
async def toggle_server(
    host: AdminContext, context: CommandContext, id: str, name: str, page: str
) -> CommandResult:
    """Give the draft a server of the top, or take it away."""
    definition = _draft(host, context, id)
    if definition is not None:
        chosen = chosen_servers(definition, sorted(host.catalog.snapshot().servers))
        after = [one for one in chosen if one != name]
        after = after if len(after) < len(chosen) else [*chosen, name]
        change = {"mcpServers": after, "mcpServerEndpoints": list(definition.mcp_server_endpoints)}
        await drafts_of(host).change(
            host.actor(context), id, change, key=context.key, why=context.why
        )
    return await servers.function(host, context, id, page)


@action("draft:tools", needs=WRITE_AGENTS)
async def tools(
    host: AdminContext, context: CommandContext, id: str, page: str = "0"
) -> CommandResult:
    """The tools that its servers and skills offer, and what happens to a call of each."""
    definition = _draft(host, context, id)
    if definition is None:
        return await draft_view(host, context, id)
    offered, problems = await _offered(host, context, definition)
    wrong = problem_lines(problems, MAX_PROBLEMS)
    if not offered:
        text = paragraphs("Its servers and skills offer no tools now.", wrong)
        return View(text, [_ways(id, "Servers")])
    buttons = [
        Button(label(f"{mark} {key}"), "draft:tool", (id, key, page))
        for key, mark in offered.items()
    ]
    text = "Tap a tool to change it: ✓ runs without asking, ? asks a person, ✗ is off."
    rows = pages(buttons, int(page), "draft:tools", (id,))
    return View(paragraphs(text, wrong), [*rows, _ways(id, "Servers")])


async def _offered(
    host: AdminContext, context: CommandContext, definition: AgentDefinition
) -> tuple[dict[str, str], Sequence[Problem]]:
    """What is offered if nothing is switched off, with the mark of each: ✓, ? or ✗; problems."""
    policy = definition.tool_policy
    off = set(policy.disabled_tools) if policy else set()
    bare = policy.model_copy(update={"disabled_tools": ()}) if policy else None
    every = definition.model_copy(update={"tool_policy": bare})
    found = await host.tools(every, context)
    marks = {
        tool.key: "✗" if tool.key in off else MARKS[tool.decision]
        for tool in sorted(found.listed, key=lambda one: one.key)
    }
    return marks, [*found.problems, *found.absent]


@action("draft:tool", needs=WRITE_AGENTS)
async def turn_tool(
    host: AdminContext, context: CommandContext, id: str, key: str, page: str
) -> CommandResult:
    """Change what happens to a tool: from running to asking, to off, and round."""
    definition = _draft(host, context, id)
    if definition is not None:
        marks, _ = await _offered(host, context, definition)
        change = tool_change(definition, key, NEXT[marks.get(key, "✗")])
        await drafts_of(host).change(
            host.actor(context), id, change, key=context.key, why=context.why
        )
    return await tools.function(host, context, id, page)


NEXT = {"?": "✓", "✓": "✗", "✗": "?"}
"""What a tap makes of a tool that asks, runs or is off."""


def tool_change(definition: AgentDefinition, key: str, mark: str) -> dict[str, Any]:
    """The change of an agent after which a tool runs (✓), asks (?) or is off (✗)."""
    policy = definition.tool_policy
    runs = _without(definition.whitelist_patterns, key)
    asks = _without(policy.require_confirmation if policy else (), key)
    off = _without(policy.disabled_tools if policy else (), key)
    if mark == "✓":
        runs.append(key)
    elif mark == "✗":
        off.append(key)
    else:
        asks.append(key)
    changed = {"requireConfirmation": asks or None, "disabledTools": off or None}
    return {"whitelistPatterns": runs or None, "toolPolicy": changed}


def _without(patterns: Iterable[str], key: str) -> list[str]:
    return [one for one in patterns if one != key]


# --- testing and publishing ---


@action("agents:test", needs=WRITE_AGENTS)
async def test(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """Let the draft answer the sender in this chat."""
    drafts, actor = drafts_of(host), host.actor(context)
    await drafts.begin(actor, id, key=f"{context.key}:begin")
    line, chat = context.line, context.incoming.address.original_id
    here, before = drafts.tested(actor, line, chat), drafts.find(actor, id)
    draft = await drafts.test(actor, id, line, chat, key=context.key)
    ended, there = ended_tests(here, before, draft), await drafts.compare(actor, id)
    others = "" if context.incoming.address.private else " Nobody else here notices."
    text = f"Your draft of {code(id)} answers you in this chat now, and only here.{others}"
    rows = [
        [Button("Publish", "draft:publish", (id, _seen(there))), Button("Edit", EDIT, (id,))],
        [Button("End the test", "draft:stop", (id,))],
    ]
    shown = await compared_text(host, there)
    bound = touched(host.catalog.snapshot(), id)
    return View(paragraphs(text, ended, shown, bound), rows)


@action("draft:stop", needs=WRITE_AGENTS)
async def stop(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """End the test; the draft stays."""
    await drafts_of(host).stop(host.actor(context), id, key=context.key)
    return await draft_view(host, context, id, "The test is over.")


@action("draft:publish", needs=WRITE_AGENTS)
async def publish(host: AdminContext, context: CommandContext, id: str, seen: str) -> CommandResult:
    """Put the draft in force as it was shown; where somebody was faster, show what they changed."""
    try:
        done = await drafts_of(host).publish(
            host.actor(context), id, key=context.key, expected=seen, why=context.why
        )
    except Overtaken:
        return await draft_view(host, context, id, "Nothing was published: somebody was faster.")
    except RevisionConflict:
        return await draft_view(host, context, id, "Your draft has changed: look at it again.")
    return await card(host, context, id, f"Published version {done.number}.")


@action("draft:update", needs=WRITE_AGENTS)
async def update(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """Put the changes of the draft on the agent as it is now."""
    await drafts_of(host).rebase(host.actor(context), id, key=context.key, why=context.why)
    return await draft_view(host, context, id, "Your changes are on the newest version now.")


@action("draft:discard", needs=WRITE_AGENTS)
async def discard(_host: AdminContext, _context: CommandContext, id: str) -> CommandResult:
    """Ask before a draft is dropped."""
    text = f"Drop your draft of {code(id)}? The agent stays as it is; your changes are lost."
    yes = Button("Drop the draft", "draft:discarded", (id,))
    return confirm(text, yes, Button("Cancel", EDIT, (id,)))


@action("draft:discarded", needs=WRITE_AGENTS)
async def discarded(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """Drop a draft."""
    await drafts_of(host).discard(host.actor(context), id, key=context.key, why=context.why)
    return await card(host, context, id, "Dropped.")


ACTIONS = (
    *(edit, field, set_field, others, models, model, servers, toggle_server, tools, turn_tool),
    *(test, stop, publish, update, discard, discarded),
)
