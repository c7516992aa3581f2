"""The MCP servers of one agent, and the names that tools and patterns know them by."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from registry.definition import AgentDefinition, McpServer
from registry.fields import Finding


@dataclass(frozen=True, slots=True)
class NamedServer:
    """A server under its name; `operator` says whether the file or the environment wrote it."""

    name: str
    server: McpServer
    operator: bool = True


def host_names(endpoints: Sequence[str]) -> list[str]:
    """A name for each endpoint: its host, or `host-port` where endpoints share a host."""
    parts = [urlsplit(endpoint) for endpoint in endpoints]
    hosts = [_worn(part.hostname or "") for part in parts]
    shared = Counter(hosts)
    return [
        host if shared[host] == 1 else f"{host}-{part.port or _PORTS.get(part.scheme, 0)}"
        for host, part in zip(hosts, parts, strict=True)
    ]


def servers_of(
    agent: AgentDefinition, shared: Mapping[str, McpServer], operator: bool = True
) -> tuple[NamedServer, ...]:
    """The agent's servers, each name once; names that `shared` does not have are left out."""
    own = agent.mcp_servers
    found: dict[str, NamedServer] = {}
    if isinstance(own, Mapping):
        found = {name: NamedServer(name, server, operator) for name, server in own.items()}
    else:
        wanted = shared if own is None else [name for name in own if name in shared]
        found = {name: NamedServer(name, shared[name]) for name in wanted}
    names = host_names(agent.mcp_server_endpoints)
    for name, url in zip(names, agent.mcp_server_endpoints, strict=True):
        found.setdefault(name, NamedServer(name, McpServer(url=url), operator))
    return tuple(found.values())


def name_clashes(agent: AgentDefinition, shared: Mapping[str, McpServer]) -> Iterator[Finding]:
    """Where two of an agent's servers would have one name."""
    own = agent.mcp_servers
    given = list(shared if own is None else own)
    taken = {name.lower() for name in given}
    names = host_names(agent.mcp_server_endpoints)
    for index, name in enumerate(names):
        if name.lower() in taken:
            yield Finding(
                ("mcpServerEndpoints", index),
                f"its name '{name}' is taken by another server of this agent",
                "remove the doubled one, or name it in mcpServers",
            )
        taken.add(name.lower())


def missing_names(agent: AgentDefinition, shared: Mapping[str, McpServer]) -> Iterator[Finding]:
    """Top-level servers that the agent names and nobody defines."""
    own = agent.mcp_servers
    if own is None or isinstance(own, Mapping):
        return
    known = ", ".join(sorted(shared)) or "none"
    for index, name in enumerate(own):
        if name not in shared:
            yield Finding(
                ("mcpServers", index),
                f"no server '{name[:64]}' is defined at the top level",
                f"define it under mcpServers; known: {known}",
            )


def idle_patterns(agent: AgentDefinition, shared: Mapping[str, McpServer]) -> Iterator[Finding]:
    """Whitelist patterns that name no server of the agent, or a host that two servers share."""
    names = [server.name for server in servers_of(agent, shared)]
    split = {_worn(urlsplit(e).hostname or "") for e in agent.mcp_server_endpoints} - set(names)
    for index, pattern in enumerate(agent.whitelist_patterns):
        if not pattern.startswith("mcp:"):
            continue
        wanted = pattern.split(":", 2)[1]
        if any(fnmatchcase(name, wanted) for name in names):
            continue
        near = [name for name in names if wanted in split and name.startswith(f"{wanted}-")]
        cure = f"write {' or '.join(near or names)}" if names else "give the agent a server"
        yield Finding(
            ("whitelistPatterns", index),
            f"'{pattern}' matches no server of this agent",
            cure,
            level="warning",
        )


_PORTS = {"http": 80, "https": 443}


def _worn(host: str) -> str:
    return re.sub(r"[^a-z0-9._-]", "-", host.lower()).lstrip(".-_") or "host"
