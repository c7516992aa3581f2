"""What a profile gives to an agent that names it: model settings, tools, and the text it says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry.definition import LlmConfiguration
from registry.fields import nearest
from registry.policy import ToolPolicy
from registry.secrets import shown

if TYPE_CHECKING:
    from registry.profile import Profile, Segment


@dataclass(frozen=True, slots=True)
class ProfileInForce:
    """A profile as agents have it, and the settings of the configuration that it refers to.

    `place` is where it is written, `origins` where its fields are; `settings_place` and
    `settings_origins` the same of the configuration, whose fields are spelled as an agent's.
    """

    profile: Profile
    place: str
    origins: Mapping[str, str] = field(default_factory=dict)
    revision: str = ""
    settings: LlmConfiguration | None = None
    settings_place: str = ""
    settings_origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """The profile and the beginning of its revision, as turns record them."""
        return f"{self.profile.name}@{self.revision[:12]}"

    def place_of(self, name: str) -> str:
        """Where a field of the profile is written."""
        return self.origins.get(name, self.place)

    def allowed(self, policy: ToolPolicy, servers: Collection[str]) -> tuple[str, ...] | None:
        """The only tools that it allows an agent with this policy and these servers; None: all."""
        own = self.profile.tool_access_policy
        if own is None or not own.narrows:
            return None
        sets = [self._set(name, policy, servers) or () for name in own.allowed_toolsets or ()]
        named = (pattern for one in sets for pattern in one)
        return tuple(dict.fromkeys((*named, *(own.allowed_individual_tools or ()))))

    def unknown_sets(self, policy: ToolPolicy, servers: Collection[str]) -> Iterator[str]:
        """The sets that it allows and that the agent does not have; they allow nothing."""
        own = self.profile.tool_access_policy
        if own is not None and policy.allowed is None:
            for name in own.allowed_toolsets or ():
                if self._set(name, policy, servers) is None:
                    yield name

    def known_sets(self, policy: ToolPolicy, servers: Collection[str]) -> list[str]:
        """The names that may stand in `allowed_toolsets`, in order."""
        own = self.profile.tool_access_policy
        return sorted({*(own.toolsets if own else ()), *policy.toolsets, *servers})

    def _set(
        self, name: str, policy: ToolPolicy, servers: Collection[str]
    ) -> tuple[str, ...] | None:
        """The tools of a set: the profile's own, the agent's, or all of a server of that name."""
        own = self.profile.tool_access_policy
        for sets in (own.toolsets if own else {}, policy.toolsets):
            if name in sets:
                return tuple(sets[name])
        return (f"mcp:{name}:*",) if name in servers else None

    def segments(self, instructions: str) -> tuple[Segment, ...]:
        """What the agent's text is built from; () where its own instructions take that place."""
        if instructions and not self.profile.speaks_of_instructions:
            return ()
        return self.profile.segments


ALIKE = 0.75
"""How much a name must read like another one to be meant by it."""


def unknown_name(what: str, name: str, known: Collection[str]) -> tuple[str, str]:
    """The message and the cure for the name of a profile or a configuration that nothing has."""
    near = nearest(name, known, ALIKE)
    cure = f"did you mean {near}?" if near else f"there are: {', '.join(sorted(known)) or 'none'}"
    if near and near.casefold() == name.casefold():
        cure = f"write {near}: letter case counts"
    return f"there is no {what} {shown(name)}", cure
