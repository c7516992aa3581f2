"""Every MCP server that some agent names, each connected once and shared."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import replace

from bot.errors import ToolUnavailable
from bot.mcp.result import ToolResult
from bot.mcp.server import McpServer, ServerCall
from bot.mcp.server_spec import ServerSpec
from bot.mcp.tool_spec import Tool
from bot.messages import Clock


class Pool:
    """The connected servers; specs that reach the same server in the same way share it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._servers: dict[str, McpServer] = {}
        self._is_closed = False

    @property
    def servers(self) -> list[McpServer]:
        """Every server, in the order in which they were first named."""
        return list(self._servers.values())

    async def ensure(self, specs: Iterable[ServerSpec]) -> None:
        """Start what is not started yet, without waiting for it.

        Raises ToolUnavailable once the pool is closed.
        """
        if self._is_closed:
            raise ToolUnavailable("the pool of MCP servers is closed")
        for spec in specs:
            server = self._servers.get(spec.share_key)
            if server is None:
                self._servers[spec.share_key] = McpServer(spec, self._clock)
            elif spec.name not in server.names:
                server.names.append(spec.name)

    def known(self, specs: Iterable[ServerSpec]) -> list[McpServer]:
        """The servers that these specs mean, each once."""
        return list({id(server): server for _, server in self._found(specs)}.values())

    async def ready(self, specs: Iterable[ServerSpec], timeout: float) -> list[str]:
        """Wait, at most `timeout` seconds, until each server has listed its tools or failed to.

        The names of those that are not connected then.
        """
        found = self._found(specs)
        waits = [asyncio.ensure_future(server.settled.wait()) for _, server in found]
        if waits:
            _, pending = await asyncio.wait(waits, timeout=timeout)
            for wait in pending:
                wait.cancel()
        return [spec.name for spec, server in found if server.connection is None]

    def tools(self, specs: Iterable[ServerSpec]) -> list[Tool]:
        """What these servers are known to offer, sorted by key; a lost server's tools stay."""
        found = (
            replace(tool, server=spec.name)
            for spec, server in self._found(specs)
            for tool in server.tools
        )
        return sorted(found, key=lambda tool: tool.key)

    def tools_named(self, specs: Iterable[ServerSpec], names: Collection[str]) -> list[Tool]:
        """Those of the servers' tools whose name, without regard to case, is one of these."""
        return [
            replace(tool, server=spec.name)
            for spec, server in self._found(specs)
            for tool in server.tools
            if tool.name.casefold() in names
        ]

    def have_listed(self, specs: Iterable[ServerSpec]) -> bool:
        """Whether each of these has said what it offers, at least once."""
        wanted = list(specs)
        found = self._found(wanted)
        return len(found) == len(wanted) and all(server.connects > 0 for _, server in found)

    def prompts(self, specs: Iterable[ServerSpec]) -> list[str]:
        """The texts of prompts that need no arguments: servers by name, then prompts by name."""
        found = sorted(self._found(specs), key=lambda pair: pair[0].name)
        return [text for _, server in found for text in server.prompts]

    def instructions(self, specs: Iterable[ServerSpec]) -> list[tuple[str, str]]:
        """What servers say of themselves, by the name that the agent gives them."""
        found = sorted(self._found(specs), key=lambda pair: pair[0].name)
        return [(spec.name, one.instructions) for spec, one in found if one.instructions]

    async def call(self, call: ServerCall) -> ToolResult:
        """The tool's answer. A call that did not run, or may run twice, is made once more.

        Raises ToolUnavailable if it cannot have run, else ToolFateUnknown.
        """
        server = self._servers.get(call.spec.share_key)
        if server is None:
            raise ToolUnavailable(f"there is no MCP server {call.spec.name!r}")
        return await server.call(call)

    async def keep_only(self, specs: Iterable[ServerSpec]) -> None:
        """Close the connections to all but these servers."""
        names: dict[str, list[str]] = {}
        for spec in specs:
            names.setdefault(spec.share_key, []).append(spec.name)
        for key, server in self._servers.items():
            wanted = names.get(key, [])
            server.names = [name for name in server.names if name in wanted]
        unused = [key for key, server in self._servers.items() if not server.names]
        await asyncio.gather(*(self._servers.pop(key).close() for key in unused))

    async def close(self) -> None:
        """Close every connection and end every process; nothing can be started afterwards."""
        self._is_closed = True
        servers = self.servers
        self._servers.clear()
        await asyncio.gather(*(server.close() for server in servers))

    def _found(self, specs: Iterable[ServerSpec]) -> list[tuple[ServerSpec, McpServer]]:
        known = self._servers
        return [(spec, known[spec.share_key]) for spec in specs if spec.share_key in known]
