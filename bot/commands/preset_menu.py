"""People's own presets as a menu: a list, a card for each, and what taps and replies change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bot.command import CommandContext, CommandResult, Refused, Reply, code, command
from bot.commands import presets as texts
from bot.commands.host import AdminContext
from bot.menus.menu import Ask, Button, Row, View, action, label, pages
from registry.models import EFFORTS
from registry.preset import BARE, Preset
from registry.preset_edits import (
    bases_for,
    create_preset,
    delete_preset,
    presets_of,
    set_default,
    usable_models,
    use_preset,
)
from registry.roles import DEFAULT_ACCOUNT

LIST = texts.LIST
CARD, NEW, EDIT, SET = "presets:card", "presets:new", "presets:edit", "presets:set"
GONE = "This preset was deleted."
_ASKED = {
    "title": "Send the name that you want to read.",
    "append": "Send what the agent is to do besides its own instructions.",
    "override": "Send the instructions that replace those of the agent.",
    "temperature": "Send a number from 0 to 2: higher is freer.",
    "max_tokens": "Send how many tokens an answer may have.",
    "tools": "Send the names of the only tools that it may use, or off for no tools.",
}
"""What is asked for a field that people write; `none` takes it out."""
_LABELS = {
    "title": "Rename",
    "model": "Model",
    "append": "Style",
    "override": "Override",
    "temperature": "Temperature",
    "max_tokens": "Length",
    "effort": "Effort",
    "tools": "Tools",
}


@command(
    "presets", "your own variants of the agent: list, make, use and change them", usage=texts.USAGE
)
async def presets(host: AdminContext, context: CommandContext) -> CommandResult:
    """The sender's presets as a menu; with words after it what these say."""
    if context.incoming.address.private and not context.arguments.strip():
        return board(host, context)
    return await texts.presets(host, context)


def board(host: AdminContext, context: CommandContext, page: int = 0, notice: str = "") -> View:
    """The presets of a person, and ways to make one and to go back to the agent."""
    held = texts.held_by(host, context)
    buttons = [Button(label(one.title), CARD, (one.id,)) for one in held.presets]
    last = [Button("New preset", NEW)] if bases_for(host.catalog, DEFAULT_ACCOUNT) else []
    last += [Button("Use none here", "presets:bare")] if texts.used_id(host, context) else []
    return View(texts.listed(host, context), [*pages(buttons, page, LIST), last], notice)


@action(LIST)
async def list_presets(
    host: AdminContext, context: CommandContext, page: str = "0"
) -> CommandResult:
    """A page of the presets."""
    return board(host, context, int(page))


# --- one preset ---


@action(CARD)
async def show_card(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """What a preset sets, and what can be done with it."""
    return card(host, context, id)


def card(host: AdminContext, context: CommandContext, id: str, notice: str = "") -> View:
    """The card of a preset; `notice` appears for a moment."""
    held = presets_of(host.catalog.snapshot(), texts.owner_of(context))
    preset = held.find(id)
    if preset is None:
        return board(host, context, notice=notice or GONE)
    used = texts.used_id(host, context) == id
    use = (
        Button("Use none here", "presets:bare")
        if used
        else Button("Use here", "presets:use", (id,))
    )
    is_default = held.default == id
    words = "No longer default" if is_default else "Make it the default"
    rows: list[Row] = [
        [use, Button(words, "presets:default", ("" if is_default else id, id))],
        [_field(id, "model"), _field(id, "append")],
        [Button("More", "presets:more", (id,)), Button("Delete", "presets:delete", (id,))],
        [Button("‹ Presets", LIST)],
    ]
    return View(texts.described(host, context, preset), rows, notice)


def _field(id: str, name: str) -> Button:
    return Button(_LABELS[name], EDIT, (id, name))


@action("presets:more")
async def more(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """What else can be changed."""
    shown = card(host, context, id)
    names = ("title", "override", "temperature", "max_tokens", "effort", "tools")
    fields = [_field(id, name) for name in names]
    rows = [fields[at : at + 2] for at in range(0, len(fields), 2)]
    return View(shown.text, [*rows, [Button("‹ Back", CARD, (id,))]])


@action("presets:use")
async def use(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """Let a preset answer in this bot."""
    preset = _own(host, context, id)
    if preset is None:
        return board(host, context, notice=GONE)
    if why := texts.why_not_here(host, context, preset):
        return Refused(why)
    await use_preset(host.catalog, host.actor(context), context.bot.id, id, key=context.key)
    return card(host, context, id, f"{preset.title[:100]} answers you here now.")


@action("presets:bare")
async def use_none(host: AdminContext, context: CommandContext) -> CommandResult:
    """Let the agent itself answer in this bot."""
    await use_preset(host.catalog, host.actor(context), context.bot.id, BARE, key=context.key)
    return board(host, context, notice="The agent itself answers here now.")


@action("presets:default")
@texts.in_words
async def default(
    host: AdminContext, context: CommandContext, id: str, shown: str
) -> CommandResult:
    """Make a preset the default one, or none."""
    await set_default(host.catalog, host.actor(context), id or None, key=context.key)
    notice = "It is your default now." if id else "You have no default preset now."
    return card(host, context, shown, notice)


@action("presets:delete")
async def delete(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """Ask before a preset is deleted."""
    preset = _own(host, context, id)
    if preset is None:
        return board(host, context, notice=GONE)
    return texts.deletion(preset, Button("Cancel", CARD, (id,)))


@action("presets:deleted")
async def deleted(host: AdminContext, context: CommandContext, id: str) -> CommandResult:
    """Delete a preset."""
    if _own(host, context, id) is not None:
        await delete_preset(host.catalog, host.actor(context), id, key=context.key)
    return board(host, context, notice="Deleted. Its name is free.")


def _own(host: AdminContext, context: CommandContext, id: str) -> Preset | None:
    return texts.held_by(host, context).find(id)


# --- fields ---


@action(EDIT)
async def edit(host: AdminContext, context: CommandContext, id: str, field: str) -> CommandResult:
    """Ask for a field: by buttons where there is a choice, else for a text."""
    preset, back = _own(host, context, id), Button("Cancel", CARD, (id,))
    if preset is None:
        return board(host, context, notice=GONE)
    if field == "model":
        names = usable_models(host.catalog, preset.base_agent_name)
        rows = _choices(id, field, names, "The agent's own model")
        return View(texts.model_lines(names) or texts.NO_MODEL, [*rows, [back]])
    if field == "effort":
        rows = _choices(id, field, EFFORTS, "The agent's own effort")
        return View("How much should the model think?", [*rows, [back]])
    none = Button("Take it out", SET, (id, field, texts.NONE))
    return Ask(_ASKED[field], SET, (id, field), [[none, back]])


def _choices(id: str, field: str, names: Sequence[str], own: str) -> list[Row]:
    rows: list[Row] = [[Button(label(name), SET, (id, field, name))] for name in names[:MOST]]
    return [*rows, [Button(own, SET, (id, field, texts.NONE))]]


MOST = 20
"""Models on the buttons; all are taken by name."""


@action(SET)
@texts.in_words
async def set_field(
    host: AdminContext, context: CommandContext, id: str, field: str, value: str
) -> CommandResult:
    """Change a field."""
    before = _own(host, context, id)
    if before is None:
        return board(host, context, notice=GONE)
    change = texts.typed_change(field, value.strip())
    after = await texts.changed(host, context, before, change)
    shown = card(host, context, id, "Changed.")
    old = texts.replaced(before, after, "")
    if not isinstance(old, View):
        return shown
    return replace(shown, rows=[*old.rows, *shown.rows])


@action(texts.PUT_BACK)
@texts.in_words
async def put_back(
    host: AdminContext, context: CommandContext, id: str, field: str, old: str
) -> CommandResult:
    """Put a text back that was replaced."""
    before = _own(host, context, id)
    if before is None:
        return Reply(GONE)
    after = await texts.changed(host, context, before, {field: old})
    return texts.replaced(before, after, f"It is back, in preset {texts.titled(after)}.")


# --- a new one ---


@action(NEW)
async def new(host: AdminContext, context: CommandContext) -> CommandResult:
    """Ask which agent a new preset stands on."""
    bases = bases_for(host.catalog, DEFAULT_ACCOUNT)
    agents = [host.catalog.get_agent(id) for id in bases[:MOST_BASES]]
    rows: list[Row] = [
        [Button(label(one.name), "presets:named", (one.id,))] for one in agents if one
    ]
    here = context.resolution.agent_id
    rows.sort(key=lambda row: row[0].arguments != (here,))  # the one that answers here is first
    text = "Which agent should it stand on?" if rows else texts.NO_BASES
    return View(text, [*rows, [Button("Cancel", LIST)]])


MOST_BASES = 30


@action("presets:named")
async def name_new(_host: AdminContext, _context: CommandContext, base: str) -> CommandResult:
    """Ask for the name of a new preset."""
    text = f"Send a name for your preset of {code(base)}."
    return Ask(text, "presets:made", (base,), [[Button("Cancel", LIST)]])


@action("presets:made")
@texts.in_words
async def made(host: AdminContext, context: CommandContext, base: str, name: str) -> CommandResult:
    """Make a preset, and show it."""
    title = " ".join(name.split())[:128]
    given: dict[str, Any] = {**texts.named(host, context, title), "base_agent_name": base}
    actor = host.actor(context)
    preset, _ = await create_preset(host.catalog, actor, given, key=context.key)
    return card(host, context, preset.id, f"Created {preset.title[:100]}.")


# --- the model that answers here ---


@command("model", "choose the model that answers you here", usage="[MODEL | default]")
async def model(host: AdminContext, context: CommandContext) -> CommandResult:
    """Change the model of the preset that is in use here; without a name offer the models."""
    if not context.incoming.address.private or context.arguments.strip():
        return await texts.model(host, context)
    base = context.resolution.agent_id or ""
    names = usable_models(host.catalog, base)[:MOST]
    rows: list[Row] = [[Button(label(name), "presets:model", (name,))] for name in names]
    rows.append([Button("The agent's own model", "presets:model", (texts.DEFAULT,))])
    if texts.fault_here(host, context):
        rows = [[Button("Use none here", "presets:bare")]]
    elif not texts.may_adjust(host, context):
        rows = []
    return View(texts.models(host, context, base), rows)


@action("presets:model")
async def choose_model(host: AdminContext, context: CommandContext, name: str) -> CommandResult:
    """Choose a model for this bot."""
    return await texts.adjusted(host, context, "primary_model", name, texts.DEFAULT, "model")


ACTIONS = (
    *(list_presets, show_card, more, use, use_none, default, delete, deleted),
    *(edit, set_field, put_back, new, name_new, made, choose_model),
)
