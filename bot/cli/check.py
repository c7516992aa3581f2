"""`switchboard check`: every mistake of a configuration in one run, each with place and cure."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path as File
from typing import Any

from dotenv.parser import parse_stream
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bot.errors import StoreError
from bot.messages import Usage
from bot.ops.network import proxy_of
from bot.ops.process import writable_by_others
from bot.ops.redaction import too_short
from bot.ops.tasks import SystemClock
from bot.settings import Bot, Settings, meanings
from bot.skills.python_skill import discover_skills
from bot.startup import model_advice, settings_problems
from bot.store.client import StoreClient, connect
from bot.store.health import StoreHealth
from bot.usage.pricing import Prices
from bot.variables import ENV_FILE, FILE, InvalidFile, environment
from registry.binding import AgentBindingType, BotIdentity
from registry.definition import McpServer
from registry.errors import DocumentErrors, Problem, RegistryError, summary, worst_first
from registry.fields import Path, describe, fields_of, model_at, nearest
from registry.secrets import TOO_SHORT, TOO_SHORT_CURE, reference_names
from registry.snapshot import Document, Snapshot, inactive, merge_documents
from registry.sources.environment import read_environment, read_legacy
from registry.sources.file import read_file
from registry.sources.redis import RedisStore
from registry.validation import RawDocument, agent_id, binding_slot, build_valid_parts, merge

STORE_SECONDS = 3.0
_NOT_A_MODEL = ("model_type", "model_attributes_type", "dict_type", "list_type")
_BOT = re.compile(r"(?i)BOTS__(\d+)__(\w+)\Z")
_HOST = re.compile(r"(?i)[a-z0-9_]([a-z0-9._-]*[a-z0-9])?\.?\Z|[0-9a-f:]+\Z")
_HASH_OR_ID = re.compile(r"[0-9a-f]{64}\Z|\d+\Z")
_NUMBERED = re.compile(r"(?i)(agents?|bindings?|bots?)_+(\d+)_++(\w+)\Z")
_SINGLE_AGENT = ("MCPSERVERS__0__ENDPOINT", "WHITELISTPATTERNS__0")
_WELL_NUMBERED = re.compile(r"(?i)(agents|bindings|bots)__\d+__\w+\Z")


def check_configuration(*, env_file: bool = True, servers: bool = False) -> list[Problem]:
    """What is wrong and what is surprising, the worst first; asks the MCP servers if told to."""
    file, found = _readable(ENV_FILE if env_file else None)
    bots = dict(_valid_bots(environment(file)))
    settings, wrong = _valid_settings(file, bots)
    environ = settings.environ
    skills = asyncio.run(discover_skills())
    found += wrong
    found += settings.unusable_files
    found += settings_problems(settings)
    found += _check_settings(settings, environ, skills.skills)
    found += _check_env_file(file)
    found += skills.problems
    found += _check_agents(settings, environ, bots, skills.skills)
    if servers:
        from bot.cli.check_servers import ask_servers

        found += asyncio.run(ask_servers(settings, skills))
    return worst_first(found)


def as_text(problems: list[Problem]) -> str:
    """The problems for people, and how many there are."""
    return "\n".join([*(f"{one.level:8}{one}" for one in problems), summary(problems)])


def as_json(problems: list[Problem]) -> dict[str, Any]:
    """The problems for machines."""
    rows = [{"level": problem.level, **asdict(problem)} for problem in problems]
    return {"errors": sum(row["level"] == "error" for row in rows), "problems": rows}


# --- settings ------------------------------------------------------------------------------------


def _readable(file: str | None) -> tuple[str | None, list[Problem]]:
    """The file, or None and why it cannot be read, so that all else is checked without it."""
    try:
        environment(file)
    except DocumentErrors as errors:
        return None, [*errors.problems]
    return file, []


def _valid_settings(file: str | None, bots: Mapping[int, Bot]) -> tuple[Settings, list[Problem]]:
    """The settings with a default for each wrong one, so that all others are checked as well."""
    try:
        return Settings(_env_file=file), []
    except ValidationError as error:
        found = settings_errors(error)
        wrong = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
    wrong |= Settings.model_fields.keys() & {f"{name}{FILE}".lower() for name in wrong}
    rest: dict[str, Any] = {
        name: Settings.model_fields[name].get_default(call_default_factory=True, validated_data={})
        for name in wrong
    }
    if "bots" in wrong:
        rest["bots"] = list({bot.id: bot for bot in bots.values()}.values())
    return Settings(_env_file=file, **rest), found


def _valid_bots(environ: Mapping[str, str]) -> Iterator[tuple[int, Bot]]:
    """The bots without a mistake, by their number."""
    given: dict[int, dict[str, str]] = {}
    for variable, value in environ.items():
        if (match := _BOT.match(variable)) and value:
            given.setdefault(int(match[1]), {})[match[2].lower()] = value
    for number in sorted(given):
        with suppress(ValidationError):
            yield number, Bot.model_validate(given[number])


def _check_settings(
    settings: Settings, environ: Mapping[str, str], skills: Collection[str]
) -> Iterator[Problem]:
    """What is legal but surprising in the settings, beyond what the start says as well."""
    if not settings.admins:
        message = "it is empty: the host has no admin unless somebody claimed it"
        cure = "set it to numeric ids, or send a bot /claim and the code that `run` prints"
        yield Problem("ADMINS", message, cure, "note")
    for name in sorted(one for one in settings.agent_secrets if not environ.get(one)):
        message = f"it lists {name}, which is not set"
        yield Problem("AGENT_SECRETS", message, f"set {name}, or remove it", "warning")
    for name in sorted(settings.agent_skills - set(skills)):
        message = f"it lists {name}, which no installed package has"
        cure = "install its package, or remove it; `switchboard skill list` shows what there is"
        yield Problem("AGENT_SKILLS", message, cure, "warning")
    for host in sorted(one for one in settings.internal_hosts if not _HOST.match(one)):
        cure = "write the bare name or address of a host, without scheme, port or path"
        yield Problem("INTERNAL_HOSTS", f"{host!r} is not a valid host", cure, "warning")
    with suppress(OSError):
        if wrong := writable_by_others(settings.data_dir):
            yield Problem("DATA_DIR", *wrong)
    if settings.proxy_judges and not any(map(proxy_of, ("https://a.example", "http://a.example"))):
        cure = "set HTTPS_PROXY to the proxy's address, or remove it"
        yield Problem("PROXY_JUDGES", "it is set, but no proxy is named", cure, "warning")
    yield from _unpriced(settings)


def _unpriced(settings: Settings) -> Iterator[Problem]:
    """A budget in dollars, and a model without a known price."""
    dollars = [f"BUDGETS__{kind.upper()}__USD" for kind, one in settings.budgets if one.usd]
    prices = Prices(settings.prices, listed=settings.anthropic_base_url is None)
    models = {settings.llm.model, settings.llm.fallbackmodel or settings.llm.model}
    for model in sorted(models) if dollars else ():
        if prices.price(model, Usage(input=1)).micros is None:
            message = f"the price of {model} is not known, so it is not used"
            cure = "set its price in PRICES, or give the budget in tokens"
            yield Problem(dollars[0], message, cure, "warning")


def _check_env_file(file: str | None) -> Iterator[Problem]:
    """Lines of the file that set nothing, and are passed over."""
    if file is None or not File(file).is_file():
        return
    with File(file).open(encoding="utf-8", errors="replace") as lines:
        for line in parse_stream(lines):
            if line.error or (line.key and line.value is None):
                cure = "write NAME=value, or put a # in front"
                place = f"{file}:{line.original.line}"
                yield Problem(place, "this line sets nothing", cure, "warning")


def settings_errors(error: ValidationError) -> list[Problem]:
    """One problem for each setting that was refused."""
    return [_problem(one) for one in error.errors(include_input=False, include_url=False)]


def _problem(details: ErrorDetails) -> Problem:
    whole = details["loc"]
    ends = min(len(whole), 3)  # BOTS, its number, and one of its fields
    if whole[0] != "bots":
        depths = range(1, len(whole))
        ends = next((n for n in depths if model_at(whole[:n], Settings) is None), ends)
    loc, inside = whole[:ends], whole[ends:]
    message, cure = describe(details)
    match details["type"]:
        case "missing":
            message, cure = "is not set", "set it, or remove the other variables that begin like it"
        case "extra_forbidden":
            known = _parts(loc[:-1])
            near = nearest(_variable(loc), known, 0.8)
            cure = f"did you mean {near}?" if near else f"known: {', '.join(known)}"
            message = "is not a setting"
        case kind if kind in _NOT_A_MODEL:
            parts = _parts(loc)
            message, cure = "must be JSON", ""
            if parts != [_variable(loc)]:
                message = "cannot be set as a whole"
                cure = f"set {', '.join(parts[:-1])} or {parts[-1]}"
    part = ".".join(str(step) for step in inside if isinstance(step, str))
    file = FILE if isinstance(details.get("ctx", {}).get("error"), InvalidFile) else ""
    return Problem(_variable(loc) + file, f"{part} {message}".strip(), cure or _meaning(loc))


def _variable(loc: Path) -> str:
    return "__".join(str(part).upper() for part in loc)


def _parts(loc: Path) -> list[str]:
    """The variables below a place, as they are written."""
    model = model_at(loc, Settings)
    below = (*loc, 0) if loc == ("bots",) else loc
    return [_variable((*below, name)) for name in fields_of(model)] if model else [_variable(loc)]


def _meaning(loc: Path) -> str:
    model: Any = model_at(loc[:-1], Settings)
    meaning = meanings(model).get(str(loc[-1])) if model else None
    return f"its meaning: {meaning}" if meaning else "correct it"


# --- agents --------------------------------------------------------------------------------------


def _check_agents(
    settings: Settings, environ: Mapping[str, str], bots: Mapping[int, Bot], skills: Collection[str]
) -> Iterator[Problem]:
    """What is wrong or surprising in the file and the environment, over what a store holds."""
    stored = asyncio.run(_read_store(settings))
    hashes = {number: bot.hash for number, bot in bots.items()}
    file, variables = RawDocument(), read_environment(environ, hashes)
    try:
        file = read_file(settings.agents_path, required=settings.agents_file is not None)
    except DocumentErrors as errors:
        yield from errors.problems
    yield from _overridden(file, variables)
    configured = merge(file, variables)
    raw = merge(file, variables, read_legacy(environ, bool(settings.bots)))
    snapshot = Snapshot.of(merge_documents(build_valid_parts(raw), stored))
    described = {own for part in raw.agents if (own := agent_id(part))}
    known = [BotIdentity(bot.hash, bot.id) for bot in settings.bots]
    yield from snapshot.document.problems
    yield from inactive(snapshot.document, {*snapshot.agents, *described})
    yield from snapshot.conflicts(known)
    yield from _unknown_bots(snapshot.document, known)
    yield from _unanswered(snapshot, settings) if known else ()
    yield from snapshot.unhandled(skills)
    yield from _references(snapshot.document, environ)
    yield from _unread(environ, has_agents=bool(configured.agents))
    yield from _surprises(snapshot, settings)


async def _read_store(settings: Settings) -> Document:
    """What a store of the operator's own holds; the bundled one runs only beside its host."""
    if settings.redis_url is None:
        return Document()
    clock = SystemClock()
    client = StoreClient(connect(settings.redis_url.get_secret_value(), connections=2), clock)
    store = RedisStore(client.redis, settings.guest_permissions())
    try:
        async with asyncio.timeout(STORE_SECONDS):
            health = StoreHealth(client, clock)
            found = await health.problems(allow_volatile=settings.allow_volatile_redis)
            if all(one.level != "error" for one in found):
                await store.reload()
                found += await store.tracking_problems()
    except (RegistryError, StoreError, OSError, ValueError) as error:
        so = "so neither it nor its agents are checked"
        why = str(error) or type(error).__name__
        message = f"the store did not answer as it should ({why}), {so}"
        found = [Problem("REDIS_URL", message, "start it, or correct REDIS_URL", "warning")]
    finally:
        await client.close()
    document = store.document
    return replace(document, problems=(*document.problems, *found))


def _overridden(file: RawDocument, environment: RawDocument) -> Iterator[Problem]:
    """What the environment takes from the file, field by field."""
    above, below = _places(environment), _places(file)
    for what in above:
        if what in below and None not in what:
            message = f"it overrides {below[what]}"
            yield Problem(above[what], message, "remove one of the two", level="note")


def _places(raw: RawDocument) -> dict[tuple[object, ...], str]:
    """Where a document sets what: agents field by field, all else as a whole."""
    agents = ((part, path) for part in raw.agents for path in _fields(part.value))
    return {
        **{("agent", agent_id(part), *path): part.at(path) for part, path in agents},
        **{("binding", binding_slot(part)): part.place for part in raw.bindings},
        **{("server", name): part.place for name, part in raw.servers.items()},
        **({("default",): raw.default.place} if raw.default else {}),
    }


def _fields(agent: Any) -> list[Path]:
    """The paths of an agent's fields, those of its model settings one by one."""
    value = agent if isinstance(agent, Mapping) else {}
    llm = value.get("llmOverrides")
    names = llm if isinstance(llm, Mapping) else ()
    own = [(name,) for name in value if name not in ("id", "llmOverrides")]
    return [*own, *(("llmOverrides", name) for name in names)]


def _unknown_bots(document: Document, bots: Collection[BotIdentity]) -> Iterator[Problem]:
    """Bindings by a hash or an id that no configured bot has."""
    known = {key for bot in bots for key in bot.keys}
    for entry in document.bindings.values():
        by_bot = entry.value.type is AgentBindingType.TelegramBot
        key = entry.value.binding_key if by_bot else entry.value.bot
        if key is not None and _HASH_OR_ID.match(key) and key not in known:
            place = entry.origins.get("bindingKey" if by_bot else "bot", entry.place)
            message = f"no configured bot has the hash or id {key[:12]}…"
            cure = "correct it (switchboard token-hash), or set the token as BOTS__<n>__TOKEN"
            yield Problem(place, message, cure, level="warning")


def _unanswered(snapshot: Snapshot, settings: Settings) -> Iterator[Problem]:
    """Bots that no agent answers, as far as it can be known from here."""
    place = str(settings.agents_path)
    if not snapshot.agents:
        cure = "describe one, or add one from a chat"
        yield Problem(place, "there is no agent, so the bots answer nobody", cure, level="note")
    elif not snapshot.default and not any(snapshot.bindings):
        message = "no agent is bound and none is the default, so the bots answer nobody"
        yield Problem(place, message, 'set "defaultAgentId", or bind one', level="note")


def _references(document: Document, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Variables that documents refer to and are not set, or too short to be found in texts."""
    referred: list[str] = []
    for name, server, place in _all_servers(document):
        texts = [server.url or "", *server.env.values(), *server.headers.values()]
        if server.auth is not None:
            texts += [server.auth.client_id, server.auth.client_secret]
        references = dict.fromkeys(name for text in texts for name in reference_names(text))
        referred += references
        for reference in references:
            if not environ.get(reference):
                message = f"server '{name}' refers to ${{{reference}}}, which is not set"
                cure = f"set {reference}"
                if environ.get(reference + FILE):
                    cure += (
                        f", or list it in AGENT_SECRETS: {reference}{FILE} is not read otherwise"
                    )
                yield Problem(place, message, cure, level="warning")
    for entry in document.agents.values():
        auths = (skill.webhook_auth for skill in entry.value.skills)
        referred += [auth.variable for auth in auths if auth]
    for name in dict.fromkeys(referred):
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


def _unread(environ: Mapping[str, str], *, has_agents: bool) -> Iterator[Problem]:
    """Variables that look like ours and are not read."""
    known = [name.upper() for name in Settings.model_fields]
    for variable in sorted(environ):
        head = variable.upper().partition("__")[0]
        message, cure = "this variable is not read", ""
        if (match := _NUMBERED.match(variable)) and not _WELL_NUMBERED.match(variable):
            root = match[1].upper().removesuffix("S") + "S"
            cure = f"write {root}__{match[2]}__{match[3].upper()}"
        elif has_agents and variable.upper().startswith(_SINGLE_AGENT):
            message = "it belongs to single-agent mode, which is off while agents are configured"
            cure = "remove it, or move it to an agent"
        elif head not in known and not head.startswith(("AGENTS", "BINDINGS", "BOT")):
            near = nearest(head, known, 0.9)
            cure = f"did you mean {near}?" if near else ""
        if cure:
            yield Problem(variable, message, cure, level="warning")


def _surprises(snapshot: Snapshot, settings: Settings) -> Iterator[Problem]:
    """What is odd in single agents: idle patterns, and settings that their model will drop."""
    defaults, advise = settings.llm.as_configuration(), model_advice(settings)
    for agent, entry in snapshot.agents.items():
        yield from snapshot.review(agent)
        effective = snapshot.effective(agent, defaults)
        for sentence in advise(effective.llm) if effective else ():
            place = entry.origins.get("llmOverrides", entry.place)
            cure = "change the model or the setting"
            yield Problem(place, f"agent '{agent}': {sentence}", cure, level="warning")
