"""Layers of an agent, and how they are merged: the field by its rule, with where it is from.

L0 are the host's defaults, L1 the definition, L2 the account's tuning, L3 an instance, L4 a
client's tuning, L5 a person's preset, L6 the request. Models and numbers are replaced where the
layer may, texts appended, lists of tools only narrowed; of a limit the lowest counts. For a preset
the length and the effort that the layers of the agent set are the most that it may have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from registry.agent_limits import CostConfig
from registry.definition import AgentDefinition, LlmConfiguration, NamedServer, effort_rank
from registry.expansion import ProfileInForce
from registry.instance import AgentInstance
from registry.policy import ToolPolicy

if TYPE_CHECKING:  # most hosts have no profiles
    from registry.profile import Profile, Segment

LayerName = Literal["L0", "L1", "L2", "L3", "L4", "L5", "L6"]

# Who may set a field. The last layer that may set it, and does, wins.
REPLACED_AT: Mapping[str, frozenset[LayerName]] = {
    **dict.fromkeys(LlmConfiguration.model_fields, frozenset({"L0", "L1", "L2", "L3", "L5"})),
    **dict.fromkeys(("model", "fallback_model"), frozenset({"L0", "L1", "L3", "L5"})),
}
TEXT, ALLOWED, DISABLED = "customInstructions", "allowedTools", "disabledTools"
HISTORY, SERVERS = "historyLimit", "servers"
SEGMENTS = "segments"
"""What the agent's part of the prompt is built from, where that is a profile's segments."""
DEFAULT = "default"
"""The origin of what nobody has written."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer says, with the document and the places that it is from.

    `settings` are by field name. `override` replaces the agent's own text, `text` after
    it. `allowed` are patterns of the only tools, None for all; `disabled` of tools that are taken
    away. `name` and `description` are the agent's, as people and the model read them.
    """

    name: LayerName
    settings: LlmConfiguration
    document: str
    origins: Mapping[str, str] = field(default_factory=dict)
    title: str | None = None
    description: str | None = None
    override: str | None = None
    text: str | None = None
    allowed: tuple[str, ...] | None = None
    disabled: tuple[str, ...] = ()
    history_limit: int | None = None

    def place_of(self, name: str) -> str:
        """Where a field is written, by its JSON name."""
        return self.origins.get(name, self.document)


@dataclass(frozen=True, slots=True)
class Base:
    """The definition that layers are laid over: its servers, and where its fields are written.

    `profile` is the one that the definition names: it lies below what the definition says itself.
    """

    definition: AgentDefinition
    servers: tuple[NamedServer, ...]
    document: str
    origins: Mapping[str, str]
    operator: bool = True
    revision: str = ""
    profile: ProfileInForce | None = None


@dataclass(frozen=True, slots=True)
class EffectiveAgent:
    """An agent as it runs: its definition, merged with what is laid over it.

    The `definition` has name, description and text as they are in force. By JSON name `origins`
    gives the place of each field ("default" where nobody wrote it), of a field that several layers
    make all their places, and that of the servers as `servers`; `layers` the last layer that had a
    say. Model settings are not yet clamped to the model. A tool must match every one of the lists
    in `allowed`. `operator` says whether the file or the environment wrote the definition.
    `profile` is how it behaves, where it names one, and `profile_mark` names that and its revision;
    `segments` are what its own text is built from before the definition's text, and `instructions`
    what the agent itself says, which they may use.
    """

    definition: AgentDefinition
    llm: LlmConfiguration
    servers: tuple[NamedServer, ...]
    operator: bool
    revision: str
    origins: Mapping[str, str]
    layers: Mapping[str, LayerName]
    instance: AgentInstance | None = None
    allowed: tuple[tuple[str, ...], ...] = ()
    disabled: tuple[str, ...] = ()
    history_limit: int | None = None
    profile: Profile | None = None
    profile_mark: str = ""
    segments: tuple[Segment, ...] = ()
    instructions: str = ""

    @property
    def written(self) -> AgentDefinition:
        """The definition with what the agent says in its own words, also where segments use it."""
        if not (self.segments and self.instructions):
            return self.definition
        parts = self.instructions, self.definition.custom_instructions
        text = "\n\n".join(filter(None, parts))
        return self.definition.model_copy(update={"custom_instructions": text})

    @property
    def tool_policy(self) -> ToolPolicy:
        """The definition's tool policy, or the default one."""
        return self.definition.tool_policy or ToolPolicy()

    @property
    def cost(self) -> CostConfig:
        """The definition's limits of cost, or none."""
        return self.definition.cost_config or CostConfig()

    def shown(self, definition: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Every field by its JSON name: value, layer, and origin.

        `definition` is what this agent has written, as JSON and as it may be shown. Where its
        prompt is built from segments, `segments` has the profile and how many.
        """
        values: dict[str, Any] = {name: definition.get(name) for name in _SPELLED.values()}
        values |= self.llm.model_dump(mode="json", by_alias=True)
        values[SERVERS] = [one.name for one in self.servers]
        values[ALLOWED] = [[*one] for one in self.allowed] or None
        values |= {DISABLED: [*self.disabled], HISTORY: self.history_limit}
        if self.segments and self.profile is not None:
            values[SEGMENTS] = {"profile": self.profile.name, "count": len(self.segments)}
        return {
            name: {"value": value, "layer": self.layers[name], "origin": self.origins[name]}
            for name, value in values.items()
            if name not in _SHOWN_IN_PARTS
        }


_SPELLED = {name: info.alias or name for name, info in AgentDefinition.model_fields.items()}
_SHOWN_IN_PARTS = frozenset({"llmOverrides", "mcpServers", "mcpServerEndpoints"})


def merge(host: LlmConfiguration, base: Base, above: Iterable[Layer] = ()) -> EffectiveAgent:
    """Merge host defaults, a definition and further layers, in the order of their names."""
    agent, order = base.definition, sorted(above, key=lambda layer: layer.name)
    own_places = {n.removeprefix("llmOverrides."): place for n, place in base.origins.items()}
    own = agent.llm_overrides or LlmConfiguration()
    below = [Layer("L0", host, "host defaults")]
    if (named := base.profile) is not None and named.settings is not None:
        places = named.settings_origins
        below.append(Layer("L1", named.settings, named.settings_place, places))
    below.append(Layer("L1", own, base.document, own_places))
    origins: dict[str, str] = {}
    layers: dict[str, LayerName] = {}
    for name, spelled in _SPELLED.items():
        is_set = name in agent.model_fields_set
        origins[spelled] = base.document if is_set else DEFAULT
        layers[spelled] = "L1" if is_set else "L0"
    origins |= base.origins
    layers[SERVERS] = "L0" if origins[SERVERS] == DEFAULT else "L1"
    settings = _replaced([*below, *order], origins, layers)
    allowed, disabled = _narrowed(base, order, origins, layers)
    instructions = (agent.custom_instructions or "").strip()
    segments = named.segments(instructions) if named and not _override(order) else ()
    if segments and named is not None:
        origins[SEGMENTS] = named.place_of("system_prompt_construction")
        layers[SEGMENTS] = "L1"
    return EffectiveAgent(
        definition=agent.model_copy(
            update=_said(agent, order, origins, layers, built=bool(segments))
        ),
        llm=settings,
        servers=base.servers,
        operator=base.operator,
        revision=base.revision,
        origins=origins,
        layers=layers,
        allowed=allowed,
        disabled=disabled,
        history_limit=_lowest(order, origins, layers),
        profile=named.profile if named else None,
        profile_mark=named.mark if named else "",
        segments=segments,
        instructions=instructions,
    )


def _replaced(
    order: Sequence[Layer], origins: dict[str, str], layers: dict[str, LayerName]
) -> LlmConfiguration:
    """The model settings: of each the last layer that may set it."""
    found: dict[str, Any] = {}
    for name, info in LlmConfiguration.model_fields.items():
        spelled = info.alias or name
        layers[spelled], origins[spelled] = "L0", "host defaults"
        for layer in order:
            value = getattr(layer.settings, name)
            if value is None or layer.name not in REPLACED_AT[name]:
                continue
            if layer.name == "L5" and layers[spelled] != "L0" and _exceeds(name, value, found):
                continue
            found[name], layers[spelled] = value, layer.name
            origins[spelled] = layer.place_of(spelled)
    return LlmConfiguration.model_construct(**found)


def _exceeds(name: str, value: Any, found: Mapping[str, Any]) -> bool:
    """Whether a preset's value is above what its agent sets."""
    if name == "max_tokens":
        return bool(value > found[name])
    return name == "reasoning_effort" and effort_rank(value) > effort_rank(found[name])


def _said(
    agent: AgentDefinition,
    order: Sequence[Layer],
    origins: dict[str, str],
    layers: dict[str, LayerName],
    *,
    built: bool,
) -> dict[str, Any]:
    """What of the definition reads otherwise: its name, its description, and its own text.

    Where that is `built` from segments it is only what is appended to these.
    """
    update: dict[str, Any] = {}
    for layer in order:
        for field_name, value in (("name", layer.title), ("description", layer.description)):
            if value is not None:
                update[field_name] = value or None
                origins[field_name], layers[field_name] = layer.place_of(field_name), layer.name
    texts = [*_texts(agent, order, origins[TEXT], built=built)]
    if built or any(layer is not None for _, _, layer in texts):
        update["custom_instructions"] = "\n\n".join(text for text, _, _ in texts) or None
        has_own = built and (agent.custom_instructions or "").strip()
        places = [*([origins[TEXT]] if has_own else ()), *(place for _, place, _ in texts)]
        if places:
            origins[TEXT] = ", then ".join(places)
            layers[TEXT] = next((one for _, _, one in reversed(texts) if one), "L1")
    return update


def _override(order: Sequence[Layer]) -> Layer | None:
    """The last layer that replaces the agent's text, if any does."""
    return next((layer for layer in reversed(order) if layer.override is not None), None)


def _texts(
    agent: AgentDefinition, order: Sequence[Layer], place: str, *, built: bool
) -> Iterator[tuple[str, str, LayerName | None]]:
    """The parts of the agent's text: its own or the last override, then what is appended."""
    if (over := _override(order)) is not None:
        yield over.override or "", over.place_of("override"), over.name
    elif not built and (own := (agent.custom_instructions or "").strip()):
        yield own, place, None
    for layer in order:
        if layer.text is not None:
            yield layer.text, layer.place_of("text"), layer.name


def _narrowed(
    base: Base,
    order: Sequence[Layer],
    origins: dict[str, str],
    layers: dict[str, LayerName],
) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The lists of allowed tools, all of which a tool must match; and all that are disabled."""
    policy, place = base.definition.tool_policy or ToolPolicy(), origins["toolPolicy"]
    allowed = [] if policy.allowed is None else [(policy.allowed, place, _L1)]
    if policy.allowed is None and base.profile is not None:
        servers = {one.name for one in base.servers}
        if (own := base.profile.allowed(policy, servers)) is not None:
            allowed.append((own, base.profile.place_of("tool_access_policy"), _L1))
    disabled = [(policy.disabled_tools, place, _L1)] if policy.disabled_tools else []
    for one in order:
        if one.allowed is not None:
            allowed.append((one.allowed, one.place_of("allowed"), one.name))
        if one.disabled:
            disabled.append((one.disabled, one.place_of("disabled"), one.name))
    for name, found in ((ALLOWED, allowed), (DISABLED, disabled)):
        origins[name] = ", ".join(dict.fromkeys(at for _, at, _ in found)) or DEFAULT
        layers[name] = found[-1][2] if found else "L0"
    return tuple(one for one, _, _ in allowed), tuple(p for one, _, _ in disabled for p in one)


_L1: LayerName = "L1"


def _lowest(
    order: Sequence[Layer], origins: dict[str, str], layers: dict[str, LayerName]
) -> int | None:
    """The lowest limit of earlier messages that any layer sets."""
    origins[HISTORY], layers[HISTORY] = DEFAULT, "L0"
    limit: int | None = None
    for layer in order:
        if layer.history_limit is not None and (limit is None or layer.history_limit < limit):
            limit = layer.history_limit
            origins[HISTORY], layers[HISTORY] = layer.place_of(HISTORY), layer.name
    return limit
