"""From an address to the agent that answers there: binding, definition, layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import urlsplit

import structlog

from bot.command import escape_markdown
from bot.mcp.server_spec import prepare_server
from bot.messages import DEFAULT_ACCOUNT, Address, Attribution, LineContext, User
from bot.ops.redaction import Secrets, too_short
from bot.safety.output_filter import OutputFilter, by_words, stricter
from bot.skills.api import InternalSkill
from bot.skills.spec import SkillSpec, prepare_skill
from bot.store.sessions import account_of, is_http
from bot.tools.policy import Policy
from bot.tools.toolset import ToolPermissions
from bot.usage.budgets import SpendLimit, lowest_limits, spend_limits
from registry.agent_limits import SafetyConfig, TurnLimits
from registry.binding import LostProfile, Resolution
from registry.catalog import Catalog
from registry.definition import AgentDefinition, LlmConfiguration
from registry.errors import NotThere
from registry.instance import SLASH, AgentInstance
from registry.layers import EffectiveAgent
from registry.preset import preset_key, split_key, telegram_owner
from registry.preset_rules import fault_of, layer_of, preset_here
from registry.secrets import TOO_SHORT, TOO_SHORT_CURE, expand, reference_names
from registry.skill import Skill
from registry.snapshot import Entry, Snapshot, revision_of


@dataclass(frozen=True, slots=True)
class RunnableAgent:
    """The effective agent, with what this host made of it.

    `tools` has servers and skills with their secrets filled in. `limits` and `budgets` (by kind of
    scope: turn, person, chat, agent, account, host) are the lower ones of host and agent, `filter`
    is the stricter one. `approval_seconds` is how long a request for approval stays open. `router`
    is the name of the instance that handed the message to this one, if one did. A `draft` that is
    tried has the number of its author in Telegram.
    """

    effective: EffectiveAgent = field(repr=False)
    attribution: Attribution
    tools: ToolPermissions = field(repr=False)
    limits: TurnLimits
    budgets: Mapping[str, SpendLimit]
    approval_seconds: float
    filter: OutputFilter = field(default_factory=OutputFilter)
    router: str = ""
    draft: int = 0

    @property
    def id(self) -> str:
        """The agent's id, which also names its transcripts; of an instance `<account>/<name>`.

        Of one that a router chose `<account>/<router>/<name>`, of a draft `<agent>~<author>`.
        """
        who = self.attribution
        if self.draft:
            return f"{who.agent}{TILDE}{self.draft}"
        if who.agent_instance is None:
            return who.agent
        return SLASH.join(filter(None, (who.account, self.router, who.agent_instance)))

    @property
    def names(self) -> tuple[str, str]:
        """The id and the preset, by which it is found as it is at another moment."""
        return self.id, self.preset

    @property
    def preset(self) -> str:
        """The preset that is laid over it, as `<owner>/<id>`; '' for none."""
        return self.attribution.preset or ""

    @property
    def name(self) -> str:
        """The agent's name, as people see it."""
        return self.effective.definition.name

    @property
    def mark(self) -> str:
        """What stands below each answer, as Markdown; '' except for a draft."""
        return f"_Draft of {escape_markdown(self.name)}, not published_" if self.draft else ""

    @property
    def model(self) -> str:
        """The model that is asked first; '' where neither agent nor host names one."""
        return self.effective.llm.model or ""

    @property
    def max_tokens(self) -> int:
        """Output tokens of one request, not more than the limits allow."""
        return min(self.effective.llm.max_tokens or 0, self.limits.tokens)

    @property
    def most_turns(self) -> int | None:
        """The most turns that the model reads, this one included; None where nobody set a limit."""
        limit = self.effective.history_limit
        return None if limit is None else limit // 2 + 1

    @property
    def read_turns(self) -> int:
        """How many turns are read from the store."""
        most, ours = self.most_turns, self.limits.history_turns
        wanted = ours if most is None else min(most, ours)
        return max(2, wanted) if self.has_rules else wanted

    @property
    def has_rules(self) -> bool:
        """Whether its profile has rules: a turn then takes over what the one before it left."""
        profile = self.effective.profile
        return profile is not None and profile.has_rules

    def working_for(self, account: str) -> RunnableAgent:
        """An agent that belongs to no account works for one; an instance stays with its own."""
        who = self.attribution
        if who.agent_instance is not None or who.account == account:
            return self
        return replace(self, attribution=replace(who, account=account))

    def in_place_of(self, removed: str, preset: str = "") -> RunnableAgent:
        """An agent without tools, to end a turn whose own agent or preset was `removed`."""
        who = replace(self.attribution, agent=removed, agent_instance=None, revision="", trial=None)
        who = replace(who, preset=preset or None)
        router, author = "", 0
        if TILDE in removed:
            agent, author = drafted(removed)
            who = replace(who, agent=agent, trial=TRIAL)
        if SLASH in removed:
            account, *routers, name = removed.split(SLASH)
            router = SLASH.join(routers)
            who = replace(who, account=account, agent=name, agent_instance=name)
        return replace(self, attribution=who, tools=ToolPermissions(), router=router, draft=author)


TILDE = "~"
"""Between the id of an agent and the author of a draft of it: no id has one."""
TRIAL = "draft"
"""What the records of a turn say where a draft answered."""


log = structlog.get_logger("agents")

MOST_MADE = 5_000
"""Agents under presets that are kept until something changes."""
PRESET_CHANGED = "This preset is based on another agent now."
_CHAT_RULES = ("chat in this bot", "chat")
"""The rules that bind a chat: a group's binding still holds once it is a supergroup."""


@dataclass(frozen=True, slots=True)
class HostRules:
    """What the host sets for every agent.

    `llm` are the model settings of agents that say nothing. An agent may have lower `limits` and
    `budgets`, a stricter `filter`, and more tools to `confirm` each time. `internal_hosts` are
    those that every agent may reach; `proxied`: the operator's proxy judges all other addresses.
    """

    llm: LlmConfiguration
    limits: TurnLimits = field(default_factory=lambda: TurnLimits())
    budgets: Mapping[str, SpendLimit] = field(default_factory=dict)
    filter: OutputFilter = field(default_factory=OutputFilter)
    approval_minutes: float = 60.0
    internal_hosts: Collection[str] = ()
    proxied: bool = False
    confirm: tuple[str, ...] = ()


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

    `handlers` are the skills of installed packages, by name. `may_test` says whether a person in
    Telegram may try drafts now, which takes the right to write agents. `toolset` gives the host's
    own tools of a set by its name; an instance has none of them.
    """

    catalog: Catalog
    rules: HostRules
    references: SecretReferences
    handlers: Mapping[str, InternalSkill] = field(default_factory=dict)
    may_test: Callable[[int], bool] = lambda _person: False
    toolset: Callable[[str], Sequence[SkillSpec]] = lambda _name: ()
    _made: dict[tuple[str, str], RunnableAgent] = field(default_factory=dict, init=False)
    _under_presets: dict[tuple[str, str], RunnableAgent] = field(default_factory=dict, init=False)
    _snapshot_number: int = field(default=-1, init=False)

    def resolve(
        self, line: LineContext, address: Address, person: User
    ) -> tuple[Resolution, RunnableAgent | None]:
        """Which agent answers, by which rule and why; and the agent, None where there is none."""
        snapshot = self.catalog.snapshot()
        if address.instance is not None:
            return self._named(snapshot, address.instance, address.preset or "")
        if snapshot.on_test and (tested := self._tested(snapshot, line, address, person)):
            return tested
        found = snapshot.resolve(line.identity, address.chat, person.telegram_id)
        if address.migrated_from is not None and found.rule not in _CHAT_RULES:
            before = snapshot.resolve(line.identity, address.migrated_from, person.telegram_id)
            found = before if before.rule in _CHAT_RULES else found
        owner, account = telegram_owner(person.telegram_id), snapshot.account_of_bot(line.bot)
        one = preset_here(snapshot, found, address.bot, owner) if address.private else None
        if one and found.lost and one.base_agent_name == found.lost.agent:
            agent = None  # to leave the preset would not help
        elif one and (
            one.base_agent_name == found.agent_id
            or snapshot.may_answer(one.base_agent_name, account)
        ):
            own = Resolution(one.base_agent_name, "preset", f"the preset '{one.instance_name}'")
            found, agent = self._preset(snapshot, own, preset_key(owner, one.id))
        else:
            agent = None if found.agent_id is None else self.current(found.agent_id)
        if agent is None or account == DEFAULT_ACCOUNT:
            return found, agent
        who = agent.attribution
        if who.agent_instance is not None and who.account != account:
            why = f"'{agent.id}' is of another account than this bot, which belongs to {account}"
            return Resolution(None, found.rule, why), None
        return found, agent.working_for(account)

    def for_line(self, agent: RunnableAgent, line: LineContext) -> RunnableAgent:
        """An agent as it works in a line: for the account of its bot, or of the API key."""
        if is_http(line.name):
            return agent.working_for(account_of(line.name))
        return agent.working_for(self.catalog.snapshot().account_of_bot(line.bot))

    def _preset(
        self, snapshot: Snapshot, found: Resolution, key: str
    ) -> tuple[Resolution, RunnableAgent | None]:
        """An agent under a preset; where that cannot answer, why in a sentence."""
        found = replace(found, preset=key)
        if agent := self.current(found.agent_id or "", key):
            return found, agent
        if lost := self.lost(found.agent_id or ""):
            return replace(found, agent_id=None, lost=lost), None
        why = fault_of(snapshot, split_key(key)[0], snapshot.preset(key))
        return replace(found, agent_id=None, why=why or PRESET_CHANGED), None

    def _tested(
        self, snapshot: Snapshot, line: LineContext, address: Address, person: User
    ) -> tuple[Resolution, RunnableAgent | None] | None:
        """The draft that a person tries in this chat, while they may write agents.

        No agent, and why, where its profile is gone: nobody else must answer in its place.
        """
        author = person.telegram_id
        found = snapshot.on_test.get((f"tg:{author}", line.name, address.original_id))
        if found is None or not self.may_test(author):
            return None
        if draft := self.current(f"{found.value.agent}{TILDE}{author}"):
            why = "you are testing your draft of it here"
            return Resolution(draft.attribution.agent, "draft", why), draft
        if lost := snapshot.lacked_by(found.value.definition):
            why = f"Your draft of '{found.value.agent}', which you test here, cannot answer"
            return Resolution(None, "draft", f"{why}: there is no profile '{lost}'."), None
        return None

    def _named(
        self, snapshot: Snapshot, id: str, preset: str
    ) -> tuple[Resolution, RunnableAgent | None]:
        """The instance that was asked for by its name, or the agent by its id."""
        if preset:
            return self._preset(snapshot, Resolution(id, "preset", "asked for by its id"), preset)
        agent, why = self.current(id), "asked for by its name"
        if agent is not None and (SLASH not in id or snapshot.instance(id) is not None):
            return Resolution(id, "instance", why), agent
        why = f"the instance '{id}' does not exist"
        if unknown := snapshot.unknown_type(id):
            why = f"the agent type of the instance '{id}' is unknown: {unknown}"
        elif lost := self.lost(id):
            why = f"the profile '{lost.profile}' of '{id}' does not exist"
            return Resolution(None, "instance", why, lost=lost), None
        return Resolution(None, "instance", why), None

    def lost(self, agent: str) -> LostProfile | None:
        """Which profile an agent or an instance lacks now, so that it cannot answer."""
        own, _ = unrouted(agent)
        profile = self.catalog.snapshot().lost_profile(own)
        return LostProfile(own, profile) if profile else None

    def current(self, agent: str, preset: str = "") -> RunnableAgent | None:
        """An agent or an instance by its id as it is now, or None where there is no such one.

        A `preset` (`<owner>/<id>`) is laid over it: None as well where it cannot answer, or stands
        on another agent by now.
        """
        snapshot = self.catalog.snapshot()
        if snapshot.number != self._snapshot_number:
            self._made.clear()
            self._under_presets.clear()
            self._snapshot_number = snapshot.number
        made_before = self._under_presets if preset else self._made
        if preset and len(made_before) >= MOST_MADE:
            made_before.clear()
        if TILDE in agent and not self.may_test(drafted(agent)[1]):
            return None
        if (known := made_before.get((agent, preset))) is not None:
            return known
        if TILDE in agent:
            made = self._draft(snapshot, agent)
        else:
            made = self._under(snapshot, agent, preset) if preset else self._bare(snapshot, agent)
        if made is not None:
            made_before[agent, preset] = made
        return made

    def _bare(self, snapshot: Snapshot, agent: str) -> RunnableAgent | None:
        own, router = unrouted(agent)
        found = snapshot.effective(own, self.rules.llm)
        return replace(self._make(found), router=router) if found else None

    def _under(self, snapshot: Snapshot, agent: str, key: str) -> RunnableAgent | None:
        """An agent under a preset, as far as the agent and the host allow it now."""
        preset, base = snapshot.preset(key), snapshot.agents.get(agent)
        if preset is None or base is None or preset.base_agent_name != agent:
            return None
        if fault_of(snapshot, split_key(key)[0], preset):
            return None
        layer = layer_of(preset, base.value, self.catalog.allowed_models())
        if (found := snapshot.effective(agent, self.rules.llm, (layer,))) is None:
            return None
        made = self._make(found)
        return replace(made, attribution=replace(made.attribution, preset=key))

    def _draft(self, snapshot: Snapshot, id: str) -> RunnableAgent | None:
        """A draft that is on test, as if somebody other than the operator had stored it."""
        agent, author = drafted(id)
        draft = snapshot.draft(agent, f"tg:{author}")
        if draft is None or draft.tested_in is None:
            return None
        try:
            made = self.unstored(draft.definition, revision_of(draft.definition.to_text()))
        except NotThere:
            return None
        who = replace(made.attribution, trial=TRIAL)
        return replace(made, attribution=who, draft=author)

    def is_router(self, agent: RunnableAgent) -> bool:
        """Whether an agent hands each message to another instance of its account."""
        return agent.effective.instance is not None and self.catalog.snapshot().is_router(agent.id)

    def routes(self, router: RunnableAgent) -> list[AgentInstance]:
        """The instances that a router chooses from: those of its account, but no router.

        Also those that lack their profile: no other answers what is meant for them.
        """
        snapshot = self.catalog.snapshot()
        found = snapshot.instances_of(router.attribution.account).values()
        own = [one.value for one in found if snapshot.unknown_type(one.value.id) is None]
        return [one for one in own if not snapshot.is_router(one.id)]

    def unstored(self, agent: AgentDefinition, revision: str = "") -> RunnableAgent:
        """An agent as it would run if it were stored, by somebody who is not the operator.

        Raises NotThere where it names a profile that is not there.
        """
        entry = Entry(agent, agent.id, agent.id, operator=False, revision=revision)
        found = self.catalog.snapshot().effective_entry(entry, self.rules.llm)
        if found is None:
            raise NotThere(f"there is no profile '{agent.profile}'")
        return self._make(found)

    def in_place_of(self, gone: str) -> RunnableAgent:
        """An agent without tools, to end a turn whose own agent can answer no more."""
        return self.unstored(AgentDefinition(id="nobody", name="Nobody")).in_place_of(gone)

    def _make(self, agent: EffectiveAgent) -> RunnableAgent:
        rules, policy = self.rules, agent.tool_policy
        servers = (
            prepare_server(
                named,
                partial(self.references.expand, operator=named.operator),
                self._is_listed,
                rules.filter.secrets,
                proxied=rules.proxied,
                seconds=rules.limits.tool_seconds,
                result_cap=rules.limits.result_chars,
            )
            for named in agent.servers
        )
        skills = (
            prepare_skill(
                skill,
                self.handlers,
                partial(self.references.expand, operator=agent.operator),
                rules.filter.secrets,
                internal=agent.operator or self._is_listed(skill.webhook_url),
                proxied=rules.proxied,
                seconds=rules.limits.tool_seconds,
            )
            for skill in agent.definition.skills
        )
        given = [*(spec for spec in skills if spec), *self._internal(agent)]
        return RunnableAgent(
            effective=agent,
            attribution=_attribution(agent),
            tools=ToolPermissions(
                servers=tuple(spec for spec in servers if spec),
                skills=tuple(given),
                policy=_policy(agent, rules.confirm, [spec.document for spec in given]),
                features=frozenset(policy.features),
            ),
            limits=rules.limits.lowered(agent.definition.safety_config, agent.cost),
            budgets=lowest_limits(rules.budgets, spend_limits(agent.cost.budgets or ())),
            approval_seconds=(policy.approval_minutes or rules.approval_minutes) * 60,
            filter=self._filter(agent.definition.safety_config),
        )

    def _internal(self, agent: EffectiveAgent) -> Iterator[SkillSpec]:
        """The host's own tools of an agent to which the operator gave them; its skills go first."""
        if not agent.operator or agent.instance is not None:
            return
        taken = {skill.name.casefold() for skill in agent.definition.skills}
        for name in agent.definition.internal_toolsets:
            yield from (spec for spec in self.toolset(name) if spec.name.casefold() not in taken)

    def _filter(self, safety: SafetyConfig | None) -> OutputFilter:
        """The host's filter, with the secrets of all agents, and what the agent adds to it."""
        ours = self.rules.filter
        if safety is None:
            return ours
        topics = by_words((*ours.topics, *safety.blocked_topics))
        return replace(ours, topics=topics, personal=stricter(ours.personal, safety.pii_handling))

    def _is_listed(self, url: str | None) -> bool:
        """Whether the operator lets everybody's agents reach this host, internal or not."""
        return (urlsplit(url or "").hostname or "") in self.rules.internal_hosts


def is_draft(id: str) -> bool:
    """Whether an id of a transcript is that of a draft."""
    return TILDE in id


def drafted(id: str) -> tuple[str, int]:
    """The agent of a draft, and its author's number in Telegram; 0 where there is none."""
    agent, _, author = id.partition(TILDE)
    return agent, int(author) if author.isascii() and author.isdecimal() else 0


def unrouted(agent: str) -> tuple[str, str]:
    """The id of an agent without its router, and the router's name; '' for none."""
    account, _, rest = agent.partition(SLASH)
    router, slash, name = rest.partition(SLASH)
    return (f"{account}{SLASH}{name}", router) if slash else (agent, "")


def _attribution(agent: EffectiveAgent) -> Attribution:
    own, base = agent.instance, agent.definition.id
    if own is None:
        return Attribution(DEFAULT_ACCOUNT, base, agent.revision)
    return Attribution(own.account, base, agent.revision, own.instance_name)


def _policy(agent: EffectiveAgent, floor: tuple[str, ...], skills: Sequence[Skill]) -> Policy:
    """The written rule of one agent: its own lists, and what its skills and safety settings say.

    What the host's `floor` matches asks each time, even if they allow it.
    """
    written = agent.tool_policy
    safety = agent.definition.safety_config or SafetyConfig()
    runs = [f"skill:{skill.name}" for skill in skills if not skill.requires_approval]
    confirm = [f"skill:{skill.name}" for skill in skills if skill.requires_approval]
    return Policy(
        runs=(*agent.definition.whitelist_patterns, *runs),
        allowed=agent.allowed,
        disabled=agent.disabled,
        confirm=(
            *(*floor, *written.require_confirmation, *confirm),
            *safety.require_tool_confirmation,
        ),
        conditions=written.conditions,
    )
