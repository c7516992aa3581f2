"""The tools of one turn under the agent's policy, and how they are put together."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from bot.mcp.pool import Pool
from bot.mcp.server_spec import ServerSpec
from bot.mcp.tool_spec import wire_names
from bot.messages import DEFAULT_ACCOUNT, Fence, TurnRef
from bot.safety.text_safety import printable
from bot.skills.api import SkillContext
from bot.skills.runner import SkillRunner
from bot.skills.spec import SkillSpec
from bot.tools import calls, read_more
from bot.tools.cache import CachedTools, ToolResultCache
from bot.tools.calls import (
    SKILL,
    Call,
    FoundTool,
    McpTools,
    PolicyResult,
    Result,
    SkillTools,
    Tools,
    WrappedTools,
    failed,
    refused,
)
from bot.tools.policy import CallContext, Decision, OfferedTools, Policy, decide, name_of
from bot.tools.read_more import TruncatedResults, TruncatedTools
from registry.fields import inner_values

NAME_LIMIT = 200
"""Characters of a name that the model made up."""
ACCOUNT_FIELDS = frozenset({"tenant_id", "instance_id"})
"""Fields of an input whose value names an account, where it is one."""


@dataclass(frozen=True, slots=True)
class ToolPermissions:
    """What an agent may do with tools, by the written rule and the features that are on."""

    servers: tuple[ServerSpec, ...] = ()
    skills: tuple[SkillSpec, ...] = ()
    policy: Policy = field(default_factory=Policy)
    features: frozenset[str] = frozenset()

    def decide(self, key: str, context: CallContext, offered: OfferedTools) -> Decision:
        """What happens to a call of the tool with this key."""
        return decide(self.policy, key, offered, replace(context, features=self.features))

    def include(self, source: ServerSpec | SkillSpec | None) -> bool:
        """Whether a server or a skill is still the agent's, unchanged; the host's own always is."""
        if isinstance(source, ServerSpec):
            same = (one for one in self.servers if one.name == source.name)
            return any(one.share_key == source.share_key for one in same)
        return source is None or any(map(source.runs_like, self.skills))


@dataclass(frozen=True, slots=True)
class PinnedTools(WrappedTools):
    """Runs an approved call only while its tool is the one that was approved."""

    async def call(self, call: Call, seconds: float) -> Result:
        """The result, or that the tool has changed."""
        if call.approved:
            tool = self.tools.find(call)
            if tool is None or tool.definition != call.approved:
                return failed(calls.NO_LONGER)
        return await self.tools.call(call, seconds)


@dataclass(frozen=True, slots=True)
class Toolset:
    """The tools of one agent in one turn, under its policy.

    What the model is shown is frozen with the turn's prompt; what is allowed is decided again at
    each call: `current` gives the agent's permissions now, None once it is removed. `accounts` are
    those of this host: an input must not name another one, unless the host's own account calls.
    """

    mcp: McpTools
    tools: Tools
    permissions: ToolPermissions
    current: Callable[[], ToolPermissions | None]
    context: CallContext
    accounts: Callable[[], Collection[str]] = tuple

    def offer(self) -> tuple[list[dict[str, Any]], dict[str, Sequence[str]]]:
        """The tools as the model takes them, and what each wire name means; in a stable order."""
        offered = self._offered()
        allowed = [t for t in self.tools.offered() if self._is_allowed(t.key, offered)]
        wires = wire_names(tool.key for tool in allowed)
        shown = sorted(allowed, key=lambda tool: wires[tool.key])
        tools: list[dict[str, Any]] = [
            {
                "name": wires[tool.key],
                "description": tool.description or tool.name,
                "input_schema": _with_properties(tool.input_schema),
            }
            for tool in shown
        ]
        names: dict[str, Sequence[str]] = {
            wires[tool.key]: (SKILL, tool.name)
            if isinstance(tool, SkillSpec)
            else (tool.server, tool.name, *chain.from_iterable(tool.renamed.items()))
            for tool in shown
        }
        if shown and self._is_allowed(read_more.KEY, offered):
            tools.append(read_more.TOOL)
            names[read_more.READ_MORE] = read_more.WIRE_NAME
        return tools, names

    def decide(self, call: Call, uncertain: Collection[str] = ()) -> PolicyResult:
        """What happens to a call by the rule that holds now.

        `uncertain` are digests of calls whose outcome is unknown: one that may not run twice needs
        approval then.
        """
        current, tool = self.current(), self.tools.find(call)
        if current is None:
            return refused(calls.AGENT_GONE)
        if tool is None:
            return refused(calls.UNKNOWN_TOOL.format(printable(call.name, NAME_LIMIT)))
        if refusal := _refusal(call, tool, current):
            return refused(refusal)
        if self._reaches_another_account(call.arguments):
            return refused(calls.ACCESS_DENIED, note=calls.OTHER_ACCOUNT)
        decision = current.decide(call.key, self.context, self._offered())
        if decision is Decision.DENY:
            return refused(calls.ACCESS_DENIED, note=calls.NOT_ALLOWED)
        is_uncertain = call.digest in uncertain and not tool.repeatable
        if decision is Decision.RUN and not is_uncertain:
            return PolicyResult(definition=tool.definition)
        if not tool.definition:
            return refused(calls.NO_LONGER)
        always = decision is Decision.ASK and not is_uncertain
        return PolicyResult(needs_approval=True, always=always, definition=tool.definition)

    async def checked(self, call: Call, decision: PolicyResult) -> PolicyResult:
        """The decision about a call, or its refusal where its input does not fit the tool.

        Or where the host itself says that this person may not, or that it cannot be done.
        """
        if decision.refusal:
            return decision
        if wrong := await self.tools.misfit(call):
            return refused(calls.INVALID.format(wrong), note=calls.CORRECT)
        said = await self.tools.weigh(call)
        if said.refusal:
            return refused(said.refusal, note=calls.REFUSED_HERE)
        return replace(decision, description=said.description, right=said.right)

    def is_repeatable(self, call: Call) -> bool:
        """Whether an admin said that this tool may run twice, itself or by trusting its server."""
        tool = self.tools.find(call)
        return tool is not None and tool.repeatable

    async def call(self, call: Call, seconds: float) -> Result:
        """Make a call that was allowed, or use a result again; every failure is a result too.

        A piece of an earlier result is shown only while the tool that it came from is allowed.
        """
        result = await self.tools.call(call, seconds)
        if not result.read_from:
            return result
        current = self.current()
        if current is None:
            return failed(calls.AGENT_GONE)
        decision = current.decide(result.read_from, self.context, self._offered())
        if decision is Decision.DENY:
            return failed(calls.ACCESS_DENIED, note=calls.NOT_ALLOWED)
        return result

    def _reaches_another_account(self, arguments: Any) -> bool:
        own = self.context.account
        if own == DEFAULT_ACCOUNT:
            return False
        waiting = [arguments]
        while waiting:
            value = waiting.pop()
            if isinstance(value, Mapping):
                named = {str(value[name]) for name in ACCOUNT_FIELDS & value.keys()} - {own}
                if named and not named.isdisjoint(self.accounts()):
                    return True
            waiting += inner_values(value)
        return False

    def _is_allowed(self, key: str, offered: OfferedTools) -> bool:
        return self.permissions.decide(key, self.context, offered) is not Decision.DENY

    def _offered(self) -> OfferedTools:
        keys = {tool.key for tool in self.mcp.offered()}
        keys |= {skill.key for skill in self.permissions.skills}
        return OfferedTools(frozenset(keys), complete=self.mcp.pool.have_listed(self.mcp.servers))


def _refusal(call: Call, tool: FoundTool, current: ToolPermissions) -> str:
    if call.invalid:
        return calls.NOT_PLAIN.format(call.invalid)
    if not isinstance(call.arguments, Mapping):
        return calls.NOT_OBJECT
    return tool.refusal or ("" if current.include(tool.source) else calls.NO_LONGER)


def _with_properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with `properties`, which many servers leave out where there are none."""
    return schema if "properties" in schema else {**schema, "properties": {}}


@dataclass(frozen=True, slots=True)
class ListedTool:
    """A tool as people read of it, and what happens when it is called."""

    key: str
    decision: Decision

    @property
    def words(self) -> str:
        """Its name as words: `get_current_time` is "get current time"."""
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name_of(self.key))
        return " ".join(re.split(r"[\s_.-]+", name)).strip().lower()


@dataclass(frozen=True, slots=True)
class ToolsetFactory:
    """What the toolsets of all turns share."""

    pool: Pool
    skills: SkillRunner
    cache: ToolResultCache
    truncated: TruncatedResults
    accounts: Callable[[], Collection[str]] = tuple

    def listed(self, permissions: ToolPermissions, context: CallContext) -> list[ListedTool]:
        """The tools that an agent is known to have in a context, by name."""
        keys = {tool.key for tool in self.pool.tools(permissions.servers)}
        taken = self.clashes(permissions)
        keys |= {skill.key for skill in permissions.skills if skill.name not in taken}
        complete = self.pool.have_listed(permissions.servers)
        offered = OfferedTools(frozenset(keys), complete=complete)
        found = [ListedTool(k, permissions.decide(k, context, offered)) for k in sorted(keys)]
        return [tool for tool in found if tool.decision is not Decision.DENY]

    def clashes(self, permissions: ToolPermissions) -> dict[str, str]:
        """Skills that are left out: the key of the server's tool whose name each of them has."""
        if not permissions.skills or not permissions.servers:
            return {}
        names = {skill.name.casefold() for skill in permissions.skills}
        tools = self.pool.tools_named(permissions.servers, names)
        return calls.skill_clashes(permissions.skills, tools, permissions.policy.disabled)

    def names(self, permissions: ToolPermissions) -> frozenset[str] | None:
        """The names of all tools, servers and skills; None until all servers have listed theirs."""
        servers, skills = permissions.servers, permissions.skills
        if not self.pool.have_listed(servers):
            return None
        tools = (tool.name for tool in self.pool.tools(servers))
        return frozenset((*tools, *(s.name for s in servers), *(s.name for s in skills)))

    def make(
        self,
        permissions: ToolPermissions,
        current: Callable[[], ToolPermissions | None],
        context: CallContext,
        fence: Fence,
        ref: TurnRef,
        result_chars: int,
        redact: Callable[[str], str] = str,
    ) -> Toolset:
        """The toolset of one turn.

        `result_chars` is how much of a result the model reads at once; `redact` takes secrets out
        of the host's own words about calls.
        """
        conversation = f"{fence.line}/{ref.conversation}"
        caller = SkillContext(
            context.account,
            str(context.person),
            conversation,
            context.agent,
            context.key,
            f"{fence.line}/{ref.entry}",
        )
        mcp = McpTools(self.pool, permissions.servers, self.skills.validator, redact)
        skills, disabled = permissions.skills, permissions.policy.disabled
        tools: Tools = SkillTools(mcp, self.skills, skills, caller, result_chars, disabled)
        tools = PinnedTools(CachedTools(tools, self.cache, caller))
        nothing = OfferedTools(frozenset())  # lists that allow do not matter for the host's own
        is_denied = permissions.decide(read_more.KEY, context, nothing) is Decision.DENY
        chars = 0 if is_denied else result_chars
        tools = TruncatedTools(tools, self.truncated, fence, ref, chars)
        return Toolset(mcp, tools, permissions, current, context, self.accounts)
