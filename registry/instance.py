"""Instances of agents: one agent configured for an account, under a name of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from registry.definition import AgentDefinition, Line, LlmConfiguration, PlainText, Slug
from registry.fields import Few, SnakeModel, is_slug
from registry.policy import Pattern

SLASH = "/"
BETWEEN = "__"
"""Between server and tool in the name by which a model calls it."""
MOST_TOOLS = 256


def instance_id(account: str, name: str) -> str:
    """The id of an instance among all accounts: `<account>/<name>`."""
    return f"{account}{SLASH}{name}"


def is_instance_id(text: str) -> bool:
    """Whether a text is `<account>/<name>`."""
    account, slash, name = text.partition(SLASH)
    return slash == SLASH and is_slug(account) and is_slug(name)


class InstanceLlm(SnakeModel):
    """The model settings of an instance; what is None is left to its agent."""

    model: Annotated[Line, StringConstraints(max_length=200)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None


class InstanceTool(SnakeModel):
    """Whether an instance may use a tool."""

    enabled: bool


class ContextManagement(SnakeModel):
    """How much of the conversation the model reads: `history_limit` earlier messages at most."""

    history_limit: Annotated[int, Field(ge=0, le=10_000)] | None = None


class AgentInstance(SnakeModel):
    """An agent configured for an account.

    `agent_type` names the agent, or a built-in one. `tools` only narrows what the agent has: with
    names that are enabled, those are all it has. `name`, `description` and `capabilities` are for
    lists, and the first two also for the agent's own text.
    """

    agent_type: Slug
    account: Slug
    instance_name: Slug
    llm: InstanceLlm | None = None
    tools: Annotated[Mapping[Pattern, InstanceTool], Field(max_length=MOST_TOOLS)] | None = None
    context_management: ContextManagement | None = None
    name: Annotated[Line, StringConstraints(max_length=128)] | None = None
    description: Annotated[PlainText, StringConstraints(max_length=2_000)] | None = None
    capabilities: Few[Annotated[Line, StringConstraints(max_length=200)]] = ()

    @property
    def id(self) -> str:
        """`<account>/<name>`."""
        return instance_id(self.account, self.instance_name)

    @property
    def title(self) -> str:
        """What people read: its name, or its slug in words."""
        words = " ".join(self.instance_name.replace("-", " ").replace("_", " ").split())
        return self.name or words[:1].upper() + words[1:] or self.instance_name

    @property
    def history_limit(self) -> int | None:
        """How many earlier messages the model reads; None: as many as the agent's limits allow."""
        return self.context_management.history_limit if self.context_management else None

    @property
    def settings(self) -> LlmConfiguration:
        """Its model settings as a layer over the agent's own."""
        own = self.llm or InstanceLlm()
        return LlmConfiguration(
            model=own.model, temperature=own.temperature, max_tokens=own.max_tokens
        )

    @property
    def allowed(self) -> tuple[str, ...] | None:
        """Patterns of the only tools that it has; None where none is enabled by name."""
        names = [name for name, one in (self.tools or {}).items() if one.enabled]
        return tuple(p for name in names for p in patterns_named(name)) if names else None

    @property
    def disabled(self) -> tuple[str, ...]:
        """Patterns of tools that it does not have."""
        names = [name for name, one in (self.tools or {}).items() if not one.enabled]
        return tuple(p for name in names for p in patterns_named(name))

    def to_json(self) -> dict[str, Any]:
        """The instance in the names of its file, without what is only a default."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def to_text(self) -> str:
        """The instance as one line of JSON, the same for equal instances."""
        return json.dumps(self.to_json(), ensure_ascii=False)


def patterns_named(name: str) -> tuple[str, ...]:
    """The patterns that a name under `tools` stands for; one with a colon is a pattern itself.

    A name means a tool of any server, a skill, or all tools of a server. One that has `__` may also
    be the name by which models call a tool: `<server>__<tool>`, `skill__<name>`.
    """
    if ":" in name:
        return (name,)
    as_called = (
        f"skill:{tool}" if server == "skill" else f"mcp:{server}:{tool}"
        for server, tool in halves(name)
    )
    return (f"mcp:*:{name}", f"skill:{name}", f"mcp:{name}:*", *as_called)


def halves(name: str) -> Iterator[tuple[str, str]]:
    """What stands before and behind each `__` in a name; never nothing."""
    at = name.find(BETWEEN, 1)
    while 0 < at < len(name) - len(BETWEEN):
        yield name[:at], name[at + len(BETWEEN) :]
        at = name.find(BETWEEN, at + 1)


ROUTER = "router"
"""The type of an instance that hands each message to another instance of its account."""

_SIMPLE_CHAT = """\
Answer what people ask, briefly and in a friendly tone. If you do not know something, say so."""
_SALES_AGENT = """\
You advise people who are thinking of buying. Find out what they need before you recommend \
anything, and recommend only what fits. Never invent prices, terms, stock or features: say what \
you do not know. End with the next step that they can take."""

BUILT_IN: Mapping[str, AgentDefinition] = {
    one.id: one
    for one in (
        AgentDefinition(id="simple_chat", name="Simple chat", custom_instructions=_SIMPLE_CHAT),
        AgentDefinition(id="sales_agent", name="Sales agent", custom_instructions=_SALES_AGENT),
        AgentDefinition(id=ROUTER, name="Router", mcp_servers=()),
    )
}
"""The agents that every host has as types of instances; they are in no list of agents."""
