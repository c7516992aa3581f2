"""People's own presets, from a private chat: /presets, and the quick ways /model and /style."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar, cast

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
from bot.commands.agents import advice_lines, setting_line
from bot.commands.host import AdminContext
from bot.commands.offers import model_line
from bot.menus.menu import Button, View, confirm
from bot.turn.results import LEAVE_PRESET
from registry.errors import DocumentErrors, InvalidValue, NotThere, Problem
from registry.fields import casefolded, nearest, unknown_name
from registry.policy import patterns_of
from registry.preset import BARE, PersonPresets, Preset, telegram_owner
from registry.preset_edits import (
    adjust,
    bases_for,
    change_preset,
    create_preset,
    names_of,
    presets_of,
    set_default,
    usable_models,
    use_preset,
)
from registry.preset_rules import fault_of, is_named, layer_of, preset_here
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
    "one out, and tools off leaves no tools."
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
_WORDS = {".".join(steps): name for name, steps in _FIELDS.items() if name != "style"}
_DOTTED = re.compile("|".join(map(re.escape, sorted(_WORDS, key=len, reverse=True))))
OFF = "off"
"""For `tools`: none at all."""
MOST_OLD = 1_200
"""Characters that are shown of a text that was replaced; the button puts all of it back."""
_Act = Callable[[AdminContext, CommandContext, str], Awaitable[CommandResult]]
_F = TypeVar("_F", bound=Callable[..., Awaitable[Any]])


def in_words(function: _F) -> _F:
    """The same function, whose DocumentErrors name the fields of presets as people do."""

    def worded(text: str) -> str:
        return _DOTTED.sub(lambda found: _WORDS[found[0]], text)

    @wraps(function)
    async def run(*arguments: Any) -> Any:
        try:
            return await function(*arguments)
        except DocumentErrors as error:
            said = (
                replace(one, message=worded(one.message), cure=worded(one.cure))
                for one in error.problems
            )
            raise DocumentErrors(said) from None

    return cast(_F, run)


def owner_of(context: CommandContext) -> str:
    """Whose presets the sender sees: their own."""
    return telegram_owner(context.incoming.person.telegram_id)


def held_by(host: AdminContext, context: CommandContext) -> PersonPresets:
    """The presets of the sender."""
    return presets_of(host.catalog.snapshot(), owner_of(context))


def find(host: AdminContext, context: CommandContext, name: str) -> Preset:
    """A preset of the sender by its name; raises NotThere."""
    held, wanted = held_by(host, context), name.strip().lower()
    if (preset := held.named(wanted)) is not None:
        return preset
    alike = [one for one in held.presets if one.title.casefold() == wanted.casefold()]
    if len(alike) == 1:
        return alike[0]
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


@in_words
async def presets(host: AdminContext, context: CommandContext) -> CommandResult:
    """List the sender's presets, show one, or do with them what the first word says."""
    if not context.incoming.address.private:
        return Reply(PRIVATE)
    word, _, rest = context.arguments.strip().partition(" ")
    if (act := _ACTS.get(word.lower())) is not None:
        return await act(host, context, rest.strip())
    if word:
        return Reply(described(host, context, find(host, context, word)))
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
        "tools": None if own.allowed_tools is None else ", ".join(own.allowed_tools) or OFF,
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
    if preset.primary_model and not is_named(models, preset.primary_model):
        yield f"⚠ {code(preset.primary_model)} is not allowed now: the agent's own model answers."
    if preset.system_prompt_override and agent.presets and not agent.presets.prompt_override:
        yield "⚠ The agent's text may not be replaced now: your override does not count."
    snapshot, defaults, own = host.catalog.snapshot(), host.defaults, preset.overrides
    layer = layer_of(preset, agent, host.catalog.allowed_models())
    bare = snapshot.effective(agent.id, defaults)
    found = snapshot.effective(agent.id, defaults, (layer,))
    if bare is None or found is None:
        return
    if own.max_tokens and (found.llm.max_tokens or own.max_tokens) < own.max_tokens:
        yield f"⚠ The agent allows {found.llm.max_tokens} max&#95;tokens at most: these count."
    if own.reasoning_effort and found.llm.reasoning_effort != own.reasoning_effort:
        effort = found.llm.reasoning_effort
        yield f"⚠ The agent allows the effort {effort} at most: this counts."
    of_agent = advice_lines(host, bare)
    yield from (line for line in advice_lines(host, found) if line not in of_agent)


async def _new(host: AdminContext, context: CommandContext, rest: str) -> CommandResult:
    first, _, below = rest.partition("\n")
    words = first.split()
    if len(words) != 2:
        return Reply(paragraphs("Write /presets new NAME AGENT.", _bases(host)))
    given: dict[str, Any] = {**named(host, context, words[0]), "base_agent_name": words[1].lower()}
    given |= {"system_prompt_append": below.strip()} if below.strip() else {}
    preset, _ = await create_preset(host.catalog, host.actor(context), given, key=context.key)
    hint = f"{code(f'/presets use {preset.instance_name}')} lets it answer here."
    return Reply(f"Created preset {titled(preset)}. {hint}")


def named(host: AdminContext, context: CommandContext, title: str) -> dict[str, str]:
    """The fields of a new preset's name, as its owner wrote it."""
    return names_of(held_by(host, context), title)


def _bases(host: AdminContext) -> str:
    bases = ", ".join(map(code, bases_for(host.catalog, DEFAULT_ACCOUNT)))
    return f"Agents: {bases}." if bases else NO_BASES


async def _use(host: AdminContext, context: CommandContext, rest: str) -> CommandResult:
    actor, bot = host.actor(context), context.bot.id
    if rest.lower() == NONE:
        await use_preset(host.catalog, actor, bot, BARE, key=context.key)
        return Reply("The agent itself answers here now.")
    preset = find(host, context, rest)
    if why := why_not_here(host, context, preset):
        return Reply(why)
    await use_preset(host.catalog, actor, bot, preset.id, key=context.key)
    return Reply(f"{titled(preset)} answers you here now. The conversation goes on.")


def why_not_here(host: AdminContext, context: CommandContext, preset: Preset) -> str:
    """Why a preset cannot be used in this bot; '' where it can."""
    snapshot = host.catalog.snapshot()
    if fault := fault_of(snapshot, owner_of(context), preset):
        return escape_markdown(fault)
    address = context.incoming.address
    found = snapshot.resolve(context.bot, address.chat, context.incoming.person.telegram_id)
    base, answers = preset.base_agent_name, found.lost.agent if found.lost else found.agent_id
    if found.rule not in ("default", "nobody") and answers != base:
        return (
            f"This bot answers as {code(answers or '')}, and your preset stands on "
            f"{code(base)}. Make one of that agent, or use it in another bot."
        )
    return ""


async def _default(host: AdminContext, context: CommandContext, rest: str) -> CommandResult:
    actor = host.actor(context)
    if rest.lower() == NONE:
        await set_default(host.catalog, actor, None, key=context.key)
        return Reply("You have no default preset now.")
    preset = find(host, context, rest)
    if fault := fault_of(host.catalog.snapshot(), owner_of(context), preset):
        return Reply(escape_markdown(fault))
    await set_default(host.catalog, actor, preset.id, key=context.key)
    return Reply(f"{titled(preset)} is your default now: it answers where no agent is bound.")


async def _edit(host: AdminContext, context: CommandContext, rest: str) -> CommandResult:
    name, *more = rest.split(maxsplit=1) or [""]
    preset = find(host, context, name)
    word, *value = "".join(more).split(maxsplit=1) or [""]
    if not value:
        return Reply(escape_markdown(HOW_TO_EDIT.format(preset.instance_name)))
    change, before_tools = typed_change(word, value[0].strip()), preset.overrides.allowed_tools
    after = await changed(host, context, preset, change)
    said = f"Changed {titled(after)}: {escape_markdown(word.lower())}."
    if before_tools is not None and after.overrides.allowed_tools is None:
        said += " It has all tools of its agent again."
    return replaced(preset, after, said)


async def changed(
    host: AdminContext, context: CommandContext, preset: Preset, change: Mapping[str, Any]
) -> Preset:
    """Change fields of a preset of the sender."""
    actor, known = host.actor(context), host.tools.known
    after, _ = await change_preset(
        host.catalog, actor, preset.id, change, key=context.key, known=known
    )
    return after


PUT_BACK = "presets:back"


def replaced(before: Preset, after: Preset, said: str) -> CommandResult:
    """What was said about a change, with the text that it replaced and a way back to that."""
    for field, what in (("system_prompt_append", "style"), ("system_prompt_override", "override")):
        old = getattr(before, field)
        if old is None or old == getattr(after, field):
            continue
        cut = old if len(old) <= MOST_OLD else f"{old[:MOST_OLD]}…"
        back = Button("Put it back", PUT_BACK, (after.id, field, old))
        return View(paragraphs(said, f"The {what} before was:", escape_markdown(cut)), [[back]])
    return Reply(said)


def typed_change(word: str, text: str) -> dict[str, Any]:
    """The change that a word and a value mean; raises DocumentErrors for an unknown word."""
    name = _SPELLED.get(casefolded(word))
    if name is None:
        message, cure = unknown_name(word, [*_FIELDS])
        raise DocumentErrors([Problem("preset", message, cure, path=word[:100])])
    value: Any = text
    if text.lower() == NONE:
        value = None
    elif name in _NUMBERS:
        with suppress(ValueError):
            value = json.loads(text)
    elif name == "tools":
        value = _tools(text)
    elif name in ("name", "agent"):
        value = text.lower()
    for step in reversed(_FIELDS[name]):
        value = {step: value}
    return dict(value)


def _tools(text: str) -> list[str] | None:
    """The names of tools in a line; None for all, and nothing in it for `off`."""
    if text.lower() == "all":
        return None
    if text.lower() == OFF:
        return []
    try:
        return [*patterns_of(text)]
    except InvalidValue as wrong:
        cure = wrong.cure.replace("write none, alone, for no tool", "write off, alone, for no tool")
        raise DocumentErrors([Problem("tools", wrong.message, cure)]) from None


async def _delete(host: AdminContext, context: CommandContext, rest: str) -> CommandResult:
    return deletion(find(host, context, rest), Button("Cancel", LIST))


LIST = "presets:list"


def deletion(preset: Preset, no: Button) -> View:
    """Ask before a preset is deleted."""
    text = f"Delete {titled(preset)}? Wherever you use it, the agent itself answers instead."
    return confirm(text, Button("Delete it", "presets:deleted", (preset.id,)), no)


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
@in_words
async def style(host: AdminContext, context: CommandContext) -> CommandResult:
    """Change what the preset that is in use here adds to the agent's instructions."""
    if not context.incoming.address.private:
        return Reply(PRIVATE)
    wanted = context.arguments.strip()
    if not wanted:
        used = held_by(host, context).find(used_id(host, context))
        now = used.system_prompt_append if used else None
        said = f"Your style here: {escape_markdown(now)}" if now else "You have no style here yet."
        how = "Write /style and how you want to be answered."
        return Reply(paragraphs(said, fault_here(host, context) or how))
    return await adjusted(host, context, "system_prompt_append", wanted, NONE, "style")


def fault_here(host: AdminContext, context: CommandContext) -> str:
    """Why the sender's preset here cannot answer, and how to leave it; '' where it can."""
    held = held_by(host, context)
    used = held.find(used_id(host, context))
    fault = fault_of(host.catalog.snapshot(), held.owner, used) if used else ""
    return f"{escape_markdown(fault)} {LEAVE_PRESET}" if fault else ""


@in_words
async def adjusted(
    host: AdminContext, context: CommandContext, field: str, wanted: str, back: str, what: str
) -> CommandResult:
    """Change a field of the preset in use here, which is made where there is none."""
    base, id = context.resolution.agent_id or "", used_id(host, context)
    value = None if wanted.lower() == back else wanted
    if fault := fault_here(host, context):
        return Reply(f"Nothing was changed. {fault}")
    if not may_adjust(host, context):
        return Reply(NOT_OFFERED if base else escape_markdown(context.resolution.why))
    before = held_by(host, context).find(id)
    if before is None and value is None:
        return Reply(f"You have changed no {what} here.")
    here = (context.bot.id, id, base)
    made = await adjust(host.catalog, host.actor(context), here, {field: value}, key=context.key)
    now = f"The agent's own {what} counts here again" if value is None else f"Changed your {what}"
    said = f"{now}, in preset {titled(made)}."
    return replaced(before, made, said) if before else Reply(said)


def may_adjust(host: AdminContext, context: CommandContext) -> bool:
    """Whether there is a preset to change here, or one can be made."""
    if fault_here(host, context):
        return False
    base = context.resolution.agent_id or ""
    return bool(used_id(host, context)) or base in bases_for(host.catalog, DEFAULT_ACCOUNT)


NOT_OFFERED = "The agent here is not offered for presets, so it answers everybody alike."


def models(host: AdminContext, context: CommandContext, base: str) -> str:
    """The model that answers here and why, and those that the sender may choose."""
    if fault := fault_here(host, context):
        return f"No model answers you here. {fault}"
    usable = usable_models(host.catalog, base)
    used = held_by(host, context).find(used_id(host, context))
    wanted = used.primary_model if used else None
    found = host.catalog.snapshot().effective(base, host.defaults)
    own = found.llm.model if found else None
    head = f"The agent's own model answers you here{f': {code(own)}' if own else ''}."
    if wanted and is_named(usable, wanted):
        head = f"Your model here is {code(wanted)}."
    elif wanted:
        head = f"You chose {code(wanted)}, which is not allowed here now. {head}"
    how = "Write /model and a name; `/model default` goes back."
    return paragraphs(head, model_lines(usable) or NO_MODEL, how)


NO_MODEL = "No model is allowed here."


def model_lines(names: Sequence[str]) -> str:
    """A line for each model, with what it can do."""
    shown, more = first_items(names, MAX_SHOWN)
    return "\n".join(map(model_line, shown)) + more
