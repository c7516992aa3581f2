"""An MCP server as an agent uses it: its definition with secrets filled in, and its limits."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, urlsplit

import orjson
import structlog

from bot.errors import ConfigError
from bot.mcp.tool_spec import Tool
from bot.ops.redaction import Secrets
from registry.definition import ClientCredentials, NamedServer
from registry.definition import McpServer as ServerDefinition
from registry.errors import ReferenceMissing
from registry.skill import ServerCache

log = structlog.get_logger("mcp")

_REACH = {"command", "args", "env", "cwd", "url", "auth", "allow_credentials"}


@dataclass(frozen=True)
class ServerSpec:
    """One MCP server under the name that an agent gives it.

    `internal` says that its URL may lead to an internal host, since the operator wrote or listed
    it, `internal_auth` the same of the address of its tokens; all other addresses are judged before
    we connect, by the operator's proxy where `proxied` says so. `deadline` of a call is in seconds,
    `result_cap` in characters of text. Nothing from the server is shown with one of the `secrets`
    in it.
    """

    name: str
    definition: ServerDefinition = field(repr=False, hash=False)
    internal: bool = False
    internal_auth: bool = False
    proxied: bool = False
    deadline: float = 30.0
    max_calls: int = 8
    result_cap: int = 100_000
    secrets: Secrets = field(default_factory=Secrets, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.definition.url is not None and not _is_reachable(self.definition.url):
            raise ConfigError(
                f"mcpServers.{self.name}.url: write http://host/path or https://host/path, "
                "with no user in it"
            )

    @cached_property
    def share_key(self) -> str:
        """Equal for servers that can share one connection."""
        one = self.definition
        headers = {name.lower(): value for name, value in one.headers.items()}
        reach = one.model_dump(mode="json", include=_REACH) | {"headers": headers}
        how = [one.transport, self.internal, self.internal_auth]
        return hashlib.sha256(json.dumps([reach, how], sort_keys=True).encode()).hexdigest()

    @property
    def url(self) -> str:
        """Its URL, empty for a command."""
        return self.definition.url or ""

    def is_repeatable(self, name: str, tool: Tool | None) -> bool:
        """Whether an admin declared a tool safe to run twice, or trusts the server that says so."""
        is_hinted = tool is not None and (tool.read_only or tool.idempotent)
        return (is_hinted and self.definition.trust_annotations) or any(
            fnmatchcase(name, glob) for glob in self.definition.repeatable
        )

    def cache_rule(self, tool: str) -> ServerCache | None:
        """How long this tool's results may be used again, where the operator allows it."""
        rule = self.definition.cache
        return rule if rule and any(fnmatchcase(tool, glob) for glob in rule.tools) else None

    def fingerprint(self, tool_digest: str) -> str:
        """A digest of where a tool runs and what it is; stored with approvals."""
        one = self.definition
        place = [one.command, one.args, one.cwd, one.url, tool_digest]
        return hashlib.sha256(orjson.dumps(place)).hexdigest()[:24]

    def redact(self, text: str) -> str:
        """The text without our URL and without secrets, not even the beginning of one at its end.

        Cut it afterwards: two halves of a secret are not found.
        """
        text = self.secrets.redact(text, cut=True)
        if self.url:
            text = text.replace(self.url, urlsplit(self.url).hostname or "its URL")
        return text


def _is_reachable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False
    return is_web and "@" not in parts.netloc


def program_of(server: ServerDefinition, path: str | None) -> str:
    """The program of a server, looked for in `path`; raises FileNotFoundError with the fix."""
    command, cwd = server.command or "", server.cwd
    if cwd is not None and not Path(cwd).is_dir():
        message = f"its working directory {cwd!r} does not exist"
        raise FileNotFoundError(f"{message}; create it, or fix 'cwd'")
    if "/" in command:
        found = command if Path(cwd or ".", command).exists() else None
    else:
        found = shutil.which(command, path=path)
    if found is None:
        raise FileNotFoundError(f"there is no program {command!r}; install it, or give its path")
    return found


def basic_credentials(auth: ClientCredentials) -> str:
    """An OAuth client's id and secret as basic authentication takes them."""
    return f"{quote(auth.client_id, safe='')}:{quote(auth.client_secret, safe='')}"


def prepare_server(
    named: NamedServer,
    expand: Callable[[str], str],
    is_listed: Callable[[str | None], bool],
    secrets: Secrets,
    *,
    proxied: bool = False,
    seconds: float = 30.0,
    result_cap: int = 100_000,
) -> ServerSpec | None:
    """The server with its references expanded; None, with a line in the log, where one is missing.

    `seconds` is how long a call may take where the server does not say. `expand` replaces the
    `${NAME}` references of a text, or raises ReferenceMissing; `is_listed` says whether the
    operator lets all agents reach the host of a URL, internal or not.
    """
    one, auth = named.server, named.server.auth
    try:
        if auth is not None:
            expanded = {
                name: expand(getattr(auth, name)) for name in ("client_id", "client_secret")
            }
            auth = auth.model_copy(update=expanded)
            secrets.add(basic_credentials(auth))
        filled = {
            "url": expand(one.url) if one.url else None,
            "type": one.transport,
            "env": {name: expand(value) for name, value in one.env.items()},
            "headers": {name: expand(value) for name, value in one.headers.items()},
            "auth": auth,
        }
        definition = one.model_copy(update=filled)
        tokens_from = (auth.token_url or auth.issuer) if auth else None
        return ServerSpec(
            named.name,
            definition,
            internal=named.operator or is_listed(definition.url),
            internal_auth=auth is not None and (named.operator or is_listed(tokens_from)),
            proxied=proxied,
            deadline=one.timeout_seconds or seconds,
            result_cap=result_cap,
            secrets=secrets,
        )
    except (ReferenceMissing, ConfigError) as error:
        log.error("server.left_out", server=named.name, why=str(error))
        return None
