"""`switchboard check --servers` and `--live`: asks others, and reports each answer in a line.

Without these options a check starts nothing and asks nobody.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase

from bot.cli.check import LiveAnswers
from bot.configuration import program_problems
from bot.errors import ModelError, ModelRefused
from bot.mcp.pool import Pool
from bot.mcp.server import McpServer
from bot.mcp.server_spec import ServerSpec
from bot.model.client import MessagesModel
from bot.ops.logging import configure
from bot.ops.network import proxy_of
from bot.ops.tasks import SystemClock
from bot.settings import Bot, Settings
from bot.skills.python_skill import InstalledSkills
from bot.startup import agent_resolver, described, shared_models, shared_settings
from bot.telegram.client import TelegramClient, new_session
from bot.telegram.errors import TelegramError, Unauthorized, UnknownMethod
from bot.tools.policy import OfferedTools, forbids, permits
from registry.catalog import Catalog
from registry.definition import allows, idle_patterns, patterns_of
from registry.errors import Level, Problem
from registry.models import table
from registry.policy import REQUIRE_CONFIRMATION
from registry.snapshot import Document, Snapshot

SERVERS_SECONDS = 30.0
"""How long all servers together may take to start and to list their tools."""
ANSWER_SECONDS = 15.0
"""How long Telegram and the model may take."""
_DOWN_CURE = "fix its definition, or the server"
_UNREACHABLE = re.compile(r"(?:\w+: )?(cannot connect to \S+): (start the server, .*)")
_NOTE_CURE = "change it in the server, if an agent needs the tool"


async def ask_everybody(
    settings: Settings, installed: InstalledSkills, stored: Document
) -> LiveAnswers:
    """What Telegram says of each token, the model's API, the store and the MCP servers."""
    catalog = await _described(settings)
    telegram, model, servers = await asyncio.gather(
        ask_telegram(settings),
        ask_model(settings, catalog.snapshot()),
        _ask_servers(settings, installed, catalog),
    )
    asked = (telegram, model, _answer_of_store(settings, stored), servers)
    return LiveAnswers(
        [problem for one in asked for problem in one.problems],
        [line for one in asked for line in one.well],
        telegram.names,
        model.unknown_models,
    )


async def ask_telegram(settings: Settings) -> LiveAnswers:
    """Who each bot is, as the Bot API says."""
    numbers = {bot.id: number for number, bot in settings.numbered().items()}
    session = new_session(proxy=proxy_of(settings.telegram_api_url))
    problems, well, names = list[Problem](), list[str](), dict[int, str]()

    async def ask(bot: Bot) -> None:
        place = f"BOTS__{numbers.get(bot.id, 0)}__TOKEN"
        client = TelegramClient(session, settings.telegram_api_url, bot.token)
        try:
            user = await client.call("getMe", {}, timeout=ANSWER_SECONDS)
        except Unauthorized as error:
            problems.append(Problem(place, error.why, error.cure))
        except UnknownMethod:
            cure = "copy the whole token from @BotFather, or correct TELEGRAM_API_URL"
            problems.append(Problem(place, "Telegram does not know this token (404)", cure))
        except TelegramError as error:
            cure = "check this machine's network and proxy, and TELEGRAM_API_URL"
            problems.append(Problem(place, f"Telegram did not answer: {error}", cure))
        else:
            known = user if isinstance(user, dict) else {}
            names[bot.id] = str(known.get("username", ""))
            well.append(f"{place}: it is @{names[bot.id]}, named {known.get('first_name', '')!r}")

    try:
        await asyncio.gather(*map(ask, settings.bots))
    finally:
        await session.close()
    return LiveAnswers(problems, well, names)


async def _described(settings: Settings) -> Catalog:
    """What the file and the environment describe; from here on nothing but errors is logged."""
    configure("CRITICAL", settings.log_format, settings.secrets)  # the problems say it all
    catalog = described(settings)
    await catalog.reload()
    return catalog


async def ask_model(settings: Settings, snapshot: Snapshot) -> LiveAnswers:
    """Whether the Messages API accepts the key and has the host's models; it charges nothing."""
    key = settings.anthropic_api_key
    if key is None and settings.anthropic_base_url is None:
        return LiveAnswers()  # that no key is set is said already
    url = settings.anthropic_base_url or ""
    model = MessagesModel(key.get_secret_value() if key else "", url, SystemClock())
    problems, well, unknown = list[Problem](), list[str](), list[str]()
    try:
        for name, place in _models(settings, snapshot).items():
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await model.look_up(name)
            except (ModelError, TimeoutError) as error:
                if isinstance(error, ModelRefused) and error.fault == "model":
                    unknown.append(name)
                problems.append(_refusal(name, place, error))
                if problems[-1].place == "ANTHROPIC_API_KEY":
                    break  # it is the same for each model
            else:
                well.append(f"{place}: the Messages API accepts the key, and has {name}")
    finally:
        await model.close()
    return LiveAnswers(problems, well, unknown_models=unknown)


def _refusal(name: str, place: str, error: Exception) -> Problem:
    """Why a model could not be looked up, with a fix."""
    said = str(error) or f"no answer in {ANSWER_SECONDS:.0f} s"
    if not isinstance(error, ModelRefused):
        cure = "check this machine's network and proxy, and ANTHROPIC_BASE_URL"
        return Problem(place, f"{name}: no usable answer: {said}", cure)
    if error.fault == "model":
        near = get_close_matches(name, list(table()), n=1, cutoff=0.8)
        cure = f"did you mean {near[0]}?" if near else "correct the name"
        return Problem(place, f"the Messages API does not know {name}", cure)
    message, _, cure = said.rpartition("; ")
    if not message or not cure.startswith(("check ", "lower ")):
        message, cure = said, "correct ANTHROPIC_API_KEY, or the name of the model"
    if error.fault in ("setting", "address"):
        return Problem(place, f"{name}: {message}", cure)
    return Problem("ANTHROPIC_API_KEY", f"it cannot be used: {message}", cure)


def _models(settings: Settings, snapshot: Snapshot) -> dict[str, str]:
    """The host's models and those of agents, each with the place where it is set."""
    found = {settings.llm.model: "LLM__MODEL"}
    if settings.llm.fallbackmodel:
        found.setdefault(settings.llm.fallbackmodel, "LLM__FALLBACKMODEL")
    for entry in snapshot.agents.values():
        own, at = entry.value.llm_overrides, entry.origins
        models = {"model": own.model, "fallbackModel": own.fallback_model} if own else {}
        for field, name in models.items():
            if name:
                found.setdefault(name, at.get(f"llmOverrides.{field}", entry.place))
        shared, place = shared_settings(snapshot, entry.value)
        for name in (shared.model, shared.fallback_model):
            if name:
                found.setdefault(name, place)
    for name, place in shared_models(snapshot):
        found.setdefault(name, place)
    return found


def _answer_of_store(settings: Settings, stored: Document) -> LiveAnswers:
    """Whether the operator's own store can be used; its problems are a part of every check."""
    is_wrong = any(problem.place == "REDIS_URL" for problem in stored.problems)
    if settings.redis_url is None or is_wrong:
        return LiveAnswers()
    return LiveAnswers(
        well=[f"REDIS_URL: the store answers, and holds {len(stored.agents)} agents"]
    )


# --- MCP servers ---------------------------------------------------------------------------------


async def ask_servers(
    settings: Settings, installed: InstalledSkills, _stored: Document
) -> LiveAnswers:
    """What keeps servers of the file and the environment from being used, wholly or in part."""
    return await _ask_servers(settings, installed, await _described(settings))


async def _ask_servers(
    settings: Settings, installed: InstalledSkills, catalog: Catalog
) -> LiveAnswers:
    snapshot, places = catalog.snapshot(), dict[ServerSpec, str]()
    resolver, specs = agent_resolver(settings, catalog, installed), dict[str, list[ServerSpec]]()
    for agent, entry in snapshot.agents.items():
        if (made := resolver.current(agent)) is not None:
            specs[agent] = [*made.tools.servers]
            place = entry.origins.get("mcpServers", entry.place)
            places |= {spec: place for spec in made.tools.servers if spec not in places}
    pool = Pool(SystemClock())
    try:
        await pool.ensure(places)
        await pool.ready(places, SERVERS_SECONDS)
        found = [(spec, one, places[spec]) for spec in places for one in pool.known([spec])]
        problems = [problem for row in found for problem in _problems(*row)]
        well = [
            f"{place}: server '{spec.name}' answers, and offers {len(server.tools)} tools"
            for spec, server, place in found
            if server.connection is not None
        ]
        idle = [*_idle_patterns(snapshot, pool, specs), *_idle_floor(settings, pool, specs)]
        return LiveAnswers([*problems, *idle], well)
    finally:
        await pool.close()


def _problems(spec: ServerSpec, server: McpServer, place: str) -> Iterator[Problem]:
    name = spec.name
    is_told = any(program_problems(name, spec.definition, place))
    if server.connection is None and not is_told:
        why = server.reason if server.settled.is_set() else f"no answer in {SERVERS_SECONDS:.0f} s"
        match = _UNREACHABLE.fullmatch(why)
        why, cure = (match[1], match[2]) if match else (why, _DOWN_CURE)
        yield Problem(place, f"server '{name}' cannot be used: {why}", cure, "warning")
    for note in server.notes:
        yield Problem(place, f"server '{name}': {note}", _NOTE_CURE, "warning")
    one, names = spec.definition, [tool.name for tool in server.tools]
    globs = {"repeatable": one.repeatable, "allowCredentials": one.allow_credentials}
    globs["cache.tools"] = one.cache.tools if one.cache else ()
    for field, given in globs.items() if server.connection is not None else ():
        for glob in given:
            if not any(fnmatchcase(tool, glob) for tool in names):
                message = f"server '{name}': '{glob}' in {field} matches no tool"
                yield Problem(place, message, f"there are: {_some(names)}", "warning")


def _idle_patterns(
    snapshot: Snapshot, pool: Pool, specs: dict[str, list[ServerSpec]]
) -> Iterator[Problem]:
    """Patterns that match no tool of an agent whose servers have all said what they offer."""
    for agent, servers in specs.items():
        if not pool.have_listed(servers):
            continue
        entry = snapshot.agents[agent]
        keys = [tool.key for tool in pool.tools(servers)]
        keys += [f"skill:{skill.name}" for skill in entry.value.skills]
        offered = OfferedTools(frozenset(keys))
        told = {issue.path for issue in idle_patterns(entry.value, snapshot.servers)}
        for path, pattern in patterns_of(entry.value):
            matches = permits if allows(path) else _matches
            if path not in told and not any(matches(pattern, key, offered) for key in keys):
                place = entry.origins.get(str(path[0]), entry.place)
                if str(path[1]).startswith("require"):
                    yield from _idle_confirm(place, f"agent '{agent}': ", pattern, keys)
                    continue
                message = f"agent '{agent}': '{pattern}' matches no tool"
                yield Problem(place, message, f"there are: {_some(keys)}", "warning")


def _idle_floor(
    settings: Settings, pool: Pool, specs: dict[str, list[ServerSpec]]
) -> Iterator[Problem]:
    """Bare names in LIMITS__CONFIRM that no tool has; the others are looked at in each check."""
    servers = [spec for own in specs.values() for spec in own]
    keys = [tool.key for tool in pool.tools(servers)]
    for pattern in settings.limits.confirmed if pool.have_listed(servers) else ():
        if ":" not in pattern and not any(forbids(pattern, key) for key in keys):
            yield from _idle_confirm("LIMITS__CONFIRM", "", pattern, keys)


def _idle_confirm(place: str, of: str, pattern: str, keys: list[str]) -> Iterator[Problem]:
    """What is said of a pattern of tools that ask, as it may be meant for tools to come."""
    if pattern not in REQUIRE_CONFIRMATION:
        level: Level = "note" if set(pattern) & set("*?") else "warning"
        message = f"{of}'{pattern}' matches no tool"
        yield Problem(place, message, f"there are: {_some(keys)}", level)


def _matches(pattern: str, key: str, _: OfferedTools) -> bool:
    return forbids(pattern, key)


def _some(keys: list[str]) -> str:
    more = ", …" if len(keys) > 8 else ""
    return ", ".join(keys[:8]) + more or "none"
