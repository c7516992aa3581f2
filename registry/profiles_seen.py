"""What people and programs see of profiles: which there are, who uses them, and rules in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry import errors
from registry.catalog import Catalog
from registry.expansion import ALIKE
from registry.fields import nearest
from registry.profile_rules import NOUNS
from registry.revisions import Kind
from registry.roles import CORE, Actor, verdict
from registry.secrets import shown
from registry.snapshot import Entries, Entry, Snapshot

if TYPE_CHECKING:  # most hosts have no profiles
    from registry.profile import FlowAction, FlowRule, Observer

REFLECTION = "SELF_REFLECTION_PROMPT"
_MOST_NAMES = 20


def shared_of(snapshot: Snapshot, kind: Kind) -> Entries[Any]:
    """The profiles in force, or the model configurations, by their names."""
    every = snapshot.all_profiles
    return every.profiles if kind == "profile" else every.llm_configs


def users_of_each(snapshot: Snapshot, kind: Kind) -> Mapping[str, list[str]]:
    """By the name of each that is named at all: the ids of agents, or the names of profiles."""
    if kind == "profile":
        pairs = ((id, one.value.profile) for id, one in snapshot.agents.items())
    else:
        profiles = snapshot.all_profiles.profiles.items()
        pairs = ((id, one.value.llm_config_ref) for id, one in profiles)
    found: dict[str, list[str]] = defaultdict(list)
    for id, name in sorted(pairs):
        if name is not None:
            found[name].append(id)
    return dict(found)


def named_by(snapshot: Snapshot, kind: Kind, name: str) -> list[str]:
    """Who names one of them, in order."""
    return users_of_each(snapshot, kind).get(name, [])


def seen_shared(catalog: Catalog, actor: Actor, kind: Kind) -> Entries[Any]:
    """The profiles or configurations that an actor may see: all, or none."""
    may = verdict(actor.grants, "read", CORE) == "yes"
    return shared_of(catalog.snapshot(), kind) if may else {}


def found_shared(catalog: Catalog, actor: Actor, kind: Kind, name: str) -> Entry[Any]:
    """One that the actor may see; raises NotThere, with the nearest name that there is."""
    known = seen_shared(catalog, actor, kind)
    if (entry := known.get(name)) is not None:
        return entry
    near = nearest(name[:64], known, ALIKE)
    names = sorted(known)[:_MOST_NAMES]
    there = f"there are: {', '.join(names)}" if names else "there are none"
    cure = f"did you mean '{near}'?" if near else there
    raise errors.NotThere(f"there is no {NOUNS[kind]} {shown(name)}; {cure}")


def rule_words(rule: Observer | FlowRule) -> str:
    """What a rule does, in words: "adds an item of ASK_DATE"."""
    action = rule.action
    if action.type == "set_state":
        return f"sets {action.path}"
    if action.type == "add_to_inbox":
        source = action.inbox_item.source if action.inbox_item else ""
        to = "" if action.target_agent_id == "self" else f" for {action.target_agent_id}"
        return f"adds an item of {source}{to}"
    return flow_words(action)


def flow_words(action: FlowAction) -> str:
    """What a rule of the flow decides, in words."""
    if action.type == "continue_with_tool":
        return "goes on with the tool"
    if action.type == "await_user_input":
        return "ends the turn, and waits for the person"
    if action.type == "end_agent_turn":
        return "ends the turn as an error" if action.outcome == "error" else "ends the turn"
    source = action.inbox_item.source if action.inbox_item else REFLECTION
    return f"takes one more step with an item of {source}"
