"""Every mistake of a configuration in one run, and what is legal but surprising."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path as File

from registry.binding import AgentBindingType, Bindings, BotIdentity
from registry.definition import LlmConfiguration, McpServer
from registry.errors import DocumentErrors, Problem
from registry.json_text import Path
from registry.secrets import TOO_SHORT, TOO_SHORT_CURE, reference_names
from registry.snapshot import Document, Snapshot, inactive
from registry.sources.composite import joined
from registry.sources.environment import read_environment, read_legacy
from registry.validation import (
    RawDocument,
    RawValue,
    agent_id,
    assemble,
    binding_slot,
    merge,
    read_file_text,
)

Advice = Callable[[LlmConfiguration], list[str]]
_LEVELS = ("error", "warning", "note")
_HASH_OR_ID = re.compile(r"[0-9a-f]{64}\Z|\d+\Z")
_NEARLY = re.compile(r"(?i)(agents?|bindings?|bots?)_+(\d+)_++(\w+)\Z")
_EXACTLY = re.compile(r"(?i)(agents|bindings|bots)__\d+__\w+\Z")


def check(
    path: File | None,
    environ: Mapping[str, str],
    *,
    required: bool = False,
    bots: Collection[BotIdentity] = (),
    hashes: Mapping[int, str] | None = None,
    runtime: Document | None = None,
    defaults: LlmConfiguration | None = None,
    advice: Advice | None = None,
    handlers: Collection[str] = (),
    too_short: Callable[[str], bool] = lambda _value: False,
) -> list[Problem]:
    """Errors first, then warnings and notes, of a file under an environment.

    `bots` are the configured ones, `hashes` their token hashes by the index in `BOTS__<n>__`;
    `runtime` is what a store holds besides; `advice` tells which settings a model will drop;
    `handlers` are the internal skills of installed packages; `too_short` judges a secret's value.
    """
    found: list[Problem] = []
    file = _file(path, required, found)
    environment = read_environment(environ, hashes)
    found += _overridden(file, environment)
    draft = merge(file, environment)
    legacy = read_legacy(environ, bool(bots)) if not draft.agents else None
    draft = merge(draft, legacy) if legacy else draft
    document, _ = assemble(draft)
    snapshot = _snapshot(joined(document, runtime or Document()))
    drafted = {own for part in draft.agents if (own := agent_id(part))}
    found += snapshot.document.problems
    found += inactive(snapshot.document, {*snapshot.agents, *drafted})
    found += snapshot.conflicts(bots)
    found += _strangers(snapshot.document, bots)
    found += _nobody(snapshot, path) if bots else ()
    found += snapshot.unhandled(handlers)
    found += _unset(snapshot.document, environ)
    found += _short(snapshot.document, environ, too_short)
    found += _misspelt(environ, legacy is not None, bool(draft.agents))
    found += _surprises(snapshot, defaults or LlmConfiguration(), advice)
    return sorted(dict.fromkeys(found), key=lambda problem: _LEVELS.index(problem.level))


def _file(path: File | None, required: bool, found: list[Problem]) -> RawDocument:
    if path is None:
        return RawDocument()
    try:
        return read_file_text(path.read_bytes().decode("utf-8-sig"), str(path))
    except FileNotFoundError:
        if required:
            found.append(
                Problem(str(path), "the file is not there", "create it, or correct the path")
            )
    except UnicodeDecodeError:
        found.append(Problem(str(path), "it is not UTF-8 text", "save it as UTF-8"))
    except OSError as error:
        cure = "make it a file that the host may read"
        found.append(Problem(str(path), f"it cannot be read: {error.strerror}", cure))
    except DocumentErrors as errors:
        found += errors.problems
    return RawDocument()


def _overridden(file: RawDocument, environment: RawDocument) -> Iterator[Problem]:
    """What the environment takes from the file, field by field."""
    below = {own: part for part in file.agents if (own := agent_id(part))}
    for part in environment.agents:
        other = below.get(agent_id(part) or "")
        for path in _fields(part) if other else ():
            if other and path in _fields(other):
                yield _wins(part.at(path), other.at(path))
    bound = {slot: part for part in file.bindings if (slot := binding_slot(part))}
    for part in environment.bindings:
        if other := bound.get(binding_slot(part) or ""):
            yield _wins(part.place, other.place)
    for name in environment.servers.keys() & file.servers.keys():
        yield _wins(environment.servers[name].place, file.servers[name].place)
    if environment.default and file.default:
        yield _wins(environment.default.place, file.default.place)


def _fields(part: RawValue) -> list[Path]:
    """The paths of an agent's fields, those of its model settings one by one."""
    value = part.value if isinstance(part.value, Mapping) else {}
    own = [(name,) for name in value if name not in ("id", "llmOverrides")]
    llm = value.get("llmOverrides")
    return [*own, *(("llmOverrides", name) for name in (llm if isinstance(llm, Mapping) else ()))]


def _wins(above: str, below: str) -> Problem:
    return Problem(above, f"it wins over {below}", "remove one of the two", level="note")


def _snapshot(document: Document) -> Snapshot:
    return Snapshot(1, document, Bindings(entry.value for entry in document.bindings.values()))


def _nobody(snapshot: Snapshot, path: File | None) -> Iterator[Problem]:
    """Bots that nobody can answer, as far as it is seen from here."""
    place = str(path or "DEFAULTAGENTID")
    if not snapshot.agents:
        cure = "describe one, or add one from a chat"
        yield Problem(place, "there is no agent, so nobody answers", cure, level="note")
    elif not snapshot.default and not any(snapshot.bindings):
        told = "no agent is bound to anything, and none is the default, so nobody answers"
        yield Problem(place, told, 'set "defaultAgentId", or bind one', level="note")


def _strangers(document: Document, bots: Collection[BotIdentity]) -> Iterator[Problem]:
    """Bindings by a hash or an id that no configured bot has."""
    known = {key for bot in bots for key in bot.keys}
    for entry in document.bindings.values():
        by_bot = entry.value.type is AgentBindingType.TelegramBot
        key = entry.value.binding_key if by_bot else entry.value.bot
        if key is not None and _HASH_OR_ID.match(key) and key not in known:
            place = entry.origins.get("bindingKey" if by_bot else "bot", entry.place)
            told = f"no configured bot has the hash or id {key[:12]}…"
            cure = "correct it (switchboard token-hash), or set the token as BOTS__<n>__TOKEN"
            yield Problem(place, told, cure, level="warning")


def _unset(document: Document, environ: Mapping[str, str]) -> Iterator[Problem]:
    """References to variables that have no value here."""
    for name, server, place in _all_servers(document):
        for reference in dict.fromkeys(_references(server)):
            if not environ.get(reference):
                told = f"server '{name}' refers to ${{{reference}}}, which is not set"
                yield Problem(place, told, f"set {reference}", level="warning")


def _short(
    document: Document, environ: Mapping[str, str], too_short: Callable[[str], bool]
) -> Iterator[Problem]:
    """Variables that are referred to, and whose secret nobody can find in a text."""
    named = [name for _, server, _ in _all_servers(document) for name in _references(server)]
    for entry in document.agents.values():
        auths = (skill.webhook_auth for skill in entry.value.skills)
        named += [auth.variable for auth in auths if auth]
    for name in dict.fromkeys(named):
        if too_short(environ.get(name, "")):
            yield Problem(name, TOO_SHORT, TOO_SHORT_CURE, level="warning")


def _all_servers(document: Document) -> Iterator[tuple[str, McpServer, str]]:
    """Every server, shared ones and agents' own, with its name and its place."""
    for name, shared in document.mcp_servers.items():
        yield name, shared.value, shared.place
    for entry in document.agents.values():
        place = entry.origins.get("mcpServers", entry.place)
        if isinstance(entry.value.mcp_servers, Mapping):
            yield from ((name, one, place) for name, one in entry.value.mcp_servers.items())


def _references(server: McpServer) -> Iterator[str]:
    """The names that a server's definition refers to."""
    texts = [server.url or "", *server.env.values(), *server.headers.values()]
    if server.auth is not None:
        texts += [server.auth.client_id, server.auth.client_secret]
    return (name for text in texts for name in reference_names(text))


def _misspelt(environ: Mapping[str, str], legacy: bool, agents: bool) -> Iterator[Problem]:
    """Variables that look like ours and are not read."""
    for variable in sorted(environ):
        match = _NEARLY.match(variable)
        if match and not _EXACTLY.match(variable):
            root = match[1].upper().removesuffix("S") + "S"
            cure = f"write {root}__{match[2]}__{match[3].upper()}"
            yield Problem(variable, "this variable is not read", cure, level="warning")
        old = variable.upper().startswith(("MCPSERVERS__0__ENDPOINT", "WHITELISTPATTERNS__0"))
        if old and agents and not legacy:
            told = "it belongs to single-agent mode, which is off while agents are configured"
            cure = "remove it, or move it to an agent"
            yield Problem(variable, told, cure, level="warning")


def _surprises(
    snapshot: Snapshot, defaults: LlmConfiguration, advice: Advice | None
) -> Iterator[Problem]:
    """What is odd in single agents: idle patterns, and settings that their model will drop."""
    for one, entry in snapshot.agents.items():
        yield from snapshot.review(one)
        effective = snapshot.effective(one, defaults)
        for sentence in advice(effective.llm) if advice and effective else ():
            place = entry.origins.get("llmOverrides", entry.place)
            cure = "change the model or the setting"
            yield Problem(place, f"agent '{one}': {sentence}", cure, level="warning")
