"""The pool: every MCP server that some agent names, each connected once, whoever shares it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.errors import ToolUnavailable
from bot.mcp.result import ToolResult
from bot.mcp.server import ConnectionHealth, ServerCalls
from bot.mcp.server_spec import ServerSpec
from bot.mcp.tool_spec import Tool
from bot.messages import Clock

if TYPE_CHECKING:
    from bot.mcp.result import ToolResult

Server = str | ServerSpec


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """How one server is doing, and by which names it is known."""

    names: tuple[str, ...]
    transport: str
    link: ConnectionHealth


class Pool:
    """Servers by name, or by spec where two agents give one name to different servers.

    A name alone means the spec that was ensured last under it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._specs: dict[str, dict[str, ServerSpec]] = {}
        self._links: dict[str, ServerCalls] = {}
        self._is_closed = False

    async def ensure(self, specs: Iterable[ServerSpec]) -> None:
        """Start what is not started yet, without waiting for it; equal servers share a connection.

        Raises ToolUnavailable once the pool is closed.
        """
        if self._is_closed:
            raise ToolUnavailable("the pool of MCP servers is closed")
        for spec in specs:
            known = self._specs.setdefault(spec.name, {})
            known.pop(spec.share_key, None)
            known[spec.share_key] = spec
            if spec.share_key not in self._links:
                self._links[spec.share_key] = ServerCalls(spec, self._clock)

    async def ready(self, servers: Iterable[Server], timeout: float) -> list[str]:
        """Wait, at most `timeout` seconds, until each server has listed its tools or failed to.

        The names of those that have no connection then.
        """
        found = self._found(servers)
        waits = [asyncio.ensure_future(link.server.settled.wait()) for _, link in found]
        if waits:
            _, pending = await asyncio.wait(waits, timeout=timeout)
            for wait in pending:
                wait.cancel()
        return [spec.name for spec, link in found if link.health().state != "up"]

    def tools(self, servers: Iterable[Server]) -> list[Tool]:
        """What these servers are known to offer, sorted by key; a lost server's tools stay."""
        tools = [
            tool.of(spec.name) for spec, link in self._found(servers) for tool in link.server.tools
        ]
        return sorted({tool.key: tool for tool in tools}.values(), key=lambda tool: tool.key)

    def have_listed(self, servers: Iterable[Server]) -> bool:
        """Whether each of these has told what it offers, once at least."""
        wanted = list(servers)
        found = self._found(wanted)
        return len(found) == len(wanted) and all(link.server.lives > 0 for _, link in found)

    def prompts(self, servers: Iterable[Server]) -> list[str]:
        """The texts of prompts that need no arguments: servers by name, then prompts by name."""
        found = sorted(self._found(servers), key=lambda pair: pair[0].name)
        return [text for _, link in found for text in link.server.prompts]

    async def call(
        self,
        server: Server,
        tool: str,
        arguments: Mapping[str, Any],
        deadline: float | None = None,
        pinned: str = "",
    ) -> ToolResult:
        """The tool's answer, within `deadline` seconds (the server's own where None).

        With `pinned`, the digest of a tool, no other tool of that name is called.
        Raises ToolUnavailable where the call surely did not run, ToolFateUnknown where it may have.
        """
        found = self._found([server])
        if not found:
            raise ToolUnavailable(f"there is no MCP server {_name(server)!r}")
        spec, link = found[0]
        seconds = spec.deadline if deadline is None else deadline
        return await link.call(spec, tool, dict(arguments), seconds, pinned)

    def health(self) -> list[ServerHealth]:
        """Every server, in the order in which they were first named."""
        return [
            ServerHealth(
                names=tuple(spec.name for spec in self._users(key)),
                transport=next((spec.transport for spec in self._users(key)), ""),
                link=link.health(),
            )
            for key, link in self._links.items()
        ]

    async def retire(self, servers: Iterable[Server]) -> None:
        """Forget these servers, and close the connections that nobody names any more."""
        for server in servers:
            if isinstance(server, ServerSpec):
                self._specs.get(server.name, {}).pop(server.share_key, None)
            else:
                self._specs.pop(server, None)
        await self._close_unused()

    async def keep(self, servers: Iterable[ServerSpec]) -> None:
        """Forget all but these servers, and close the connections that none of them has."""
        wanted = {(server.name, server.share_key) for server in servers}
        for name, known in [*self._specs.items()]:
            kept = {key: spec for key, spec in known.items() if (name, key) in wanted}
            self._specs[name] = kept
            if not kept:
                del self._specs[name]
        await self._close_unused()

    async def close(self) -> None:
        """Close every connection and end every process; nothing can be started afterwards."""
        self._is_closed = True
        links = list(self._links.values())
        self._specs.clear()
        self._links.clear()
        await self._close(links)

    async def _close_unused(self) -> None:
        unused = [key for key in self._links if not self._users(key)]
        await self._close([self._links.pop(key) for key in unused])

    async def _close(self, links: list[ServerCalls]) -> None:
        await asyncio.gather(*(link.close() for link in links))

    def _users(self, key: str) -> list[ServerSpec]:
        return [specs[key] for specs in self._specs.values() if key in specs]

    def _found(self, servers: Iterable[Server]) -> list[tuple[ServerSpec, ServerCalls]]:
        specs = (self._spec(server) for server in servers)
        return [(spec, self._links[spec.share_key]) for spec in specs if spec is not None]

    def _spec(self, server: Server) -> ServerSpec | None:
        known = self._specs.get(_name(server), {})
        if isinstance(server, ServerSpec):
            return server if server.share_key in known else None
        return known[next(reversed(known))] if known else None


def _name(server: Server) -> str:
    return server.name if isinstance(server, ServerSpec) else server
