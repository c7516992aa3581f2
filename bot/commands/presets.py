"""People's own presets, from a private chat: /presets, and the quick ways /model and /style."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from bot.command import (
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    escape_markdown,
    first_items,
    paragraphs,
)
from bot.commands.agents import setting_line
from bot.commands.host import AdminContext
from registry.errors import DocumentErrors, NotThere, Problem
from registry.fields import casefolded, nearest, unknown_name
from registry.models import known
from registry.policy import patterns_of
from registry.preset import BARE, PersonPresets, Preset, telegram_owner
from registry.preset_edits import (
    adjust,
    bases_for,
    change_preset,
    create_preset,
    delete_preset,
    presets_of,
    set_default,
    usable_models,
    use_preset,
)
from registry.preset_rules import fault_of, preset_here
from registry.roles import DEFAULT_ACCOUNT

MAX_SHOWN = 50
PRIVATE = "Presets are your own: send this to me in our private chat."
NONE, DEFAULT = "none", "default"
USAGE = "[NAME | new NAME AGENT | use, default, edit or delete NAME …]"
HOW = (
    "/presets new NAME AGENT makes one, with what it is to add to the agent's instructions on the "
    "lines below. /presets use NAME, default NAME, edit NAME FIELD VALUE and delete NAME do what "
    "they say; none in place of a name takes the choice back. /model and /style are quicker."
)
HOW_TO_EDIT = (
    "Write a field and its value, such as /presets edit {} temperature 0.3. Fields are name, "
    "title, agent, model, append, override, temperature, max_tokens, effort and tools; none takes "
    "one out."
)
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "name": ("instance_name",),
    "title": ("display_name",),
    "agent": ("base_agent_name",),
    "model": ("primary_model",),
    "append": ("system_prompt_append",),
    "style": ("system_prompt_append",),
    "override": ("system_prompt_override",),
    "temperature": ("config_overrides", "temperature"),
    "max_tokens": ("config_overrides", "max_tokens"),
    "effort": ("config_overrides", "reasoning_effort"),
    "tools": ("config_overrides", "allowed_tools"),
}
"""What may be edited, by the word for it."""
_SPELLED = {casefolded(name): name for name in _FIELDS}
_SPELLED |= {casefolded(steps[-1]): name for name, steps in _FIELDS.items() if name != "style"}
_NUMBERS = frozenset({"temperature", "max_tokens"})
_Act = Callable[[AdminContext, CommandContext, str], Awaitable[str]]


def owner_of(context: CommandContext) -> str:
    """Whose presets the sender sees: their own."""
    return telegram_owner(context.incoming.person.telegram_id)


def held_by(host: AdminContext, context: CommandContext) -> PersonPresets:
    """The presets of the sender."""
    return presets_of(host.catalog.snapshot(), owner_of(context))


def _named(host: AdminContext, context: CommandContext, name: str) -> Preset:
    """A preset of the sender by its name; raises NotThere."""
    held, wanted = held_by(host, context), name.strip().lower()
    if (preset := held.named(wanted)) is not None:
        return preset
    names = [one.instance_name for one in held.presets]
    near = nearest(wanted[:64], names, 0.6)
    cure = f"did you mean '{near}'?" if near else "/presets lists yours"
    raise NotThere(f"you have no preset '{wanted[:64]}'; {cure}")


def used_id(host: AdminContext, context: CommandContext) -> str:
    """The id of the sender's preset that answers here at this moment; '' for none."""
    snapshot, address = host.catalog.snapshot(), context.incoming.address
    if not address.private:
        return ""
    person = context.incoming.person.telegram_id
    found = snapshot.resolve(context.bot, address.chat, person)
    preset = preset_here(snapshot, found, context.bot.id, owner_of(context))
    return preset.id if preset else ""


def titled(preset: Preset) -> str:
    """A preset by the name that people read, and its slug."""
    return f"**{escape_markdown(preset.title)}** ({code(preset.instance_name)})"


# --- /presets ------------------------------------------------------------------------------------


async def presets(host: AdminContext, context: CommandContext) -> CommandResult:
    """List the sender's presets, show one, or do with them what the first word says."""
    if not context.incoming.address.private:
        return Reply(PRIVATE)
    word, _, rest = context.arguments.strip().partition(" ")
    if (act := _ACTS.get(word.lower())) is not None:
        return Reply(await act(host, context, rest.strip()))
    if word:
        return Reply(described(host, context, _named(host, context, word)))
    return Reply(listed(host, context))


def listed(host: AdminContext, context: CommandContext) -> str:
    """The presets of the sender, and what can be done with them."""
    held, used = held_by(host, context), used_id(host, context)
    shown, more = first_items(held.presets, MAX_SHOWN)
    lines = "\n".join(_listed(host, held, one, used) for one in shown) + more
    bases = ", ".join(map(code, bases_for(host.catalog, DEFAULT_ACCOUNT)))
    offered = f"Agents that you can build on: {bases}." if bases else NO_BASES
    return paragraphs(lines or "You have no presets yet.", escape_markdown(HOW), offered)


NO_BASES = "No agent is offered for presets: an admin offers one with `template` in its definition."


def _listed(host: AdminContext, held: PersonPresets, one: Preset, used: str) -> str:
    marks = ["in use here"] if one.id == used else []
    marks += ["your default"] if one.id == held.default else []
    marks += ["cannot answer"] if fault_of(host.catalog.snapshot(), held.owner, one) else []
    parts = [f"• {code(one.instance_name)} {escape_markdown(one.title)}"]
    parts += [code(one.base_agent_name)]
    parts += [code(one.primary_model)] if one.primary_model else []
    return " · ".join([*parts, *marks])


def described(host: AdminContext, context: CommandContext, preset: Preset) -> str:
    """A preset with what it sets, and what is odd about it."""
    held = held_by(host, context)
    settings = "\n".join(_settings(preset))
    fault = fault_of(host.catalog.snapshot(), held.owner, preset)
    odd = [f"⚠ {escape_markdown(fault)}"] if fault else [*_ignored(host, preset)]
    marks = ["It is in use here."] if preset.id == used_id(host, context) else []
    marks += ["It is your default."] if preset.id == held.default else []
    how = escape_markdown(HOW_TO_EDIT.format(preset.instance_name))
    return paragraphs(titled(preset), settings, " ".join(marks), "\n".join(odd), how)


def _settings(preset: Preset) -> Iterator[str]:
    own = preset.overrides
    values = {
        "agent": preset.base_agent_name,
        "model": preset.primary_model,
        "override": preset.system_prompt_override,
        "append": preset.system_prompt_append,
        "temperature": own.temperature,
        "max_tokens": own.max_tokens,
        "effort": own.reasoning_effort,
        "tools": None if own.allowed_tools is None else ", ".join(own.allowed_tools) or NONE,
    }
    for name, value in values.items():
        if value is not None:
            yield setting_line(name, value, "yours").removesuffix(" · yours")


def _ignored(host: AdminContext, preset: Preset) -> Iterator[str]:
    """What of a preset does not count at present, as its agent or the host forbids it."""
    agent = host.catalog.get_agent(preset.base_agent_name)
    if agent is None:
        return
    models = usable_models(host.catalog, preset.base_agent_name)
    if preset.primary_model and preset.primary_model not in models:
        yield f"⚠ {code(preset.primary_model)} is not allowed now: the agent's own model answers."
    if preset.system_prompt_override and agent.presets and not agent.presets.prompt_override:
        yield "⚠ The agent's text may not be replaced now: your override does not count."


async def _new(host: AdminContext, context: CommandContext, rest: str) -> str:
    first, _, below = rest.partition("\n")
    words = first.split()
    if len(words) != 2:
        return paragraphs("Write /presets new NAME AGENT.", _bases(host))
    name, base = words[0].lower(), words[1].lower()
    given: dict[str, Any] = {"instance_name": name, "base_agent_name": base}
    given |= {"system_prompt_append": below.strip()} if below.strip() else {}
    preset, _ = await create_preset(host.catalog, host.actor(context), given, key=context.key)
    hint = f"{code(f'/presets use {name}')} lets it answer here."
    return f"Created preset {titled(preset)}. {hint}"


def _bases(host: AdminContext) -> str:
    bases = ", ".join(map(code, bases_for(host.catalog, DEFAULT_ACCOUNT)))
    return f"Agents: {bases}." if bases else NO_BASES


async def _use(host: AdminContext, context: CommandContext, rest: str) -> str:
    actor, bot = host.actor(context), context.bot.id
    if rest.lower() == NONE:
        await use_preset(host.catalog, actor, bot, BARE, key=context.key)
        return "The agent itself answers here now."
    preset = _named(host, context, rest)
    if why := why_not_here(host, context, preset):
        return why
    await use_preset(host.catalog, actor, bot, preset.id, key=context.key)
    return f"{titled(preset)} answers you here now. The conversation goes on."


def why_not_here(host: AdminContext, context: CommandContext, preset: Preset) -> str:
    """Why a preset cannot be used in this bot; '' where it can."""
    snapshot = host.catalog.snapshot()
    if fault := fault_of(snapshot, owner_of(context), preset):
        return escape_markdown(fault)
    address = context.incoming.address
    found = snapshot.resolve(context.bot, address.chat, context.incoming.person.telegram_id)
    base = preset.base_agent_name
    if found.rule not in ("default", "nobody") and found.agent_id != base:
        return (
            f"This bot answers as {code(found.agent_id or '')}, and your preset stands on "
            f"{code(base)}. Make one of that agent, or use it in another bot."
        )
    return ""


async def _default(host: AdminContext, context: CommandContext, rest: str) -> str:
    actor = host.actor(context)
    if rest.lower() == NONE:
        await set_default(host.catalog, actor, None, key=context.key)
        return "You have no default preset now."
    preset = _named(host, context, rest)
    await set_default(host.catalog, actor, preset.id, key=context.key)
    return f"{titled(preset)} is your default now: it answers where no agent is bound."


async def _edit(host: AdminContext, context: CommandContext, rest: str) -> str:
    name, *more = rest.split(maxsplit=1) or [""]
    preset = _named(host, context, name)
    word, *value = "".join(more).split(maxsplit=1) or [""]
    if not value:
        return escape_markdown(HOW_TO_EDIT.format(preset.instance_name))
    change = typed_change(word, value[0].strip())
    actor, id = host.actor(context), preset.id
    after, _ = await change_preset(host.catalog, actor, id, change, key=context.key)
    return f"Changed {titled(after)}: {escape_markdown(word.lower())}."


def typed_change(word: str, text: str) -> dict[str, Any]:
    """The change that a word and a value mean; raises DocumentErrors for an unknown word."""
    name = _SPELLED.get(casefolded(word))
    if name is None:
        message, cure = unknown_name(word, [*_FIELDS])
        raise DocumentErrors([Problem("preset", message, cure, path=word[:100])])
    value: Any = text
    if text.lower() == NONE and name != "tools":
        value = None
    elif name in _NUMBERS:
        with suppress(ValueError):
            value = json.loads(text)
    elif name == "tools":
        value = None if text.lower() == "all" else [*patterns_of(text)]
    elif name in ("name", "agent"):
        value = text.lower()
    for step in reversed(_FIELDS[name]):
        value = {step: value}
    return dict(value)


async def _delete(host: AdminContext, context: CommandContext, rest: str) -> str:
    preset = _named(host, context, rest)
    await delete_preset(host.catalog, host.actor(context), preset.id, key=context.key)
    return f"Deleted preset {titled(preset)}. Its name is free."


_ACTS: Mapping[str, _Act] = {
    "new": _new,
    "use": _use,
    "default": _default,
    "edit": _edit,
    "delete": _delete,
}


# --- the quick ways ------------------------------------------------------------------------------


async def model(host: AdminContext, context: CommandContext) -> CommandResult:
    """Change the model of the preset that is in use here; without a name list the models."""
    if not context.incoming.address.private:
        return Reply(PRIVATE)
    wanted, base = context.arguments.strip(), context.resolution.agent_id or ""
    if not wanted:
        return Reply(models(host, context, base))
    return await adjusted(host, context, "primary_model", wanted, DEFAULT, "model")


@command("style", "say how you want to be answered here", usage="[TEXT | none]")
async def style(host: AdminContext, context: CommandContext) -> CommandResult:
    """Change what the preset that is in use here adds to the agent's instructions."""
    if not context.incoming.address.private:
        return Reply(PRIVATE)
    wanted = context.arguments.strip()
    if not wanted:
        used = held_by(host, context).find(used_id(host, context))
        now = used.system_prompt_append if used else None
        said = f"Your style here: {escape_markdown(now)}" if now else "You have no style here yet."
        return Reply(paragraphs(said, "Write /style and how you want to be answered."))
    return await adjusted(host, context, "system_prompt_append", wanted, NONE, "style")


async def adjusted(
    host: AdminContext, context: CommandContext, field: str, wanted: str, back: str, what: str
) -> CommandResult:
    """Change a field of the preset in use here, which is made where there is none."""
    base, id = context.resolution.agent_id or "", used_id(host, context)
    value = None if wanted.lower() == back else wanted
    if not may_adjust(host, context):
        return Reply(NOT_OFFERED if base else escape_markdown(context.resolution.why))
    if not id and value is None:
        return Reply(f"You have changed no {what} here.")
    here = (context.bot.id, id, base)
    made = await adjust(host.catalog, host.actor(context), here, {field: value}, key=context.key)
    now = f"The agent's own {what} counts here again" if value is None else f"Changed your {what}"
    return Reply(f"{now}, in preset {titled(made)}.")


def may_adjust(host: AdminContext, context: CommandContext) -> bool:
    """Whether there is a preset to change here, or one can be made."""
    base = context.resolution.agent_id or ""
    return bool(used_id(host, context)) or base in bases_for(host.catalog, DEFAULT_ACCOUNT)


NOT_OFFERED = "The agent here is not offered for presets, so it answers everybody alike."


def models(host: AdminContext, context: CommandContext, base: str) -> str:
    """The models that the sender may choose here, each with what it can do."""
    used = held_by(host, context).find(used_id(host, context))
    lines = model_lines(usable_models(host.catalog, base))
    now = used.primary_model if used else None
    head = f"Your model here is {code(now)}." if now else "The agent's own model answers you here."
    how = "Write /model and a name; `/model default` goes back."
    return paragraphs(head, lines or NO_MODEL, how)


NO_MODEL = "No model is allowed here."


def model_lines(names: Sequence[str]) -> str:
    """A line for each model, with what it can do."""
    shown, more = first_items(names, MAX_SHOWN)
    return "\n".join(f"• {code(name)}{_abilities(name)}" for name in shown) + more


def _abilities(name: str) -> str:
    """What a model can do, as far as the table of models knows it."""
    info = known(name)
    if info is None:
        return ""
    said = [f"reads {info.context:,} tokens", f"writes {info.max_output:,}"]
    said += ["thinks"] if info.thinking - {"disabled"} else []
    said += [f"effort {info.efforts[0]} to {info.efforts[-1]}"] if info.efforts else []
    said += ["temperature"] if info.temperature else []
    said += [f"retires {info.retires.isoformat()}"] if info.retires else []
    return f" · {escape_markdown(', '.join(said))}"
