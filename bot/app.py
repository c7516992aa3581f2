"""The composition root: the parts of a host, started in order and stopped in the opposite one.

How settings become a part is told beside it: `agents`, `storage`, `station`, `notices`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import resource
import socket
from collections.abc import AsyncIterator

import structlog

from bot import agents
from bot.access import Access
from bot.access_report import access_problems, offer_claim
from bot.api.health import http_app
from bot.api.webhooks import Door, webhook_routes
from bot.assembled import Assembled
from bot.errors import ConfigError, WrongType
from bot.model.messages import MessagesModel
from bot.ops import collector
from bot.ops.clock import SystemClock
from bot.ops.counters import Counters
from bot.ops.serving import Limits, serving
from bot.ops.waiting import ended, first
from bot.ops.watched import WatchedModel
from bot.settings import Settings
from bot.station import opened_station
from bot.storage import background, opened_store
from bot.store.embedded import HostLock
from bot.store.grants import RedisGrants
from bot.store.leases import Host, Leases
from bot.store.wakes import Wakes
from bot.telegram.fleet import Fleet
from bot.telegram.hosted import HostedBot
from bot.tools.installed import installed
from bot.tools.mcp.pool import Pool
from registry.references import TOO_SHORT, TOO_SHORT_CURE

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
        host.fleet.leave()
        await first(running, hurry)
        if hurry.is_set():
            log.warning(
                "stopping at once", why="asked to again", unfinished="goes on at the next start"
            )
            await ended([running])
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
                await ended([asked])
    except TimeoutError:
        if not stop.is_set():
            raise


async def _loaded(model: MessagesModel, done: asyncio.Event) -> None:
    """What a conversation needs is in memory; from then on the collector looks at the rest."""
    try:
        await model.warm()
    finally:
        collector.loaded()
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
        me, offers = Host.new(name, lock.proof), _offers(settings)
        leases = Leases(client, me, clock, settings.lease_seconds, offers)
        await background(stack, leases.beat_forever(), "leases")
        catalog = await agents.opened_catalog(settings, client)
        stack.push_async_callback(catalog.close)
        pool = Pool(clock)
        stack.push_async_callback(pool.close)
        model = _model(settings, clock)
        stack.push_async_callback(model.close)
        grants = RedisGrants(client, Access(settings.admins, settings.rules()))
        try:
            await client.patiently(grants.refresh)
        except WrongType as error:
            raise ConfigError(f"REDIS_URL: {error}") from None
        watched = WatchedModel(model, clock)
        host = Assembled(catalog, pool, client, counters, judge, watched, grants)
        await background(stack, _loaded(model, host.loaded), "model.warm")
        host.handlers = await installed()
        station = await opened_station(settings, stack, client, leases, host)
        bots = [HostedBot(bot.id, bot.token, station) for bot in settings.bots]
        wakes = Wakes(client, clock, grants)
        host.fleet = Fleet(bots, leases, wakes, clock, settings.sweep_seconds)
        host.url = await _open_doors(settings, stack, host)
        _announce(settings, host)
        await offer_claim(settings, grants)
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


async def _open_doors(settings: Settings, stack: contextlib.AsyncExitStack, host: Assembled) -> str:
    """Serve health and webhooks over HTTP; the address."""
    doors = {bot.hook.path: Door(bot.hook.secret, bot.push) for bot in host.fleet.bots if bot.hook}
    app = http_app(host.report, webhook_routes(doors, host.counters), settings.secrets)
    place = (settings.http_host, settings.http_port)
    limits = Limits(_connections(settings), count=host.counters.add)
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
