"""What a source of agents holds once it is read and found good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, TypeVar

from registry.binding import AgentBinding
from registry.definition import AgentDefinition, McpServer
from registry.errors import Problem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One value of a document, with where it stands.

    `origins` gives the place of single fields by their JSON name (`llmOverrides.model`), `operator`
    says whether the file or the environment wrote it, `revision` what a change must expect.
    """

    value: T
    document: str
    place: str
    origins: Mapping[str, str] = field(default_factory=dict)
    operator: bool = True
    revision: str = ""


def _empty() -> Mapping[str, Entry[T]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Document:
    """Agents by id, bindings by slot in their order, the default agent, top-level MCP servers.

    `problems` are what is wrong but left the rest usable: warnings, and values that were left out.
    """

    agents: Mapping[str, Entry[AgentDefinition]] = field(default_factory=_empty)
    bindings: Mapping[str, Entry[AgentBinding]] = field(default_factory=_empty)
    default_agent_id: Entry[str] | None = None
    mcp_servers: Mapping[str, Entry[McpServer]] = field(default_factory=_empty)
    problems: tuple[Problem, ...] = ()

    def shared_servers(self) -> dict[str, McpServer]:
        """The top-level servers by name, without their places."""
        return {name: entry.value for name, entry in self.mcp_servers.items()}
