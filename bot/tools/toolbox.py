"""The tools of one turn: what the model is shown, and what becomes of each call.

What is shown is frozen with the turn's render; what is allowed is decided anew at each call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bot.errors import ToolError, ToolFateUnknown
from bot.tools.mcp.names import WireNames
from bot.tools.mcp.pool import Pool
from bot.tools.mcp.servers import ServerSpec
from bot.tools.policy import Decision, decide

READY_SECONDS = 10.0

UNKNOWN_TOOL = "There is no tool of this name."
NOT_OBJECT = "The call's input is not a JSON object. Write it again as one."
NOT_ALLOWED = (
    "This tool may not run without a person's approval, and approval is not available here yet. "
    "Tell the person that it was not run."
)
FATE_UNKNOWN = (
    "Outcome unknown: the host was interrupted during this call, so it may or may not have taken "
    "effect. It was not repeated. Tell the person, and check by other means if you can."
)
NOT_AGAIN = (
    "This very call was made before and its outcome is unknown; it is not made a second time "
    "without a person's approval. Tell the person."
)


@dataclass(frozen=True, slots=True)
class Call:
    """One tool_use of the model: `tool` is what its wire name means, if anything."""

    id: str
    name: str
    server: str | None
    tool: str | None
    arguments: Any

    @property
    def key(self) -> str:
        """`mcp:<server>:<tool>`, by which policy knows the tool."""
        return f"mcp:{self.server}:{self.tool}"

    @property
    def digest(self) -> str:
        """A name for this tool with these arguments."""
        body = orjson.dumps([self.key, self.arguments], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(body).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Result:
    """What a call came to, as a tool_result's content."""

    content: Any
    error: bool = False
    fate_unknown: bool = False


class Toolbox:
    """The tools of one agent, as one turn uses them."""

    def __init__(self, pool: Pool, servers: Sequence[ServerSpec], whitelist: Sequence[str]) -> None:
        self._pool = pool
        self._servers = {server.name: server for server in servers}
        self._whitelist = whitelist

    async def ready(self) -> None:
        """Servers are connected, or have had their time: a turn waits once, and not for long."""
        if self._servers:
            await self._pool.ensure(self._servers.values())
            await self._pool.ready(self._servers.values(), READY_SECONDS)

    def offer(self) -> tuple[list[dict[str, Any]], dict[str, Sequence[str]]]:
        """The tools as the model takes them, and what each wire name means; in a stable order."""
        tools = self._pool.tools(self._servers.values())
        wire = WireNames(tools)
        shown = sorted(tools, key=wire.wire)
        offered = [
            {
                "name": wire.wire(tool),
                "description": tool.description or tool.name,
                "input_schema": tool.input_schema,
            }
            for tool in shown
        ]
        return offered, {wire.wire(tool): (tool.server, tool.name) for tool in shown}

    def prompts(self) -> list[str]:
        """The texts that the servers add to the system prompt."""
        return self._pool.prompts(self._servers.values())

    def refusal(self, call: Call, doubtful: frozenset[str]) -> Result | None:
        """Why this call may not run now, as its result; None if it may.

        `doubtful` are digests of calls whose outcome nobody knows.
        """
        if call.server is None or call.server not in self._servers:
            return Result(UNKNOWN_TOOL, error=True)
        if not isinstance(call.arguments, Mapping):
            return Result(NOT_OBJECT, error=True)
        if decide(call.key, self._whitelist) is not Decision.RUN:
            return Result(NOT_ALLOWED, error=True)
        if call.digest in doubtful and not self.repeatable(call):
            return Result(NOT_AGAIN, error=True)
        return None

    def repeatable(self, call: Call) -> bool:
        """Whether an admin said that this tool may run twice, itself or by trusting its server."""
        server = self._servers.get(call.server or "")
        if server is None or call.tool is None:
            return False
        if server.is_repeatable(call.tool):
            return True
        found = [t for t in self._pool.tools([server]) if t.name == call.tool]
        return server.trust_annotations and any(t.read_only or t.idempotent for t in found)

    async def run(self, call: Call, seconds: float) -> Result:
        """Make the call; every end of it is a result."""
        assert call.server is not None
        assert call.tool is not None
        limit = min(seconds, self._servers[call.server].deadline)
        try:
            server = self._servers[call.server]
            found = await self._pool.call(server, call.tool, call.arguments, deadline=limit)
        except ToolFateUnknown as error:
            return Result(f"Outcome unknown: {error}", error=True, fate_unknown=True)
        except ToolError as error:
            return Result(f"The tool did not run: {error}", error=True)
        return Result(found.content, error=found.is_error)


def call_of(block: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> Call:
    """A tool_use block, read with the wire names of its render."""
    server, tool = names.get(block["name"], (None, None))
    return Call(block["id"], block["name"], server, tool, block["input"])
