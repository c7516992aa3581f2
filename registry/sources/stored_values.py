"""What a store holds: its keys, and validated values (the last good ones)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from registry.authorization import WriterPermissions
from registry.definition import AgentDefinition
from registry.errors import DocumentErrors, Problem
from registry.fields import SLUG_RULE, is_slug
from registry.instance import SLASH
from registry.preset import MOST_BYTES, account_of_owner
from registry.revisions import Kind, json_of
from registry.roles import CORE, DEFAULT_ACCOUNT, Target
from registry.secrets import detect_secret, shown
from registry.snapshot import NO_PROFILES, Document, Entry, Governance, Profiles, revision_of
from registry.sources.json_yaml import read_value
from registry.stored_bot import kept_text
from registry.validation import DocumentReader, RawValue

if TYPE_CHECKING:  # most hosts have no profiles
    from registry.profile import NamedLlmConfig

SOURCE = "redis"
PREFIX = "agent:"
DEFINITION = "agent:definition:"
"""Before an agent's id: the key of its definition."""
INSTANCE = "agent:instance:"
"""Before `<account>/<name>`: the key of an instance."""
PROFILE = "agent:profile:"
"""Before the name of a profile: its key."""
LLM_CONFIG = "agent:llm-config:"
"""Before the name of a model configuration: its key."""
BINDING = "agent:binding:"
"""Before a binding's slot: its key."""
DEFAULT = "agent:default"
ROLE = "agent:role:"
"""Before a person: the key of their roles."""
API_KEY = "agent:key:"
"""Before the id of an API key: its key."""
ACCESS = "agent:access:"
"""Before a subject: the key of what says whether it was let in or blocked."""
PROPOSAL = "agent:proposal:"
"""Before an agent's id: the key of a change of it that waits for a second person."""
PRESET = "agent:preset:"
"""Before a person: the key of all their presets."""
BOT = "agent:bot:"
"""Before a bot's numeric id: the key of a bot that was added at run time."""
DRAFT = "agent:draft:"
"""Before `<agent>/<author>`: the key of a draft."""
AUDIT = "agent:audit:chain"
AUDIT_HEAD = "agent:audit:head"
AUDIT_BEFORE = "agent:audit"
"""Entries that were written before the audit was chained."""
HISTORY = "agent:history:"
"""Before what follows `agent:` in a key: the revisions of its document."""
HEADS = "agent:heads"
"""By key: the number and the hash of a document's newest revision."""
REPLAY = "agent:replay:"
"""Before an idempotency key: where a change is remembered by it."""
PREFIXES: Mapping[Kind, str] = {
    "llm-config": LLM_CONFIG,
    "profile": PROFILE,
    "agent": DEFINITION,
    "instance": INSTANCE,
    "binding": BINDING,
    "default": DEFAULT,
    "role": ROLE,
    "key": API_KEY,
    "access": ACCESS,
    "proposal": PROPOSAL,
    "preset": PRESET,
    "bot": BOT,
    "draft": DRAFT,
}
_PREFIXES = tuple(prefix for kind, prefix in PREFIXES.items() if kind != "default")
DEFAULT_ID = "default"
"""The id of the one document that says which agent is the default one."""


def key_of(kind: Kind, id: str) -> str:
    """The key of a document."""
    return DEFAULT if kind == "default" else PREFIXES[kind] + id


def name_of(key: str) -> tuple[Kind, str]:
    """The kind and the id of the document at a key; raises KeyError where none can be there."""
    for kind, prefix in PREFIXES.items():
        if kind == "default":
            if key == DEFAULT:
                return kind, DEFAULT_ID
        elif key.startswith(prefix):
            return kind, key.removeprefix(prefix)
    raise KeyError(key)


def is_document(key: str) -> bool:
    """Whether a document may be at a key."""
    return key == DEFAULT or key.startswith(_PREFIXES)


def target_of(key: str, text: str | None) -> Target:
    """The tier and the account of the document at a key, as far as its text tells."""
    kind, id = name_of(key)
    if kind in ("agent", "proposal", "draft", "profile", "llm-config"):
        return CORE
    if kind == "instance":
        return Target("instance", id.partition(SLASH)[0])
    if kind == "preset":
        return Target("instance", account_of_owner(id))
    value = json_of(text) if text else None
    if kind == "role" and isinstance(value, Mapping):
        grants = value.get("grants")
        value = grants[0] if isinstance(grants, list) and grants else None
    if kind not in ("role", "key", "bot") or not isinstance(value, Mapping):
        return Target("instance")
    if value.get("scope") == "host":
        return CORE
    account, client = str(value.get("account", DEFAULT_ACCOUNT)), value.get("client")
    return Target("client", account, str(client)) if client else Target("instance", account)


def history_of(key: str) -> str:
    """The key of the revisions of the document at a key."""
    return HISTORY + key.removeprefix(PREFIX)


def revision_text(key: str, text: str | None) -> str | None:
    """What the history keeps of the text at a key: of a bot, nothing of its token."""
    return kept_text(text) if text is not None and key.startswith(BOT) else text


VALUE_LIMIT = 256 * 1024
"""Bytes of one value; a file that an admin sends to a bot may have as many."""


def too_large(key: str, size: int) -> Problem:
    """A value with too many bytes."""
    return Problem(key, f"its value has {size} bytes, more than {VALUE_LIMIT}", "make it smaller")


def not_text(key: str, kind: str) -> Problem:
    """A key that does not hold text but, as the store names it, a `list`, `hash` …."""
    cure = f"delete it with DEL, then SET it to {_wanted(key)}"
    return Problem(key, f"it holds a {kind}, not text", cure)


Stored = bytes | str | Problem | None
"""What a key holds: nothing, a value, or why it cannot be read at all."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a key holds, once read: an entry, or what is wrong; no revision if the key is empty."""

    key: str
    revision: str | None
    problems: tuple[Problem, ...] = ()
    entry: Entry[Any] | None = None


Readings = list[_Reading]


def fingerprint(action: str, key: str, value: str = "") -> str:
    """What tells one change from another under the same idempotency key."""
    return revision_of(f"{action}\n{key}\n{value}")


class CachedDocuments:
    """The documents of a store; `writer` says what its values may contain."""

    def __init__(self, writer: WriterPermissions) -> None:
        self._writer = writer
        self._entries: dict[str, dict[str, Entry[Any]]] = {key: {} for key in PREFIXES.values()}
        self._sorted: dict[str, dict[str, Entry[Any]]] = {}
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._revisions: dict[str, str] = {}

    @property
    def keys(self) -> frozenset[str]:
        """The keys that hold a value, good or bad."""
        return frozenset(self._revisions)

    def document(self, *more: Problem) -> Document:
        """Everything that is good, with the problems of what is not.

        Agents and bindings are the same mappings until one of them changes.
        """
        own = tuple(problem for found in self._problems.values() for problem in found)
        default = self._entries[DEFAULT].get(DEFAULT)
        return Document(
            agents=self._in_order(DEFINITION),
            bindings=self._in_order(BINDING),
            default_agent_id=default,
            problems=(*own, *more),
            governance=Governance(
                roles=self._in_order(ROLE),
                keys=self._in_order(API_KEY),
                access=self._in_order(ACCESS),
                proposals=self._in_order(PROPOSAL),
                presets=self._in_order(PRESET),
                bots=self._in_order(BOT),
                drafts=self._in_order(DRAFT),
            ),
            instances=self._in_order(INSTANCE),
            own_profiles=self._own_profiles(),
        )

    def _own_profiles(self) -> Profiles:
        profiles, configs = self._in_order(PROFILE), self._in_order(LLM_CONFIG)
        return Profiles(profiles, configs) if profiles or configs else NO_PROFILES

    def _in_order(self, kind: str) -> Mapping[str, Entry[Any]]:
        if kind not in self._sorted:
            self._sorted[kind] = dict(sorted(self._entries[kind].items()))
        return self._sorted[kind]

    def read(self, values: Mapping[str, Stored]) -> Readings:
        """Read the values that are new. Changes nothing, so that a thread can do it."""
        found: Readings = []
        for key, value in values.items():
            if isinstance(value, bytes | str) and len(value) > VALUE_LIMIT:
                value = too_large(key, len(value))
            revision = None
            if value is not None:
                revision = value.message if isinstance(value, Problem) else revision_of(value)
            if self._revisions.get(key) != revision:
                found.append(self._reading(key, value, revision))
        return found

    def take(self, readings: Readings) -> bool:
        """Put values that were read in force; whether there were any."""
        for reading in readings:
            key = reading.key
            kind = next(kind for kind in self._entries if key.startswith(kind))
            name = key.removeprefix(kind) or key
            self._problems.pop(key, None)
            if reading.revision is None:
                self._revisions.pop(key, None)
                if self._entries[kind].pop(name, None):
                    self._sorted.pop(kind, None)
                continue
            self._revisions[key] = reading.revision
            if reading.problems:
                self._problems[key] = reading.problems
            if reading.entry is not None:
                self._entries[kind][name] = reading.entry
                self._sorted.pop(kind, None)
        return bool(readings)

    def _reading(self, key: str, value: Stored, revision: str | None) -> _Reading:
        if value is None or revision is None:
            return _Reading(key, None)
        reader = DocumentReader(self._writer)
        try:
            entry = self._entry(key, _text_of(key, value), reader)
        except DocumentErrors as errors:
            return _Reading(key, revision, errors.problems)
        entry = replace(entry, document=SOURCE, origins={}, operator=False, revision=revision)
        return _Reading(key, revision, tuple(reader.problems), entry)

    def _entry(self, key: str, text: str, reader: DocumentReader) -> Entry[Any]:
        """The value of a key; raises DocumentErrors where it has none."""
        if key == DEFAULT:
            return _default(text)
        part = read_value(text, key, numbered=False)
        if not isinstance(part.value, dict):
            message, cure = "its value is not an object", "SET one JSON object"
            raise DocumentErrors([Problem(key, message, cure)])
        kind, _ = name_of(key)
        read: Mapping[Kind, Callable[[RawValue], Entry[Any] | None]] = {
            "agent": lambda part: reader.agent(part, None),
            "instance": reader.instance,
            "profile": reader.profile,
            "llm-config": reader.llm_config,
            "binding": reader.binding,
            "role": reader.role,
            "key": reader.key,
            "access": reader.access,
            "proposal": reader.proposal,
            "preset": reader.presets,
            "bot": reader.bot,
            "draft": reader.draft,
        }
        entry = read[kind](part)
        own = PREFIXES[kind] + str(getattr(entry.value, _NAMES[kind])) if entry else ""
        if entry is None:
            raise DocumentErrors(reader.problems)
        if key != own:
            message = "its key does not match its value"
            raise DocumentErrors([Problem(key, message, f"SET this value at {own}")])
        return entry


_NAMES: Mapping[Kind, str] = {
    "profile": "name",
    "llm-config": "name",
    "agent": "id",
    "instance": "id",
    "binding": "slot",
    "role": "person",
    "key": "id",
    "access": "subject",
    "proposal": "agent",
    "preset": "owner",
    "bot": "id",
    "draft": "id",
}
"""What of a value must stand in its key."""


def _wanted(key: str) -> str:
    return "the id of an agent" if key == DEFAULT else "one JSON object"


def _text_of(key: str, value: bytes | str | Problem) -> str:
    """The text that a key holds; raises DocumentErrors for anything else."""
    if isinstance(value, Problem):
        raise DocumentErrors([value])
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        message, cure = "its value is not UTF-8 text", f"SET it to {_wanted(key)}"
        raise DocumentErrors([Problem(key, message, cure)]) from None


def referred_to(kind: Kind, text: str) -> tuple[Kind, str] | None:
    """The kind and the name of what a valid text refers to: a profile, or a configuration."""
    if kind == "agent" and "profile" in text.lower():
        profile = AgentDefinition.model_validate_json(text).profile
        return ("profile", profile) if profile else None
    if kind == "profile":
        from registry.profile import Profile

        ref = Profile.model_validate_json(text).llm_config_ref
        return ("llm-config", ref) if ref else None
    return None


def llm_config_in(text: str) -> NamedLlmConfig:
    """The model configuration in a valid text."""
    from registry.profile import NamedLlmConfig

    return NamedLlmConfig.model_validate_json(text)


def problems_of(key: str, text: str, writer: WriterPermissions) -> tuple[Problem, ...]:
    """What is wrong with a value that is to be stored at a key."""
    size = len(text.encode())
    if key.startswith(PRESET) and size > MOST_BYTES:
        message = f"your presets have {size} bytes together, more than {MOST_BYTES}"
        cure = "shorten their texts, or delete one"
        return (Problem("presets", message, cure, path="system_prompt_append"),)
    if size > VALUE_LIMIT:
        return (too_large(key, size),)
    (reading,) = CachedDocuments(writer).read({key: text})
    return tuple(problem for problem in reading.problems if problem.level == "error")


def _default(text: str) -> Entry[str]:
    agent_id: Any = text.strip()
    if agent_id.startswith('"'):
        agent_id = read_value(text, DEFAULT, numbered=False).value
    if not isinstance(agent_id, str) or not is_slug(agent_id) or detect_secret(agent_id):
        message = f"{shown(agent_id)} is not a valid id ({SLUG_RULE})"
        raise DocumentErrors([Problem(DEFAULT, message, "SET it to the id of an agent")])
    return Entry(agent_id, "", DEFAULT)
