"""`switchboard check --servers` and `--live`: asks others, and reports each answer in a line.

Without these options a check starts nothing and asks nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from difflib import get_close_matches

from bot.cli.check import LiveAnswers
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
from bot.startup import agent_resolver, agents_source
from bot.telegram.client import TelegramClient, new_session
from bot.telegram.errors import TelegramError, Unauthorized
from bot.tools.policy import forbids
from registry.catalog import Catalog
from registry.definition import patterns_of
from registry.errors import Problem
from registry.models import table
from registry.snapshot import Document, Snapshot

SERVERS_SECONDS = 30.0
"""How long all servers together may take to start and to list their tools."""
ANSWER_SECONDS = 15.0
"""How long Telegram and the model may take."""
_DOWN_CURE = "fix its definition, or the server"
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
        {id: name for one in asked for id, name in one.names.items()},
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
    catalog = Catalog(agents_source(settings))
    await catalog.reload()
    return catalog


async def ask_model(settings: Settings, snapshot: Snapshot) -> LiveAnswers:
    """Whether the Messages API accepts the key and has the host's models; it charges nothing."""
    key = settings.anthropic_api_key
    if key is None and settings.anthropic_base_url is None:
        return LiveAnswers()  # that no key is set is said already
    url = settings.anthropic_base_url or ""
    model = MessagesModel(key.get_secret_value() if key else "", url, SystemClock())
    problems, well = list[Problem](), list[str]()
    try:
        for name, place in _models(settings, snapshot).items():
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await model.look_up(name)
            except (ModelError, TimeoutError) as error:
                said = str(error) or f"no answer in {ANSWER_SECONDS:.0f} s"
                message = f"{name}: no usable answer: {said}"
                cure = "check this machine's network and proxy, and ANTHROPIC_BASE_URL"
                if isinstance(error, ModelRefused):
                    cure = "fix ANTHROPIC_API_KEY, or the name of the model"
                    if error.fault == "model":
                        message = f"the Messages API does not know {name}"
                        near = get_close_matches(name, list(table()), n=1, cutoff=0.8)
                        cure = f"did you mean {near[0]}?" if near else "use the model's exact name"
                problems.append(Problem(place, message, cure))
            else:
                well.append(f"{place}: the Messages API accepts the key, and has {name}")
    finally:
        await model.close()
    return LiveAnswers(problems, well)


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
        return LiveAnswers([*problems, *_idle_patterns(snapshot, pool, specs)], well)
    finally:
        await pool.close()


def _problems(spec: ServerSpec, server: McpServer, place: str) -> Iterator[Problem]:
    name = spec.name
    is_told = server.reason.startswith("FileNotFoundError: ")  # each check looks for programs
    if server.connection is None and not is_told:
        why = server.reason if server.settled.is_set() else f"no answer in {SERVERS_SECONDS:.0f} s"
        yield Problem(place, f"server '{name}' cannot be used: {why}", _DOWN_CURE, "warning")
    for note in server.notes:
        yield Problem(place, f"server '{name}': {note}", _NOTE_CURE, "warning")


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
        for path, pattern in patterns_of(entry.value):
            if not any(forbids(pattern, key) for key in keys):
                place = entry.origins.get(str(path[0]), entry.place)
                message = f"agent '{agent}': '{pattern}' matches no tool"
                yield Problem(place, message, f"there are: {_some(keys)}", "warning")


def _some(keys: list[str]) -> str:
    more = ", …" if len(keys) > 8 else ""
    return ", ".join(keys[:8]) + more or "none"
