"""The table of all commands, and those that belong to no feature: /start, /help, /new, /stop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bot.access.command import PeopleContext, claim, own_id, people
from bot.approvals.approvers import approvals
from bot.command import (
    BotCommand,
    CommandContext,
    CommandResult,
    Commands,
    Reply,
    StartNewConversation,
    command,
    escape_markdown,
    first_items,
    lost_profile_cure,
    no_agent_cure,
    paragraphs,
    visible,
)
from bot.commands import (
    agent_menu,
    agents,
    audit,
    bindings,
    bot_menu,
    bots,
    dead_letters,
    drafts,
    edit_menu,
    host,
    instances,
    keys,
    new_agent,
    offers,
    page,
    preset_menu,
    presets,
    profiles,
    reviews,
    roles,
    versions,
)
from bot.commands.host import AdminContext, retrying
from bot.ops.shown_once import ShownOnce
from bot.store.client import StoreClient
from bot.tools.policy import Decision
from bot.turn.results import BROKEN, LEAVE_PRESET, NO_AGENT, WAYS_OUT
from bot.usage.ledger import usage

NOTHING_RUNS = "Nothing is running here."


def all_commands(
    admin_context: AdminContext,
    people_context: PeopleContext,
    last_uses: keys.LastUses,
    make_link: page.MakeLink,
    shown_once: ShownOnce,
    store: StoreClient,
    bot_commands: bots.BotCommands,
) -> Commands:
    """Every command of this host, in the order of menus and of docs/commands.md."""
    first = [agent_menu.agents, agents.agent, agents.add_agent, agents.delete_agent]
    first += [new_agent.new_agent, agent_menu.clone_agent, agent_menu.archive_agent]
    first += [drafts.edit, drafts.test, drafts.publish, drafts.discard, drafts.drafts]
    first += [instances.instances, instances.instance, instances.new_instance]
    first += [instances.edit_instance, instances.delete_instance]
    first += [profiles.profiles, profiles.llm_configs, profiles.add_profile]
    first += [profiles.remove_profile]
    first += [versions.versions, versions.diff, versions.restore]
    first += [bindings.bind, bindings.unbind, bindings.default, offers.models, offers.tools]
    last = (audit.audit, audit.rollback, reviews.reviews, host.status, host.reload)
    rows: list[BotCommand] = [start.using(admin_context), new, stop]
    rows += [show_help.using((rows, admin_context)), approvals, usage]
    own = (preset_menu.presets, preset_menu.model, presets.style)
    rows += [retrying(row.using(admin_context)) for row in (*own, *first)]
    rows += [own_id, people.using(people_context), claim]
    rows += [retrying(roles.roles.using((admin_context, people_context.access)))]
    rows += [retrying(keys.keys.using((admin_context, last_uses, shown_once)))]
    rows += [page.page.using((make_link, shown_once))]
    of_bots = [bot_menu.bots, bots.add_bot, bots.new_bot, bot_menu.forget]
    of_bots += [bots.take_over, bots.token_seen]
    rows += [retrying(row.using(bot_commands)) for row in of_bots]
    rows += [retrying(row.using(admin_context)) for row in last]
    rows += [retrying(dead_letters.dead_letters.using((admin_context, store)))]
    tapped = (*agent_menu.ACTIONS, *edit_menu.ACTIONS, *new_agent.ACTIONS, *preset_menu.ACTIONS)
    actions = [retrying(row.using(admin_context)) for row in tapped]
    actions += [retrying(row.using((admin_context, store))) for row in dead_letters.ACTIONS]
    actions += [retrying(row.using(bot_commands)) for row in bot_menu.ACTIONS]

    async def refuse(row: BotCommand, context: CommandContext) -> str:
        await admin_context.audit_refusal(row, context)
        return await bots.warned_of_token(bot_commands.edits, context)

    return Commands(rows, admin_context.actor, refuse, actions)


@command("start", "say hello", concurrent=True)
async def start(admin_context: AdminContext, context: CommandContext) -> CommandResult:
    """Greet in the agent's name; where no agent answers, say so, and an admin what to do."""
    hello = f"Hello {escape_markdown(context.incoming.person.name)}!"
    if context.agent:
        agent = escape_markdown(context.agent)
        return Reply(f"{hello} I am **{agent}**. Just write to me; /help lists more.")
    if gone := _cannot_answer(admin_context, context):
        return Reply(paragraphs(hello, gone))
    if not context.admin:
        return Reply(f"{hello} {NO_AGENT} An admin has to set one up first.")
    document = admin_context.catalog.snapshot().document
    how = no_agent_cure(context.resolution.why, document.agents, document.errors)
    add = "" if document.errors else escape_markdown(agents.HOW_TO_ADD)
    return Reply(paragraphs(f"{hello} {NO_AGENT}", how, add))


def _cannot_answer(admin_context: AdminContext, context: CommandContext) -> str:
    """That the agent or the sender's choice cannot answer here, and the cure; '' otherwise."""
    if context.agent:
        return ""
    if lost := context.resolution.lost:
        cure = lost_profile_cure(admin_context.catalog.snapshot(), lost) if context.admin else ""
        return paragraphs(BROKEN, LEAVE_PRESET if context.resolution.preset else "", cure)
    found = context.resolution
    if found.rule not in WAYS_OUT:
        return ""
    return f"{escape_markdown(found.why)} {WAYS_OUT[found.rule]}"


@command("new", "start a new conversation; the old one is set aside")
async def new(_context: CommandContext) -> CommandResult:
    """Set a boundary; what ran was stopped when this came."""
    text = "A new conversation begins here; I no longer read what was said before."
    return StartNewConversation(text)


@command("stop", "stop the answer that is being written", concurrent=True)
async def stop(_context: CommandContext) -> CommandResult:
    """For menus and /help: a typed /stop is a signal, which runs ahead of everything."""
    return Reply(NOTHING_RUNS)


@command("help", "what I can do, and what you can send me", concurrent=True)
async def show_help(
    parts: tuple[Sequence[BotCommand], AdminContext], context: CommandContext
) -> CommandResult:
    """Say who answers and what it can do, and list the commands that this person may use."""
    rows, admin_context = parts
    may = visible(rows, admin_context.actor(context).grants)
    everyone = _lines(row for row in may if not row.needs)
    more = _lines(row for row in may if row.needs)
    head = "For admins" if context.admin else "With your role"
    who = await _about(admin_context, context) if context.agent else ""
    who = who or _cannot_answer(admin_context, context) or NO_AGENT
    return Reply(paragraphs(who, everyone, f"{head}:\n{more}" if more else ""))


MAX_TOOLS = 30


async def _about(admin_context: AdminContext, context: CommandContext) -> str:
    """The agent that answers here: its name, what it is for, and its tools in words."""
    agent = context.resolution.agent_id or ""
    found = admin_context.catalog.snapshot().effective(agent, admin_context.defaults)
    about = " ".join((found.definition.description or "").split()) if found else ""
    name = f"I am **{escape_markdown(context.agent or '')}**."
    can: dict[str, list[str]] = {"Without asking, I can": [], "With a person's approval, I can": []}
    by_itself, asking = can.values()
    for tool in (await admin_context.tools(agent, context)).listed:
        (by_itself if tool.decision is Decision.RUN else asking).append(tool.words)
    lines = []
    for what, names in can.items():
        shown, more = first_items(list(dict.fromkeys(names)), MAX_TOOLS)
        if shown:
            listed = escape_markdown(", ".join(shown)) + more.replace("\n", " ")
            lines.append(f"{what}: {listed}.")
    return paragraphs(f"{name} {escape_markdown(about)}".strip(), "\n".join(lines))


def _lines(rows: Iterable[BotCommand]) -> str:
    return "\n".join(
        sorted(
            f"/{row.name}{f' {escape_markdown(row.usage)}' if row.usage else ''} – {row.help}"
            for row in rows
        )
    )
