"""Where an agent's tools come from: its MCP servers, and its skills."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.errors import ToolError, ToolFateUnknown
from bot.mcp.pool import Pool
from bot.mcp.server_spec import ServerSpec
from bot.mcp.tool_spec import Tool
from bot.skills.api import SkillContext
from bot.skills.runner import SkillRunner
from bot.skills.spec import SkillSpec
from bot.tools.calls import NAME_TAKEN, SKILL, Call, FoundTool, Remainder, Result

OUTCOME_UNKNOWN = "Outcome unknown: {}"
READY_SECONDS = 10.0
READY_FOR_APPROVED_SECONDS = 60.0


class Tools(Protocol):
    """Tools of one turn. What is decided about a call is not known here: see `Toolset`."""

    def offered(self) -> Sequence[Tool | SkillSpec]:
        """The tools that can be called now."""
        ...

    def find(self, call: Call) -> FoundTool | None:
        """The tool that a call means, None where there is no such tool in this turn."""
        ...

    async def call(self, call: Call, seconds: float) -> Result:
        """Make a call of a tool that is found, within so many seconds; never raises for a tool."""
        ...


@dataclass(frozen=True, slots=True)
class McpTools:
    """The tools of an agent's MCP servers.

    `redact` takes secrets out of the host's own words about a call.
    """

    pool: Pool
    servers: Sequence[ServerSpec]
    redact: Callable[[str], str] = str

    async def connect(self, *, approved: bool = False) -> None:
        """Wait until the servers are connected, or have had their time.

        That time is longer where a person `approved` a call, which should not be wasted.
        """
        if self.servers:
            await self.pool.ensure(self.servers)
            seconds = READY_FOR_APPROVED_SECONDS if approved else READY_SECONDS
            await self.pool.ready(self.servers, seconds)

    def have_listed(self) -> bool:
        """Whether each server has listed its tools, once at least."""
        return self.pool.have_listed(self.servers)

    def prompts(self) -> list[str]:
        """The texts that the servers add to the system prompt."""
        return self.pool.prompts(self.servers)

    def offered(self) -> list[Tool]:
        """What the servers are known to offer; a lost server's tools stay."""
        return self.pool.tools(self.servers)

    def find(self, call: Call) -> FoundTool | None:
        """The tool that a call means, None where the agent has no such server."""
        server = self._server(call)
        if server is None or call.tool is None:
            return None
        tool, cache = self._tool(server, call), server.cache_rule(call.tool)
        definition = server.fingerprint(tool.digest) if tool else ""
        trusted = tool is not None and (tool.read_only or tool.idempotent)
        return FoundTool(
            server,
            definition,
            repeatable=cache is not None
            or server.is_repeatable(call.tool)
            or (server.definition.trust_annotations and trusted),
            cache=cache,
            identity=(server.share_key, definition),
        )

    async def call(self, call: Call, seconds: float) -> Result:
        """The server's result, or why there is none; an approved call reaches no changed tool."""
        server = self._server(call)
        assert server is not None
        assert call.tool is not None
        tool = self._tool(server, call) if call.approved else None
        pinned = tool.digest if tool else call.approved
        limit = min(seconds, server.deadline)
        try:
            found = await self.pool.call(server, call.tool, call.arguments, limit, pinned)
        except ToolFateUnknown as error:
            return self._unknown(str(error))
        except ToolError as error:
            return Result(self.redact(f"The tool did not run: {error}"), error=True)
        if found.is_unreadable:
            return self._unknown(found.text)
        rest = Remainder(call.key, found.remainder, found.is_complete) if found.remainder else None
        return Result(found.content, error=found.is_error, rest=rest)

    def _unknown(self, why: str) -> Result:
        words = self.redact(OUTCOME_UNKNOWN.format(why))
        return Result(words, error=True, fate_unknown=True)

    def _server(self, call: Call) -> ServerSpec | None:
        return next((one for one in self.servers if one.name == call.server), None)

    def _tool(self, server: ServerSpec, call: Call) -> Tool | None:
        return next((tool for tool in self.pool.tools([server]) if tool.name == call.tool), None)


@dataclass(frozen=True, slots=True)
class WrappedTools:
    """The same tools; what wraps them changes only how some of them are called."""

    tools: Tools

    def offered(self) -> Sequence[Tool | SkillSpec]:
        """The tools that can be called now."""
        return self.tools.offered()

    def find(self, call: Call) -> FoundTool | None:
        """The tool that a call means."""
        return self.tools.find(call)


@dataclass(frozen=True, slots=True)
class SkillTools(WrappedTools):
    """An agent's skills beside its servers' tools; a skill with the name of one is left out.

    `result_chars` is how much of a result the model reads at once.
    """

    runner: SkillRunner
    skills: Sequence[SkillSpec]
    context: SkillContext
    result_chars: int

    def offered(self) -> Sequence[Tool | SkillSpec]:
        """The servers' tools, then the skills in the agent's order."""
        tools = self.tools.offered()
        taken = {tool.name.casefold(): tool.key for tool in tools}
        for skill in self.skills:
            if key := taken.get(skill.name.casefold()):
                self.runner.report_clash(skill.name, key)
        return [*tools, *(one for one in self.skills if one.name.casefold() not in taken)]

    def find(self, call: Call) -> FoundTool | None:
        """The skill that a call means, or the server's tool."""
        if call.server != SKILL:
            return self.tools.find(call)
        skill = self._skill(call)
        if skill is None:
            return None
        return FoundTool(
            skill,
            skill.digest[:24],
            repeatable=skill.document.cache is not None,
            cache=skill.document.cache,
            identity=(skill.identity,) if skill.document.cache else (),
            refusal="" if skill in self.offered() else NAME_TAKEN,
        )

    async def call(self, call: Call, seconds: float) -> Result:
        """The skill's answer, cut where it is too long to be read at once."""
        skill = self._skill(call) if call.server == SKILL else None
        if skill is None:
            return await self.tools.call(call, seconds)
        found = await self.runner.call(skill, call.arguments, self.context, seconds)
        text = found.text
        if len(text) <= self.result_chars:
            return Result(text, error=found.error, fate_unknown=found.unknown)
        note = f"[cut: the first {self.result_chars} of {len(text)} characters are shown]"
        blocks = [{"type": "text", "text": part} for part in (text[: self.result_chars], note)]
        rest = Remainder(call.key, text[self.result_chars :])
        return Result(blocks, found.error, found.unknown, rest)

    def _skill(self, call: Call) -> SkillSpec | None:
        return next((skill for skill in self.skills if skill.name == call.tool), None)
