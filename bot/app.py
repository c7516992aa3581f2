"""The composition root: the parts of a host, started in order and stopped in the opposite one."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import resource
import socket
from collections.abc import Container, Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr

from bot.access.command import PeopleContext
from bot.access.current_roles import CurrentRoles
from bot.access.gate import AccessGate
from bot.access.rules import Access
from bot.access.store import AccessStore
from bot.admins import AdminAlerts, PersonLines, ProblemAlerts, StandingAlerts
from bot.agents.resolver import TILDE, RunnableAgent
from bot.approvals.approvers import Approvers
from bot.approvals.cards import QuestionCards
from bot.approvals.service import ApprovalService, TurnServices
from bot.building.lost_tests import end_lost_tests
from bot.command import CommandContext, Commands
from bot.commands.bots import BotCommands
from bot.commands.host import AdminContext, AgentTools, BotState, ToolsOfAgents
from bot.commands.page import USE_PAGE
from bot.commands.table import all_commands
from bot.configuration import agent_findings, log_findings, settings_findings, unknown_names
from bot.conversations.router import Router
from bot.conversations.turns import LineStores, Turns
from bot.errors import ConfigError, ToolUnavailable, WrongType
from bot.hosting.fleet import Fleet, Notifications, bot_set
from bot.hosting.http_lines import HttpLines
from bot.hosting.leases import HostIdentity, Leases
from bot.hosting.line import HostedLine, HostingOptions, LineServices
from bot.hosting.outbox_channel import ChannelServices
from bot.hosting.stored_bots import StoredBots
from bot.http import health
from bot.http.accounts.artifacts import ArtifactLinks
from bot.http.accounts.conversations import Conversations
from bot.http.accounts.reader import EventReader
from bot.http.accounts.tasks import Tasks
from bot.http.accounts.transport import HttpTransport
from bot.http.accounts.webhooks import TaskWebhooks, WebhookRules
from bot.http.api.caller import Credentials
from bot.http.api.cursors import Cursors, shared_secret
from bot.http.api.door import Api, ApiGate, Application
from bot.http.api.head import GateRules
from bot.http.api.idempotency import Idempotency
from bot.http.api.problems import unavailable
from bot.http.api.visitors import Visitors
from bot.http.health import http_app
from bot.http.limits import HttpLimits
from bot.http.server import WebhookEndpoint, serving, webhook_routes
from bot.mcp.pool import Pool
from bot.mcp.server_spec import ServerSpec
from bot.menus.service import ChatMenus
from bot.messages import LineContext, User
from bot.model.client import MessagesModel
from bot.model.watched import WatchedModel
from bot.ops.logging import Counters
from bot.ops.network import proxy_of, why_not_served
from bot.ops.process import resume_gc
from bot.ops.shown_once import ShownOnce
from bot.ops.tasks import SystemClock, cancel_and_wait, wait_first
from bot.settings import Settings
from bot.skills.python_skill import InstalledSkills, discover_skills
from bot.skills.runner import SkillRunner
from bot.skills.spec import SkillSpec
from bot.startup import (
    agent_resolver,
    agents_source,
    announce,
    instance_files,
    model_advice,
    models_used,
    offer_claim,
    profile_files,
)
from bot.store import keys
from bot.store.bots import NewBotOffers, forget_bot, left_of_bot
from bot.store.cards import QuestionCardStore
from bot.store.client import StoreClient, connect
from bot.store.embedded import EmbeddedValkey, HostLock
from bot.store.events import EventLog
from bot.store.health import StoreHealth, require_password
from bot.store.key_uses import KeyUses
from bot.store.known_bots import KnownBots
from bot.store.menus import MenuStore
from bot.store.sessions import SessionStore
from bot.store.sign_ins import SignIn, SignIns
from bot.store.webhooks import WebhookStore
from bot.telegram.calling import ask_bot_api
from bot.telegram.channel import render_parts
from bot.telegram.client import TelegramClient, new_session
from bot.telegram.transport import Menus, TelegramServices, TelegramTransport
from bot.telegram.webhook import accept_pushed
from bot.tools.cache import ToolResultCache
from bot.tools.policy import CallContext, name_of
from bot.tools.read_more import TruncatedResults
from bot.tools.toolset import ToolsetFactory
from bot.turn.runner import TurnRunner
from bot.turn.slots import TurnSlots
from bot.turn.transcript import Transcripts
from bot.usage.budgets import SpendLimit, spend_limit
from bot.usage.ledger import BudgetService, Ledger
from bot.usage.pricing import Prices
from registry.binding import BotIdentity
from registry.bot_edits import BotEdits
from registry.catalog import Catalog
from registry.definition import AgentDefinition
from registry.draft_edits import Drafts
from registry.errors import NotThere, Problem, RegistryUnavailable
from registry.history import History
from registry.preset_rules import AgentToolNames
from registry.roles import Actor, RoleGrant
from registry.snapshot import PACKAGED, unknown_tools
from registry.sources.redis import RedisStore
from registry.sources.specialization_file import SpecializationFile
from registry.stored_bot import StoredBot, purpose_of

log = structlog.get_logger("switchboard")

STORE_PAUSE_S = 1.0
STALLED_MARGIN_S = 40.0
_FILES = resource.RLIMIT_NOFILE
QUICK_SECONDS = 2.0
"""How long a command waits for the servers of an agent."""
SERVERS_SECONDS = 8.0
"""How long a menu, a preset or a list of templates waits for the servers of an agent."""
UNUSED_S = 60.0
"""How long after a change MCP servers without an agent are closed."""


async def serve(settings: Settings, stop: asyncio.Event, hurry: asyncio.Event) -> None:
    """Run the host until `stop` is set; raises ConfigError where it cannot start.

    Running turns come to their end first, unless `hurry` is set.
    """
    async with contextlib.AsyncExitStack() as stack:
        starting = asyncio.create_task(stack.enter_async_context(App(settings)), name="start")
        await wait_first(starting, stop)
        if stop.is_set():  # a store may never answer
            await cancel_and_wait([starting])
            log.info("stopped", why="a signal, during the start")
            return
        app = await starting
        running = asyncio.create_task(app.fleet.run(), name="fleet")
        await stop.wait()
        log.info("stopping", why="a signal", waits_up_to_s=settings.drain_seconds)
        app.fleet.shutdown()
        finishing = asyncio.gather(running, app.http_lines.shut_down(settings.drain_seconds))
        await wait_first(finishing, hurry)
        if hurry.is_set():
            log.warning(
                "stopping at once", why="a second signal", unfinished="continues at the next start"
            )
            await cancel_and_wait([finishing])
        else:
            await finishing
    log.info("stopped")


class App:
    """A host of these settings: entering it starts every part in order, leaving it stops them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.counters = Counters()
        self.pool = Pool(self.clock)
        self.installed_skills = InstalledSkills()
        self.shown_once = ShownOnce()
        self.specializations = SpecializationFile(settings.specializations_file)
        self.loaded = asyncio.Event()
        self.started = asyncio.Event()
        self.url = ""
        self._opening = "the data directory"
        self._host_admin: Sequence[SkillSpec] = ()
        self._webhooks: dict[str, WebhookEndpoint] | None = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> App:
        """Start every part; raises ConfigError where one of them cannot start."""
        async with self._stack:
            await self._start()
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop every part, the last one first."""
        await self._stack.aclose()

    async def _start(self) -> None:
        await self._open_http()
        self._opening = "the store"
        await self._open_store()
        self._opening = "the agents in the store"
        await self._open_catalog()
        self._open_api()
        await self._open_model()
        await self._open_access()
        self.installed_skills = await discover_skills()
        self._resolver = agent_resolver(self.settings, self.catalog, self.installed_skills)
        self._telegram = new_session(proxy=proxy_of(self.settings.telegram_api_url))
        self._stack.push_async_callback(self._telegram.close)
        self._resolver.may_test = self._access.may_write_agents
        self._resolver.toolset = self._internal_toolset
        self._open_alerts()
        await self._open_tools()
        await self._open_turns()
        self._open_commands()
        await self._background(self.known_bots.follow(), "bots.known")
        self._open_router()
        self._open_fleet()
        self._open_webhooks()
        self._opening = ""
        self.started.set()
        announce(self.settings, self.catalog.snapshot(), self.url)
        await self._background(self._tell_findings(), "findings")
        await offer_claim(self.grants, has_bots=bool(self.fleet.lines))
        await self._background(
            end_lost_tests(Drafts(self.history), self._access.may_write_agents), "drafts.tests"
        )

    async def _background(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a task for as long as the host runs; one that ends by a fault is logged."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_log_failure)
        self._stack.push_async_callback(cancel_and_wait, [task])

    async def _tell_findings(self) -> None:
        """Log what `check` would say; off the loop, since there may be ten thousand agents."""
        settings, skills = self.settings, self.installed_skills

        def find() -> list[Problem]:
            bots = [line.identity for line in self.fleet.lines]
            agents = agent_findings(settings, self.catalog.snapshot(), bots, skills.skills)
            return [*settings_findings(settings, skills), *agents]

        log_findings(await asyncio.to_thread(find))

    # --- the store, and what lies in it ---

    async def _open_store(self) -> None:
        """Connect to the operator's store, or start the bundled one."""
        settings = self.settings
        self.store = StoreClient(connect(await self._store_url()), self.clock)
        self._stack.push_async_callback(self.store.close)
        self._store_health = StoreHealth(self.store, self.clock)
        await self._store_health.require_usable(allow_volatile=settings.allow_volatile_redis)
        await self._background(self._store_health.watch_forever(), "store.health")
        me = HostIdentity.new(settings.replica_name or socket.gethostname(), self._lock.proof)
        ids = ",".join(sorted(str(bot.id) for bot in settings.bots))
        own = hashlib.sha256(ids.encode()).hexdigest()[:12]
        self._sealer = settings.sealer()
        if self._sealer is not None:
            await asyncio.to_thread(self._sealer.load)
        serves = bot_set(own, self._sealer.key_id if self._sealer else "")
        self._leases = Leases(self.store, me, self.clock, settings.lease_seconds, serves)
        await self._background(self._leases.beat_forever(), "leases")
        self._stores = LineStores(self.store)
        self._sessions = SessionStore(self.store, self._leases.owner)
        self._events = EventLog(self.store)
        self._stack.push_async_callback(self._events.close)

    async def _store_url(self) -> str:
        settings = self.settings
        if settings.redis_url is not None:
            url = settings.redis_url.get_secret_value()
            await require_password(url, allowed=settings.allow_open_redis)
            return url
        server = EmbeddedValkey(settings.data_dir, settings.data_fsync)
        await server.start()
        self._stack.push_async_callback(server.stop)
        await self._background(server.watch_forever(), "valkey.watch")
        return server.url

    async def _open_catalog(self) -> None:
        """The catalog over file, environment and store, once the store answers."""
        permissions = self.settings.guest_permissions()
        while True:
            store = RedisStore(self.store.redis, permissions)
            self.catalog = Catalog(
                agents_source(self.settings),
                store,
                instance_files(self.settings),
                writer=permissions,
                review=self.settings.review.core,
                profiles=profile_files(self.settings),
            )
            self.catalog.own_bots = self.settings.own_bots
            try:
                await self.catalog.open()
            except RegistryUnavailable as error:
                log.warning("store.away", error=str(error), again_in=STORE_PAUSE_S)
                await asyncio.sleep(STORE_PAUSE_S)
            else:
                self._stack.push_async_callback(self.catalog.close)
                self.history = History(self.catalog)
                await self._background(self.history.follow(), "registry.history")
                return

    async def _open_access(self) -> None:
        settings, own = self.settings, self.settings.own_keys
        self._access = Access(settings.admins, settings.rules(), settings.default_rule)
        self._roles_now = CurrentRoles(self._access, self.catalog.snapshot, own, self.clock.wall)
        self._approvers = Approvers(self._access, self._roles_now)
        self.grants = AccessStore(self.store, self._access, self.catalog)
        try:
            await self.grants.upgrade()
        except WrongType as error:
            raise ConfigError(f"REDIS_URL: {error}") from None
        self._stack.callback(self.catalog.subscribe(self._access.follow))
        self._access.follow(self.catalog.snapshot())
        notifications = Notifications(self.store, self.clock)
        sweep_seconds = self.settings.sweep_seconds
        self.fleet = Fleet(self._leases, notifications, self.clock, sweep_seconds)

    def _open_alerts(self) -> None:
        """The way of notices to the admins, over the lines that the host serves by then."""
        self._alerts = AdminAlerts(
            self._stores.outbox,
            PersonLines(self.store, keys.ADMINS_KNOWN),
            lambda: self._access.admins,
            self.clock,
            served=lambda: self.fleet.active_lines(),
            nudge=lambda line: self.fleet.send_pending(line),
            hide=self.settings.secrets.redact,
        )
        self.store.on_wrong_type = lambda why: self._alerts.send_new(
            f"The store has a problem. {why}"
        )
        self._problem_alerts = ProblemAlerts(
            self._agent_errors, lambda: self.catalog.file.consequence, self._alerts
        )
        self._stack.push_async_callback(self._problem_alerts.close)
        self._model_alerts = StandingAlerts(
            self._model.problems, self._alerts, "The model cannot be used.", "model.unusable"
        )
        self._stack.push_async_callback(self._model_alerts.close)
        self._token_alerts = StandingAlerts(
            self._dead_tokens, self._alerts, "A bot has stopped working.", "token.dead"
        )
        self._stack.push_async_callback(self._token_alerts.close)
        self._alerts.dead = lambda: {line.line for line in self.fleet.quarantined_lines()}
        self.fleet.line_ended = self._token_alerts.check
        self._model.changed = self._model_alerts.check

        def look() -> None:
            self._problem_alerts.check()
            self._model_alerts.check()

        self._stack.callback(self.catalog.subscribe(lambda _snapshot: look()))
        look()

        def on_roles() -> None:
            self._alerts.expect_all()
            self.fleet.show_menus()

        self._access.roles_changed = on_roles

    # --- the model and the tools ---

    async def _open_model(self) -> None:
        key = self.settings.anthropic_api_key
        model = MessagesModel(
            api_key=key.get_secret_value() if key else "",
            base_url=self.settings.anthropic_base_url or "",
            clock=self.clock,
        )
        defaults = self.settings.llm.as_configuration()
        self._model = WatchedModel(
            model, self.clock, lambda: models_used(self.catalog.snapshot(), defaults)
        )
        self._stack.push_async_callback(self.pool.close)
        self._stack.push_async_callback(model.close)
        await self._background(self._load(model), "model.warm")

    async def _load(self, model: MessagesModel) -> None:
        """Load what a conversation needs; from then on the collector looks only at the rest."""
        try:
            await model.warm()
        finally:
            resume_gc()
            self.loaded.set()

    async def _open_tools(self) -> None:
        skills = SkillRunner()
        self._stack.push_async_callback(skills.close)
        cache, truncated = ToolResultCache(self.clock, self.counters), TruncatedResults(self.store)
        self._tools = ToolsetFactory(
            self.pool, skills, cache, truncated, lambda: self.catalog.snapshot().account_names
        )
        self.catalog.objections = self._objections
        await self._background(self._connect_servers(), "servers.connect")
        await self._background(self._close_unused_servers(), "servers.close_unused")

    async def _connect_servers(self) -> None:
        """Connect to the operator's MCP servers before the first message needs them."""
        await self.loaded.wait()  # the lines first, then the model, then its tools
        document = self.catalog.snapshot().document
        own = [id for id, one in document.agents.items() if one.operator]
        instances = document.instances.items()
        own += [id for id, one in instances if one.operator and one.document != PACKAGED]
        await self.pool.ensure(self._servers(own))

    async def _close_unused_servers(self) -> None:
        """Some time after each change of the agents, close the servers that none of them has."""
        changed = asyncio.Event()
        self._stack.callback(self.catalog.subscribe(lambda _snapshot: changed.set()))
        while True:
            await changed.wait()
            await asyncio.sleep(UNUSED_S)
            changed.clear()
            for agent in self._ids_in_use():
                self._resolver.current(agent)
                await asyncio.sleep(0)  # a host with many agents must not stand still
            try:
                await self.pool.keep_only(self._servers(self._ids_in_use()))
            except Exception:
                log.exception("servers.not_closed")

    def _ids_in_use(self) -> list[str]:
        """Agents and instances, without those of the package, and drafts that are on test.

        What the package's need is opened when somebody talks to them.
        """
        document, drafts = self.catalog.snapshot().document, self.catalog.snapshot().on_test
        tested = (one.value for one in drafts.values())
        packaged = {id for id, one in document.instances.items() if one.document == PACKAGED}
        used = [id for id in self.catalog.snapshot().ids if id not in packaged]
        return [*used, *(f"{one.agent}{TILDE}{one.by.partition(':')[2]}" for one in tested)]

    def _objections(self, agent: AgentDefinition) -> Iterator[Problem]:
        """What speaks against storing an agent; that it lacks its profile, the catalog says."""
        with contextlib.suppress(NotThere):
            yield from self._clashes(self._resolver.unstored(agent))

    def _clashes(self, agent: RunnableAgent) -> Iterator[Problem]:
        """Skills of an agent that are left out: a tool of one of its servers has their name."""
        definition = agent.effective.definition
        place = agent.effective.origins.get("skills", definition.id)
        for skill, tool in self._tools.clashes(agent.tools).items():
            message = f"skill '{skill}' of agent '{definition.id}' has the name of {tool}"
            yield Problem(place, message, "rename the skill, or disable that tool")

    def _servers(self, agents: Iterable[str]) -> set[ServerSpec]:
        """The MCP servers of these agents, as they are now."""
        current = map(self._resolver.current, agents)
        return {server for agent in current if agent for server in agent.tools.servers}

    def _internal_toolset(self, name: str) -> Sequence[SkillSpec]:
        """The tools by which an agent changes agents; made once some agent has them."""
        from bot.building.host_admin import NAME, HostAdmin

        if name != NAME or self._host_admin:
            return self._host_admin

        def servers() -> dict[str, list[str]]:
            specs = self._resolver.unstored(AgentDefinition(id="all", name="All")).tools.servers
            return {one.name: [tool.name for tool in self.pool.tools([one])] for one in specs}

        def bots() -> list[BotIdentity]:
            return [line.identity for line in self.fleet.lines]

        self._host_admin = HostAdmin(Drafts(self.history), self._roles_now, servers, bots).specs
        return self._host_admin

    # --- turns and conversations ---

    async def _open_turns(self) -> None:
        await self.specializations.open(self._problem_alerts.check)
        self._stack.push_async_callback(self.specializations.close)
        self._problem_alerts.check()
        prices = Prices(self.settings.prices, listed=self.settings.anthropic_base_url is None)
        await self._background(prices.warm(), "prices.warm")
        budgets = BudgetService(
            Ledger(self.store), prices.price, self._alerts.send, self._key_limit
        )
        stores, transcripts = self._stores, Transcripts()
        services = TurnServices(
            journal=stores.journal,
            approvals=stores.approvals,
            approvers=self._approvers,
            agents=self._resolver,
            clock=self.clock,
            counters=self.counters,
            events=self._events,
        )
        turns = self.settings.limits.turns
        slots = TurnSlots(turns) if turns else None
        specialized = self.specializations.text
        runner = TurnRunner(
            services, transcripts, self._model, self._tools, budgets, slots, specialized
        )
        approvals = ApprovalService(services, stores.inbox, transcripts.forget)
        self._cards = QuestionCards(
            services,
            QuestionCardStore(self.store),
            self._alerts,
            stores.inbox,
            partial(render_parts, self.settings.secrets),
            lambda *answer: self.conversations.press(*answer),
        )
        self._turns = Turns(
            self._resolver, runner, approvals, stores, transcripts, self._access, self.clock
        )

    def _key_limit(self, key: str) -> SpendLimit | None:
        """The budget of an API key, if it has one."""
        entry = self.catalog.snapshot().document.keys.get(key)
        budget = entry.value.budget if entry else None
        return spend_limit(budget.tokens, budget.usd) if budget else None

    def _open_commands(self) -> None:
        settings = self.settings
        self.bot_edits = BotEdits(
            self.catalog,
            self._sealer,
            partial(ask_bot_api, self._telegram, settings.telegram_api_url),
            settings.bot_variables,
            settings.token_of,
            partial(forget_bot, self.store),
            partial(left_of_bot, self.store),
        )
        defaults, advice = settings.llm.as_configuration(), model_advice(settings)

        known = self.known_bots = KnownBots(
            self.store, self.clock, lambda: [one.identity for one in self.fleet.lines]
        )

        def bots() -> list[BotState]:
            lines, variables = self.fleet.lines, settings.bot_variables
            served = [
                BotState(
                    known.named(one.identity),
                    one.state,
                    one.backlog,
                    one.why or "",
                    variables.get(one.identity.id, ""),
                    one.is_stored,
                )
                for one in lines
            ]
            rest = [
                BotState(
                    BotIdentity("", bot.number, bot.username, bot.name),
                    state,
                    why=why,
                    is_stored=True,
                )
                for bot, state, why in self._stored_bots.resting()
            ]
            hosted = [one.identity.id for one in (*served, *rest)]
            others = [BotState(one, "waiting") for one in known.elsewhere(hosted)]
            return served + rest + others

        def servers(agent: str) -> list[dict[str, Any]]:
            made = self._resolver.current(agent)
            return health.server_states(self.pool.known(made.tools.servers)) if made else []

        async def tools(wanted: str | AgentDefinition, context: CommandContext) -> AgentTools:
            if isinstance(wanted, str):
                agent, made, seconds = wanted, self._resolver.current(wanted), QUICK_SECONDS
            else:
                agent, made, seconds = wanted.id, None, SERVERS_SECONDS
                with contextlib.suppress(NotThere):
                    made = self._resolver.unstored(wanted)
            if made is None:
                return AgentTools()
            absent = await self._ready(made, seconds)
            found = offered(made, agent, context)
            cure = "try again in a while, or look into the host's log"
            lost = [Problem(f"server {name}", "it is not connected", cure) for name in absent]
            return replace(found, absent=lost)

        def offered(made: RunnableAgent, agent: str, context: CommandContext) -> AgentTools:
            incoming = context.incoming
            role = self._access.role(incoming.person.id)
            chat = "private" if incoming.address.private else "group"
            account = made.attribution.account
            caller = CallContext(
                role, person=incoming.person.id, chat=chat, agent=agent, account=account
            )
            odd = [*self._clashes(made), *self._unknown_tools_of(agent, made)]
            return AgentTools(self._tools.listed(made.tools, caller), odd)

        given = ToolsOfAgents(tools, self._known_tools)
        context = AdminContext(self.history, defaults, advice, bots, self.report, servers, given)
        people = PeopleContext(self._access, self.grants.open_requests, context.audit_refusal)
        self._commands = all_commands(
            context,
            people,
            self._key_uses.of,
            self._page_link,
            self.shown_once,
            self.store,
            BotCommands(context, self.bot_edits, NewBotOffers(self.store)),
        )

        def menu(grants: Sequence[RoleGrant]) -> list[tuple[str, str]]:
            return [(row.name, row.help) for row in self._commands.visible(grants)]

        def own_menu(person: int) -> list[tuple[str, str]]:
            return menu(context.roles_of_person(person, admin=self._access.is_admin(person)))

        owners = PersonLines(self.store, keys.ADMINS_MENUS)
        self._menus = Menus(menu(()), own_menu, self._with_menu, owners)

    def _with_menu(self) -> frozenset[int]:
        """The people in Telegram who have a menu of their own, by their id."""
        return self._access.admins | self._access.holders

    def _open_router(self) -> None:
        stores, clock, counters = self._stores, self.clock, self.counters
        self._gate = AccessGate(
            self._access, self.grants, self._alerts, stores.inbox, stores.outbox, clock, counters
        )
        self._router = Router(
            self._gate,
            self._commands,
            self._turns,
            counters,
            self._on_private_message,
            self._cards,
            ChatMenus(self._commands, MenuStore(stores.client), stores.inbox, clock, counters),
        )

    async def _on_private_message(self, person: User, line: LineContext) -> None:
        """Where an admin writes, notices and cards may go, and the menu appears.

        Cards may also go to people whom agents name as those who approve.
        """
        access, id = self._access, person.telegram_id
        has_role = id in access.admins or id in access.holders
        if not has_role and id not in access.named_approvers:
            return
        if await self._alerts.remember(id, line.fence.line) and has_role:
            self.fleet.show_menu(line.fence.line, id)
            self._model_alerts.check()
            self._token_alerts.check()
            if access.may_let_in(id):
                await self._gate.deliver_cards(line, id)

    # --- lines and HTTP ---

    def _open_fleet(self) -> None:
        """Add the lines of the configured bots and of the store's; none of them runs yet."""
        settings, session = self.settings, self._telegram
        stores, clock, counters = self._stores, self.clock, self.counters
        options = HostingOptions(settings.drain_seconds, settings.turns_at_once)
        services = LineServices(
            self._leases, stores, self._router, self._turns, clock, counters, options
        )
        channels = ChannelServices(
            stores.outbox, clock, counters, settings.secrets, self._alerts.send
        )
        self._open_http_lines(services, channels)
        telegram = TelegramServices(
            channels,
            self._menus,
            on_identified=self._on_identified,
            webhook_url=settings.webhook_url,
            poll_seconds=settings.poll_seconds,
            stalled_seconds=settings.stalled_seconds or settings.poll_seconds + STALLED_MARGIN_S,
            seal=self._seal if self._sealer else None,
        )

        def line(bot: int, token: SecretStr, *, stored: StoredBot | None = None) -> HostedLine:
            url, reveal = settings.telegram_api_url, self.shown_once.reveal
            client = TelegramClient(session, url, token, reveal)
            transport = TelegramTransport(bot, token, client, telegram)
            if stored is not None:  # another replica may serve it, and know its names
                names = (stored.username or None, stored.name or None)
                transport.identity = replace(transport.identity, username=names[0], name=names[1])
            return HostedLine(transport, services, is_stored=stored is not None)

        def stored_line(bot: StoredBot, token: str) -> HostedLine:
            made = line(bot.number, SecretStr(token), stored=bot)
            self._open_webhook(made)
            return made

        for bot in settings.bots:
            self.fleet.add(line(bot.id, bot.token))
        self._stored_bots = StoredBots(
            self.fleet,
            self._sealer,
            settings.own_bots,
            settings.secrets,
            stored_line,
            self._close_bot,
        )
        self._stored_bots.follow(self.catalog.snapshot())
        self._stored_bots.changed = self._on_bots_changed
        self._stack.callback(self.catalog.subscribe(self._stored_bots.follow))
        self._stack.push_async_callback(self._stored_bots.close)

    def _seal(self, token: str, bot: str) -> str:
        """A token that a person sent, as it may lie in the inbox."""
        assert self._sealer is not None
        return self._sealer.seal(token, purpose_of(bot))

    async def _close_bot(self, line: HostedLine, was_served: bool) -> None:
        """A bot of the store is no longer hosted: nothing is pushed to it any more."""
        if isinstance(line.transport, TelegramTransport):
            if self._webhooks is not None and line.transport.webhook:
                self._webhooks.pop(line.transport.webhook.path, None)
            if was_served:
                await line.transport.end_webhook()

    def _on_bots_changed(self) -> None:
        """Bots have come or gone: bindings may match them, and admins may have to be told."""
        self.catalog.introduce([line.identity for line in self.fleet.lines])
        self._problem_alerts.check_soon()

    def _open_http_lines(self, services: LineServices, channels: ChannelServices) -> None:
        """The lines of conversations over HTTP; none of them is looked for without an API."""
        events, sessions, cards = self._events, self._sessions, self._cards

        def transport(line: str) -> HttpTransport:
            return HttpTransport(line, events, sessions, channels, cards)

        self.http_lines = HttpLines(services, sessions, transport, self.settings.sweep_seconds)
        self.fleet.on_http_line = self.http_lines.notify
        self._reader = EventReader(events, self.http_lines.serves)
        self.conversations = Conversations(
            sessions,
            self._reader,
            self._stores.journal,
            self._stores.approvals,
            self.clock,
            self.http_lines.look,
            ArtifactLinks((self.settings.public_url or "").rstrip("/")),
        )

    def _on_identified(self) -> None:
        """A bot is identified: it may need an agent, and bindings by name may now match it."""
        bots = [line.identity for line in self.fleet.lines]
        self.known_bots.changed.set()
        self.catalog.introduce(bots)
        log_findings([*unknown_names(self.catalog.snapshot().document, bots)])
        self._problem_alerts.check_soon()

    async def _open_http(self) -> None:
        """Take the data directory, then serve health before anything else; sets `url`.

        Webhooks are answered with 503 until their bots are there.
        """
        self._lock = HostLock(self.settings.data_dir)
        self._stack.callback(self._lock.release)
        routes = webhook_routes(lambda: self._webhooks, self.counters)
        web = http_app(self.report, routes, self.settings.secrets)
        self._api_gate = ApiGate(
            web, self._gate_rules(), self.counters, expected=self.settings.serves_api
        )
        host, port = self.settings.http_host, self.settings.http_port
        connections, (files, _) = self.settings.http_connections, resource.getrlimit(_FILES)
        if files != resource.RLIM_INFINITY:  # strangers must not use up what the bots need
            connections = max(1, min(connections, files // 4))
        limits = HttpLimits(connections, count=self.counters.add)
        try:
            self.url = await self._stack.enter_async_context(
                serving(self._api_gate, host, port, limits)
            )
        except OSError as error:
            raise ConfigError(str(why_not_served(host, port, error))) from None
        log.info("http.serving", health=f"{self.url}/health")

    def _gate_rules(self) -> GateRules:
        settings = self.settings
        public = (settings.webhook_url or "", settings.public_url or "")
        named = {*(urlsplit(url).hostname for url in public), settings.http_host}
        named |= {socket.gethostname(), *settings.api_allowed_hosts}
        hosts = frozenset(name.lower() for name in named if name)
        page = urlsplit(settings.public_url or "")
        secure = page.hostname if page.scheme == "https" else None
        rates = (settings.api_requests, settings.api_failures)
        return GateRules(hosts, *rates, secure, settings.http_faces)

    @property
    def commands(self) -> Commands:
        """The commands of this host, and what the buttons of its menus lead to."""
        return self._commands

    @property
    def api(self) -> Api | None:
        """The HTTP API; None until the registry has been read."""
        return self._api_gate.api

    def _open_api(self) -> None:
        """Let requests through to the HTTP API, which is loaded as soon as a key is there."""
        settings, catalog = self.settings, self.catalog
        uses = self._key_uses = KeyUses(self.store, self.clock.wall)
        self._sign_ins = SignIns(self.store)
        credentials = Credentials(catalog.snapshot, settings.own_keys)
        wanted = True if settings.legacy_open and settings.http_api is None else settings.http_api
        api = Api(
            Visitors(
                credentials,
                self._sign_ins,
                self._page_person,
                settings.legacy_open,
                self._is_artifact,
            ),
            partial(self._load_api, uses),
            Idempotency(self.store, self.clock),
            uses,
            self.loaded,
            wanted,
        )
        self._api_gate.api = api
        self._stack.push_async_callback(self._api_gate.close)
        self._stack.callback(catalog.subscribe(lambda _snapshot: api.look()))
        api.look()

    async def _load_api(self, uses: KeyUses) -> Application:
        """The application of the API; its framework is imported off the loop."""
        secret = await shared_secret(self.store)
        cursors = Cursors(secret)
        await self.started.wait()
        self.conversations.links.secret = secret
        tasks = Tasks(self.conversations, self._webhook_rules())

        def make() -> Application:
            from bot.http.api.app import make_app
            from bot.http.api.needs import AgentFacts, Host, OwnParts, Talking

            settings = self.settings
            talking = Talking(
                self._sign_ins,
                tasks,
                settings.page_url,
                settings.legacy_routes,
                self.counters.add,
                AgentFacts(
                    self._tool_names,
                    self._known_tools,
                    self.specializations.values,
                    self._model_of,
                    settings.llm.as_configuration(),
                ),
                settings.http_faces,
            )
            parts = (self.catalog, self.history, self.store, cursors, uses, talking)
            own = OwnParts(settings.own_keys, self.bot_edits, self._bot_states)
            return make_app(Host(*parts, own))

        app = await asyncio.to_thread(make)
        await self._background(self.http_lines.run(), "http.lines")
        await self._background(self._reader.run(), "http.reader")
        if tasks.webhooks is not None:
            await self._background(self._send_webhooks(tasks, tasks.webhooks), "http.webhooks")
        return app

    def _bot_states(self) -> dict[int, tuple[str, str]]:
        """Username and state of each bot, by its id."""
        states = health.bot_states(self.fleet, self._stored_bots.resting())
        return {one["id"]: (one["username"], one["state"]) for one in states}

    def _is_artifact(self, path: str, query: bytes) -> bool:
        """Whether an address is that of an artifact, and was made by this host or a replica."""
        if not self.started.is_set():
            return False
        return self.conversations.links.is_signed(path, query, self.clock.wall())

    def _webhook_rules(self) -> WebhookRules | None:
        """What the operator says of the webhooks of tasks; None where there are none."""
        settings = self.settings
        if (secret := settings.task_webhook_secret) is None:
            return None
        hosts = settings.guest_permissions().internal_hosts
        return WebhookRules(secret.get_secret_value(), hosts, settings.proxy_judges)

    async def _send_webhooks(self, tasks: Tasks, rules: WebhookRules) -> None:
        """Send the webhooks of tasks, those of other hosts as well."""
        from bot.http.api.tasks import webhook_message

        store, pause = WebhookStore(self.store), self.settings.sweep_seconds
        webhooks = TaskWebhooks(rules, store, self.clock, self.counters, pause)
        await webhooks.run(partial(webhook_message, tasks))

    def _model_of(self, agent: str) -> str | None:
        """The model that an agent asks first."""
        made = self._resolver.current(agent)
        return (made.model or None) if made else None

    def _tool_names(self, agent: str, account: str) -> list[str]:
        """The names of the tools that an agent is known to have for an account."""
        if (made := self._resolver.current(agent)) is None:
            return []
        listed = self._tools.listed(made.tools, CallContext(agent=agent, account=account))
        return sorted({name_of(tool.key) for tool in listed})

    async def _ready(self, agent: RunnableAgent, seconds: float) -> list[str]:
        """Wait a while for an agent's servers; the names of those that are not connected then."""
        with contextlib.suppress(ToolUnavailable):  # the host is stopping
            await self.pool.ensure(agent.tools.servers)
            return await self.pool.ready(agent.tools.servers, seconds)
        return []

    async def _known_tools(self, agent: str, account: str) -> AgentToolNames:
        """The tools of an agent for people in an account; waits a while for its servers."""
        if (made := self._resolver.current(agent)) is None:
            return AgentToolNames()
        servers = made.tools.servers
        await self._ready(made, SERVERS_SECONDS)
        keys = {tool.key for tool in self.pool.tools(servers)}
        keys |= {skill.key for skill in made.tools.skills}
        listed = self._tools.listed(made.tools, CallContext(agent=agent, account=account))
        shown = tuple(sorted(tool.key for tool in listed))
        return AgentToolNames(frozenset(keys), shown, self.pool.have_listed(servers))

    def _page_person(self, who: SignIn) -> Actor | None:
        """A person in Telegram who signed in by a link, if they may still use the page."""
        if not hasattr(self, "_access"):
            raise unavailable("The host is starting.")
        actor = self._access.actor(who.person)
        if not USE_PAGE.is_met(actor.grants):
            return None
        is_blocked = self._access.is_blocked("person", who.person, who.bot)
        if is_blocked and not self._access.is_admin(who.person):
            return None
        return replace(actor, via="http")

    async def _page_link(self, context: CommandContext) -> tuple[str, str] | None:
        """The page and a code for one sign-in of the sender; None where no page is served."""
        api = self.api
        if api is None or not api.exists:
            return None
        person = context.incoming.person
        who = SignIn(person=person.telegram_id, name=person.name, bot=context.bot.id)
        return self.settings.page_url or self.url, await self._sign_ins.make_link(who)

    def _open_webhooks(self) -> None:
        """Take updates that Telegram pushes, until the host stops."""
        self._webhooks = {}
        for line in self.fleet.lines:
            self._open_webhook(line)
        self._stack.callback(setattr, self, "_webhooks", None)

    def _open_webhook(self, line: HostedLine) -> None:
        """Take what is pushed to one line, once the host takes anything."""
        transport = line.transport
        if self._webhooks is None or not isinstance(transport, TelegramTransport):
            return
        if own := transport.webhook:
            clean = partial(transport.accept_clean, line.accept)
            accept = partial(accept_pushed, clean, self.counters)
            self._webhooks[own.path] = WebhookEndpoint(own.secret, accept)

    def report(self) -> dict[str, Any]:
        """What `/health` shows."""
        if self._opening:
            return health.starting(self._opening, self._waits_for())
        bots = health.bot_states(self.fleet, self._stored_bots.resting())
        store = self._store_health.report()
        agents, model = self.catalog.snapshot().agents, self._model.report()
        problems = self._problems()
        wanting = any(self._unanswered()) or bool(self.catalog.file.document.errors)
        return {
            **health.overall(
                bots,
                store,
                model,
                dead=self._model.is_dead,
                api=self._api_gate.is_open,
                wanting=wanting,
            ),
            "bots": bots,
            "store": store,
            "model": model,
            "agents": sorted(agents),
            "agents_available": len(agents),
            "problems": [str(problem) for problem in problems],
            "levels": [problem.level for problem in problems],
            "servers": health.server_states(self.pool.servers),
            "counters": self.counters.snapshot(),
            "store_round_trips": self.store.round_trips,
        }

    def _waits_for(self) -> str | None:
        """What the store says that keeps the start waiting."""
        if not hasattr(self, "_store_health"):
            return None
        return self._store_health.waits_for or self.store.outage

    def _problems(self) -> Sequence[Problem]:
        """What is wrong with agents, bindings and packages, also once the bots' names are known."""
        snapshot, skills = self.catalog.snapshot(), self.installed_skills
        conflicts = snapshot.conflicts(line.identity for line in self.fleet.lines)
        unhandled = snapshot.unhandled(skills.skills)
        skilled = [id for id, entry in snapshot.agents.items() if entry.value.skills]
        made = [agent for agent in map(self._resolver.current, skilled) if agent]
        clashes = chain.from_iterable(map(self._clashes, made))
        return [
            *self._dead_tokens().values(),
            *self._stored_bots.problems(),
            *self._unanswered(),
            *snapshot.problems,
            *conflicts,
            *skills.problems,
            *unhandled,
            *clashes,
            *self._unknown_tools(),
            *self.specializations.problems,
        ]

    def _unknown_tools(self) -> Iterator[Problem]:
        """Names under `tools` of instances that nothing has, as far as servers have said."""
        snapshot, names = self.catalog.snapshot(), dict[str, Container[str] | None]()
        for id, entry in snapshot.document.instances.items():
            if not entry.value.tools or entry.document == PACKAGED:
                continue
            base = entry.value.agent_type
            if base not in names:
                made = self._resolver.current(id)
                names[base] = self._tools.names(made.tools) if made and made.tools.servers else None
            if (known := names[base]) is not None:
                yield from unknown_tools(entry, known)

    def _unknown_tools_of(self, id: str, made: RunnableAgent) -> Iterator[Problem]:
        """The same of one instance; of an agent nothing."""
        entry = self.catalog.snapshot().document.instances.get(id)
        known = self._tools.names(made.tools) if entry and made.tools.servers else None
        if entry is not None and known is not None:
            yield from unknown_tools(entry, known)

    def _unanswered(self) -> Iterator[Problem]:
        """The bots in which no agent answers, though their token works."""
        working = [one.identity for one in self.fleet.lines if one.state != "quarantined"]
        return self.catalog.snapshot().unanswered(working)

    def _dead_tokens(self) -> dict[str, Problem]:
        """The bots whose token Telegram no longer accepts; each key is of this very token."""
        found = {}
        for line in self.fleet.quarantined_lines():
            bot, variable = line.identity, self.settings.token_variable(line.identity.id)
            name = f"@{bot.username}" if bot.username else f"bot {bot.id}"
            message = f"Telegram no longer accepts the token of {name}"
            cure = f"get a new one from @BotFather, set {variable} to it, and restart the host"
            if line.is_stored:
                variable = f"bot {bot.id}"
                cure = "get a new one from @BotFather, and send it to another bot: /addbot TOKEN"
            found[f"token:{bot.token_hash}"] = Problem(variable, message, cure)
        return found

    def _agent_errors(self) -> list[Problem]:
        """What an admin must fix; quick with ten thousand agents, since each change runs it."""
        snapshot = self.catalog.snapshot()
        conflicts = snapshot.conflicts(line.identity for line in self.fleet.lines)
        stored = self._stored_bots.problems() if hasattr(self, "_stored_bots") else ()
        own = (*snapshot.document.errors, *snapshot.lost_profiles, *conflicts, *stored)
        return [*own, *self.specializations.problems]


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task.failed", task=task.get_name(), exc_info=error)
