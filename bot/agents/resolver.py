"""From an address to the agent that answers there: binding, definition, layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import urlsplit

import structlog

from bot.agents.runnable import RunnableAgent
from bot.line_context import LineContext
from bot.mcp.server_spec import ServerSpec, prepare_server
from bot.messages import DEFAULT_ACCOUNT, Address, Attribution, User
from bot.ops.redaction import Secrets, too_short
from bot.safety.output_filter import OutputFilter, stricter
from bot.skills.api import InternalSkill
from bot.skills.spec import SkillSpec, prepare_skill
from bot.tools.policy import Policy
from bot.tools.toolset import ToolPermissions
from bot.usage.limits import SpendLimit, lowest_limits, spend_limits
from registry.binding import Resolution
from registry.catalog import Catalog
from registry.definition import LlmConfiguration, NamedServer
from registry.limits import SafetyConfig, TurnLimits
from registry.secrets import TOO_SHORT, TOO_SHORT_CURE, expand, reference_names
from registry.skill import Skill
from registry.snapshot import EffectiveAgent

log = structlog.get_logger("agents")

_CHAT_RULES = ("chat of this bot", "chat")
"""The rules that bind a chat: a group's binding still holds once it is a supergroup."""


@dataclass(frozen=True, slots=True)
class HostRules:
    """What the host sets for every agent.

    `llm` are the model settings of agents that say nothing. An agent may have lower `limits` and
    `budgets` and a stricter `filter`. `internal_hosts` are those that every agent may reach;
    `proxied`: the operator's proxy judges all other addresses.
    """

    llm: LlmConfiguration
    limits: TurnLimits = field(default_factory=lambda: TurnLimits())
    budgets: Mapping[str, SpendLimit] = field(default_factory=dict)
    filter: OutputFilter = field(default_factory=OutputFilter)
    approval_minutes: float = 60.0
    internal_hosts: Collection[str] = ()
    proxied: bool = False


@dataclass(slots=True, repr=False)
class SecretReferences:
    """Expands `${NAME}` references from the environment; their values are redacted from then on.

    Documents that no operator wrote may use only the names that are `allowed`.
    """

    environ: Mapping[str, str]
    allowed: Collection[str]
    secrets: Secrets
    _warned: set[str] = field(default_factory=set)

    def expand(self, value: str, *, operator: bool) -> str:
        """A value with its references expanded; raises ReferenceMissing."""
        text = expand(value, self.environ, None if operator else self.allowed)
        for name in reference_names(value):
            self.secrets.add(self.environ[name])
            if too_short(self.environ[name]) and name not in self._warned:
                self._warned.add(name)
                log.warning("secret.short", name=name, why=TOO_SHORT, cure=TOO_SHORT_CURE)
        if text != value:
            self.secrets.add_credentials_in(text)
        return text


@dataclass(slots=True, repr=False)
class AgentResolver:
    """Runnable agents from the catalog's snapshot, each made once for a snapshot.

    `handlers` are the skills of installed packages, by name.
    """

    catalog: Catalog
    rules: HostRules
    references: SecretReferences
    handlers: Mapping[str, InternalSkill] = field(default_factory=dict)
    _made: dict[str, RunnableAgent | None] = field(default_factory=dict)
    _snapshot_number: int = -1

    def resolve(
        self, line: LineContext, address: Address, person: User
    ) -> tuple[Resolution, RunnableAgent | None]:
        """Which agent answers, by which rule and why; and the agent, None where there is none."""
        snapshot = self.catalog.snapshot()
        found = snapshot.resolve(line.identity, address.chat, person.id)
        if address.migrated_from is not None and found.rule not in _CHAT_RULES:
            before = snapshot.resolve(line.identity, address.migrated_from, person.id)
            found = before if before.rule in _CHAT_RULES else found
        return found, None if found.agent_id is None else self.current(found.agent_id)

    def current(self, agent: str) -> RunnableAgent | None:
        """An agent by its id as it is now, or None where there is no such agent."""
        snapshot = self.catalog.snapshot()
        if snapshot.number != self._snapshot_number:
            self._made.clear()
            self._snapshot_number = snapshot.number
        if agent not in self._made:
            found = snapshot.effective(agent, self.rules.llm)
            self._made[agent] = self._make(found) if found else None
        return self._made[agent]

    def _make(self, agent: EffectiveAgent) -> RunnableAgent:
        rules, policy, safety = self.rules, agent.tool_policy, agent.definition.safety_config
        servers = map(self._server, agent.servers)
        skills = (self._skill(skill, agent.operator) for skill in agent.definition.skills)
        return RunnableAgent(
            effective=agent,
            attribution=Attribution(DEFAULT_ACCOUNT, agent.definition.id, agent.revision),
            tools=ToolPermissions(
                servers=tuple(spec for spec in servers if spec),
                skills=tuple(spec for spec in skills if spec),
                policy=_policy(agent),
                features=frozenset(policy.features),
            ),
            limits=rules.limits.lowered(safety, agent.cost),
            budgets=lowest_limits(rules.budgets, spend_limits(agent.cost.budgets or ())),
            approval_seconds=(policy.approval_minutes or rules.approval_minutes) * 60,
            filter=_stricter_filter(rules.filter, safety),
        )

    def _skill(self, skill: Skill, operator: bool) -> SkillSpec | None:
        """The skill with its secret or its handler, or None where it is off or cannot be had."""
        return prepare_skill(
            skill,
            self.handlers,
            partial(self.references.expand, operator=operator),
            self.rules.filter.secrets,
            internal=operator or self._is_listed(skill.webhook_url),
            proxied=self.rules.proxied,
        )

    def _is_listed(self, url: str | None) -> bool:
        """Whether the operator lets everybody's agents reach this host, internal or not."""
        return (urlsplit(url or "").hostname or "") in self.rules.internal_hosts

    def _server(self, named: NamedServer) -> ServerSpec | None:
        """The server with its references expanded, or None where one of them is missing."""
        return prepare_server(
            named,
            partial(self.references.expand, operator=named.operator),
            self._is_listed,
            self.rules.filter.secrets,
            proxied=self.rules.proxied,
            result_cap=self.rules.limits.result_chars,
        )


def _policy(agent: EffectiveAgent) -> Policy:
    """The written rule of one agent: its own lists, and what its skills and safety settings say."""
    written, skills = agent.tool_policy, agent.definition.skills
    safety = agent.definition.safety_config or SafetyConfig()
    runs = [f"skill:{skill.name}" for skill in skills if not skill.requires_approval]
    confirm = [f"skill:{skill.name}" for skill in skills if skill.requires_approval]
    return Policy(
        runs=(*agent.definition.whitelist_patterns, *runs),
        allowed=() if written.allowed is None else (written.allowed,),
        disabled=written.disabled_tools,
        confirm=(*written.require_confirmation, *confirm, *safety.require_tool_confirmation),
        conditions=written.conditions,
    )


def _stricter_filter(host: OutputFilter, safety: SafetyConfig | None) -> OutputFilter:
    """The filter of one agent; it may be stricter than the host's, never looser.

    Secrets are the same for all agents: none may let out what another one was given.
    """
    own = safety.blocked_topics if safety else ()
    return replace(
        host,
        topics=tuple(dict.fromkeys((*host.topics, *own))),
        personal=stricter(host.personal, safety.pii_handling if safety else "off"),
    )
