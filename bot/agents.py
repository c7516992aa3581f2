"""How the agents of this host come together: settings to catalog, plans, and the admins' desk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from bot.commands.desk import BotState, Desk
from bot.dispatch.plans import CatalogPlans
from bot.model.parameters import DEFAULT_URL, Provider, advice
from bot.settings import Settings
from bot.store.client import StoreClient
from bot.telegram import markup
from bot.telegram.fleet import Fleet
from bot.tools.installed import Handlers
from bot.tools.mcp.pool import Pool
from bot.turn.budget import Limits
from bot.turn.filters import Filter
from bot.turn.scopes import KINDS, Most, most_of
from registry.binding import BotIdentity
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.environment import read_environment
from registry.errors import Problem, RegistryUnavailable
from registry.legacy import read_legacy
from registry.screening import Authority
from registry.stores.composite import CompositeStore
from registry.stores.file import FileStore
from registry.stores.redis import RedisStore

log = structlog.get_logger("agents")

DEFAULT_AGENTS_FILE = Path("agents.json")
PAUSE_S = 1.0
UNUSED_SECONDS = 60.0


async def opened_catalog(settings: Settings, client: StoreClient) -> Catalog:
    """The catalog over file, environment and store, once the store answers."""
    while True:
        catalog = _catalog(settings, client)
        try:
            await catalog.open()
        except RegistryUnavailable as error:
            log.warning("store.away", error=str(error), again_in=PAUSE_S)
            await asyncio.sleep(PAUSE_S)
        else:
            return catalog


def _catalog(settings: Settings, client: StoreClient) -> Catalog:
    allowed = authority(settings)
    file = FileStore(
        settings.agents_file or DEFAULT_AGENTS_FILE,
        read_environment(settings.environ, settings.hashes()),
        read_legacy(settings.environ, bool(settings.bots)),
        required=settings.agents_file is not None,
    )
    store = CompositeStore(file, RedisStore(client.redis, allowed))
    return Catalog(store, authority=allowed)


def authority(settings: Settings) -> Authority:
    """What agents from the store or a chat may name."""
    hosts = frozenset(host.lower() for host in settings.internal_hosts)
    return Authority(False, settings.agent_secrets, hosts, settings.agent_skills)


def plans(settings: Settings, catalog: Catalog, handlers: Handlers | None = None) -> CatalogPlans:
    """Who answers, resolved to plain values."""
    return CatalogPlans(
        catalog,
        defaults(settings),
        settings.environ,
        settings.agent_secrets,
        settings.approval_minutes,
        limits(settings),
        frozenset(host.lower() for host in settings.internal_hosts),
        budgets(settings),
        handlers.skills if handlers else {},
        guard(settings),
        proxied=settings.proxy_judges,
    )


async def connected(catalog: Catalog, plans: CatalogPlans, pool: Pool) -> None:
    """The operator's MCP servers are on their way up before the first message needs them."""
    entries = catalog.snapshot().agents
    own = [plans.of(agent) for agent, entry in entries.items() if entry.operator]
    await pool.ensure({server for plan in own if plan for server in plan.servers})


async def kept(catalog: Catalog, plans: CatalogPlans, pool: Pool) -> None:
    """After each change of the agents, in a while: close the servers that none of them has."""
    changed = asyncio.Event()
    unsubscribe = catalog.subscribe(lambda _snapshot: changed.set())
    try:
        while True:
            await changed.wait()
            await asyncio.sleep(UNUSED_SECONDS)
            changed.clear()
            await _close_unused(catalog, plans, pool)
    finally:
        unsubscribe()


async def _close_unused(catalog: Catalog, plans: CatalogPlans, pool: Pool) -> None:
    for agent in catalog.snapshot().agents:
        plans.of(agent)  # made here, one by one: a host with many agents must not stand still
        await asyncio.sleep(0)
    made = [plans.of(agent) for agent in catalog.snapshot().agents]
    try:
        await pool.keep({server for plan in made if plan for server in plan.servers})
    except Exception:
        log.exception("servers.not_closed")


def limits(settings: Settings) -> Limits:
    """What one turn may use on this host; an agent may have less and never more."""
    most = settings.limits
    return Limits(
        requests=most.iterations,
        calls=most.toolcalls,
        seconds=most.turnseconds,
        tokens=most.tokensperrequest,
        per_minute=most.requestsperminute,
        result_chars=most.resultcharacters,
    )


def guard(settings: Settings) -> Filter:
    """What no agent may let out on this host; an agent may be stricter and never looser."""
    given = settings.limits
    return Filter(given.topics, given.piihandling, settings.secrets, markup.seen)


def budgets(settings: Settings) -> dict[str, Most]:
    """What may be spent on this host, by kind of scope; an agent may have less and never more."""
    given = {kind: getattr(settings.budgets, kind) for kind in KINDS}
    return {
        kind: most_of(one.tokens, one.usd)
        for kind, one in given.items()
        if one.tokens is not None or one.usd is not None
    }


def defaults(settings: Settings) -> LlmConfiguration:
    """The model settings of agents that say nothing."""
    llm = settings.llm
    return LlmConfiguration(
        model=llm.model,
        temperature=llm.temperature,
        max_tokens=llm.maxtokens,
        reasoning_effort=llm.reasoningeffort,
        fallback_model=llm.fallbackmodel,
    )


def adviser(settings: Settings) -> Callable[[LlmConfiguration], list[str]]:
    """What an admin should know of model settings, in sentences."""
    provider = Provider(settings.anthropic_base_url or DEFAULT_URL)

    def advise(llm: LlmConfiguration) -> list[str]:
        return advice(
            llm.model or "",
            max_tokens=llm.max_tokens,
            temperature=llm.temperature,
            reasoning_effort=llm.reasoning_effort,
            provider=provider,
        )

    return advise


def desk(
    settings: Settings,
    catalog: Catalog,
    fleet: Callable[[], Fleet],
    report: Callable[[], dict[str, Any]],
) -> Desk:
    """What admin commands work with; the fleet is made later than they are."""

    def bots() -> list[BotState]:
        states = zip(identities(fleet()), fleet().bots, strict=True)
        return [BotState(identity, bot.state, bot.backlog) for identity, bot in states]

    return Desk(catalog, defaults(settings), adviser(settings), bots, report)


def identities(fleet: Fleet) -> list[BotIdentity]:
    """The bots of this replica by every name that is known of them."""
    return [BotIdentity(bot.token_hash, bot.id, bot.username or None) for bot in fleet.bots]


def problems(catalog: Catalog, fleet: Fleet, handlers: Handlers) -> Sequence[Problem]:
    """All that is wrong with agents, bindings and packages, also what only bots' names show."""
    snapshot = catalog.snapshot()
    wanted = snapshot.unhandled(handlers.skills)
    conflicts = snapshot.conflicts(identities(fleet))
    return [*snapshot.problems, *conflicts, *handlers.problems, *wanted]


def errors(catalog: Catalog, fleet: Fleet) -> list[Problem]:
    """What an admin must mend; quick also with ten thousand agents, as it runs at each change."""
    snapshot = catalog.snapshot()
    found = [*snapshot.document.problems, *snapshot.conflicts(identities(fleet))]
    return [problem for problem in found if problem.level == "error"]
