"""Agents and MCP servers as data: their models, and which servers an agent has."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from registry import conditions
from registry.agent_limits import CostConfig, SafetyConfig
from registry.errors import InvalidValue, Level
from registry.fields import (
    Few,
    Many,
    Path,
    RegistryModel,
    ValidationIssue,
    must,
    nearest,
    valid_slug,
)
from registry.models import EFFORTS
from registry.policy import NAME, NAME_CURE, Patterns, ToolPolicy
from registry.secrets import REFERENCE, shown
from registry.skill import HEADER_NAME, ServerCache, Skills
from registry.urls import web_parts

_REFER = "put it into an environment variable, refer to it as ${NAME}, and replace the secret"
_SCOPE = re.compile(r"[!#-\[\]-~]*\Z")
_ONE_SCOPE = "write each scope as a separate text, without spaces"
_LINE = re.compile(r"[^\x00-\x1f\x7f]*\Z")
_TEXT = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f]*\Z")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

_secret = must(REFERENCE.fullmatch, "is written in plain text", _REFER)
_scope = must(_SCOPE.match, "is not a valid scope", _ONE_SCOPE)
_one_line = must(_LINE.match, "has control characters", "write it on one plain line")
_plain_text = must(_TEXT.match, "has control characters", "keep only line breaks and tabs")
_variable = must(_ENV_NAME.match, "{} is not a valid variable name", "use letters, digits and _")
_header = must(HEADER_NAME.match, "{} is not a valid header name", "use letters, digits and -")
_profile_name = must(NAME.match, "{} is not a valid name of a profile", NAME_CURE)
_server_name = must(NAME.match, "{} is not a valid server name", NAME_CURE)


def _id(text: str) -> str:
    if not text.isprintable() or " " in text:
        raise InvalidValue("has spaces or control characters", "write the client's id, or ${NAME}")
    return text


def _oauth_url(text: str) -> str:
    parts = web_parts(text)
    if "@" in parts.netloc or "$" in text or parts.fragment:
        raise InvalidValue("holds a secret, a reference or a fragment", "write the plain address")
    return text


_Secret = Annotated[str, StringConstraints(max_length=200), AfterValidator(_secret)]
_Url = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_oauth_url)]
_Scope = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_scope)]


class ClientCredentials(RegistryModel):
    """OAuth client credentials of a server: the client, where it gets tokens, and their scopes.

    Tokens come from `token_url`, or from where the metadata of `issuer` says. `method` says how
    the secret is sent there: in a header of its own, or in the body.
    """

    type: Literal["clientCredentials"] = "clientCredentials"
    client_id: Annotated[str, StringConstraints(min_length=1, max_length=512), AfterValidator(_id)]
    client_secret: _Secret = Field(repr=False)
    token_url: _Url | None = None
    issuer: _Url | None = None
    scopes: Few[_Scope] = ()
    method: Literal["basic", "post"] = "basic"

    @model_validator(mode="after")
    def _one_place(self) -> ClientCredentials:
        if (self.token_url is None) == (self.issuer is None):
            cure = "give the address for tokens, or the issuer whose metadata names it"
            raise InvalidValue("tokens come from either 'tokenUrl' or 'issuer'", cure)
        return self


ALL_EFFORTS = ("none", "minimal", *EFFORTS)


def _url(text: str) -> str:
    if REFERENCE.match(text):
        return text
    parts = web_parts(_one_line(text), "write http://host:port/path", printable=False)
    if "@" in parts.netloc:
        raise InvalidValue("has a user or password in it", "put it into headers as ${NAME}")
    return text


def _endpoint(text: str) -> str:
    if "$" in urlsplit(_url(text)).netloc or REFERENCE.match(text):
        cure = 'give it one: "mcpServers": {"name": {"url": …}}'
        raise InvalidValue("takes its host from a reference, so it has no name", cure)
    return text


def effort_rank(text: str) -> int:
    """How much an effort is, compared with others."""
    return ALL_EFFORTS.index(text)


def _effort(text: str) -> str:
    if text.lower() not in ALL_EFFORTS:
        cure = f"write {', '.join(ALL_EFFORTS[:-1])} or {ALL_EFFORTS[-1]}"
        raise InvalidValue("is not a valid effort", cure)
    return text.lower()


Slug = Annotated[str, AfterValidator(valid_slug)]
Effort = Annotated[str, AfterValidator(_effort)]
ProfileName = Annotated[str, AfterValidator(_profile_name)]
ServerName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_one_line)]
_Header = Annotated[str, AfterValidator(_one_line)]
PlainText = Annotated[str, StringConstraints(max_length=100_000), AfterValidator(_plain_text)]
_Endpoint = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_endpoint)]


class LlmConfiguration(RegistryModel):
    """Model settings; what is None is left to a less specific layer. maxTokens counts tokens.

    `fallback_model` answers where `model` stays busy or breaks off.
    """

    model: Annotated[Line, StringConstraints(max_length=200)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    reasoning_effort: Effort | None = None
    fallback_model: Annotated[Line, StringConstraints(max_length=200)] | None = None


class McpServer(RegistryModel):
    """One MCP server: a `command` to start, or a `url` to reach; secrets only as `${NAME}`.

    `repeatable` and `allow_credentials` are globs of its tools: those that may run twice, and those
    that may ask the model for a credential. `timeout_seconds` is how long one call may take.
    """

    command: Line | None = None
    args: Many[PlainText] = ()
    env: Mapping[str, PlainText] = Field(default_factory=dict, repr=False)
    cwd: Line | None = None
    url: Annotated[str, StringConstraints(max_length=2048), AfterValidator(_url)] | None = None
    headers: Mapping[str, _Header] = Field(default_factory=dict, repr=False)
    auth: ClientCredentials | None = None
    type: Literal["stdio", "http", "streamable-http", "sse"] | None = None
    repeatable: Many[Line] = ()
    trust_annotations: bool = False
    allow_credentials: Many[Line] = ()
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    cache: ServerCache | None = None

    @property
    def transport(self) -> Literal["stdio", "http", "sse"]:
        """How to talk to it: as `type` says; otherwise a URL that ends in /sse means SSE."""
        if self.url is None:
            return "stdio"
        if self.type is not None:
            return "sse" if self.type == "sse" else "http"
        return "sse" if urlsplit(self.url).path.rstrip("/").endswith("/sse") else "http"

    @model_validator(mode="after")
    def _one_kind(self) -> McpServer:
        if (self.command is None) == (self.url is None):
            cure = "give exactly one of the two"
            raise InvalidValue("a server has either 'command' or 'url'", cure)
        if self.url is not None and (self.args or self.env or self.cwd):
            raise InvalidValue("'args', 'env' and 'cwd' belong to a 'command'", "remove them")
        if self.command is not None and (self.headers or self.auth):
            raise InvalidValue("'headers' and 'auth' belong to a 'url'", "remove them")
        if self.type is not None and (self.type == "stdio") != (self.url is None):
            cure = "remove it, or write stdio for a 'command', http or sse for a 'url'"
            raise InvalidValue("'type' does not match 'command' or 'url'", cure)
        return self

    @model_validator(mode="after")
    def _names(self) -> McpServer:
        for name in self.env:
            _variable(name)
        headers = {_header(name).lower() for name in self.headers}
        if len(headers) != len(self.headers):
            raise InvalidValue("a header is given twice", "keep one of the two")
        if self.auth and "authorization" in headers:
            raise InvalidValue("'auth' cannot be used with the header Authorization", "keep one")
        return self


def check_server_names(names: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same servers; raises InvalidValue for one that is not valid, or two that look alike."""
    if len({_server_name(name).lower() for name in names}) != len(names):
        raise InvalidValue("two server names differ only in letter case", "rename one of them")
    return names


class PresetRules(RegistryModel):
    """What people's presets of an agent may do.

    `models` are the only ones that they may name, of those that the host allows; () for all.
    """

    prompt_override: bool = True
    models: Few[Annotated[Line, StringConstraints(max_length=200)]] = ()


def _kind(value: Any) -> str | None:
    if isinstance(value, list | tuple):
        return "names"
    return "servers" if isinstance(value, Mapping) else None


_Servers = Annotated[Mapping[str, McpServer], AfterValidator(check_server_names)]
_Named = Annotated[Many[ServerName], Tag("names")]
_McpServers = Annotated[_Named | Annotated[_Servers, Tag("servers")], Discriminator(_kind)]


InternalToolset = Literal["host-admin"]
"""A set of the host's own tools, by which an agent changes agents and bindings."""
INTERNAL_TOOLS: Mapping[InternalToolset, tuple[str, ...]] = {
    "host-admin": (
        *("list_agents", "read_agent", "list_tools", "list_models"),
        *("draft_agent", "compare_draft", "update_draft", "publish_draft", "discard_draft"),
        *("bind_agent", "unbind"),
    ),
}
"""The names of these tools, which policies know as `skill:<name>`."""


class AgentDefinition(RegistryModel):
    """An agent as data.

    `mcp_servers` names top-level servers, or is an object for this agent alone;
    `mcp_server_endpoints` come on top, each named by its host. Where neither is written the agent
    has every top-level server. `link_previews` lets Telegram fetch the first link of an answer.
    `template` offers it to every account as a type of instances, and to people for presets, for
    which `presets` has rules. `internal_toolsets` are tools of the host itself: only the operator
    gives them. `profile` names how it behaves: what it says itself wins over that.
    """

    id: Slug
    name: Annotated[Line, StringConstraints(max_length=128)]
    description: PlainText | None = None
    profile: ProfileName | None = None
    mcp_server_endpoints: Few[_Endpoint] = ()
    mcp_servers: _McpServers | None = None
    whitelist_patterns: Patterns = ()
    tool_policy: ToolPolicy | None = None
    skills: Skills = ()
    internal_toolsets: Few[InternalToolset] = ()
    safety_config: SafetyConfig | None = None
    cost_config: CostConfig | None = None
    custom_instructions: PlainText | None = None
    llm_overrides: LlmConfiguration | None = None
    link_previews: bool = False
    template: bool = False
    presets: PresetRules | None = None

    @property
    def has_every_server(self) -> bool:
        """Whether it has all top-level servers, since it names none; `[]` means no server."""
        return self.mcp_servers is None and "mcp_server_endpoints" not in self.model_fields_set

    def to_json(self) -> dict[str, Any]:
        """The definition in the spec's names, without what is only a default."""
        value = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if self.mcp_servers is None and not self.has_every_server:
            value.setdefault("mcpServerEndpoints", [])
        return {name: value[name] for name in _ORDER if name in value}

    def to_text(self) -> str:
        """The definition as one line of JSON, the same for equal definitions."""
        return json.dumps(self.to_json(), ensure_ascii=False)


_ORDER = [field.alias or name for name, field in AgentDefinition.model_fields.items()]


@dataclass(frozen=True, slots=True)
class NamedServer:
    """A server under its name; `operator` says whether the file or the environment wrote it."""

    name: str
    server: McpServer
    operator: bool = True


Servers = Mapping[str, McpServer]
"""Top-level servers by name."""


def _endpoints(agent: AgentDefinition) -> Iterator[tuple[str, str]]:
    """The agent's endpoints, each under its host, or `host-port` where some share a host."""
    hosts = [_host_name(url) for url in agent.mcp_server_endpoints]
    for host, url in zip(hosts, agent.mcp_server_endpoints, strict=True):
        parts, is_shared = urlsplit(url), hosts.count(host) > 1
        yield f"{host}-{parts.port or _PORTS.get(parts.scheme, 0)}" if is_shared else host, url


def servers_of(
    agent: AgentDefinition, shared: Servers, operator: bool = True
) -> tuple[NamedServer, ...]:
    """The agent's servers, each name once; names that `shared` does not have are left out."""
    own = agent.mcp_servers
    if isinstance(own, Mapping):
        found = {name: NamedServer(name, server, operator) for name, server in own.items()}
    else:
        named = shared if agent.has_every_server else own or ()
        wanted = [name for name in named if name in shared]
        found = {name: NamedServer(name, shared[name]) for name in wanted}
    for name, url in _endpoints(agent):
        found.setdefault(name, NamedServer(name, McpServer(url=url), operator))
    return tuple(found.values())


def name_clashes(agent: AgentDefinition) -> Iterator[ValidationIssue]:
    """Issues for servers of an agent that would have the same name."""
    own = agent.mcp_servers
    taken = {name.lower() for name in own or ()}
    for index, (name, _) in enumerate(_endpoints(agent)):
        if name.lower() in taken:
            message = f"its name '{name}' is taken by another server of this agent"
            cure = "remove the duplicate, or name it in mcpServers"
            yield ValidationIssue(("mcpServerEndpoints", index), message, cure)
        taken.add(name.lower())


def missing_names(agent: AgentDefinition, shared: Servers) -> Iterator[ValidationIssue]:
    """Issues for top-level servers that the agent names and that are not defined."""
    own = agent.mcp_servers
    for index, name in enumerate(own if isinstance(own, tuple) else ()):
        if name not in shared:
            message = f"no server '{name[:64]}' is defined at the top level"
            cure = f"define it under mcpServers; known: {', '.join(sorted(shared)) or 'none'}"
            yield ValidationIssue(("mcpServers", index), message, cure)


def patterns_of(agent: AgentDefinition) -> Iterator[tuple[Path, str]]:
    """Every pattern of tools that an agent's own text has, with its path."""
    policy = agent.tool_policy or ToolPolicy()
    safety = agent.safety_config or SafetyConfig()
    lists: dict[Path, Patterns] = {
        ("whitelistPatterns",): agent.whitelist_patterns,
        ("toolPolicy", "allowedIndividualTools"): policy.allowed_individual_tools or (),
        ("toolPolicy", "disabledTools"): policy.disabled_tools,
        ("toolPolicy", "requireConfirmation"): policy.require_confirmation,
        ("safetyConfig", "requireToolConfirmation"): safety.require_tool_confirmation,
        **{("toolPolicy", "toolsets", name): one for name, one in policy.toolsets.items()},
        **{
            ("toolPolicy", "conditions", index, "tools"): one.tools
            for index, one in enumerate(policy.conditions)
        },
    }
    for path, patterns in lists.items():
        yield from (((*path, index), pattern) for index, pattern in enumerate(patterns))


def allows(path: Path) -> bool:
    """Whether the patterns at a path allow tools, so that their letter case counts."""
    return path[0] == "whitelistPatterns" or path[1] in ("allowedIndividualTools", "toolsets")


def idle_patterns(agent: AgentDefinition, shared: Servers) -> Iterator[ValidationIssue]:
    """Patterns that can match no tool: they name no server or skill of the agent."""
    names = tool_owners(agent, shared)
    for path, pattern in patterns_of(agent):
        if found := idle_pattern(pattern, *names[:2], exact=allows(path), split=names[2]):
            what, cure = found
            message = f"'{pattern}' matches no {what} of this agent"
            yield ValidationIssue(path, message, cure, level="warning")


ToolOwners = tuple[tuple[str, ...], tuple[str, ...], frozenset[str]]
"""The names of an agent's servers and of its skills, and the hosts of several servers."""


def tool_owners(agent: AgentDefinition, shared: Servers) -> ToolOwners:
    """What the tools of an agent are named by."""
    names = [server.name for server in servers_of(agent, shared)]
    split = set(map(_host_name, agent.mcp_server_endpoints)) - set(names)
    skills = [skill.name for skill in agent.skills]
    skills += [name for one in agent.internal_toolsets for name in INTERNAL_TOOLS[one]]
    return tuple(names), tuple(skills), frozenset(split)


def unmet_conditions(agent: AgentDefinition) -> Iterator[ValidationIssue]:
    """Roles that nobody has and features that are not on, in conditions on tools."""
    policy = agent.tool_policy or ToolPolicy()
    for index, one in enumerate(policy.conditions):
        needed = [("features", name) for name in one.features if name not in policy.features]
        needed += conditions.unmet(one.when, policy.features) if one.when else ()
        for kind, name in dict.fromkeys(needed):
            known = conditions.ROLES if kind == "role" else policy.features
            near = nearest(name, known, 0.6)
            message = f"a condition names {shown(name)}, which is no role"
            cure = f"known: {', '.join(conditions.ROLES)}"
            if kind == "features":
                message = f"a condition needs the feature {shown(name)}, which is not on"
                cure = "add it to 'features' of toolPolicy, if its tools are to be there"
            cure = f"did you mean '{near}'?" if near else cure
            level: Level = "warning" if near or kind == "role" else "note"
            yield ValidationIssue(("toolPolicy", "conditions", index), message, cure, level)


def idle_pattern(
    pattern: str,
    servers: Collection[str],
    skills: Collection[str],
    *,
    exact: bool,
    split: Collection[str] = (),
) -> tuple[str, str] | None:
    """Which of these a pattern should name and does not (server, skill, tool), and how to fix it.

    Letter case counts where it is `exact`: in lists that allow. `split` are the hosts of several
    servers, each of which is named by its host and its port.
    """
    kind, has_kind, rest = pattern.partition(":")
    low = kind.lower()
    if low in ("mcp", "skill"):
        what, names = ("server", servers) if low == "mcp" else ("skill", skills)
        wanted, colon, tool = rest.partition(":") if low == "mcp" else (rest, "", "")
        if _any_fits(names, wanted, exact=exact) and (kind == low or not exact):
            return None
        alike = [name for name in names if wanted in split and name.startswith(f"{wanted}-")]
        near = nearest(wanted, names, 0.5)
        alike = alike or ([near] if near else [*names] if len(names) == 1 else [])
        meant = " or ".join(f"{low}:{name}{colon}{tool}" for name in alike)
        known = f"its {what}s are {', '.join(names)}" if names else f"give the agent a {what}"
        return what, f"did you mean {meant}?" if meant else known
    if not has_kind or _any_fits(("mcp", "skill", "host"), kind, exact=exact):
        return None
    is_server = _any_fits(servers, kind, exact=False)
    return "tool", f"write mcp:{pattern}" if is_server else _KINDS


_KINDS = "write mcp:<server>:<tool> or skill:<name>"


def _any_fits(names: Iterable[str], pattern: str, *, exact: bool) -> bool:
    if exact:
        return any(fnmatchcase(name, pattern) for name in names)
    return any(fnmatchcase(name.lower(), pattern.lower()) for name in names)


_PORTS = {"http": 80, "https": 443}


def _host_name(url: str) -> str:
    """The host of an address, as a server may be named."""
    host = urlsplit(url).hostname or ""
    return re.sub(r"[^a-z0-9._-]", "-", host.lower()).lstrip(".-_") or "host"
