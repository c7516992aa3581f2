"""The composition root: the one place where settings become parts, and parts are joined."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import structlog

from bot import agents, report
from bot.api.health import http_app
from bot.api.webhooks import Door, webhook_routes
from bot.commands.board import board
from bot.commands.table import Commands
from bot.dispatch.access import Access
from bot.dispatch.again import Retries
from bot.dispatch.line import Line
from bot.dispatch.plans import CatalogPlans
from bot.dispatch.router import AdminSeen, Router
from bot.dispatch.suspended import Suspended
from bot.errors import ConfigError
from bot.events import Person
from bot.model.messages import MessagesModel
from bot.model.prices import Prices
from bot.ops import collector
from bot.ops.clock import SystemClock
from bot.ops.counters import Counters
from bot.ops.notices import Notices
from bot.ops.serving import serving
from bot.ops.troubles import Troubles
from bot.ops.watched import WatchedModel
from bot.settings import Settings
from bot.storage import background, opened_store
from bot.store.acquaintances import RedisAcquaintances
from bot.store.approvals import RedisApprovals
from bot.store.boxes import RedisInbox, RedisOutbox
from bot.store.client import StoreClient
from bot.store.embedded import HostLock
from bot.store.journal import RedisJournal
from bot.store.judge import Judge
from bot.store.leases import Host, Leases
from bot.store.ledger import RedisLedger
from bot.store.rests import RedisRests
from bot.store.wakes import Wakes
from bot.telegram.fleet import Fleet
from bot.telegram.hosted import HostedBot
from bot.telegram.menus import Menus
from bot.telegram.station import Station
from bot.telegram.wire import new_session
from bot.tools.installed import Handlers, installed
from bot.tools.kept import Kept
from bot.tools.mcp.pool import Pool
from bot.tools.skills import Skills
from bot.turn.answering import Answering
from bot.turn.purse import Bank
from bot.turn.runner import Runner
from bot.turn.transcripts import Transcripts
from registry.catalog import Catalog

log = structlog.get_logger("switchboard")


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run the host until `stop` is set; raises ConfigError where it cannot start."""
    async with contextlib.AsyncExitStack() as stack:
        host = await stack.enter_async_context(assembled(settings))
        running = asyncio.create_task(host.fleet.run(), name="fleet")
        await stop.wait()
        log.info("stopping", why="asked to", waits_up_to_s=settings.drain_seconds)
        host.fleet.leave()
        await running
    log.info("stopped")


async def _loaded(model: MessagesModel, done: asyncio.Event) -> None:
    """What a conversation needs is in memory; from then on the collector looks at the rest."""
    try:
        await model.warm()
    finally:
        collector.loaded()
        done.set()


class Assembled:
    """The joined parts of a running host, as far as others look at them."""

    def __init__(
        self,
        catalog: Catalog,
        pool: Pool,
        store: StoreClient,
        counters: Counters,
        judge: Judge,
        model: WatchedModel,
    ) -> None:
        self.judge = judge
        self.model = model
        self.fleet = Fleet([])
        self.catalog = catalog
        self.pool = pool
        self.store = store
        self.counters = counters
        self.url = ""
        self.loaded = asyncio.Event()
        self.handlers = Handlers()

    def report(self) -> dict[str, Any]:
        """What `/health` shows."""
        bots = report.bots(self.fleet)
        store = self.judge.report()
        return {
            **report.verdict(bots, store),
            "bots": bots,
            "store": store,
            "model": self.model.report(),
            "agents": sorted(self.catalog.snapshot().agents),
            "agents_available": len(self.catalog.snapshot().agents),
            "problems": [
                str(one) for one in agents.problems(self.catalog, self.fleet, self.handlers)
            ],
            "servers": [_server(health) for health in self.pool.health()],
            "counters": self.counters.snapshot(),
            "store_round_trips": self.store.trips,
        }


DEAF_MARGIN = 40.0


def _server(health: Any) -> dict[str, Any]:
    return {
        "names": list(health.names),
        "transport": health.transport,
        "state": health.link.state,
        "why": health.link.reason,
    }


@contextlib.asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Assembled]:
    """All parts of the host, started in order and stopped in the opposite one."""
    clock, counters = SystemClock(), Counters()
    async with contextlib.AsyncExitStack() as stack:
        lock = HostLock(settings.data_dir)
        stack.callback(lock.release)
        client, judge = await opened_store(settings, clock, stack)
        name = settings.replica_name or socket.gethostname()
        me, offers = Host.new(name, lock.proof), _offers(settings)
        leases = Leases(client, me, clock, settings.lease_seconds, offers)
        await background(stack, leases.beat_forever(), "leases")
        catalog = await agents.opened_catalog(settings, client)
        stack.push_async_callback(catalog.close)
        pool = Pool(clock)
        stack.push_async_callback(pool.close)
        model = _model(settings, clock)
        stack.push_async_callback(model.close)
        host = Assembled(catalog, pool, client, counters, judge, WatchedModel(model, clock))
        await background(stack, _loaded(model, host.loaded), "model.warm")
        host.handlers = await installed()
        station = await _station(settings, stack, client, leases, host)
        bots = [HostedBot(bot.id, bot.token, station) for bot in settings.bots]
        wakes = Wakes(client, clock)
        host.fleet = Fleet(bots, leases, wakes, clock, settings.sweep_seconds)
        doors = {b.hook.path: Door(b.hook.secret, b.push) for b in bots if b.hook}
        app = http_app(host.report, webhook_routes(doors, counters))
        try:
            host.url = await stack.enter_async_context(
                serving(app, settings.http_host, settings.http_port)
            )
        except OSError as error:
            raise ConfigError(
                f"HTTP_HOST:HTTP_PORT {settings.http_host}:{settings.http_port} cannot be used: "
                f"{error.strerror}. Stop what listens there, or choose another HTTP_PORT."
            ) from None
        _announce(settings, host)
        yield host


def _offers(settings: Settings) -> str:
    """What a replica is ready to serve, in a word that says nothing of it."""
    ids = ",".join(sorted(str(bot.id) for bot in settings.bots))
    return hashlib.sha256(ids.encode()).hexdigest()[:12]


def _model(settings: Settings, clock: SystemClock) -> MessagesModel:
    key = settings.anthropic_api_key
    return MessagesModel(
        api_key=key.get_secret_value() if key else "",
        base_url=settings.anthropic_base_url or "",
        clock=clock,
    )


async def _station(
    settings: Settings,
    stack: contextlib.AsyncExitStack,
    client: StoreClient,
    leases: Leases,
    host: Assembled,
) -> Station:
    clock, counters = SystemClock(), host.counters
    session = new_session()
    stack.push_async_callback(session.close)
    inbox, outbox, journal = RedisInbox(client), RedisOutbox(client), RedisJournal(client)
    transcripts = Transcripts()
    commands = board(agents.desk(settings, host.catalog, lambda: host.fleet, host.report))
    notices = _notices(settings, client, outbox, host)
    troubles = _troubles(stack, host, notices)
    access = Access(settings.admins)
    plans = agents.plans(settings, host.catalog, host.handlers)
    await background(stack, _servers_up(host, plans), "servers.up")
    approvals = RedisApprovals(client)
    bank = await _bank(settings, stack, client, notices)
    skills = Skills()
    stack.push_async_callback(skills.close)
    runner = Runner(
        host.model,
        host.pool,
        journal,
        transcripts,
        clock,
        counters,
        approvals,
        plans.of,
        bank,
        skills,
        Kept(clock, counters),
        RedisRests(client),
    )
    answering = Answering(approvals, inbox, transcripts, plans.of, clock, counters)
    suspended = Suspended(approvals, answering, runner, plans.of, access, clock)
    retries = Retries(plans, runner, journal, inbox, outbox, answering, access, clock)
    router = Router(
        access,
        commands,
        plans,
        runner,
        inbox,
        journal,
        transcripts,
        clock,
        counters,
        suspended,
        retries,
        admin_seen=_meeting(notices, host),
    )
    return Station(
        session=session,
        api_url=settings.telegram_api_url,
        leases=leases,
        inbox=inbox,
        outbox=outbox,
        router=router,
        suspended=suspended,
        transcripts=transcripts,
        clock=clock,
        counters=counters,
        poll_seconds=settings.poll_seconds,
        webhook_url=settings.webhook_url,
        deaf_seconds=settings.deaf_seconds or settings.poll_seconds + DEAF_MARGIN,
        drain_seconds=settings.drain_seconds,
        turns_at_once=settings.turns_at_once,
        menus=_menus(commands, settings),
        identified=troubles.look_soon,
    )


async def _servers_up(host: Assembled, plans: CatalogPlans) -> None:
    await host.loaded.wait()  # the lines first, then the model, then its tools
    await agents.connected(host.catalog, plans, host.pool)


async def _bank(
    settings: Settings, stack: contextlib.AsyncExitStack, client: StoreClient, notices: Notices
) -> Bank:
    prices = Prices(settings.prices, listed=settings.anthropic_base_url is None)
    await background(stack, prices.warm(), "prices.warm")
    return Bank(RedisLedger(client), prices.price, notices.tell)


def _notices(
    settings: Settings, client: StoreClient, outbox: RedisOutbox, host: Assembled
) -> Notices:
    return Notices(
        outbox,
        RedisAcquaintances(client),
        settings.admins,
        SystemClock(),
        served=lambda: host.fleet.served(),
        nudge=lambda line: host.fleet.nudge(line),
    )


def _troubles(stack: contextlib.AsyncExitStack, host: Assembled, notices: Notices) -> Troubles:
    """What tells admins of bad agents, for as long as the host lives."""
    troubles = Troubles(lambda: agents.errors(host.catalog, host.fleet), notices, SystemClock())
    stack.push_async_callback(troubles.close)
    stack.callback(host.catalog.subscribe(lambda _snapshot: troubles.look()))
    troubles.look()
    return troubles


def _meeting(notices: Notices, host: Assembled) -> AdminSeen:
    """What happens when an admin writes: notices may go there, and the menu appears."""

    async def seen(person: Person, line: Line) -> None:
        if await notices.seen(person.id, line.fence.line):
            host.fleet.show_menu(line.fence.line, person.id)

    return seen


def _menus(commands: Commands, settings: Settings) -> Menus:
    def rows(*, admin: bool) -> list[tuple[str, str]]:
        return [(row.name, row.help) for row in commands.visible(admin=admin)]

    return Menus(rows(admin=False), rows(admin=True), settings.admins)


def _announce(settings: Settings, host: Assembled) -> None:
    snapshot = host.catalog.snapshot()
    log.info(
        "started", bots=len(settings.bots), agents=len(snapshot.agents), health=f"{host.url}/health"
    )
    if not settings.bots:
        log.warning("no bots", cure="set BOTS__0__TOKEN to a token from @BotFather")
    for problem in host.handlers.problems:
        log.error("skills", problem=str(problem))
    for problem in [*snapshot.problems, *snapshot.unhandled(host.handlers.skills)]:
        log.warning("agents", problem=str(problem))
