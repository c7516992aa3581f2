"""The tools of one turn: what the model is shown, and what becomes of each call.

What is shown is frozen with the turn's render; what is allowed is decided anew at each call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bot.errors import ToolError, ToolFateUnknown
from bot.tools.mcp.names import WireNames
from bot.tools.mcp.pool import Pool
from bot.tools.mcp.servers import ServerSpec
from bot.tools.mcp.tool import Tool
from bot.tools.policy import Decision, Facts, Offer, Policy, decide
from bot.tools.skills import SkillSpec, Webhooks

SKILL = ""
"""Stands for the server where a tool is a skill; no server has an empty name."""
READY_SECONDS = 10.0
READY_FOR_APPROVED_SECONDS = 60.0

UNKNOWN_TOOL = "There is no tool of this name."
NOT_OBJECT = "The call's input is not a JSON object. Write it again as one."
NOT_ALLOWED = "This tool is not available to you. It was not run; go on without it."
NO_LONGER = "This tool is no longer here as it was when this turn began. It was not run."
AGENT_GONE = "This agent was removed while it worked. The call was not run."
FATE_UNKNOWN = (
    "Outcome unknown: the host was interrupted during this call, so it may or may not have taken "
    "effect. It was not repeated. Tell the person, and check by other means if you can."
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
        """`mcp:<server>:<tool>` or `skill:<name>`, by which policy knows the tool."""
        return f"skill:{self.tool}" if self.server == SKILL else f"mcp:{self.server}:{self.tool}"

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


@dataclass(frozen=True, slots=True)
class Rights:
    """What an agent may do with tools: its servers, the written rule, the flags that are on."""

    servers: tuple[ServerSpec, ...]
    policy: Policy
    features: frozenset[str] = frozenset()
    skills: tuple[SkillSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to a call now: refused with a result, asked of a person, or run.

    `definition` is the digest of what the tool is; `always` says whether a person may allow it for
    good.
    """

    refusal: Result | None = None
    asks: bool = False
    always: bool = False
    definition: str = ""


class Toolbox:
    """The tools of one agent, as one turn uses them.

    `live` gives the agent's rights as they are now, None once it is removed; `role` is that of the
    person for whom the turn runs.
    """

    def __init__(
        self,
        pool: Pool,
        rights: Rights,
        live: Callable[[], Rights | None],
        webhooks: Webhooks,
        role: str = "everyone",
        person: str = "",
    ) -> None:
        self._webhooks = webhooks
        self._person = person
        self._skills = {skill.name: skill for skill in rights.skills}
        self._pool = pool
        self._rights = rights
        self._live = live
        self._role = role
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
            for tool in [*known, *self._skills.values()]
            if self._decided(self._rights, tool.key, offer) is not Decision.DENY
        ]
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
        return offered, {
            wire.wire(tool): (SKILL if isinstance(tool, SkillSpec) else tool.server, tool.name)
            for tool in shown
        }

    def prompts(self) -> list[str]:
        """The texts that the servers add to the system prompt."""
        return self._pool.prompts(self._servers.values())

    def judge(self, call: Call, doubtful: frozenset[str]) -> Verdict:
        """What happens to this call by today's rule.

        `doubtful` are digests of calls whose outcome nobody knows.
        """
        live = self._live()
        if refusal := self._refusal(call, live):
            return Verdict(Result(refusal, error=True))
        assert live is not None
        decision = self._decided(live, call.key, self._offered())
        if decision is Decision.DENY:
            return Verdict(Result(NOT_ALLOWED, error=True))
        definition = self.definition(call)
        doubt = call.digest in doubtful and not self.repeatable(call)
        if decision is Decision.RUN and not doubt:
            return Verdict(definition=definition)
        if not definition:
            return Verdict(Result(NO_LONGER, error=True))
        return Verdict(
            asks=True, always=decision is Decision.ASK and not doubt, definition=definition
        )

    def definition(self, call: Call) -> str:
        """A digest of what the tool is now and where it runs; empty where it is not offered."""
        if call.server == SKILL:
            skill = self._skills.get(call.tool or "")
            return skill.digest[:24] if skill else ""
        server = self._servers.get(call.server or "")
        found = [t for t in self._pool.tools([server] if server else []) if t.name == call.tool]
        if server is None or not found:
            return ""
        place = [server.command, server.args, server.cwd, server.url, found[0].digest]
        return hashlib.sha256(orjson.dumps(place)).hexdigest()[:24]

    def _refusal(self, call: Call, live: Rights | None) -> str | None:
        if live is None:
            return AGENT_GONE
        mine = self._servers.get(call.server or "")
        skill = self._skills.get(call.tool or "") if call.server == SKILL else None
        if mine is None and skill is None:
            return UNKNOWN_TOOL
        if not isinstance(call.arguments, Mapping):
            return NOT_OBJECT
        if skill is not None:
            return None if skill in live.skills else NO_LONGER
        assert mine is not None
        now = next((one for one in live.servers if one.name == mine.name), None)
        return NO_LONGER if now is None or now.share_key != mine.share_key else None

    def _decided(self, rights: Rights, key: str, offer: Offer) -> Decision:
        return decide(rights.policy, key, offer, Facts(self._role, rights.features))

    def _offered(self) -> Offer:
        servers = self._servers.values()
        keys = frozenset(tool.key for tool in self._pool.tools(servers))
        keys |= {skill.key for skill in self._skills.values()}
        return Offer(keys, complete=self._pool.have_listed(servers))

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
        if call.server == SKILL:
            return await self._run_skill(self._skills[call.tool], call, seconds)
        limit = min(seconds, self._servers[call.server].deadline)
        try:
            server = self._servers[call.server]
            found = await self._pool.call(server, call.tool, call.arguments, deadline=limit)
        except ToolFateUnknown as error:
            return Result(f"Outcome unknown: {error}", error=True, fate_unknown=True)
        except ToolError as error:
            return Result(f"The tool did not run: {error}", error=True)
        return Result(found.content, error=found.is_error)

    async def _run_skill(self, skill: SkillSpec, call: Call, seconds: float) -> Result:
        found = await self._webhooks.call(skill, call.arguments, self._person, seconds)
        return Result(found.text, error=found.error, fate_unknown=found.unknown)


def call_of(block: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> Call:
    """A tool_use block, read with the wire names of its render."""
    server, tool = names.get(block["name"], (None, None))
    return Call(block["id"], block["name"], server, tool, block["input"])
