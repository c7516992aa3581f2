"""What all bots of this host share, joined: the turn, the router, and the boxes of the store."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from bot import agents
from bot.access import Access
from bot.assembled import Assembled
from bot.commands.board import board
from bot.commands.people import PeopleCommands
from bot.commands.table import Commands
from bot.dispatch.admission import Admission
from bot.dispatch.again import Retries
from bot.dispatch.plans import CatalogPlans
from bot.dispatch.router import Router
from bot.dispatch.suspended import Suspended
from bot.model.prices import Prices
from bot.notices import admins_told, bad_agents_told, meeting, wrong_types_told
from bot.ops.clock import SystemClock
from bot.ops.notices import Notices
from bot.ops.proxies import proxy_of
from bot.settings import Settings
from bot.storage import background
from bot.store.acquaintances import RedisMenuOwners
from bot.store.approvals import RedisApprovals
from bot.store.boxes import RedisInbox, RedisOutbox
from bot.store.client import StoreClient
from bot.store.journal import RedisJournal
from bot.store.leases import Leases
from bot.store.ledger import RedisLedger
from bot.store.moves import RedisMoves
from bot.store.rests import RedisRests
from bot.telegram.menus import Menus
from bot.telegram.station import Station
from bot.telegram.wire import new_session
from bot.tools.kept import Kept
from bot.tools.skills import Skills
from bot.turn.answering import Answering
from bot.turn.approvers import Approvers
from bot.turn.purse import Bank
from bot.turn.runner import Runner
from bot.turn.transcripts import Transcripts

DEAF_MARGIN = 40.0


class _Shared:
    """What the joined parts have in common."""

    def __init__(self, settings: Settings, client: StoreClient, host: Assembled) -> None:
        self.settings = settings
        self.client = client
        self.host = host
        self.clock = SystemClock()
        self.inbox = RedisInbox(client)
        self.outbox = RedisOutbox(client)
        self.journal = RedisJournal(client)
        self.approvals = RedisApprovals(client)
        self.moves = RedisMoves(client)
        self.transcripts = Transcripts()
        self.grants = host.grants
        self.access = host.grants.access
        self.approvers = Approvers(self.access)
        self.plans = agents.plans(settings, host.catalog, host.handlers)


@dataclass(frozen=True, slots=True)
class _Turns:
    """What begins a turn, resumes it, and makes it again."""

    runner: Runner
    suspended: Suspended
    retries: Retries


async def opened_station(
    settings: Settings,
    stack: contextlib.AsyncExitStack,
    client: StoreClient,
    leases: Leases,
    host: Assembled,
) -> Station:
    """The station of a host whose agents, tools and model are there; its fleet may come later."""
    session = new_session(proxy=proxy_of(settings.telegram_api_url))
    stack.push_async_callback(session.close)
    shared = _Shared(settings, client, host)
    desk = agents.desk(settings, host.catalog, lambda: host.fleet, host.report)
    people = PeopleCommands(shared.access, shared.grants.open_requests)
    commands = board(desk, people)
    notices = admins_told(client, shared.outbox, host, settings.secrets)
    shared.access.admins_changed = lambda: host.fleet.show_menus()
    wrong_types_told(client, notices)
    troubles = bad_agents_told(stack, host, notices)
    await background(stack, _servers_up(host, shared.plans), "servers.up")
    await background(stack, agents.kept(host.catalog, shared.plans, host.pool), "servers.kept")
    turns = await _turns(shared, stack, notices)
    return Station(
        session=session,
        api_url=settings.telegram_api_url,
        leases=leases,
        inbox=shared.inbox,
        outbox=shared.outbox,
        moves=shared.moves,
        router=_router(shared, turns, commands, notices),
        suspended=turns.suspended,
        transcripts=shared.transcripts,
        clock=shared.clock,
        counters=host.counters,
        poll_seconds=settings.poll_seconds,
        secrets=settings.secrets,
        webhook_url=settings.webhook_url,
        deaf_seconds=settings.deaf_seconds or settings.poll_seconds + DEAF_MARGIN,
        drain_seconds=settings.drain_seconds,
        turns_at_once=settings.turns_at_once,
        menus=_menus(commands, shared.access, client),
        identified=troubles.look_soon,
    )


async def _servers_up(host: Assembled, plans: CatalogPlans) -> None:
    await host.loaded.wait()  # the lines first, then the model, then its tools
    await agents.connected(host.catalog, plans, host.pool)


async def _turns(s: _Shared, stack: contextlib.AsyncExitStack, notices: Notices) -> _Turns:
    live, counters = s.plans.of, s.host.counters
    bank = await _bank(s, stack, notices)
    skills = Skills()
    stack.push_async_callback(skills.close)
    runner = Runner(
        s.host.model,
        s.host.pool,
        s.journal,
        s.transcripts,
        s.clock,
        counters,
        s.approvals,
        live,
        bank,
        skills,
        Kept(s.clock, counters),
        RedisRests(s.client),
        s.approvers,
    )
    answering = Answering(s.approvals, s.inbox, s.transcripts, live, s.clock, counters, s.approvers)
    suspended = Suspended(s.approvals, answering, runner, live, s.access, s.clock, s.moves)
    retries = Retries(s.plans, runner, s.journal, s.inbox, s.outbox, answering, s.access, s.clock)
    return _Turns(runner, suspended, retries)


async def _bank(s: _Shared, stack: contextlib.AsyncExitStack, notices: Notices) -> Bank:
    prices = Prices(s.settings.prices, listed=s.settings.anthropic_base_url is None)
    await background(stack, prices.warm(), "prices.warm")
    return Bank(RedisLedger(s.client), prices.price, notices.tell)


def _router(s: _Shared, turns: _Turns, commands: Commands, notices: Notices) -> Router:
    admission = Admission(s.access, s.grants, notices, s.inbox, s.outbox, s.clock, s.host.counters)
    return Router(
        s.access,
        commands,
        s.plans,
        turns.runner,
        s.inbox,
        s.journal,
        s.transcripts,
        s.clock,
        s.host.counters,
        turns.suspended,
        turns.retries,
        admission,
        admin_seen=meeting(notices, s.host, admission),
    )


def _menus(commands: Commands, access: Access, client: StoreClient) -> Menus:
    def rows(*, admin: bool) -> list[tuple[str, str]]:
        return [(row.name, row.help) for row in commands.visible(admin=admin)]

    owners = RedisMenuOwners(client)
    return Menus(rows(admin=False), rows(admin=True), lambda: access.admins, owners)
