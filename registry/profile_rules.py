"""What profiles refer to, who refers to them, and what stays in force where that is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from registry.errors import Level, Problem
from registry.expansion import unknown_name
from registry.revisions import Kind, Revision
from registry.snapshot import Document, Entry, Snapshot

if TYPE_CHECKING:  # most hosts have no profiles
    from registry.profile import NamedLlmConfig, Profile

PROFILE_KINDS: frozenset[Kind] = frozenset({"profile", "llm-config"})
NOUNS: dict[str, str] = {"profile": "profile", "llm-config": "model configuration"}
"""What people call these kinds."""
IN_FILES = (
    "where REVIEW__CORE is two, profiles and model configurations are changed in files alone: put "
    "it into the folder of profiles (AGENT_PROFILES_DIR)"
)
_MOST_NAMED = 10

_Referring = tuple["Entry[Profile]", "Entry[NamedLlmConfig] | None"]


@dataclass(eq=False, slots=True)
class LastGoodProfiles:
    """The profiles in force, each with the configuration that it refers to, as it was last good.

    A profile that refers to one which is not there changes nothing: its last good version, and the
    configuration of that, stay in force.
    """

    _good: dict[str, _Referring] = field(default_factory=dict)

    def resolved(self, document: Document) -> Document:
        """A document with what of its profiles can be in force, and a problem for each other."""
        own = document.own_profiles
        if not own.profiles:
            self._good.clear()
            return document
        profiles, configs, problems = dict(own.profiles), dict(own.llm_configs), list[Problem]()
        good: dict[str, _Referring] = {}
        for name, entry in own.profiles.items():
            held = self._good.get(name)
            ref = entry.value.llm_config_ref
            config = document.llm_config(ref) if ref is not None else None
            if ref is None or config is not None:
                good[name] = entry, config
                continue
            problems.append(_unknown_reference(document, entry, ref, is_kept=held is not None))
            if held is None:
                del profiles[name]
                continue
            good[name] = held
            profiles[name], kept = held
            if kept is not None:
                configs.setdefault(kept.value.name, kept)
        self._good = good
        if not problems:
            return document
        told = (*document.problems, *problems)
        return replace(
            document,
            own_profiles=replace(own, profiles=profiles, llm_configs=configs),
            problems=told,
        )


def _unknown_reference(
    document: Document, entry: Entry[Profile], ref: str, *, is_kept: bool
) -> Problem:
    known = document.own_profiles.over(document.packaged_profiles()).llm_configs
    message, cure = unknown_name("model configuration", ref, known)
    message = f"profile '{entry.value.name}': {message}"
    level: Level = "error"
    if broken := [one for one in document.errors if _CONFIG_FILE.search(one.place)]:
        there = next((one for one in broken if _CONFIG_FILE.split(one.place)[1] == ref), None)
        cure = f"correct {(there or broken[0]).place}" + ("" if there else f", or {cure}")
        if there:  # which is told already
            message = f"profile '{entry.value.name}': its model configuration '{ref}' is broken"
            level = "warning"
    if is_kept:
        message = f"{message} (the last good version stays in force)"
    place = entry.origins.get("llm_config_ref", entry.place)
    return Problem(place, message, cure, level, path="llm_config_ref")


_CONFIG_FILE = re.compile(r"/llm_configs/([^/]*)\.(?:yaml|yml|json)(?::\d+)?\Z")
"""The place of a file of configurations, and its name without the ending."""


def users_of(snapshot: Snapshot, kind: Kind, name: str) -> list[str]:
    """What refers to a profile (agents, drafts) or to a configuration (profiles), in order."""
    if kind == "profile":
        agents = [f"agent {id}" for id, one in snapshot.agents.items() if one.value.profile == name]
        drafts = (one.value for one in snapshot.document.drafts.values())
        named = [one for one in drafts if one.definition.profile == name]
        return [*sorted(agents), *sorted(f"draft of {one.agent} by {one.by}" for one in named)]
    profiles = sorted(snapshot.all_profiles.profiles.items())
    return [f"profile {own}" for own, one in profiles if one.value.llm_config_ref == name]


def in_use(snapshot: Snapshot, kind: Kind, name: str) -> str:
    """Why a profile or a configuration of the store may not be deleted; '' where it may.

    It may where the package has one of the same name, which then takes its place.
    """
    packaged = snapshot.document.packaged_profiles()
    below = packaged.profiles if kind == "profile" else packaged.llm_configs
    users = [] if name in below else users_of(snapshot, kind, name)
    if not users:
        return ""
    more = f" and {len(users) - _MOST_NAMED} more" if len(users) > _MOST_NAMED else ""
    named = ", ".join(users[:_MOST_NAMED])
    cure = "let them name another one first"
    if any(one.startswith("draft") for one in users):
        cure += "; /discard drops your own draft, `switchboard drafts discard` any"
    return f"{NOUNS[kind]} '{name}' is used by {named}{more}; {cure}"


def reference_problems(
    snapshot: Snapshot,
    kind: Kind,
    id: str,
    name: str,
    last: Revision | None = None,
    place: str | None = None,
) -> Iterator[Problem]:
    """That a document names a profile or a configuration (of this `kind`) that is not there.

    `last` is its last version where it is gone, `place` that of its file where this is broken.
    """
    known = snapshot.all_profiles
    names = known.profiles if kind == "profile" else known.llm_configs
    message, cure = unknown_name(NOUNS[kind], name, names)
    if place is not None:
        message, cure = f"the {NOUNS[kind]} '{name}' cannot be used", f"correct {place}"
    elif last is not None and last.place:
        cure = f"it was in {last.place}: put the file back, or name another one"
    elif last is not None:
        cure = f"it was deleted; /restore {kind} {name} {last.number} brings it back"
    path = "profile" if kind == "profile" else "llm_config_ref"
    yield Problem(id, message, cure, path=path)
