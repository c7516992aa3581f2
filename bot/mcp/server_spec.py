"""What an MCP server is to us: how to reach it, how far we trust it, and its limits."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from bot.errors import ConfigError
from bot.ops.redaction import Secrets
from registry.skill import ServerCache

Transport = Literal["stdio", "sse", "http"]

_NAME_LIMIT = 64
_KNOWN_KEYS = frozenset({"command", "args", "env", "cwd", "url", "headers", "type", "transport"})


@dataclass(frozen=True, slots=True)
class OAuthCredentials:
    """How the host shows itself to a server: as an OAuth client, by its own id and secret.

    Tokens come from `token_url`, or from where the metadata of `issuer` say. `internal` says that
    this address may be internal, `proxied` that elsewhere the operator's proxy judges.
    """

    client_id: str
    client_secret: str = field(repr=False)
    token_url: str | None = None
    issuer: str | None = None
    scopes: tuple[str, ...] = ()
    in_body: bool = False
    internal: bool = False
    proxied: bool = False

    @property
    def pair(self) -> str:
        """Id and secret as basic authentication takes them."""
        return f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One MCP server as an agent names it: a command to run, or a URL.

    `internal` says that its URL may lead to an internal host, since the operator wrote or listed
    it; else each address is judged before we connect, by the operator's proxy where `proxied` says
    so. `repeatable` are globs of tool names (matched
    with case) that an admin declared safe to run twice; `trust_annotations` lets the server's own
    hints say the same. `deadline` is in seconds, `result_cap` in characters of text. Nothing that
    the server says shows one of the `secrets` of its host; where none are given, nothing that is
    logged shows the values of its own environment and headers.
    """

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    cwd: str | None = None
    url: str | None = field(default=None, repr=False)
    over: Literal["sse", "http"] | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    repeatable: tuple[str, ...] = ()
    trust_annotations: bool = False
    cache: ServerCache | None = None
    deadline: float = 60.0
    max_calls: int = 8
    result_cap: int = 100_000
    internal: bool = False
    auth: OAuthCredentials | None = field(default=None, repr=False)
    proxied: bool = False
    secrets: Secrets | None = field(default=None, repr=False, compare=False)
    share_key: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self)
        object.__setattr__(self, "share_key", _digest(self))

    @property
    def transport(self) -> Transport:
        """How the server is spoken to: as `over` says, else a URL that ends in /sse means SSE."""
        if self.url is None:
            return "stdio"
        if self.over is not None:
            return self.over
        return "sse" if urlsplit(self.url).path.rstrip("/").endswith("/sse") else "http"

    def is_repeatable(self, tool: str) -> bool:
        """Whether an admin declared this tool safe to run twice."""
        return any(fnmatchcase(tool, glob) for glob in self.repeatable)

    def cached(self, tool: str) -> ServerCache | None:
        """How long this tool's results may be used again, where the operator says that they may."""
        rule = self.cache
        return rule if rule and any(fnmatchcase(tool, glob) for glob in rule.tools) else None

    def redact(self, text: str) -> str:
        """The text without secrets, not even the beginning of one at its end, and without our URL.

        Cut it afterwards: two halves of a secret are not found.
        """
        own = [self.auth.client_secret] if self.auth else []
        known = self.secrets or Secrets([*self.env.values(), *self.headers.values(), *own])
        text = known.redact(text, cut=True)
        if self.url is not None:
            text = text.replace(self.url, urlsplit(self.url).hostname or "its URL")
        return text

    def without_secrets(self, text: str, *, cut: bool = False) -> str:
        """What the server said, as a model may read it; perhaps its end was `cut` off."""
        return self.secrets.redact(text, cut=cut) if self.secrets else text

    def renewed(self, token: str) -> None:
        """The server is shown another token from now on."""
        if self.secrets is not None:
            self.secrets.renew(self.share_key, token)

    @classmethod
    def from_config(cls, name: str, config: Mapping[str, Any], **limits: Any) -> ServerSpec:
        """The server of one entry of `mcpServers`; `limits` are this class's other fields."""
        place = f"mcpServers.{name}"
        if not isinstance(config, Mapping):
            raise ConfigError(f"{place}: write an object with `command` or `url`")
        if unknown := sorted(set(config) - _KNOWN_KEYS):
            known = ", ".join(sorted(_KNOWN_KEYS))
            raise ConfigError(f"{place}.{unknown[0]}: unknown; known are {known}")
        return cls(
            name=name,
            command=_text(place, config, "command"),
            args=tuple(_texts(place, config, "args")),
            env=_pairs(place, config, "env"),
            cwd=_text(place, config, "cwd"),
            url=_text(place, config, "url"),
            headers=_pairs(place, config, "headers"),
            **limits,
        )


def specs_from(mcp_servers: Mapping[str, Any]) -> list[ServerSpec]:
    """The servers of an `mcpServers` object, in its order; raises ConfigError with the place."""
    return [ServerSpec.from_config(name, config) for name, config in mcp_servers.items()]


def _check(spec: ServerSpec) -> None:
    place = f"mcpServers.{spec.name[:_NAME_LIMIT]!r}"
    if not spec.name or len(spec.name) > _NAME_LIMIT or not _plain(spec.name):
        raise ConfigError(
            f"{place}: name it with 1 to {_NAME_LIMIT} printable characters, no colon"
        )
    if (spec.command is None) == (spec.url is None):
        raise ConfigError(f"{place}: give either `command` or `url`")
    if spec.command is not None:
        _check_command(place, spec)
    else:
        _check_url(place, spec)
    if spec.deadline <= 0 or spec.max_calls < 1 or spec.result_cap < 1:
        raise ConfigError(f"{place}: deadline, max_calls and result_cap must be above 0")


def _plain(name: str) -> bool:
    return ":" not in name and all(unicodedata.category(c)[0] not in "CZ" or c == " " for c in name)


def _check_command(place: str, spec: ServerSpec) -> None:
    if not spec.command:
        raise ConfigError(f"{place}.command: it is empty; name a program")
    if spec.headers:
        raise ConfigError(f"{place}.headers: only a server with `url` takes headers")
    if any("\0" in part for part in (spec.command, *spec.args, *spec.env, *spec.env.values())):
        raise ConfigError(f"{place}: a NUL character cannot be part of a command")


def _check_url(place: str, spec: ServerSpec) -> None:
    try:
        parts = urlsplit(spec.url or "")
        reachable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        reachable = reachable and "@" not in parts.netloc
    except ValueError:
        reachable = False
    if not reachable:
        raise ConfigError(
            f"{place}.url: write http://host/path or https://host/path, with no user in it"
        )
    if spec.args or spec.env or spec.cwd:
        raise ConfigError(f"{place}: args, env and cwd belong to a server with `command`")


def _digest(spec: ServerSpec) -> str:
    reach = [
        spec.command,
        spec.args,
        sorted(spec.env.items()),
        spec.cwd,
        spec.url,
        spec.transport,
        sorted((name.lower(), value) for name, value in spec.headers.items()),
        spec.internal,
        astuple(spec.auth) if spec.auth else None,
    ]
    return hashlib.sha256(json.dumps(reach).encode()).hexdigest()


def _text(place: str, config: Mapping[str, Any], key: str) -> str | None:
    value = config.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{place}.{key}: write a string")
    return value


def _texts(place: str, config: Mapping[str, Any], key: str) -> list[str]:
    value = config.get(key) or []
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{place}.{key}: write a list of strings")
    return list(value)


def _pairs(place: str, config: Mapping[str, Any], key: str) -> dict[str, str]:
    value = config.get(key) or {}
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        raise ConfigError(f"{place}.{key}: write an object whose values are strings")
    return dict(value)
