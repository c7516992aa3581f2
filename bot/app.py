"""The composition root: the one place where settings become parts, and parts are joined."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import structlog

from bot.api.health import health_app
from bot.commands.everyone import everyone
from bot.dispatch.access import Access
from bot.dispatch.plans import CatalogPlans
from bot.dispatch.router import Router
from bot.errors import ConfigError
from bot.model.messages import MessagesModel
from bot.ops.clock import SystemClock
from bot.ops.counters import Counters
from bot.ops.serving import serving
from bot.settings import Settings
from bot.store.boxes import RedisInbox, RedisOutbox
from bot.store.client import StoreClient, connect
from bot.store.embedded import EmbeddedValkey, HostLock
from bot.store.journal import RedisJournal
from bot.store.leases import Host, Leases
from bot.telegram.fleet import Fleet, HostedBot, Station
from bot.telegram.wire import new_session
from bot.tools.mcp.pool import Pool
from bot.turn.budget import Limits
from bot.turn.runner import Runner
from bot.turn.transcripts import Transcripts
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.stores.composite import CompositeStore
from registry.stores.file import FileStore
from registry.stores.memory import MemoryStore

log = structlog.get_logger("switchboard")

DEFAULT_AGENTS_FILE = Path("agents.json")


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run the host until `stop` is set; raises ConfigError where it cannot start."""
    async with contextlib.AsyncExitStack() as stack:
        host = await stack.enter_async_context(assembled(settings))
        running = asyncio.create_task(host.fleet.run(), name="fleet")
        await stop.wait()
        log.info("stopping", why="asked to", waits_up_to_s=20)
        host.fleet.leave()
        await running
    log.info("stopped")


class Assembled:
    """The joined parts of a running host, as far as others look at them."""

    def __init__(
        self, fleet: Fleet, catalog: Catalog, pool: Pool, store: StoreClient, counters: Counters
    ) -> None:
        self.fleet = fleet
        self.catalog = catalog
        self.pool = pool
        self.store = store
        self.counters = counters
        self.url = ""

    def report(self) -> dict[str, Any]:
        """What `/health` shows."""
        bots = [
            {
                "id": bot.id,
                "username": bot.username,
                "state": bot.state,
                "last_poll_s": None if bot.poll_age is None else round(bot.poll_age, 1),
                "backlog": bot.backlog,
            }
            for bot in self.fleet.bots
        ]
        bad = [bot["id"] for bot in bots if bot["state"] not in GOOD]
        return {
            "status": "ok" if not bad else "degraded",
            "bots": bots,
            "agents": sorted(self.catalog.snapshot().agents),
            "problems": [str(problem) for problem in self.catalog.snapshot().problems],
            "servers": [_server(health) for health in self.pool.health()],
            "counters": self.counters.snapshot(),
            "store_round_trips": self.store.trips,
        }


GOOD = frozenset({"polling", "waiting", "draining", "stopped"})


def _server(health: Any) -> dict[str, Any]:
    return {
        "names": list(health.names),
        "transport": health.transport,
        "state": health.link.state,
    }


@contextlib.asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Assembled]:
    """All parts of the host, started in order and stopped in the opposite one."""
    clock, counters = SystemClock(), Counters()
    async with contextlib.AsyncExitStack() as stack:
        lock = HostLock(settings.data_dir)
        stack.callback(lock.release)
        client = await _store(settings, clock, stack)
        name = settings.replica_name or socket.gethostname()
        leases = Leases(client, Host.new(name, lock.proof), clock, settings.lease_seconds)
        await _background(stack, leases.beat_forever(), "leases")
        catalog = await _catalog(settings, stack)
        pool = Pool(clock)
        stack.push_async_callback(pool.close)
        model = _model(settings, clock)
        stack.push_async_callback(model.close)
        await _background(stack, model.warm(), "model.warm")
        station = await _station(settings, stack, client, leases, catalog, pool, model, counters)
        fleet = Fleet(HostedBot(bot.id, bot.token, station) for bot in settings.bots)
        host = Assembled(fleet, catalog, pool, client, counters)
        app = health_app(host.report)
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


async def _store(
    settings: Settings, clock: SystemClock, stack: contextlib.AsyncExitStack
) -> StoreClient:
    """The store's client: of the given server, or of the bundled one, which is started."""
    if settings.redis_url is not None:
        client = StoreClient(connect(settings.redis_url.get_secret_value()), clock)
        stack.push_async_callback(client.close)
        return client
    server = EmbeddedValkey(settings.data_dir, settings.data_fsync)
    await server.start()
    stack.push_async_callback(server.stop)
    await _background(stack, server.watch_forever(), "valkey.watch")
    client = StoreClient(connect(server.url), clock)
    stack.push_async_callback(client.close)
    return client


async def _catalog(settings: Settings, stack: contextlib.AsyncExitStack) -> Catalog:
    path = settings.agents_file or DEFAULT_AGENTS_FILE
    file = FileStore(path, required=settings.agents_file is not None)
    catalog = Catalog(CompositeStore(file, MemoryStore()))
    await catalog.open()
    stack.push_async_callback(catalog.close)
    return catalog


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
    catalog: Catalog,
    pool: Pool,
    model: MessagesModel,
    counters: Counters,
) -> Station:
    clock = SystemClock()
    session = new_session()
    stack.push_async_callback(session.close)
    inbox, outbox, journal = RedisInbox(client), RedisOutbox(client), RedisJournal(client)
    transcripts = Transcripts()
    runner = Runner(model, pool, journal, transcripts, clock, counters, Limits())
    router = Router(
        Access(settings.admins),
        everyone(),
        CatalogPlans(catalog, _defaults(settings), os.environ),
        runner,
        inbox,
        journal,
        transcripts,
        clock,
        counters,
    )
    return Station(
        session=session,
        api_url=settings.telegram_api_url,
        leases=leases,
        inbox=inbox,
        outbox=outbox,
        router=router,
        transcripts=transcripts,
        clock=clock,
        counters=counters,
        poll_seconds=settings.poll_seconds,
    )


def _defaults(settings: Settings) -> LlmConfiguration:
    llm = settings.llm
    return LlmConfiguration(
        model=llm.model,
        temperature=llm.temperature,
        max_tokens=llm.maxtokens,
        reasoning_effort=llm.reasoningeffort,
    )


async def _background(stack: contextlib.AsyncExitStack, work: Any, name: str) -> None:
    """A task for as long as the stack lives."""
    task = asyncio.create_task(work, name=name)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)


def _announce(settings: Settings, host: Assembled) -> None:
    snapshot = host.catalog.snapshot()
    log.info(
        "started", bots=len(settings.bots), agents=len(snapshot.agents), health=f"{host.url}/health"
    )
    if not settings.bots:
        log.warning("no bots", cure="set BOTS__0__TOKEN to a token from @BotFather")
    for problem in snapshot.problems:
        log.warning("agents", problem=str(problem))
