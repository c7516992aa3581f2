"""What a document may not contain: secrets in clear, and what its writer has no right to name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from registry.definition import AgentDefinition, ClientCredentials, McpServer
from registry.fields import Path, ValidationIssue, dotted
from registry.secrets import detect_secret, malformed_reference, reference_names, secret_value
from registry.skill import Skill
from registry.urls import is_internal


@dataclass(frozen=True, slots=True)
class WriterPermissions:
    """What a document's writer may do: the operator everything, others only what is listed.

    `secrets` are the names that others may refer to, `internal_hosts` the hosts they may reach,
    `handlers` the internal skills they may use.
    """

    operator: bool = True
    secrets: frozenset[str] = field(default=frozenset())
    internal_hosts: frozenset[str] = field(default=frozenset())
    handlers: frozenset[str] = field(default=frozenset())


OPERATOR = WriterPermissions()
GUEST = WriterPermissions(operator=False)


def secrets_in(value: Any, path: Path = ()) -> Iterator[ValidationIssue]:
    """Secrets of a well-known shape anywhere in a JSON value, in names as well."""
    if isinstance(value, str):
        if what := detect_secret(value):
            yield _secret(path, what)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if what := detect_secret(str(name)):
                yield _secret(path, f"{what} as a name")
            yield from secrets_in(item, (*path, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from secrets_in(item, (*path, index))


def screen_agent(agent: AgentDefinition, authority: WriterPermissions) -> Iterator[ValidationIssue]:
    """What an agent's definition may not say, given who wrote it."""
    for index, url in enumerate(agent.mcp_server_endpoints):
        yield from _screen_url(url, ("mcpServerEndpoints", index), authority)
    for index, pattern in enumerate(agent.whitelist_patterns):
        yield from _no_reference(pattern, ("whitelistPatterns", index))
    if agent.llm_overrides is not None and agent.llm_overrides.model is not None:
        yield from _no_reference(agent.llm_overrides.model, ("llmOverrides", "model"))
    if isinstance(agent.mcp_servers, Mapping):
        for name, server in agent.mcp_servers.items():
            yield from screen_server(server, ("mcpServers", name), authority)
    for index, skill in enumerate(agent.skills):
        yield from _screen_skill(skill, ("skills", index), authority)
    for spelled, text in (("name", agent.name), ("customInstructions", agent.custom_instructions)):
        if text and reference_names(text):
            yield _unexpanded((spelled,), level_note=True)


def screen_server(
    server: McpServer, path: Path, authority: WriterPermissions
) -> Iterator[ValidationIssue]:
    """What a server may not say, given who wrote it."""
    if server.command is not None and not authority.operator:
        yield ValidationIssue(
            (*path, "command"),
            "a command may come only from the file or the environment",
            "give a url, or name a server that the operator has defined",
        )
    yield from _screen_pins(server, path, authority)
    for spelled, text in (("command", server.command), ("cwd", server.cwd)):
        if text is not None:
            yield from _no_reference(text, (*path, spelled))
    for index, argument in enumerate(server.args):
        yield from _no_reference(argument, (*path, "args", index))
    if server.url is not None:
        yield from _screen_url(server.url, (*path, "url"), authority)
    if server.auth is not None:
        yield from _screen_auth(server.auth, (*path, "auth"), authority)
    for spelled, pairs in (("env", server.env), ("headers", server.headers)):
        for name, text in pairs.items():
            yield from _screen_value(name, text, (*path, spelled, name), authority)


def _screen_pins(
    server: McpServer, path: Path, authority: WriterPermissions
) -> Iterator[ValidationIssue]:
    """What only the operator may promise of a server."""
    pins = (
        ("trustAnnotations", server.trust_annotations, "trust a server"),
        ("repeatable", server.repeatable, "pin repeatable tools"),
        ("cache", server.cache, "have results used again"),
    )
    for spelled, given, what in pins:
        if given and not authority.operator:
            cure = "leave it out, or have the operator define the server"
            yield ValidationIssue((*path, spelled), f"only the operator may {what}", cure)


def _screen_skill(
    skill: Skill, path: Path, authority: WriterPermissions
) -> Iterator[ValidationIssue]:
    if skill.webhook_url is not None:
        yield from _screen_url(skill.webhook_url, (*path, "webhookUrl"), authority)
    yield from _screen_trust(skill, path, authority)
    variable = skill.webhook_auth.variable if skill.webhook_auth else ""
    if variable and not authority.operator and variable not in authority.secrets:
        told = f"the variable {variable} may not be used by this document"
        cure = "list the name in AGENT_SECRETS, or use one that is listed"
        yield ValidationIssue((*path, "webhookAuth"), told, cure)


def _screen_auth(
    auth: ClientCredentials, path: Path, authority: WriterPermissions
) -> Iterator[ValidationIssue]:
    for spelled, text in (("clientId", auth.client_id), ("clientSecret", auth.client_secret)):
        yield from _screen_value("", text, (*path, spelled), authority)
    for spelled, url in (("tokenUrl", auth.token_url), ("issuer", auth.issuer)):
        if url is not None:
            yield from _screen_url(url, (*path, spelled), authority)


def _screen_trust(
    skill: Skill, path: Path, authority: WriterPermissions
) -> Iterator[ValidationIssue]:
    """What only the operator may promise, or let others use."""
    if authority.operator:
        return
    if skill.cache is not None:
        cure = "leave it out, or have the operator define the agent"
        yield ValidationIssue(
            (*path, "cache"), "only the operator may have results used again", cure
        )
    handler = skill.internal_handler
    if handler is not None and handler not in authority.handlers:
        told = f"the internal skill '{handler}' may not be used by this document"
        cure = "have the operator list it in AGENT_SKILLS, or use one that is listed"
        yield ValidationIssue((*path, "internalHandler"), told, cure)


def _screen_value(
    name: str, text: str, path: Path, authority: WriterPermissions
) -> Iterator[ValidationIssue]:
    if what := secret_value(name, text):
        yield _secret(path, what)
    if malformed_reference(text):
        yield ValidationIssue(
            path, f"'{dotted(path)}' has a '${{' that does not begin a reference", "write ${NAME}"
        )
    for reference in () if authority.operator else reference_names(text):
        if reference not in authority.secrets:
            yield ValidationIssue(
                path,
                f"${{{reference}}} may not be used by this document",
                "list the name in AGENT_SECRETS, or use one that is listed",
            )


def _screen_url(url: str, path: Path, authority: WriterPermissions) -> Iterator[ValidationIssue]:
    if malformed_reference(url):
        yield ValidationIssue(
            path, f"'{dotted(path)}' has a '${{' that does not begin a reference", "write ${NAME}"
        )
    if not authority.operator and reference_names(url):
        yield ValidationIssue(
            path, "an address may not hold a reference here", "write the plain address"
        )
        return
    if url.startswith("${"):
        return
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if what := secret_value(name, text):
            yield _secret(path, f"{what} in its query")
    if not authority.operator and is_internal(host) and host not in authority.internal_hosts:
        cure = "use a public address, or list the host in INTERNAL_HOSTS"
        yield ValidationIssue(path, f"'{dotted(path)}' leads to an internal host", cure)


def _no_reference(text: str, path: Path) -> Iterator[ValidationIssue]:
    if "${" in text:
        yield _unexpanded(path)


def _unexpanded(path: Path, level_note: bool = False) -> ValidationIssue:
    return ValidationIssue(
        path,
        f"a ${{NAME}} in '{dotted(path)}' is not expanded",
        "references work only in headers, env and url",
        level="warning" if level_note else "error",
    )


def _secret(path: Path, what: str) -> ValidationIssue:
    by_reference = "put it into an environment variable, refer to it as ${NAME}"
    here = "env" in path or "headers" in path or path[-1:] == ("url",)
    return ValidationIssue(
        path,
        f"{what} is written in clear in '{dotted(path)}'",
        f"{by_reference if here else 'take it out'}, and replace the secret: it is no longer one",
    )
