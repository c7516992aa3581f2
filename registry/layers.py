"""The effective agent: every field merged over its layers, with the layer it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from registry.definition import (
    AgentDefinition,
    LlmConfiguration,
    McpServer,
    NamedServer,
    servers_of,
)
from registry.limits import CostConfig, SafetyConfig
from registry.policy import ToolPolicy
from registry.skill import Skill

T = TypeVar("T")

LayerName = Literal["L0", "L1", "L2", "L3", "L4", "L5", "L6"]

# Who may replace a field. Each later layer that may say it, and does, wins.
REPLACED_AT: Mapping[str, frozenset[LayerName]] = {
    "model": frozenset({"L0", "L1", "L3", "L5"}),
    "temperature": frozenset({"L0", "L1", "L2", "L3", "L5"}),
    "max_tokens": frozenset({"L0", "L1", "L2", "L3", "L5"}),
    "reasoning_effort": frozenset({"L0", "L1", "L2", "L3", "L5"}),
    "fallback_model": frozenset({"L0", "L1", "L3", "L5"}),
}


@dataclass(frozen=True, slots=True)
class Sourced(Generic[T]):
    """A value with the layer that set it, and its document and place."""

    value: T
    layer: LayerName
    document: str


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer says: settings by field name, with the document and places they are from."""

    name: LayerName
    settings: LlmConfiguration
    document: str
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NamedSkill:
    """A skill; `operator` says whether the file or the environment wrote it."""

    skill: Skill
    operator: bool = True


@dataclass(frozen=True, slots=True)
class EffectiveAgent:
    """An agent as it runs, each field with its origin; settings not yet clamped to the model."""

    id: str
    name: Sourced[str]
    description: Sourced[str | None]
    instructions: Sourced[str | None]
    model: Sourced[str | None]
    temperature: Sourced[float | None]
    max_tokens: Sourced[int | None]
    reasoning_effort: Sourced[str | None]
    fallback_model: Sourced[str | None]
    whitelist_patterns: Sourced[tuple[str, ...]]
    servers: Sourced[tuple[NamedServer, ...]]
    tool_policy: Sourced[ToolPolicy]
    skills: Sourced[tuple[NamedSkill, ...]]
    safety: Sourced[SafetyConfig | None]
    cost: Sourced[CostConfig]
    link_previews: Sourced[bool]
    revision: str = ""

    @property
    def llm(self) -> LlmConfiguration:
        """The merged model settings without their origins."""
        return LlmConfiguration.model_construct(
            model=self.model.value,
            temperature=self.temperature.value,
            max_tokens=self.max_tokens.value,
            reasoning_effort=self.reasoning_effort.value,
            fallback_model=self.fallback_model.value,
        )


def effective(
    host_defaults: LlmConfiguration,
    definition: AgentDefinition,
    *,
    document: str = "definition",
    origins: Mapping[str, str] | None = None,
    shared: Mapping[str, McpServer] | None = None,
    operator: bool = True,
    revision: str = "",
    tuning: Sequence[Layer] = (),
) -> EffectiveAgent:
    """Merge host defaults, a definition and further layers, in the order of their names.

    `origins` are places by JSON field name; `shared` the top-level servers; `operator` whether the
    file or the environment wrote the definition.
    """
    places = origins or {}
    own = {
        name.removeprefix("llmOverrides."): place
        for name, place in places.items()
        if name.startswith("llmOverrides.")
    }
    layers = [
        Layer("L0", host_defaults, "host defaults"),
        Layer("L1", definition.llm_overrides or LlmConfiguration(), document, own),
        *sorted(tuning, key=lambda layer: layer.name),
    ]

    def said(json_name: str, value: T) -> Sourced[T]:
        return Sourced(value, "L1", places.get(json_name, document))

    return EffectiveAgent(
        id=definition.id,
        name=said("name", definition.name),
        description=said("description", definition.description),
        instructions=said("customInstructions", definition.custom_instructions),
        model=replaced("model", layers),
        temperature=replaced("temperature", layers),
        max_tokens=replaced("max_tokens", layers),
        reasoning_effort=replaced("reasoning_effort", layers),
        fallback_model=replaced("fallback_model", layers),
        whitelist_patterns=said("whitelistPatterns", definition.whitelist_patterns),
        servers=said("mcpServers", servers_of(definition, shared or {}, operator)),
        tool_policy=said("toolPolicy", definition.tool_policy or ToolPolicy()),
        skills=said("skills", tuple(NamedSkill(s, operator) for s in definition.skills)),
        safety=said("safetyConfig", definition.safety_config),
        cost=said("costConfig", definition.cost_config or CostConfig()),
        link_previews=said("linkPreviews", definition.link_previews),
        revision=revision,
    )


def replaced(name: str, layers: Sequence[Layer]) -> Sourced[Any]:
    """A field's value from the most specific layer that may set it and does."""
    alias = LlmConfiguration.model_fields[name].alias or name
    found: Sourced[Any] = Sourced(None, "L0", layers[0].document)
    for layer in layers:
        value = getattr(layer.settings, name)
        if value is not None and layer.name in REPLACED_AT[name]:
            found = Sourced(value, layer.name, layer.origins.get(alias, layer.document))
    return found
