"""A document before it is validated: raw parts that know where they stand, and their merge."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError

from registry.authorization import (
    OPERATOR,
    WriterPermissions,
    screen_agent,
    screen_server,
    secrets_in,
)
from registry.binding import AgentBinding, is_bot_key
from registry.definition import (
    AgentDefinition,
    LlmConfiguration,
    McpServer,
    check_server_names,
    missing_names,
    name_clashes,
)
from registry.errors import DocumentErrors, InvalidValue, Problem
from registry.fields import (
    MOST_FINDINGS,
    RegistryModel,
    ValidationIssue,
    canonical,
    issues_of,
    unknown_name,
)
from registry.json_text import JsonFault, Path, casefolded, lines, parse
from registry.keys import SLUG_RULE, is_slug, revision_of
from registry.secrets import shown
from registry.snapshot import Document, Entry


@dataclass(frozen=True, slots=True)
class RawValue:
    """A raw JSON value; `at` gives the place of a path inside it."""

    value: Any
    at: Callable[[Path], str]
    document: str

    @property
    def place(self) -> str:
        """Where the part itself stands."""
        return self.at(())

    def inner(self, *steps: str | int) -> RawValue:
        """The part below a path; its value is None where there is none."""
        value = self.value
        for step in steps:
            value = value[step]
        return RawValue(value, lambda path: self.at((*steps, *path)), self.document)


@dataclass(frozen=True, slots=True)
class RawDocument:
    """The raw parts of a document, with the problems found while it was taken apart."""

    agents: tuple[RawValue, ...] = ()
    bindings: tuple[RawValue, ...] = ()
    default: RawValue | None = None
    servers: Mapping[str, RawValue] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def spelled(part: RawValue, model: type[RegistryModel]) -> RawValue:
    """The same part with the model's spelling of its names; a doubled name stays for validation."""
    if not isinstance(part.value, Mapping):
        return part
    with suppress(InvalidValue):
        value = canonical(part.value, model)
        overrides = value.get("llmOverrides")
        if model is AgentDefinition and isinstance(overrides, Mapping):
            value["llmOverrides"] = canonical(overrides, LlmConfiguration)
        return RawValue(value, part.at, part.document)
    return part


def once(parts: Iterable[RawValue], key: Callable[[RawValue], str | None], what: str) -> _Sorted:
    """The first part of each key, and a problem for each later one."""
    first: dict[str, RawValue] = {}
    kept: list[RawValue] = []
    problems: list[Problem] = []
    for part in parts:
        own = key(part)
        if own is not None and own in first:
            told = f"{what} {shown(own)} is there already at {first[own].place}"
            problems.append(Problem(part.place, told, "remove or rename one of the two"))
            continue
        if own is not None:
            first[own] = part
        kept.append(part)
    return tuple(kept), tuple(problems)


_Sorted = tuple[tuple[RawValue, ...], tuple[Problem, ...]]


def agent_id(part: RawValue) -> str | None:
    """The id that a raw agent says it has."""
    value = part.value.get("id") if isinstance(part.value, Mapping) else None
    return value if isinstance(value, str) else None


def binding_slot(part: RawValue) -> str | None:
    """What a raw binding binds, or None where it is not valid."""
    with suppress(ValueError):
        return AgentBinding.model_validate(part.value).slot
    return None


def merge(base: RawDocument, top: RawDocument) -> RawDocument:
    """Both drafts in one: agents field by field, bindings and servers whole; `top` wins."""
    return RawDocument(
        agents=_merged(base.agents, top.agents, agent_id, _fields),
        bindings=_merged(base.bindings, top.bindings, binding_slot, _whole),
        default=top.default or base.default,
        servers={**base.servers, **top.servers},
        problems=(*base.problems, *top.problems),
    )


def _merged(
    base: tuple[RawValue, ...],
    top: tuple[RawValue, ...],
    key: Callable[[RawValue], str | None],
    join: Callable[[RawValue, RawValue], RawValue],
) -> tuple[RawValue, ...]:
    over = {own: part for part in top if (own := key(part)) is not None}
    result = [join(part, over.pop(key(part) or "", part)) for part in base]
    used = {id(part) for part in over.values()}
    return (*result, *(part for part in top if key(part) is None or id(part) in used))


def _whole(_: RawValue, top: RawValue) -> RawValue:
    return top


def _fields(base: RawValue, top: RawValue) -> RawValue:
    if base is top:
        return base
    value = {**base.value, **top.value}
    below, above = base.value.get("llmOverrides"), top.value.get("llmOverrides")
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        value["llmOverrides"] = {**below, **above}

    def at(path: Path) -> str:
        return top.at(path) if _holds(top.value, path) else base.at(path)

    return RawValue(value, at, f"{base.document} and {top.document}")


def _holds(value: Mapping[str, Any], path: Path) -> bool:
    if not path or path[0] == "id" or path[0] not in value:
        return False
    inner = value[str(path[0])]
    if path[0] != "llmOverrides" or len(path) < 2 or not isinstance(inner, Mapping):
        return True
    return path[1] in inner


_ROOTS = ["agents", "bindings", "defaultAgentId", "mcpServers"]


def read_file_text(text: str, name: str) -> RawDocument:
    """The draft of an agents.json; raises `DocumentErrors` where it is no JSON object."""
    whole = read_value(text, name)
    if not isinstance(whole.value, Mapping):
        cure = 'write { "agents": [ … ] }'
        raise DocumentErrors([Problem(whole.place, "it must be an object in { }", cure)])
    roots, problems = _roots(whole)
    agents, bindings = _parts(roots, "agents", problems), _parts(roots, "bindings", problems)
    kept, doubled = once([spelled(p, AgentDefinition) for p in agents], agent_id, "agent")
    bound, twice = once([spelled(p, AgentBinding) for p in bindings], binding_slot, "binding")
    default = roots.get("defaultAgentId")
    return RawDocument(
        agents=kept,
        bindings=bound,
        default=default if default and default.value is not None else None,
        servers=_read_servers(roots, problems),
        problems=(*problems, *doubled, *twice),
    )


def read_value(text: str, name: str, *, numbered: bool = True) -> RawValue:
    """One JSON value as a part with `name:line` as places, or `name` alone if not numbered."""
    try:
        value = parse(text)
    except JsonFault as fault:
        place = f"{name}:{fault.line}" if numbered else name
        told = f"line {fault.line}, column {fault.column}: {fault.message}"
        raise DocumentErrors([Problem(place, told, fault.cure)]) from None
    return RawValue(value, _places(text, name) if numbered else lambda _: name, name)


def _places(text: str, name: str) -> Callable[[Path], str]:
    @cache
    def index() -> dict[Path, int]:
        return lines(text)

    def at(path: Path) -> str:
        steps = tuple(casefolded(step) if isinstance(step, str) else step for step in path)
        found = index()
        while steps and steps not in found:
            steps = steps[:-1]
        return f"{name}:{found[steps]}"

    return at


def _roots(whole: RawValue) -> tuple[dict[str, RawValue], list[Problem]]:
    known = {casefolded(root): root for root in _ROOTS}
    roots: dict[str, RawValue] = {}
    problems: list[Problem] = []
    for name in whole.value:
        part = whole.inner(name)
        root = known.get(casefolded(name))
        if root is None and name != "$schema":
            problems.append(Problem(part.place, *unknown_name(name, _ROOTS)))
        elif root in roots:
            problems.append(Problem(part.place, f"'{root}' is given twice", "keep one of the two"))
        elif root is not None:
            roots[root] = part
    return roots, problems


def _parts(roots: Mapping[str, RawValue], root: str, problems: list[Problem]) -> list[RawValue]:
    part = roots.get(root)
    if part is None or part.value is None:
        return []
    if not isinstance(part.value, list):
        problems.append(Problem(part.place, f"'{root}' must be a list in [ ]", "correct it"))
        return []
    return [part.inner(index) for index in range(len(part.value))]


def _read_servers(roots: Mapping[str, RawValue], problems: list[Problem]) -> dict[str, RawValue]:
    part = roots.get("mcpServers")
    if part is None or part.value is None:
        return {}
    if not isinstance(part.value, Mapping):
        cure = 'write "mcpServers": {"name": {"command": …}}'
        problems.append(Problem(part.place, "'mcpServers' must be an object in { }", cure))
        return {}
    return {name: part.inner(name) for name in part.value}


F = TypeVar("F", bound=RegistryModel)


def load_document(text: str, name: str = "agents.json") -> Document:
    """The document of an agents.json text; raises `DocumentErrors` with every mistake in it."""
    return build(read_file_text(text, name))


def combine(
    file: RawDocument, environment: RawDocument, legacy: RawDocument | None = None
) -> Document:
    """File and environment as one document; the legacy agent only where both have no agents."""
    merged = merge(file, environment)
    return build(merge(merged, legacy) if legacy and not merged.agents else merged)


def build(draft: RawDocument, authority: WriterPermissions = OPERATOR) -> Document:
    """A validated document; raises `DocumentErrors` where one thing in it is wrong."""
    document, problems = assemble(draft, authority)
    if any(problem.level == "error" for problem in problems):
        raise DocumentErrors(problems)
    return document


def assemble(
    draft: RawDocument, authority: WriterPermissions = OPERATOR
) -> tuple[Document, tuple[Problem, ...]]:
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
    authority: WriterPermissions,
    shared: Mapping[str, McpServer] | None = None,
) -> AgentDefinition:
    """One agent's JSON as somebody pasted it; raises `DocumentErrors`."""
    problems: list[Problem] = []
    entry = read_agent(read_value(text, place), authority, shared, problems)
    if entry is None or any(problem.level == "error" for problem in problems):
        raise DocumentErrors(problems)
    return entry.value


def read_agent(
    part: RawValue,
    authority: WriterPermissions,
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
    part: RawValue, authority: WriterPermissions, problems: list[Problem]
) -> Entry[AgentBinding] | None:
    """A binding with its place; mistakes go into `problems`, and with an error there is None."""
    found = _secrets(part.value)
    binding = _validated(part, AgentBinding, found)
    if binding is not None:
        found += _idle_bot(binding)
    return _entry(part, binding, authority, found, problems)


def _servers(
    parts: Mapping[str, RawValue], authority: WriterPermissions, problems: list[Problem]
) -> dict[str, Entry[McpServer]]:
    try:
        check_server_names(parts)
    except InvalidValue as wrong:
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


def _default(
    part: RawValue | None, authority: WriterPermissions, problems: list[Problem]
) -> Entry[str] | None:
    if part is None:
        return None
    found = list(secrets_in(part.value, ("defaultAgentId",)))
    if not found and not (isinstance(part.value, str) and is_slug(part.value)):
        told = f"'defaultAgentId' {shown(part.value)} is no id ({SLUG_RULE})"
        found = [ValidationIssue((), told, "write the id of an agent")]
    if found:
        problems += [Problem(part.place, one.message, one.cure) for one in found]
        return None
    return Entry(part.value, part.document, part.place, operator=authority.operator)


def _secrets(value: Any) -> list[ValidationIssue]:
    return [*itertools.islice(secrets_in(value), MOST_FINDINGS)]


def _validated(part: RawValue, model: type[F], found: list[ValidationIssue]) -> F | None:
    try:
        return model.model_validate(part.value)
    except ValidationError as error:
        told = {finding.path for finding in found}
        again = [f for f in issues_of(error, model) if f.path not in told]
        found += [f for f in again if not (told and "in clear" in f.message)]
        return None


V = TypeVar("V")


def _entry(
    part: RawValue,
    value: V | None,
    authority: WriterPermissions,
    found: Iterable[ValidationIssue],
    problems: list[Problem],
) -> Entry[V] | None:
    own = [Problem(part.at(f.path), f.message, f.cure, f.level) for f in _once(found)]
    problems += own
    if value is None or any(problem.level == "error" for problem in own):
        return None
    return Entry(value, part.document, part.place, _origins(part), authority.operator)


def _revised(entry: Entry[AgentDefinition]) -> Entry[AgentDefinition]:
    return replace(entry, revision=revision_of(entry.value.to_text()))


def _once(found: Iterable[ValidationIssue]) -> list[ValidationIssue]:
    """Each finding once, and no more of them than people read."""
    seen: dict[tuple[object, str], ValidationIssue] = {}
    for finding in found:
        if len(seen) == MOST_FINDINGS:
            break
        seen.setdefault((finding.path, finding.cure), finding)
    return list(seen.values())


def _origins(part: RawValue) -> dict[str, str]:
    origins = {name: part.at((name,)) for name in part.value}
    overrides = part.value.get("llmOverrides")
    for name in overrides if isinstance(overrides, Mapping) else ():
        origins[f"llmOverrides.{name}"] = part.at(("llmOverrides", name))
    return origins


def _idle_bot(binding: AgentBinding) -> Iterable[ValidationIssue]:
    by_bot = binding.type.value == "TelegramBot"
    key = binding.binding_key if by_bot else binding.bot
    if key is not None and not is_bot_key(key):
        yield ValidationIssue(
            ("bindingKey" if by_bot else "bot",),
            f"{shown(key)} is neither a token's hash, nor an id, nor an @username: it binds no bot",
            "write the SHA-256 of the token (switchboard token-hash), the id, or @username",
            level="warning",
        )
