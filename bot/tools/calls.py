"""Tool calls as values, and what runs them: an agent's MCP servers, or its skills."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import orjson

from bot.errors import ToolError, ToolFateUnknown
from bot.mcp.pool import Pool
from bot.mcp.result import ToolFile, error_text
from bot.mcp.server import ServerCall
from bot.mcp.server_spec import ServerSpec
from bot.mcp.tool_spec import Tool, tool_named
from bot.messages import INVALID_INPUT, Json
from bot.safety.validation import SchemaValidator
from bot.skills.api import SkillContext
from bot.skills.runner import SkillRunner
from bot.skills.spec import SkillSpec, Weighed
from bot.store.journal import Record
from bot.tools.policy import forbids
from registry.skill import CacheRule

SKILL = ""
"""In place of a server's name where the tool is a skill; no server has an empty name."""
HOST = ":"
"""In place of a server's name where the tool is the host's own; no server's name has a colon."""

UNKNOWN_TOOL = "Unknown tool: {}"
INVALID = "Invalid input: {}"
NOT_OBJECT = "Invalid input: it is not a JSON object. Write it again as one."
NOT_PLAIN = (
    "Invalid input: it is not plain JSON: {}. It was not run. Write it again: a long number as a "
    "text in quotes, a long text or list in parts."
)
CORRECT = "It was not run. Correct the input and call again."
ACCESS_DENIED = "Access denied"
NOT_ALLOWED = "This tool is not available to you. It was not run; continue without it."
REFUSED_HERE = "It was not run, and nobody was asked. Tell the person; do not try another way."
OTHER_ACCOUNT = "The input names another account than the one you work for. It was not run."
TIMED_OUT = "Request timed out"
HTTP_ERROR = "HTTP error: {}"
NO_LONGER = "This tool is no longer the one that it was when this turn began. It was not run."
NAME_TAKEN = "A server's tool has the same name as this skill, so the skill was not run."
NO_ANSWER = "No answer came in time. Continue without it, or try again later."
AGENT_GONE = "This agent was removed while it worked. The call was not run."
FATE_UNKNOWN = (
    "Outcome unknown: the host was interrupted during this call, so it may or may not have taken "
    "effect. It was not repeated. Tell the person, and check by other means if you can."
)


@dataclass(frozen=True, slots=True)
class Call:
    """One tool_use block of the model: `server` and `tool` are what its wire name means, if any.

    `invalid` says why its arguments cannot be passed on as they were written, where that is so.
    `approved` is the definition of the tool that a person allowed: no other may run in its place.
    """

    id: str
    name: str
    server: str | None
    tool: str | None
    arguments: Any
    invalid: str = ""
    approved: str = ""

    @property
    def origin(self) -> str:
        """The server's name, empty where the tool is a skill or the host's own."""
        return "" if self.server in (SKILL, HOST, None) else str(self.server)

    @property
    def key(self) -> str:
        """`mcp:<server>:<tool>`, `skill:<name>` or `host:<name>`, as the policy names it."""
        if self.server == HOST:
            return f"host:{self.tool}"
        return f"skill:{self.tool}" if self.server == SKILL else f"mcp:{self.server}:{self.tool}"

    @property
    def digest(self) -> str:
        """A digest of this tool with these arguments."""
        body = orjson.dumps([self.key, self.arguments], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(body).hexdigest()[:24]


def read_call(block: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> Call:
    """A tool_use block as a call; `names` are the wire names of the prompt that it answers.

    Each has the tool's server and name, then the names of renamed parameters and its own of them,
    in pairs.
    """
    server, tool, *renamed = names.get(block["name"], (None, None))
    arguments, invalid = block["input"], str(block.get(INVALID_INPUT) or "")
    if renamed and isinstance(arguments, Mapping):
        own = dict(zip(renamed[::2], renamed[1::2], strict=True))
        arguments = {own.get(name, name): value for name, value in arguments.items()}
    return Call(block["id"], block["name"], server, tool, arguments, invalid)


@dataclass(frozen=True, slots=True)
class FoundTool:
    """The tool that a call means, as it is now; `source` is the server or the skill it belongs to.

    `definition` is a digest of what it is and where it runs, empty while it is not offered.
    `repeatable`: an admin said that it may run twice. Its results may be used again by `cache`,
    within `identity`. `refusal` says why it may not be called at all, where that is so.
    """

    source: ServerSpec | SkillSpec | None
    definition: str
    repeatable: bool = False
    cache: CacheRule | None = None
    identity: tuple[str, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Remainder:
    """What was cut off a tool's result, and the key of that tool.

    `whole` is False where not even this text was kept to its end.
    """

    key: str
    text: str
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a call; `content` as a tool_result block takes it.

    `rest` is what was cut off the content, `read_from` the key of the tool whose earlier result it
    is a piece of. `files` are what the answer has for clients over HTTP.
    """

    content: Any
    error: bool = False
    fate_unknown: bool = False
    rest: Remainder | None = None
    read_from: str = ""
    files: tuple[ToolFile, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """What happens to a call now: it is refused with a result, needs approval, or runs.

    `definition` is that of the tool. `always` says whether a person may allow it for good,
    `approved` that a person allowed this call. `description` is what people read of it in place of
    its arguments; `right` the tier that who allows it must be allowed to write.
    """

    refusal: Result | None = None
    needs_approval: bool = False
    always: bool = False
    approved: bool = False
    definition: str = ""
    description: str = ""
    right: str = ""


def failed(error: str, *, fate_unknown: bool = False, **more: Any) -> Result:
    """The result of a call that failed: `{"error": …}` and what `more` helps the model, as JSON."""
    return Result(error_text(error, **more), error=True, fate_unknown=fate_unknown)


def refused(reason: str, **more: Any) -> PolicyResult:
    """A call that does not run, with the reason as its result."""
    return PolicyResult(failed(reason, **more))


def result_record(entry: str, call: str, result: Result, artifacts: Sequence[Json] = ()) -> Record:
    """The record of the result of a turn's call, with what is known of its `artifacts`."""
    body = {"turn": entry, "call": call, "content": result.content, "error": result.error}
    if artifacts:
        body["artifacts"] = artifacts
    return Record("result", body | {"unknown": True} if result.fate_unknown else body)


def skill_clashes(
    skills: Iterable[SkillSpec], tools: Iterable[Tool], disabled: Sequence[str]
) -> dict[str, str]:
    """The key of the tool whose name a skill has, by the skill's name; disabled tools have none."""
    taken = {tool.name.casefold(): tool.key for tool in tools}
    found = {skill.name: taken.get(skill.name.casefold(), "") for skill in skills}
    return {
        name: key
        for name, key in found.items()
        if key and not any(forbids(pattern, key) for pattern in disabled)
    }


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

    async def misfit(self, call: Call) -> str | None:
        """What is wrong with the input of a call of a tool that is found; None where it fits."""
        ...

    async def weigh(self, call: Call) -> Weighed:
        """What the host itself says of a call that fits, before it runs or people are asked."""
        ...

    async def call(self, call: Call, seconds: float) -> Result:
        """Make a call of a tool that is found, within so many seconds; never raises for a tool."""
        ...


@dataclass(frozen=True, slots=True)
class McpTools:
    """The tools of an agent's MCP servers.

    `validator` checks what goes to them. `redact` takes secrets out of the host's own words about
    a call.
    """

    pool: Pool
    servers: Sequence[ServerSpec]
    validator: SchemaValidator
    redact: Callable[[str], str] = str

    async def connect(self, *, approved: bool = False) -> None:
        """Wait until the servers are connected, or have had their time.

        That time is longer where a person `approved` a call, which should not be wasted.
        """
        if self.servers:
            await self.pool.ensure(self.servers)
            seconds = READY_FOR_APPROVED_SECONDS if approved else READY_SECONDS
            await self.pool.ready(self.servers, seconds)

    def offered(self) -> list[Tool]:
        """What the servers are known to offer; a lost server's tools stay."""
        return self.pool.tools(self.servers)

    def find(self, call: Call) -> FoundTool | None:
        """The tool that a call means, None where the agent has no such server."""
        server = self._server(call)
        if server is None or call.tool is None:
            return None
        tool = tool_named(call.tool, self.pool.tools([server]))
        cache = server.cache_rule(call.tool)
        definition = server.fingerprint(tool.digest) if tool else ""
        return FoundTool(
            server,
            definition,
            repeatable=cache is not None or server.is_repeatable(call.tool, tool),
            cache=cache,
            identity=(server.share_key, definition),
        )

    async def misfit(self, call: Call) -> str | None:
        """What is wrong with the input by the tool's schema, as far as that can be used."""
        server = self._server(call)
        tool = tool_named(str(call.tool), self.pool.tools([server])) if server else None
        if tool is None:
            return None
        given = tool.as_shown(call.arguments)
        wrong = await self.validator.mismatch(tool.checked_by, given, lenient=True)
        return self.redact(wrong) if wrong else None

    async def weigh(self, call: Call) -> Weighed:  # noqa: ARG002
        """Nothing: what a server offers is judged by the policy alone."""
        return Weighed()

    async def call(self, call: Call, seconds: float) -> Result:
        """The server's result, or why there is none; an approved call reaches no changed tool."""
        server = self._server(call)
        assert server is not None
        assert call.tool is not None
        tool = tool_named(call.tool, self.pool.tools([server])) if call.approved else None
        pinned = tool.digest if tool else call.approved
        ends = asyncio.get_running_loop().time() + min(seconds, server.deadline)
        made = ServerCall(server, call.tool, dict(call.arguments), ends, pinned)
        try:
            found = await self.pool.call(made)
        except ToolFateUnknown as error:
            return self._failed(f"Outcome unknown: {error}", error, fate_unknown=True)
        except ToolError as error:
            return self._failed(f"The tool did not run: {error}", error)
        if found.is_unreadable:
            return failed(self.redact(f"Outcome unknown: {found.text}"), fate_unknown=True)
        rest = Remainder(call.key, found.remainder, found.is_complete) if found.remainder else None
        return Result(found.content, error=found.is_error, rest=rest, files=found.files)

    def _failed(self, said: str, error: ToolError, *, fate_unknown: bool = False) -> Result:
        said = self.redact(said)
        if error.timed_out:
            return failed(TIMED_OUT, fate_unknown=fate_unknown, retry=True, note=said)
        if error.status:
            reason = HTTP_ERROR.format(error.status)
            return failed(reason, fate_unknown=fate_unknown, note=said)
        return failed(said, fate_unknown=fate_unknown)

    def _server(self, call: Call) -> ServerSpec | None:
        return next((one for one in self.servers if one.name == call.server), None)


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

    async def misfit(self, call: Call) -> str | None:
        """What is wrong with the input of a call; None where it fits."""
        return await self.tools.misfit(call)

    async def weigh(self, call: Call) -> Weighed:
        """What the host itself says of a call."""
        return await self.tools.weigh(call)


@dataclass(frozen=True, slots=True)
class SkillTools(WrappedTools):
    """An agent's skills beside its servers' tools; a skill with the name of one is left out.

    Names of tools that the `disabled` patterns cover are free. `result_chars` is how much of a
    result the model reads at once.
    """

    runner: SkillRunner
    skills: Sequence[SkillSpec]
    context: SkillContext
    result_chars: int
    disabled: Sequence[str] = ()

    def offered(self) -> Sequence[Tool | SkillSpec]:
        """The servers' tools, then the skills in the agent's order."""
        if not self.skills:
            return self.tools.offered()
        tools = [tool for tool in self.tools.offered() if isinstance(tool, Tool)]
        clashing = skill_clashes(self.skills, tools, self.disabled)
        for skill, key in clashing.items():
            self.runner.report_clash(skill, key)
        return [*tools, *(one for one in self.skills if one.name not in clashing)]

    def find(self, call: Call) -> FoundTool | None:
        """The skill that a call means, or the server's tool."""
        if call.server != SKILL:
            return self.tools.find(call)
        skill = self._skill(call)
        if skill is None:
            return None
        return FoundTool(
            skill,
            skill.fingerprint(call.arguments, self._context_of(call)),
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
        found = await self.runner.call(skill, call.arguments, self._context_of(call), seconds)
        text = found.text
        if len(text) <= self.result_chars:
            return Result(text, error=found.error, fate_unknown=found.unknown)
        note = f"[cut: the first {self.result_chars} of {len(text)} characters are shown]"
        blocks = [{"type": "text", "text": part} for part in (text[: self.result_chars], note)]
        rest = Remainder(call.key, text[self.result_chars :])
        return Result(blocks, found.error, found.unknown, rest)

    async def misfit(self, call: Call) -> str | None:
        """What is wrong with the input; of a skill only where people would read it."""
        skill = self._skill(call) if call.server == SKILL else None
        if skill is None or skill.guard is None:
            return await self.tools.misfit(call)
        return await self.runner.argument_error(skill, call.arguments)

    async def weigh(self, call: Call) -> Weighed:
        """What the guard of a skill says of a call."""
        skill = self._skill(call) if call.server == SKILL else None
        if skill is None or skill.guard is None:
            return await self.tools.weigh(call)
        return await skill.guard.weigh(call.arguments, self._context_of(call))

    def _context_of(self, call: Call) -> SkillContext:
        return replace(self.context, call=f"{self.context.call}/{call.id}")

    def _skill(self, call: Call) -> SkillSpec | None:
        return next((skill for skill in self.skills if skill.name == call.tool), None)
