"""Validated documents, the snapshot of what is in force, and its effective agents."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from registry.access import AccessGrant
from registry.api_key import ApiKey
from registry.binding import (
    OF_ONE_BOT,
    AgentBinding,
    AgentBindingType,
    Bindings,
    BotIdentity,
    LostProfile,
    Resolution,
    candidates,
    resolve,
)
from registry.definition import (
    AgentDefinition,
    LlmConfiguration,
    McpServer,
    Servers,
    ToolOwners,
    idle_pattern,
    idle_patterns,
    missing_names,
    servers_of,
    tool_owners,
    unmet_conditions,
)
from registry.draft import Draft, draft_id
from registry.errors import Problem
from registry.expansion import ProfileInForce, unknown_name
from registry.fields import slug
from registry.hidden_text import hidden_texts
from registry.instance import BUILT_IN, ROUTER, SLASH, AgentInstance, halves
from registry.layers import Base, EffectiveAgent, Layer, merge
from registry.policy import ToolPolicy
from registry.preset import PersonPresets, Preset, split_key
from registry.review import Proposal
from registry.roles import DEFAULT_ACCOUNT, RoleDocument, RoleGrant
from registry.stored_bot import StoredBot

if TYPE_CHECKING:  # most hosts have no profiles
    from registry.profile import NamedLlmConfig, Profile

T = TypeVar("T")


def revision_of(value: str | bytes) -> str:
    """The revision of a raw value: its SHA-1 in hex, which a Redis script can compute as well."""
    raw = value.encode() if isinstance(value, str) else value
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One value of a document, and its place.

    `origins` gives the place of single fields by their JSON name (`llmOverrides.model`), `operator`
    says whether the file or the environment wrote it, `revision` what a change must expect.
    """

    value: T
    document: str
    place: str
    origins: Mapping[str, str] = field(default_factory=dict)
    operator: bool = True
    revision: str = ""

    @property
    def owner(self) -> Literal["file", "package", "store"]:
        """Who has it: the operator's files and variables, the package, or the store."""
        if self.document == PACKAGED:
            return "package"
        return "file" if self.operator else "store"


Entries = Mapping[str, Entry[T]]


@dataclass(frozen=True, slots=True)
class Governance:
    """What only a store holds.

    These are the roles by person, the API keys by id, who was let in or blocked, by subject, the
    changes of agents that wait for a second person, by agent, the presets of people, by their
    owner, the bots that were added at run time, by their numeric id, and drafts of agents, by
    `<agent>/<author>`.
    """

    roles: Entries[RoleDocument] = field(default_factory=dict)
    keys: Entries[ApiKey] = field(default_factory=dict)
    access: Entries[AccessGrant] = field(default_factory=dict)
    proposals: Entries[Proposal] = field(default_factory=dict)
    presets: Entries[PersonPresets] = field(default_factory=dict)
    bots: Entries[StoredBot] = field(default_factory=dict)
    drafts: Entries[Draft] = field(default_factory=dict)


UNGOVERNED = Governance()
_ALL_TOOLS = ToolPolicy()


@dataclass(frozen=True, slots=True)
class Profiles:
    """Profiles, and the model configurations that they refer to, by their names.

    `unusable` are files that were never good, by kind and name: what is below them of that name is
    not in force in their place, as it may allow more.
    """

    profiles: Entries[Profile] = field(default_factory=dict)
    llm_configs: Entries[NamedLlmConfig] = field(default_factory=dict)
    unusable: frozenset[tuple[str, str]] = frozenset()

    def over(self, below: Profiles) -> Profiles:
        """These, and what they do not have of the others."""
        usable = below.without(self.unusable)
        return Profiles(
            {**usable.profiles, **self.profiles},
            {**usable.llm_configs, **self.llm_configs},
            self.unusable | below.unusable,
        )

    def without(self, names: frozenset[tuple[str, str]]) -> Profiles:
        """These, but for some, given by kind and name."""
        if not names:
            return self
        profiles = {n: one for n, one in self.profiles.items() if ("profile", n) not in names}
        kept = {n: one for n, one in self.llm_configs.items() if ("llm-config", n) not in names}
        return replace(self, profiles=profiles, llm_configs=kept)


NO_PROFILES = Profiles()


def no_profiles() -> Profiles:
    """No profile and no configuration."""
    return NO_PROFILES


@dataclass(frozen=True, slots=True)
class Document:
    """Agents by id, bindings by slot in their order, the default agent, top-level MCP servers.

    And instances of agents, by `<account>/<name>`, and `own_profiles`; those of the package, under
    these, are read when they are first needed.
    `problems` is what is wrong while the rest is usable: warnings, and values that were left out.
    """

    agents: Entries[AgentDefinition] = field(default_factory=dict)
    bindings: Entries[AgentBinding] = field(default_factory=dict)
    default_agent_id: Entry[str] | None = None
    mcp_servers: Entries[McpServer] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    governance: Governance = UNGOVERNED
    instances: Entries[AgentInstance] = field(default_factory=dict)
    own_profiles: Profiles = NO_PROFILES
    packaged_profiles: Callable[[], Profiles] = no_profiles

    @property
    def profiles(self) -> Entries[Profile]:
        """The profiles that somebody here has written, by their names."""
        return self.own_profiles.profiles

    @property
    def llm_configs(self) -> Entries[NamedLlmConfig]:
        """The model configurations that somebody here has written, by their names."""
        return self.own_profiles.llm_configs

    def llm_config(self, name: str) -> Entry[NamedLlmConfig] | None:
        """A model configuration by its name: written here, else the package's, else None."""
        own = self.own_profiles
        if (found := own.llm_configs.get(name)) or ("llm-config", name) in own.unusable:
            return found
        return self.packaged_profiles().llm_configs.get(name)

    @property
    def roles(self) -> Entries[RoleDocument]:
        """The roles by person."""
        return self.governance.roles

    @property
    def keys(self) -> Entries[ApiKey]:
        """The API keys by id."""
        return self.governance.keys

    @property
    def access(self) -> Entries[AccessGrant]:
        """Who was let in or blocked, by subject."""
        return self.governance.access

    @property
    def proposals(self) -> Entries[Proposal]:
        """The changes of agents that wait for a second person, by agent."""
        return self.governance.proposals

    @property
    def presets(self) -> Entries[PersonPresets]:
        """The presets of people, by their owner."""
        return self.governance.presets

    @property
    def bots(self) -> Entries[StoredBot]:
        """The bots that were added at run time, by their numeric id."""
        return self.governance.bots

    @property
    def drafts(self) -> Entries[Draft]:
        """The drafts of agents, by `<agent>/<author>`."""
        return self.governance.drafts

    @property
    def errors(self) -> list[Problem]:
        """The problems that keep something out of force."""
        return [problem for problem in self.problems if problem.level == "error"]


def merge_documents(above: Document, below: Document) -> Document:
    """Two documents as one: `above` wins; each hidden value of `below` becomes a problem.

    Where `above` describes one agent alone and binds nothing, that agent is the default, unless one
    of the two documents names another.
    """
    hidden: list[Problem] = []
    if above.default_agent_id and below.default_agent_id:
        hidden.append(_hidden(below.default_agent_id, above.default_agent_id))
    default = above.default_agent_id or below.default_agent_id
    under = below.own_profiles.without(above.own_profiles.unusable)
    if default is None and len(above.agents) == 1 and not above.bindings:
        (sole,) = above.agents.values()
        default = Entry(sole.value.id, ONLY, sole.place)
    return Document(
        agents=_over(above.agents, below.agents, hidden),
        bindings=_over(above.bindings, below.bindings, hidden),
        default_agent_id=default,
        mcp_servers=_over(above.mcp_servers, below.mcp_servers, hidden),
        instances=_over(above.instances, below.instances, hidden),
        own_profiles=Profiles(
            _over(above.profiles, under.profiles, hidden),
            _over(above.llm_configs, under.llm_configs, hidden),
            above.own_profiles.unusable,
        ),
        packaged_profiles=below.packaged_profiles,
        problems=(*above.problems, *below.problems, *hidden),
        governance=below.governance,
    )


def with_packaged(document: Document, packaged: Document) -> Document:
    """A document with the instances that come with the package, where it has none of that name."""
    if not packaged.instances:
        return document
    return replace(document, instances={**packaged.instances, **document.instances})


def _over(above: Entries[T], below: Entries[T], hidden: list[Problem]) -> Entries[T]:
    if not above or not below:
        return above or below
    hidden += [_hidden(below[name], above[name]) for name in above if name in below]
    return {**above, **{name: entry for name, entry in below.items() if name not in above}}


def _hidden(below: Entry[T], above: Entry[T]) -> Problem:
    message = f"it is overridden by {above.place}"
    return Problem(below.place, message, "remove one of the two", level="warning")


ONLY = "the only agent"
"""The document of a default that nobody has named."""
PLAIN = "the bot's own name"
"""The document of agents that nobody has described."""
PACKAGED = "the package"
"""The document of instances that come with the package."""
UNWRITTEN = frozenset({ONLY, PLAIN, PACKAGED})
"""The documents of what nobody has written here: it has no revisions, and may be replaced."""
BUILT_IN_TYPE = "built in"
"""The place of agents that are types of instances on every host."""


def with_plain_agents(document: Document, own: Document, bots: Iterable[BotIdentity]) -> Document:
    """Where the operator (`own`) has described no agent: one for each bot that none answers.

    It has the bot's own name, every top-level server, and no instructions.
    """
    if own.agents or document.default_agent_id or own.errors:
        return document
    agents, bindings = dict(document.agents), dict(document.bindings)
    bound = {one.value.binding_key for one in bindings.values() if one.value.is_of_bot}
    for bot in bots:
        name = "".join(filter(str.isprintable, bot.name or "")).strip()
        if not name or bound.intersection(bot.keys):
            continue
        id = slug(name) or slug(bot.username or "") or f"bot-{bot.id}"
        agent = AgentDefinition(id=id, name=name)
        agents.setdefault(id, Entry(agent, PLAIN, PLAIN, revision=revision_of(agent.to_text())))
        binding = AgentBinding(
            agent_id=id, type=AgentBindingType.TelegramBot, binding_key=bot.token_hash
        )
        bindings[binding.slot] = Entry(binding, PLAIN, PLAIN)
    return replace(document, agents=agents, bindings=bindings)


def effective(
    host_defaults: LlmConfiguration,
    entry: Entry[AgentDefinition],
    shared: Servers,
    tuning: Iterable[Layer] = (),
    top: str = "the top",
    profile: ProfileInForce | None = None,
) -> EffectiveAgent:
    """Merge host defaults, a definition and further layers, in the order of their names.

    `shared` are the top-level servers, `top` says where these are written, `profile` is the one
    that the agent names.
    """
    agent = entry.value
    origins = {
        name: entry.place if field in agent.model_fields_set else "default"
        for field, name in _SPELLED.items()
    }
    origins |= entry.origins
    origins["servers"] = _servers_place(agent, top, origins)
    servers = servers_of(agent, shared, entry.operator)
    base = Base(agent, servers, entry.place, origins, entry.operator, entry.revision, profile)
    return merge(host_defaults, base, tuning)


def effective_instance(
    host_defaults: LlmConfiguration,
    base: Entry[AgentDefinition],
    instance: Entry[AgentInstance],
    shared: Servers,
    tuning: Iterable[Layer] = (),
    top: str = "the top",
    profile: ProfileInForce | None = None,
) -> EffectiveAgent:
    """Merge an agent with what an instance of it sets, under the instance's name."""
    own, tools = instance.value, instance.origins.get("tools", instance.place)
    places = {SPELLED_LLM.get(name, name): place for name, place in instance.origins.items()}
    layer = Layer(
        "L3",
        own.settings,
        instance.place,
        {**places, "name": instance.place, "allowed": tools, "disabled": tools},
        title=own.title,
        description=own.description or None,
        allowed=own.allowed,
        disabled=own.disabled,
        history_limit=own.history_limit,
    )
    found = effective(host_defaults, base, shared, (layer, *tuning), top, profile)
    return replace(found, instance=own)


SPELLED_LLM = {
    f"llm.{name}": info.alias or name for name, info in LlmConfiguration.model_fields.items()
}
"""What an agent calls the settings that an instance writes under `llm`."""
_SPELLED = {name: info.alias or name for name, info in AgentDefinition.model_fields.items()}


def _servers_place(agent: AgentDefinition, top: str, origins: Mapping[str, str]) -> str:
    """Where it is written which servers an agent has."""
    if agent.has_every_server:
        return top
    names = ("mcpServers", "mcpServerEndpoints")
    return ", ".join(dict.fromkeys(origins[n] for n in names if origins[n] != "default"))


@dataclass(frozen=True)
class Snapshot:
    """What is in force; `number` grows with each change that this process has seen.

    `own_bots` are the accounts of the bots of the environment, by their id.
    """

    number: int
    document: Document
    bindings: Bindings = field(default_factory=Bindings)
    own_bots: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Document) -> Snapshot:
        """A document that is in force, though no process has seen it."""
        return cls(0, document, Bindings(entry.value for entry in document.bindings.values()))

    @property
    def agents(self) -> Mapping[str, Entry[AgentDefinition]]:
        """Every agent with its place and origins, by id."""
        return self.document.agents

    def account_of_bot(self, bot: int) -> str:
        """The account that a bot belongs to, by its numeric id."""
        if (own := self.own_bots.get(bot)) is not None:
            return own
        entry = self.document.bots.get(str(bot))
        return entry.value.account if entry else DEFAULT_ACCOUNT

    @property
    def ids(self) -> list[str]:
        """The ids of all agents and instances."""
        return [*self.document.agents, *self.document.instances]

    @property
    def default(self) -> str | None:
        """The id of the default agent, whether or not that agent is there."""
        entry = self.document.default_agent_id
        return entry.value if entry else None

    @property
    def has_only_agent(self) -> bool:
        """Whether the default agent is the default because it is the only one."""
        entry = self.document.default_agent_id
        return entry is not None and entry.document == ONLY

    def roles_held_by(self, person: str) -> tuple[RoleGrant, ...]:
        """The roles that were granted to `tg:<id>` or `api:<account>:<user>`."""
        entry = self.document.roles.get(person)
        return entry.value.grants if entry else ()

    def presets_of(self, owner: str) -> PersonPresets | None:
        """The presets of a person; None where they never made one."""
        entry = self.document.presets.get(owner)
        return entry.value if entry else None

    def preset(self, key: str) -> Preset | None:
        """A preset by `<owner>/<id>`, or None."""
        owner, id = split_key(key)
        held = self.presets_of(owner)
        return held.find(id) if held else None

    @cached_property
    def servers(self) -> Servers:
        """The top-level MCP servers by name."""
        return {name: entry.value for name, entry in self.document.mcp_servers.items()}

    @cached_property
    def _top(self) -> str:
        """Where the top-level servers are written."""
        written = {entry.document for entry in self.document.mcp_servers.values()}
        return f"the top of {' and '.join(sorted(written))}" if written else "default"

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong or surprising now, each with its place and fix."""
        unserved = [
            Problem(entry.place, issue.message, issue.cure, level="warning")
            for entry in self.agents.values()
            for issue in missing_names(entry.value, self.servers)
        ]
        lost = inactive(self.document, {*self.agents, *filter(self._has_type, self.ids)})
        odd = (*self.odd_instances(), *self.odd_profiles())
        return (*self.document.problems, *lost, *unserved, *odd)

    def agent(self, agent_id: str) -> AgentDefinition | None:
        """An agent's definition, or None."""
        entry = self.agents.get(agent_id)
        return entry.value if entry else None

    # --- profiles ---

    def profile(self, name: str) -> Entry[Profile] | None:
        """A profile by its name: one that somebody here wrote, else the package's, else None."""
        own = self.document.own_profiles
        if (found := own.profiles.get(name)) or ("profile", name) in own.unusable:
            return found
        return self.document.packaged_profiles().profiles.get(name)

    def llm_config(self, name: str) -> Entry[NamedLlmConfig] | None:
        """A model configuration by its name, in the same order."""
        return self.document.llm_config(name)

    @cached_property
    def all_profiles(self) -> Profiles:
        """All profiles and model configurations, with those of the package."""
        return self.document.own_profiles.over(self.document.packaged_profiles())

    @cached_property
    def _in_force(self) -> dict[str, ProfileInForce | None]:
        """What was asked for of `profile_in_force`, by name: turns ask for it."""
        return {}

    def profile_in_force(self, name: str) -> ProfileInForce | None:
        """A profile as agents have it, with the settings that it refers to; None for no profile."""
        if name not in self._in_force:
            entry = self.profile(name)
            self._in_force[name] = self._referring(entry) if entry else None
        return self._in_force[name]

    def _referring(self, entry: Entry[Profile]) -> ProfileInForce | None:
        """A profile with the configuration that it refers to; None where that is not there."""
        found = ProfileInForce(entry.value, entry.place, entry.origins, entry.revision)
        if (name := entry.value.llm_config_ref) is None:
            return found
        if (config := self.llm_config(name)) is None:
            return None
        origins = {SPELLED_LLM.get(f"llm.{n}", n): at for n, at in config.origins.items()}
        settings, place = config.value.settings, config.place
        return replace(found, settings=settings, settings_place=place, settings_origins=origins)

    def lost_profile(self, id: str) -> str | None:
        """The profile that an agent, or the type of an instance, names and that is not there."""
        if instance := self.instance(id):
            entry = self.type_named(instance.agent_type)
        else:
            entry = self.agents.get(id)
        return self.lacked_by(entry.value) if entry else None

    def lacked_by(self, agent: AgentDefinition) -> str | None:
        """The profile that an agent names, in force or not, and that is not there."""
        name = agent.profile
        return name if name and self.profile_in_force(name) is None else None

    def odd_profiles(self) -> Iterator[Problem]:
        """Profiles that agents name and that are not there, and sets of tools that nobody has."""
        for id, entry in self.agents.items():
            if (name := entry.value.profile) is not None:
                yield from self._odd_profile(id, entry, name)
        if self.document.profiles:
            yield from self._alike()
            yield from self._idle_tools()
            yield from self._unknown_targets()
        for draft in self.document.drafts.values():
            if lost := self.lacked_by(draft.value.definition):
                message, cure = unknown_name("profile", lost, self.all_profiles.profiles)
                message = f"the draft of '{draft.value.agent}' cannot answer: {message}"
                yield Problem(draft.place, message, cure, level="warning", path="profile")

    @cached_property
    def lost_profiles(self) -> list[Problem]:
        """Agents that do not answer, as their profiles are not there."""
        return [
            self._without_profile(id, one, name)
            for id, one in self.agents.items()
            if (name := self.lacked_by(one.value))
        ]

    def _without_profile(self, id: str, entry: Entry[AgentDefinition], name: str) -> Problem:
        message, cure = unknown_name("profile", name, self.all_profiles.profiles)
        message = f"agent '{id}' does not answer: {message}"
        return Problem(entry.origins.get("profile", entry.place), message, cure, path="profile")

    def _odd_profile(self, id: str, entry: Entry[AgentDefinition], name: str) -> Iterator[Problem]:
        found = self.profile_in_force(name)
        if found is None:
            yield self._without_profile(id, entry, name)
            return
        rule = found.profile.tool_access_policy
        if rule is None or all(one in rule.toolsets for one in rule.allowed_toolsets or ()):
            return  # thousands of agents may have it: their servers need not be looked at
        policy = entry.value.tool_policy or _ALL_TOOLS
        servers = [one.name for one in servers_of(entry.value, self.servers)]
        for own in found.unknown_sets(policy, servers):
            known = ", ".join(found.known_sets(policy, servers)) or "none"
            message = f"profile '{name}' allows agent '{id}' the toolset '{own}', which is none"
            cure = f"define it under 'toolsets', or name a server of the agent; there are: {known}"
            yield Problem(found.place_of("tool_access_policy"), message, cure)

    def _unknown_targets(self) -> Iterator[Problem]:
        """Agents for which rules have items, and that are not there."""
        for name, entry in self.document.profiles.items():
            for rules in ("pre_turn_observers", "post_turn_observers"):
                for rule in getattr(entry.value, rules):
                    target = rule.action.target_agent_id
                    if target != "self" and target not in self.agents:
                        message = f"profile '{name}': rule '{rule.id}' has an item for agent "
                        message += f"'{target}', which does not exist"
                        cure = "write self, or the id of an agent that there is"
                        place = entry.origins.get(rules, entry.place)
                        yield Problem(place, message, cure, level="warning")

    def _alike(self) -> Iterator[Problem]:
        """Profiles whose names differ from another one's in upper and lower case alone."""
        first: dict[str, str] = {}
        own = self.document.profiles
        for name in sorted(self.all_profiles.profiles, key=lambda one: (one in own, one)):
            other = first.setdefault(name.casefold(), name)
            if other != name and (entry := own.get(name)) is not None:
                message = f"profile '{name}' and profile '{other}' differ in letter case alone"
                yield Problem(entry.place, message, "rename one of the two", level="warning")

    def _idle_tools(self) -> Iterator[Problem]:
        """Single tools that a profile allows, and that no agent which has it could have."""
        users: dict[str, dict[ToolOwners, str]] = defaultdict(dict)
        patterns: dict[str, tuple[str, ...]] = {}
        for id, entry in self.agents.items():
            name, policy = entry.value.profile, entry.value.tool_policy or _ALL_TOOLS
            if name is None or policy.allowed is not None:
                continue
            if name not in patterns:
                patterns[name] = self._single_tools(name)
            if patterns[name]:
                # Agents with the same servers and skills are looked at once.
                users[name].setdefault(tool_owners(entry.value, self.servers), id)
        for name, agents in users.items():
            for pattern in patterns[name]:
                whys = []
                for servers, skills, split in agents:
                    why = idle_pattern(pattern, servers, skills, exact=True, split=split)
                    if why is None:
                        break
                    whys.append(why)
                else:
                    what, cure = whys[0]
                    id = next(iter(agents.values()))
                    message = f"profile '{name}' allows '{pattern}', which matches no {what} of "
                    message += f"any agent that has it ({id})"
                    yield Problem(self._place_of_tools(name), message, cure, level="warning")

    def _place_of_tools(self, name: str) -> str:
        found = self.profile_in_force(name)
        return found.place_of("tool_access_policy") if found else name

    def _single_tools(self, name: str) -> tuple[str, ...]:
        """The single tools that a profile in force allows."""
        found = self.profile_in_force(name)
        policy = found.profile.tool_access_policy if found else None
        return tuple((policy.allowed_individual_tools or ()) if policy else ())

    # --- drafts ---

    @cached_property
    def drafts(self) -> Mapping[str, Entries[Draft]]:
        """The drafts of each agent that has some, by their authors, in order."""
        found: dict[str, dict[str, Entry[Draft]]] = defaultdict(dict)
        for _, entry in sorted(self.document.drafts.items()):
            found[entry.value.agent][entry.value.by] = entry
        return dict(found)

    @cached_property
    def on_test(self) -> Mapping[tuple[str, str, int], Entry[Draft]]:
        """The draft that an author tries in a chat: by author, line and the chat's first id.

        Of two in one place it is the one that was changed last.
        """
        drafts = sorted(self.document.drafts.values(), key=lambda entry: entry.value.at)
        places = ((entry, entry.value.tested_in) for entry in drafts)
        return {(one.value.by, at.line, at.chat): one for one, at in places if at is not None}

    def draft(self, agent: str, author: str) -> Draft | None:
        """The draft that somebody has of an agent, or None."""
        entry = self.document.drafts.get(draft_id(agent, author))
        return entry.value if entry else None

    # --- instances ---

    @cached_property
    def accounts(self) -> Mapping[str, Entries[AgentInstance]]:
        """The instances of each account that has some, by their names, in order."""
        found: dict[str, dict[str, Entry[AgentInstance]]] = defaultdict(dict)
        for _, entry in sorted(self.document.instances.items()):
            found[entry.value.account][entry.value.instance_name] = entry
        return dict(found)

    def instances_of(self, account: str) -> Entries[AgentInstance]:
        """The instances of an account by their names, in order."""
        return self.accounts.get(account, {})

    @cached_property
    def account_names(self) -> frozenset[str]:
        """The accounts that have an instance, a key, a bot, or somebody with a role in them."""
        keys = (entry.value.account for entry in self.document.keys.values())
        bots = (entry.value.account for entry in self.document.bots.values())
        grants = (one for entry in self.document.roles.values() for one in entry.value.grants)
        named = {*self.accounts, *keys, *bots, *self.own_bots.values()}
        return frozenset({*named, *(one.account for one in grants)})

    def instance(self, id: str) -> AgentInstance | None:
        """An instance by `<account>/<name>`, or None."""
        entry = self.document.instances.get(id)
        return entry.value if entry else None

    def agent_named(self, name: str) -> str | None:
        """The id of the agent that has a name, of which hyphens and underscores are alike."""
        return next((one for one in spellings(name) if one in self.agents), None)

    def type_named(self, agent_type: str) -> Entry[AgentDefinition] | None:
        """The agent that a type means: by its id, also with hyphens, or a built-in one."""
        found = self.agents.get(agent_type) or self.agents.get(agent_type.replace("_", "-"))
        return found or _BUILT_IN.get(agent_type)

    def is_router(self, id: str) -> bool:
        """Whether an instance hands its messages to others of its account."""
        found = self.instance(id)
        return found is not None and self.type_named(found.agent_type) is _BUILT_IN[ROUTER]

    def offered_types(self, account: str) -> list[str]:
        """The ids of the agents that an account may use by itself as types of its instances.

        They are the built-in ones, those that are marked `template`, and those of its instances
        in files.
        """
        if account not in self._offered:
            self._offered[account] = self._offered_to(account)
        return [*self._offered[account]]

    @cached_property
    def _offered(self) -> dict[str, list[str]]:
        """What was asked for of `offered_types`, by account: turns ask for it."""
        return {}

    def _offered_to(self, account: str) -> list[str]:
        found = {id for id, one in _BUILT_IN.items() if self.type_named(id) is one}
        found |= {id for id, entry in self.agents.items() if entry.value.template}
        for entry in self.instances_of(account).values():
            base = self.type_named(entry.value.agent_type)
            if base is not None and entry.operator and entry.document != PACKAGED:
                found.add(base.value.id)
        return sorted(found)

    @cached_property
    def file_models(self) -> frozenset[str]:
        """The models that the operator's agents and instances name."""
        own = [e.value.llm_overrides for e in self.agents.values() if e.operator]
        own += [e.value.settings for e in self.document.instances.values() if e.operator]
        own += [e.value.settings for e in self.document.llm_configs.values() if e.operator]
        named = [(one.model, one.fallback_model) for one in own if one]
        return frozenset(model for pair in named for model in pair if model)

    def _has_type(self, id: str) -> bool:
        """Whether an id is that of an instance whose type is known."""
        return id in self.document.instances and self.unknown_type(id) is None

    def unknown_type(self, id: str) -> str | None:
        """The type of an instance where no agent is meant by it, else None."""
        found = self.instance(id)
        return found.agent_type if found and not self.type_named(found.agent_type) else None

    def has_named(self, account: str, name: str) -> bool:
        """Whether there is an agent, or an instance of an account, of this name."""
        return name in self.agents or name in self.instances_of(account)

    @property
    def runnable(self) -> Container[str]:
        """The ids of all agents and instances that can answer."""
        return _Runnable(self)

    def odd_instances(self) -> Iterator[Problem]:
        """Types that nobody knows, and tools that nobody can have."""
        for entry in self.document.instances.values():
            if entry.document != PACKAGED:
                yield from self._odd_instance(entry)

    def _odd_instance(self, entry: Entry[AgentInstance]) -> Iterator[Problem]:
        id, base = entry.value.id, self.type_named(entry.value.agent_type)
        if base is None:
            known = ", ".join(sorted([*self.agents, *_BUILT_IN]))
            message = f"instance '{id}': unknown agent type: {entry.value.agent_type}"
            place = entry.origins.get("agent_type", entry.place)
            yield Problem(place, message, f"name one of: {known}", level="warning")
        elif not servers_of(base.value, self.servers):  # else only those know their tools
            yield from unknown_tools(entry, {one.name for one in base.value.skills})

    def resolve(self, bot: BotIdentity, chat: int | None, person: int | None) -> Resolution:
        """Which agent answers in a chat of a bot, by which rule and why."""
        found = resolve(
            self.bindings, self.default, bot, chat, person, self.runnable, self.lost_profile
        )
        account = self.account_of_bot(bot.id)
        if account == DEFAULT_ACCOUNT or found.agent_id is None:
            return found
        if self.may_answer(found.agent_id, account):
            return found
        if SLASH in found.agent_id:
            why = f"'{found.agent_id}' is of another account than this bot, which is of {account}"
        elif self._is_operators(found, bot, chat, person):
            return found
        else:
            why = f"'{found.agent_id}' is not offered to account {account}, which this bot is of"
        return Resolution(None, found.rule, why)

    def may_answer(self, id: str, account: str) -> bool:
        """Whether an agent or an instance may answer in the bots of an account.

        In those of `default` every one may, else its own instances and what is offered to it.
        """
        owner, slash, _ = id.partition(SLASH)
        if account == DEFAULT_ACCOUNT:
            return True
        if slash:
            return owner == account
        return id in self.offered_types(account)

    def _is_operators(
        self, found: Resolution, bot: BotIdentity, chat: int | None, person: int | None
    ) -> bool:
        """Whether a binding for this bot alone, by which it answers, is the operator's own."""
        if found.rule not in OF_ONE_BOT:
            return False
        binding = dict(candidates(self.bindings, bot, chat, person))[found.rule]
        entry = self.document.bindings.get(binding.slot) if binding else None
        return entry is not None and entry.operator

    def effective(
        self, agent_id: str, host_defaults: LlmConfiguration, tuning: Iterable[Layer] = ()
    ) -> EffectiveAgent | None:
        """An agent or an instance with all layers merged, or None where it cannot answer."""
        if instance := self.document.instances.get(agent_id):
            base = self.type_named(instance.value.agent_type)
            if base is None or self.lacked_by(base.value):
                return None
            shared, top, profile = self.servers, self._top, self._profile_of(base.value)
            return effective_instance(host_defaults, base, instance, shared, tuning, top, profile)
        entry = self.document.agents.get(agent_id)
        return self.effective_entry(entry, host_defaults, tuning) if entry else None

    def effective_entry(
        self,
        entry: Entry[AgentDefinition],
        host_defaults: LlmConfiguration,
        tuning: Iterable[Layer] = (),
    ) -> EffectiveAgent | None:
        """An agent, in force or not, with all layers merged; None where its profile is missing."""
        if self.lacked_by(entry.value):
            return None
        profile = self._profile_of(entry.value)
        return effective(host_defaults, entry, self.servers, tuning, self._top, profile)

    def _profile_of(self, agent: AgentDefinition) -> ProfileInForce | None:
        return self.profile_in_force(agent.profile) if agent.profile else None

    def name_of(self, id: str) -> str:
        """The name of an agent or an instance, as people see it; '' where it is not there."""
        if instance := self.instance(id):
            return instance.title
        agent = self.agent(id)
        return agent.name if agent else ""

    def unhandled(self, handlers: Collection[str]) -> Iterator[Problem]:
        """Internal skills of agents that none of these handlers of the host can run."""
        cure = f"install its package, or use one of: {', '.join(sorted(handlers)) or 'none'}"
        for agent, entry in self.agents.items():
            place = entry.origins.get("skills", entry.place)
            for skill in (one for one in entry.value.skills if one.enabled):
                needed = skill.internal_handler
                if needed and needed not in handlers:
                    wants = f"skill '{skill.name}' of agent '{agent}' needs the internal skill"
                    message = f"{wants} '{needed}', which no installed package has"
                    yield Problem(place, message, cure)

    def unanswered(self, bots: Iterable[BotIdentity]) -> Iterator[Problem]:
        """Bots that have said their name, and in which no agent answers anywhere."""
        found = [(bot, self.resolve(bot, None, None)) for bot in bots if bot.username]
        yield from (self._unusable(bot, one.lost) for bot, one in found if one.lost)
        lost = [bot for bot, one in found if not (one.agent_id or one.lost)]
        if not lost:
            return
        bound = {
            one.bot for one in self.bindings if not one.is_of_bot and one.agent_id in self.runnable
        }
        if None in bound:
            return
        able = self.runnable
        first = next((id for id in self.agents if id in able), "")
        cure = f"send it /default {first}, or /bind {first} bot" if first else "add one: /addagent"
        if len(self.agents) > 1:
            cure += "; /agents lists the others"
        if wrong := self.document.errors:
            cure = f"correct {wrong[0].place}" + (f", or {cure}" if first else "")
        for bot in lost:
            if bound.isdisjoint(bot.keys):
                yield Problem(f"@{bot.username}", "no agent answers in this bot", cure)

    def _unusable(self, bot: BotIdentity, lost: LostProfile) -> Problem:
        """That the agent of a bot lacks its profile."""
        message, cure = unknown_name("profile", lost.profile, self.all_profiles.profiles)
        message = f"its agent '{lost.agent}' does not answer: {message}"
        return Problem(f"@{bot.username}", message, cure)

    def conflicts(self, bots: Iterable[BotIdentity]) -> Iterator[Problem]:
        """Bindings that mean one bot under two of its names, now that the bots are known."""
        places = self.document.bindings
        for first, hidden in self.bindings.conflicts(bots):
            message = f"it binds the same bot as {places[first.slot].place}, which stays in force"
            yield Problem(places[hidden.slot].place, message, "remove one of the two")

    def review(self, agent_id: str) -> list[Problem]:
        """What is valid but surprising in one agent or instance."""
        if instance := self.document.instances.get(agent_id):
            return [*self._odd_instance(instance)]
        if (entry := self.agents.get(agent_id)) is None:
            return []
        name = entry.value.profile
        odd = self._odd_profile(agent_id, entry, name) if name else ()
        return [*odd, *self.surprises(agent_id)]

    def surprises(self, agent_id: str) -> list[Problem]:
        """The same of one agent in force, without what is said of its profile."""
        entry = self.agents[agent_id]
        own, at = entry.value, entry.origins
        issues = (*idle_patterns(own, self.servers), *unmet_conditions(own), *hidden_texts(own))
        return [
            Problem(at.get(str(one.path[0]), entry.place), one.message, one.cure, one.level)
            for one in issues
        ]


def spellings(name: str) -> tuple[str, ...]:
    """A name as it may be written, which comes first: hyphens and underscores are alike."""
    return name, name.replace("_", "-"), name.replace("-", "_")


def unknown_tools(entry: Entry[AgentInstance], known: Container[str]) -> Iterator[Problem]:
    """Names under `tools` of an instance that no tool, server or skill has; not its patterns.

    Those of the package are not told: nobody here wrote them.
    """
    for name in () if entry.document == PACKAGED else entry.value.tools or ():
        as_called = any(tool in known for _, tool in halves(name))
        if name not in known and not as_called and not _PATTERN.search(name):
            message = f"instance '{entry.value.id}': no tool is named '{name}'"
            cure = "give its agent a server or skill with it, or remove it"
            place = entry.origins.get("tools", entry.place)
            yield Problem(place, message, cure, level="warning")


_PATTERN = re.compile(r"[:*?]")


@dataclass(frozen=True, slots=True)
class _Runnable:
    """The ids of the agents, and of the instances whose type is known, that have their profile."""

    snapshot: Snapshot

    def __contains__(self, id: object) -> bool:
        snapshot = self.snapshot
        if not isinstance(id, str) or snapshot.lost_profile(id) is not None:
            return False
        if id in snapshot.document.instances:
            return snapshot.unknown_type(id) is None
        return id in snapshot.agents


_BUILT_IN: Entries[AgentDefinition] = {
    id: Entry(agent, BUILT_IN_TYPE, BUILT_IN_TYPE, revision=revision_of(agent.to_text()))
    for id, agent in BUILT_IN.items()
}


def inactive(document: Document, known: Container[str]) -> Iterator[Problem]:
    """Bindings, and the default, that name agents which do not exist."""
    so = "so this binding is inactive"
    named = [(one.place, one.value.agent_id, so) for one in document.bindings.values()]
    if default := document.default_agent_id:
        named.append((default.place, default.value, "so there is no default"))
    for place, agent_id, so in named:
        if agent_id not in known:
            message = f"agent '{agent_id}' does not exist, {so}"
            yield Problem(place, message, "create the agent, or name another", level="warning")
