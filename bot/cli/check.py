"""`switchboard check`: every mistake in a configuration at once, each with its place and fix."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bot.configuration import agent_findings, idle_variables, settings_findings
from bot.errors import StoreError
from bot.ops.network import port_problem
from bot.ops.process import data_dir_problem
from bot.ops.tasks import SystemClock
from bot.settings import Bot, Settings
from bot.skills.python_skill import InstalledSkills, discover_skills
from bot.startup import instance_files, profile_files
from bot.store.admission import waited_for
from bot.store.client import StoreClient, connect
from bot.store.embedded import is_in_use
from bot.store.health import StoreHealth
from bot.variables import BOT_SETTING, ENV_FILE, FILE, InvalidFile, environment
from registry.binding import BotIdentity
from registry.errors import DocumentErrors, Problem, RegistryError, summary, worst_first
from registry.fields import Path, describe, fields_of, model_at, nearest
from registry.profile_rules import LastGoodProfiles
from registry.snapshot import Document, Snapshot, inactive, merge_documents, with_packaged
from registry.sources.environment import read_environment, read_legacy
from registry.sources.file import read_file
from registry.sources.profile_files import packaged_profiles
from registry.sources.redis import RedisStore
from registry.validation import RawDocument, agent_id, binding_slot, build_valid_parts, merge

STORE_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class LiveAnswers:
    """What others said: problems, successes, @usernames of bots by id, and unknown models."""

    problems: Sequence[Problem] = ()
    well: Sequence[str] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    unknown_models: Collection[str] = ()


Ask = Callable[[Settings, InstalledSkills, Document], Coroutine[Any, Any, LiveAnswers]]
"""Asks others; is given what the store holds, which each check reads once."""
_NOT_A_MODEL = ("model_type", "model_attributes_type", "dict_type", "list_type")
_NUMBERED = ("bots", "api_keys")
"""Settings that are lists: `BOTS__0__…`."""


def check_configuration(*, env_file: bool = True, ask: Ask | None = None) -> list[Problem]:
    """What is wrong and what is surprising, the worst first."""
    return check(env_file=env_file, ask=ask)[0]


def check(*, env_file: bool = True, ask: Ask | None = None) -> tuple[list[Problem], Sequence[str]]:
    """The same, and a line for each service that `ask` asked with success."""
    file, found = _readable(ENV_FILE if env_file else None)
    bots = dict(_valid_bots(environment(file)))
    settings, wrong = _valid_settings(file, bots)
    skills = asyncio.run(discover_skills())
    found += wrong
    found += settings.unusable_files
    refused = {one.place.removesuffix(FILE) for one in found}
    found += _place_problems(settings)
    refused |= {"BOTS__0__TOKEN"} if any(place.startswith("BOTS") for place in refused) else set()
    found += (one for one in settings_findings(settings, skills) if one.place not in refused)
    stored = asyncio.run(_below(settings))
    asked = asyncio.run(ask(settings, skills, stored)) if ask else LiveAnswers()
    named = {one.place for one in found if one.level == "error"}
    found += (one for one in asked.problems if one.place not in named)
    found += _check_agents(settings, bots, skills, stored, asked.names)
    doubted = tuple(f"{model} is not a model we know" for model in asked.unknown_models)
    certain = [one for one in found if not one.message.endswith(doubted)]
    return worst_first(certain), asked.well


def start_errors(*, env_file: bool = True, places: bool = True) -> list[Problem]:
    """What keeps a host from starting, all of it, in the words of `check`; then idle variables.

    Without `places` neither its folder nor its port is looked at.
    """
    file, found = _readable(ENV_FILE if env_file else None)
    settings, wrong = _valid_settings(file, dict(_valid_bots(environment(file))))
    found += [*wrong, *settings.unusable_files]
    found += _place_problems(settings) if places else ()
    errors = [problem for problem in worst_first(found) if problem.level == "error"]
    return [*errors, *idle_variables(settings)] if errors else []


def _place_problems(settings: Settings) -> list[Problem]:
    """Why the host cannot have its folder or its port; a note where it runs there already."""
    if is_in_use(settings.data_dir):
        message = f"a host is running with {settings.data_dir}, so it and the port were not tried"
        return [Problem("DATA_DIR", message, "stop that host to check them as well", "note")]
    folder = data_dir_problem(settings.data_dir)
    port = port_problem(settings.http_host, settings.http_port)
    return [problem for problem in (folder, port) if problem]


def as_text(problems: list[Problem], well: Sequence[str] = ()) -> str:
    """The problems for people, and how many there are; the successes come first."""
    answered = (f"{'ok':8}{line}" for line in well)
    return "\n".join([*answered, *(f"{one.level:8}{one}" for one in problems), summary(problems)])


def as_json(problems: list[Problem], well: Sequence[str] = ()) -> dict[str, Any]:
    """The same for machines."""
    rows = [{"level": problem.level, **asdict(problem)} for problem in problems]
    errors = sum(row["level"] == "error" for row in rows)
    return {"errors": errors, "problems": rows, "answered": [*well]}


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
        if (match := BOT_SETTING.match(variable)) and value:
            given.setdefault(int(match[1]), {})[match[2].lower()] = value
    for number in sorted(given):
        with suppress(ValidationError):
            yield number, _bot_of(given[number])


def _bot_of(values: Mapping[str, str]) -> Bot:
    """A bot without those of its settings that are wrong; ValidationError if its token is."""
    try:
        return Bot.model_validate(values)
    except ValidationError as error:
        wrong = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
    return Bot.model_validate({name: value for name, value in values.items() if name not in wrong})


def settings_errors(error: ValidationError) -> list[Problem]:
    """One problem for each setting that was refused."""
    return [_problem(one) for one in error.errors(include_input=False, include_url=False)]


def _problem(details: ErrorDetails) -> Problem:
    whole = details["loc"]
    ends = min(len(whole), 3)  # BOTS, its number, and one of its fields
    if whole[0] not in _NUMBERED:
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
        case "literal_error":
            message = message.replace("'", "")
        case kind if kind in _NOT_A_MODEL:
            parts = _parts(loc)
            message, cure = "must be JSON", ""
            if parts != [_variable(loc)]:
                message = "cannot be set as a whole"
                cure = f"set {', '.join(parts[:-1])} or {parts[-1]}"
    part = ".".join(str(step) for step in inside if isinstance(step, str))
    file = FILE if isinstance(details.get("ctx", {}).get("error"), InvalidFile) else ""
    return Problem(_variable(loc) + file, f"{part} {message}".strip(), cure)


def _variable(loc: Path) -> str:
    return "__".join(str(part).upper() for part in loc)


def _parts(loc: Path) -> list[str]:
    """The variables below a place, as they are written."""
    model = model_at(loc, Settings)
    below = (*loc, 0) if loc in {(name,) for name in _NUMBERED} else loc
    return [_variable((*below, name)) for name in fields_of(model)] if model else [_variable(loc)]


# --- agents --------------------------------------------------------------------------------------


def _check_agents(
    settings: Settings,
    bots: Mapping[int, Bot],
    skills: InstalledSkills,
    stored: Document,
    names: Mapping[int, str],
) -> Iterator[Problem]:
    """What is wrong or surprising in the file and the environment, over what a store holds.

    `names` are the @usernames of bots by their ids, where they were asked.
    """
    hashes = {number: bot.hash for number, bot in bots.items()}
    file, variables = RawDocument(), read_environment(settings.environ, hashes)
    try:
        file = read_file(settings.agents_path, required=settings.agents_file is not None)
    except DocumentErrors as errors:
        file = RawDocument(problems=errors.problems)
    yield from _overridden(file, variables)
    raw = merge(file, variables, read_legacy(settings.environ, bool(settings.bots)))
    document = merge_documents(build_valid_parts(raw), stored)
    snapshot = Snapshot.of(LastGoodProfiles().resolved(document))
    described = {own for part in raw.agents if (own := agent_id(part))}
    known = [BotIdentity(bot.hash, bot.id, names.get(bot.id)) for bot in settings.bots]
    usable = [id for id in snapshot.document.instances if id in snapshot.runnable]
    yield from snapshot.document.problems
    yield from inactive(snapshot.document, {*snapshot.agents, *described, *usable})
    yield from snapshot.odd_instances()
    yield from snapshot.odd_profiles()
    yield from agent_findings(settings, snapshot, known, skills.skills)


async def _below(settings: Settings) -> Document:
    """What is in force below the agents file: the files in folders over what a store holds."""
    files, profiles = instance_files(settings), profile_files(settings)
    await files.reload()
    await profiles.reload()
    stored = await _read_store(settings)
    own = replace(files.document, own_profiles=profiles.document.own_profiles)
    own = replace(own, problems=(*own.problems, *profiles.document.problems))
    found = with_packaged(merge_documents(own, stored), files.packaged)
    return replace(found, packaged_profiles=packaged_profiles)


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
        found = [waited_for(error, settings.redis_url.get_secret_value())]
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
