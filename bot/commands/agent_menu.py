"""The agents as a menu: a list to go through, a card for each agent, and what one tap changes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence

from bot.command import (
    READ_AGENTS,
    READ_DOCUMENTS,
    WRITE_ACCOUNT,
    WRITE_AGENTS,
    WRITE_DOCUMENTS,
    WRITE_INSTANCES,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    counted,
    escape_markdown,
    paragraphs,
    split_reason,
)
from bot.commands.agents import (
    HOW_TO_ADD,
    answers_of,
    built_from,
    described_agent,
    shown_name,
    titled,
)
from bot.commands.host import AdminContext, ago, no_agent, server_line
from bot.commands.versions import author, because, changed_fields, version_line
from bot.menus.menu import PAGE, Ask, Button, Notice, Row, View, action, confirm, label, pages
from bot.tools.policy import Decision
from registry.binding import AgentBinding, AgentBindingType
from registry.catalog import Catalog
from registry.definition import AgentDefinition
from registry.errors import NotThere
from registry.layers import EffectiveAgent
from registry.revisions import Revision
from registry.roles import RoleGrant
from registry.snapshot import Entry, Snapshot
from registry.sources import stored_values as stored
from registry.sources.revision_store import DELETED

MAX_VERSIONS = 8
LIST, CARD = "agents:list", "agents:card"


@command("agents", "list the agents", needs=READ_AGENTS, usage="[WORD]", concurrent=True)
async def agents(host: AdminContext, context: CommandContext) -> CommandResult:
    """List all agents, or those with a word in their id or name, as a menu."""
    snapshot, wanted = host.catalog.snapshot(), context.arguments
    if found := board(snapshot, host.actor(context).grants, wanted):
        return found
    return Reply("No agent matches." if wanted else f"There are no agents yet. {HOW_TO_ADD}")


def board(
    snapshot: Snapshot, grants: Sequence[RoleGrant], wanted: str = "", page: int = 0
) -> View | None:
    """A page of the agents, or of those with a word in their id or name; None for none."""
    known = snapshot.agents.values()
    word = wanted.lower()
    found = [one for one in known if word in one.value.id or word in one.value.name.lower()]
    if not found:
        return None
    buttons = [
        Button(label(f"{one.value.name[:40]} · {one.value.id}"), CARD, (one.value.id,))
        for one in found
    ]
    page = min(max(0, page), (len(found) - 1) // PAGE)
    rows: list[Row] = [*pages(buttons, page, LIST, (wanted,))]
    last = [Button("Search", "agents:search")]
    if WRITE_AGENTS.is_met(grants):
        last.append(Button("New agent", "agents:new"))
    if wanted:
        last.insert(0, Button("All agents", LIST, ("",)))
    lines = [listed(entry, snapshot) for entry in found[page * PAGE : (page + 1) * PAGE]]
    total = f"\n{counted(len(found), 'agent')} in all." if len(found) > PAGE else ""
    return View("\n".join(lines) + total, [*rows, last])


MAX_LINES = 50
MAX_ALIKE = 10_000


def listed(entry: Entry[AgentDefinition], snapshot: Snapshot) -> str:
    """An agent in a line: its id, its name, whether it is the default, and where it is written."""
    mark = " (the default)" if entry.value.id == snapshot.default else ""
    name, place = shown_name(entry.value.name), escape_markdown(entry.place)
    return f"• {code(entry.value.id)} {name}{mark} · {place}"


@action(LIST, needs=READ_AGENTS)
async def list_agents(
    host: AdminContext, context: CommandContext, wanted: str = "", page: str = "0"
) -> CommandResult:
    """A page of the agents."""
    grants = host.actor(context).grants
    found = board(host.catalog.snapshot(), grants, wanted, int(page))
    rest = [Button("All agents", LIST)]
    if WRITE_AGENTS.is_met(grants):
        rest.append(Button("New agent", "agents:new"))
    return found or View("No agent matches." if wanted else "There are no agents yet.", [rest])


@action("agents:search", needs=READ_AGENTS)
async def search(_host: AdminContext, _context: CommandContext) -> CommandResult:
    """Ask for a word."""
    text = "Send a word of the agent's id or name."
    return Ask(text, "agents:found", rows=[[Button("Cancel", LIST)]])


@action("agents:found", needs=READ_AGENTS)
async def found_agents(host: AdminContext, context: CommandContext, word: str) -> CommandResult:
    """The agents that fit a word."""
    return await list_agents.function(host, context, " ".join(word.split())[:64])


# --- one agent ---


@action(CARD, needs=READ_AGENTS)
async def show_card(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """What an agent is, who gets it, its tools, its health, its cost today and its revision."""
    return await card(host, context, id)


async def card(host: AdminContext, context: CommandContext, id: str, notice: str = "") -> View:
    """An agent's card, with what can be done with it."""
    snapshot = host.catalog.snapshot()
    found, entry = snapshot.effective(id, host.defaults), snapshot.agents.get(id)
    if found is None or entry is None:
        rows: list[Row] = [[Button("‹ Agents", LIST)]]
        if entry is not None:  # it lacks its profile
            rows = _buttons(id, host.actor(context).grants, is_of_file=entry.operator)
        return View(no_agent(snapshot, id), rows, notice)
    about = found.definition.description or ""
    lines = [
        _profile_line(found),
        f"Model: {code(found.llm.model or 'none')}",
        await _tools_line(host, context, id),
        await _cost_line(context, id),
        await _revision_line(host, context, id, entry),
    ]
    text = paragraphs(
        titled(found.definition.name, id),
        escape_markdown(" ".join(about.split())[:300]),
        "\n".join(f"• {line}" for line in lines if line),
        answers_of(snapshot, id, host.bots()),
        "\n".join(server_line(one) for one in host.servers(id) if one["state"] != "up"),
    )
    grants = host.actor(context).grants
    return View(text, _buttons(id, grants, is_of_file=entry.operator), notice)


def _profile_line(agent: EffectiveAgent) -> str:
    """The profile of an agent, and whether its prompt is built from that."""
    if agent.profile is None:
        return ""
    built = f", {built_from(agent)}" if agent.segments else ""
    return f"Profile: {code(agent.profile.name)}{escape_markdown(built)}"


def _buttons(id: str, grants: Sequence[RoleGrant], *, is_of_file: bool) -> list[Row]:
    """What a person with these roles may do with an agent."""
    may_write, may_bind = WRITE_AGENTS.is_met(grants), WRITE_INSTANCES.is_met(grants)
    found = []
    if may_write and not is_of_file:
        found += [Button("Edit", "agents:edit", (id,)), Button("Test", "agents:test", (id,))]
    if may_bind:
        found.append(Button("Bind", "agents:bind", (id,)))
    found.append(Button("History", "agents:history", (id,)))
    if may_write:
        found.append(Button("Clone", "agents:clone", (id,)))
    if may_write and not is_of_file:
        found.append(Button("Archive", "agents:archive", (id,)))
    found += [Button("Details", "agents:details", (id,)), Button("‹ Agents", LIST)]
    return [found[at : at + 2] for at in range(0, len(found), 2)]


async def _tools_line(host: AdminContext, context: CommandContext, id: str) -> str:
    offered = await host.tools(id, context)
    listed = offered.listed
    if not listed:
        return "Its tools are not known yet" if offered.absent else "No tools"
    alone = sum(tool.decision is Decision.RUN for tool in listed)
    asking = len(listed) - alone
    parts = [f"{alone} run without asking"] if alone else []
    parts += [f"{asking} ask first"] if asking else []
    return f"{counted(len(listed), 'tool')}: {', '.join(parts)}"


async def _cost_line(context: CommandContext, id: str) -> str:
    spent = await context.spent_by(id)
    if not spent.get("requests"):
        return "Not used today (UTC)"
    cost = f", ${spent['micros'] / 1_000_000:.4f}" if spent.get("micros") else ""
    return f"Today (UTC): {counted(spent['requests'], 'model request')}{cost}"


async def _revision_line(
    host: AdminContext, context: CommandContext, id: str, entry: Entry[AgentDefinition]
) -> str:
    if entry.operator:
        return f"Set in {escape_markdown(entry.place)}: edit it there"
    newest = await host.history.revisions(host.actor(context), "agent", id, count=1)
    if not newest:
        return ""
    when = ago(max(0.0, host.catalog.wall() - newest[0].at))
    return f"Version {newest[0].number}, {when} {author(newest[0].by, newest[0].place)}"


@action("agents:details", needs=READ_AGENTS)
async def details(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """All settings of an agent with their origins."""
    snapshot = host.catalog.snapshot()
    found = snapshot.effective(id, host.defaults)
    text = await described_agent(host, context, found) if found else no_agent(snapshot, id)
    return View(text, [[Button("‹ Back", CARD, (id,))]])


# --- binding ---


@action("agents:bind", needs=WRITE_INSTANCES)
async def bind(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """Where the agent should answer."""
    address, snapshot = context.incoming.address, host.catalog.snapshot()
    here = "This chat" if address.private else "This group"
    name = f"@{context.bot.username}" if context.bot.username else "this bot"
    rows = [
        [Button(here, "agents:bound", (id, "chat", str(address.chat)))],
        [Button(f"All of {name}", "agents:bound", (id, "bot", str(context.bot.id)))],
    ]
    if WRITE_ACCOUNT.is_met(host.actor(context).grants):  # others have their own bots alone
        rows.append([Button("Everywhere, as the default", "agents:bound", (id, "default", ""))])
        others = (one.identity for one in host.bots() if one.identity.id != context.bot.id)
        rows += [
            [Button(label(f"@{one.username}"), "agents:bound", (id, "bot", str(one.id)))]
            for one in others
            if one.username
        ][:MAX_BOTS]
    for one in bindings_of(snapshot, id)[:MAX_BOTS]:
        rows.append([Button(label(f"✗ {_slot_words(one)}"), "agents:unbind", (id, one.slot))])
    text = paragraphs(
        f"Where should {code(id)} answer? A chat counts before a bot, a bot before the default.",
        answers_of(snapshot, id, host.bots()),
    )
    return View(text, [*rows, [Button("‹ Back", CARD, (id,))]])


MAX_BOTS = 10


def bindings_of(snapshot: Snapshot, id: str) -> list[AgentBinding]:
    """What is bound to an agent."""
    return [one for one in snapshot.bindings if one.agent_id == id]


def _slot_words(one: AgentBinding) -> str:
    kind = {"TelegramBot": "bot", "ChatId": "chat", "UserId": "person"}[one.type.value]
    return f"{kind} {one.binding_key[:20]}"


@action("agents:bound", needs=WRITE_INSTANCES)
async def bound(
    host: AdminContext, context: CommandContext, id: str, kind: str, key: str, seen: str = ""
) -> CommandResult:
    """Bind an agent to a chat or a bot, or make it the default one.

    Where another answers there, ask once; `seen` is the hash of what is replaced then.
    """
    catalog, actor = host.catalog, host.actor(context)
    binding = None if kind == "default" else _binding(host, context, id, kind, key)
    document = catalog.snapshot().document
    there = document.bindings.get(binding.slot) if binding else document.default_agent_id
    before = _agent_at(there)
    if before not in (None, id) and there is not None and there.revision != seen:
        text = f"{code(before or '')} answers {WHERE[kind]} now. {code(id)} would take its place."
        yes = Button("Take its place", "agents:bound", (id, kind, key, there.revision))
        return confirm(text, yes, Button("Cancel", "agents:bind", (id,)))
    why = context.why
    if binding is None:
        await catalog.set_default(actor, id, key=context.key, expected=seen or None, why=why)
    else:
        expected = there.revision if there else DELETED
        await catalog.bind(actor, binding, key=context.key, expected=expected, why=why)
    return await card(host, context, id, f"{id} answers {WHERE[kind]} now.")


WHERE = {"default": "wherever nothing is bound", "bot": "in that bot", "chat": "in this chat"}


def _agent_at(entry: Entry[AgentBinding] | Entry[str] | None) -> str | None:
    if entry is None:
        return None
    return entry.value if isinstance(entry.value, str) else entry.value.agent_id


def _binding(
    host: AdminContext, context: CommandContext, id: str, kind: str, key: str
) -> AgentBinding:
    """The binding to write; it takes the name of the present one, and so replaces it."""
    bindings = host.catalog.snapshot().bindings
    if kind == "bot":
        identity = next((one.identity for one in host.bots() if str(one.identity.id) == key), None)
        what, bot = AgentBindingType.TelegramBot, None
        held = bindings.of_bot(identity) if identity else bindings.plain(what, key)
    else:
        what, bot = AgentBindingType.ChatId, str(context.bot.id)
        held = bindings.scoped(what, key, context.bot)
    key, bot = (held.binding_key, held.bot) if held else (key, bot)
    return AgentBinding(agent_id=id, type=what, binding_key=key, bot=bot)


@action("agents:unbind", needs=WRITE_INSTANCES)
async def unbind(host: AdminContext, _context: CommandContext, id: str, slot: str) -> CommandResult:
    """Ask before a binding is removed."""
    entry = host.catalog.snapshot().document.bindings.get(slot)
    if entry is None or entry.value.agent_id != id:
        return Notice("It was removed already, or leads to another agent now.")
    yes = Button("Remove the binding", "agents:unbound", (id, slot, entry.revision))
    text = f"{code(id)} will no longer answer by the binding {code(slot)}."
    return confirm(text, yes, Button("Cancel", "agents:bind", (id,)))


@action("agents:unbound", needs=WRITE_INSTANCES)
async def unbound(
    host: AdminContext, context: CommandContext, id: str, slot: str, seen: str
) -> CommandResult:
    """Remove a binding, if it is as it was shown."""
    done = await host.catalog.unbind(
        host.actor(context), slot, key=context.key, expected=seen, why=context.why
    )
    return await card(host, context, id, "Removed." if done else "It was removed already.")


# --- history ---


@action("agents:history", needs=READ_DOCUMENTS)
async def history(
    host: AdminContext, context: CommandContext, id: str, page: str = "0"
) -> CommandResult:
    """The versions of an agent, newest first; each leads to what it changed."""
    found = await host.history.revisions(host.actor(context), "agent", id)
    if not found:
        return Notice("There is no history of this agent.")
    start = int(page) * MAX_VERSIONS
    now, shown = host.catalog.wall(), found[start : start + MAX_VERSIONS]
    befores: Sequence[Revision | None] = [*found[start + 1 :], None]
    lines = [version_line(one, old, now) for one, old in zip(shown, befores, strict=False)]
    numbers = [str(one.number) for one in shown]
    buttons = [Button(f"Version {one}", "agents:version", (id, one)) for one in numbers]
    rows: list[Row] = [buttons[at : at + 2] for at in range(0, len(buttons), 2)]
    beside = []
    if start:
        beside.append(Button("‹ Newer", "agents:history", (id, str(int(page) - 1))))
    if len(found) > start + MAX_VERSIONS:
        beside.append(Button("Older ›", "agents:history", (id, str(int(page) + 1))))
    head = f"Versions of {code(id)}, newest first:"
    return View("\n".join([head, *lines]), [*rows, beside, [Button("‹ Back", CARD, (id,))]])


@action("agents:version", needs=READ_DOCUMENTS)
async def version(
    host: AdminContext, context: CommandContext, id: str, number: str
) -> CommandResult:
    """What a version changed, and what going back to it would change."""
    actor = host.actor(context)
    one = await host.history.revision(actor, "agent", id, int(number))
    found = await host.history.revisions(actor, "agent", id)
    newest, before = found[0], next((x for x in found if x.number < one.number), None)
    what = "It was created."
    if before is not None:
        between = await host.history.diff(actor, "agent", id, before.number, one.number)
        what = changed_fields(between.changes) or "It says the same as the one before."
    now = max(0.0, host.catalog.wall() - one.at)
    who = f"{ago(now)} {author(one.by, one.place)}{because(one.reason, one.ticket)}"
    rows: list[Row] = [[Button("‹ History", "agents:history", (id,))]]
    back = ""
    may_write = WRITE_AGENTS.is_met(actor.grants)
    if newest.number != one.number and one.text is not None and may_write:
        between = await host.history.diff(actor, "agent", id, newest.number, one.number)
        changes = changed_fields(between.changes) or "It says the same as the newest version."
        head = f"Going back to it is live at once, and changes from version {newest.number}:"
        back = paragraphs(head, changes, touched(host.catalog.snapshot(), id))
        yes = Button(f"Go back to version {number}", "agents:restored", (id, number, newest.hash))
        rows.insert(0, [yes])
    return View(paragraphs(f"Version {number} of {code(id)}, {who}:", what, back), rows)


@action("agents:restored", needs=WRITE_DOCUMENTS)
async def restored(
    host: AdminContext, context: CommandContext, id: str, number: str, seen: str
) -> CommandResult:
    """Make an old version the newest one, if nothing was changed since it was shown."""
    made = await host.history.restore(
        host.actor(context),
        "agent",
        id,
        int(number),
        key=context.key,
        expected=seen,
        why=context.why,
    )
    return await card(host, context, id, f"Version {number} is in force again, as version {made}.")


# --- cloning and archiving ---


def next_free_id(snapshot: Snapshot, wanted: str, taken: Collection[str] = ()) -> str:
    """An id that no agent has and that is not `taken`: the wanted one, or one with a number."""
    ids = (wanted, *(f"{wanted}-{number}" for number in range(2, MAX_ALIKE)))
    return next((id for id in ids if id not in snapshot.agents and id not in taken), wanted)


def touched(snapshot: Snapshot, id: str) -> str:
    """What a change of an agent touches, in a sentence: "2 bots, 1 instance"."""
    parts = []
    kinds = Counter(one.type for one in bindings_of(snapshot, id))
    words = {
        AgentBindingType.TelegramBot: "bot",
        AgentBindingType.ChatId: "chat",
        AgentBindingType.UserId: "private chat",
    }
    for kind, word in words.items():
        if bound := kinds[kind]:
            parts.append(counted(bound, word))
    if snapshot.default == id:
        parts.append("every chat without a binding (it is the default)")
    instances = snapshot.document.instances.values()
    types = [snapshot.type_named(one.value.agent_type) for one in instances]
    if made := sum(one is not None and one.value.id == id for one in types):
        parts.append(counted(made, "instance"))
    return f"This touches {', '.join(parts)}." if parts else "Nothing is bound to it."


@action("agents:clone", needs=WRITE_AGENTS)
async def clone(host: AdminContext, _context: CommandContext, id: str) -> CommandResult:
    """Ask for the id of the copy."""
    free = next_free_id(host.catalog.snapshot(), f"{id}-copy")
    rows = [
        [Button(label(f"Name it {free}"), "agents:cloned", (id, free))],
        [Button("Cancel", CARD, (id,))],
    ]
    text = f"Send the id of the copy of {code(id)}, such as {code(free)}."
    return Ask(text, "agents:cloned", (id,), rows)


@action("agents:cloned", needs=WRITE_AGENTS)
async def cloned(
    host: AdminContext, context: CommandContext, id: str, wanted: str
) -> CommandResult:
    """Make a copy of an agent."""
    made = await copy_agent(host, context, id, wanted)
    return await card(host, context, made.id, f"Created {made.id}.")


async def copy_agent(
    host: AdminContext, context: CommandContext, id: str, wanted: str, name: str = ""
) -> AgentDefinition:
    """Store a copy of an agent under another id, and a name; raises kinds of RegistryError."""
    agent = await copied(host.catalog, id, " ".join(wanted.split()).lower(), name)
    await host.catalog.create_agent(host.actor(context), agent, key=context.key, why=context.why)
    return agent


async def copied(catalog: Catalog, source: str, id: str, name: str = "") -> AgentDefinition:
    """An agent as another one is, under its own id and name; raises NotThere, DocumentErrors."""
    found = catalog.snapshot().agents.get(source)
    if found is None:
        raise NotThere(f"there is no agent '{source[:64]}'")
    title = " ".join(name.split()) or f"{found.value.name[:120]} (copy)"
    document = {**found.value.to_json(), "id": id, "name": title}
    return await catalog.parse(json.dumps(document, ensure_ascii=False), id or "the copy")


@action("agents:archive", needs=WRITE_AGENTS)
async def archive(host: AdminContext, _context: CommandContext, id: str) -> CommandResult:
    """Ask before an agent is put aside."""
    snapshot = host.catalog.snapshot()
    entry = snapshot.agents.get(id)
    if entry is None:
        return View(no_agent(snapshot, id), [[Button("‹ Agents", LIST)]])
    text = paragraphs(
        f"Archive {titled(entry.value.name, id)}? It answers nobody then; "
        "its versions are kept, and /archive brings it back.",
        touched(snapshot, id),
    )
    yes = Button("Archive", "agents:archived", (id, entry.revision))
    return confirm(text, yes, Button("Cancel", CARD, (id,)))


@action("agents:archived", needs=WRITE_AGENTS)
async def archived(
    host: AdminContext, context: CommandContext, id: str, seen: str
) -> CommandResult:
    """Put an agent aside, if it is as it was shown."""
    done = await host.catalog.delete_agent(
        host.actor(context), id, key=context.key, expected=seen, why=context.why
    )
    notice = f"Archived {id}." if done else "It was archived already."
    view = board(host.catalog.snapshot(), host.actor(context).grants)
    rows = view.rows if view else [[Button("New agent", "agents:new")]]
    text = view.text if view else "There are no agents now."
    back = Button(f"Bring {label(id)} back", "agents:unarchive", (id,))
    return View(text, [[back], *rows], notice)


@action("agents:unarchive", needs=WRITE_AGENTS)
async def unarchive(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """Bring back the last version of an agent that was put aside."""
    found = await host.history.revisions(host.actor(context), "agent", id)
    last = next((one for one in found if one.text is not None), None)
    if last is None or found[0].text is not None:
        return await card(host, context, id)
    await host.history.restore(
        host.actor(context), "agent", id, last.number, key=context.key, why=context.why
    )
    return await card(host, context, id, f"{id} is back.")


# --- the same by one line ---


@command("clone", "copy an agent", needs=WRITE_AGENTS, usage="ID NEW-ID [NAME]")
async def clone_agent(host: AdminContext, context: CommandContext) -> CommandResult:
    """Store a copy of an agent under a new id."""
    words = context.arguments.split(None, 2)
    if len(words) < 2:
        return Reply("Write /clone ID NEW-ID; /agents lists the agents.")
    made = await copy_agent(host, context, words[0].lower(), words[1], " ".join(words[2:]))
    copied = f"Created {code(made.id)}, a copy of {code(words[0].lower())}."
    return Reply(f"{copied} {code(f'/bind {made.id}')} lets it answer here.")


@command(
    "archive",
    "put an agent aside, or list those that were",
    needs=WRITE_AGENTS,
    usage="[ID [because …]]",
)
async def archive_agent(host: AdminContext, context: CommandContext) -> CommandResult:
    """Put an agent aside; without an id list those that were, each with a way back."""
    text, why = split_reason(context.arguments)
    words = text.split()
    if len(words) > 1:
        return Reply("Write /archive ID, or /archive to see what is archived.")
    if not words:
        return await _archived_list(host)
    id, catalog = words[0].lower(), host.catalog
    if not await catalog.delete_agent(host.actor(context), id, key=context.key, why=why):
        return Reply(no_agent(catalog.snapshot(), id))
    return Reply(f"Archived {code(id)}. /archive brings it back.")


async def _archived_list(host: AdminContext) -> CommandResult:
    async with host.catalog.writable.using() as revisions:
        found = await revisions.deleted(stored.DEFINITION, MAX_LINES)
    ids = [id for id in found if id not in host.catalog.snapshot().agents]
    if not ids:
        return Reply("No agent is archived.")
    rows = [[Button(label(f"Bring {id} back"), "agents:unarchive", (id,))] for id in ids]
    return View("Archived agents:\n" + "\n".join(f"• {code(id)}" for id in ids), rows)


ACTIONS = (
    *(list_agents, search, found_agents, show_card, details, bind, bound, unbind, unbound),
    *(history, version, restored, clone, cloned, archive, archived, unarchive),
)
