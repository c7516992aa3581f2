"""The tools of one turn: what the model is shown, and what becomes of each call.

What is shown is frozen with the turn's render; what is allowed is decided anew at each call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bot.errors import ToolError, ToolFateUnknown
from bot.mcp.pool import Pool
from bot.mcp.server_spec import ServerSpec
from bot.mcp.tool_spec import Tool, wire_names
from bot.skills.api import SkillContext
from bot.skills.runner import SkillRunner
from bot.skills.spec import SkillSpec
from bot.tools import calls, read_more
from bot.tools.cache import ToolResultCache, cache_key
from bot.tools.calls import SKILL, Call, PolicyResult, Result
from bot.tools.policy import CallContext, Decision, OfferedTools, Policy, decide, decide_own
from bot.tools.read_more import HOST, ReadMore, Remainder, truncate
from registry.skill import CacheRule

OUTCOME_UNKNOWN = "Outcome unknown: {}"
READY_SECONDS = 10.0
READY_FOR_APPROVED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ToolPermissions:
    """What an agent may do with tools: its servers, the written rule, the flags that are on."""

    servers: tuple[ServerSpec, ...]
    policy: Policy
    features: frozenset[str] = frozenset()
    skills: tuple[SkillSpec, ...] = ()


class Toolset:
    """The tools of one agent, as one turn uses them.

    `live` gives the agent's rights as they are now, None once it is removed; `facts` say for whom
    and where the turn runs, and `context` says it to skills. `hide` takes secrets out of words that
    did not pass by where a server or a skill is heard.
    """

    def __init__(
        self,
        pool: Pool,
        rights: ToolPermissions,
        live: Callable[[], ToolPermissions | None],
        skills: SkillRunner,
        kept: ToolResultCache,
        context: SkillContext,
        shelf: ReadMore,
        facts: CallContext | None = None,
        hide: Callable[[str], str] = str,
    ) -> None:
        self._hide = hide
        self._pins: dict[str, str] = {}
        self._shelf = shelf
        self._caller = skills
        self._kept = kept
        self._context = context
        self._skills = {skill.name: skill for skill in rights.skills}
        self._pool = pool
        self._rights = rights
        self._live = live
        self._facts = facts or CallContext()
        self._servers = {server.name: server for server in rights.servers}

    async def ready(self, *, approved: bool = False) -> None:
        """Servers are connected, or have had their time: a turn waits once, and not for long.

        Longer where a person `approved` a call: that should not go to waste.
        """
        if self._servers:
            await self._pool.ensure(self._servers.values())
            seconds = READY_FOR_APPROVED_SECONDS if approved else READY_SECONDS
            await self._pool.ready(self._servers.values(), seconds)

    def offer(self) -> tuple[list[dict[str, Any]], dict[str, Sequence[str]]]:
        """The tools as the model takes them, and what each wire name means; in a stable order."""
        offer = self._offered()
        known: list[Tool | SkillSpec] = [*self._pool.tools(self._servers.values())]
        tools = [
            tool
            for tool in [*known, *self._unclashed()]
            if self._decided(self._rights, tool.key, offer) is not Decision.DENY
        ]
        wires = wire_names(tool.key for tool in tools)
        shown = sorted(tools, key=lambda tool: wires[tool.key])
        offered: list[dict[str, Any]] = [
            {
                "name": wires[tool.key],
                "description": tool.description or tool.name,
                "input_schema": tool.input_schema,
            }
            for tool in shown
        ]
        names: dict[str, Sequence[str]] = {
            wires[tool.key]: (SKILL if isinstance(tool, SkillSpec) else tool.server, tool.name)
            for tool in shown
        }
        if shown and self._decided_own(self._rights) is not Decision.DENY:
            offered.append(read_more.TOOL)
            names[read_more.READ_MORE] = (HOST, read_more.READ_MORE)
        return offered, names

    def prompts(self) -> list[str]:
        """The texts that the servers add to the system prompt."""
        return self._pool.prompts(self._servers.values())

    def judge(self, call: Call, doubtful: frozenset[str]) -> PolicyResult:
        """What happens to this call by today's rule.

        `doubtful` are digests of calls whose outcome nobody knows.
        """
        live = self._live()
        if refusal := self._refusal(call, live):
            return PolicyResult(Result(refusal, error=True))
        assert live is not None
        if call.server == HOST:
            decision = self._decided_own(live)
        else:
            decision = self._decided(live, call.key, self._offered())
        if decision is Decision.DENY:
            return PolicyResult(Result(calls.NOT_ALLOWED, error=True))
        definition = self.definition(call)
        doubt = call.digest in doubtful and not self.repeatable(call)
        if decision is Decision.RUN and not doubt:
            return PolicyResult(definition=definition)
        if not definition:
            return PolicyResult(Result(calls.NO_LONGER, error=True))
        return PolicyResult(
            asks=True, always=decision is Decision.ASK and not doubt, definition=definition
        )

    def definition(self, call: Call) -> str:
        """A digest of what the tool is now and where it runs; empty where it is not offered."""
        if call.server == HOST:
            return read_more.READ_MORE
        if call.server == SKILL:
            skill = self._skills.get(call.tool or "")
            return skill.digest[:24] if skill else ""
        server = self._servers.get(call.server or "")
        digest = self._digest(call)
        return server.fingerprint(digest) if server is not None and digest else ""

    def pin(self, call: Call, definition: str) -> None:
        """People allowed the tool of this definition: if it becomes another, the call won't run."""
        if call.server not in (HOST, SKILL):
            same = self.definition(call) == definition
            self._pins[call.id] = self._digest(call) if same else definition

    def _digest(self, call: Call) -> str:
        server = self._servers.get(call.server or "")
        found = [t for t in self._pool.tools([server] if server else []) if t.name == call.tool]
        return found[0].digest if found else ""

    def _refusal(self, call: Call, live: ToolPermissions | None) -> str | None:
        if live is None:
            return calls.AGENT_GONE
        mine = self._servers.get(call.server or "")
        skill = self._skills.get(call.tool or "") if call.server == SKILL else None
        if mine is None and skill is None and call.server != HOST:
            return calls.UNKNOWN_TOOL
        if call.unfit:
            return calls.NOT_PLAIN.format(call.unfit)
        if not isinstance(call.arguments, Mapping):
            return calls.NOT_OBJECT
        if call.server == HOST:
            return None
        if skill is not None:
            if skill not in self._unclashed():
                return calls.NAME_TAKEN
            return None if skill in live.skills else calls.NO_LONGER
        assert mine is not None
        now = next((one for one in live.servers if one.name == mine.name), None)
        return calls.NO_LONGER if now is None or now.share_key != mine.share_key else None

    def _unclashed(self) -> list[SkillSpec]:
        """The skills, without those whose name one of the servers' tools has."""
        offered = self._pool.tools(self._servers.values())
        tools = {tool.name.casefold(): tool.key for tool in offered}
        taken = [skill for skill in self._skills.values() if skill.name.casefold() in tools]
        for skill in taken:
            self._caller.report_clash(skill.name, tools[skill.name.casefold()])
        return [skill for skill in self._skills.values() if skill not in taken]

    def _decided(self, rights: ToolPermissions, key: str, offer: OfferedTools) -> Decision:
        facts = replace(self._facts, features=rights.features)
        return decide(rights.policy, key, offer, facts)

    def _decided_own(self, rights: ToolPermissions) -> Decision:
        return decide_own(
            rights.policy, read_more.KEY, replace(self._facts, features=rights.features)
        )

    def _offered(self) -> OfferedTools:
        servers = self._servers.values()
        keys = frozenset(tool.key for tool in self._pool.tools(servers))
        keys |= {skill.key for skill in self._skills.values()}
        return OfferedTools(keys, complete=self._pool.have_listed(servers))

    def repeatable(self, call: Call) -> bool:
        """Whether an admin said that this tool may run twice, itself or by trusting its server."""
        if call.server == HOST or self._rule(call) is not None:
            return True
        server = self._servers.get(call.server or "")
        if server is None or call.tool is None:
            return False
        if server.is_repeatable(call.tool):
            return True
        found = [t for t in self._pool.tools([server]) if t.name == call.tool]
        trusted = server.definition.trust_annotations
        return trusted and any(t.read_only or t.idempotent for t in found)

    async def run(self, call: Call, seconds: float) -> Result:
        """Make the call, or use a result again that is still good; every end of it is a result."""
        if call.server == HOST:
            return await self._read_more(call)
        result = await self._kept_or_made(call, seconds)
        if result.rest is None or self._decided_own(self._rights) is Decision.DENY:
            return result
        how = await self._shelf.keep(call.id, result.rest)
        return replace(result, content=[*result.content, {"type": "text", "text": how}])

    async def _read_more(self, call: Call) -> Result:
        """A piece of what was cut off, as long as the tool that it came from is not taken away."""
        page, live = await self._shelf.page(call.arguments), self._live()
        if live is None:
            return Result(calls.AGENT_GONE, error=True)
        if page.key and self._decided(live, page.key, self._offered()) is Decision.DENY:
            return Result(calls.NOT_ALLOWED, error=True)
        return Result(page.text, error=page.error)

    async def _kept_or_made(self, call: Call, seconds: float) -> Result:
        rule = self._rule(call)
        if rule is None:
            return await self._made(call, seconds)
        place = cache_key(rule.scope, self._context, call.digest, *self._identity(call))
        make = partial(self._made, call)
        return await self._kept.result(place, rule.ttl_seconds, seconds, make)

    def _rule(self, call: Call) -> CacheRule | None:
        """How long this tool's results stand, where the operator says that it only reads."""
        if call.server == SKILL:
            skill = self._skills.get(call.tool or "")
            return skill.document.cache if skill else None
        server = self._servers.get(call.server or "")
        return server.cache_rule(call.tool) if server and call.tool else None

    def _identity(self, call: Call) -> tuple[str, str]:
        """What is called, and where and as whom: another secret may give another answer."""
        if call.server == SKILL:
            return self._skills[call.tool or ""].identity, ""
        return self._servers[call.server or ""].share_key, self.definition(call)

    async def _made(self, call: Call, seconds: float) -> Result:
        assert call.server is not None
        assert call.tool is not None
        if call.server == SKILL:
            return await self._run_skill(self._skills[call.tool], call, seconds)
        limit = min(seconds, self._servers[call.server].deadline)
        try:
            server = self._servers[call.server]
            pinned = self._pins.get(call.id, "")
            found = await self._pool.call(server, call.tool, call.arguments, limit, pinned)
        except ToolFateUnknown as error:
            words = self._hide(OUTCOME_UNKNOWN.format(error))
            return Result(words, error=True, fate_unknown=True)
        except ToolError as error:
            return Result(self._hide(f"The tool did not run: {error}"), error=True)
        if found.is_unreadable:
            words = self._hide(OUTCOME_UNKNOWN.format(found.text))
            return Result(words, error=True, fate_unknown=True)
        rest = Remainder(call.key, found.remainder, found.is_complete) if found.remainder else None
        return Result(found.content, error=found.is_error, rest=rest)

    async def _run_skill(self, skill: SkillSpec, call: Call, seconds: float) -> Result:
        found = await self._caller.call(skill, call.arguments, self._context, seconds)
        text, shown = found.text, self._shelf.shown
        if len(text) <= shown:
            return Result(text, error=found.error, fate_unknown=found.unknown)
        blocks, rest = truncate(text, shown)
        return Result(blocks, found.error, found.unknown, Remainder(call.key, rest))
