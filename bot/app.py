"""The composition root: the parts of a host, started in order and stopped in the opposite one.

How settings become a part is told beside it: `agents`, `storage`, `station`, `notices`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import resource
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from bot.access.command import PeopleContext
from bot.access.gate import AccessGate
from bot.access.rules import Access
from bot.access.store import AccessStore
from bot.admins import AdminAlerts, ProblemAlerts, admin_contacts, menu_owners
from bot.agents.resolver import AgentResolver, HostRules, SecretReferences
from bot.approvals.approvers import Approvers
from bot.approvals.service import ApprovalService
from bot.approvals.store import ApprovalStore
from bot.command import Commands
from bot.commands.admin_context import AdminContext, BotState
from bot.commands.table import all_commands
from bot.conversations.chat_migrations import ChatMigrationStore
from bot.conversations.command_runner import CommandRunner
from bot.conversations.router import PrivateMessageSeen, Router
from bot.conversations.turns import LineStores, Turns
from bot.errors import ConfigError
from bot.hosting.fleet import Fleet, Notifications
from bot.hosting.leases import HostIdentity, Leases
from bot.hosting.line import HostedLine, HostingOptions, LineServices
from bot.hosting.outbox_channel import ChannelServices
from bot.http import health
from bot.http.health import http_app
from bot.http.limits import HttpLimits
from bot.http.server import serving
from bot.http.webhooks import WebhookEndpoint, webhook_routes
from bot.line_context import LineContext
from bot.mcp.pool import Pool
from bot.messages import User
from bot.model.client import MessagesModel
from bot.model.health import WatchedModel
from bot.model.parameters import DEFAULT_URL, Provider, advice
from bot.ops.clock import SystemClock
from bot.ops.counters import Counters
from bot.ops.network import proxy_of
from bot.ops.process import resume_gc
from bot.ops.redaction import Secrets
from bot.ops.tasks import cancel_and_wait, wait_first
from bot.safety.output_filter import OutputFilter
from bot.settings import Bot, Settings
from bot.skills.discovery import InstalledSkills, discover_skills
from bot.skills.runner import SkillRunner
from bot.startup import access_problems, offer_claim
from bot.store.client import StoreClient, connect
from bot.store.dead_letters import DeadLetters
from bot.store.embedded import EmbeddedValkey, HostLock
from bot.store.health import StoreHealth, require_password
from bot.store.inbox import UpdateInbox
from bot.store.journal import Journal
from bot.store.outbox import Outbox
from bot.telegram.client import TelegramClient, new_session
from bot.telegram.markdown import renderer
from bot.telegram.menus import Menus
from bot.telegram.transport import TelegramOptions, TelegramServices, TelegramTransport
from bot.telegram.webhook import accept_pushed
from bot.tools.cache import ToolResultCache
from bot.tools.read_more import TruncatedResults
from bot.tools.toolset import ToolsetFactory
from bot.turn.runner import TurnRunner
from bot.turn.transcript import Transcripts
from bot.turn.turn import TurnServices
from bot.usage.ledger import BudgetService, Ledger
from bot.usage.limits import spend_limits
from bot.usage.pricing import Prices
from registry.authorization import WriterPermissions
from registry.binding import BotIdentity
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.errors import Problem, RegistryUnavailable
from registry.secrets import TOO_SHORT, TOO_SHORT_CURE
from registry.sources.composite import CompositeStore
from registry.sources.environment import read_environment, read_legacy
from registry.sources.file import FileStore
from registry.sources.redis import RedisStore

log = structlog.get_logger("switchboard")


async def serve(settings: Settings, stop: asyncio.Event, hurry: asyncio.Event) -> None:
    """Run the host until `stop` is set; raises ConfigError where it cannot start.

    Running turns come to their end first, unless `hurry` is set.
    """
    async with contextlib.AsyncExitStack() as stack:
        async with _unless(stop):
            host = await stack.enter_async_context(assembled(settings))
        if stop.is_set():
            log.info("stopped", why="asked to while starting")
            return
        running = asyncio.create_task(host.fleet.run(), name="fleet")
        await stop.wait()
        log.info("stopping", why="asked to", waits_up_to_s=settings.drain_seconds)
        host.fleet.shutdown()
        await wait_first(running, hurry)
        if hurry.is_set():
            log.warning(
                "stopping at once", why="asked to again", unfinished="goes on at the next start"
            )
            await cancel_and_wait([running])
        else:
            await running
    log.info("stopped")


@contextlib.asynccontextmanager
async def _unless(stop: asyncio.Event) -> AsyncIterator[None]:
    """What is done inside is given up as soon as `stop` is set, as where a store never answers."""
    loop = asyncio.get_running_loop()

    def give_up(_: object) -> None:
        if stop.is_set():
            with contextlib.suppress(RuntimeError):  # it is over already
                patience.reschedule(loop.time())

    try:
        async with asyncio.timeout(None) as patience:
            asked = asyncio.create_task(stop.wait())
            asked.add_done_callback(give_up)
            try:
                yield
            finally:
                await cancel_and_wait([asked])
    except TimeoutError:
        if not stop.is_set():
            raise


async def _loaded(model: MessagesModel, done: asyncio.Event) -> None:
    """What a conversation needs is in memory; from then on the collector looks at the rest."""
    try:
        await model.warm()
    finally:
        resume_gc()
        done.set()


@contextlib.asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Assembled]:
    """All parts of the host, started in order and stopped in the opposite one."""
    clock, counters = SystemClock(), Counters()
    async with contextlib.AsyncExitStack() as stack:
        lock = HostLock(settings.data_dir)
        stack.callback(lock.release)
        client, judge = await opened_store(settings, clock, stack)
        name = settings.replica_name or socket.gethostname()
        me, bot_set = HostIdentity.new(name, lock.proof), _bot_set(settings)
        leases = Leases(client, me, clock, settings.lease_seconds, bot_set)
        await background(stack, leases.beat_forever(), "leases")
        catalog = await opened_catalog(settings, client)
        stack.push_async_callback(catalog.close)
        pool = Pool(clock)
        stack.push_async_callback(pool.close)
        model = _model(settings, clock)
        stack.push_async_callback(model.close)
        grants = AccessStore(client, Access(settings.admins, settings.rules()))
        await client.retry_while_down(grants.refresh)
        watched = WatchedModel(model, clock)
        host = Assembled(catalog, pool, client, counters, judge, watched, grants)
        await background(stack, _loaded(model, host.loaded), "model.warm")
        host.handlers = await discover_skills()
        notifications = Notifications(client, clock, grants)
        host.fleet = Fleet(leases, notifications, clock, settings.sweep_seconds)
        for line in await _bot_lines(settings, stack, client, leases, host):
            host.fleet.add(line)
        host.url = await _open_doors(settings, stack, host)
        _announce(settings, host)
        await offer_claim(settings, grants)
        yield host


def _bot_set(settings: Settings) -> str:
    """Which bots this host serves, as a hash: hosts of the same set share their lines."""
    ids = ",".join(sorted(str(bot.id) for bot in settings.bots))
    return hashlib.sha256(ids.encode()).hexdigest()[:12]


def _model(settings: Settings, clock: SystemClock) -> MessagesModel:
    key = settings.anthropic_api_key
    return MessagesModel(
        api_key=key.get_secret_value() if key else "",
        base_url=settings.anthropic_base_url or "",
        clock=clock,
    )


async def _open_doors(settings: Settings, stack: contextlib.AsyncExitStack, host: Assembled) -> str:
    """Serve health and webhooks over HTTP; the address."""
    doors = {}
    for line in host.fleet.lines:
        if isinstance(line.transport, TelegramTransport) and (hook := line.transport.webhook):
            take = partial(accept_pushed, line.accept, host.counters)
            doors[hook.path] = WebhookEndpoint(hook.secret, take)
    app = http_app(host.report, webhook_routes(doors, host.counters), settings.secrets)
    place = (settings.http_host, settings.http_port)
    limits = HttpLimits(_connections(settings), count=host.counters.add)
    try:
        return await stack.enter_async_context(serving(app, *place, limits))
    except OSError as error:
        raise ConfigError(
            f"HTTP_HOST:HTTP_PORT {place[0]}:{place[1]} cannot be used: {error.strerror}. "
            "Stop what listens there, or choose another HTTP_PORT or HTTP_HOST."
        ) from None


def _connections(settings: Settings) -> int:
    """How many the port may hold: strangers must not use up the descriptors that bots need."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return settings.http_connections
    return max(1, min(settings.http_connections, files // 4))


def _announce(settings: Settings, host: Assembled) -> None:
    snapshot = host.catalog.snapshot()
    log.info(
        "started", bots=len(settings.bots), agents=len(snapshot.agents), health=f"{host.url}/health"
    )
    if not settings.bots:
        log.warning("no bots", cure="set BOTS__0__TOKEN to a token from @BotFather")
    if not snapshot.agents:
        log.warning("no agents", cure="describe one in agents.json; until then nobody answers")
    if settings.anthropic_api_key is None and settings.anthropic_base_url is None:
        log.warning("no model", cure="set ANTHROPIC_API_KEY; until then no agent can answer")
    for name in settings.short_secrets():
        log.warning("secret.short", name=name, why=TOO_SHORT, cure=TOO_SHORT_CURE)
    for problem in access_problems(settings):
        log.warning("access", problem=str(problem))
    for problem in host.handlers.problems:
        log.error("skills", problem=str(problem))
    for problem in [*snapshot.problems, *snapshot.unhandled(host.handlers.skills)]:
        if problem.level != "error":  # those are told as `agents.bad`
            log.warning("agents", problem=str(problem))


class Assembled:
    """The joined parts of a running host."""

    def __init__(
        self,
        catalog: Catalog,
        pool: Pool,
        store: StoreClient,
        counters: Counters,
        judge: StoreHealth,
        model: WatchedModel,
        grants: AccessStore,
    ) -> None:
        self.grants = grants
        self.judge = judge
        self.model = model
        self.fleet: Fleet
        self.catalog = catalog
        self.pool = pool
        self.store = store
        self.counters = counters
        self.url = ""
        self.loaded = asyncio.Event()
        self.handlers = InstalledSkills()

    def report(self) -> dict[str, Any]:
        """What `/health` shows."""
        bots = health.bot_states(self.fleet)
        store = self.judge.report()
        return {
            **health.overall(bots, store),
            "bots": bots,
            "store": store,
            "model": self.model.report(),
            "agents": sorted(self.catalog.snapshot().agents),
            "agents_available": len(self.catalog.snapshot().agents),
            "problems": [str(one) for one in problems(self.catalog, self.fleet, self.handlers)],
            "servers": health.server_states(self.pool),
            "counters": self.counters.snapshot(),
            "store_round_trips": self.store.round_trips,
        }


STALLED_MARGIN = 40.0


class _Shared:
    """What the joined parts have in common."""

    def __init__(self, settings: Settings, client: StoreClient, host: Assembled) -> None:
        self.settings = settings
        self.client = client
        self.host = host
        self.clock = SystemClock()
        self.stores = LineStores(
            UpdateInbox(client),
            Outbox(client),
            Journal(client),
            ApprovalStore(client),
            ChatMigrationStore(client),
        )
        self.transcripts = Transcripts()
        self.grants = host.grants
        self.access = host.grants.access
        self.approvers = Approvers(self.access)
        self.plans = plans(settings, host.catalog, host.handlers)


async def _bot_lines(
    settings: Settings,
    stack: contextlib.AsyncExitStack,
    client: StoreClient,
    leases: Leases,
    host: Assembled,
) -> list[HostedLine]:
    """The lines of the configured bots; nothing of them runs yet."""
    shared = _Shared(settings, client, host)
    context = desk(settings, host.catalog, lambda: host.fleet, host.report)
    people = PeopleContext(shared.access, shared.grants.open_requests)
    commands = all_commands(context, people)
    notices = admins_told(client, shared.stores.outbox, host, settings.secrets)
    shared.access.admins_changed = lambda: host.fleet.show_menus()
    troubles = bad_agents_told(stack, host, notices)
    await background(stack, _servers_up(host, shared.plans), "servers.up")
    await background(stack, kept(host.catalog, shared.plans, host.pool), "servers.kept")
    turns = await _turns(shared, stack, notices)
    services = LineServices(
        leases,
        shared.stores,
        _router(shared, turns, commands, notices),
        turns,
        shared.clock,
        host.counters,
        HostingOptions(settings.drain_seconds, settings.turns_at_once),
    )
    telegram = TelegramServices(
        ChannelServices(shared.stores.outbox, shared.clock, host.counters, settings.secrets),
        _menus(commands, shared.access, client),
        _telegram_options(settings),
        on_identified=troubles.check_soon,
    )
    session = new_session(proxy=proxy_of(settings.telegram_api_url))
    stack.push_async_callback(session.close)

    def line(bot: Bot) -> HostedLine:
        wire = TelegramClient(session, settings.telegram_api_url, bot.token)
        return HostedLine(TelegramTransport(bot.id, bot.token, wire, telegram), services)

    return [line(bot) for bot in settings.bots]


def _telegram_options(settings: Settings) -> TelegramOptions:
    return TelegramOptions(
        webhook_url=settings.webhook_url,
        poll_seconds=settings.poll_seconds,
        stalled_seconds=settings.deaf_seconds or settings.poll_seconds + STALLED_MARGIN,
    )


async def _servers_up(host: Assembled, plans: AgentResolver) -> None:
    await host.loaded.wait()  # the lines first, then the model, then its tools
    await connected(host.catalog, plans, host.pool)


async def _turns(s: _Shared, stack: contextlib.AsyncExitStack, notices: AdminAlerts) -> Turns:
    live, counters, stores = s.plans.current, s.host.counters, s.stores
    bank = await _bank(s, stack, notices)
    skills = SkillRunner()
    stack.push_async_callback(skills.close)
    runner = TurnRunner(
        TurnServices(
            journal=stores.journal,
            approvals=stores.approvals,
            approvers=s.approvers,
            current_agent=live,
            clock=s.clock,
            counters=counters,
        ),
        transcripts=s.transcripts,
        model=s.host.model,
        tools=ToolsetFactory(
            s.host.pool,
            skills,
            cache=ToolResultCache(s.clock, counters),
            truncated=TruncatedResults(s.client),
        ),
        budgets=bank,
    )
    answering = ApprovalService(
        stores.approvals,
        stores.inbox,
        s.transcripts.forget,
        live,
        s.clock,
        counters,
        s.approvers,
    )
    return Turns(s.plans, runner, answering, stores, s.transcripts, s.access, s.clock)


async def _bank(
    s: _Shared, stack: contextlib.AsyncExitStack, notices: AdminAlerts
) -> BudgetService:
    prices = Prices(s.settings.prices, listed=s.settings.anthropic_base_url is None)
    await background(stack, prices.warm(), "prices.warm")
    return BudgetService(Ledger(s.client), prices.price, notices.send)


def _router(s: _Shared, turns: Turns, commands: Commands, notices: AdminAlerts) -> Router:
    stores, counters = s.stores, s.host.counters
    gate = AccessGate(s.access, s.grants, notices, stores.inbox, stores.outbox, s.clock, counters)
    runner = CommandRunner(commands, turns, s.access, s.clock, counters)
    return Router(gate, runner, turns, stores, counters, meeting(notices, s.host, gate))


def _menus(commands: Commands, access: Access, client: StoreClient) -> Menus:
    def rows(*, admin: bool) -> list[tuple[str, str]]:
        return [(row.name, row.help) for row in commands.visible(admin=admin)]

    owners = menu_owners(client)
    return Menus(rows(admin=False), rows(admin=True), lambda: access.admins, owners)


def admins_told(
    client: StoreClient, outbox: Outbox, host: Assembled, secrets: Secrets
) -> AdminAlerts:
    """The way of a notice to the admins, over the lines that the host serves by then."""
    return AdminAlerts(
        outbox,
        admin_contacts(client),
        lambda: host.grants.access.admins,
        SystemClock(),
        served=lambda: host.fleet.active_lines(),
        nudge=lambda line: host.fleet.send_pending(line),
        hide=secrets.redact,
    )


def bad_agents_told(
    stack: contextlib.AsyncExitStack, host: Assembled, notices: AdminAlerts
) -> ProblemAlerts:
    """What tells admins of bad agents, for as long as the host lives."""
    troubles = ProblemAlerts(lambda: errors(host.catalog, host.fleet), notices, SystemClock())
    stack.push_async_callback(troubles.close)
    stack.callback(host.catalog.subscribe(lambda _snapshot: troubles.check()))
    troubles.check()
    return troubles


def meeting(notices: AdminAlerts, host: Assembled, gate: AccessGate) -> PrivateMessageSeen:
    """What happens when an admin writes: notices and cards may go there, and the menu appears."""

    async def seen(person: User, line: LineContext) -> None:
        if not host.grants.access.is_admin(person.id):
            return
        if await notices.remember(person.id, line.fence.line):
            host.fleet.show_menu(line.fence.line, person.id)
            await gate.deliver_cards(line, person.id)

    return seen


async def opened_store(
    settings: Settings, clock: SystemClock, stack: contextlib.AsyncExitStack
) -> tuple[StoreClient, StoreHealth]:
    """The store's client, and who looks after it; raises ConfigError for a store not to be used."""
    url = await _url(settings, stack)
    client = StoreClient(connect(url), clock)
    stack.push_async_callback(client.close)
    judge = StoreHealth(client, clock)
    await judge.require_durable(allow_volatile=settings.allow_volatile_redis)
    await background(stack, judge.watch_forever(), "store.judge")
    return client, judge


async def _url(settings: Settings, stack: contextlib.AsyncExitStack) -> str:
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        await require_password(url, allowed=settings.allow_open_redis)
        return url
    server = EmbeddedValkey(settings.data_dir, settings.data_fsync)
    await server.start()
    stack.push_async_callback(server.stop)
    await background(stack, server.watch_forever(), "valkey.watch")
    return server.url


async def background(
    stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None], name: str
) -> None:
    """A task for as long as the stack lives; one that ends by a fault is told of."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_told)

    async def end() -> None:
        await cancel_and_wait([task])

    stack.push_async_callback(end)


def _told(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task.failed", task=task.get_name(), exc_info=error)


@contextlib.asynccontextmanager
async def opened_letters(settings: Settings) -> AsyncIterator[DeadLetters]:
    """The dead letters, for the command line; beside a running host or without one."""
    async with contextlib.AsyncExitStack() as stack:
        url = await _url_beside(settings, stack)
        client = StoreClient(connect(url), SystemClock())
        stack.push_async_callback(client.close)
        await client.command("PING")
        yield DeadLetters(client)


async def _url_beside(settings: Settings, stack: contextlib.AsyncExitStack) -> str:
    """As `_url`, but a bundled server that runs already is left running."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    server = EmbeddedValkey(settings.data_dir, settings.data_fsync)
    if not server.has_data:
        raise ConfigError(
            f"DATA_DIR {settings.data_dir}: no host has kept anything here. "
            "Call this where the host runs, or set DATA_DIR or REDIS_URL as it has them."
        )
    await server.start()
    if server.started_here:
        stack.push_async_callback(server.stop)
    return server.url


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


def authority(settings: Settings) -> WriterPermissions:
    """What agents from the store or a chat may name."""
    hosts = frozenset(host.lower() for host in settings.internal_hosts)
    return WriterPermissions(False, settings.agent_secrets, hosts, settings.agent_skills)


def plans(
    settings: Settings, catalog: Catalog, handlers: InstalledSkills | None = None
) -> AgentResolver:
    """Who answers, resolved to plain values."""
    output_filter = guard(settings)
    rules = HostRules(
        llm=defaults(settings),
        limits=settings.limits,
        budgets=spend_limits(settings.budgets),
        filter=output_filter,
        approval_minutes=settings.approval_minutes,
        internal_hosts=frozenset(host.lower() for host in settings.internal_hosts),
        proxied=settings.proxy_judges,
    )
    references = SecretReferences(settings.environ, settings.agent_secrets, output_filter.secrets)
    return AgentResolver(catalog, rules, references, handlers.skills if handlers else {})


async def connected(catalog: Catalog, plans: AgentResolver, pool: Pool) -> None:
    """The operator's MCP servers are on their way up before the first message needs them."""
    entries = catalog.snapshot().agents
    own = [plans.current(agent) for agent, entry in entries.items() if entry.operator]
    await pool.ensure({server for plan in own if plan for server in plan.tools.servers})


async def kept(catalog: Catalog, plans: AgentResolver, pool: Pool) -> None:
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


async def _close_unused(catalog: Catalog, plans: AgentResolver, pool: Pool) -> None:
    for agent in catalog.snapshot().agents:
        plans.current(agent)  # made here, one by one: a host with many agents must not stand still
        await asyncio.sleep(0)
    made = [plans.current(agent) for agent in catalog.snapshot().agents]
    try:
        await pool.keep_only({server for plan in made if plan for server in plan.tools.servers})
    except Exception:
        log.exception("servers.not_closed")


def guard(settings: Settings) -> OutputFilter:
    """What no agent may let out on this host; an agent may be stricter and never looser."""
    given = settings.limits
    return OutputFilter(given.topics, given.piihandling, settings.secrets, renderer.render_cached)


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
) -> AdminContext:
    """What admin commands work with; the fleet is made later than they are."""

    def bots() -> list[BotState]:
        return [BotState(line.identity, line.state, line.backlog) for line in fleet().lines]

    return AdminContext(catalog, defaults(settings), adviser(settings), bots, report)


def identities(fleet: Fleet) -> list[BotIdentity]:
    """The bots of this host by every name that is known of them."""
    return [line.identity for line in fleet.lines]


def problems(catalog: Catalog, fleet: Fleet, handlers: InstalledSkills) -> Sequence[Problem]:
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
