"""What presets may do: on which agents they stand, which models they name, where they answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from registry.binding import Resolution
from registry.definition import AgentDefinition, LlmConfiguration
from registry.errors import Problem
from registry.instance import patterns_named
from registry.layers import Layer
from registry.models import wire_id
from registry.preset import BARE, RESERVED, PersonPresets, Preset, account_of_owner
from registry.secrets import shown
from registry.snapshot import Snapshot

_BOUND = frozenset({"chat in this bot", "person in this bot", "bot", "chat", "person"})
"""The rules by which a binding says which agent answers: a preset may not name another one."""


def offered_bases(snapshot: Snapshot, account: str) -> list[str]:
    """The ids of the agents that presets of people in an account may stand on.

    An admin has defined them, and marked them `template` or made an instance of them in a file.
    """
    return [id for id in snapshot.offered_types(account) if id in snapshot.agents]


def models_for(agent: AgentDefinition, allowed: Sequence[str]) -> list[str]:
    """Of the models that the host allows those that presets of an agent may name."""
    own = {wire_id(model) for model in agent.presets.models} if agent.presets else set()
    return [model for model in allowed if not own or wire_id(model) in own]


def may_override(agent: AgentDefinition) -> bool:
    """Whether presets may replace the text of an agent."""
    return agent.presets is None or agent.presets.prompt_override


def is_named(models: Sequence[str], model: str) -> bool:
    """Whether a model is one of these, by whatever name."""
    return wire_id(model) in set(map(wire_id, models))


# --- tools ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgentToolNames:
    """The tools of an agent by their keys; `shown` are those that everybody may know of.

    Not `complete`: some server has not said yet what it offers.
    """

    keys: frozenset[str] = frozenset()
    shown: tuple[str, ...] = ()
    complete: bool = False


KnownTools = Callable[[str, str], Awaitable[AgentToolNames]]
"""The tools of an agent, for people in an account; waits a while for servers to connect."""
_MOST_SHOWN = 30


def unknown_tools(names: Sequence[object], known: AgentToolNames) -> Iterator[Problem]:
    """The names of tools for a preset that no tool of its agent has."""
    for index, name in enumerate(names if known.complete else ()):
        if not isinstance(name, str) or any(
            _covers(pattern, key) for pattern in patterns_named(name) for key in known.keys
        ):
            continue
        there = ", ".join([*known.shown[:_MOST_SHOWN], *["…"] * (len(known.shown) > _MOST_SHOWN)])
        cure = f"use some of: {there}" if there else "leave it out: the agent has no tools"
        path = f"config_overrides.allowed_tools[{index}]"
        yield Problem("preset", f"the agent has no tool {shown(name)}", cure, path=path)


def _covers(pattern: str, key: str) -> bool:
    """Whether a pattern with a colon covers the tool with this key, segment by segment."""
    wanted, found = ([*one.split(":", 1 if one[:6] == "skill:" else 2)] for one in (pattern, key))
    return len(wanted) == len(found) and all(map(fnmatchcase, found, wanted))


# --- at the turn ---------------------------------------------------------------------------------


def preset_here(snapshot: Snapshot, found: Resolution, bot: int, owner: str) -> Preset | None:
    """The preset that a person uses in a private chat of a bot, given what the bindings say.

    Where an agent is bound, that is one of this agent. Elsewhere the person's default one counts
    where they have chosen none.
    """
    held = snapshot.presets_of(owner)
    if held is None:
        return None
    chosen = held.chosen_in(bot)
    if chosen == BARE:
        return None
    preset = held.find(chosen)
    if found.rule in _BOUND:
        return preset if preset and preset.base_agent_name == found.agent_id else None
    return preset or held.find(held.default)


def fault_of(snapshot: Snapshot, owner: str, preset: Preset | None) -> str:
    """Why a preset cannot answer, as a sentence; '' where it can."""
    if preset is None:
        return "This preset was deleted."
    base, name = preset.base_agent_name, preset.instance_name
    if base not in snapshot.agents:
        return f"The preset '{name}' cannot answer: its agent '{base}' was removed."
    if lost := snapshot.lost_profile(base):
        return f"The preset '{name}' cannot answer: its agent lacks the profile '{lost}'."
    if base not in offered_bases(snapshot, account_of_owner(owner)):
        return f"The preset '{name}' cannot answer: its agent '{base}' is no longer offered."
    return ""


def layer_of(preset: Preset, agent: AgentDefinition, allowed: Sequence[str]) -> Layer:
    """What a preset lays over its agent, as far as the agent and the host allow it at present."""
    own, place = preset.overrides, f"preset {preset.instance_name}"
    model = preset.primary_model
    if model is not None and not is_named(models_for(agent, allowed), model):
        model = None
    override = preset.system_prompt_override if may_override(agent) else None
    settings = LlmConfiguration(
        model=model,
        temperature=own.temperature,
        max_tokens=own.max_tokens,
        reasoning_effort=own.reasoning_effort,
    )
    return Layer(
        "L5",
        settings,
        place,
        # An override says who speaks: the agent's own name and description would contradict it.
        title=preset.title if override is not None else None,
        description="" if override is not None else None,
        override=override,
        text=preset.system_prompt_append,
        allowed=own.patterns,
    )


# --- at a change ---------------------------------------------------------------------------------


def change_problems(
    snapshot: Snapshot,
    allowed: Sequence[str],
    before: PersonPresets | None,
    after: PersonPresets,
) -> list[Problem]:
    """What speaks against a change of a person's presets; what a preset has already may stay."""
    account = account_of_owner(after.owner)
    bases = offered_bases(snapshot, account)
    found: list[Problem] = []
    for preset in after.presets:
        held = before.find(preset.id) if before else None
        if held != preset:
            found += _problems(snapshot, (bases, allowed), held, preset)
    return [*found, *_default_problems(snapshot, before, after)]


def _default_problems(
    snapshot: Snapshot, before: PersonPresets | None, after: PersonPresets
) -> Iterator[Problem]:
    """That a preset which cannot answer would become the default one."""
    preset = after.find(after.default)
    if preset is None or (before is not None and before.default == after.default):
        return
    if fault := fault_of(snapshot, after.owner, preset):
        message = f"it cannot be your default: {_clause(fault)}"
        cure = "give it another agent, or choose another preset"
        yield Problem(preset.instance_name, message, cure, path="is_default")


def _clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def _name_problems(held: Preset | None, new: Preset) -> Iterator[Problem]:
    """What is wrong with the names of a preset, where they are new."""
    name, title = new.instance_name, new.display_name
    if name in RESERVED and (held is None or held.instance_name != name):
        message = f"'{name}' is a word of the commands for presets"
        yield Problem(name, message, "choose another name", path="instance_name")
    if title is not None and not title.strip() and (held is None or held.display_name != title):
        yield Problem(name, "its name is empty", "write one, or leave it out", path="display_name")


def _problems(
    snapshot: Snapshot,
    lists: tuple[Sequence[str], Sequence[str]],
    held: Preset | None,
    new: Preset,
) -> Iterator[Problem]:
    """What is wrong with one preset that is new, or has changed."""
    (bases, allowed), place = lists, new.instance_name
    yield from _name_problems(held, new)
    is_same_base = held is not None and held.base_agent_name == new.base_agent_name
    entry = snapshot.agents.get(new.base_agent_name)
    if not is_same_base and new.base_agent_name not in bases:
        message = f"no agent {shown(new.base_agent_name)} is offered for presets"
        cure = f"use one of: {', '.join(bases)}" if bases else "ask an admin to offer an agent"
        yield Problem(place, message, cure, path="base_agent_name")
        return
    if entry is None:
        return
    agent, model = entry.value, new.primary_model
    usable = models_for(agent, allowed)
    is_held = is_same_base and held is not None and held.primary_model == model
    if model is not None and not is_held and not is_named(usable, model):
        message = f"the model {shown(model)} is not allowed here"
        cure = f"use one of: {', '.join(usable)}" if usable else "leave it out"
        yield Problem(place, message, cure, path="primary_model")
    text = new.system_prompt_override
    is_held = is_same_base and held is not None and held.system_prompt_override == text
    if text is not None and not is_held and not may_override(agent):
        message = f"the text of agent '{agent.id}' may not be replaced"
        cure = "write what you want to add into system_prompt_append"
        yield Problem(place, message, cure, path="system_prompt_override")
