"""From an address to the agent that answers there: binding, definition, layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

import structlog

from bot.agents.runnable import Limits, RunnableAgent
from bot.line_context import LineContext
from bot.mcp.server_spec import ServerSpec, prepare_server
from bot.messages import Address, User
from bot.ops.redaction import too_short
from bot.safety.output_filter import OutputFilter, stricter
from bot.skills.api import InternalSkill
from bot.skills.spec import SkillSpec, prepare_skill
from bot.tools.policy import Condition, Policy
from bot.usage.limits import Budgets as Ceilings
from bot.usage.limits import SpendLimit, lowest_limits, spend_limit
from registry.binding import Resolution
from registry.catalog import Catalog
from registry.definition import LlmConfiguration, NamedServer
from registry.layers import EffectiveAgent, NamedSkill
from registry.limits import Budgets, SafetyConfig
from registry.secrets import TOO_SHORT, TOO_SHORT_CURE, expand, reference_names

log = structlog.get_logger("plans")

_CHATS = ("chat of this bot", "chat")
"""The rules that bind a chat: those of a group hold also after it became a supergroup."""


class AgentResolver:
    """Plans from the catalog's snapshot; made once for each agent and snapshot.

    `environ` is what `${NAME}` references are expanded from; documents that no operator wrote may
    use only the names in `secrets`. `proxied` says that the operator's proxy judges addresses.
    """

    def __init__(
        self,
        catalog: Catalog,
        defaults: LlmConfiguration,
        environ: Mapping[str, str],
        secrets: Collection[str] = (),
        approval_minutes: float = 60.0,
        limits: Limits | None = None,
        internal_hosts: Collection[str] = (),
        budgets: Ceilings | None = None,
        handlers: Mapping[str, InternalSkill] | None = None,
        guard: OutputFilter | None = None,
        *,
        proxied: bool = False,
    ) -> None:
        self._proxied = proxied
        self._guard = guard or OutputFilter()
        self._budgets = budgets or {}
        self._internal_hosts = internal_hosts
        self._handlers = handlers or {}
        self._limits = limits or Limits()
        self._minutes = approval_minutes
        self._catalog = catalog
        self._defaults = defaults
        self._environ = environ
        self._secrets = secrets
        self._made: dict[str, RunnableAgent | None] = {}
        self._told: set[str] = set()
        self._number = -1

    def resolution(self, line: LineContext, address: Address, person: User) -> Resolution:
        """Which agent answers, by which rule, and why."""
        snapshot = self._catalog.snapshot()
        found = snapshot.resolve(line.identity, address.chat, person.id)
        if address.was is None or found.rule in _CHATS:
            return found
        before = snapshot.resolve(line.identity, address.was, person.id)
        return before if before.rule in _CHATS else found

    def plan(self, resolution: Resolution) -> RunnableAgent | None:
        """The plan of the agent that was found, or None where none was."""
        return None if resolution.agent_id is None else self._of(resolution.agent_id)

    def of(self, agent: str) -> RunnableAgent | None:
        """The plan of an agent as it is now, or None where there is no such agent."""
        return self._of(agent)

    def _of(self, agent: str) -> RunnableAgent | None:
        snapshot = self._catalog.snapshot()
        if snapshot.number != self._number:
            self._made.clear()
            self._number = snapshot.number
        if agent not in self._made:
            found = snapshot.effective(agent, self._defaults)
            self._made[agent] = self._make(found) if found else None
        return self._made[agent]

    def _make(self, agent: EffectiveAgent) -> RunnableAgent:
        safety, cost = agent.safety.value or SafetyConfig(), agent.cost.value
        servers = tuple(spec for spec in map(self._spec, agent.servers.value) if spec)
        skills_ = tuple(spec for spec in map(self._skill, agent.skills.value) if spec)
        return RunnableAgent(
            agent=agent.id,
            name=agent.name.value,
            revision=agent.revision,
            model=agent.model.value or "",
            max_tokens=agent.max_tokens.value or 0,
            temperature=agent.temperature.value,
            reasoning_effort=agent.reasoning_effort.value,
            fallback=agent.fallback_model.value,
            instructions=agent.instructions.value,
            policy=_policy(agent),
            features=frozenset(agent.tool_policy.value.features),
            approvers=agent.tool_policy.value.approvers,
            approval_seconds=(agent.tool_policy.value.approval_minutes or self._minutes) * 60,
            servers=servers,
            skills=skills_,
            budgets=lowest_limits(self._budgets, _budgets(agent)),
            limits=self._limits.under(
                requests=safety.max_iterations,
                calls=safety.max_tool_calls_per_turn,
                seconds=safety.max_seconds_per_turn,
                tokens=cost.max_tokens_per_request,
                per_minute=cost.max_requests_per_minute,
            ),
            filter=agent_filter(self._guard, agent.safety.value),
            link_previews=agent.link_previews.value,
        )

    def _skill(self, named: NamedSkill) -> SkillSpec | None:
        """The skill with its secret or its handler, or None where it is off or cannot be had."""
        return prepare_skill(
            named.skill,
            self._handlers,
            partial(self._filled, operator=named.operator),
            self._guard.secrets,
            internal=named.operator or self._is_listed(named.skill.webhook_url),
            proxied=self._proxied,
        )

    def _filled(self, value: str, *, operator: bool) -> str:
        """A value with its references expanded; what they stand for is secret from now on."""
        text = expand(value, self._environ, None if operator else self._secrets)
        for name in reference_names(value):
            self._guard.secrets.add(self._environ[name])
            if too_short(self._environ[name]) and name not in self._told:
                self._told.add(name)
                log.warning("secret.short", name=name, why=TOO_SHORT, cure=TOO_SHORT_CURE)
        if text != value:
            self._guard.secrets.add_credentials_in(text)
        return text

    def _is_listed(self, url: str | None) -> bool:
        """Whether the operator lets everybody's agents reach this host, internal or not."""
        return (urlsplit(url or "").hostname or "") in self._internal_hosts

    def _spec(self, named: NamedServer) -> ServerSpec | None:
        """The server with its references expanded, or None where one of them is missing."""
        return prepare_server(
            named,
            partial(self._filled, operator=named.operator),
            self._is_listed,
            self._guard.secrets,
            proxied=self._proxied,
            result_cap=self._limits.result_chars,
        )


def _budgets(agent: EffectiveAgent) -> dict[str, SpendLimit]:
    """The budgets that are set, in tokens and millionths of a dollar."""
    given = agent.cost.value.budgets or Budgets()
    found = {kind: getattr(given, kind) for kind in ("turn", "person", "chat", "agent")}
    return {
        kind: spend_limit(one.tokens, one.usd) for kind, one in found.items() if one is not None
    }


def _policy(agent: EffectiveAgent) -> Policy:
    """The written rule of one agent, as the decision takes it."""
    data, safety = agent.tool_policy.value, agent.safety.value or SafetyConfig()
    skills = [named.skill for named in agent.skills.value]
    unasked = [f"skill:{skill.name}" for skill in skills if not skill.requires_approval]
    asked = [f"skill:{skill.name}" for skill in skills if skill.requires_approval]
    return Policy(
        runs=(*agent.whitelist_patterns.value, *unasked),
        allowed=() if data.allowed is None else (data.allowed,),
        disabled=data.disabled_tools,
        confirm=(*data.require_confirmation, *asked, *safety.require_tool_confirmation),
        conditions=tuple(
            Condition(one.tools, frozenset(one.roles), frozenset(one.features), one.when or "")
            for one in data.conditions
        ),
    )


def agent_filter(host: OutputFilter, safety: SafetyConfig | None) -> OutputFilter:
    """The filter of one agent; it may be stricter than the host, never looser.

    Secrets are the same for all agents: none may let out what another one was given.
    """
    own = safety.blocked_topics if safety else ()
    return replace(
        host,
        topics=tuple(dict.fromkeys((*host.topics, *own))),
        personal=stricter(host.personal, safety.pii_handling if safety else "off"),
    )
