"""Drafts become documents: everything validated, every mistake with its place and cure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import ValidationError

from registry.binding import AgentBinding, is_bot_key
from registry.definition import AgentDefinition, McpServer, check_server_names
from registry.document import Document, Entry
from registry.draft import Draft, Part, merge
from registry.errors import DocumentErrors, Problem
from registry.fields import MOST_FINDINGS, Finding, Frozen, Wrong, findings
from registry.keys import SLUG_RULE, is_slug, revision_of
from registry.pasted import shown
from registry.reading import read_file_text, read_value
from registry.screening import OPERATOR, Authority, screen_agent, screen_server, secrets_in
from registry.servers import missing_names, name_clashes

F = TypeVar("F", bound=Frozen)


def load_document(text: str, name: str = "agents.json") -> Document:
    """The document of an agents.json text; raises `DocumentErrors` with every mistake in it."""
    return build(read_file_text(text, name))


def combine(file: Draft, environment: Draft, legacy: Draft | None = None) -> Document:
    """File and environment as one document; the legacy agent only where both have no agents."""
    merged = merge(file, environment)
    return build(merge(merged, legacy) if legacy and not merged.agents else merged)


def build(draft: Draft, authority: Authority = OPERATOR) -> Document:
    """A validated document; raises `DocumentErrors` where one thing in it is wrong."""
    document, problems = assemble(draft, authority)
    if any(problem.level == "error" for problem in problems):
        raise DocumentErrors(problems)
    return document


def assemble(draft: Draft, authority: Authority = OPERATOR) -> tuple[Document, tuple[Problem, ...]]:
    """What is good in a draft as a document, and every problem in it."""
    problems = list(draft.problems)
    servers = _servers(draft.servers, authority, problems)
    shared = {name: entry.value for name, entry in servers.items()}
    agents = [read_agent(part, authority, shared, problems) for part in draft.agents]
    bindings = [read_binding(part, authority, problems) for part in draft.bindings]
    default = _default(draft.default, authority, problems)
    document = Document(
        agents={entry.value.id: _revised(entry) for entry in agents if entry},
        bindings={entry.value.slot: entry for entry in bindings if entry},
        default_agent_id=default,
        mcp_servers=servers,
        problems=tuple(problems),
    )
    return document, document.problems


def parse_agent(
    text: str,
    place: str,
    authority: Authority,
    shared: Mapping[str, McpServer] | None = None,
) -> AgentDefinition:
    """One agent's JSON as somebody pasted it; raises `DocumentErrors`."""
    problems: list[Problem] = []
    entry = read_agent(read_value(text, place), authority, shared, problems)
    if entry is None or any(problem.level == "error" for problem in problems):
        raise DocumentErrors(problems)
    return entry.value


def read_agent(
    part: Part,
    authority: Authority,
    shared: Mapping[str, McpServer] | None,
    problems: list[Problem],
) -> Entry[AgentDefinition] | None:
    """An agent with its origins; mistakes go into `problems`, and with an error there is None.

    Where `shared` is None the top-level servers are not known here, and are judged elsewhere.
    """
    found = _secrets(part.value)
    agent = _validated(part, AgentDefinition, found)
    if agent is not None:
        found += screen_agent(agent, authority)
        found += name_clashes(agent, shared or {})
        found += missing_names(agent, shared) if shared is not None else ()
    return _entry(part, agent, authority, found, problems)


def read_binding(
    part: Part, authority: Authority, problems: list[Problem]
) -> Entry[AgentBinding] | None:
    """A binding with its place; mistakes go into `problems`, and with an error there is None."""
    found = _secrets(part.value)
    binding = _validated(part, AgentBinding, found)
    if binding is not None:
        found += _idle_bot(binding)
    return _entry(part, binding, authority, found, problems)


def _servers(
    parts: Mapping[str, Part], authority: Authority, problems: list[Problem]
) -> dict[str, Entry[McpServer]]:
    try:
        check_server_names(parts)
    except Wrong as wrong:
        place = next(iter(parts.values())).place
        problems.append(Problem(place, f"'mcpServers': {wrong.message}", wrong.cure))
    entries: dict[str, Entry[McpServer]] = {}
    for name, part in parts.items():
        found = list(secrets_in({name: part.value}))
        server = _validated(part, McpServer, found)
        found += screen_server(server, (), authority) if server else ()
        if entry := _entry(part, server, authority, found, problems):
            entries[name] = entry
    return entries


def _default(part: Part | None, authority: Authority, problems: list[Problem]) -> Entry[str] | None:
    if part is None:
        return None
    found = list(secrets_in(part.value, ("defaultAgentId",)))
    if not found and not (isinstance(part.value, str) and is_slug(part.value)):
        told = f"'defaultAgentId' {shown(part.value)} is no id ({SLUG_RULE})"
        found = [Finding((), told, "write the id of an agent")]
    if found:
        problems += [Problem(part.place, one.message, one.cure) for one in found]
        return None
    return Entry(part.value, part.document, part.place, operator=authority.operator)


def _secrets(value: Any) -> list[Finding]:
    return [*itertools.islice(secrets_in(value), MOST_FINDINGS)]


def _validated(part: Part, model: type[F], found: list[Finding]) -> F | None:
    try:
        return model.model_validate(part.value)
    except ValidationError as error:
        told = {finding.path for finding in found}
        again = [f for f in findings(error, model) if f.path not in told]
        found += [f for f in again if not (told and "in clear" in f.message)]
        return None


V = TypeVar("V")


def _entry(
    part: Part,
    value: V | None,
    authority: Authority,
    found: Iterable[Finding],
    problems: list[Problem],
) -> Entry[V] | None:
    own = [Problem(part.at(f.path), f.message, f.cure, f.level) for f in _once(found)]
    problems += own
    if value is None or any(problem.level == "error" for problem in own):
        return None
    return Entry(value, part.document, part.place, _origins(part), authority.operator)


def _revised(entry: Entry[AgentDefinition]) -> Entry[AgentDefinition]:
    return replace(entry, revision=revision_of(entry.value.to_text()))


def _once(found: Iterable[Finding]) -> list[Finding]:
    """Each finding once, and no more of them than people read."""
    seen: dict[tuple[object, str], Finding] = {}
    for finding in found:
        if len(seen) == MOST_FINDINGS:
            break
        seen.setdefault((finding.path, finding.cure), finding)
    return list(seen.values())


def _origins(part: Part) -> dict[str, str]:
    origins = {name: part.at((name,)) for name in part.value}
    overrides = part.value.get("llmOverrides")
    for name in overrides if isinstance(overrides, Mapping) else ():
        origins[f"llmOverrides.{name}"] = part.at(("llmOverrides", name))
    return origins


def _idle_bot(binding: AgentBinding) -> Iterable[Finding]:
    by_bot = binding.type.value == "TelegramBot"
    key = binding.binding_key if by_bot else binding.bot
    if key is not None and not is_bot_key(key):
        yield Finding(
            ("bindingKey" if by_bot else "bot",),
            f"{shown(key)} is neither a token's hash, nor an id, nor an @username: it binds no bot",
            "write the SHA-256 of the token (switchboard token-hash), the id, or @username",
            level="warning",
        )
