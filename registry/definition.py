"""What an agent is: its definition, its model settings, its MCP servers (the spec's JSON names)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from registry.caching import ServerCache
from registry.credentials import ClientCredentials
from registry.fields import Frozen, Wrong
from registry.guardrails import CostConfig, SafetyConfig
from registry.keys import SLUG_RULE, is_slug, slug
from registry.pasted import shown
from registry.policy import Patterns, ToolPolicy
from registry.references import REFERENCE
from registry.skill import Skill, Skills

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_SERVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_EFFORTS = "none, minimal, low, medium, high, xhigh or max"


def _one_line(text: str) -> str:
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise Wrong("has control characters", "write it on one plain line")
    return text


def _plain_text(text: str) -> str:
    if any(ord(c) < 32 and c not in "\t\n\r" for c in text):
        raise Wrong("has control characters", "keep only line breaks and tabs")
    return text


def _slug(text: str) -> str:
    if is_slug(text):
        return text
    near = slug(text)
    cure = f"write '{near}'" if near and shown(text) != "(hidden)" else "choose another"
    raise Wrong(f"{shown(text)} is no id ({SLUG_RULE})", cure)


def _url(text: str) -> str:
    if REFERENCE.match(text):
        return text
    _one_line(text)
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        raise Wrong("is no address", "write http://host:port/path") from None
    if parts.scheme not in ("http", "https") or not host or " " in text:
        raise Wrong("is no http or https address", "write http://host:port/path")
    if "@" in parts.netloc:
        raise Wrong("has a user or password in it", "put it into headers as ${NAME}")
    return text


def _endpoint(text: str) -> str:
    if "$" in urlsplit(_url(text)).netloc or REFERENCE.match(text):
        raise Wrong(
            "takes its host from a reference, so it has no name",
            'give it one: "mcpServers": {"name": {"url": …}}',
        )
    return text


def _effort(text: str) -> str:
    if text.lower() not in _EFFORTS.replace(" or", ",").replace(",", "").split():
        raise Wrong(f"{shown(text)} is no effort", f"write {_EFFORTS}")
    return text.lower()


Slug = Annotated[str, AfterValidator(_slug)]
ServerName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_Line = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_one_line)]
_Text = Annotated[str, StringConstraints(max_length=100_000), AfterValidator(_plain_text)]
_Endpoint = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_endpoint)]
_Lines = Annotated[tuple[_Line, ...], Field(strict=False, max_length=256)]


_Nested = dict[str | int, type[Frozen]]


class LlmConfiguration(Frozen):
    """Model settings; what is None is left to a less specific layer. maxTokens counts tokens.

    `fallback_model` answers where `model` stays busy or breaks off.
    """

    model: Annotated[_Line, StringConstraints(max_length=200)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    reasoning_effort: Annotated[str, AfterValidator(_effort)] | None = None
    fallback_model: Annotated[_Line, StringConstraints(max_length=200)] | None = None


class McpServer(Frozen):
    """One MCP server: a `command` to start, or a `url` to reach; secrets only as `${NAME}`."""

    command: _Line | None = None
    args: Annotated[tuple[_Text, ...], Field(strict=False, max_length=256)] = ()
    env: Mapping[str, _Text] = Field(default_factory=dict)
    cwd: _Line | None = None
    url: Annotated[str, StringConstraints(max_length=2048), AfterValidator(_url)] | None = None
    headers: Mapping[str, Annotated[str, AfterValidator(_one_line)]] = Field(default_factory=dict)
    auth: ClientCredentials | None = None
    type: Literal["stdio", "http", "streamable-http", "sse"] | None = None
    repeatable: _Lines = ()
    trust_annotations: bool = False
    cache: ServerCache | None = None

    @property
    def transport(self) -> Literal["stdio", "http", "sse"]:
        """How to talk to it: as `type` says, else a URL that ends in /sse speaks SSE."""
        if self.url is None:
            return "stdio"
        if self.type is not None:
            return "sse" if self.type == "sse" else "http"
        return "sse" if urlsplit(self.url).path.rstrip("/").endswith("/sse") else "http"

    @model_validator(mode="after")
    def _one_kind(self) -> McpServer:
        if (self.command is None) == (self.url is None):
            raise Wrong("a server has either 'command' or 'url'", "give exactly one of the two")
        if self.url is not None and (self.args or self.env or self.cwd):
            raise Wrong("'args', 'env' and 'cwd' belong to a 'command'", "remove them")
        if self.command is not None and (self.headers or self.auth):
            raise Wrong("'headers' and 'auth' belong to a 'url'", "remove them")
        if self.type is not None and (self.type == "stdio") != (self.url is None):
            raise Wrong("'type' does not fit 'command' or 'url'", "correct or remove it")
        return self

    @model_validator(mode="after")
    def _names(self) -> McpServer:
        for name in self.env:
            if not _ENV_NAME.match(name):
                raise Wrong(f"{shown(name)} is no variable name", "use letters, digits and _")
        for name in self.headers:
            if not _HEADER_NAME.match(name):
                raise Wrong(f"{shown(name)} is no header name", "use letters, digits and -")
        if len({name.lower() for name in self.headers}) != len(self.headers):
            raise Wrong("a header is given twice", "keep one of the two")
        if self.auth and "authorization" in {name.lower() for name in self.headers}:
            raise Wrong("'auth' and the header Authorization exclude each other", "keep one")
        return self

    @classmethod
    def nested(cls) -> _Nested:
        """The models inside, by field name."""
        return {"auth": ClientCredentials, "cache": ServerCache}


def check_server_names(names: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same servers; raises `Wrong` for a name that is no name, or two that look alike."""
    for name in names:
        if not _SERVER_NAME.match(name):
            cure = "use 1 to 64 of letters, digits, dot, hyphen and underscore"
            raise Wrong(f"{shown(name)} is no server name", cure)
    if len({name.lower() for name in names}) != len(names):
        raise Wrong("two server names differ only in letter case", "rename one of them")
    return names


def _kind(value: Any) -> str | None:
    if isinstance(value, list | tuple):
        return "names"
    return "servers" if isinstance(value, Mapping) else None


_Names = Annotated[tuple[ServerName, ...], Field(strict=False, max_length=256)]
_Servers = Annotated[Mapping[str, McpServer], AfterValidator(check_server_names)]
_McpServers = Annotated[
    Annotated[_Names, Tag("names")] | Annotated[_Servers, Tag("servers")], Discriminator(_kind)
]


class AgentDefinition(Frozen):
    """An agent as data.

    `mcp_servers` names top-level servers, or is an object of the agent's own; None means every
    top-level server. `mcp_server_endpoints` come on top, each named by its host. `link_previews`
    lets Telegram fetch the first link of an answer.
    """

    id: Slug
    name: Annotated[_Line, StringConstraints(max_length=128)]
    description: _Text | None = None
    mcp_server_endpoints: Annotated[tuple[_Endpoint, ...], Field(strict=False, max_length=64)] = ()
    mcp_servers: _McpServers | None = None
    whitelist_patterns: Patterns = ()
    tool_policy: ToolPolicy | None = None
    skills: Skills = ()
    safety_config: SafetyConfig | None = None
    cost_config: CostConfig | None = None
    custom_instructions: _Text | None = None
    llm_overrides: LlmConfiguration | None = None
    link_previews: bool = False

    @model_validator(mode="after")
    def _endpoints_said(self) -> AgentDefinition:
        if "mcp_server_endpoints" not in self.model_fields_set and self.mcp_servers is None:
            raise Wrong("'mcpServerEndpoints' is missing", 'add "mcpServerEndpoints": []')
        return self

    @classmethod
    def nested(cls) -> dict[str | int, type[Frozen]]:
        """The models inside, by field name: whose fields an error message should suggest."""
        return {
            "llmOverrides": LlmConfiguration,
            "mcpServers": McpServer,
            "toolPolicy": ToolPolicy,
            "safetyConfig": SafetyConfig,
            "costConfig": CostConfig,
            "skills": Skill,
        }

    def to_json(self) -> dict[str, Any]:
        """The definition in the spec's names, without what is only a default."""
        value = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if self.mcp_servers is None:
            value.setdefault("mcpServerEndpoints", [])
        return {name: value[name] for name in _ORDER if name in value}

    def to_text(self) -> str:
        """The definition as one line of JSON, the same for equal definitions."""
        return json.dumps(self.to_json(), ensure_ascii=False)


_ORDER = [field.alias or name for name, field in AgentDefinition.model_fields.items()]
