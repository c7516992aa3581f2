"""What presets may do: on which agents they stand, which models they name, where they answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from registry.binding import Resolution
from registry.definition import AgentDefinition, LlmConfiguration
from registry.errors import Problem
from registry.layers import Layer
from registry.models import wire_id
from registry.preset import BARE, PersonPresets, Preset, account_of_owner
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


def _names(models: Sequence[str], model: str) -> bool:
    return wire_id(model) in set(map(wire_id, models))


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
    if base not in offered_bases(snapshot, account_of_owner(owner)):
        return f"The preset '{name}' cannot answer: its agent '{base}' is no longer offered."
    return ""


def layer_of(preset: Preset, agent: AgentDefinition, allowed: Sequence[str]) -> Layer:
    """What a preset lays over its agent, as far as the agent and the host allow it at present."""
    own, place = preset.overrides, f"preset {preset.instance_name}"
    model = preset.primary_model
    if model is not None and not _names(models_for(agent, allowed), model):
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
    return found


def _problems(
    snapshot: Snapshot,
    lists: tuple[Sequence[str], Sequence[str]],
    held: Preset | None,
    new: Preset,
) -> Iterator[Problem]:
    """What is wrong with one preset that is new, or has changed."""
    (bases, allowed), place = lists, new.instance_name
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
    if model is not None and not is_held and not _names(usable, model):
        message = f"the model {shown(model)} is not allowed here"
        cure = f"use one of: {', '.join(usable)}" if usable else "leave it out"
        yield Problem(place, message, cure, path="primary_model")
    text = new.system_prompt_override
    is_held = is_same_base and held is not None and held.system_prompt_override == text
    if text is not None and not is_held and not may_override(agent):
        message = f"the text of agent '{agent.id}' may not be replaced"
        cure = "write what you want to add into system_prompt_append"
        yield Problem(place, message, cure, path="system_prompt_override")
