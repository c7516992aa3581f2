"""Raw documents with the place of each value: how they are merged and validated."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from registry.access import AccessGrant
from registry.api_key import ApiKey
from registry.authorization import (
    OPERATOR,
    WriterPermissions,
    no_reference,
    screen_agent,
    screen_server,
    secrets_in,
)
from registry.binding import AgentBinding, AgentBindingType, is_bot_key
from registry.definition import (
    AgentDefinition,
    LlmConfiguration,
    McpServer,
    Servers,
    check_server_names,
    missing_names,
    name_clashes,
)
from registry.draft import Draft
from registry.errors import DocumentErrors, InvalidValue, Problem
from registry.fields import (
    MOST_ISSUES,
    SLUG_RULE,
    Path,
    RegistryModel,
    ValidationIssue,
    canonical,
    dotted,
    is_slug,
    issues_of,
    with_cure,
)
from registry.hidden_text import hidden_fields
from registry.instance import SLASH, AgentInstance
from registry.preset import PersonPresets, Preset
from registry.review import Proposal
from registry.roles import RoleDocument
from registry.secrets import shown
from registry.snapshot import Document, Entry, revision_of
from registry.stored_bot import StoredBot

if TYPE_CHECKING:  # most hosts have no profiles
    from registry.profile import NamedLlmConfig, Profile

M = TypeVar("M", bound=RegistryModel)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RawValue:
    """A value as it was read; `at` gives the place of a path inside it."""

    value: Any
    at: Callable[[Path], str]
    document: str

    @classmethod
    def of_place(cls, value: Any, place: str, document: str) -> RawValue:
        """A value whose parts all have one place."""
        return cls(value, lambda _path: place, document)

    @property
    def place(self) -> str:
        """The place of the value itself."""
        return self.at(())

    def inner(self, step: str | int) -> RawValue:
        """The value at an index or under a name."""
        return RawValue(self.value[step], lambda path: self.at((step, *path)), self.document)


@dataclass(frozen=True, slots=True)
class RawDocument:
    """The raw parts of a document, each once, with the problems found while it was taken apart."""

    agents: Sequence[RawValue] = ()
    bindings: Sequence[RawValue] = ()
    default: RawValue | None = None
    servers: Mapping[str, RawValue] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


# --- before validation ---------------------------------------------------------------------------


_Key = Callable[[RawValue], str | None]
_Parts = Sequence[RawValue]


def normalized(raw: RawDocument) -> RawDocument:
    """The same document in the models' spelling; a repeated part becomes a problem."""
    found = list(raw.problems)
    agents = [_spelled(part, AgentDefinition) for part in raw.agents]
    bindings = [_spelled(part, AgentBinding) for part in raw.bindings]
    agents = _first_of_each(agents, agent_id, "agent", found)
    bindings = _first_of_each(bindings, binding_slot, "binding", found)
    return replace(raw, agents=agents, bindings=bindings, problems=tuple(found))


def agent_id(part: RawValue) -> str | None:
    """The id that a raw agent says it has."""
    value = part.value.get("id") if isinstance(part.value, Mapping) else None
    return value if isinstance(value, str) else None


def binding_slot(part: RawValue) -> str | None:
    """What a raw binding binds, or None where it is not valid."""
    with suppress(ValueError):
        return AgentBinding.model_validate(part.value).slot
    return None


def _spelled(part: RawValue, model: type[RegistryModel]) -> RawValue:
    """The same part with the model's spelling of its names; a doubled name is left as it is."""
    if isinstance(part.value, Mapping):
        with suppress(InvalidValue):
            value = canonical(part.value, model)
            overrides = value.get("llmOverrides")
            if model is AgentDefinition and isinstance(overrides, Mapping):
                value["llmOverrides"] = canonical(overrides, LlmConfiguration)
            return replace(part, value=value)
    return part


def _first_of_each(
    parts: Iterable[RawValue], key: _Key, what: str, problems: list[Problem]
) -> list[RawValue]:
    """The first part of each key, and all that have none; later ones become problems."""
    first: dict[str, RawValue] = {}
    unique: list[RawValue] = []
    for part in parts:
        own = key(part)
        if own is not None and first.setdefault(own, part) is not part:
            message = f"{what} {shown(own)} is already defined at {first[own].place}"
            problems.append(Problem(part.place, message, "remove or rename one of the two"))
        else:
            unique.append(part)
    return unique


def merge(
    file: RawDocument, environment: RawDocument, legacy: RawDocument | None = None
) -> RawDocument:
    """File and environment in one: agents field by field, bindings and servers whole.

    The environment wins. The legacy agent exists only if neither has any agents.
    """
    merged = RawDocument(
        agents=_merged(file.agents, environment.agents, agent_id, _fields_merged),
        bindings=_merged(file.bindings, environment.bindings, binding_slot, lambda _, top: top),
        default=environment.default or file.default,
        servers={**file.servers, **environment.servers},
        problems=(*file.problems, *environment.problems),
    )
    return merge(merged, legacy) if legacy and not merged.agents else merged


def _merged(
    base: _Parts, top: _Parts, key: _Key, join: Callable[[RawValue, RawValue], RawValue]
) -> list[RawValue]:
    over = {own: part for part in top if (own := key(part)) is not None}
    joined = [join(part, over.pop(own)) if (own := key(part)) in over else part for part in base]
    left = {id(part) for part in over.values()}
    return [*joined, *(part for part in top if key(part) is None or id(part) in left)]


def _fields_merged(base: RawValue, top: RawValue) -> RawValue:
    value = {**base.value, **top.value}
    below, above = base.value.get("llmOverrides"), top.value.get("llmOverrides")
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        value["llmOverrides"] = {**below, **above}

    def at(path: Path) -> str:
        return top.at(path) if _sets(top.value, path) else base.at(path)

    return RawValue(value, at, f"{base.document} and {top.document}")


def _sets(value: Mapping[str, Any], path: Path) -> bool:
    """Whether an agent's value sets what is at a path, by which it wins over another one."""
    if not path or path[0] == "id" or path[0] not in value:
        return False
    inner = value[str(path[0])]
    if path[0] != "llmOverrides" or len(path) < 2 or not isinstance(inner, Mapping):
        return True
    return path[1] in inner


# --- validation ----------------------------------------------------------------------------------


def build(raw: RawDocument, writer: WriterPermissions = OPERATOR) -> Document:
    """The validated document; raises `DocumentErrors` where any part of it is wrong."""
    document = build_valid_parts(raw, writer)
    if any(problem.level == "error" for problem in document.problems):
        raise DocumentErrors(document.problems)
    return document


def build_valid_parts(raw: RawDocument, writer: WriterPermissions = OPERATOR) -> Document:
    """The valid parts as a document, with a problem for each mistake in the others."""
    reader = DocumentReader(writer, list(raw.problems))
    servers = reader.servers(raw.servers)
    shared = {name: entry.value for name, entry in servers.items()}
    found = filter(None, [reader.agent(part, shared) for part in raw.agents])
    agents = {
        one.value.id: replace(one, revision=revision_of(one.value.to_text())) for one in found
    }
    bindings = [reader.binding(part) for part in raw.bindings]
    default = reader.default(raw.default) if raw.default else None
    return Document(
        agents=agents,
        bindings={entry.value.slot: entry for entry in bindings if entry},
        default_agent_id=default,
        mcp_servers=servers,
        problems=tuple(reader.problems),
    )


@dataclass(frozen=True, slots=True)
class DocumentReader:
    """Makes entries of valid values, given who wrote them; what is wrong goes to `problems`."""

    writer: WriterPermissions
    problems: list[Problem] = field(default_factory=list)

    def agent(self, part: RawValue, shared: Servers | None) -> Entry[AgentDefinition] | None:
        """An agent with the place of each field; names of servers only if `shared` is known."""
        agent, issues = _validated(part, AgentDefinition)
        if (readable := agent or _readable(part, issues)) is not None:
            issues += screen_agent(readable, self.writer)
            issues += name_clashes(readable)
            issues += missing_names(readable, shared) if shared is not None else ()
        return self._entry(part, agent, issues)

    def instance(self, part: RawValue, id: str = "") -> Entry[AgentInstance] | None:
        """An instance of an agent, with the place of each field.

        With an id (`<account>/<name>`) it is the instance of this id, and may leave its names out.
        """
        misnamed = list[ValidationIssue]()
        if id and isinstance(part.value, Mapping):
            part, misnamed = _named(part, id)
        instance, issues = _validated(part, AgentInstance)
        issues = [*misnamed, *issues]
        if instance is not None and instance.llm is not None and instance.llm.model is not None:
            issues += no_reference(instance.llm.model, ("llm", "model"))
        return self._entry(part, instance, issues)

    def profile(self, part: RawValue) -> Entry[Profile] | None:
        """A profile of agents, with the place of each field."""
        from registry.profile import Profile, profile_issues

        profile, issues = _validated(part, Profile)
        if profile is not None:
            issues += profile_issues(profile)
            issues += hidden_fields(profile.to_json(), "take them out")
        else:
            from registry.profile_parts import further_issues

            issues += further_issues(part.value, issues)
        return self._entry(part, profile, (with_cure(one, Profile) for one in issues))

    def llm_config(self, part: RawValue) -> Entry[NamedLlmConfig] | None:
        """A model configuration that profiles refer to; a model never refers to a variable."""
        from registry.profile import NamedLlmConfig

        config, issues = _validated(part, NamedLlmConfig)
        for name in ("model", "fallback_model") if config is not None else ():
            issues += no_reference(getattr(config, name) or "", (name,))
        return self._entry(part, config, (with_cure(one, NamedLlmConfig) for one in issues))

    def binding(self, part: RawValue) -> Entry[AgentBinding] | None:
        """A binding with its place."""
        binding, issues = _validated(part, AgentBinding)
        by_bot = binding is not None and binding.type is AgentBindingType.TelegramBot
        key = (binding.binding_key if by_bot else binding.bot) if binding else None
        if key is not None and not is_bot_key(key):
            so = "is not a token's hash, an id or an @username, so it binds no bot"
            cure = "write the SHA-256 of the token (switchboard token-hash), the id, or @username"
            path = ("bindingKey" if by_bot else "bot",)
            issues.append(ValidationIssue(path, f"{shown(key)} {so}", cure, level="warning"))
        return self._entry(part, binding, issues)

    def servers(self, parts: Mapping[str, RawValue]) -> dict[str, Entry[McpServer]]:
        """The top-level servers by name."""
        try:
            check_server_names(parts)
        except InvalidValue as wrong:
            place = next(iter(parts.values())).place
            self.problems.append(Problem(place, f"'mcpServers': {wrong.message}", wrong.cure))
        entries: dict[str, Entry[McpServer]] = {}
        for name, part in parts.items():
            server, issues = _validated(part, McpServer, name)
            issues += screen_server(server, (), self.writer) if server else ()
            if entry := self._entry(part, server, issues):
                entries[name] = entry
        return entries

    def default(self, part: RawValue) -> Entry[str] | None:
        """The id of the default agent."""
        issues = list(secrets_in(part.value, ("defaultAgentId",)))
        if not issues and not (isinstance(part.value, str) and is_slug(part.value)):
            message = f"'defaultAgentId' {shown(part.value)} is not a valid id ({SLUG_RULE})"
            issues = [ValidationIssue((), message, "write the id of an agent")]
        self.problems.extend(Problem(part.place, issue.message, issue.cure) for issue in issues)
        entry = Entry(part.value, part.document, part.place, operator=self.writer.operator)
        return None if issues else entry

    def role(self, part: RawValue) -> Entry[RoleDocument] | None:
        """The roles of a person."""
        return self._entry(part, *_validated(part, RoleDocument))

    def key(self, part: RawValue) -> Entry[ApiKey] | None:
        """An API key; its hash is not secret, though it looks like one."""
        value = part.value if isinstance(part.value, Mapping) else {}
        clear = replace(part, value={**value, "hash": "0" * 64})
        key, issues = _validated(clear, ApiKey)
        if key is not None:
            key, issues = _modelled(part, ApiKey)
        return self._entry(part, key, issues)

    def presets(self, part: RawValue) -> Entry[PersonPresets] | None:
        """The presets of a person; a model that refers to a variable is refused."""
        presets, issues = _validated(part, PersonPresets)
        for number, one in enumerate(presets.presets if presets else ()):
            if one.primary_model is not None:
                path = ("presets", number, "primary_model")
                issues += no_reference(one.primary_model, path)
        return self._entry(part, presets, issues)

    def preset(self, part: RawValue) -> Entry[Preset] | None:
        """One preset."""
        preset, issues = _validated(part, Preset)
        if preset is not None and preset.primary_model is not None:
            issues += no_reference(preset.primary_model, ("primary_model",))
        return self._entry(part, preset, issues)

    def proposal(self, part: RawValue) -> Entry[Proposal] | None:
        """A change of an agent that waits for a second person."""
        return self._entry(part, *_validated(part, Proposal))

    def bot(self, part: RawValue) -> Entry[StoredBot] | None:
        """A bot that was added at run time; its token is sealed, though it looks like a secret."""
        value = part.value if isinstance(part.value, Mapping) else {}
        clear = replace(part, value={n: v for n, v in value.items() if n.lower() != "token"})
        issues = [*itertools.islice(secrets_in(clear.value), MOST_ISSUES)]
        bot, wrong = _modelled(part, StoredBot)
        return self._entry(part, None if issues else bot, [*issues, *wrong])

    def draft(self, part: RawValue) -> Entry[Draft] | None:
        """A draft of an agent, which may contain what the agent itself may."""
        draft, issues = _validated(part, Draft)
        if draft is not None:
            own = [*screen_agent(draft.definition, self.writer), *name_clashes(draft.definition)]
            issues += [replace(issue, path=("definition", *issue.path)) for issue in own]
        return self._entry(part, draft, issues)

    def access(self, part: RawValue) -> Entry[AccessGrant] | None:
        """Whether a person or a group was let in or blocked.

        Its name is what a stranger chose: one that looks like a secret must not save from a block.
        """
        return self._entry(part, *_modelled(part, AccessGrant))

    def _entry(
        self, part: RawValue, value: T | None, issues: Iterable[ValidationIssue]
    ) -> Entry[T] | None:
        """The entry of a value without an error; its issues become problems, each once."""
        unique: dict[tuple[Path, str], ValidationIssue] = {}
        for issue in issues:
            if len(unique) < MOST_ISSUES:
                unique.setdefault((issue.path, issue.cure), issue)
        own = [
            Problem(part.at(i.path), i.message, i.cure, i.level, dotted(i.path))
            for i in unique.values()
        ]
        self.problems.extend(own)
        if value is None or any(problem.level == "error" for problem in own):
            return None
        origins = {name: part.at((name,)) for name in part.value}
        for block in ("llmOverrides", "llm"):
            inner = part.value.get(block)
            for name in inner if isinstance(inner, Mapping) else ():
                origins[f"{block}.{name}"] = part.at((block, name))
        return Entry(value, part.document, part.place, origins, self.writer.operator)


def _named(part: RawValue, id: str) -> tuple[RawValue, list[ValidationIssue]]:
    """An instance with the names in its id, and where it says others."""
    account, _, name = id.partition(SLASH)
    names, issues = {"account": account, "instance_name": name}, list[ValidationIssue]()
    value = dict(part.value)
    with suppress(InvalidValue):
        value = canonical(part.value, AgentInstance)
    for field_name, own in names.items():
        if (given := value.get(field_name)) not in (None, own):
            message, cure = f"'{field_name}' is {shown(given)}", f"leave it out, or write {own}"
            issues.append(ValidationIssue((field_name,), f"{message}, and not '{own}'", cure))
    return replace(part, value={**value, **names}), issues


def _validated(
    part: RawValue, model: type[M], name: str = ""
) -> tuple[M | None, list[ValidationIssue]]:
    """The value that a model makes of a part, and what is wrong with it; secrets first."""
    found = secrets_in({name: part.value} if name else part.value)
    issues = [*itertools.islice(found, MOST_ISSUES)]
    try:
        return model.model_validate(part.value), issues
    except ValidationError as error:
        wrong = [*issues_of(error, model)]
    unknown = {issue.path for issue in wrong if issue.message.startswith("unknown field")}
    if unknown:  # they hide what a model says about its fields together: look again without them
        try:
            model.model_validate(_pruned(part.value, unknown))
        except ValidationError as error:
            wrong += issues_of(error, model)
    paths = {issue.path for issue in issues}
    more = [issue for issue in wrong if issue.path not in paths]
    return None, [*issues, *(i for i in more if not (paths and "in plain text" in i.message))]


def _modelled(part: RawValue, model: type[M]) -> tuple[M | None, list[ValidationIssue]]:
    """The value that a model makes of a part that holds no secret."""
    try:
        return model.model_validate(part.value), []
    except ValidationError as error:
        return None, [*issues_of(error, model)]


def _pruned(value: Any, paths: Collection[Path]) -> Any:
    """A JSON value without what is at these paths."""
    inner: dict[str | int, set[Path]] = {}
    for path in paths:
        inner.setdefault(path[0], set()).add(path[1:])
    if isinstance(value, Mapping):
        kept = {name: item for name, item in value.items() if () not in inner.get(name, ())}
        return {name: _pruned(item, inner.get(name, ())) for name, item in kept.items()}
    if isinstance(value, list):
        return [_pruned(item, inner.get(index, ())) for index, item in enumerate(value)]
    return value


def _readable(part: RawValue, issues: Iterable[ValidationIssue]) -> AgentDefinition | None:
    """The valid parts of an invalid agent, so that all its problems are reported at once."""
    if not isinstance(part.value, Mapping):
        return None
    paths = [issue.path for issue in issues if issue.path and issue.level == "error"]
    whole = {path[:2] if path[0] == "mcpServers" else path[:1] for path in paths}
    value = _pruned(part.value, whole)
    if "mcpServers" not in value:
        value.setdefault("mcpServerEndpoints", [])
    with suppress(ValidationError):
        return AgentDefinition.model_validate({"id": "unread", "name": "Unread"} | value)
    return None
