"""What a document may not contain: secrets in plain text, and what its writer may not name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from registry.definition import AgentDefinition, McpServer
from registry.errors import Level
from registry.fields import Path, ValidationIssue, dotted
from registry.secrets import (
    detect_secret,
    has_password,
    malformed_reference,
    names_secret,
    others_reference,
    query_secret,
    reference_names,
    secret_pair,
    secret_value,
)
from registry.skill import Skill
from registry.urls import is_internal


@dataclass(frozen=True, slots=True)
class WriterPermissions:
    """What a writer of documents may name: the operator everything, guests what is listed.

    `secrets` are the names that others may refer to, `internal_hosts` the hosts they may reach,
    `handlers` the internal skills they may use, `models` the models (empty: those in `host_models`,
    which the host's settings name, and those of files).
    """

    operator: bool = True
    secrets: frozenset[str] = field(default=frozenset())
    internal_hosts: frozenset[str] = field(default=frozenset())
    handlers: frozenset[str] = field(default=frozenset())
    models: frozenset[str] = field(default=frozenset())
    host_models: frozenset[str] = field(default=frozenset())


Issues = Iterator[ValidationIssue]
_LIST_IT = "list the name in AGENT_SECRETS, or use one that is listed"
_IN_PLAIN_TEXT = "is written in plain text"
_LOOKS = "looks like a secret"
_FROM_ENV = "pass it to the program in env, as ${NAME}"
OPERATOR = WriterPermissions()
GUEST = WriterPermissions(operator=False)


def secrets_in(value: Any, path: Path = ()) -> Issues:
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


def secrets_written(agent: AgentDefinition) -> list[ValidationIssue]:
    """What is, or looks like, a secret in plain text in an agent's definition."""
    body = agent.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    found = [*secrets_in(body), *screen_agent(agent, OPERATOR)]
    return [issue for issue in found if _IN_PLAIN_TEXT in issue.message or _LOOKS in issue.message]


def screen_agent(agent: AgentDefinition, writer: WriterPermissions) -> Issues:
    """What an agent's definition may not contain, depending on who wrote it."""
    for index, url in enumerate(agent.mcp_server_endpoints):
        yield from _screen_url(url, ("mcpServerEndpoints", index), writer)
    for index, pattern in enumerate(agent.whitelist_patterns):
        yield from no_reference(pattern, ("whitelistPatterns", index))
    if agent.llm_overrides is not None and agent.llm_overrides.model is not None:
        yield from no_reference(agent.llm_overrides.model, ("llmOverrides", "model"))
    if isinstance(agent.mcp_servers, Mapping):
        for name, server in agent.mcp_servers.items():
            yield from screen_server(server, ("mcpServers", name), writer)
    for index, skill in enumerate(agent.skills):
        yield from _screen_skill(skill, ("skills", index), writer)
    if agent.internal_toolsets and not writer.operator:
        named = ", ".join(agent.internal_toolsets)
        message = f"only the operator may give an agent the host's own tools ({named})"
        cure = "leave it out, or define this agent in the agents file"
        yield ValidationIssue(("internalToolsets",), message, cure)
    for spelled, text in (("name", agent.name), ("customInstructions", agent.custom_instructions)):
        if text and reference_names(text):
            yield _unexpanded((spelled,), level="warning")


def screen_server(server: McpServer, path: Path, writer: WriterPermissions) -> Issues:
    """What a server's definition may not contain, depending on who wrote it."""
    if server.command is not None and not writer.operator:
        message = "a command may come only from the file or the environment"
        cure = "give a url, or name a server that the operator has defined"
        yield ValidationIssue((*path, "command"), message, cure)
    if not writer.operator:
        inside = (*path, "trustAnnotations")
        yield from _promises(server.trust_annotations, inside, "trust a server")
        yield from _promises(server.repeatable, (*path, "repeatable"), "declare tools repeatable")
        yield from _promises(server.cache, (*path, "cache"), "cache results")
        inside = (*path, "allowCredentials")
        yield from _promises(server.allow_credentials, inside, "let tools ask for credentials")
    for spelled, text in (("command", server.command), ("cwd", server.cwd)):
        yield from no_reference(text or "", (*path, spelled))
    for index, argument in enumerate(server.args):
        yield from no_reference(argument, (*path, "args", index))
    yield from _screen_args(server.args, (*path, "args"))
    yield from _screen_url(server.url, (*path, "url"), writer)
    if auth := server.auth:
        inside = (*path, "auth")
        yield from _screen_value("", auth.client_id, (*inside, "clientId"), writer)
        yield from _screen_value("", auth.client_secret, (*inside, "clientSecret"), writer)
        yield from _screen_url(auth.token_url, (*inside, "tokenUrl"), writer)
        yield from _screen_url(auth.issuer, (*inside, "issuer"), writer)
    for spelled, pairs in (("env", server.env), ("headers", server.headers)):
        for name, text in pairs.items():
            yield from _screen_value(name, text, (*path, spelled, name), writer)


def _screen_args(args: Sequence[str], path: Path) -> Issues:
    """Secrets in arguments: every user of the machine may read them in its list of processes."""
    option = ""
    for index, argument in enumerate(args):
        name, given, value = argument.partition("=")
        if has_password(argument):
            yield _secret((*path, index), "a password in an address")
        if given and names_secret(name):
            option, argument = name, value
        elif not detect_secret(argument) and (pair := secret_pair(argument)):
            message = f"'{dotted((*path, index))}' looks like a secret, as it gives {pair}"
            yield ValidationIssue((*path, index), message, _FROM_ENV, level="warning")
        if names_secret(option) and not argument.startswith(("-", "$")) and len(argument) >= 6:
            message = f"'{dotted((*path, index))}' {_LOOKS}: it is the value of {option}"
            yield ValidationIssue((*path, index), message, _FROM_ENV, level="warning")
        option = "" if given else argument


def _screen_skill(skill: Skill, path: Path, writer: WriterPermissions) -> Issues:
    yield from _screen_url(skill.webhook_url, (*path, "webhookUrl"), writer)
    if writer.operator:
        return
    yield from _promises(skill.cache, (*path, "cache"), "cache results")
    handler, auth = skill.internal_handler, skill.webhook_auth
    if handler is not None and handler not in writer.handlers:
        message = f"the internal skill '{handler}' may not be used by this document"
        cure = "ask the operator to list it in AGENT_SKILLS, or use one that is listed"
        yield ValidationIssue((*path, "internalHandler"), message, cure)
    if auth and auth.variable not in writer.secrets:
        message = f"the variable {auth.variable} may not be used by this document"
        yield ValidationIssue((*path, "webhookAuth"), message, _LIST_IT)


def _promises(given: object, path: Path, what: str) -> Issues:
    """An issue if a guest sets what only the operator may."""
    if given:
        cure = "leave it out, or ask the operator to define it"
        yield ValidationIssue(path, f"only the operator may {what}", cure)


def _screen_value(name: str, text: str, path: Path, writer: WriterPermissions) -> Issues:
    what = secret_value(name, text)
    if (other := others_reference(text)) and not detect_secret(text):
        message = f"'{dotted(path)}' refers to {other} in a form that is not replaced"
        cure, is_needed = f"write ${{{other}}}", what or "${" in text
        yield ValidationIssue(path, message, cure, "error" if is_needed else "warning")
        return
    if what:
        yield _secret(path, what)
    yield from _malformed(text, path)
    for reference in () if writer.operator else reference_names(text):
        if reference not in writer.secrets:
            message = f"${{{reference}}} may not be used by this document"
            yield ValidationIssue(path, message, _LIST_IT)


def _screen_url(url: str | None, path: Path, writer: WriterPermissions) -> Issues:
    if url is None:
        return
    yield from _malformed(url, path)
    if not writer.operator and reference_names(url):
        message = "an address may not contain a reference here"
        yield ValidationIssue(path, message, "write the plain address")
    elif not url.startswith("${"):
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        for name, text in parse_qsl(f"{parts.query}&{parts.fragment}", keep_blank_values=True):
            if what := query_secret(name, text):
                yield _secret(path, f"{what} in its query")
        if not writer.operator and is_internal(host) and host not in writer.internal_hosts:
            cure = "use a public address, or list the host in INTERNAL_HOSTS"
            yield ValidationIssue(path, f"'{dotted(path)}' leads to an internal host", cure)


def _malformed(text: str, path: Path) -> Issues:
    if malformed_reference(text):
        message = f"'{dotted(path)}' has a '${{' that does not begin a reference"
        yield ValidationIssue(path, message, "write ${NAME}")


def no_reference(text: str, path: Path) -> Issues:
    """An issue where a text that is not expanded has a reference."""
    if "${" in text:
        yield _unexpanded(path)


def _unexpanded(path: Path, level: Level = "error") -> ValidationIssue:
    message = f"a ${{NAME}} in '{dotted(path)}' is not expanded"
    return ValidationIssue(path, message, "references work only in headers, env and url", level)


def _secret(path: Path, what: str) -> ValidationIssue:
    here = "env" in path or "headers" in path or path[-1:] == ("url",)
    cure = "put it into an environment variable, refer to it as ${NAME}" if here else "remove it"
    if "args" in path:
        cure = _FROM_ENV
    message = f"{what} {_IN_PLAIN_TEXT} in '{dotted(path)}'"
    return ValidationIssue(path, message, f"{cure}, and replace the secret: it has been exposed")
